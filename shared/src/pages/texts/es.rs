//! The texts in Spanish.

use super::{NewPasswordRefusals, Refusals, Texts};

pub(super) const TEXTS: Texts = Texts {
    no_script: "Esta página necesita JavaScript.",
    show_password: "Mostrar la contraseña",
    refusals: Refusals {
        email_required: "Introduzca su dirección de correo electrónico.",
        missing_required_fields: "Introduzca la contraseña.",
        invalid_credentials: "La contraseña no es correcta.",
        too_many_attempts: "Demasiados intentos. Vuelva a intentarlo más tarde.",
        service_unavailable: "El servicio no está disponible en este momento. Vuelva a intentarlo más tarde.",
        no_answer: "El servidor no ha respondido. Es posible que su solicitud se haya completado de todos modos. Vuelva a intentarlo.",
        other: "No se ha podido completar la operación. Vuelva a intentarlo más tarde.",
    },
    new_password: NewPasswordRefusals {
        new_password_required: "Introduzca una contraseña nueva.",
        password_too_short: "La contraseña debe tener al menos {min_length}\u{a0}caracteres.",
        password_too_long: "La contraseña debe tener como máximo {max_length}\u{a0}caracteres.",
        password_has_nul: "La contraseña contiene un carácter no permitido.",
        password_too_common: "Esta contraseña es demasiado común. Elija otra.",
        password_contains_account: "La contraseña no debe contener ninguna parte de su nombre ni de su dirección de correo electrónico.",
    },
};
