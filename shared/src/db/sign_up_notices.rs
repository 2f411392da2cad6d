//! The notice for the owner of an address with which somebody tried to sign up.

use tokio_postgres::types::Type;

use super::{
    AnyStatement, Database, DbError,
    rules::{
        count_in_mail_budget, count_within_window, counter_key, has_address, is_over_budget, mailbox_of, user_columns,
    },
    seconds,
    statement::Statement,
    users::user,
};
use crate::{
    domain::{Email, MailId, Source, User},
    security::{MailBudget, policy},
};

/// All statements of this module.
pub(super) static STATEMENTS: [&dyn AnyStatement; 1] = [&OWE];

/// The notice goes to the user who has the address or may get it back, at the address as that account stores it. The sign-up is counted before the
/// limit of the mailbox, and even without such a user. So it counts like a sign-up with a free address.
///
/// If the answer of an earlier run was lost, the second run counts the mail again. If this exceeds a limit, the outbox shows that the mail is owed.
static OWE: Statement<10> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        ", email AS recipient FROM users WHERE ",
        has_address!("$1"),
        "
        UNION ALL
        SELECT ",
        user_columns!(),
        ", earlier FROM users JOIN (
            SELECT e.user_id, e.email AS earlier FROM reserved_addresses r JOIN email_undos e ON e.user_id = r.user_id
            WHERE r.address = lower($1 COLLATE \"C\") AND r.expires_at > now() AND lower(e.email COLLATE \"C\") = r.address
            ORDER BY e.changed_at DESC LIMIT 1
        ) AS reserved ON reserved.user_id = users.id
        WHERE NOT EXISTS (SELECT FROM users WHERE ",
        has_address!("$1"),
        ")
    ), signed_up AS (
        SELECT
    ), ",
        count_in_mail_budget!("signed_up", source: "$5", of_source: "$6", of_all: "$7", window: "$8"),
        ", mailbox_counted AS (
        ",
        count_within_window!(
            counter_key!("'sign-up notice ' || mailbox"),
            for concat!("(SELECT ", mailbox_of!("$1"), " AS mailbox FROM account, budget_counted) AS address"),
            up to "$3" within "$4"
        ),
        "
    ), mail AS (
        INSERT INTO outbox (user_id, kind, id, recipient, due_at, expires_at)
        SELECT account.id, 'sign_up_attempted', $2, recipient, now() + $9 * interval '1 second', now() + $10 * interval '1 second'
        FROM account, mailbox_counted
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, recipient = excluded.recipient, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
        RETURNING user_id
    )
    SELECT account.*, EXISTS (SELECT FROM mail) OR EXISTS (SELECT FROM outbox o WHERE o.user_id = account.id AND o.id = $2) AS is_owed,
        ",
        is_over_budget!(),
        "
    FROM signed_up LEFT JOIN account ON true"
    ),
    types: [
        Type::TEXT,
        Type::UUID,
        Type::INT4,
        Type::FLOAT8,
        Type::BYTEA,
        Type::INT4,
        Type::INT4,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::FLOAT8,
    ],
};

/// A notice that is in the outbox.
pub struct SignUpNotice {
    /// The owner of the address.
    pub owner: User,
    /// The address.
    pub recipient: String,
}

/// A counted sign-up with a taken address.
pub struct CountedSignUp {
    /// The notice. `None` if a limit of mails is reached, or if the address has no owner any more.
    pub notice: Option<SignUpNotice>,
    /// Whether the limit of all mails to unproved mailboxes together was reached.
    pub is_over_budget: bool,
}

/// Counts a sign-up with a taken address in the budget of mails, and writes the notice into the outbox. `mail` is the id of the first attempt to send
/// it.
pub async fn owe(
    db: &Database,
    email: &Email,
    mail: MailId,
    source: &Source,
    budget: MailBudget,
) -> Result<CountedSignUp, DbError> {
    let (limit, source) = (policy::SIGN_UP_NOTICES_OF_MAILBOX, MailBudget::source_counter(source));
    let values = [
        &email.as_str() as _,
        &mail.0 as _,
        &limit.attempts as _,
        &seconds(limit.window) as _,
        &source.as_bytes() as _,
        &policy::MAILS_OF_SOURCE as _,
        &budget.mails() as _,
        &seconds(policy::MAIL_BUDGET_WINDOW) as _,
        &seconds(policy::MAIL_FIRST_RETRY) as _,
        &seconds(policy::NOTICE_LIFETIME) as _,
    ];
    let row = match db.query_one(&OWE, values).await {
        // The account was erased at the same time. The second run finds no owner.
        Err(error) if error.is_foreign_key_violation() => db.query_one(&OWE, values).await?,
        row => row?,
    };
    let is_owed = row.get::<_, Option<bool>>("is_owed") == Some(true);
    let notice = is_owed.then(|| SignUpNotice { owner: user(&row), recipient: row.get("recipient") });
    Ok(CountedSignUp { notice, is_over_budget: row.get("is_over_budget") })
}
