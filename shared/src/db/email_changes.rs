//! The tables `email_changes`, `email_undos` and `reserved_addresses`: requested changes of an address, changes that can be undone, and addresses
//! that an account may get back.
//!
//! Every sign-up and every change of an address first claims the address in `reserved_addresses`. The primary key makes concurrent statements wait
//! for each other there, and the later one sees the claim of the earlier one. A claim lasts longer than any statement ([`policy::ADDRESS_CLAIM`]). A
//! statement that began before another one committed does not see that the address is taken now, but it sees the claim. Between two sign-ups, the unique index of
//! `users` decides. An undo needs no claim, because the address is still reserved for the account.

use tokio_postgres::{Row, types::Type};

use super::{
    AnyStatement, Database, DbError,
    password_resets::replace_reset_token,
    rules::{
        count_account_mail, count_in_mail_budget, count_within_window, counter_key, has_address, is_over_budget,
        is_taken, mailbox_of, session_is_presented, user_columns,
    },
    seconds,
    session_endings::owe_session_ending,
    statement::Statement,
    throttle::clear_counters,
    users::user,
};
use crate::{
    domain::{CounterKey, Email, EmailChangeId, MailId, PresentedSession, SignInCounters, Source, User},
    security::{LinkTokenHash, MailBudget, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 4] = [&REQUEST, &CHANGE, &UNDO, &LOCK_ACCOUNT_OF_UNDO];

/// An address that is taken is counted and stored like any other, so that limits and `GET /api/account` do not reveal that it is taken. Only the mail to
/// it is missing. At a limit, the older request stays valid.
///
/// If the answer of an earlier run was lost, the second run counts the request again. If this exceeds a limit, the outbox shows which mails are owed.
static REQUEST: Statement<21> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        ", ",
        has_address!("$4"),
        " AS is_unchanged FROM users u WHERE ",
        session_is_presented!(),
        "
    ), account_counted AS (
        ",
        count_within_window!(
            counter_key!("'email changes of user ' || id"),
            for "account WHERE NOT is_unchanged",
            up to "$12" within "$13"
        ),
        "
    ), ",
        count_in_mail_budget!("account_counted", source: "$16", of_source: "$17", of_all: "$18", window: "$19"),
        ", mailbox_counted AS (
        ",
        count_within_window!(
            counter_key!("'email change mail ' || mailbox"),
            for concat!("(SELECT ", mailbox_of!("$4"), " AS mailbox FROM budget_counted) AS address"),
            up to "$14" within "$15"
        ),
        "
    ), requested AS (
        INSERT INTO email_changes (user_id, email, credential_version, token_hash, expires_at)
        SELECT id, $4, credential_version, $5, now() + $10 * interval '1 second' FROM account, mailbox_counted
        ON CONFLICT (user_id) DO UPDATE
        SET email = excluded.email, credential_version = excluded.credential_version, token_hash = excluded.token_hash,
            created_at = excluded.created_at, expires_at = excluded.expires_at
        RETURNING user_id
    ), proof AS (
        INSERT INTO outbox (user_id, kind, id, page, recipient, due_at, expires_at)
        SELECT user_id, 'email_change', $7, $6, $4, now() + $9 * interval '1 second', now() + $10 * interval '1 second'
        FROM requested WHERE NOT ",
        is_taken!("$4", by_another_than: "requested.user_id"),
        "
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, page = excluded.page, recipient = excluded.recipient, attempts = 1, due_at = excluded.due_at,
            expires_at = excluded.expires_at
        RETURNING id
    ), told AS (
        SELECT account.* FROM account, requested
    ), ",
        count_account_mail!("email change notice", "told", limit: "$20", window: "$21"),
        ", notice AS (
        INSERT INTO outbox (user_id, kind, id, recipient, due_at, expires_at)
        SELECT id, 'email_change_requested', $8, email, now() + $9 * interval '1 second', now() + $11 * interval '1 second' FROM notified
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, recipient = excluded.recipient, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
        RETURNING id
    ), owed AS (
        SELECT id FROM proof UNION ALL SELECT id FROM notice
        UNION ALL SELECT o.id FROM outbox o JOIN account ON o.user_id = account.id
    )
    SELECT account.*, EXISTS (SELECT FROM requested)
            OR EXISTS (SELECT FROM email_changes c WHERE c.user_id = account.id AND c.token_hash = $5) AS is_requested,
        EXISTS (SELECT FROM owed WHERE owed.id = $7) AS mail_is_owed, EXISTS (SELECT FROM owed WHERE owed.id = $8) AS notice_is_owed,
        ",
        is_over_budget!(),
        "
    FROM account"
    ),
    types: [
        Type::INT8,
        Type::UUID,
        Type::INT4,
        Type::TEXT,
        Type::BYTEA,
        Type::TEXT,
        Type::UUID,
        Type::UUID,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
        Type::BYTEA,
        Type::INT4,
        Type::INT4,
        Type::FLOAT8,
        Type::INT4,
        Type::FLOAT8,
    ],
};

