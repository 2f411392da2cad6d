//! What must be true in the calm after: every life against the database, and all of them together.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde_json::json;
use shared::{db::SESSION_IS_LIVE, security::ResetToken};
use tokio_postgres::Row;

use super::{Life, Traffic, life::Known};

/// All accounts and what belongs to them, by address.
fn accounts() -> String {
    format!(
        "SELECT u.email, (u.credential_version - 1)::bigint AS resets,
            (SELECT count(*) FROM sessions s WHERE s.user_id = u.id) AS sessions,
            (SELECT count(*) FROM sessions s WHERE {SESSION_IS_LIVE}) AS live,
            (SELECT token_hash FROM password_resets r WHERE r.user_id = u.id) AS token_hash,
            coalesce((SELECT attempts::bigint FROM throttle
                WHERE key = sha256(convert_to('reset mail account ' || u.id, 'UTF8'))), 0) AS links
        FROM users u"
    )
}

/// What must not be: an account twice, rows that belong to nobody, counters that count nothing.
const ODDITIES: &str = "
    SELECT (SELECT count(*) - count(DISTINCT lower(email)) FROM users)
        + (SELECT count(*) FROM throttle WHERE attempts < 0)
        + (SELECT count(*) FROM (
            SELECT user_id FROM sessions UNION ALL SELECT user_id FROM password_resets UNION ALL SELECT user_id FROM outbox
        ) AS owned WHERE user_id NOT IN (SELECT id FROM users))";

const FAILURES: &str = "
    SELECT coalesce(sum(attempts), 0) FROM throttle
    WHERE key = sha256(convert_to('signin source ' || $1::text, 'UTF8'))";

/// What is left of functions that were killed: their statements run to their end.
const ACTIVE: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_database() AND state = 'active'";

const LINKS: &str = "links for a new password";
const RESETS: &str = "new passwords";

/// The books: what people were told, and what there is.
#[derive(Default)]
pub struct Books {
    entries: BTreeMap<&'static str, Entry>,
    mails: String,
}

/// One kind of thing that was asked for.
#[derive(Default)]
struct Entry {
    /// How often the answer was that it is done.
    certain: usize,
    /// How often there was no answer.
    unanswered: usize,
    /// How many of these have turned out to be done.
    turned_out: usize,
    /// How many there are.
    there: usize,
}

impl Entry {
    fn balances(&self) -> bool {
        self.turned_out <= self.unanswered && self.certain + self.turned_out == self.there
    }
}

impl Books {
    /// Adds what one person was told of something, and what there is of it.
    fn add(&mut self, what: &'static str, [certain, unanswered, there]: [usize; 3]) -> bool {
        let one = Entry { certain, unanswered, turned_out: there.saturating_sub(certain), there };
        let all = self.entries.entry(what).or_default();
        all.certain += certain;
        all.unanswered += unanswered;
        all.turned_out += one.turned_out;
        all.there += there;
        one.balances()
    }
}

impl Display for Books {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what | told it is done | told nothing | of these, done | there are |\n| --- | --- | --- | --- | --- |"
        )?;
        for (what, Entry { certain, unanswered, turned_out, there }) in &self.entries {
            writeln!(f, "| {what} | {certain} | {unanswered} | {turned_out} | {there} |")?;
        }
        writeln!(f, "\n{}", self.mails)
    }
}

impl<'a> Traffic<'a> {
    /// Balances the books once all is well again: sends what is owed, holds every life against the database, and lets everybody try what
    /// must work, and what must not. What does not hold is in the record. `exact`, where no connection has died: then no statement
    /// ran twice, and there are no more counts and mails than were asked for.
    pub async fn balance(&'a self, mut lives: Vec<Life<'a>>, exact: bool) -> Books {
        let mut books = Books::default();
        let resent = self.calm().await;
        let database = self.stack.database.connect().await;
        let rows = database.query(&accounts(), &[]).await.expect("the accounts");
        let mut accounts: BTreeMap<String, Row> = rows.into_iter().map(|row| (row.get("email"), row)).collect();
        let mut mails = 0;
        for life in &lives {
            life.is_accounted_for(accounts.remove(&life.person.email).as_ref(), exact, &mut books);
            mails += self.ses.taken_for(&life.person.email).len();
        }
        let asked: usize = [LINKS, RESETS].iter().filter_map(|what| Some(books.entries.get(what)?.there)).sum();
        books.mails = format!("{asked} mails were asked for; SES took {mails}, {resent} of them at the last sweep");
        let odd = self.stack.sql_number(ODDITIES).await;
        for (odd, what) in [
            (!accounts.is_empty(), "there are accounts that nobody signed up for"),
            (odd > 0, "there are accounts twice, rows without an account, or counters below zero"),
            (exact && mails > asked + resent, "there are more mails than were asked for"),
        ] {
            if odd {
                self.record.breaks(what);
            }
        }
        if exact && self.stack.state_table.is_none() {
            self.counts_failures(&lives).await;
        }
        let answered = self.record.unanswered();
        stream::iter(&mut lives).for_each_concurrent(4, Life::tries_everything).await;
        if self.record.unanswered() > answered {
            self.record.breaks("something was not answered in the calm");
        }
        for line in
            self.stack.logs().lines().filter(|line| line.contains("internal_error") || line.contains("panicked"))
        {
            self.record.breaks(format!("a function logged {line}"));
        }
        books
    }

