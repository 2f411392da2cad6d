//! The notice for the owner of an address with which somebody tried to sign up.

use tokio_postgres::types::Type;

use super::{
    AnyStatement, Database, DbError,
    rules::{
        count_in_mail_budget, count_within_window, counter_key, has_address, is_deleted, mailbox_of, user_columns,
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

/// If the answer of an earlier run was lost, the second run counts the mail again. If this exceeds a limit, the outbox shows that the mail is owed.
static OWE: Statement<10> = Statement {
    sql: concat!(
        "
    WITH account AS (
        SELECT ",
        user_columns!(),
        " FROM users u WHERE ",
        has_address!("$1"),
        " AND NOT ",
        is_deleted!("u.id"),
        "
    ), mailbox_counted AS (
        INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT ",
        counter_key!("'sign-up notice ' || mailbox"),
        ", 1, now() + $4 * interval '1 second' FROM (SELECT ",
        mailbox_of!("email"),
        " AS mailbox FROM account) AS address",
        count_within_window!(up to "$3"),
        "
    ), ",
        count_in_mail_budget!("mailbox_counted", source: "$5", of_source: "$6", of_all: "$7", window: "$8"),
        ", mail AS (
        INSERT INTO outbox (user_id, kind, id, due_at, expires_at)
        SELECT account.id, 'sign_up_attempted', $2, now() + $9 * interval '1 second', now() + $10 * interval '1 second'
        FROM account, budget_counted
        ON CONFLICT (user_id, kind) DO UPDATE
        SET id = excluded.id, attempts = 1, due_at = excluded.due_at, expires_at = excluded.expires_at
        RETURNING user_id
    )
    SELECT account.* FROM account
    WHERE EXISTS (SELECT FROM mail) OR EXISTS (SELECT FROM outbox o WHERE o.user_id = account.id AND o.id = $2)"
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

/// Writes the notice into the outbox, and returns its recipient. `None` if the address has no account that can be used, or if a limit of mails is
/// reached. `mail` is the id of the first attempt to send it.
pub async fn owe(
    db: &Database,
    email: &Email,
    mail: MailId,
    source: &Source,
    budget: MailBudget,
) -> Result<Option<User>, DbError> {
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
    Ok(db.query_opt(&OWE, values).await?.as_ref().map(user))
}
