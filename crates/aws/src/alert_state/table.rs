//! Rule state in a `DynamoDB` table.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use tributary_rules::consecutive::{Mark, Marks};
use tributary_rules::no_data::WatchedEntity;

use super::{AlertState, OPERATION, QUERY};
use crate::error::{CallError, SetupError};

/// Name prefix of the attributes that hold a window mark.
const WINDOW: &str = "w";

/// Index of the due items: partition key `due_in`, sort key `due` (milliseconds), with all
/// attributes. It omits items without `due_in`.
const DUE_INDEX: &str = "due";

/// Partition of the index that holds the shards on which the function lags.
const LAG_PARTITION: &str = "behind";

/// Attributes of a watched entity. Some are reserved words of `DynamoDB`.
const NAMES: [&str; 8] =
    ["rule", "entity", "key", "title", "seen_at", "silent_since", "due_in", "due"];

type Item = HashMap<String, AttributeValue>;

/// Table with the text partition key `item` and the index `due`, whose items expire at `expires_at`
/// (seconds since 1970).
///
/// An item of marks has one numeric attribute `w<number>` for each window. Raising a mark is an
/// `UpdateItem` on the condition that the stored one is lower; the answer has the item in either
/// case. See <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html>.
///
/// A watched entity has `rule, entity, key, title` and `seen_at` in milliseconds. It has `due_in`
/// (`watch#<bucket>`) and `due` until its no-data alert is sent, and from then until its resolved
/// alert is sent `silent_since` in milliseconds. A shard on which the function lags has `due_in` =
/// `behind`.
#[derive(Clone, Debug)]
pub struct AlertStateTable {
    client: Client,
    name: String,
}

impl AlertStateTable {
    /// Creates a store over the table `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

impl AlertStateTable {
    fn update(&self, item: &str, expression: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("item", text(item))
            .update_expression(expression)
    }

    /// Builds an update of a watched entity. It declares only the names that the expressions use,
    /// because `DynamoDB` rejects unused ones.
    fn update_watched(
        &self,
        item: &str,
        expression: &str,
        condition: &str,
    ) -> UpdateItemFluentBuilder {
        let is_used = |name: &&str| {
            let name = format!("#{name}");
            // `#due` is a prefix of `#due_in`.
            let is_in = |text: &str| text.split(|it: char| !is_of_name(it)).any(|it| it == name);
            is_in(expression) || is_in(condition)
        };
        let mut request = self.update(item, expression).condition_expression(condition);
        for name in NAMES.iter().filter(|name| is_used(name)) {
            request = request.expression_attribute_names(format!("#{name}"), *name);
        }
        request
    }

    /// Sends an update. Returns the item after it or, if the condition failed, the stored item;
    /// `None` if there is none.
    async fn updated(&self, request: UpdateItemFluentBuilder) -> Result<Updated, CallError> {
        let request = request
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(answer) => Ok(Updated { is_met: true, item: answer.attributes }),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Updated { is_met: false, item: failed.item().cloned() })
                }
                _ => Err(CallError::from_sdk(OPERATION, &self.name, &error)),
            },
        }
    }

    fn due_in(&self, part: String) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .index_name(DUE_INDEX)
            .expression_attribute_names("#due_in", "due_in")
            .expression_attribute_names("#due", "due")
            .expression_attribute_values(":due_in", AttributeValue::S(part))
    }

    fn watched(&self, item: &Item) -> Result<WatchedEntity, CallError> {
        let string = |name: &str| item.get(name)?.as_s().ok().cloned();
        let time = |name: &str| {
            let milliseconds = item.get(name)?.as_n().ok()?.parse().ok()?;
            Timestamp::from_millisecond(milliseconds).ok()
        };
        let read = || {
            Some(WatchedEntity {
                item: string("item")?,
                rule: string("rule")?,
                entity: string("entity")?,
                key: string("key")?,
                title: string("title")?,
                last_seen: time("seen_at")?,
                silent_since: time("silent_since"),
                due: time("due"),
            })
        };
        read().ok_or_else(|| {
            let item = string("item").unwrap_or_default();
            CallError::Setup(SetupError {
                operation: OPERATION,
                resource: self.name.clone(),
                code: "client".to_owned(),
                message: format!("the item {item} is none that this program wrote"),
            })
        })
    }
}

/// Result of a conditional update.
struct Updated {
    is_met: bool,
    item: Option<Item>,
}

