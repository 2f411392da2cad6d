//! DynamoDB as the store of both: the table that `STATE_TABLE` names. Its partition key is `key`; `expires_at`, in seconds, is its time
//! to live.
//!
//! | item | says |
//! | --- | --- |
//! | the hash of a counter's name | `attempts`, and `blocked_until` where there is a wait |
//! | `session <sid>` | `ended`, or the `credential_version` it was opened under |
//! | `user <id>` | the `credential_version` below which every session has ended |
//!
//! DynamoDB deletes what has expired days later, so every read leaves it out; and every read is strongly consistent.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{AttributeValue, KeysAndAttributes},
};

use super::{Revocations, Throttle};
use crate::{
    config,
    db::{
        Database, DbError,
        users::{self, Account, Candidate},
    },
    deadline,
    domain::{EmailLookup, SessionId, UnixTime, UserId},
    security::{
        Source,
        policy::{self, Limit},
        throttle::{Attempt, TooMany},
        token::Verified,
    },
};

/// The table.
#[derive(Clone)]
pub struct Table {
    client: Client,
    name: String,
    /// How long what is denied must be denied: no access token lives longer.
    denial: Duration,
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
        let denial = config.access_lifetime + policy::CLOCK_SKEW;
        Some(Self { client: Client::from_conf(client.build()), name: config.name, denial })
    }

    /// The live items of these keys, in their order.
    async fn read<const N: usize>(&self, keys: [&str; N], now: UnixTime) -> Result<[Option<Numbers>; N], DbError> {
        let wanted = keys.iter().map(|key| HashMap::from([("key".to_owned(), text(key))])).collect();
        let wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(wanted)).build();
        let wanted = wanted.map_err(|problem| DbError::Failed(problem.into()))?;
        let found = self.client.batch_get_item().request_items(&self.name, wanted).send().await.map_err(away)?;
        // DynamoDB may leave some unread rather than refuse, and "not read" must not pass for "not there".
        if found.unprocessed_keys().is_some_and(|unread| !unread.is_empty()) {
            return Err(DbError::Away("the state table is too busy".into()));
        }
        let items = found.responses.unwrap_or_default().remove(&self.name).unwrap_or_default();
        let find = |key: &str| {
            let item = items.iter().find(|item| item.get("key").is_some_and(|is| is == &text(key)))?;
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
        key: &str,
        change: &str,
        condition: Option<&str>,
        values: &[(&str, i64)],
    ) -> Result<bool, DbError> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), number(*value))).collect();
        let request = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("key", text(key))
            .update_expression(change)
            .set_condition_expression(condition.map(str::to_owned))
            .set_expression_attribute_values(Some(values));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(refusal)) if refusal.err().is_conditional_check_failed_exception() => Ok(false),
            Err(problem) => Err(away(problem)),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), DbError> {
        let request = self.client.delete_item().table_name(&self.name).key("key", text(key));
        request.send().await.map(drop).map_err(away)
    }
}

#[async_trait]
impl Revocations for Table {
    async fn deny_session(&self, session: SessionId, now: UnixTime) -> Result<(), DbError> {
        let values = [(":yes", 1), (":end", now.plus(self.denial).0)];
        let change = "SET ended = :yes, expires_at = :end";
        within(self.update(&session_key(session), change, None, &values)).await.map(drop)
    }

    /// Never lowers what is there: a newer reset may have come first.
    async fn deny_sessions_before(&self, user: UserId, version: i32, now: UnixTime) -> Result<(), DbError> {
        let values = [(":version", version.into()), (":end", now.plus(self.denial).0), (":now", now.0)];
        let newer = "attribute_not_exists(credential_version) OR credential_version <= :version OR expires_at <= :now";
        let change = "SET credential_version = :version, expires_at = :end";
        within(self.update(&user_key(user), change, Some(newer), &values)).await.map(drop)
    }

    /// Only after a reset is a session asked for its version: then it must be there, and until then nothing is written.
    async fn session_opened(&self, session: SessionId, account: &Account, now: UnixTime) -> Result<(), DbError> {
        let [reset] = within(self.read([&user_key(account.id)], now)).await?;
        if reset.is_some() {
            // Twice as long, for whatever the clocks of two functions are apart: it must outlive the user's item.
            let values = [(":version", account.credential_version.into()), (":end", now.plus(self.denial * 2).0)];
            let change = "SET credential_version = :version, expires_at = :end";
            within(self.update(&session_key(session), change, None, &values)).await?;
        }
        Ok(())
    }

