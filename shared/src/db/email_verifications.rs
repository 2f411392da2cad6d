//! The table `email_verifications`: the link and the code that verify the address of an account. A user has at most one row, so a newer mail replaces
//! both.

use tokio_postgres::{Row, types::Type};

use super::{
    AnyStatement, Database, DbError,
    rules::{session_columns, session_is_presented, user_columns},
    seconds, sessions,
    statement::Statement,
    throttle::clear_counters,
    users::user,
};
use crate::{
    domain::{MailId, PresentedSession, Session, SignInCounters, User},
    security::{EmailCodeHash, LinkTokenHash, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 3] = [&REQUEST, &VERIFY_BY_CODE, &VERIFY_BY_LINK];

/// The part of a `WITH` that counts a verification mail for the mailbox of the row of `$due`, which has the address as `email`.
macro_rules! count_verification_mail {
    ($due:literal, limit: $limit:literal, window: $window:literal) => {
        concat!(
            "mailbox_counted AS (
        ",
            $crate::db::rules::count_within_window!(
                $crate::db::rules::counter_key!("'verification mail ' || mailbox"),
                for concat!(
                    "(SELECT ",
                    $crate::db::rules::mailbox_of!("email"),
                    " AS mailbox FROM ",
                    $due,
                    ") AS address"
                ),
                up to $limit within $window
            ),
            "
    )"
        )
    };
}

/// The parts of a `WITH` that replace the link and the code of the user in the row of `$due`, and write the mail into the outbox. The row has `id`,
/// `email` and `credential_version` of the user. `mail` has a row if the mail is owed.
macro_rules! owe_verification_mail {
    (
        $due:literal,
        token: $token:literal,
        code: $code:literal,
        code_lifetime: $code_lifetime:literal,
        lifetime: $lifetime:literal,
        id: $id:literal,
        page: $page:literal,
        first_retry: $first_retry:literal
    ) => {
        concat!(
            "verification AS (
        INSERT INTO email_verifications (user_id, email, credential_version, token_hash, code_hash, code_expires_at, expires_at)
        SELECT id, email, credential_version, ",
            $token,
            ", ",
            $code,
            ", now() + ",
            $code_lifetime,
            " * interval '1 second', now() + ",
            $lifetime,
            " * interval '1 second' FROM ",
            $due,
            "
        ON CONFLICT (user_id) DO UPDATE
        SET email = excluded.email, credential_version = excluded.credential_version, token_hash = excluded.token_hash,
            code_hash = excluded.code_hash, code_tries = 0, code_expires_at = excluded.code_expires_at,
            created_at = excluded.created_at, expires_at = excluded.expires_at
        RETURNING user_id
    ), mail AS (
        INSERT INTO outbox (user_id, kind, id, page, due_at, expires_at)
        SELECT user_id, 'verification', ",
            $id,
            ", ",
            $page,
            ", now() + ",
            $first_retry,
            " * interval '1 second', now() + ",
            $lifetime,
            " * interval '1 second' FROM verification
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, page = excluded.page, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
        RETURNING user_id
    )"
        )
    };
}
pub(super) use {count_verification_mail, owe_verification_mail};

/// A verification mail.
#[derive(Clone, Copy)]
pub struct VerificationMail<'a> {
    /// The hash of the token in its link.
    pub token: &'a LinkTokenHash,
    /// The hash of its code.
    pub code: &'a EmailCodeHash,
    /// The id of the first attempt to send it.
    pub id: MailId,
    /// The URL of the page that its link leads to, without the token.
    pub page: &'a str,
}

