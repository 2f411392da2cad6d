//! Counters in [`StateTable`]. The partition `c#<key>` holds one item. `attempts` is the count, and `blocked_until` is the end of a wait, in seconds
//! since 1970.

use async_trait::async_trait;

use super::Counters;
use crate::{
    db::{
        Database, DbError,
        throttle::{self, CountedSignIn, NotCounted},
    },
    domain::{CounterKey, EmailLookup, SignInCounters, Source, TooMany, UnixMillis, UnixTime, UserId},
    security::{
        Attempt,
        policy::{self, Limit},
    },
    sessions::SessionTable,
    state_table::{Item, Key, StateTable, Update, Updated, number, within},
};

/// The counters in the table. The accounts are in PostgreSQL.
pub(super) struct DynamoDbCounters {
    table: StateTable,
    sessions: SessionTable,
    database: Database,
}

/// The maximum number of times that an update is tried. A try fails if another request has changed the counter in the meantime. When many sign-ins to
/// one account from one source update the counter at the same time, one succeeds and the others try again. After five have been counted, the wait
/// begins: the others are refused and do not try again. So ten tries suffice.
const CONFLICTS: usize = 10;

/// No account has this id, because PostgreSQL assigns ids from 1 on.
const NOBODY: UserId = UserId(0);

/// How long a counter remembers its attempts.
#[derive(Clone, Copy)]
enum Memory {
    /// It counts within one window, which begins with the first attempt.
    Window,
    /// Each attempt extends its life by one window.
    WindowEach,
}

impl DynamoDbCounters {
    pub(super) fn new(table: StateTable, database: Database) -> Self {
        Self { sessions: SessionTable::new(table.clone()), table, database }
    }

    /// Counts up to a limit. DynamoDB adds in one atomic update, so attempts at the same time are all counted. `is_running` says whether a window has
    /// probably begun, so that the first update usually succeeds.
    async fn count_up_to(
        &self,
        counter: CounterKey,
        limit: Limit,
        memory: Memory,
        mut is_running: bool,
        now: UnixTime,
    ) -> Result<(), NotCounted> {
        let (one, at, end) = ((":one", 1), (":now", now.0), (":end", now.plus(limit.window).0));
        let below = [one, at, (":limit", limit.attempts.into())];
        let window = (":window", limit.window.as_secs().cast_signed());
        for _ in 0..CONFLICTS {
            let updated = if is_running {
                let condition = "expires_at > :now AND attempts < :limit";
                match memory {
                    Memory::Window => self.update(counter, "ADD attempts :one", condition, &below).await?,
                    Memory::WindowEach => {
                        let change = "SET expires_at = expires_at + :window ADD attempts :one";
                        self.update(counter, change, condition, &[&below[..], &[window]].concat()).await?
                    }
                }
            } else {
                let begin = "SET attempts = :one, expires_at = :end";
                let over = "attribute_not_exists(expires_at) OR expires_at <= :now";
                self.update(counter, begin, over, &[one, at, end]).await?
            };
            let Updated::Refused(found) = updated else { return Ok(()) };
            let found = running(found, now);
            if let Some(full) = full(found.as_ref(), limit, now) {
                return Err(full.into());
            }
            is_running = found.is_some();
        }
        Err(contended())
    }

    /// Counts a failure of one account from one source. Each failure makes the next wait longer. The item is written only if it has not
    /// changed since it was read. Returns the item as it was before.
    async fn count_with_waits(&self, counter: CounterKey, now: UnixTime) -> Result<Item, NotCounted> {
        let mut before = Item::default();
        for _ in 0..CONFLICTS {
            if let Some(wait) = blocked(&before, now) {
                return Err(wait.into());
            }
            let attempts = attempts(&before) + 1;
            // Without a wait, `blocked_until` is 0. With `now`, a concurrent request that began a second earlier would see a time in the future, and
            // would be refused.
            let wait = policy::signin_wait(i32::try_from(attempts).unwrap_or(i32::MAX));
            let blocked_until = wait.map_or(0, |wait| now.plus(wait).0);
            let change = "SET attempts = :attempts, blocked_until = :blocked_until, expires_at = :end";
            let unchanged = if attempts == 1 {
                "attribute_not_exists(expires_at) OR expires_at <= :now OR attempts = :before"
            } else {
                "expires_at > :now AND attempts = :before"
            };
            let values = [
                (":attempts", attempts),
                (":blocked_until", blocked_until),
                (":end", now.plus(policy::SIGNIN_MEMORY).0),
                (":before", attempts - 1),
                (":now", now.0),
            ];
            match self.update(counter, change, unchanged, &values).await? {
                Updated::Done(_) => return Ok(before),
                Updated::Refused(found) => before = running(found, now).unwrap_or_default(),
            }
        }
        Err(contended())
    }

    /// Takes back [`Self::count_with_waits`], unless another attempt has been counted since.
    async fn take_back(&self, counter: CounterKey, before: &Item) -> Result<(), DbError> {
        let values = [
            (":before", attempts(before)),
            (":blocked_until", before.number("blocked_until").unwrap_or(0)),
            (":counted", attempts(before) + 1),
        ];
        let change = "SET attempts = :before, blocked_until = :blocked_until";
        self.update(counter, change, "attempts = :counted", &values).await.map(drop)
    }