    async fn is_live(&self, token: Verified, now: UnixTime) -> Result<bool, DbError> {
        let [session, reset] =
            within(self.read([&session_key(token.session_id), &user_key(token.user_id)], now)).await?;
        let version = |of: &Option<Numbers>| of.as_ref()?.get("credential_version").copied();
        let ended = session.as_ref().is_some_and(|session| session.contains_key("ended"));
        Ok(!ended && version(&session) >= version(&reset))
    }
}

/// The counters of the table. Accounts are PostgreSQL's to know.
pub struct Counters {
    table: Table,
    database: Database,
}

/// How often an attempt tries again after another one came before it. Where one of many at once wins each time, the sixth has to wait
/// anyway.
const CONFLICTS: usize = 10;

impl Counters {
    pub(super) fn new(table: Table, database: Database) -> Self {
        Self { table, database }
    }

    /// Counts in a window that begins with its first attempt, and ends where `ends` says: at a fixed time, or so long after the last.
    /// Added up by DynamoDB itself, so that no number of attempts at once can be in each other's way.
    async fn count_in_window(&self, key: &str, limit: Limit, ends: Ends, now: UnixTime) -> Counted {
        let begin = "SET attempts = :one, expires_at = :end";
        let over = "attribute_not_exists(expires_at) OR expires_at <= :now";
        let count = match ends {
            Ends::Fixed => "SET expires_at = if_not_exists(expires_at, :end) ADD attempts :one",
            Ends::AfterTheLast => "SET expires_at = :end ADD attempts :one",
        };
        let within = "expires_at > :now AND attempts < :limit";
        let values =
            [(":one", 1), (":now", now.0), (":end", now.plus(limit.window).0), (":limit", limit.attempts.into())];
        for _ in 0..CONFLICTS {
            if self.table.update(key, count, Some(within), &values).await?
                || self.table.update(key, begin, Some(over), &values[..3]).await?
            {
                return Ok(Ok(()));
            }
            // Neither: it is full, or its window has begun between the two.
            if let [Some(counter)] = self.table.read([key], now).await?
                && counter["attempts"] >= limit.attempts.into()
            {
                return Ok(Err(until(counter["expires_at"], now)));
            }
        }
        Err(contended())
    }

    /// Counts failures of one account from one source, where each makes the next one wait longer: written only if it is still as it
    /// was read.
    async fn count_with_waits(&self, key: &str, mut read: Option<Numbers>, now: UnixTime) -> Counted {
        let end = (":end", now.plus(policy::SIGNIN_MEMORY).0);
        for _ in 0..CONFLICTS {
            let numbers = read.unwrap_or_default();
            if let Some(wait) = blocked(&numbers, now) {
                return Ok(Err(wait));
            }
            let attempts = numbers.get("attempts").copied().unwrap_or(0);
            let failures = i32::try_from(attempts + 1).unwrap_or(i32::MAX);
            let blocked_until = now.plus(policy::signin_wait(failures).unwrap_or_default());
            let change = "SET attempts = :attempts, blocked_until = :blocked_until, expires_at = :end";
            let (unchanged, before) = if attempts == 0 {
                ("attribute_not_exists(expires_at) OR expires_at <= :before", now.0)
            } else {
                ("attempts = :before", attempts)
            };
            let values = [(":attempts", attempts + 1), (":blocked_until", blocked_until.0), end, (":before", before)];
            if self.table.update(key, change, Some(unchanged), &values).await? {
                return Ok(Ok(()));
            }
            [read] = self.table.read([key], now).await?;
        }
        Err(contended())
    }

    /// Counts an attempt to sign in as the failure it may turn out to be. What is known when it begins refuses it without counting. Then
    /// each counter admits or refuses by itself, first the one that only this account and source share.
    async fn count_failure(&self, keys: &SigninKeys, at_home: bool, now: UnixTime) -> Counted {
        let of_source = policy::SIGNIN_FAILURES_OF_SOURCE;
        let of_account = Limit {
            attempts: if at_home { i32::MAX } else { policy::SIGNIN_FAILURES_OF_ACCOUNT },
            window: policy::SIGNIN_CLOSED_MEMORY,
        };
        let [both, source, account] = self.table.read([&keys.both, &keys.source, &keys.account], now).await?;
        let reached = |counter: Option<Numbers>, limit: Limit| {
            counter.filter(|counter| counter["attempts"] >= limit.attempts.into())
        };
        let waits = [
            both.as_ref().and_then(|counter| blocked(counter, now)),
            reached(source, of_source).map(|counter| until(counter["expires_at"], now)),
            reached(account, of_account).map(|_| closed()),
        ];
        if let Some(wait) = waits.into_iter().flatten().max() {
            return Ok(Err(wait));
        }
        if let Err(wait) = self.count_with_waits(&keys.both, both, now).await? {
            return Ok(Err(wait));
        }
        let (source, account) = tokio::try_join!(
            self.count_in_window(&keys.source, of_source, Ends::Fixed, now),
            self.count_in_window(&keys.account, of_account, Ends::AfterTheLast, now),
        )?;
        Ok(source.and(account.map_err(|_| closed())))
    }
}