/// If the answer of an earlier run was lost, the second run counts the mail again. If this exceeds the limit, the outbox shows that the mail is owed.
static REQUEST: Statement<12> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        " FROM users u WHERE ",
        session_is_presented!(),
        "
    ), unverified AS (
        SELECT id, email, credential_version FROM account WHERE NOT email_verified
    ), ",
        count_verification_mail!("unverified", limit: "$4", window: "$5"),
        ", due AS (
        SELECT unverified.* FROM unverified, mailbox_counted
    ), ",
        owe_verification_mail!(
            "due",
            token: "$6",
            code: "$7",
            code_lifetime: "$8",
            lifetime: "$9",
            id: "$10",
            page: "$11",
            first_retry: "$12"
        ),
        "
    SELECT account.*, EXISTS (SELECT FROM mail)
        OR EXISTS (SELECT FROM outbox o WHERE o.user_id = account.id AND o.id = $10) AS is_owed
    FROM account"
    ),
    types: [
        Type::INT8,
        Type::UUID,
        Type::INT4,
        Type::INT4,
        Type::FLOAT8,
        Type::BYTEA,
        Type::BYTEA,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::UUID,
        Type::TEXT,
        Type::FLOAT8,
    ],
};

/// The account that a verification mail was requested for.
pub struct Requested {
    /// The account.
    pub user: User,
    /// Whether the mail is in the outbox. It is not if the address is verified already, or if its mailbox has got too many such mails.
    pub is_owed: bool,
}

/// Replaces the link and the code of the user of a session, and writes the mail into the outbox, if the address is not verified yet. `None` if the
/// session is not live.
pub async fn request(
    db: &Database,
    session: PresentedSession,
    mail: VerificationMail<'_>,
) -> Result<Option<Requested>, DbError> {
    let limit = policy::VERIFICATION_MAILS_OF_MAILBOX;
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &limit.attempts as _,
        &seconds(limit.window) as _,
        &mail.token.as_bytes() as _,
        &mail.code.as_bytes() as _,
        &seconds(policy::EMAIL_CODE_LIFETIME) as _,
        &seconds(policy::VERIFICATION_LINK_LIFETIME) as _,
        &mail.id.0 as _,
        &mail.page as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
    ];
    let row = db.query_opt(&REQUEST, values).await?;
    Ok(row.map(|row| Requested { user: user(&row), is_owed: row.get("is_owed") }))
}

/// The parts of a `WITH` that verify the address of the account in the row of `proved`, if the account still has this address and this credential
/// version. `done` then has its `id` and `credential_version`.
///
/// If the answer of an earlier run was lost, `done` finds what it did: the row of the user `$user` has the mark `$mark`, which no other request has.
macro_rules! verify {
    (user: $user:literal, mark: $mark:literal) => {
        concat!(
            "verified AS (
        UPDATE users u SET email_verified_at = coalesce(u.email_verified_at, now()) FROM proved
        WHERE u.id = proved.user_id AND u.email = proved.email AND u.credential_version = proved.credential_version
        RETURNING u.id, u.credential_version
    ), done AS (
        SELECT id, credential_version FROM verified
        UNION ALL
        SELECT u.id, u.credential_version
        FROM users u JOIN email_verifications v ON v.user_id = u.id AND v.credential_version = u.credential_version
        WHERE u.id = ",
            $user,
            " AND v.token_hash = ",
            $mark,
            " AND u.email_verified_at IS NOT NULL
    )"
        )
    };
}

/// The condition that the link and the code of the row `v` still belong to the account `$account`: it has the same address and credential version.
macro_rules! belongs_to {
    ($account:literal) => {
        concat!(
            "v.user_id = ",
            $account,
            ".id AND v.email = ",
            $account,
            ".email AND v.credential_version = ",
            $account,
            ".credential_version"
        )
    };
}
pub(super) use belongs_to;

