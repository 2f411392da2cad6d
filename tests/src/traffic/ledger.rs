//! The check after the traffic: compares every simulated user's record with the database.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use shared::security::LinkToken;
use tokio_postgres::Row;

use super::{SimulatedUser, Traffic, client_state::Certainty};
use crate::mailbox::Mail;

/// All accounts, with what is compared.
const ACCOUNTS: &str = "
    SELECT u.id, u.email, (u.credential_version - 1)::bigint AS credential_changes,
        u.email_verified_at IS NOT NULL AS is_verified,
        EXISTS (SELECT FROM account_deletions d WHERE d.user_id = u.id) AS is_deleted,
        EXISTS (SELECT FROM passkeys p WHERE p.user_id = u.id) AS has_passkey,
        (SELECT count(*) FROM sessions s WHERE s.user_id = u.id) AS sessions,
        (SELECT token_hash FROM password_resets r
            WHERE r.user_id = u.id AND r.credential_version = u.credential_version AND r.email = u.email) AS token_hash,
        coalesce((SELECT attempts::bigint FROM throttle
            WHERE key = sha256(convert_to('reset mail account ' || u.id, 'UTF8'))), 0) AS links
    FROM users u";

/// The number of rows that must not exist: duplicate accounts, an address that another account may get back, rows without an account, and negative
/// counters.
const INVALID_ROWS: &str = "
    SELECT (SELECT count(*) - count(DISTINCT lower(email)) FROM users)
        + (SELECT count(*) FROM users u JOIN reserved_addresses r ON r.address = lower(u.email COLLATE \"C\")
            WHERE r.user_id <> u.id AND r.expires_at > now())
        + (SELECT count(*) FROM throttle WHERE attempts < 0)
        + (SELECT count(*) FROM (
            SELECT user_id FROM sessions UNION ALL SELECT user_id FROM password_resets UNION ALL SELECT user_id FROM outbox
        ) AS owned WHERE user_id NOT IN (SELECT id FROM users))";

/// The failed sign-ins that are counted for a source.
const FAILED_SIGN_INS: &str = "
    SELECT coalesce(sum(attempts), 0) FROM throttle
    WHERE key = sha256(convert_to('signin source ' || $1::text, 'UTF8'))";

/// The number of running statements. A statement continues to run after its function was killed.
const RUNNING_STATEMENTS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE usename = current_database() AND state = 'active'";

const RESET_LINKS: &str = "reset links";
/// The subjects of notices. Users change their language to German.
const PASSWORD_CHANGED: [&str; 2] = ["Your password was changed", "Ihr Passwort wurde geändert"];
const EMAIL_RESTORED: [&str; 2] =
    ["The change of your email address was undone", "Die Änderung Ihrer E-Mail-Adresse wurde rückgängig gemacht"];

/// The numbers of acknowledged changes, of uncertain changes, and of changes that the database contains, by kind of change.
#[derive(Default)]
pub struct Ledger {
    entries: BTreeMap<&'static str, Entry>,
    mails: String,
}

/// The totals for one kind of change.
#[derive(Default)]
struct Entry {
    /// Changes that were acknowledged.
    acknowledged: usize,
    /// Requests without an answer.
    unanswered: usize,
    /// Changes in the database that were not acknowledged.
    unacknowledged: usize,
    /// Changes in the database.
    stored: usize,
}

impl Entry {
    fn balances(&self) -> bool {
        self.unacknowledged <= self.unanswered && self.acknowledged + self.unacknowledged == self.stored
    }
}

impl Ledger {
    /// Adds one user's numbers for one kind of change. `false` if they do not balance.
    fn add(&mut self, what: &'static str, [acknowledged, unanswered, stored]: [usize; 3]) -> bool {
        let unacknowledged = stored.saturating_sub(acknowledged);
        let one = Entry { acknowledged, unanswered, unacknowledged, stored };
        let all = self.entries.entry(what).or_default();
        all.acknowledged += acknowledged;
        all.unanswered += unanswered;
        all.unacknowledged += unacknowledged;
        all.stored += stored;
        one.balances()
    }
}

impl Display for Ledger {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| change | acknowledged | without an answer | of these, stored | all stored |\n| --- | --- | --- | --- | --- |"
        )?;
        for (what, Entry { acknowledged, unanswered, unacknowledged, stored }) in &self.entries {
            writeln!(f, "| {what} | {acknowledged} | {unanswered} | {unacknowledged} | {stored} |")?;
        }
        writeln!(f, "\n{}", self.mails)
    }
}

