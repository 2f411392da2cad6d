//! Counters in DynamoDB: the table that `STATE_TABLE` names. Its partition key `key` is the hash of a counter's name; `attempts` is the
//! count, `blocked_until` ends a wait, and `expires_at`, in seconds, is the time to live.
//!
//! DynamoDB deletes expired items days later, so every read leaves them out. Every read is strongly consistent.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{AttributeValue, KeysAndAttributes},
};

use super::Counters;
use crate::{
    config,
    db::{
        Database, DbError,
        throttle::{CountedSignIn, NotCounted},
        users::{self, Candidate},
    },
    deadline,
    domain::{EmailLookup, UnixTime},
    security::{
        Source,
        policy::{self, Limit},
        throttle::{Attempt, CounterKey, SignInCounters, TooMany},
    },
};

/// The table.
pub struct Table {
    client: Client,
    name: String,
}

/// An item's numbers.
type Numbers = HashMap<String, i64>;

impl Table {
    /// The configured table, if one is; region and credentials come from the AWS SDK's own variables. Nothing is asked yet.
    pub async fn new(config: Option<config::StateTable>) -> Option<Self> {
        let config = config?;
        let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(25));
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(policy::STATE_ATTEMPT);
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(retries)
            .timeout_config(timeouts.build())
            .load()
            .await;
        let client = aws_sdk_dynamodb::Config::new(&sdk).to_builder().set_endpoint_url(config.endpoint).clone();
        Some(Self { client: Client::from_conf(client.build()), name: config.name })
    }

    /// The live items of these keys, in their order.
    async fn read<const N: usize>(
        &self,
        keys: [CounterKey; N],
        now: UnixTime,
    ) -> Result<[Option<Numbers>; N], DbError> {
        let wanted = keys.iter().map(|key| HashMap::from([("key".to_owned(), attribute(*key))])).collect();
        let wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(wanted)).build();
        let wanted = wanted.map_err(|problem| DbError::Failed(problem.into()))?;
        let found = self.client.batch_get_item().request_items(&self.name, wanted).send().await.map_err(away)?;
        // DynamoDB may leave some unread rather than refuse, and "not read" must not pass for "not there".
        if found.unprocessed_keys().is_some_and(|unread| !unread.is_empty()) {
            return Err(DbError::Away("the state table is too busy".into()));
        }
        let items = found.responses.unwrap_or_default().remove(&self.name).unwrap_or_default();
        let find = |key: CounterKey| {
            let item = items.iter().find(|item| item.get("key").is_some_and(|is| is == &attribute(key)))?;
            let numbers: Numbers = item
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_n().ok()?.parse().ok()?)))
                .collect();
            (numbers.get("expires_at")? > &now.0).then_some(numbers)
        };
        Ok(keys.map(find))
    }

    /// Changes one item, if the condition holds for it. False if it does not.
    async fn update(
        &self,
        key: CounterKey,
        change: &str,
        condition: &str,
        values: &[(&str, i64)],
    ) -> Result<bool, DbError> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), number(*value))).collect();
        let request = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("key", attribute(key))
            .update_expression(change)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(refusal)) if refusal.err().is_conditional_check_failed_exception() => Ok(false),
            Err(problem) => Err(away(problem)),
        }
    }

    async fn delete(&self, key: CounterKey) -> Result<(), DbError> {
        let request = self.client.delete_item().table_name(&self.name).key("key", attribute(key));
        request.send().await.map(drop).map_err(away)
    }
}

/// The counters of the table. PostgreSQL knows the accounts.
pub struct TableCounters {
    table: Table,
    database: Database,
}

/// How often a count is tried again after others came before it. Where one of many at once wins each time, the sixth has to wait
/// anyway.
const CONFLICTS: usize = 10;

/// How long a counter remembers its attempts.
#[derive(Clone, Copy)]
enum Memory {
    /// All of them for one window, which begins with the first.
    Window,
    /// Each of them for one window, one after the other.
    WindowEach,
}

impl TableCounters {
    pub(super) fn new(table: Table, database: Database) -> Self {
        Self { table, database }
    }