/// A request to change the address of an account.
pub struct EmailChangeRequest<'a> {
    /// The session that the request presents.
    pub session: PresentedSession,
    /// The new address.
    pub email: &'a Email,
    /// The hash of the token in the mail to the new address.
    pub token: &'a LinkTokenHash,
    /// The URL of the page that its link leads to, without the token.
    pub page: &'a str,
    /// The id of the first attempt to send this mail.
    pub mail: MailId,
    /// The id of the first attempt to send the notice to the current address.
    pub notice: MailId,
    /// Where the request came from.
    pub source: &'a Source,
    /// How many mails may go to mailboxes that nobody has proved.
    pub budget: MailBudget,
}

/// What a request to change the address has done.
pub enum Requested {
    /// Nothing, because the account has this address already.
    Unchanged,
    /// Nothing, because a limit of mails is reached.
    Limited {
        /// Whether it is the limit of all mails to unproved mailboxes together.
        is_over_budget: bool,
    },
    /// It replaced the older request of the user.
    Pending {
        /// The account.
        user: User,
        /// Whether the mail to the new address is in the outbox. It is not if the address is taken.
        mail_is_owed: bool,
        /// Whether the notice to the current address is in the outbox. `false` if nobody has proved the mailbox, and the limit of these
        /// mails is reached.
        notice_is_owed: bool,
    },
}

/// Requests a change of the address, and writes the mails into the outbox. `None` if the presented session is not live (if sessions are in DynamoDB:
/// if the credentials have changed since it was found live).
pub async fn request(
    db: &Database,
    EmailChangeRequest { session, email, token, page, mail, notice, source, budget }: EmailChangeRequest<'_>,
) -> Result<Option<Requested>, DbError> {
    let source = MailBudget::source_counter(source);
    let (of_account, of_mailbox) = (policy::EMAIL_CHANGES_OF_ACCOUNT, policy::EMAIL_CHANGES_TO_MAILBOX);
    let to_unproved = policy::ACCOUNT_MAILS_TO_UNPROVED_MAILBOX;
    let values = [
        &session.user_id.0 as _,
        &session.session_id.0 as _,
        &session.version() as _,
        &email.as_str() as _,
        &token.as_bytes() as _,
        &page as _,
        &mail.0 as _,
        &notice.0 as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
        &seconds(policy::EMAIL_CHANGE_LIFETIME) as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
        &of_account.attempts as _,
        &seconds(of_account.window) as _,
        &of_mailbox.attempts as _,
        &seconds(of_mailbox.window) as _,
        &source.as_bytes() as _,
        &policy::MAILS_OF_SOURCE as _,
        &budget.mails() as _,
        &seconds(policy::MAIL_BUDGET_WINDOW) as _,
        &to_unproved.attempts as _,
        &seconds(to_unproved.window) as _,
    ];
    match db.query_opt(&REQUEST, values).await {
        Err(error) if error.is_foreign_key_violation() => Ok(None),
        row => Ok(row?.as_ref().map(requested)),
    }
}

fn requested(row: &Row) -> Requested {
    if row.get("is_unchanged") {
        Requested::Unchanged
    } else if row.get("is_requested") {
        Requested::Pending {
            user: user(row),
            mail_is_owed: row.get("mail_is_owed"),
            notice_is_owed: row.get("notice_is_owed"),
        }
    } else {
        Requested::Limited { is_over_budget: row.get("is_over_budget") }
    }
}

