//! The texts in French.

use super::{NewPasswordRefusals, Refusals, Texts};

pub(super) const TEXTS: Texts = Texts {
    no_script: "Cette page nécessite JavaScript.",
    show_password: "Afficher le mot de passe",
    refusals: Refusals {
        email_required: "Veuillez saisir votre adresse e-mail.",
        missing_required_fields: "Veuillez saisir le mot de passe.",
        invalid_credentials: "Le mot de passe est incorrect.",
        too_many_attempts: "Trop de tentatives. Veuillez réessayer plus tard.",
        service_unavailable: "Le service est indisponible pour le moment. Veuillez réessayer plus tard.",
        no_answer: "Le serveur n’a pas répondu. Votre demande a peut-être abouti malgré tout. Veuillez réessayer.",
        other: "Une erreur s’est produite. Veuillez réessayer plus tard.",
    },
    new_password: NewPasswordRefusals {
        new_password_required: "Veuillez saisir un nouveau mot de passe.",
        password_too_short: "Le mot de passe doit comporter au moins {min_length}\u{a0}caractères.",
        password_too_long: "Le mot de passe ne doit pas dépasser {max_length}\u{a0}caractères.",
        password_has_nul: "Le mot de passe contient un caractère non autorisé.",
        password_too_common: "Ce mot de passe est trop courant. Veuillez en choisir un autre.",
        password_contains_account: "Le mot de passe ne doit contenir aucune partie de votre nom ni de votre adresse e-mail.",
    },
};
