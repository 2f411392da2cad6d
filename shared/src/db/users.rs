//! The table `users`: accounts.

use tokio_postgres::{Row, types::Type};

use super::{
    AnyStatement, Database, DbError,
    email_verifications::{VerificationMail, count_verification_mail, owe_verification_mail},
    rules::{
        auth_time, count_in_mail_budget, has_address, is_over_budget, profile_columns, session_is_live,
        session_is_presented, user_columns,
    },
    seconds,
    session_endings::owe_session_ending,
    statement::Statement,
};
use crate::{
    domain::{
        CounterKey, Email, Factors, Locale, Methods, Name, PresentedSession, Source, UnixTime, User, UserId,
        VerifiedToken,
    },
    security::{MailBudget, PasswordHash, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 8] = [
    &CREATE,
    &FIND,
    &FIND_PROFILE,
    &FIND_BY_SESSION,
    &FIND_PROFILE_BY_SESSION,
    &CHANGE,
    &REPLACE_HASH,
    &END_ALL_SESSIONS,
];

/// Any unique index of `users` may refuse the row, so `ON CONFLICT` names no index. A database that was taken over has one more unique index, on
/// `email`. Without `ON CONFLICT`, PostgreSQL would write the address into its log.
///
/// The address is claimed first ([`super::email_changes`]). The claim of another sign-up does not matter, because `ON CONFLICT` decides between
/// sign-ups.
///
/// If the answer of an earlier run of this statement was lost, the second half finds the account that it created. No other account has this salted
/// hash.
///
/// If `$8` is not NULL, the sign-up is counted in the budget of mails. This comes before the limit of the mailbox, so that sign-ups with free and
/// taken addresses ([`super::sign_up_notices`]) count alike. If `$5` is NULL, no mail is owed. The second half looks for the mail's id in the outbox.
static CREATE: Statement<18> = Statement {
    sql: concat!(
        "
    WITH claimed AS (
        INSERT INTO reserved_addresses AS r (address, expires_at)
        VALUES (lower($2 COLLATE \"C\"), now() + $18 * interval '1 second')
        ON CONFLICT (address) DO UPDATE SET user_id = NULL, expires_at = excluded.expires_at
        WHERE r.user_id IS NULL OR r.expires_at <= now()
        RETURNING r.address
    ), created AS (
        INSERT INTO users (name, email, password, locale, created_at)
        SELECT $1, $2, $3, $4, now() AT TIME ZONE 'utc' FROM claimed
        ON CONFLICT DO NOTHING
        RETURNING ",
        user_columns!(),
        "
    ), signed_up AS (
        SELECT FROM created WHERE $8 IS NOT NULL
    ), ",
        count_in_mail_budget!("signed_up", source: "$8", of_source: "$9", of_all: "$10", window: "$11"),
        ", wanted AS (
        SELECT email FROM created, budget_counted WHERE $5 IS NOT NULL
    ), ",
        count_verification_mail!("wanted", limit: "$6", window: "$7"),
        ", due AS (
        SELECT created.* FROM created, mailbox_counted
    ), ",
        owe_verification_mail!(
            "due",
            token: "$12",
            code: "$13",
            code_lifetime: "$14",
            lifetime: "$15",
            id: "$16",
            page: "$5",
            first_retry: "$17"
        ),
        "
    SELECT created.*, EXISTS (SELECT FROM mail) AS is_owed,
        ",
        is_over_budget!(),
        "
    FROM created
    UNION ALL
    SELECT ",
        user_columns!(),
        ", EXISTS (SELECT FROM outbox o WHERE o.user_id = users.id AND o.id = $16), false FROM users WHERE ",
        has_address!("$2"),
        " AND password = $3"
    ),
    types: [
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT4,
        Type::FLOAT8,
        Type::BYTEA,
        Type::INT4,
        Type::INT4,
        Type::FLOAT8,
        Type::BYTEA,
        Type::BYTEA,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::UUID,
        Type::FLOAT8,
        Type::FLOAT8,
    ],
};

/// An account to create.
pub struct NewAccount<'a> {
    /// The name.
    pub name: &'a Name,
    /// The address.
    pub email: &'a Email,
    /// The hash of the password.
    pub hash: &'a PasswordHash,
    /// The language of mails.
    pub locale: Locale,
}

/// A sign-up that is counted in the budget of mails.
pub struct SignUpToCount<'a> {
    /// The verification mail. `None` if the sign-up owes none.
    pub mail: Option<VerificationMail<'a>>,
    /// Where the sign-up came from.
    pub source: &'a Source,
    /// How many mails may go to mailboxes that nobody has proved.
    pub budget: MailBudget,
}

/// A new account.
pub struct CreatedAccount {
    /// The account.
    pub user: User,
    /// Whether its verification mail is in the outbox. It is not if a limit was reached.
    pub mail_is_owed: bool,
    /// Whether the limit of all mails together was reached.
    pub is_over_budget: bool,
}

