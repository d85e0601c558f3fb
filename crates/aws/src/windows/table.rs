//! Windows in a `DynamoDB` table.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use jiff::Timestamp;
use tracing::error;
use tributary_windows::clock::{Clock, Mark, Rise, Shard};

use super::{Item, ItemKey, MAX_KEYS, OPERATION, Range, WindowStore, Written};
use crate::dynamodb::{Attributes, Table, integer, number, string, text, time};
use crate::error::{CallError, SetupError};

/// Index of the due windows: partition key `due_in`, sort key `due`, keys only. It omits items
/// without `due_in`.
const DUE_INDEX: &str = "due";

/// Sort key of a clock's watermark.
const ALL: &str = "all";

/// Maximum number of requests for the keys that `DynamoDB` left unprocessed.
const ROUNDS: usize = 5;

/// Table with the text partition key `pk`, the text sort key `sk` and the index `due`, whose items
/// expire at `expires_at` (seconds since 1970).
///
/// - Window: `pk` = `<spec>#<group>`, `sk` = its start, so that "this device, this time range,
///   newest first" is one query; `version`, `body`, and while the window is due for processing
///   `due_in` = `<spec>#<bucket>` and `due` (milliseconds).
/// - Shard of a clock: `pk` = `clock#<clock>`, `sk` = `shard#<id>`; `watermark`, `seen_at`
///   (milliseconds), `is_over`. The clock's watermark has `sk` = `all`, `watermark`, `raised_at`,
///   `mark`, `mark_at` (milliseconds).
///
/// See <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-sort-keys.html> and,
/// for sparse indexes,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-indexes-general-sparse-indexes.html>.
#[derive(Clone, Debug)]
pub struct WindowTable(Table);

impl WindowTable {
    /// Creates a store over the table `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self(Table { client, name })
    }

    fn unreadable(&self, item: &Attributes) -> CallError {
        let key = |name| string(item, name).unwrap_or("?");
        self.0.unreadable(OPERATION, &format!("{} {}", key("pk"), key("sk")))
    }

    /// Returns the window of an item, with an empty body if it has none: such an item fails its own
    /// window when it is decoded. Logs an item whose key is none of a window.
    fn window(&self, item: &Attributes) -> Option<Item> {
        let key = self.key_of(item)?;
        let version = integer(item, "version").and_then(|version| version.try_into().ok());
        let expires_at = integer(item, "expires_at").and_then(|s| Timestamp::from_second(s).ok());
        let body = string(item, "body").unwrap_or_default().to_owned();
        let (version, due) = (version.unwrap_or_default(), time(item, "due"));
        Some(Item { key, version, due, expires_at, body })
    }

    /// Returns the key of an item, and logs one that is none of a window.
    fn key_of(&self, item: &Attributes) -> Option<ItemKey> {
        let key = key_of(item);
        if key.is_none() {
            let error = self.unreadable(item);
            error!(%error, "an item of the table is left out");
        }
        key
    }

    /// Sends a put. Returns false if its condition failed.
    async fn put(&self, request: PutItemFluentBuilder) -> Result<bool, CallError> {
        let answer = request.table_name(&self.0.name).send().await;
        let is_refused = |error: &PutItemError| error.is_conditional_check_failed_exception();
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(is_refused) => Ok(false),
            Err(error) => Err(self.0.failed(OPERATION)(error)),
        }
    }

    fn put_of_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> PutItemFluentBuilder {
        let watermark = shard.watermark.map(|time| text(&time.to_string()));
        let request = self.0.client.put_item();
        request
            .item("pk", text(&clock_key(clock)))
            .item("sk", text(&format!("shard#{}", shard.id)))
            .item("watermark", watermark.unwrap_or(AttributeValue::Null(true)))
            .item("seen_at", number(shard.last_seen.as_millisecond()))
            .item("is_over", AttributeValue::Bool(shard.is_closed))
            .item("expires_at", number(expires_at.as_second()))
    }

    fn update(&self, clock: &str, sort_key: &str, expression: &str) -> UpdateItemFluentBuilder {
        self.0.update("pk", &clock_key(clock), expression).key("sk", text(sort_key))
    }
}

