//! The texts in German.

use super::{PageTexts, Texts};

pub(super) const TEXTS: Texts = Texts {
    password: "Passwort des Kontos",
    expired: "Dieser Link funktioniert nicht mehr",
    verify_email: PageTexts {
        heading: "E-Mail-Adresse bestätigen",
        explanation: "Geben Sie das Passwort des Kontos ein, um zu bestätigen, dass diese Adresse Ihnen gehört.",
        submit: "Adresse bestätigen",
        if_expired: "Ein Link funktioniert nur einmal und für begrenzte Zeit. Wenn Ihre Adresse noch nicht bestätigt ist, fordern Sie dort, wo \
            Sie angemeldet sind, eine neue E-Mail an.",
        done: "Ihre Adresse ist bestätigt",
        what_next: "Sie können diese Seite schließen.",
    },
    change_email: PageTexts {
        heading: "Neue E-Mail-Adresse bestätigen",
        explanation: "Geben Sie das Passwort des Kontos ein. Dann ersetzt die neue Adresse die bisherige.",
        submit: "Neue Adresse verwenden",
        if_expired: "Ein Link funktioniert nur einmal und für begrenzte Zeit. Wenn Ihre Adresse noch nicht geändert ist, fordern Sie die \
            Änderung dort, wo Sie angemeldet sind, noch einmal an.",
        done: "Ihre neue Adresse gilt jetzt",
        what_next: "Melden Sie sich ab jetzt mit der neuen Adresse an. Eine E-Mail an die bisherige Adresse enthält einen Link, mit dem sich \
            die Änderung rückgängig machen lässt.",
    },
    undo_email_change: PageTexts {
        heading: "Änderung Ihrer Adresse rückgängig machen",
        explanation: "Ihre frühere Adresse wird wieder die Adresse des Kontos, und alle Geräte werden abgemeldet. Danach erhalten Sie eine \
            E-Mail mit einem Link, um ein neues Passwort festzulegen.",
        submit: "Änderung rückgängig machen",
        if_expired: "Ein Link funktioniert nur einmal und für begrenzte Zeit. Wenn Sie die Änderung schon rückgängig gemacht haben, legen Sie \
            mit dem Link aus der E-Mail, die Sie danach erhalten haben, ein neues Passwort fest.",
        done: "Ihre frühere Adresse gilt wieder",
        what_next: "Alle Geräte wurden abgemeldet. In wenigen Minuten erhalten Sie eine E-Mail mit einem Link. Bitte legen Sie damit ein neues \
            Passwort fest.",
    },
    undo_factor: PageTexts {
        heading: "Neuen zweiten Faktor entfernen",
        explanation: "Die Authenticator-App oder der Passkey aus der E-Mail wird aus dem Konto entfernt, mit allem, was danach hinzugefügt \
            wurde, zum Beispiel Wiederherstellungscodes oder Passkeys. Alle Geräte werden abgemeldet. Danach erhalten Sie eine E-Mail mit einem Link, um ein neues Passwort festzulegen.",
        submit: "Zweiten Faktor entfernen",
        if_expired: "Ein Link funktioniert nur einmal und für begrenzte Zeit. Wenn Sie den zweiten Faktor schon entfernt haben, legen Sie mit dem \
            Link aus der E-Mail, die Sie danach erhalten haben, ein neues Passwort fest.",
        done: "Der zweite Faktor ist entfernt",
        what_next: "Alle Geräte wurden abgemeldet. In wenigen Minuten erhalten Sie eine E-Mail mit einem Link. Bitte legen Sie damit ein neues \
            Passwort fest. Wenn keine E-Mail kommt, wurde auch die Adresse des Kontos geändert. Machen Sie zuerst das rückgängig, mit dem Link aus \
            der E-Mail darüber.",
    },
    keep_account: PageTexts {
        heading: "Konto behalten",
        explanation: "Das Konto wurde gelöscht, und seine Daten werden bald entfernt. Wenn Sie es behalten, können Sie sich wieder wie bisher \
            anmelden.",
        submit: "Konto behalten",
        if_expired: "Ein Link funktioniert nur einmal und nur, solange die Daten des Kontos noch nicht entfernt sind. Wenn Sie sich nicht \
            anmelden können, geben Sie in der App an, dass Sie das Passwort vergessen haben. Falls es das Konto noch gibt, erhalten Sie einen \
            neuen Link.",
        done: "Ihr Konto bleibt bestehen",
        what_next: "Sie können sich wieder anmelden. Wenn Sie das Konto nicht selbst gelöscht haben, setzen Sie bitte jetzt Ihr Passwort zurück.",
    },
};
