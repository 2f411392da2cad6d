//! The needs of functions. Each need defines the environment variables that a function reads and the IAM actions that it may
//! call.
//!
//! `shared` reads these variables. Tests compare `template.yaml`, the README and the functions' binaries with the lists in this module.

use serde::Deserialize;

/// A feature that a function uses. `needs` in its Cargo.toml lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Need {
    /// Connections to PostgreSQL.
    Database,
    /// Logging in as the role that owns the tables, and granting rights to the role of the other functions.
    TableOwner,
    /// Checking whether the session of a request is live.
    Sessions,
    /// Opening sessions.
    OpenSessions,
    /// Listing the sessions of the user of a request.
    ListSessions,
    /// Recording in sessions that their user has proved the password again, or the mailbox.
    RenewSession,
    /// Exchanging refresh tokens.
    RefreshSessions,
    /// Ending the session of a request.
    EndSession,
    /// Ending all sessions of an account.
    EndAllSessions,
    /// Erasing accounts.
    EraseAccounts,
    /// Counting attempts, in DynamoDB or PostgreSQL.
    Counters,
    /// Counting attempts to sign in, and clearing their counters after a success.
    SigninCounters,
    /// Sending mail through SES.
    Mail,
    /// Issuing or checking tokens.
    Tokens,
    /// The public keys and the issuer of access tokens, without the secret.
    Keys,
    /// The rules for a new password.
    PasswordRules,
    /// The language of accounts that have none.
    Locale,
    /// The look and the default language of pages.
    Brand,
    /// The pages that links in mails lead to.
    Links,
    /// The page of the links that reset a password.
    ResetPage,
    /// Hashing the codes in mails.
    EmailCodes,
    /// Encrypting secrets that the database stores.
    DataKeys,
    /// The relying party of passkeys.
    RelyingParty,
    /// Checking passkeys, if the service offers them.
    Passkeys,
    /// The settings of accounts.
    AccountSettings,
    /// The limit of mails to mailboxes that nobody has proved.
    MailBudget,
    /// The settings of sign-up.
    SignupSettings,
    /// The settings of sign-in.
    SigninSettings,
    /// The settings of forgot-password.
    ForgotPasswordSettings,
}

/// The partitions of sessions in the state table.
const SESSIONS: &str = "u#*";

/// An environment variable that a function reads.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether a function does not start without it.
    pub required: bool,
    /// A value with which a function starts.
    pub example: &'static str,
    /// A value with which a function does not start. `None` if every text is valid. If it contains `canary`, a test checks that the log does not.
    pub malformed: Option<&'static str>,
}

impl Need {
    /// All needs.
    pub const ALL: [Self; 29] = [
        Self::Database,
        Self::TableOwner,
        Self::Sessions,
        Self::OpenSessions,
        Self::ListSessions,
        Self::RenewSession,
        Self::RefreshSessions,
        Self::EndSession,
        Self::EndAllSessions,
        Self::EraseAccounts,
        Self::Counters,
        Self::SigninCounters,
        Self::Mail,
        Self::Tokens,
        Self::Keys,
        Self::PasswordRules,
        Self::Locale,
        Self::Brand,
        Self::Links,
        Self::ResetPage,
        Self::EmailCodes,
        Self::DataKeys,
        Self::RelyingParty,
        Self::Passkeys,
        Self::AccountSettings,
        Self::MailBudget,
        Self::SignupSettings,
        Self::SigninSettings,
        Self::ForgotPasswordSettings,
    ];