impl<'a> Traffic<'a> {
    /// Compares all users with the database after the faults have ended: sends the pending mails, compares every record, and lets every
    /// user try all sessions and passwords. Violations are reported to the answer log. Pass `exact` if no connection was interrupted:
    /// then no statement ran twice, so there must be no more counted attempts and mails than were requested.
    pub async fn verify(&'a self, mut users: Vec<SimulatedUser<'a>>, exact: bool) -> Ledger {
        let mut ledger = Ledger::default();
        let accepted = |user: &SimulatedUser<'_>| user.mails().len();
        let sent_by_requests: Vec<_> = users.iter().map(accepted).collect();
        let sent_by_sweep = self.wait_and_sweep().await;
        let database = self.stack.database.connect().await;
        let rows = database.query(ACCOUNTS, &[]).await.expect("the accounts");
        let mut accounts: BTreeMap<String, Row> = rows.into_iter().map(|row| (row.get("email"), row)).collect();
        let live = self.stack.sessions().live_by_user().await;
        let (mut mails, mut most_mails) = (0, 0);
        for (user, sent_by_requests) in users.iter().zip(sent_by_requests) {
            let row = user.account.addresses.iter().find_map(|address| accounts.remove(address));
            let live = row.as_ref().and_then(|row| live.get(&row.get("id"))).map_or(0, Vec::len);
            user.compare_sessions(row.as_ref(), live, &mut ledger);
            user.compare_with_database(row.as_ref(), exact, &mut ledger);
            if exact && sent_by_requests > user.most_mails {
                user.report_violation(&format!(
                    "{} mails were due, and the requests sent {sent_by_requests}",
                    user.most_mails
                ));
            }
            mails += accepted(user);
            most_mails += user.most_mails;
        }
        ledger.mails = format!(
            "At most {most_mails} mails were due; SES accepted {mails}, {sent_by_sweep} of them from the last sweep"
        );
        let invalid_rows = self.stack.sql_number(INVALID_ROWS).await;
        for (violated, what) in [
            (!accounts.is_empty(), "there are accounts that no user signed up for"),
            (
                invalid_rows > 0,
                "there are duplicate accounts, taken addresses, rows without an account, or negative counters",
            ),
        ] {
            if violated {
                self.answers.report_violation(what);
            }
        }
        if exact && self.stack.state_table.is_none() {
            self.compare_failure_counters(&users).await;
        }
        let unanswered = self.answers.unanswered();
        stream::iter(&mut users).for_each_concurrent(4, SimulatedUser::try_sessions_and_passwords).await;
        if self.answers.unanswered() > unanswered {
            self.answers.report_violation("a request after the faults was not answered");
        }
        for line in
            self.stack.logs().lines().filter(|line| line.contains("internal_error") || line.contains("panicked"))
        {
            self.answers.report_violation(format!("a function logged {line}"));
        }
        ledger
    }

    /// Waits until no statement runs, and sends the pending mails. Returns their number.
    async fn wait_and_sweep(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.stack.sql_number(RUNNING_STATEMENTS).await > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.stack.make_mails_due().await;
        let report = self.stack.invoke("sweep", &json!({})).await;
        let is_done = |report: &Value| report["mails_owed"] == 0 && report["sessions_owed"] == 0;
        if !report.as_ref().is_ok_and(is_done) {
            self.answers.report_violation(format!("the last sweep left mails to send or sessions to end: {report:?}"));
        }
        report.ok().and_then(|report| usize::try_from(report["mails_sent"].as_u64()?).ok()).unwrap_or_default()
    }

    /// Compares the counters of failed sign-ins. Each user has a source of their own.
    async fn compare_failure_counters(&self, users: &[SimulatedUser<'a>]) {
        let database = self.stack.database.connect().await;
        for user in users {
            let row = database.query_one(FAILED_SIGN_INS, &[&user.person.source]).await.expect("a sum");
            let counted = usize::try_from(row.get::<_, i64>(0)).unwrap_or_default();
            let least = user.failed_sign_ins.acknowledged;
            let most = least + user.failed_sign_ins.unanswered + user.sign_ins.unanswered;
            if !(least..=most).contains(&counted) {
                user.report_violation(&format!("{counted} failed sign-ins are counted instead of {least} to {most}"));
            }
        }
    }
}

fn number(row: Option<&Row>, name: &str) -> usize {
    row.map_or(0, |row| usize::try_from(row.get::<_, i64>(name)).expect("a count"))
}

impl SimulatedUser<'_> {
    /// Compares this user's sessions with those that are stored. An ended session is deleted from DynamoDB, so only the live ones are compared there.
    fn compare_sessions(&self, row: Option<&Row>, live: usize, ledger: &mut Ledger) {
        let alive = |certainty| self.sessions.iter().filter(|session| session.alive == certainty).count();
        let entries = if self.traffic.stack.state_table.is_some() {
            let uncertain = alive(Certainty::Unknown) + self.sign_ins.unanswered;
            vec![("live sessions", [alive(Certainty::Yes), uncertain, live])]
        } else {
            let stored = number(row, "sessions");
            let unacknowledged = stored.saturating_sub(self.sessions.len());
            let ended = [alive(Certainty::No), alive(Certainty::Unknown) + unacknowledged, stored - live];
            let opened = [self.sign_ins.acknowledged, self.sign_ins.unanswered, stored];
            vec![("sessions", opened), ("ended sessions", ended)]
        };
        for (what, numbers) in entries {
            if !ledger.add(what, numbers) {
                self.report_violation(&format!("{what}: acknowledged, without an answer, stored: {numbers:?}"));
            }
        }
    }

