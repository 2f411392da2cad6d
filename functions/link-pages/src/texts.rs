//! The texts of the pages. There is a file for each language. A missing text is an error of the compiler.

mod de;
mod en;
mod es;
mod fr;

use shared::domain::Locale;

/// The texts of all five pages in one language.
pub struct Texts {
    /// The label of the password field.
    pub password: &'static str,
    /// The heading if the link does not work any more.
    pub expired: &'static str,
    pub verify_email: PageTexts,
    pub change_email: PageTexts,
    pub undo_email_change: PageTexts,
    pub undo_factor: PageTexts,
    pub keep_account: PageTexts,
}

/// The texts of one page.
pub struct PageTexts {
    pub heading: &'static str,
    /// What the button does.
    pub explanation: &'static str,
    pub submit: &'static str,
    /// Why the link may not work any more, and what to do then.
    pub if_expired: &'static str,
    /// The heading after the button has done its work.
    pub done: &'static str,
    pub what_next: &'static str,
}

impl Texts {
    pub fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::English => &en::TEXTS,
            Locale::German => &de::TEXTS,
            Locale::French => &fr::TEXTS,
            Locale::Spanish => &es::TEXTS,
        }
    }
}