    /// Counts an attempt to sign in as a failure. The counter of this account and source comes first. If it counts the attempt, and one of the other
    /// two is full, the attempt is refused and taken back. If neither is full, the other two count it. If one of these has become full in the
    /// meantime, the attempt is refused, and the other counters may have counted it.
    async fn count_failure(
        &self,
        counters: &SignInCounters,
        owner: Option<UserId>,
        source: &Source,
        now: UnixMillis,
    ) -> Result<(), NotCounted> {
        let of_source = policy::SIGNIN_FAILURES_OF_SOURCE;
        let of_account =
            Limit { attempts: policy::SIGNIN_FAILURES_OF_ACCOUNT, window: policy::SIGNIN_MEMORY_OF_ACCOUNT };
        let at = now.seconds();
        let others = async { Ok(self.read([counters.source, counters.account], at).await?) };
        let (before, [read_source, read_account]) = tokio::try_join!(self.count_with_waits(counters.both, at), others)?;

        let source_is_full = full(read_source.as_ref(), of_source, at);
        let mut account_is_closed = full(read_account.as_ref(), of_account, at);
        if account_is_closed.is_some() && self.is_signed_in_here(owner, source, now).await? {
            account_is_closed = None;
        }
        if let Some(wait) = [source_is_full, account_is_closed].into_iter().flatten().max() {
            self.take_back(counters.both, &before).await?;
            let reset_helps = account_is_closed.is_some() && source_is_full.is_none();
            return Err(TooMany { reset_helps, ..wait }.into());
        }
        let (of_source, of_account) = tokio::join!(
            self.count_up_to(counters.source, of_source, Memory::Window, read_source.is_some(), at),
            self.count_up_to(counters.account, of_account, Memory::WindowEach, read_account.is_some(), at),
        );
        of_source?;
        match of_account {
            Err(NotCounted::TooMany(_)) if self.is_signed_in_here(owner, source, now).await? => Ok(()),
            Err(NotCounted::TooMany(too_many)) => Err(TooMany { reset_helps: true, ..too_many }.into()),
            counted => counted,
        }
    }

    /// Whether the account's owner has a live session that was opened from this source. Also asks DynamoDB if the address has no account, so that the
    /// duration does not reveal this.
    async fn is_signed_in_here(
        &self,
        owner: Option<UserId>,
        source: &Source,
        now: UnixMillis,
    ) -> Result<bool, DbError> {
        let owner = owner.unwrap_or(NOBODY);
        self.sessions.is_signed_in_from(owner, source.as_str(), now).await
    }

    /// The items of these counters that have not expired.
    async fn read<const N: usize>(
        &self,
        counters: [CounterKey; N],
        now: UnixTime,
    ) -> Result<[Option<Item>; N], DbError> {
        let keys = counters.map(key);
        Ok(self.table.get(keys.each_ref()).await?.map(|item| running(item, now)))
    }

    async fn update(
        &self,
        counter: CounterKey,
        change: &str,
        condition: &str,
        values: &[(&str, i64)],
    ) -> Result<Updated, DbError> {
        let values = values.iter().map(|(name, value)| (*name, number(*value))).collect();
        self.table.update(Update { key: &key(counter), change, condition, values }).await
    }
}

#[async_trait]
impl Counters for DynamoDbCounters {
    async fn count(&self, attempt: Attempt, source: &Source, now: UnixMillis) -> Result<(), NotCounted> {
        within(self.count_up_to(attempt.counter(source), attempt.limit(), Memory::Window, true, now.seconds())).await
    }

    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        now: UnixMillis,
    ) -> Result<CountedSignIn, NotCounted> {
        let counted = throttle::find_account(&self.database, email, source).await?;
        let owner = counted.account.as_ref().map(|account| account.user.id);
        within(self.count_failure(&counted.counters, owner, source, now)).await?;
        Ok(counted)
    }

    fn are_in_database(&self) -> bool {
        false
    }

    async fn forgive_sign_in(&self, counters: &SignInCounters) -> Result<(), DbError> {
        let (both, account) = (key(counters.both), key(counters.account));
        let uncount =
            self.update(counters.source, "ADD attempts :less", "attempts > :none", &[(":less", -1), (":none", 0)]);
        let all = async { tokio::try_join!(self.table.delete(&both), self.table.delete(&account), uncount).map(drop) };
        within(all).await
    }
}

/// The item, if it has not expired.
fn running(item: Option<Item>, now: UnixTime) -> Option<Item> {
    item.filter(|item| item.number("expires_at").is_some_and(|end| end > now.0))
}

fn attempts(counter: &Item) -> i64 {
    counter.number("attempts").unwrap_or(0)
}

fn full(counter: Option<&Item>, limit: Limit, now: UnixTime) -> Option<TooMany> {
    let counter = counter.filter(|counter| attempts(counter) >= limit.attempts.into())?;
    Some(until(counter.number("expires_at")?, now))
}

fn blocked(counter: &Item, now: UnixTime) -> Option<TooMany> {
    counter.number("blocked_until").filter(|until| *until > now.0).map(|time| until(time, now))
}

fn until(time: i64, now: UnixTime) -> TooMany {
    TooMany { retry_after: UnixTime(time).seconds_since(now).max(1), reset_helps: false }
}

/// The key of the item of a counter.
fn key(counter: CounterKey) -> Key {
    Key { partition: format!("c#{}", hex::encode(counter.as_bytes())), sort: "counter".to_owned() }
}

fn contended() -> NotCounted {
    DbError::Away("a counter of the state table changed too often".into()).into()
}
