//! Rule state in a `DynamoDB` table.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use tributary_rules::consecutive::{Mark, Marks};
use tributary_rules::no_data::WatchedEntity;

use super::{AlertState, OPERATION, QUERY};
use crate::cardinality::{CardinalityStore, CardinalityTable};
use crate::dynamodb::{Attributes, Table, Updated, number, string, text, time};
use crate::error::CallError;

/// Partition key.
const KEY: &str = "item";

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
pub struct AlertStateTable(Table);

impl AlertStateTable {
    /// Creates a store over the table `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self(Table { client, name })
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
        let mut request = self.0.update(KEY, item, expression).condition_expression(condition);
        for name in NAMES.iter().filter(|name| is_used(name)) {
            request = request.expression_attribute_names(format!("#{name}"), *name);
        }
        request
    }

    /// Builds an update of the last-seen time of an entity.
    fn update_seen(
        &self,
        watched: &WatchedEntity,
        condition: &str,
        expires_at: Timestamp,
    ) -> UpdateItemFluentBuilder {
        let due = watched.due.unwrap_or(watched.last_seen);
        self.update_watched(
            &watched.item,
            "SET #rule = :rule, #entity = :entity, #key = :key, #title = :title, \
             #seen_at = :seen_at, #due_in = :due_in, #due = :due, expires_at = :expires_at",
            condition,
        )
        .expression_attribute_values(":rule", text(&watched.rule))
        .expression_attribute_values(":entity", text(&watched.entity))
        .expression_attribute_values(":key", text(&watched.key))
        .expression_attribute_values(":title", text(&watched.title))
        .expression_attribute_values(":seen_at", number(watched.last_seen.as_millisecond()))
        .expression_attribute_values(":due_in", text(&part(watched.bucket())))
        .expression_attribute_values(":due", number(due.as_millisecond()))
        .expression_attribute_values(":expires_at", number(expires_at.as_second()))
    }

    /// Sends an update. Returns the item after it or, if the condition failed, the stored item;
    /// `None` if there is none.
    async fn updated(&self, request: UpdateItemFluentBuilder) -> Result<Updated, CallError> {
        let request = request
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        self.0.updated(OPERATION, request).await
    }

    /// Returns up to `limit` items of a partition of the index whose `due` compares to `now` as
    /// `condition` says.
    async fn due_in(
        &self,
        partition: &str,
        condition: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Attributes>, CallError> {
        let request = self
            .0
            .query(condition)
            .index_name(DUE_INDEX)
            .expression_attribute_names("#due_in", "due_in")
            .expression_attribute_names("#due", "due")
            .expression_attribute_values(":due_in", text(partition))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = request.send().await.map_err(self.0.failed(QUERY))?;
        Ok(answer.items.unwrap_or_default())
    }

    /// Returns the entity of an item in an answer to `operation`.
    fn watched(
        &self,
        operation: &'static str,
        item: &Attributes,
    ) -> Result<WatchedEntity, CallError> {
        let text = |name: &str| string(item, name).map(str::to_owned);
        let read = || {
            Some(WatchedEntity {
                item: text(KEY)?,
                rule: text("rule")?,
                entity: text("entity")?,
                key: text("key")?,
                title: text("title")?,
                last_seen: time(item, "seen_at")?,
                silent_since: time(item, "silent_since"),
                due: time(item, "due"),
            })
        };
        read().ok_or_else(|| self.0.unreadable(operation, string(item, KEY).unwrap_or_default()))
    }
}

impl CardinalityStore for AlertStateTable {
    async fn add(
        &self,
        set: &str,
        new: &BTreeSet<u64>,
        limit: usize,
        expires_at: Timestamp,
    ) -> Result<HashSet<u64>, CallError> {
        CardinalityTable(self.0.clone()).add(set, new, limit, expires_at).await
    }
}

