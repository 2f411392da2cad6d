//! The texts in Spanish.

use super::{PageTexts, Texts};

pub(super) const TEXTS: Texts = Texts {
    password: "Contraseña de la cuenta",
    expired: "Este enlace ya no funciona",
    verify_email: PageTexts {
        heading: "Confirme su dirección de correo electrónico",
        explanation: "Introduzca la contraseña de la cuenta para confirmar que esta dirección le pertenece.",
        submit: "Confirmar la dirección",
        if_expired: "Un enlace funciona una sola vez y durante un tiempo limitado. Si su dirección aún no está confirmada, solicite un correo \
            nuevo en la aplicación en la que ha iniciado sesión.",
        done: "Su dirección está confirmada",
        what_next: "Puede cerrar esta página.",
    },
    change_email: PageTexts {
        heading: "Confirme su nueva dirección de correo electrónico",
        explanation: "Introduzca la contraseña de la cuenta. Entonces la dirección nueva sustituirá a la anterior.",
        submit: "Usar la dirección nueva",
        if_expired: "Un enlace funciona una sola vez y durante un tiempo limitado. Si su dirección aún no ha cambiado, solicite el cambio de \
            nuevo en la aplicación en la que ha iniciado sesión.",
        done: "Su dirección nueva ya está en uso",
        what_next: "A partir de ahora, inicie sesión con la dirección nueva. Un correo enviado a la dirección anterior contiene un enlace que \
            deshace el cambio.",
    },
    undo_email_change: PageTexts {
        heading: "Deshacer el cambio de su dirección",
        explanation: "Su dirección anterior volverá a ser la de la cuenta y se cerrará la sesión en todos los dispositivos. Después recibirá un \
            correo con un enlace para elegir una contraseña nueva.",
        submit: "Deshacer el cambio",
        if_expired: "Un enlace funciona una sola vez y durante un tiempo limitado. Si ya ha deshecho el cambio, elija una contraseña nueva con \
            el enlace del correo que recibió después.",
        done: "Su dirección se ha restablecido",
        what_next: "Se ha cerrado la sesión en todos los dispositivos. En unos minutos recibirá un correo con un enlace. Úselo para elegir una \
            contraseña nueva.",
    },
    undo_factor: PageTexts {
        heading: "Quitar el nuevo segundo factor",
        explanation: "La aplicación de autenticación o la llave de acceso de la que trata el correo se quitará de la cuenta, junto con lo que se haya \
            añadido después, por ejemplo códigos de recuperación o llaves de acceso. Se cerrará la sesión en todos los dispositivos. Después recibirá un correo con un enlace para elegir \
            una contraseña nueva.",
        submit: "Quitar el segundo factor",
        if_expired: "Un enlace funciona una sola vez y durante un tiempo limitado. Si ya ha quitado el segundo factor, elija una contraseña nueva con \
            el enlace del correo que recibió después.",
        done: "El segundo factor se ha quitado",
        what_next: "Se ha cerrado la sesión en todos los dispositivos. En unos minutos recibirá un correo con un enlace. Úselo para elegir una \
            contraseña nueva. Si no llega ningún correo, también se ha cambiado la dirección de la cuenta. Deshaga primero ese cambio con el enlace \
            del correo que trata de él.",
    },
    keep_account: PageTexts {
        heading: "Conservar su cuenta",
        explanation: "La cuenta se ha eliminado y sus datos se borrarán pronto. Si la conserva, podrá volver a iniciar sesión como antes.",
        submit: "Conservar la cuenta",
        if_expired: "Un enlace funciona una sola vez y solo mientras la cuenta no se haya borrado. Si no puede iniciar sesión, indique en la \
            aplicación que ha olvidado la contraseña. Si la cuenta aún existe, recibirá un enlace nuevo.",
        done: "Su cuenta se conserva",
        what_next: "Ya puede volver a iniciar sesión. Si no ha eliminado la cuenta usted, restablezca ahora su contraseña.",
    },
};
