//! The texts in English.

use super::{NewPasswordRefusals, Refusals, Texts};

pub(super) const TEXTS: Texts = Texts {
    no_script: "This page needs JavaScript.",
    show_password: "Show password",
    refusals: Refusals {
        email_required: "Please enter your email address.",
        missing_required_fields: "Please enter the password.",
        invalid_credentials: "The password is wrong.",
        too_many_attempts: "Too many attempts. Please try again later.",
        service_unavailable: "The service is not available at the moment. Please try again later.",
        no_answer: "There was no answer. Your request may or may not have succeeded. Please try again.",
        other: "That did not work. Please try again later.",
    },
    new_password: NewPasswordRefusals {
        new_password_required: "Please enter a new password.",
        password_too_short: "The password must have at least {min_length}\u{a0}characters.",
        password_too_long: "The password must have at most {max_length}\u{a0}characters.",
        password_has_nul: "The password contains a character that is not allowed.",
        password_too_common: "This password is too common. Please choose another one.",
        password_contains_account: "The password must not contain a part of your name or email address.",
    },
};