    /// Waits until nothing is under way, and sends what is owed; says how many mails that were.
    async fn calm(&self) -> usize {
        let patience = Instant::now() + Duration::from_secs(30);
        while self.stack.sql_number(ACTIVE).await > 0 && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.stack.mails_become_due().await;
        let report = self.stack.invoke("sweep", &json!({})).await;
        if self.stack.sql_number("SELECT count(*) FROM outbox").await > 0 {
            self.record.breaks(format!("mails are owed after a sweep in the calm: {report:?}"));
        }
        report.ok().and_then(|report| usize::try_from(report["mails_sent"].as_u64()?).ok()).unwrap_or_default()
    }

    /// Nobody else comes from the same source: its counter has the failures of one life.
    async fn counts_failures(&self, lives: &[Life<'a>]) {
        let database = self.stack.database.connect().await;
        for life in lives {
            let row = database.query_one(FAILURES, &[&life.person.source]).await.expect("a sum");
            let counted = usize::try_from(row.get::<_, i64>(0)).unwrap_or_default();
            let least = life.failures.certain;
            let most = least + life.failures.unanswered + life.sign_ins.unanswered;
            if !(least..=most).contains(&counted) {
                life.breaks(&format!("{counted} failures are counted, not {least} to {most}"));
            }
        }
    }
}

impl Life<'_> {
    /// Holds what is known against the database, and the mails against what was asked for.
    fn is_accounted_for(&self, row: Option<&Row>, exact: bool, books: &mut Books) {
        let number = |name: &str| row.map_or(0, |row| usize::try_from(row.get::<_, i64>(name)).expect("a count"));
        let [sessions, live, resets, links] = ["sessions", "live", "resets", "links"].map(number);
        let are = |known: Known| self.sessions.iter().filter(|session| session.lives == known).count();
        let strange = sessions.saturating_sub(self.sessions.len());
        for (what, numbers) in [
            ("accounts", [self.accounts.certain, self.accounts.unanswered.min(1), usize::from(row.is_some())]),
            ("sessions", [self.sign_ins.certain, self.sign_ins.unanswered, sessions]),
            ("sessions that ended", [are(Known::No), are(Known::Maybe) + strange, sessions - live]),
            (RESETS, [self.resets.certain, self.resets.unanswered, resets]),
            (LINKS, [self.links.certain, self.links.unanswered, links]),
        ] {
            // Links are counted: a statement whose answer was lost has run twice.
            let twice = what == LINKS && !exact && links >= self.links.certain;
            if !books.add(what, numbers) && !twice {
                self.breaks(&format!("{what}: told that it is done, told nothing, there are: {numbers:?}"));
            }
        }

        let mails = self.mails();
        let newest = |link: bool| mails.iter().rev().find(|(_, mail)| mail.text.contains("http") == link);
        let came = |link, asked| newest(link).is_some_and(|(at, _)| *at >= asked);
        if let Some(asked) = self.links.last
            && self.reset_tried.is_none_or(|reset| reset < asked)
            && !came(true, asked)
        {
            self.breaks("asked for a link, and no mail came");
        }
        if self.resets.last.is_some_and(|reset| !came(false, reset)) {
            self.breaks("changed the password, and no notice came");
        }
        let token: Option<Vec<u8>> = row.and_then(|row| row.get("token_hash"));
        let mailed = newest(true).and_then(|(_, mail)| ResetToken::parse(&mail.reset_token()));
        if token.is_some_and(|token| mailed.is_none_or(|mailed| mailed.hash().as_bytes() != token)) {
            self.breaks("the newest link is not the one that works");
        }
    }
}
