//! Rules that several SQL statements share. Each is a macro, because `concat!` can then join a statement and its rules into one constant text.

/// The condition that a session is live: `s` is its row in `sessions`, and `u` has the `id` and `credential_version` of its user.
///
/// A stored session never has a higher version than its user. So `=` would give the same result as `<=`, if a statement always saw both rows as they
/// are at one moment. But a statement that waits for a locked row reads only this row again. Suppose that the user of the session adds or removes a second factor
/// meanwhile, which gives both the next version. A statement that waited for the session's row sees the new session and the old user. The session
/// is live, and `<=` accepts it. A statement that waited for the user's row sees the old session and the new user, and finds no live session.
/// `Database::query_in_session` runs such a statement once more.
macro_rules! session_is_live {
    () => {
        "u.id = s.user_id AND u.credential_version <= s.credential_version AND s.revoked_at IS NULL AND s.expires_at > now()"
    };
}

/// When the user of the session `s` last signed in or reauthenticated.
macro_rules! auth_time {
    () => {
        "coalesce(s.auth_time, s.created_at)"
    };
}

/// When the session `s` was last used: opened, refreshed, or used to reauthenticate.
macro_rules! last_used {
    () => {
        "greatest(s.refreshed_at, s.auth_time)"
    };
}

/// The condition that `u` is the user `$1`, and that the session `$2` that the request presents is live ([`crate::domain::PresentedSession`]). If
/// sessions are in DynamoDB, where the session was found live before, `$3` is its credential version, and the condition is that the user still has
/// this version. Else `$3` is NULL.
macro_rules! session_is_presented {
    () => {
        concat!(
            "u.id = $1 AND CASE WHEN $3 IS NULL
            THEN EXISTS (SELECT FROM sessions s WHERE s.id = $2 AND ",
            $crate::db::rules::session_is_live!(),
            ")
            ELSE u.credential_version = $3
        END"
        )
    };
}

/// The condition that a row of `users` has this address. Only the case of ASCII letters is ignored, whatever the database's collation.
macro_rules! has_address {
    ($address:literal) => {
        concat!("lower(email COLLATE \"C\") = lower(", $address, " COLLATE \"C\")")
    };
}

/// The condition that the user of a row of `users` has deleted the account. `$user` is the column with the id.
macro_rules! is_deleted {
    ($user:literal) => {
        concat!("EXISTS (SELECT FROM account_deletions d WHERE d.user_id = ", $user, ")")
    };
}

/// The mailbox of an address. For most mail services, `kate+anything@example.com` is the same mailbox as `kate@example.com`.
macro_rules! mailbox_of {
    ($address:literal) => {
        concat!(
            "lower(split_part(split_part(",
            $address,
            ", '@', 1), '+', 1) || '@' || split_part(",
            $address,
            ", '@', 2) COLLATE \"C\")"
        )
    };
}

/// The condition that an address belongs to an account, or is reserved for an account other than `$user`.
macro_rules! is_taken {
    ($address:literal, by_another_than: $user:literal) => {
        concat!(
            "(EXISTS (SELECT FROM users WHERE ",
            $crate::db::rules::has_address!($address),
            ") OR EXISTS (SELECT FROM reserved_addresses r WHERE r.address = lower(",
            $address,
            " COLLATE \"C\") AND r.expires_at > now() AND r.user_id <> ",
            $user,
            "))"
        )
    };
}

/// The columns of a [`crate::domain::User`], from a row of `users`. The id is cast, so that the code also works before the migration that
/// widens the column.
macro_rules! user_columns {
    () => {
        "id::bigint AS id, name, email, email_verified_at IS NOT NULL AS email_verified, locale, credential_version"
    };
}

/// The columns of [`crate::domain::Factors`] of the user `u`.
macro_rules! factor_columns {
    () => {
        "EXISTS (SELECT FROM totp t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL) AS has_totp,
        EXISTS (SELECT FROM passkeys p WHERE p.user_id = u.id) AS has_passkeys"
    };
}

/// The columns of a [`crate::db::users::Profile`] of the user `u`.
macro_rules! profile_columns {
    () => {
        concat!(
            $crate::db::rules::user_columns!(),
            ", CASE WHEN isfinite(created_at) THEN created_at END AS created_at, ",
            $crate::db::rules::factor_columns!(),
            ", ",
            $crate::db::rules::pending_email!()
        )
    };
}

/// The address that the user `u` wants to change to, while the request can still take effect.
macro_rules! pending_email {
    () => {
        "(SELECT c.email FROM email_changes c
            WHERE c.user_id = u.id AND c.credential_version = u.credential_version AND c.expires_at > now()) AS pending_email"
    };
}

/// The columns of a [`crate::domain::Session`], from a row `s` of `sessions`, and from the row `u` of its user, if the statement has one.
macro_rules! session_columns {
    () => {
        $crate::db::rules::session_columns!("(SELECT u.email_verified_at FROM users u WHERE u.id = s.user_id)")
    };
    (and user) => {
        $crate::db::rules::session_columns!("u.email_verified_at")
    };
    ($email_verified_at:literal) => {
        concat!(
            "s.id, s.user_id::bigint AS user_id, s.refresh_id,
        s.refreshed_at, ",
            $crate::db::rules::auth_time!(),
            " AS auth_time,
        coalesce(s.amr, 1) AS amr,
        ",
            $email_verified_at,
            " IS NOT NULL AS email_verified,
        s.expires_at, now() AS now"
        )
    };
}

