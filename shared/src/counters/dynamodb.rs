//! Counters in a table of DynamoDB. The partition key `key` is the hash of a counter's name. `attempts` is the count, `blocked_until` is the end
//! of a wait, and `expires_at` is the time to live. Both times are in seconds since 1970.
//!
//! DynamoDB deletes expired items up to days later, so every read ignores them. Every read is strongly consistent.

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
    aws,
    db::{
        Database, DbError,
        throttle::{self, CountedSignIn, NotCounted, SignInAttempt},
    },
    deadline,
    domain::{CounterKey, EmailLookup, SignInCounters, Source, TooMany, UnixTime},
    environment::{ConfigError, Environment},
    security::{
        Attempt,
        policy::{self, Limit},
    },
};

/// The table.
pub(super) struct StateTable {
    client: Client,
    name: String,
}

/// An item's numbers.
type Numbers = HashMap<String, i64>;

impl StateTable {
    /// Reads `STATE_TABLE`, and `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`. `None` if no table is named. The SDK reads the variables for
    /// the region and the credentials. Does not connect yet.
    pub(super) async fn from_env(env: &Environment) -> Result<Option<Self>, ConfigError> {
        let Some(name) = env.optional("STATE_TABLE") else { return Ok(None) };
        let endpoint = aws::endpoint(env, "AWS_ENDPOINT_URL_DYNAMODB")?;
        let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(25));
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(policy::STATE_ATTEMPT);
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(retries)
            .timeout_config(timeouts.build())
            .load()
            .await;
        let client = aws_sdk_dynamodb::Config::new(&sdk).to_builder().set_endpoint_url(endpoint).clone();
        Ok(Some(Self { client: Client::from_conf(client.build()), name: name.to_owned() }))
    }

    /// The items of these keys that have not expired, in the order of the keys.
    async fn read<const N: usize>(
        &self,
        keys: [CounterKey; N],
        now: UnixTime,
    ) -> Result<[Option<Numbers>; N], DbError> {
        let wanted = keys.iter().map(|key| HashMap::from([("key".to_owned(), attribute(*key))])).collect();
        let wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(wanted)).build();
        let wanted = wanted.map_err(|problem| DbError::Failed(problem.into()))?;
        let found = self.client.batch_get_item().request_items(&self.name, wanted).send().await.map_err(away)?;
        // DynamoDB may leave items unread. An unread item must not be taken for a missing one.
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

    /// Changes an item if the condition holds. False if it does not.
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

/// The counters in the table. The accounts are in PostgreSQL.
pub(super) struct DynamoDbCounters {
    table: StateTable,
    database: Database,
}

/// The maximum number of times that an update is tried. A try fails if another request has changed the counter in the meantime. When many sign-ins to
/// one account from one source update the counter at the same time, one succeeds and the others try again. After five have been counted, the wait
/// begins: the others are refused and do not try again. So ten tries suffice.
const CONFLICTS: usize = 10;

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
        Self { table, database }
    }

    /// Counts up to a limit. DynamoDB adds in one atomic update, so attempts at the same time are all counted.
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
            // Neither update applied: the counter is full, or another request began a new window between the two updates.
            if let [Some(counter)] = self.table.read([key], now).await?
                && counter["attempts"] >= limit.attempts.into()
            {
                return Err(until(counter["expires_at"], now).into());
            }
        }
        Err(contended())
    }

    /// Counts the failures of one account from one source. Each failure makes the next wait longer. The item is written only if it has not
    /// changed since it was read.
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
            // If there is no wait, this is 0. It is not `now`, because a concurrent request that began a second earlier would take that time for the
            // end of a wait and would be refused.
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

    /// Counts an attempt to sign in as a failure. First all three counters are read. If one of them refuses the attempt, none is
    /// increased. Otherwise each counter is increased by an update of its own. If one of these refuses, the others may already have
    /// counted the attempt. The counter of this account and source comes first.
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
impl Counters for DynamoDbCounters {
    async fn count(&self, attempt: Attempt, source: &Source, now: UnixTime) -> Result<(), NotCounted> {
        within(self.count_up_to(attempt.counter(source), attempt.limit(), Memory::Window, now)).await
    }

    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        now: UnixTime,
    ) -> Result<CountedSignIn, NotCounted> {
        let SignInAttempt { account, counters, is_signed_in_here } =
            throttle::find_account(&self.database, email, source).await?;
        within(Box::pin(self.count_failure(&counters, is_signed_in_here, now))).await?;
        Ok(CountedSignIn { account, counters })
    }

    fn are_in_database(&self) -> bool {
        false
    }

    async fn forgive_sign_in(&self, counters: &SignInCounters) -> Result<(), DbError> {
        let uncount = self.table.update(
            counters.source,
            "ADD attempts :less",
            "attempts > :none",
            &[(":less", -1), (":none", 0)],
        );
        let all = async {
            tokio::try_join!(self.table.delete(counters.both), self.table.delete(counters.account), uncount).map(drop)
        };
        within(Box::pin(all)).await
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

/// Limits the total time of `work` to [`policy::STATE_DEADLINE`], or to the time that the request has left if that is shorter.
async fn within<T, E: From<DbError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout_at(deadline::at_most(policy::STATE_DEADLINE), work)
        .await
        .unwrap_or_else(|_| Err(DbError::Away("DynamoDB did not answer in time".into()).into()))
}

fn contended() -> NotCounted {
    DbError::Away("a counter of the state table changed too often".into()).into()
}

/// The client is told to try again after every failure of the table. An operator must fix lasting causes, such as a missing permission.
fn away<E>(problem: SdkError<E>) -> DbError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match problem.as_service_error() {
        // Only the code is kept, because a message may quote the request.
        Some(refusal) => DbError::Away(format!("DynamoDB says {}", refusal.code().unwrap_or("unknown")).into()),
        None => DbError::Away(Box::new(problem)),
    }
}