/// Of many requests with one token, only the first one deletes the row of the request. The statement then reserves the address that is replaced,
/// claims the new one, and changes the account. Each step needs the row of the previous one, so that concurrent statements wait for each other in
/// this order.
///
/// Notices that are still owed go to the address that is replaced, and no later notice replaces them. Else a thief could change the address so that
/// the owner does not get them. The password was right, so its attempt is no longer counted even if the address is taken.
///
/// If the answer of an earlier run was lost, the `SELECT` after `UNION ALL` finds the change by its id.
static CHANGE: Statement<13> = Statement {
    sql: concat!(
        "
    WITH used AS (
        DELETE FROM email_changes c USING users u
        WHERE c.token_hash = $1 AND c.user_id = $2 AND c.expires_at > now() AND u.id = c.user_id AND u.credential_version = c.credential_version
            AND NOT EXISTS (SELECT FROM account_deletions d WHERE d.user_id = c.user_id)
            AND NOT ",
        is_taken!("c.email", by_another_than: "c.user_id"),
        "
        RETURNING u.id, u.email AS earlier, u.email_verified_at, u.credential_version, c.email AS later
    ), reserved AS (
        INSERT INTO reserved_addresses AS r (address, user_id, expires_at)
        SELECT lower(earlier COLLATE \"C\"), id, now() + ($8 + $9) * interval '1 second' FROM used
        ON CONFLICT (address) DO UPDATE SET user_id = excluded.user_id, expires_at = excluded.expires_at
        WHERE r.user_id IS NULL OR r.user_id = excluded.user_id OR r.expires_at <= now()
        RETURNING r.user_id
    ), claimed AS (
        INSERT INTO reserved_addresses AS r (address, user_id, expires_at)
        SELECT lower(later COLLATE \"C\"), id, now() + $9 * interval '1 second' FROM used JOIN reserved ON reserved.user_id = used.id
        ON CONFLICT (address) DO UPDATE SET user_id = excluded.user_id, expires_at = greatest(r.expires_at, excluded.expires_at)
        WHERE r.user_id = excluded.user_id OR r.expires_at <= now()
        RETURNING r.user_id
    ), changed AS (
        UPDATE users u SET email = used.later, email_verified_at = now() FROM used JOIN claimed ON claimed.user_id = used.id
        WHERE u.id = used.id AND u.email = used.earlier AND u.credential_version = used.credential_version
        RETURNING u.id, used.earlier, used.email_verified_at
    ), undo AS (
        INSERT INTO email_undos (id, user_id, email, email_verified_at, token_hash, expires_at)
        SELECT $3, id, earlier, email_verified_at, $4, now() + $8 * interval '1 second' FROM changed
    ), reset_voided AS (
        DELETE FROM password_resets r USING changed WHERE r.user_id = changed.id AND r.redeemed_at IS NULL
    ), redirected AS (
        UPDATE outbox o SET recipient = changed.earlier, kind = o.kind || ' ' || $3::text FROM changed
        WHERE o.user_id = changed.id AND o.kind IN ('password_changed', 'email_change_requested')
    ), mail AS (
        INSERT INTO outbox (user_id, kind, id, page, recipient, due_at, expires_at)
        SELECT id, 'email_changed ' || $3::text, $6, $5, earlier, now() + $7 * interval '1 second', now() + $8 * interval '1 second' FROM changed
    ), proved AS (
        SELECT
    ), ",
        clear_counters!("proved", "$10", "$11", "$12", "$13"),
        "
    SELECT earlier FROM changed
    UNION ALL
    SELECT email FROM email_undos WHERE id = $3"
    ),
    types: [
        Type::BYTEA,
        Type::INT8,
        Type::UUID,
        Type::BYTEA,
        Type::TEXT,
        Type::UUID,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
        Type::BYTEA,
    ],
};

/// A change of the address that the new mailbox and the password have proved.
pub struct EmailChange<'a> {
    /// The hash of the token from the mail to the new address.
    pub token: &'a LinkTokenHash,
    /// The user of the request that the token belongs to.
    pub user: &'a User,
    /// The id of the change.
    pub id: EmailChangeId,
    /// The hash of the token that undoes the change.
    pub undo: &'a LinkTokenHash,
    /// The URL of the page of the link that undoes the change, without the token.
    pub undo_page: &'a str,
    /// The id of the first attempt to send this link.
    pub mail: MailId,
    /// The counters of the attempt to prove the password.
    pub counters_to_clear: &'a SignInCounters,
}

/// Changes the address, and returns the one that it replaces, where the link that undoes the change is owed. Sessions stay live. `None` if the token
/// is not valid any more, or if the new address has been taken.
pub async fn change(db: &Database, change: EmailChange<'_>) -> Result<Option<String>, DbError> {
    let EmailChange { token, user, id, undo, undo_page, mail, counters_to_clear } = change;
    let values = [
        &token.as_bytes() as _,
        &user.id.0 as _,
        &id.0 as _,
        &undo.as_bytes() as _,
        &undo_page as _,
        &mail.0 as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
        &seconds(policy::EMAIL_UNDO_LIFETIME) as _,
        &seconds(policy::ADDRESS_CLAIM) as _,
        &counters_to_clear.both.as_bytes() as _,
        &counters_to_clear.source.as_bytes() as _,
        &counters_to_clear.account.as_bytes() as _,
        &counters_to_clear.session.as_ref().map(CounterKey::as_bytes) as _,
    ];
    match db.query_opt(&CHANGE, values).await {
        // Only somebody who writes `users` without a claim can take the address meanwhile, for example a person with a database client.
        Err(error) if error.is_unique_violation() => Ok(None),
        row => Ok(row?.map(|row| row.get("earlier"))),
    }
}

/// The row of `users` decides between concurrent requests. If another one has written it since this statement began, `xmin`, the id of the transaction
/// that wrote it, is another one. Then `restored` has no row, and nothing changes. The statement must run again, because it has not seen what it has to
/// undo.
///
/// If a second factor was added after the change, its notice went to the other address. So the restored address gets a notice, whose link replaces the
/// one in the first notice. Recovery codes that were made after the change are deleted, because whoever changed the address has them. A statement that
/// began before the change may write an earlier time, so a few seconds before the change count as after it.
///
/// While the token is valid, the address is reserved, so nobody else has it. If the answer of an earlier run was lost, the `SELECT` after `UNION ALL`
/// finds what it did by the hash of the new reset token. No other request has this hash.
static UNDO: Statement<11> = Statement {
    sql: concat!(
        "
    WITH due AS (
        SELECT e.id AS change, e.user_id, e.email AS earlier, e.email_verified_at AS verified_at, e.changed_at,
            u.email AS later, u.xmin AS row_version
        FROM email_undos e JOIN users u ON u.id = e.user_id WHERE e.token_hash = $1 AND e.expires_at > now()
    ), restored AS (
        UPDATE users u SET email = due.earlier, email_verified_at = due.verified_at, credential_version = u.credential_version + 1
        FROM due WHERE u.id = due.user_id AND u.xmin = due.row_version
        RETURNING ",
        user_columns!(),
        "
    ), ",
        owe_session_ending!("restored"),
        ", undone AS (
        DELETE FROM email_undos e USING restored, due WHERE e.user_id = restored.id AND e.changed_at >= due.changed_at
    ), still_reserved AS (
        SELECT lower(e.email COLLATE \"C\") AS address FROM email_undos e JOIN due ON e.user_id = due.user_id AND e.changed_at < due.changed_at
    ), released AS (
        DELETE FROM reserved_addresses r USING restored
        WHERE r.user_id = restored.id AND r.address NOT IN (SELECT address FROM still_reserved)
    ), deletion_cancelled AS (
        DELETE FROM account_deletions d USING restored WHERE d.user_id = restored.id
    ), ",
        replace_reset_token!("restored", token: "$2", lifetime: "$7"),
        ", mails AS (
        INSERT INTO outbox (user_id, kind, id, page, recipient, due_at, expires_at)
        SELECT id, 'password_reset', $3, $5, NULL, now() + $6 * interval '1 second', now() + $7 * interval '1 second' FROM restored
        UNION ALL
        SELECT id, 'email_restored ' || due.change, $4, NULL, due.later, now() + $6 * interval '1 second', now() + $8 * interval '1 second'
        FROM restored, due
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, page = excluded.page, recipient = excluded.recipient, attempts = 1, due_at = excluded.due_at,
            expires_at = excluded.expires_at
    ), codes_removed AS (
        DELETE FROM recovery_codes r USING restored, due
        WHERE r.user_id = restored.id AND r.created_at >= due.changed_at - $11 * interval '1 second'
    ), factor_notices AS (
        INSERT INTO outbox (user_id, kind, id, page, recipient, attempts, due_at, expires_at)
        SELECT f.user_id, f.kind || '_added ' || f.factor_id, $9, $10, restored.email, 0, now(), f.expires_at
        FROM factor_undos f JOIN restored ON f.user_id = restored.id JOIN due ON f.created_at >= due.changed_at - $11 * interval '1 second'
        WHERE f.expires_at > now()
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, recipient = excluded.recipient, attempts = 0, due_at = excluded.due_at
    )
    SELECT restored.*, due.later FROM due LEFT JOIN restored ON true
    UNION ALL
    SELECT ",
        user_columns!(),
        ", (SELECT o.recipient FROM outbox o WHERE o.user_id = users.id AND o.id = $4)
    FROM users WHERE id = (SELECT r.user_id FROM password_resets r WHERE r.token_hash = $2)"
    ),
    types: [
        Type::BYTEA,
        Type::BYTEA,
        Type::UUID,
        Type::UUID,
        Type::TEXT,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::UUID,
        Type::TEXT,
        Type::FLOAT8,
    ],
};

