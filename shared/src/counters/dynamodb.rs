//! Counters in [`StateTable`]. The partition `c#<key>` holds one item. `attempts` is the count, and `blocked_until` is the end of a wait, in seconds
//! since 1970.
//!
//! Before the password is verified, a sign-in counts the attempt for the account and the source together, and reads the counter of the source and the
//! counter of the account. These two count the attempt while the password is verified.
//!
//! The counter of the sign-ins from a source has [`policy::ITEMS_OF_SOURCE`] items, because many users may sign in from one source at the same time.
//! Each item has an equal part of the limit, and a window of its own.

use async_trait::async_trait;
use rand::Rng as _;

use super::Counters;
use crate::{
    db::{
        Database, DbError,
        throttle::{self, NotCounted, SignInAccount},
    },
    domain::{CounterKey, SignInCounters, Source, TooMany, UnixMillis, UnixTime, UserId},
    security::{
        Attempt, PasswordLink, ProofAttempt, SignInAttempt,
        policy::{self, Limit},
    },
    sessions::SessionTable,
    state_table::{Item, Key, StateTable, Update, Updated, number, within},
    system,
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

/// The failures of one account from all sources.
const OF_ACCOUNT: Limit =
    Limit { attempts: policy::SIGNIN_FAILURES_OF_ACCOUNT, window: policy::SIGNIN_MEMORY_OF_ACCOUNT };

/// The failures in one item of a source.
const OF_ITEM_OF_SOURCE: Limit = Limit {
    attempts: policy::SIGNIN_FAILURES_OF_SOURCE.attempts / policy::ITEMS_OF_SOURCE as i32,
    window: policy::SIGNIN_FAILURES_OF_SOURCE.window,
};
const _: () = assert!(
    OF_ITEM_OF_SOURCE.attempts * policy::ITEMS_OF_SOURCE as i32 == policy::SIGNIN_FAILURES_OF_SOURCE.attempts,
    "the items of a source share its limit equally"
);

/// When a counter expires.
#[derive(Clone, Copy)]
enum Memory {
    /// One window after the first attempt.
    Window,
    /// One window after the first attempt, and one window later for each further attempt.
    WindowEach,
}

impl DynamoDbCounters {
    pub(super) fn new(table: StateTable, database: Database) -> Self {
        Self { sessions: SessionTable::new(table.clone()), table, database }
    }

    /// Counts an attempt, or refuses it if the limit is reached. Each update is atomic, so concurrent attempts are counted correctly.
    async fn count_up_to(
        &self,
        counter: CounterKey,
        limit: Limit,
        memory: Memory,
        now: UnixTime,
    ) -> Result<(), NotCounted> {
        let (one, at, end) = ((":one", 1), (":now", now.0), (":end", now.plus(limit.window).0));
        let mut has_expired = false;
        for _ in 0..CONFLICTS {
            let updated = if has_expired {
                let begin = "SET attempts = :one, expires_at = :end";
                let over = "attribute_not_exists(expires_at) OR expires_at <= :now";
                self.update(counter, begin, over, &[one, at, end]).await?
            } else {
                let (expires_at, value) = match memory {
                    Memory::Window => ("if_not_exists(expires_at, :end)", end),
                    Memory::WindowEach => {
                        ("if_not_exists(expires_at, :now) + :window", (":window", limit.window.as_secs().cast_signed()))
                    }
                };
                let change = format!("SET attempts = if_not_exists(attempts, :none) + :one, expires_at = {expires_at}");
                let below = "attribute_not_exists(expires_at) OR (expires_at > :now AND attempts < :limit)";
                let values = [(":none", 0), one, at, (":limit", limit.attempts.into()), value];
                self.update(counter, &change, below, &values).await?
            };
            let Updated::Refused(found) = updated else { return Ok(()) };
            let running = running(found, now);
            if let Some(full) = full(running.as_ref(), limit, now) {
                return Err(full.into());
            }
            has_expired = running.is_none();
        }
        Err(contended())
    }

    /// Counts an attempt of a source in a random item of its counter or, if that item is full, in another one. Returns the item's key.
    async fn count_source(&self, counter: CounterKey, now: UnixTime) -> Result<CounterKey, NotCounted> {
        let mut items = items_of(counter);
        let first = system::rng().next_u32() as usize % items.len();
        items.rotate_left(first);
        let mut waits = Vec::new();
        for item in items {
            match self.count_up_to(item, OF_ITEM_OF_SOURCE, Memory::Window, now).await {
                Ok(()) => return Ok(item),
                Err(NotCounted::TooMany(wait)) => waits.push(wait),
                Err(failed) => return Err(failed),
            }
        }
        Err(waits.into_iter().min().map_or_else(contended, NotCounted::from))
    }

    /// Counts an attempt at one account from one source, or refuses it during a wait. Each counted attempt makes the next wait longer. The item is
    /// written only if it has not changed since it was read. Returns the item as it was before.
    async fn count_with_waits(&self, counter: CounterKey, now: UnixTime) -> Result<Item, NotCounted> {
        let mut before = Item::default();
        for _ in 0..CONFLICTS {
            if let Some(wait) = blocked(&before, now) {
                return Err(wait.into());
            }
            let attempts = attempts(&before) + 1;
            // Without a wait, `blocked_until` is 0. With `now` instead, a concurrent request that began a second earlier would be refused, because
            // for this request the wait would not be over yet.
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
    async fn uncount(&self, counter: CounterKey, before: &Item) -> Result<(), DbError> {
        let values = [
            (":before", attempts(before)),
            (":blocked_until", before.number("blocked_until").unwrap_or(0)),
            (":counted", attempts(before) + 1),
        ];
        let change = "SET attempts = :before, blocked_until = :blocked_until";
        self.update(counter, change, "attempts = :counted", &values).await.map(drop)
    }

    /// Counts an attempt for the account and the source together, and for the session of a `proof`. Takes the first count back if another counter is
    /// full.
    async fn begin_sign_in(
        &self,
        counted: &SignInAccount,
        source: &Source,
        proof: Option<ProofAttempt>,
        now: UnixMillis,
    ) -> Result<(), NotCounted> {
        let counters = &counted.counters;
        let new_password = proof.and_then(ProofAttempt::new_password_counter);
        let mut others = [items_of(counters.source).as_slice(), &[counters.account]].concat();
        others.extend(new_password);
        let others = async { Ok(self.read(&others, now.seconds()).await?) };
        let both = self.count_with_waits(counters.both, now.seconds());
        let (before, mut read) = tokio::try_join!(both, others)?;
        let of_new_passwords = new_password.and_then(|_| read.pop().flatten());
        let of_account = read.pop().flatten();
        let source_is_full = source_is_full(&read, now.seconds());
        let mut account_is_closed = full(of_account.as_ref(), OF_ACCOUNT, now.seconds());
        if account_is_closed.is_some() && self.is_signed_in_here(counted, source, now).await? {
            account_is_closed = None;
        }
        let mut outcome = refusal(source_is_full, account_is_closed);
        if let Some(wait) = full(of_new_passwords.as_ref(), policy::NEW_PASSWORDS_OF_ACCOUNT, now.seconds()) {
            outcome = outcome.and(Err(wait.into()));
        }
        if let (Ok(()), Some(session)) = (&outcome, counters.session) {
            let limit = policy::PROOF_FAILURES_OF_SESSION;
            outcome = self.count_up_to(session, limit, Memory::Window, now.seconds()).await;
        }
        if outcome.is_err() {
            self.uncount(counters.both, &before).await?;
        }
        outcome
    }

    /// Whether the account's owner makes this attempt in a live session, or has a live session that was opened from this source. Without an account,
    /// it sends the same query to DynamoDB, so that the duration does not reveal whether there is an account.
    async fn is_signed_in_here(
        &self,
        counted: &SignInAccount,
        source: &Source,
        now: UnixMillis,
    ) -> Result<bool, DbError> {
        if counted.counters.session.is_some() {
            return Ok(true);
        }
        let owner = counted.account.as_ref().map_or(NOBODY, |account| account.user.id);
        self.sessions.is_signed_in_from(owner, source.as_str(), now).await
    }

    /// The items of these counters that have not expired.
    async fn read(&self, counters: &[CounterKey], now: UnixTime) -> Result<Vec<Option<Item>>, DbError> {
        let keys: Vec<_> = counters.iter().copied().map(key).collect();
        let found = self.table.get(&keys).await?;
        Ok(found.into_iter().map(|item| running(item, now)).collect())
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
        within(self.count_up_to(attempt.counter(source), attempt.limit(), Memory::Window, now.seconds())).await
    }

    async fn count_sign_in(&self, attempt: SignInAttempt<'_>, now: UnixMillis) -> Result<SignInAccount, NotCounted> {
        let counted = throttle::find_account(&self.database, attempt).await?;
        within(self.begin_sign_in(&counted, attempt.source, None, now)).await?;
        Ok(counted)
    }

    async fn count_link(
        &self,
        link: PasswordLink<'_>,
        source: &Source,
        now: UnixMillis,
    ) -> Result<Option<SignInAccount>, NotCounted> {
        let found = throttle::find_account_of_link(&self.database, link, source).await?;
        if let Some(counted) = &found {
            within(self.begin_sign_in(counted, source, None, now)).await?;
        }
        Ok(found)
    }

    async fn complete_sign_in_count(
        &self,
        counted_sign_in: &SignInAccount,
        source: &Source,
        now: UnixMillis,
    ) -> Result<SignInCounters, NotCounted> {
        let counters = &counted_sign_in.counters;
        within(async {
            let (of_source, of_account) = tokio::join!(
                self.count_source(counters.source, now.seconds()),
                self.count_up_to(counters.account, OF_ACCOUNT, Memory::WindowEach, now.seconds()),
            );
            let counted = SignInCounters { source: of_source?, ..*counters };
            match of_account {
                Ok(()) => Ok(counted),
                Err(NotCounted::TooMany(_)) if self.is_signed_in_here(counted_sign_in, source, now).await? => {
                    Ok(counted)
                }
                Err(NotCounted::TooMany(too_many)) => refusal(None, Some(too_many)).map(|()| counted),
                Err(failed) => Err(failed),
            }
        })
        .await
    }

    async fn begin_proof(&self, attempt: ProofAttempt, source: &Source) -> Result<Option<SignInAccount>, NotCounted> {
        Ok(throttle::find_account_of_user(&self.database, attempt, source).await?)
    }

    async fn count_proof(
        &self,
        counted: &SignInAccount,
        attempt: ProofAttempt,
        source: &Source,
        now: UnixMillis,
    ) -> Result<(), NotCounted> {
        within(self.begin_sign_in(counted, source, Some(attempt), now)).await
    }

    async fn count_new_password(&self, attempt: ProofAttempt, now: UnixMillis) -> Result<(), NotCounted> {
        let Some(counter) = attempt.new_password_counter() else { return Ok(()) };
        within(self.count_up_to(counter, policy::NEW_PASSWORDS_OF_ACCOUNT, Memory::Window, now.seconds())).await
    }

    fn are_in_database(&self) -> bool {
        false
    }

    async fn record_success(&self, counters: &SignInCounters) -> Result<(), DbError> {
        let (both, account) = (key(counters.both), key(counters.account));
        let uncount =
            self.update(counters.source, "ADD attempts :less", "attempts > :none", &[(":less", -1), (":none", 0)]);
        let session = async {
            match counters.session {
                Some(session) => self.table.delete(&key(session)).await.map(drop),
                None => Ok(()),
            }
        };
        let all = async {
            tokio::try_join!(self.table.delete(&both), self.table.delete(&account), uncount, session).map(drop)
        };
        within(all).await
    }

    async fn uncount_sign_in(&self, counters: &SignInCounters) -> Result<(), DbError> {
        let values = [(":less", -1), (":none", 0)];
        let counted = "attempts > :none";
        let both = self.update(counters.both, "SET blocked_until = :none ADD attempts :less", counted, &values);
        let source = self.update(counters.source, "ADD attempts :less", counted, &values);
        // A full counter does not count the attempts of the owner, so nothing must be undone. Each attempt has extended the life of the counter.
        let of_account = [
            (":less", -1),
            (":none", 0),
            (":limit", OF_ACCOUNT.attempts.into()),
            (":window", OF_ACCOUNT.window.as_secs().cast_signed()),
        ];
        let account = self.update(
            counters.account,
            "SET expires_at = expires_at - :window ADD attempts :less",
            "attempts > :none AND attempts < :limit",
            &of_account,
        );
        let session = async {
            match counters.session {
                Some(session) => self.update(session, "ADD attempts :less", counted, &values).await.map(drop),
                None => Ok(()),
            }
        };
        within(async { tokio::try_join!(both, source, account, session).map(drop) }).await
    }

    async fn clear_failures(&self, counters: &SignInCounters) -> Result<(), DbError> {
        let (both, account) = (key(counters.both), key(counters.account));
        within(async { tokio::try_join!(self.table.delete(&both), self.table.delete(&account)).map(drop) }).await
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

/// The keys of the items of a source's counter.
fn items_of(counter: CounterKey) -> [CounterKey; policy::ITEMS_OF_SOURCE as usize] {
    std::array::from_fn(|number| counter.item(u8::try_from(number).unwrap_or(0)))
}

/// A source is full if all its items are. It must wait until the first of them expires.
fn source_is_full(items: &[Option<Item>], now: UnixTime) -> Option<TooMany> {
    let waits: Option<Vec<_>> = items.iter().map(|item| full(item.as_ref(), OF_ITEM_OF_SOURCE, now)).collect();
    waits?.into_iter().min()
}

/// Refuses an attempt if one of these counters is full.
fn refusal(source_is_full: Option<TooMany>, account_is_closed: Option<TooMany>) -> Result<(), NotCounted> {
    let Some(wait) = source_is_full.max(account_is_closed) else { return Ok(()) };
    let reset_helps = account_is_closed.is_some() && source_is_full.is_none();
    Err(TooMany { reset_helps, ..wait }.into())
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
    DbError::Unavailable("a counter of the state table changed too often".into()).into()
}
