//! The texts in German.

use super::{NewPasswordRefusals, Refusals, Texts};

pub(super) const TEXTS: Texts = Texts {
    no_script: "Diese Seite benötigt JavaScript.",
    show_password: "Passwort anzeigen",
    refusals: Refusals {
        email_required: "Bitte geben Sie Ihre E-Mail-Adresse ein.",
        missing_required_fields: "Bitte geben Sie das Passwort ein.",
        invalid_credentials: "Das Passwort ist falsch.",
        too_many_attempts: "Zu viele Versuche. Bitte versuchen Sie es später noch einmal.",
        service_unavailable: "Der Dienst ist im Moment nicht verfügbar. Bitte versuchen Sie es später noch einmal.",
        no_answer: "Der Server hat nicht geantwortet. Möglicherweise wurde Ihre Anfrage trotzdem ausgeführt. Bitte versuchen Sie es noch einmal.",
        other: "Das hat nicht funktioniert. Bitte versuchen Sie es später noch einmal.",
    },
    new_password: NewPasswordRefusals {
        new_password_required: "Bitte geben Sie ein neues Passwort ein.",
        password_too_short: "Das Passwort muss mindestens {min_length}\u{a0}Zeichen haben.",
        password_too_long: "Das Passwort darf höchstens {max_length}\u{a0}Zeichen haben.",
        password_has_nul: "Das Passwort enthält ein Zeichen, das nicht erlaubt ist.",
        password_too_common: "Dieses Passwort wird zu häufig verwendet. Bitte wählen Sie ein anderes.",
        password_contains_account: "Das Passwort darf keinen Teil Ihres Namens oder Ihrer E-Mail-Adresse enthalten.",
    },
};