    /// Compares this user's record with the database, and the mails with the requests.
    fn compare_with_database(&self, row: Option<&Row>, exact: bool, ledger: &mut Ledger) {
        let [credential_changes, links] = ["credential_changes", "links"].map(|name| number(row, name));
        let account = &self.account;
        let changes = [&self.resets, &account.deletions, &account.undos, &self.factors.changes];
        let acknowledged = changes.iter().map(|changes| changes.acknowledged).sum();
        let unanswered = changes.iter().map(|changes| changes.unanswered).sum();
        let state = |certainty: Certainty, stored: bool| {
            [
                usize::from(certainty == Certainty::Yes),
                usize::from(certainty == Certainty::Unknown),
                usize::from(stored),
            ]
        };
        let is = |name: &str| row.is_some_and(|row| row.get(name));
        let is_moved = row.is_some_and(|row| row.get::<_, &str>("email") == account.addresses[1]);
        for (what, numbers) in [
            ("accounts", [self.sign_ups.acknowledged, self.sign_ups.unanswered.min(1), usize::from(row.is_some())]),
            ("changes of credentials", [acknowledged, unanswered, credential_changes]),
            ("changed addresses", state(account.is_moved, is_moved)),
            ("verified addresses", state(account.is_verified, is("is_verified"))),
            ("deleted accounts", state(account.is_deleted, is("is_deleted"))),
            ("accounts with a passkey", state(self.factors.has_passkey, is("has_passkey"))),
            (RESET_LINKS, [self.links.acknowledged, self.links.unanswered, links]),
        ] {
            // If the answer to a statement was lost, the function repeats the statement, which then counts the link twice.
            let counted_twice = what == RESET_LINKS && !exact && links >= self.links.acknowledged;
            if !ledger.add(what, numbers) && !counted_twice {
                self.report_violation(&format!("{what}: acknowledged, without an answer, stored: {numbers:?}"));
            }
        }

        let mails = self.mails();
        let arrived_since = |sent: Instant, is_meant: &dyn Fn(&Mail) -> bool| {
            mails.iter().any(|(at, mail)| *at >= sent && is_meant(mail))
        };
        let leads_to = |mail: &Mail, page: &str| mail.text.contains(&format!("/{page}/"));
        if let Some(sent) = self.links.last_sent
            && self.links_voided.is_none_or(|voided| voided < sent)
            && !arrived_since(sent, &|mail| leads_to(mail, "reset-password") || leads_to(mail, "keep-account"))
        {
            self.report_violation("requested a reset link and received no mail");
        }
        if self
            .resets
            .last_sent
            .is_some_and(|sent| !arrived_since(sent, &|mail| PASSWORD_CHANGED.contains(&&*mail.subject)))
        {
            self.report_violation("changed the password and received no notice");
        }
        if account
            .undos
            .last_sent
            .is_some_and(|sent| !arrived_since(sent, &|mail| EMAIL_RESTORED.contains(&&*mail.subject)))
        {
            self.report_violation("undid a change of the address and received no notice");
        }
        for (changes, still_holds, page) in [
            (&account.moves, account.is_moved == Certainty::Yes, "undo-email-change"),
            (&account.deletions, account.is_deleted == Certainty::Yes, "keep-account"),
        ] {
            let is_missing = |sent| !arrived_since(sent, &|mail| leads_to(mail, page));
            if still_holds && changes.last_sent.is_some_and(is_missing) {
                self.report_violation(&format!("received no link to {page}"));
            }
        }
        let token: Option<Vec<u8>> = row.and_then(|row| row.get("token_hash"));
        let mailed = self.newest_mail("reset-password").and_then(|mail| LinkToken::parse(&mail.token()));
        if token.is_some_and(|token| mailed.is_none_or(|mailed| mailed.hash().as_bytes() != token)) {
            self.report_violation("the newest mailed link is not the valid one");
        }
    }
}