    /// Counts up to a limit. DynamoDB adds up by itself, so any number of attempts at once is counted right.
    async fn count_up_to(
        &self,
        key: CounterKey,
        limit: Limit,
        memory: Memory,
        now: UnixTime,
    ) -> Result<(), NotCounted> {
        let begin = "SET attempts = :one, expires_at = :end";
        let over = "attribute_not_exists(expires_at) OR expires_at <= :now";
        let (begin_values, window) =
            ([(":one", 1), (":now", now.0), (":end", now.plus(limit.window).0)], limit.window.as_secs().cast_signed());
        let count_values = [(":one", 1), (":now", now.0), (":limit", limit.attempts.into()), (":window", window)];
        let (count, count_values) = match memory {
            Memory::Window => ("ADD attempts :one", &count_values[..3]),
            Memory::WindowEach => ("SET expires_at = expires_at + :window ADD attempts :one", &count_values[..]),
        };
        let below = "expires_at > :now AND attempts < :limit";
        for _ in 0..CONFLICTS {
            if self.table.update(key, count, below, count_values).await?
                || self.table.update(key, begin, over, &begin_values).await?
            {
                return Ok(());
            }
            // Neither: it is full, or somebody else began it between the two.
            if let [Some(counter)] = self.table.read([key], now).await?
                && counter["attempts"] >= limit.attempts.into()
            {
                return Err(until(counter["expires_at"], now).into());
            }
        }
        Err(contended())
    }

    /// Counts failures of one account from one source, where each makes the next one wait longer. It is written only if it is still as it
    /// was read.
    async fn count_with_waits(
        &self,
        key: CounterKey,
        mut read: Option<Numbers>,
        now: UnixTime,
    ) -> Result<(), NotCounted> {
        let end = (":end", now.plus(policy::SIGNIN_MEMORY).0);
        for _ in 0..CONFLICTS {
            let numbers = read.unwrap_or_default();
            if let Some(wait) = blocked(&numbers, now) {
                return Err(wait.into());
            }
            let attempts = numbers.get("attempts").copied().unwrap_or(0);
            let failures = i32::try_from(attempts + 1).unwrap_or(i32::MAX);
            // Where there is no wait, not even `now`: a request that began a second earlier would take it for one.
            let blocked_until = policy::signin_wait(failures).map_or(0, |wait| now.plus(wait).0);
            let change = "SET attempts = :attempts, blocked_until = :blocked_until, expires_at = :end";
            let (unchanged, before) = if attempts == 0 {
                ("attribute_not_exists(expires_at) OR expires_at <= :before", now.0)
            } else {
                ("attempts = :before", attempts)
            };
            let values = [(":attempts", attempts + 1), (":blocked_until", blocked_until), end, (":before", before)];
            if self.table.update(key, change, unchanged, &values).await? {
                return Ok(());
            }
            [read] = self.table.read([key], now).await?;
        }
        Err(contended())
    }

    /// Counts an attempt to sign in as the failure it may turn out to be. What is known when it begins refuses it without counting. Then
    /// each counter admits or refuses by itself, first the one that only this account and source share.
    async fn count_failure(
        &self,
        keys: &SignInCounters,
        owner_is_signed_in_here: bool,
        now: UnixTime,
    ) -> Result<(), NotCounted> {
        let of_source = policy::SIGNIN_FAILURES_OF_SOURCE;
        let of_account =
            Limit { attempts: policy::SIGNIN_FAILURES_OF_ACCOUNT, window: policy::SIGNIN_MEMORY_OF_ACCOUNT };
        let closed = |too_many| TooMany { reset_helps: true, ..too_many };
        let [both, source, account] = self.table.read([keys.both, keys.source, keys.account], now).await?;
        let full = |counter: Option<Numbers>, limit: Limit| {
            let counter = counter.filter(|counter| counter["attempts"] >= limit.attempts.into())?;
            Some(until(counter["expires_at"], now))
        };
        let of_pair = both.as_ref().and_then(|counter| blocked(counter, now));
        let source_is_full = full(source, of_source);
        let account_is_closed = full(account, of_account).filter(|_| !owner_is_signed_in_here);
        if let Some(wait) = [of_pair, source_is_full, account_is_closed].into_iter().flatten().max() {
            let reset_helps = account_is_closed.is_some() && source_is_full.is_none();
            return Err(TooMany { reset_helps, ..wait }.into());
        }
        self.count_with_waits(keys.both, both, now).await?;
        let (of_source, of_account) = tokio::join!(
            self.count_up_to(keys.source, of_source, Memory::Window, now),
            self.count_up_to(keys.account, of_account, Memory::WindowEach, now),
        );
        of_source?;
        match of_account {
            Err(NotCounted::TooMany(_)) if owner_is_signed_in_here => Ok(()),
            Err(NotCounted::TooMany(too_many)) => Err(closed(too_many).into()),
            counted => counted,
        }
    }
}

