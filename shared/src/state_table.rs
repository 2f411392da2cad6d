//! The DynamoDB table that `STATE_TABLE` names. It holds the counters of attempts and the sessions ([`crate::counters`], [`crate::sessions`]).
//!
//! An item has a partition key `pk` and a sort key `sk`. `expires_at` is its time to live, in seconds since 1970. DynamoDB deletes expired items up
//! to days later, so every reader ignores them. Every read is strongly consistent.

mod clock;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{
    Client, Config,
    error::{ProvideErrorMetadata, SdkError},
    operation::update_item::UpdateItemError,
    types::{AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure},
};

use self::clock::ClockCheck;
use crate::{
    aws,
    db::DbError,
    deadline,
    environment::{ConfigError, Environment},
    security::policy,
};

/// The table. Clones share one client.
#[derive(Clone)]
pub(crate) struct StateTable {
    client: Client,
    name: String,
}

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) partition: String,
    pub(crate) sort: String,
}

/// An item of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Item(HashMap<String, AttributeValue>);

/// A change of one item.
pub(crate) struct Update<'a> {
    pub(crate) key: &'a Key,
    /// The update expression.
    pub(crate) change: &'a str,
    /// The condition expression.
    pub(crate) condition: &'a str,
    /// The values of both expressions.
    pub(crate) values: Vec<(&'a str, AttributeValue)>,
}

/// The result of a deletion.
pub(crate) enum Deleted {
    /// This item was deleted.
    Item(Item),
    /// There was no item. But an earlier try may have deleted one: the SDK sent the request again, because it did not receive the first answer.
    Perhaps,
    /// There was no item.
    Nothing,
}

/// The result of an [`Update`].
pub(crate) enum Updated {
    /// The condition held. This is the item afterwards.
    Done(Item),
    /// The condition did not hold, and nothing has changed. This is the item, if there is one.
    Refused(Option<Item>),
}