    /// The name in a Cargo.toml.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::TableOwner => "table-owner",
            Self::Sessions => "sessions",
            Self::OpenSessions => "open-sessions",
            Self::ListSessions => "list-sessions",
            Self::RenewSession => "renew-session",
            Self::RefreshSessions => "refresh-sessions",
            Self::EndSession => "end-session",
            Self::EndAllSessions => "end-all-sessions",
            Self::EraseAccounts => "erase-accounts",
            Self::Counters => "counters",
            Self::SigninCounters => "signin-counters",
            Self::Mail => "mail",
            Self::Tokens => "tokens",
            Self::Keys => "keys",
            Self::PasswordRules => "password-rules",
            Self::Locale => "locale",
            Self::Brand => "brand",
            Self::Links => "links",
            Self::ResetPage => "reset-page",
            Self::EmailCodes => "email-codes",
            Self::DataKeys => "data-keys",
            Self::RelyingParty => "relying-party",
            Self::Passkeys => "passkeys",
            Self::AccountSettings => "account-settings",
            Self::MailBudget => "mail-budget",
            Self::SignupSettings => "signup-settings",
            Self::SigninSettings => "signin-settings",
            Self::ForgotPasswordSettings => "forgot-password-settings",
        }
    }

    /// Another need that a function with this need must list, if any. For example, `mail` requires `database`, because the outbox is a table there.
    #[must_use]
    pub fn requires(self) -> Option<Self> {
        match self {
            Self::TableOwner
            | Self::OpenSessions
            | Self::EndAllSessions
            | Self::EraseAccounts
            | Self::Counters
            | Self::SigninCounters
            | Self::Mail => Some(Self::Database),
            _ => None,
        }
    }

    /// Whether a function with this need uses sessions, which are in the database or in the state table.
    #[must_use]
    pub fn is_of_sessions(self) -> bool {
        self.partitions() == Some(SESSIONS)
    }

    /// The partitions of the state table that [`Self::actions`] are limited to: the value of the condition `dynamodb:LeadingKeys`.
    #[must_use]
    pub fn partitions(self) -> Option<&'static str> {
        match self {
            Self::Sessions
            | Self::OpenSessions
            | Self::ListSessions
            | Self::RenewSession
            | Self::RefreshSessions
            | Self::EndSession
            | Self::EndAllSessions
            | Self::EraseAccounts => Some(SESSIONS),
            Self::Counters | Self::SigninCounters => Some("c#*"),
            _ => None,
        }
    }

    /// The variables that a function with this need reads.
    pub fn variables(self) -> impl Iterator<Item = &'static Variable> {
        let (own, others): (&[Variable], &[Variable]) = match self {
            Self::Database => (&DATABASE, &[]),
            Self::TableOwner => (&TABLE_OWNER, &[]),
            Self::Sessions
            | Self::OpenSessions
            | Self::ListSessions
            | Self::RenewSession
            | Self::RefreshSessions
            | Self::EndSession
            | Self::EndAllSessions => (&STATE, &DATABASE),
            Self::EraseAccounts => (&[SESSION_LIFETIME], &STATE),
            Self::Counters | Self::SigninCounters => (&STATE, &[]),
            Self::Mail => (&MAIL, &BRAND),
            Self::Tokens => (&TOKENS, &KEYS),
            Self::Keys => (&[], &KEYS),
            Self::PasswordRules => (&PASSWORD_RULES, &[]),
            Self::Locale => (&[DEFAULT_LOCALE], &[]),
            Self::Brand => (&BRAND, &[]),
            Self::Links => (&LINKS, &[]),
            Self::ResetPage => (&RESET_PAGE, &LINKS),
            Self::EmailCodes => (&[JWT_SECRET_KEY], &[]),
            Self::DataKeys => (&DATA_KEYS, &[]),
            Self::RelyingParty => (&RELYING_PARTY, &[]),
            Self::Passkeys => (&RELYING_PARTY, &CHALLENGE_KEYS),
            Self::AccountSettings => (&ACCOUNT_SETTINGS, &[]),
            Self::MailBudget => (&MAIL_BUDGET, &[]),
            Self::SignupSettings => (&SIGNUP_SETTINGS, &[]),
            Self::SigninSettings => (&SIGNIN_SETTINGS, &[]),
            Self::ForgotPasswordSettings => (&FORGOT_PASSWORD_SETTINGS, &[]),
        };
        own.iter().chain(others)
    }

    /// The IAM actions that a function with this need may call.
    #[must_use]
    pub fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Database => &["rds-db:connect"],
            Self::Sessions => &["dynamodb:BatchGetItem"],
            Self::OpenSessions => &["dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
            Self::ListSessions => &["dynamodb:Query"],
            Self::EraseAccounts => &["dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
            Self::RenewSession => &["dynamodb:BatchGetItem", "dynamodb:UpdateItem"],
            Self::EndSession => &["dynamodb:GetItem", "dynamodb:DeleteItem"],
            Self::EndAllSessions | Self::Counters => &["dynamodb:UpdateItem"],
            Self::RefreshSessions | Self::SigninCounters => {
                &["dynamodb:BatchGetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]
            }
            Self::Mail => &["ses:SendRawEmail", "ses:SendEmail"],
            _ => &[],
        }
    }
}

impl TryFrom<String> for Need {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name);
        let found = Self::ALL.into_iter().find(|need| need.name() == name);
        found.ok_or_else(|| format!("unknown need `{name}`, expected one of `{}`", known.join("`, `")))
    }
}

const fn required(name: &'static str, example: &'static str, malformed: &'static str) -> Variable {
    Variable { name, required: true, example, malformed: Some(malformed) }
}

const fn optional(name: &'static str, example: &'static str, malformed: &'static str) -> Variable {
    Variable { name, required: false, example, malformed: Some(malformed) }
}

const fn text(name: &'static str, example: &'static str) -> Variable {
    Variable { name, required: false, example, malformed: None }
}

static DATABASE: [Variable; 5] = [
    required("DATABASE_URL", "postgres://jwt_auth@db.example.com:5432/auth", "canary://user@db.example.com/auth"),
    optional("DATABASE_AUTH", "iam", "canary"),
    optional("DATABASE_TLS", "verify", "canary"),
    optional("DATABASE_CA", "rds", "/canary/is/no/file"),
    optional("DATABASE_PREPARED_STATEMENTS", "on", "canary"),
];