/// The key of a counter, from its name: the same as [`crate::domain::CounterKey::of`].
macro_rules! counter_key {
    ($name:expr) => {
        concat!("sha256(convert_to(", $name, ", 'UTF8'))")
    };
}

/// A count plus one while its period has not ended, otherwise 1.
macro_rules! one_more {
    ($count:literal while $running:expr) => {
        concat!("CASE WHEN ", $running, " THEN ", $count, " + 1 ELSE 1 END")
    };
}

/// An `INSERT` that adds one to the counter `$key` for the row of `$rows`, up to `$limit` within `$window` seconds. The window begins with the first
/// attempt. At the limit, the statement changes no row and returns no row.
macro_rules! count_within_window {
    ($key:expr, for $rows:expr, up to $limit:literal within $window:literal) => {
        concat!(
            "INSERT INTO throttle AS t (key, attempts, expires_at)
        SELECT ",
            $key,
            ", 1, now() + ",
            $window,
            " * interval '1 second' FROM ",
            $rows,
            " ON CONFLICT (key) DO UPDATE SET
            attempts = ",
            $crate::db::rules::one_more!("t.attempts" while "t.expires_at > now()"),
            ", expires_at = CASE WHEN t.expires_at > now() THEN t.expires_at ELSE excluded.expires_at END
            WHERE t.expires_at <= now() OR t.attempts < ",
            $limit,
            " RETURNING key"
        )
    };
}

/// The parts of a `WITH` that count a mail to a mailbox that nobody has proved, for a row of `$due`: first for its source, whose counter is
/// `$source`, then for all together ([`crate::security::MailBudget`]). `budget_counted` has a row if the mail may be sent. All windows are `$window`
/// seconds.
macro_rules! count_in_mail_budget {
    ($due:literal, source: $source:literal, of_source: $of_source:literal, of_all: $of_all:literal, window: $window:literal) => {
        concat!(
            "source_counted AS (
        ",
            $crate::db::rules::count_within_window!($source, for $due, up to $of_source within $window),
            "
    ), budget_counted AS (
        ",
            $crate::db::rules::count_within_window!(
                $crate::db::rules::counter_key!("'mails to unproved mailboxes'"),
                for concat!("source_counted WHERE ", $of_all, " > 0"),
                up to $of_all within $window
            ),
            "
    )"
        )
    };
}

/// Whether the budget of all is used up, after [`count_in_mail_budget!`].
macro_rules! is_over_budget {
    () => {
        "EXISTS (SELECT FROM source_counted) AND NOT EXISTS (SELECT FROM budget_counted) AS is_over_budget"
    };
}

/// The name of an account in the counters of mails to its mailbox, from the columns `id` and `email`. For most mail services,
/// `kate+anything@example.com` is the same mailbox as `kate@example.com`, and an attacker could sign up with any number of such addresses. So all
/// addresses with a `+` that lead to one mailbox share one counter. The address without a `+` has a counter of its own. So an attacker who causes
/// mails to `kate+1@example.com` does not use up the limit of `kate@example.com`.
macro_rules! mailbox_of_account {
    () => {
        "CASE
            WHEN position('+' IN split_part(email, '@', 1)) = 0 THEN 'account ' || id
            ELSE 'tags ' || lower(split_part(email, '+', 1) || '@' || split_part(email, '@', 2) COLLATE \"C\")
        END"
    };
}

/// The parts of a `WITH` that count a mail of the kind `$kind` about the account in the row of `$account`, which has `id`, `email` and
/// `email_verified`. `notified` has this row if the mail may be sent. Verified addresses have no limit. Others have one, because anybody can sign up
/// with somebody else's address.
macro_rules! count_account_mail {
    ($kind:literal, $account:literal, limit: $limit:literal, window: $window:literal) => {
        concat!(
            "unproved_counted AS (
        ",
            $crate::db::rules::count_within_window!(
                $crate::db::rules::counter_key!("mailbox"),
                for concat!(
                    "(SELECT '",
                    $kind,
                    " mail ' || ",
                    $crate::db::rules::mailbox_of_account!(),
                    " AS mailbox FROM ",
                    $account,
                    " WHERE NOT email_verified) AS address"
                ),
                up to $limit within $window
            ),
            "
    ), notified AS (
        SELECT a.* FROM ",
            $account,
            " a WHERE a.email_verified OR EXISTS (SELECT FROM unproved_counted)
    )"
        )
    };
}

/// The seconds until a time, as `float8`.
macro_rules! seconds_until {
    ($time:literal) => {
        concat!("extract(epoch FROM ", $time, " - now())::float8")
    };
}

pub(super) use {
    auth_time, count_account_mail, count_in_mail_budget, count_within_window, counter_key, factor_columns, has_address,
    is_deleted, is_over_budget, is_taken, last_used, mailbox_of, mailbox_of_account, one_more, pending_email,
    profile_columns, seconds_until, session_columns, session_is_live, session_is_presented, user_columns,
};

/// The condition that a session is live, for the tests that look into the database.
pub const SESSION_IS_LIVE: &str = session_is_live!();