impl WindowStore for WindowTable {
    async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        let (mut found, name) = (HashMap::new(), &self.0.name);
        let mut left: Vec<Attributes> = keys.iter().map(key).collect();
        for _ in 0..ROUNDS {
            if left.is_empty() {
                break;
            }
            let rest = left.split_off(left.len().min(MAX_KEYS));
            let wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true);
            let wanted =
                wanted.build().map_err(|error| SetupError::request(OPERATION, name, &error))?;
            let request = self.0.client.batch_get_item().request_items(name, wanted);
            let answer = request.send().await.map_err(self.0.failed(OPERATION))?;
            for item in answer.responses().and_then(|all| all.get(name)).into_iter().flatten() {
                if let Some(item) = self.window(item) {
                    found.insert(item.key.clone(), item);
                }
            }
            left = rest;
            let unprocessed = answer.unprocessed_keys().and_then(|all| all.get(name));
            left.extend(unprocessed.into_iter().flat_map(|keys| keys.keys().to_vec()));
        }
        if left.is_empty() {
            Ok(keys.iter().map(|key| found.remove(key)).collect())
        } else {
            let message = format!("{} of {} items were not read", left.len(), keys.len());
            Err(CallError::retryable(OPERATION, "unprocessed_keys", message))
        }
    }

    async fn write(&self, item: &Item) -> Result<Written, CallError> {
        let mut request = self
            .0
            .client
            .put_item()
            .set_item(Some(key(&item.key)))
            .item("version", number(item.version))
            .item("body", text(&item.body));
        if let Some(due) = item.due {
            request = request
                .item("due_in", text(&partition(&item.key.spec, &item.key.bucket())))
                .item("due", number(due.as_millisecond()));
        }
        if let Some(expires_at) = item.expires_at {
            request = request.item("expires_at", number(expires_at.as_second()));
        }
        let request = if item.version == 1 {
            request.condition_expression("attribute_not_exists(pk)")
        } else {
            request
                .condition_expression("version = :before")
                .expression_attribute_values(":before", number(item.version.cast_signed() - 1))
        };
        Ok(if self.put(request).await? { Written::Stored } else { Written::Conflict })
    }

    async fn due(
        &self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ItemKey>, CallError> {
        let request = self
            .0
            .query("due_in = :bucket AND due <= :until")
            .index_name(DUE_INDEX)
            .expression_attribute_values(":bucket", text(&partition(spec, &bucket)))
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = request.send().await.map_err(self.0.failed(OPERATION))?;
        Ok(answer.items().iter().filter_map(|item| self.key_of(item)).collect())
    }

    async fn range(&self, spec: &str, group: &str, range: Range) -> Result<Vec<Item>, CallError> {
        let request = self
            .0
            .query("pk = :pk AND sk BETWEEN :from AND :last")
            .expression_attribute_values(":pk", text(&partition(spec, &group)))
            .expression_attribute_values(":from", text(&sort_key(range.from)))
            .expression_attribute_values(":last", text(&sort_key(range.until)))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(range.limit + 1).unwrap_or(i32::MAX));
        let (mut items, mut found) = (Vec::new(), request.into_paginator().items().send());
        while items.len() < range.limit
            && let Some(item) = found.next().await
        {
            let item = self.window(&item.map_err(self.0.failed(OPERATION))?);
            // `BETWEEN` includes its end.
            items.extend(item.filter(|item| item.key.start < range.until));
        }
        Ok(items)
    }

    async fn clock(&self, name: &str) -> Result<Clock, CallError> {
        let request = self
            .0
            .query("pk = :pk")
            .expression_attribute_values(":pk", text(&clock_key(name)))
            .consistent_read(true);
        let (mut clock, mut found) = (Clock::default(), request.into_paginator().items().send());
        while let Some(item) = found.next().await {
            let item = item.map_err(self.0.failed(OPERATION))?;
            let watermark = string(&item, "watermark").and_then(|it| it.parse().ok());
            if string(&item, "sk") == Some(ALL) {
                clock.watermark = watermark;
                clock.raised_at = time(&item, "raised_at");
                let mark = string(&item, "mark").and_then(|it| it.parse().ok());
                clock.mark = time(&item, "mark_at").map(|at| Mark { watermark: mark, at });
            } else {
                let shard = shard(&item, watermark).ok_or_else(|| self.unreadable(&item))?;
                clock.shards.push(shard);
            }
        }
        Ok(clock)
    }

    async fn put_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        self.put(self.put_of_shard(clock, shard, expires_at)).await.map(drop)
    }

    async fn add_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        let request = self.put_of_shard(clock, shard, expires_at);
        self.put(request.condition_expression("attribute_not_exists(pk)")).await.map(drop)
    }

    async fn touch_shard(
        &self,
        clock: &str,
        id: &str,
        last_seen: Timestamp,
    ) -> Result<(), CallError> {
        let request = self
            .update(clock, &format!("shard#{id}"), "SET seen_at = :seen_at")
            .condition_expression("seen_at < :seen_at")
            .expression_attribute_values(":seen_at", number(last_seen.as_millisecond()));
        self.0.updated(OPERATION, request).await.map(drop)
    }

    async fn raise_watermark(&self, clock: &str, rise: &Rise) -> Result<(), CallError> {
        let Rise { to, at, mark } = rise;
        let marked = mark.watermark.map(|time| text(&time.to_string()));
        // Nanoseconds are compared; the text is for people and for reading back.
        let request = self
            .update(
                clock,
                ALL,
                "SET watermark = :watermark, nanoseconds = :nanoseconds, raised_at = :raised_at, \
                 mark = :mark, mark_at = :mark_at",
            )
            .condition_expression("attribute_not_exists(pk) OR nanoseconds < :nanoseconds")
            .expression_attribute_values(":watermark", text(&to.to_string()))
            .expression_attribute_values(":nanoseconds", number(to.as_nanosecond()))
            .expression_attribute_values(":raised_at", number(at.as_millisecond()))
            .expression_attribute_values(":mark", marked.unwrap_or(AttributeValue::Null(true)))
            .expression_attribute_values(":mark_at", number(mark.at.as_millisecond()));
        self.0.updated(OPERATION, request).await.map(drop)
    }
}