impl StateTable {
    /// Reads `STATE_TABLE`, and `AWS_ENDPOINT_URL_DYNAMODB` or `AWS_ENDPOINT_URL`. `None` if no table is named. Does not connect yet.
    ///
    /// # Errors
    /// If the endpoint is malformed.
    pub(crate) fn from_env(env: &Environment) -> Result<Option<Self>, ConfigError> {
        let Some(name) = env.optional("STATE_TABLE") else { return Ok(None) };
        let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(25));
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(policy::STATE_ATTEMPT);
        let config = Config::new(&aws::sdk_config_of(env, "AWS_ENDPOINT_URL_DYNAMODB")?)
            .to_builder()
            .retry_config(retries)
            .timeout_config(timeouts.build())
            .interceptor(ClockCheck)
            .build();
        Ok(Some(Self { client: Client::from_conf(config), name: name.to_owned() }))
    }

    /// The items with these keys, in the order of the keys.
    ///
    /// # Errors
    /// If DynamoDB left an item unread, because that item must not be taken for a missing one.
    pub(crate) async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, DbError> {
        let wanted = keys.iter().map(Key::attributes).collect();
        let wanted = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(wanted)).build();
        let wanted = wanted.map_err(|problem| DbError::Failed(problem.into()))?;
        let found = self.client.batch_get_item().request_items(&self.name, wanted).send().await.map_err(unavailable)?;
        if found.unprocessed_keys().is_some_and(|unread| !unread.is_empty()) {
            return Err(DbError::Unavailable("the state table is too busy".into()));
        }
        let items = found.responses.unwrap_or_default().remove(&self.name).unwrap_or_default();
        let mut items: Vec<_> = items.into_iter().map(Item).collect();
        let found = keys.iter().map(|key| {
            let place = items.iter().position(|item| item.has_key(key))?;
            Some(items.swap_remove(place))
        });
        Ok(found.collect())
    }

    /// The item with this key.
    pub(crate) async fn get_one(&self, key: &Key) -> Result<Option<Item>, DbError> {
        let request = self.client.get_item().table_name(&self.name).consistent_read(true);
        let found = request.set_key(Some(key.attributes())).send().await.map_err(unavailable)?;
        Ok(found.item.map(Item))
    }

    /// All items of a partition, in the order of their sort keys.
    pub(crate) async fn query(&self, partition: &str) -> Result<Vec<Item>, DbError> {
        let request = self
            .client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(partition));
        let items: Result<Vec<_>, _> = request.into_paginator().items().send().collect().await;
        Ok(items.map_err(unavailable)?.into_iter().map(Item).collect())
    }

    /// Writes an item, and replaces an item with the same key. The SDK sends the request only once. If the caller stops waiting, the
    /// request may still arrive later, but not twice.
    pub(crate) async fn put(&self, item: Item) -> Result<(), DbError> {
        let request = self.client.put_item().table_name(&self.name).set_item(Some(item.0));
        let once = Config::builder().retry_config(RetryConfig::disabled());
        request.customize().config_override(once).send().await.map(drop).map_err(unavailable)
    }

    /// Changes an item if the condition holds.
    pub(crate) async fn update(
        &self,
        Update { key, change, condition, values }: Update<'_>,
    ) -> Result<Updated, DbError> {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let request = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key.attributes()))
            .update_expression(change)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(updated) => Ok(Updated::Done(Item(updated.attributes.unwrap_or_default()))),
            Err(problem) => match problem.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Updated::Refused(failed.item.clone().map(Item)))
                }
                _ => Err(unavailable(problem)),
            },
        }
    }

    /// Deletes an item.
    pub(crate) async fn delete(&self, key: &Key) -> Result<Deleted, DbError> {
        let request = self.client.delete_item().table_name(&self.name).set_key(Some(key.attributes()));
        let tries = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&tries);
        let request = request.return_values(ReturnValue::AllOld).customize().mutate_request(move |_| {
            counting.fetch_add(1, Ordering::Relaxed);
        });
        let deleted = request.send().await.map_err(unavailable)?;
        Ok(match deleted.attributes {
            Some(attributes) => Deleted::Item(Item(attributes)),
            None if tries.load(Ordering::Relaxed) > 1 => Deleted::Perhaps,
            None => Deleted::Nothing,
        })
    }
}

impl Key {
    fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([("pk".to_owned(), text(&self.partition)), ("sk".to_owned(), text(&self.sort))])
    }
}

impl Item {
    /// An item with this key and these attributes.
    pub(crate) fn new(key: &Key, attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>) -> Self {
        let mut item = key.attributes();
        item.extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Self(item)
    }

    /// An attribute that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_n().ok()?.parse().ok()
    }

    /// An attribute that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    fn has_key(&self, key: &Key) -> bool {
        self.text("pk") == Some(&key.partition) && self.text("sk") == Some(&key.sort)
    }
}

/// A text as the value of an attribute.
pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// A number as the value of an attribute.
pub(crate) fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Limits the total time of `work` to [`policy::STATE_DEADLINE`], or to the time that the request has left if that is shorter.
pub(crate) fn within<T, E: From<DbError>>(
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    // Futures of the SDK are large.
    let work = Box::pin(work);
    async {
        tokio::time::timeout_at(deadline::at_most(policy::STATE_DEADLINE), work)
            .await
            .unwrap_or_else(|_| Err(DbError::Unavailable("DynamoDB did not answer in time".into()).into()))
    }
}

/// The error of a call to the table that failed. Every one is answered with 503, so the client tries again. An operator must fix lasting causes, such as a
/// missing permission.
fn unavailable<E>(problem: SdkError<E>) -> DbError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match problem.as_service_error() {
        // Only the code is kept, because a message may quote the request.
        Some(refusal) => DbError::Unavailable(format!("DynamoDB says {}", refusal.code().unwrap_or("unknown")).into()),
        None => DbError::Unavailable(Box::new(problem)),
    }
}