/// Creates an account. With `counted`, also counts the sign-up in the budget of mails, and writes the verification mail into the outbox, unless a
/// limit is reached. `None` if the address has an account already, in whatever case, or if it is reserved for an account that may get it back.
pub async fn create(
    db: &Database,
    NewAccount { name, email, hash, locale }: NewAccount<'_>,
    counted: Option<&SignUpToCount<'_>>,
) -> Result<Option<CreatedAccount>, DbError> {
    let of_mailbox = policy::VERIFICATION_MAILS_OF_MAILBOX;
    let mail = counted.and_then(|counted| counted.mail);
    let source = counted.map(|counted| MailBudget::source_counter(counted.source));
    let values = [
        &name.as_str() as _,
        &email.as_str() as _,
        &hash.as_stored() as _,
        &locale.tag() as _,
        &mail.map(|mail| mail.page) as _,
        &of_mailbox.attempts as _,
        &seconds(of_mailbox.window) as _,
        &source.as_ref().map(CounterKey::as_bytes) as _,
        &policy::MAILS_OF_SOURCE as _,
        &counted.map(|counted| counted.budget.mails()) as _,
        &seconds(policy::MAIL_BUDGET_WINDOW) as _,
        &mail.map(|mail| mail.token.as_bytes()) as _,
        &mail.map(|mail| mail.code.as_bytes()) as _,
        &seconds(policy::EMAIL_CODE_LIFETIME) as _,
        &seconds(policy::VERIFICATION_LINK_LIFETIME) as _,
        &mail.map(|mail| mail.id.0) as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
        &seconds(policy::ADDRESS_CLAIM) as _,
    ];
    let row = db.query_opt(&CREATE, values).await?;
    Ok(row.map(|row| CreatedAccount {
        user: user(&row),
        mail_is_owed: row.get("is_owed"),
        is_over_budget: row.get("is_over_budget"),
    }))
}

/// An account, with what `GET /api/account` shows, and which kinds of second factors it has.
pub struct Profile {
    /// The account.
    pub user: User,
    /// When it was created. `None` if the old service did not record it.
    pub created_at: Option<UnixTime>,
    /// Which kinds of second factors it has.
    pub factors: Factors,
    /// The address of a requested change that can still take effect, if there is one.
    pub pending_email: Option<String>,
}

impl AsRef<User> for Profile {
    fn as_ref(&self) -> &User {
        &self.user
    }
}

/// The state of the session that a token names. `T` is what was read about its user.
pub enum SessionOwner<T> {
    /// The session is live.
    Live {
        /// Its user.
        owner: T,
        /// When the user last signed in or reauthenticated.
        auth_time: UnixTime,
        /// The time, by PostgreSQL's clock.
        now: UnixTime,
        /// How the user has authenticated.
        methods: Methods,
    },
    /// The user exists, but the session has ended.
    SessionEnded,
    /// The user does not exist any more.
    UserGone,
}

/// Selects `$columns` of the user of a token, the time now, and if the token's session exists, whether it is live, and when and how the user authenticated.
///
/// Whether it is live is a column and not a condition. For a condition, PostgreSQL first looks up statistics and operators. On a new connection, this
/// takes a seventh of the statement's time (docs/measurements.md).
macro_rules! find_by_session {
    ($columns:expr) => {
        Statement {
            sql: concat!(
                "
    SELECT ",
                $columns,
                ", session.is_live, session.auth_time, session.amr, now() AS now
    FROM users u LEFT JOIN LATERAL (
        SELECT ",
                session_is_live!(),
                " AS is_live, ",
                auth_time!(),
                " AS auth_time, coalesce(s.amr, 1) AS amr FROM sessions s WHERE s.id = $2
    ) AS session ON true
    WHERE id = $1"
            ),
            types: [Type::INT8, Type::UUID],
        }
    };
}

/// Most requests need no more than this. On a new connection, PostgreSQL first reads the catalog entries of every table in the statement. This one has
/// two tables. With the profile it has five, and the first answer takes longer (docs/measurements.md).
static FIND_BY_SESSION: Statement<2> = find_by_session!(user_columns!());
static FIND_PROFILE_BY_SESSION: Statement<2> = find_by_session!(profile_columns!());

/// Finds the user of a token, and whether the token's session is live.
pub async fn find_by_session(db: &Database, token: VerifiedToken) -> Result<SessionOwner<User>, DbError> {
    find_owner(db, &FIND_BY_SESSION, token, user).await
}

/// Like [`find_by_session`], with the user's profile.
pub async fn find_profile_by_session(db: &Database, token: VerifiedToken) -> Result<SessionOwner<Profile>, DbError> {
    find_owner(db, &FIND_PROFILE_BY_SESSION, token, profile).await
}

async fn find_owner<T>(
    db: &Database,
    statement: &'static Statement<2>,
    token: VerifiedToken,
    read: fn(&Row) -> T,
) -> Result<SessionOwner<T>, DbError> {
    let Some(row) = db.query_opt(statement, [&token.user_id.0, &token.session_id.0]).await? else {
        return Ok(SessionOwner::UserGone);
    };
    // NULL if the session does not exist.
    let is_live: Option<bool> = row.get("is_live");
    Ok(if is_live == Some(true) {
        let methods = Methods::from_stored(row.get("amr"));
        SessionOwner::Live { owner: read(&row), auth_time: row.get("auth_time"), now: row.get("now"), methods }
    } else {
        SessionOwner::SessionEnded
    })
}