impl AlertState for AlertStateTable {
    async fn raise_mark(&self, mark: &Mark, expires_at: Timestamp) -> Result<Marks, CallError> {
        let request = self
            .update(&mark.item, "SET #window = :value, expires_at = :expires_at")
            .condition_expression("attribute_not_exists(#window) OR #window < :value")
            .expression_attribute_names("#window", format!("{WINDOW}{}", mark.window))
            .expression_attribute_values(":value", AttributeValue::N(mark.value.to_string()))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()));
        self.updated(request).await?.item.as_ref().map(marks).ok_or_else(no_item)
    }

    async fn record_seen(
        &self,
        watched: &WatchedEntity,
        expires_at: Timestamp,
    ) -> Result<WatchedEntity, CallError> {
        let due = watched.due.unwrap_or(watched.last_seen);
        let request = self
            .update_watched(
                &watched.item,
                "SET #rule = :rule, #entity = :entity, #key = :key, #title = :title, \
                 #seen_at = :seen_at, #due_in = :due_in, #due = :due, expires_at = :expires_at",
                "attribute_not_exists(#seen_at) OR #seen_at < :seen_at",
            )
            .expression_attribute_values(":rule", text(&watched.rule))
            .expression_attribute_values(":entity", text(&watched.entity))
            .expression_attribute_values(":key", text(&watched.key))
            .expression_attribute_values(":title", text(&watched.title))
            .expression_attribute_values(":seen_at", number(watched.last_seen.as_millisecond()))
            .expression_attribute_values(":due_in", AttributeValue::S(part(watched.bucket())))
            .expression_attribute_values(":due", number(due.as_millisecond()))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()));
        let item = self.updated(request).await?.item.ok_or_else(no_item)?;
        self.watched(&item)
    }

    async fn due(
        &self,
        bucket: u8,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<WatchedEntity>, CallError> {
        let request = self
            .due_in(part(bucket))
            .key_condition_expression("#due_in = :due_in AND #due <= :now")
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = request.send().await;
        let answer = answer.map_err(|error| CallError::from_sdk(QUERY, &self.name, &error))?;
        answer.items().iter().map(|item| self.watched(item)).collect()
    }

    async fn mark_sent(&self, watched: &WatchedEntity) -> Result<(), CallError> {
        let last_seen = || number(watched.last_seen.as_millisecond());
        let request = self
            .update_watched(
                &watched.item,
                "SET #silent_since = :seen_at REMOVE #due_in, #due",
                "#seen_at = :seen_at",
            )
            .expression_attribute_values(":seen_at", last_seen());
        let updated = self.updated(request).await?;
        if updated.is_met || updated.item.is_none() {
            return Ok(());
        }
        // A reading arrived meanwhile: the next one must find a no-data period to resolve.
        let request = self
            .update_watched(
                &watched.item,
                "SET #silent_since = :seen_at",
                "#seen_at > :seen_at AND \
                 (attribute_not_exists(#silent_since) OR #silent_since < :seen_at)",
            )
            .expression_attribute_values(":seen_at", last_seen());
        self.updated(request).await.map(|_| ())
    }

    async fn postpone(
        &self,
        watched: &WatchedEntity,
        until: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        // An entity that is no longer due has no `due`, so the comparison is false.
        let request = self
            .update_watched(
                &watched.item,
                "SET #due = :until, expires_at = :expires_at",
                "#seen_at = :seen_at AND #due < :until",
            )
            .expression_attribute_values(":seen_at", number(watched.last_seen.as_millisecond()))
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()));
        self.updated(request).await.map(|_| ())
    }

    async fn mark_resolved(&self, watched: &WatchedEntity) -> Result<(), CallError> {
        let Some(since) = watched.silent_since else { return Ok(()) };
        let request = self
            .update_watched(&watched.item, "REMOVE #silent_since", "#silent_since = :since")
            .expression_attribute_values(":since", number(since.as_millisecond()));
        self.updated(request).await.map(|_| ())
    }

    async fn record_lag(&self, shard: &str, until: Timestamp) -> Result<(), CallError> {
        let request = self
            .update(
                &format!("{LAG_PARTITION}#{shard}"),
                "SET #due_in = :due_in, #due = :until, expires_at = :expires_at",
            )
            .expression_attribute_names("#due_in", "due_in")
            .expression_attribute_names("#due", "due")
            .expression_attribute_values(":due_in", text(LAG_PARTITION))
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .expression_attribute_values(":expires_at", number(until.as_second() + 1));
        self.updated(request).await.map(|_| ())
    }

    async fn is_lagging(&self, now: Timestamp) -> Result<bool, CallError> {
        let request = self
            .due_in(LAG_PARTITION.to_owned())
            .key_condition_expression("#due_in = :due_in AND #due > :now")
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .limit(1);
        let answer = request.send().await;
        let answer = answer.map_err(|error| CallError::from_sdk(QUERY, &self.name, &error))?;
        Ok(!answer.items().is_empty())
    }
}

fn part(bucket: u8) -> String {
    format!("watch#{bucket}")
}

fn is_of_name(it: char) -> bool {
    it == '#' || it == '_' || it.is_ascii_alphanumeric()
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Returns the marks of an item and ignores its other attributes.
fn marks(item: &Item) -> Marks {
    let mark = |(name, value): (&String, &AttributeValue)| {
        let window = name.strip_prefix(WINDOW)?.parse().ok()?;
        Some((window, value.as_n().ok()?.parse().ok()?))
    };
    item.iter().filter_map(mark).collect()
}

/// Error for an answer without the item. It is retryable: the item was written a moment ago.
fn no_item() -> CallError {
    CallError::Retryable {
        operation: OPERATION,
        code: "no_item".to_owned(),
        message: "an answer without the item that it is about".to_owned(),
    }
}
