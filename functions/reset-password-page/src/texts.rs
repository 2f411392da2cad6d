//! The texts of the page. A missing text is an error of the compiler.

use shared::domain::Locale;

/// The texts of the page in one language.
pub struct Texts {
    pub heading: &'static str,
    pub password: &'static str,
    /// With the placeholder `{min_length}`.
    pub hint: &'static str,
    pub submit: &'static str,
    pub expired: &'static str,
    pub why_expired: &'static str,
    pub email: &'static str,
    pub send: &'static str,
    pub sent: &'static str,
    pub when_sent: &'static str,
    pub done: &'static str,
    pub what_next: &'static str,
}

impl Texts {
    pub fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::English => &ENGLISH,
            Locale::German => &GERMAN,
            Locale::French => &FRENCH,
            Locale::Spanish => &SPANISH,
        }
    }

    pub fn hint(&self, min_length: usize) -> String {
        self.hint.replace("{min_length}", &min_length.to_string())
    }
}

const ENGLISH: Texts = Texts {
    heading: "Choose a new password",
    password: "New password",
    hint: "At least {min_length}\u{a0}characters. Several words that you can remember are better than one that you cannot.",
    submit: "Set password",
    expired: "This link no longer works",
    why_expired: "A link works only once and for a limited time. A newer link replaces it.",
    email: "Your email address",
    send: "Send a new link",
    sent: "Check your mailbox",
    when_sent: "If there is an account with this address, a mail with a link arrives within some minutes. After too many requests, no \
        new mail is sent, and the last link stays valid.",
    done: "Your password has been reset",
    what_next: "You can sign in with your new password now. All your devices were signed out.",
};

const GERMAN: Texts = Texts {
    heading: "Neues Passwort wählen",
    password: "Neues Passwort",
    hint: "Mindestens {min_length}\u{a0}Zeichen. Mehrere Wörter, die Sie sich merken können, sind besser als eines, das Sie vergessen.",
    submit: "Passwort festlegen",
    expired: "Dieser Link funktioniert nicht mehr",
    why_expired: "Ein Link funktioniert nur einmal und für begrenzte Zeit. Ein neuerer Link ersetzt ihn.",
    email: "Ihre E-Mail-Adresse",
    send: "Neuen Link senden",
    sent: "Sehen Sie in Ihrem Postfach nach",
    when_sent: "Wenn es ein Konto zu dieser Adresse gibt, kommt in den nächsten Minuten eine E-Mail mit einem Link an. Nach zu \
        vielen Anfragen wird keine neue E-Mail gesendet, und der letzte Link bleibt gültig.",
    done: "Ihr Passwort wurde zurückgesetzt",
    what_next: "Sie können sich jetzt mit Ihrem neuen Passwort anmelden. Alle Ihre Geräte wurden abgemeldet.",
};

const FRENCH: Texts = Texts {
    heading: "Choisir un nouveau mot de passe",
    password: "Nouveau mot de passe",
    hint: "Au moins {min_length}\u{a0}caractères. Mieux vaut plusieurs mots faciles à retenir qu’un seul que l’on oublie.",
    submit: "Définir le mot de passe",
    expired: "Ce lien ne fonctionne plus",
    why_expired: "Un lien ne fonctionne qu’une seule fois et pendant une durée limitée. Un lien plus récent le remplace.",
    email: "Votre adresse e-mail",
    send: "Envoyer un nouveau lien",
    sent: "Consultez votre messagerie",
    when_sent: "S’il existe un compte associé à cette adresse, un e-mail contenant un lien arrivera dans quelques minutes. Au-delà \
        d’un certain nombre de demandes, plus aucun e-mail n’est envoyé et le dernier lien reste valable.",
    done: "Votre mot de passe a été réinitialisé",
    what_next: "Vous pouvez maintenant vous connecter avec votre nouveau mot de passe. Tous vos appareils ont été déconnectés.",
};

const SPANISH: Texts = Texts {
    heading: "Elija una contraseña nueva",
    password: "Contraseña nueva",
    hint: "Al menos {min_length}\u{a0}caracteres. Varias palabras que pueda recordar son mejores que una sola que olvide.",
    submit: "Establecer la contraseña",
    expired: "Este enlace ya no funciona",
    why_expired: "Un enlace funciona una sola vez y durante un tiempo limitado. Un enlace más reciente lo sustituye.",
    email: "Su dirección de correo electrónico",
    send: "Enviar un enlace nuevo",
    sent: "Consulte su correo",
    when_sent: "Si existe una cuenta con esta dirección, en unos minutos recibirá un correo con un enlace. Si hace demasiadas \
        solicitudes, no se enviarán más correos y el último enlace seguirá siendo válido.",
    done: "Su contraseña se ha restablecido",
    what_next: "Ya puede iniciar sesión con su contraseña nueva. Se ha cerrado la sesión en todos sus dispositivos.",
};

#[cfg(test)]
mod tests {
    use super::*;

    // Requirement 62.
    #[test]
    fn the_hint_names_the_minimum_length_in_every_language() {
        for locale in Locale::ALL {
            let hint = Texts::of(locale).hint(23);
            assert!(hint.contains("23\u{a0}") && !hint.contains('{'), "{hint}");
        }
    }
}