impl AlertState for AlertStateTable {
    async fn raise_mark(&self, mark: &Mark, expires_at: Timestamp) -> Result<Marks, CallError> {
        let request = self
            .0
            .update(KEY, &mark.item, "SET #window = :value, expires_at = :expires_at")
            .condition_expression("attribute_not_exists(#window) OR #window < :value")
            .expression_attribute_names("#window", format!("{WINDOW}{}", mark.window))
            .expression_attribute_values(":value", number(mark.value))
            .expression_attribute_values(":expires_at", number(expires_at.as_second()));
        self.updated(request).await?.item.as_ref().map(marks).ok_or_else(no_item)
    }

    async fn record_seen(
        &self,
        watched: &WatchedEntity,
        expires_at: Timestamp,
    ) -> Result<WatchedEntity, CallError> {
        let condition = "attribute_not_exists(#seen_at) OR #seen_at < :seen_at";
        let updated = self.updated(self.update_seen(watched, condition, expires_at)).await?;
        self.watched(OPERATION, &updated.item.ok_or_else(no_item)?)
    }

    async fn refresh_seen(
        &self,
        watched: &WatchedEntity,
        expires_at: Timestamp,
    ) -> Result<Option<WatchedEntity>, CallError> {
        // Without an item the comparison is false.
        let condition = "#seen_at < :seen_at";
        let updated = self.updated(self.update_seen(watched, condition, expires_at)).await?;
        match updated.item {
            Some(item) => self.watched(OPERATION, &item).map(Some),
            None if updated.is_met => Err(no_item()),
            None => Ok(None),
        }
    }

    async fn due(
        &self,
        bucket: u8,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<WatchedEntity>, CallError> {
        let condition = "#due_in = :due_in AND #due <= :now";
        let items = self.due_in(&part(bucket), condition, now, limit).await?;
        items.iter().map(|item| self.watched(QUERY, item)).collect()
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
        self.updated(request).await.map(drop)
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
        self.updated(request).await.map(drop)
    }

    async fn mark_resolved(&self, watched: &WatchedEntity) -> Result<(), CallError> {
        let Some(since) = watched.silent_since else { return Ok(()) };
        let request = self
            .update_watched(&watched.item, "REMOVE #silent_since", "#silent_since = :since")
            .expression_attribute_values(":since", number(since.as_millisecond()));
        self.updated(request).await.map(drop)
    }

    async fn record_lag(&self, shard: &str, until: Timestamp) -> Result<(), CallError> {
        let request = self
            .0
            .update(
                KEY,
                &format!("{LAG_PARTITION}#{shard}"),
                "SET #due_in = :due_in, #due = :until, expires_at = :expires_at",
            )
            .expression_attribute_names("#due_in", "due_in")
            .expression_attribute_names("#due", "due")
            .expression_attribute_values(":due_in", text(LAG_PARTITION))
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .expression_attribute_values(":expires_at", number(until.as_second() + 1));
        self.updated(request).await.map(drop)
    }

    async fn is_lagging(&self, now: Timestamp) -> Result<bool, CallError> {
        let condition = "#due_in = :due_in AND #due > :now";
        Ok(!self.due_in(LAG_PARTITION, condition, now, 1).await?.is_empty())
    }
}

fn part(bucket: u8) -> String {
    format!("watch#{bucket}")
}

fn is_of_name(it: char) -> bool {
    it == '#' || it == '_' || it.is_ascii_alphanumeric()
}

/// Returns the marks of an item and ignores its other attributes.
fn marks(item: &Attributes) -> Marks {
    let mark = |(name, value): (&String, &AttributeValue)| {
        let window = name.strip_prefix(WINDOW)?.parse().ok()?;
        Some((window, value.as_n().ok()?.parse().ok()?))
    };
    item.iter().filter_map(mark).collect()
}

/// Error for an answer without the item. It is retryable: the item was written a moment ago.
fn no_item() -> CallError {
    CallError::retryable(OPERATION, "no_item", "an answer without the item that it is about")
}