#[async_trait]
impl Throttle for Counters {
    async fn count(&self, attempt: Attempt, source: &Source, now: UnixTime) -> Counted {
        let key = counter_key(&[attempt.name(), "source", source.as_str()]);
        within(self.count_in_window(&key, attempt.limit(), Ends::Fixed, now)).await
    }

    async fn count_sign_in(
        &self,
        email: &EmailLookup,
        source: &Source,
        now: UnixTime,
    ) -> Result<Result<Option<Account>, TooMany>, DbError> {
        let Candidate { account, address, at_home } = users::find_candidate(&self.database, email, source).await?;
        let version = account.as_ref().map_or(1, |account| account.credential_version);
        let keys = SigninKeys::new(&address, version, source);
        Ok(within(Box::pin(self.count_failure(&keys, at_home, now))).await?.map(|()| account))
    }

    async fn forgive_sign_in(&self, account: &Account, source: &Source) -> Result<(), DbError> {
        let keys = SigninKeys::new(&account.address, account.credential_version, source);
        let uncount = self.table.update(
            &keys.source,
            "ADD attempts :less",
            Some("attempts > :none"),
            &[(":less", -1), (":none", 0)],
        );
        let all = async { tokio::try_join!(self.table.delete(&keys.both), self.table.delete(&keys.account), uncount) };
        within(Box::pin(all)).await.map(drop)
    }
}

/// Whether an attempt is let through.
type Counted = Result<Result<(), TooMany>, DbError>;

/// When a window of attempts is over.
#[derive(Clone, Copy)]
enum Ends {
    Fixed,
    AfterTheLast,
}

/// The counters of an attempt to sign in. Their names carry the account's credential version, so that a reset clears them by itself.
struct SigninKeys {
    both: String,
    source: String,
    account: String,
}

impl SigninKeys {
    fn new(address: &str, version: i32, source: &Source) -> Self {
        let version = version.to_string();
        Self {
            both: counter_key(&["signin both", source.as_str(), address, &version]),
            source: counter_key(&["signin source", source.as_str()]),
            account: counter_key(&["signin account", address, &version]),
        }
    }
}

/// A hash, so that no address can be read from the table.
fn counter_key(name: &[&str]) -> String {
    hex::encode(digest(&SHA256, name.join(" ").as_bytes()))
}

fn session_key(session: SessionId) -> String {
    format!("session {}", session.0)
}

fn user_key(user: UserId) -> String {
    format!("user {user}")
}

fn blocked(counter: &Numbers, now: UnixTime) -> Option<TooMany> {
    counter.get("blocked_until").filter(|until| **until > now.0).map(|time| until(*time, now))
}

fn until(time: i64, now: UnixTime) -> TooMany {
    TooMany { retry_after: UnixTime(time).seconds_since(now).max(1) }
}

fn closed() -> TooMany {
    TooMany { retry_after: policy::SIGNIN_CLOSED_WAIT.as_secs() }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Nobody waits longer than that for the table, whatever is asked of it and however often, nor longer than the request has time.
async fn within<T>(question: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    tokio::time::timeout_at(deadline::at_most(policy::STATE_DEADLINE), question)
        .await
        .unwrap_or_else(|_| Err(DbError::Away("DynamoDB did not answer in time".into())))
}

fn contended() -> DbError {
    DbError::Away("a counter of the state table changed too often".into())
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
    use proptest::property_test;

    use super::*;

    #[property_test]
    fn accounts_and_sources_have_counters_of_their_own(
        #[strategy = ["[a1 ]{0,4}", "[a1 ]{0,4}"]] addresses: [String; 2],
        #[strategy = [1..12, 1..12]] versions: [i32; 2],
        #[strategy = ["1[.]1[.]1[.]1{1,2}", "1[.]1[.]1[.]1{1,2}"]] sources: [String; 2],
    ) {
        let keys = |n: usize| SigninKeys::new(&addresses[n], versions[n], &Source::of(Some(&sources[n])));
        let (one, other) = (keys(0), keys(1));
        let same_account = addresses[0] == addresses[1] && versions[0] == versions[1];
        assert_eq!(one.account == other.account, same_account);
        assert_eq!(one.source == other.source, sources[0] == sources[1]);
        assert_eq!(one.both == other.both, same_account && sources[0] == sources[1]);
    }
}