/// `tried` counts the code and compares it, in one update of one row. The lock of the row makes concurrent tries run one after the other, and each
/// sees the count of the previous one. So at most `$5` codes are compared, and each comparison is counted.
///
/// The right code makes both the code and the link useless: they become the mark `$6`, which is in no mail. `sweep` deletes the row `$7` seconds
/// later. Until then, a second run of this statement recognises the mark. For a wrong code, a second run counts it again.
static VERIFY_BY_CODE: Statement<7> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT u.id, u.email, u.credential_version FROM users u WHERE ",
        session_is_presented!(),
        "
    ), tried AS (
        UPDATE email_verifications v SET
            code_tries = v.code_tries + 1,
            code_hash = CASE WHEN v.code_hash = $4 THEN $6 ELSE v.code_hash END,
            token_hash = CASE WHEN v.code_hash = $4 THEN $6 ELSE v.token_hash END,
            expires_at = CASE WHEN v.code_hash = $4 THEN now() + $7 * interval '1 second' ELSE v.expires_at END
        FROM account
        WHERE ",
        belongs_to!("account"),
        " AND v.code_tries < $5 AND v.code_expires_at > now()
        RETURNING v.user_id, v.email, v.credential_version, v.token_hash = $6 AS is_right
    ), proved AS (
        SELECT user_id, email, credential_version FROM tried WHERE is_right
    ), ",
        verify!(user: "$1", mark: "$6"),
        "
    SELECT account.credential_version, EXISTS (SELECT FROM done) AS is_verified, ",
        session_columns!(),
        " FROM account LEFT JOIN sessions s ON s.id = $2 AND $3 IS NULL"
    ),
    types: [Type::INT8, Type::UUID, Type::INT4, Type::BYTEA, Type::INT4, Type::BYTEA, Type::FLOAT8],
};

/// The result of a code.
pub enum TriedCode {
    /// It was right, and the address is verified.
    Right {
        /// The account's credential version.
        version: i32,
        /// The session, as it was before. `None` if sessions are in DynamoDB.
        session: Option<Session>,
    },
    /// It is wrong, used, void or expired.
    Wrong,
}

/// Tries a code in a session of its account. The right code verifies the address. `mark` is a new hash. `None` if the session is not live.
pub async fn verify_by_code(
    db: &Database,
    session: PresentedSession,
    code: &EmailCodeHash,
    mark: &LinkTokenHash,
) -> Result<Option<TriedCode>, DbError> {
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &code.as_bytes() as _,
        &policy::EMAIL_CODE_TRIES as _,
        &mark.as_bytes() as _,
        &seconds(policy::USED_PROOF_KEPT) as _,
    ];
    Ok(db.query_opt(&VERIFY_BY_CODE, values).await?.map(|row| tried(&row)))
}

fn tried(row: &Row) -> TriedCode {
    if !row.get::<_, bool>("is_verified") {
        return TriedCode::Wrong;
    }
    let session = row.get::<_, Option<uuid::Uuid>>("id").map(|_| sessions::session(row));
    TriedCode::Right { version: row.get("credential_version"), session }
}

/// The statement also undoes the counting of the attempt, even if another request has used the link in the meantime, because the password was right.
static VERIFY_BY_LINK: Statement<8> = Statement {
    sql: concat!(
        "
    WITH proved AS (
        UPDATE email_verifications v SET code_hash = $4, token_hash = $4, expires_at = now() + $5 * interval '1 second'
        FROM users u
        WHERE v.token_hash = $1 AND v.expires_at > now() AND u.id = $2 AND u.credential_version = $3 AND ",
        belongs_to!("u"),
        "
        RETURNING v.user_id, v.email, v.credential_version
    ), ",
        verify!(user: "$2", mark: "$4"),
        ", once AS (
        SELECT
    ), ",
        clear_counters!("once", "$6", "$7", "$8", "NULL::bytea"),
        "
    SELECT id FROM done"
    ),
    types: [Type::BYTEA, Type::INT8, Type::INT4, Type::BYTEA, Type::FLOAT8, Type::BYTEA, Type::BYTEA, Type::BYTEA],
};

/// Uses a link up and verifies the address of the account, if the account still has the credential version under which the password was verified.
/// Undoes the counting of the attempt in `counters_to_clear`. `mark` is a new hash. Returns whether the address is verified.
pub async fn verify_by_link(
    db: &Database,
    token: &LinkTokenHash,
    user: &User,
    mark: &LinkTokenHash,
    counters_to_clear: &SignInCounters,
) -> Result<bool, DbError> {
    let values = [
        &token.as_bytes() as _,
        &user.id.0 as _,
        &user.credential_version as _,
        &mark.as_bytes() as _,
        &seconds(policy::USED_PROOF_KEPT) as _,
        &counters_to_clear.both.as_bytes() as _,
        &counters_to_clear.source.as_bytes() as _,
        &counters_to_clear.account.as_bytes() as _,
    ];
    Ok(db.query_opt(&VERIFY_BY_LINK, values).await?.is_some())
}