#[async_trait]
impl Counters for TableCounters {
    async fn count(&self, attempt: Attempt, source: &Source, now: UnixTime) -> Result<(), NotCounted> {
        let key = CounterKey::of(&[attempt.name(), "source", source.as_str()]);
        within(self.count_up_to(key, attempt.limit(), Memory::Window, now)).await
    }

    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        now: UnixTime,
    ) -> Result<CountedSignIn, NotCounted> {
        let candidate = users::find_candidate(&self.database, email, source).await?;
        let counted = keys(&candidate, source);
        within(Box::pin(self.count_failure(&counted, candidate.is_signed_in_here, now))).await?;
        Ok(CountedSignIn { account: candidate.account, counted })
    }

    async fn forgive_sign_in(&self, counted: &SignInCounters) -> Result<(), DbError> {
        let uncount =
            self.table.update(counted.source, "ADD attempts :less", "attempts > :none", &[(":less", -1), (":none", 0)]);
        let all = async {
            tokio::try_join!(self.table.delete(counted.both), self.table.delete(counted.account), uncount).map(drop)
        };
        within(Box::pin(all)).await
    }
}

/// The counters of an attempt to sign in. Those of an account bear its id and credential version, as in PostgreSQL (`db::throttle`).
fn keys(candidate: &Candidate, source: &Source) -> SignInCounters {
    let account = candidate.account.as_ref();
    let guessed = match account {
        Some(account) => format!("user {} {}", account.id, account.credential_version),
        None => format!("address {}", candidate.address),
    };
    SignInCounters {
        both: CounterKey::of(&["signin both", source.as_str(), &guessed]),
        source: CounterKey::of(&["signin source", source.as_str()]),
        account: CounterKey::of(&["signin account", &guessed]),
    }
}

fn blocked(counter: &Numbers, now: UnixTime) -> Option<TooMany> {
    counter.get("blocked_until").filter(|until| **until > now.0).map(|time| until(*time, now))
}

fn until(time: i64, now: UnixTime) -> TooMany {
    TooMany { retry_after: UnixTime(time).seconds_since(now).max(1), reset_helps: false }
}

fn attribute(key: CounterKey) -> AttributeValue {
    AttributeValue::S(hex::encode(key.as_bytes()))
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Waits for the table no longer than [`policy::STATE_DEADLINE`], however many calls `work` makes, nor longer than the request has time.
async fn within<T, E: From<DbError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout_at(deadline::at_most(policy::STATE_DEADLINE), work)
        .await
        .unwrap_or_else(|_| Err(DbError::Away("DynamoDB did not answer in time".into()).into()))
}

fn contended() -> NotCounted {
    DbError::Away("a counter of the state table changed too often".into()).into()
}

/// Whatever keeps the table from answering, a missing permission included, is for us to mend and for the client to wait for.
fn away<E>(problem: SdkError<E>) -> DbError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match problem.as_service_error() {
        // The code alone: a message may quote what was asked.
        Some(refusal) => DbError::Away(format!("DynamoDB says {}", refusal.code().unwrap_or("unknown")).into()),
        None => DbError::Away(Box::new(problem)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option::of, property_test};

    use super::*;
    use crate::{db::users::Account, domain::UserId, security::PasswordHash};

    // Requirement 20.
    #[property_test]
    fn accounts_and_sources_have_counters_of_their_own(
        #[strategy = ["[a1 ]{0,4}", "[a1 ]{0,4}"]] addresses: [String; 2],
        #[strategy = [of(1..12), of(1..12)]] ids: [Option<i32>; 2],
        #[strategy = [1..12, 1..12]] versions: [i32; 2],
        #[strategy = ["1[.]1[.]1[.]1{1,2}", "1[.]1[.]1[.]1{1,2}"]] sources: [String; 2],
    ) {
        let keys = |n: usize| {
            let account = ids[n].map(|id| Account {
                id: UserId(id),
                name: String::new(),
                email: String::new(),
                password_hash: PasswordHash::from_stored(String::new()),
                credential_version: versions[n],
            });
            let candidate = Candidate { account, address: addresses[n].clone(), is_signed_in_here: false };
            keys(&candidate, &Source::of(Some(&sources[n])))
        };
        let (one, other) = (keys(0), keys(1));
        let same_account = match ids {
            [None, None] => addresses[0] == addresses[1],
            [one, other] => one == other && versions[0] == versions[1],
        };
        assert_eq!(one.account == other.account, same_account);
        assert_eq!(one.source == other.source, sources[0] == sources[1]);
        assert_eq!(one.both == other.both, same_account && sources[0] == sources[1]);
    }
}