static LOCK_ACCOUNT_OF_UNDO: Statement<1> = Statement {
    sql: "
    SELECT u.id FROM users u WHERE u.id = (SELECT e.user_id FROM email_undos e WHERE e.token_hash = $1) FOR NO KEY UPDATE",
    types: [Type::BYTEA],
};

/// A request to undo a change of the address.
#[derive(Clone, Copy)]
pub struct EmailUndo<'a> {
    /// The hash of the token from the mail to the earlier address.
    pub token: &'a LinkTokenHash,
    /// The hash of a new reset token.
    pub reset: &'a LinkTokenHash,
    /// The URL of the page of the reset link, without the token.
    pub reset_page: &'a str,
    /// The id of the first attempt to send the reset link to the restored address.
    pub mail: MailId,
    /// The id of the first attempt to send the notice to the other address.
    pub notice: MailId,
    /// The id of the notice about a second factor that was added after the change.
    pub factor_notice: MailId,
    /// The URL of the page of the link in this notice, without the token.
    pub factor_page: &'a str,
}

/// An undone change of the address.
pub struct EmailRestored {
    /// The account, with the restored address and a higher credential version.
    pub user: User,
    /// The address that the undo replaced. `None` if its notice was sent already.
    pub replaced: Option<String>,
}

/// Restores the address of an account, cancels later changes and a deletion, and ends every session by raising the credential version. Writes the
/// reset link and the notice into the outbox. Also writes that the sessions in DynamoDB must end. `None` if the token is not valid.
pub async fn undo(db: &Database, undo: EmailUndo<'_>) -> Result<Option<EmailRestored>, DbError> {
    let values = [
        &undo.token.as_bytes() as _,
        &undo.reset.as_bytes() as _,
        &undo.mail.0 as _,
        &undo.notice.0 as _,
        &undo.reset_page as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
        &seconds(policy::RESET_TOKEN_LIFETIME) as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
        &undo.factor_notice.0 as _,
        &undo.factor_page as _,
        &seconds(policy::ADDRESS_CLAIM) as _,
    ];
    let row = db.query_unless_account_changes(&UNDO, values, &LOCK_ACCOUNT_OF_UNDO).await?;
    Ok(row.map(|row| EmailRestored { user: user(&row), replaced: row.get("later") }))
}