static CHANGE: Statement<5> = Statement {
    sql: concat!(
        "
    UPDATE users u SET name = coalesce($4, name), locale = coalesce($5, locale) WHERE ",
        session_is_presented!(),
        "
    RETURNING ",
        profile_columns!()
    ),
    types: [Type::INT8, Type::UUID, Type::INT4, Type::TEXT, Type::TEXT],
};

/// Changes the name and the language of an account, and returns the account. `None` leaves them as they are. The result is `None` if the session is
/// not live.
pub async fn change(
    db: &Database,
    session: PresentedSession,
    name: Option<&Name>,
    locale: Option<Locale>,
) -> Result<Option<Profile>, DbError> {
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &name.map(Name::as_str) as _,
        &locale.map(Locale::tag) as _,
    ];
    Ok(db.query_in_session(&CHANGE, values).await?.as_ref().map(profile))
}

/// An account, the hash of its password, and which kinds of second factors it has.
pub struct Account {
    /// The account.
    pub user: User,
    /// Which kinds of second factors it has.
    pub factors: Factors,
    /// The hash of its password.
    pub password_hash: PasswordHash,
}

static REPLACE_HASH: Statement<3> = Statement {
    sql: "UPDATE users SET password = $3 WHERE id = $1 AND password = $2 RETURNING id::bigint AS id",
    types: [Type::INT8, Type::TEXT, Type::TEXT],
};

/// Replaces a hash by a new hash of the same password. Sessions stay live. Does nothing if the password has changed since the hash `read` was read.
pub async fn replace_hash(db: &Database, user: UserId, read: &PasswordHash, new: &PasswordHash) -> Result<(), DbError> {
    db.query_opt(&REPLACE_HASH, [&user.0, &read.as_stored(), &new.as_stored()]).await.map(drop)
}

static END_ALL_SESSIONS: Statement<2> = Statement {
    sql: concat!(
        "
    WITH changed AS (
        UPDATE users SET credential_version = credential_version + 1
        WHERE id = $1 AND credential_version = $2 RETURNING id, credential_version
    ), ",
        owe_session_ending!("changed"),
        "
    SELECT credential_version FROM changed UNION ALL SELECT credential_version FROM users WHERE id = $1 AND credential_version > $2"
    ),
    types: [Type::INT8, Type::INT4],
};

/// Ends every session in PostgreSQL that was opened under this credential version of the user, by increasing the version. Returns the higher version.
/// `None` if the user does not exist any more. If the version in the database is already higher, nothing changes. Also writes that the sessions in
/// DynamoDB must end.
pub async fn end_all_sessions(db: &Database, user: &User) -> Result<Option<i32>, DbError> {
    let row = db.query_opt(&END_ALL_SESSIONS, [&user.id.0, &user.credential_version]).await?;
    Ok(row.map(|row| row.get("credential_version")))
}

static FIND: Statement<1> =
    Statement { sql: concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1"), types: [Type::INT8] };
static FIND_PROFILE: Statement<1> =
    Statement { sql: concat!("SELECT ", profile_columns!(), " FROM users u WHERE id = $1"), types: [Type::INT8] };

/// The user with this id. `None` if the user does not exist any more.
pub async fn find(db: &Database, user_id: UserId) -> Result<Option<User>, DbError> {
    Ok(db.query_opt(&FIND, [&user_id.0]).await?.as_ref().map(user))
}

/// The profile of the user with this id. `None` if the user does not exist any more.
pub async fn find_profile(db: &Database, user_id: UserId) -> Result<Option<Profile>, DbError> {
    Ok(db.query_opt(&FIND_PROFILE, [&user_id.0]).await?.as_ref().map(profile))
}

/// The profile of a row that has [`profile_columns!`].
fn profile(row: &Row) -> Profile {
    Profile {
        user: user(row),
        created_at: row.get("created_at"),
        factors: factors(row),
        pending_email: row.get("pending_email"),
    }
}

/// The account of a row that has [`user_columns!`], [`factor_columns!`] and `password`.
pub(super) fn account(row: &Row) -> Account {
    let password_hash = PasswordHash::from_stored(row.get("password"));
    Account { user: user(row), factors: factors(row), password_hash }
}

/// The factors of a row that has [`factor_columns!`].
pub(super) fn factors(row: &Row) -> Factors {
    Factors { totp: row.get("has_totp"), passkeys: row.get("has_passkeys") }
}

/// The user of a row that has [`user_columns!`].
pub(super) fn user(row: &Row) -> User {
    User {
        id: UserId(row.get("id")),
        name: row.get("name"),
        email: row.get("email"),
        email_verified: row.get("email_verified"),
        locale: row.get::<_, Option<&str>>("locale").and_then(|tag| tag.parse().ok()),
        credential_version: row.get("credential_version"),
    }
}
