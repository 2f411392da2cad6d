//! The texts in French.

use super::{PageTexts, Texts};

pub(super) const TEXTS: Texts = Texts {
    password: "Mot de passe du compte",
    expired: "Ce lien ne fonctionne plus",
    verify_email: PageTexts {
        heading: "Confirmer votre adresse e-mail",
        explanation: "Saisissez le mot de passe du compte pour confirmer que cette adresse vous appartient.",
        submit: "Confirmer l’adresse",
        if_expired: "Un lien ne fonctionne qu’une seule fois et pendant une durée limitée. Si votre adresse n’est pas encore confirmée, demandez \
            un nouvel e-mail dans l’application où vous êtes connecté.",
        done: "Votre adresse est confirmée",
        what_next: "Vous pouvez fermer cette page.",
    },
    change_email: PageTexts {
        heading: "Confirmer votre nouvelle adresse e-mail",
        explanation: "Saisissez le mot de passe du compte. La nouvelle adresse remplacera alors la précédente.",
        submit: "Utiliser la nouvelle adresse",
        if_expired: "Un lien ne fonctionne qu’une seule fois et pendant une durée limitée. Si votre adresse n’a pas encore changé, demandez de \
            nouveau la modification dans l’application où vous êtes connecté.",
        done: "Votre nouvelle adresse est active",
        what_next: "Connectez-vous désormais avec la nouvelle adresse. Un e-mail envoyé à l’adresse précédente contient un lien qui annule la \
            modification.",
    },
    undo_email_change: PageTexts {
        heading: "Annuler le changement d’adresse",
        explanation: "Votre adresse précédente redeviendra celle du compte et tous les appareils seront déconnectés. Vous recevrez ensuite un \
            e-mail contenant un lien pour choisir un nouveau mot de passe.",
        submit: "Annuler le changement",
        if_expired: "Un lien ne fonctionne qu’une seule fois et pendant une durée limitée. Si vous avez déjà annulé le changement, choisissez un \
            nouveau mot de passe avec le lien de l’e-mail reçu ensuite.",
        done: "Votre adresse est rétablie",
        what_next: "Tous les appareils ont été déconnectés. Dans quelques minutes, vous recevrez un e-mail contenant un lien\u{a0}: veuillez \
            l’utiliser pour choisir un nouveau mot de passe.",
    },
    undo_factor: PageTexts {
        heading: "Retirer le nouveau second facteur",
        explanation: "L’application d’authentification ou la clé d’accès dont parle l’e-mail sera retirée du compte, avec ce qui a été ajouté \
            ensuite, par exemple des codes de récupération ou des clés d’accès. Tous les appareils seront déconnectés. Vous recevrez ensuite un e-mail contenant un lien pour choisir un nouveau mot de passe.",
        submit: "Retirer le second facteur",
        if_expired: "Un lien ne fonctionne qu’une seule fois et pendant une durée limitée. Si vous avez déjà retiré le second facteur, choisissez un \
            nouveau mot de passe avec le lien de l’e-mail reçu ensuite.",
        done: "Le second facteur est retiré",
        what_next: "Tous les appareils ont été déconnectés. Dans quelques minutes, vous recevrez un e-mail contenant un lien\u{a0}: veuillez \
            l’utiliser pour choisir un nouveau mot de passe. Si aucun e-mail n’arrive, l’adresse du compte a aussi été changée. Annulez d’abord ce \
            changement avec le lien de l’e-mail qui en parle.",
    },
    keep_account: PageTexts {
        heading: "Conserver votre compte",
        explanation: "Le compte a été supprimé et ses données seront bientôt effacées. Si vous le conservez, vous pourrez de nouveau vous \
            connecter comme avant.",
        submit: "Conserver le compte",
        if_expired: "Un lien ne fonctionne qu’une seule fois et seulement tant que le compte n’est pas effacé. Si vous ne pouvez pas vous \
            connecter, indiquez dans l’application que vous avez oublié le mot de passe. Si le compte existe encore, vous recevrez un \
            nouveau lien.",
        done: "Votre compte est conservé",
        what_next: "Vous pouvez de nouveau vous connecter. Si vous n’avez pas supprimé le compte vous-même, veuillez réinitialiser votre mot de \
            passe dès maintenant.",
    },
};