fn clock_key(clock: &str) -> String {
    format!("clock#{clock}")
}

/// Formats a partition key: the spec with its group or, in the index, with a bucket.
fn partition(spec: &str, part: &impl std::fmt::Display) -> String {
    format!("{spec}#{part}")
}

/// Formats a start. Windows begin at whole seconds, so the text sorts as time does.
fn sort_key(start: Timestamp) -> String {
    format!("{start:.0}")
}

fn key(key: &ItemKey) -> Attributes {
    HashMap::from([
        ("pk".to_owned(), text(&partition(&key.spec, &key.group))),
        ("sk".to_owned(), text(&sort_key(key.start))),
    ])
}

fn key_of(item: &Attributes) -> Option<ItemKey> {
    // A spec's id has no `#`; a group may have.
    let (spec, group) = string(item, "pk")?.split_once('#')?;
    let start = string(item, "sk")?.parse().ok()?;
    Some(ItemKey { spec: spec.to_owned(), group: group.to_owned(), start })
}

fn shard(item: &Attributes, watermark: Option<Timestamp>) -> Option<Shard> {
    Some(Shard {
        id: string(item, "sk")?.strip_prefix("shard#")?.to_owned(),
        watermark,
        last_seen: time(item, "seen_at")?,
        is_closed: *item.get("is_over")?.as_bool().ok()?,
    })
}