static TABLE_OWNER: [Variable; 2] =
    [text("DATABASE_PASSWORD", "first password"), optional("FUNCTIONS_ROLE", "jwt_auth", "canary-")];

static STATE: [Variable; 2] = [
    text("STATE_TABLE", "state"),
    optional("AWS_ENDPOINT_URL_DYNAMODB", "https://dynamodb.eu-central-1.amazonaws.com", "canary"),
];

static MAIL: [Variable; 3] = [
    required("MAIL_FROM", "no-reply@example.com", "canary"),
    text("MAIL_CONFIGURATION_SET", "mails"),
    optional("AWS_ENDPOINT_URL_SES", "https://email.eu-central-1.amazonaws.com", "canary"),
];

static KEYS: [Variable; 3] = [
    text("JWT_ISSUER", "https://auth.example.com"),
    optional("JWT_PRIVATE_KEY", "", "canary"),
    optional("JWT_ADDITIONAL_PUBLIC_KEYS", "", "-----BEGIN PUBLIC KEY-----canary-----END PUBLIC KEY-----"),
];

const JWT_SECRET_KEY: Variable = required("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef", "canary");

const DATA_SECRET_KEY: Variable = required("DATA_SECRET_KEY", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=", "canary");

const DATA_ADDITIONAL_SECRET_KEYS: Variable =
    optional("DATA_ADDITIONAL_SECRET_KEYS", "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=", "canary");

static DATA_KEYS: [Variable; 2] = [DATA_SECRET_KEY, DATA_ADDITIONAL_SECRET_KEYS];

static RELYING_PARTY: [Variable; 2] = [
    optional("PASSKEY_RP_ID", "example.com", "https://canary"),
    optional("PASSKEY_ORIGINS", "https://example.com", "canary"),
];

/// The keys of challenges. Only a service that offers passkeys needs them.
static CHALLENGE_KEYS: [Variable; 2] = [Variable { required: false, ..DATA_SECRET_KEY }, DATA_ADDITIONAL_SECRET_KEYS];

const SESSION_LIFETIME: Variable = optional("JWT_REFRESH_TOKEN_EXPIRES", "3600", "canary");

const EMAIL_VERIFICATION: Variable = optional("EMAIL_VERIFICATION", "on", "canary");

static TOKENS: [Variable; 8] = [
    JWT_SECRET_KEY,
    optional("JWT_ADDITIONAL_SECRET_KEYS", "fedcba9876543210fedcba9876543210", "canary"),
    text("JWT_AUDIENCE", "auth.example.com"),
    optional("JWT_ACCESS_TOKEN_EXPIRES", "60", "canary"),
    SESSION_LIFETIME,
    optional("REFRESH_GRACE", "5", "canary"),
    EMAIL_VERIFICATION,
    optional("REQUIRE_VERIFIED_EMAIL", "on", "canary"),
];

static PASSWORD_RULES: [Variable; 2] =
    [optional("PASSWORD_MIN_LENGTH", "15", "7"), optional("PASSWORD_BLOCKLIST", "on", "canary")];

const DEFAULT_LOCALE: Variable = optional("DEFAULT_LOCALE", "de", "canary");

static BRAND: [Variable; 4] = [
    optional("BRAND_NAME", "Example", "canary\n"),
    optional("BRAND_LOGO_URL", "https://example.com/logo.png", "http://canary/logo.png"),
    optional("BRAND_COLOR", "#1a4fa3", "canary"),
    DEFAULT_LOCALE,
];

static LINKS: [Variable; 1] = [optional("LINKS_URL", "https://auth.example.com", "canary")];

static ACCOUNT_SETTINGS: [Variable; 1] = [optional("ACCOUNT_ERASE_AFTER", "604800", "canary")];

const SIGNUP_TELLS: Variable = optional("SIGNUP_TELLS", "off", "canary");

const FORGOT_PASSWORD_FLOOR_MS: Variable = optional("FORGOT_PASSWORD_FLOOR_MS", "1000", "canary");

static MAIL_BUDGET: [Variable; 1] = [optional("MAILS_PER_HOUR", "1000", "canary")];

static SIGNUP_SETTINGS: [Variable; 3] = [EMAIL_VERIFICATION, SIGNUP_TELLS, FORGOT_PASSWORD_FLOOR_MS];

static SIGNIN_SETTINGS: [Variable; 3] =
    [optional("PASSWORD_REHASH", "on", "canary"), optional("SIGNIN_FLOOR_MS", "0", "canary"), SIGNUP_TELLS];

static RESET_PAGE: [Variable; 1] = [optional("RESET_PASSWORD_URL", "", "canary")];

static FORGOT_PASSWORD_SETTINGS: [Variable; 1] = [FORGOT_PASSWORD_FLOOR_MS];
