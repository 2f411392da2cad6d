//! The texts in English.

use super::{PageTexts, Texts};

pub(super) const TEXTS: Texts = Texts {
    password: "Password of the account",
    expired: "This link no longer works",
    verify_email: PageTexts {
        heading: "Verify your email address",
        explanation: "Enter the password of the account to prove that this address is yours.",
        submit: "Verify the address",
        if_expired: "A link works only once and for a limited time. If your address is not verified yet, request a new mail in the app where you \
            are signed in.",
        done: "Your address is verified",
        what_next: "You can close this page.",
    },
    change_email: PageTexts {
        heading: "Verify your new email address",
        explanation: "Enter the password of the account. Then the new address replaces the earlier one.",
        submit: "Use the new address",
        if_expired: "A link works only once and for a limited time. If your address has not changed yet, request the change again in the app \
            where you are signed in.",
        done: "Your new address is in use",
        what_next: "From now on, sign in with the new address. A mail to the earlier address contains a link that undoes the change.",
    },
    undo_email_change: PageTexts {
        heading: "Undo the change of your address",
        explanation: "Your earlier address becomes the address of the account again, and all devices are signed out. Then you get a mail with a \
            link to set a new password.",
        submit: "Undo the change",
        if_expired: "A link works only once and for a limited time. If you have undone the change already, set a new password with the link in \
            the mail that you got afterwards.",
        done: "Your address is restored",
        what_next: "All devices were signed out. In a few minutes, you get a mail with a link. Please set a new password with it.",
    },
    undo_factor: PageTexts {
        heading: "Remove the new second factor",
        explanation: "The authenticator app or the passkey that the mail is about is removed from the account, with whatever was added after it, \
            such as recovery codes or passkeys. All devices are signed out. Then you get a mail with a link to set a new password.",
        submit: "Remove the second factor",
        if_expired: "A link works only once and for a limited time. If you have removed the second factor already, set a new password with the \
            link in the mail that you got afterwards.",
        done: "The second factor is removed",
        what_next: "All devices were signed out. In a few minutes, you get a mail with a link. Please set a new password with it. If no \
            mail comes, somebody has also changed the address of the account. First undo this with the link in the mail about it.",
    },
    keep_account: PageTexts {
        heading: "Keep your account",
        explanation: "The account was deleted and will soon be erased. If you keep it, you can sign in again as before.",
        submit: "Keep the account",
        if_expired: "A link works only once, and only until the account is erased. If you cannot sign in, say in the app that you forgot the \
            password. If the account still exists, you get a new link.",
        done: "Your account is kept",
        what_next: "You can sign in again. If it was not you who deleted the account, please reset your password now.",
    },
};
