//! Windows in a `DynamoDB` table.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use aws_sdk_kinesis::config::http::HttpResponse;
use jiff::Timestamp;
use tributary_windows::clock::{Clock, Shard};

use super::{Item, ItemKey, MAX_KEYS, OPERATION, Range, WindowStore, Written};
use crate::error::{CallError, SetupError};

/// Index of the due windows: partition key `due_in`, sort key `due`, keys only. It omits items
/// without `due_in`.
const DUE_INDEX: &str = "due";

/// Sort key of a clock's watermark.
const ALL: &str = "all";

/// Maximum number of requests for the keys that `DynamoDB` left unprocessed.
const ROUNDS: usize = 5;

type Attributes = HashMap<String, AttributeValue>;

/// Table with the text partition key `pk`, the text sort key `sk` and the index `due`, whose items
/// expire at `expires_at` (seconds since 1970).
///
/// - Window: `pk` = `<spec>#<group>`, `sk` = its start, so that "this device, this time range,
///   newest first" is one query; `version`, `body`, and while the window is due for processing
///   `due_in` = `<spec>#<bucket>` and `due` (milliseconds).
/// - Shard of a clock: `pk` = `clock#<clock>`, `sk` = `shard#<id>`; `watermark`, `seen_at`
///   (milliseconds), `is_over`. The clock's watermark has `sk` = `all`.
///
/// See <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-sort-keys.html> and,
/// for sparse indexes,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-indexes-general-sparse-indexes.html>.
#[derive(Clone, Debug)]
pub struct WindowTable {
    client: Client,
    name: String,
}

impl WindowTable {
    /// Creates a store over the table `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> CallError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        CallError::from_sdk(OPERATION, &self.name, error)
    }

    /// Returns the setup error of an item that this program did not write.
    fn unreadable(&self, item: &Attributes) -> CallError {
        let key = |name: &str| item.get(name).and_then(|it| it.as_s().ok()).map_or("?", |it| it);
        CallError::Setup(SetupError {
            operation: OPERATION,
            resource: self.name.clone(),
            code: "client".to_owned(),
            message: format!(
                "the item {} {} is none that this program wrote",
                key("pk"),
                key("sk")
            ),
        })
    }

    fn window(&self, item: &Attributes) -> Result<Item, CallError> {
        let read = || {
            let key = key_of(item)?;
            let version = integer(item, "version")?.try_into().ok()?;
            let due = integer(item, "due").and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let expires_at =
                integer(item, "expires_at").and_then(|s| Timestamp::from_second(s).ok());
            let body = string(item, "body")?.to_owned();
            Some(Item { key, version, due, expires_at, body })
        };
        read().ok_or_else(|| self.unreadable(item))
    }

    /// Updates an item. A failed condition means that there is nothing to do.
    async fn updated(&self, request: UpdateItemFluentBuilder) -> Result<(), CallError> {
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(self.failed(&error)),
            },
        }
    }

    fn put_of_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> PutItemFluentBuilder {
        let watermark = shard.watermark.map(|time| text(&time.to_string()));
        self.client
            .put_item()
            .table_name(&self.name)
            .item("pk", text(&format!("clock#{clock}")))
            .item("sk", text(&format!("shard#{}", shard.id)))
            .item("watermark", watermark.unwrap_or(AttributeValue::Null(true)))
            .item("seen_at", number(shard.last_seen.as_millisecond()))
            .item("is_over", AttributeValue::Bool(shard.is_closed))
            .item("expires_at", number(expires_at.as_second()))
    }
}

impl WindowStore for WindowTable {
    async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        let mut found = HashMap::new();
        let mut left: Vec<Attributes> = keys.iter().map(key).collect();
        for _ in 0..ROUNDS {
            if left.is_empty() {
                break;
            }
            let rest = left.split_off(left.len().min(MAX_KEYS));
            let wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true);
            let wanted = wanted
                .build()
                .map_err(|error| SetupError::request(OPERATION, &self.name, &error))?;
            let request = self.client.batch_get_item().request_items(&self.name, wanted);
            let answer = request.send().await.map_err(|error| self.failed(&error))?;
            for item in answer.responses().and_then(|all| all.get(&self.name)).into_iter().flatten()
            {
                let item = self.window(item)?;
                found.insert(item.key.clone(), item);
            }
            left = rest;
            let unprocessed = answer.unprocessed_keys().and_then(|all| all.get(&self.name));
            left.extend(unprocessed.into_iter().flat_map(|keys| keys.keys().to_vec()));
        }
        if left.is_empty() {
            Ok(keys.iter().map(|key| found.remove(key)).collect())
        } else {
            Err(CallError::Retryable {
                operation: OPERATION,
                code: "unprocessed_keys".to_owned(),
                message: format!("{} of {} items were not read", left.len(), keys.len()),
            })
        }
    }

    async fn write(&self, item: &Item) -> Result<Written, CallError> {
        let mut attributes = key(&item.key);
        attributes.insert("version".to_owned(), number(item.version.cast_signed()));
        attributes.insert("body".to_owned(), text(&item.body));
        if let Some(due) = item.due {
            attributes
                .insert("due_in".to_owned(), text(&due_in(&item.key.spec, item.key.bucket())));
            attributes.insert("due".to_owned(), number(due.as_millisecond()));
        }
        if let Some(expires_at) = item.expires_at {
            attributes.insert("expires_at".to_owned(), number(expires_at.as_second()));
        }
        let request = self.client.put_item().table_name(&self.name).set_item(Some(attributes));
        let request = if item.version == 1 {
            request.condition_expression("attribute_not_exists(pk)")
        } else {
            request
                .condition_expression("version = :before")
                .expression_attribute_values(":before", number(item.version.cast_signed() - 1))
        };
        match request.send().await {
            Ok(_) => Ok(Written::Stored),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(Written::Conflict),
                _ => Err(self.failed(&error)),
            },
        }
    }

    async fn due(
        &self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ItemKey>, CallError> {
        let request = self
            .client
            .query()
            .table_name(&self.name)
            .index_name(DUE_INDEX)
            .key_condition_expression("due_in = :bucket AND due <= :until")
            .expression_attribute_values(":bucket", text(&due_in(spec, bucket)))
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = request.send().await.map_err(|error| self.failed(&error))?;
        let key = |item| key_of(item).ok_or_else(|| self.unreadable(item));
        answer.items().iter().map(key).collect()
    }

    async fn range(&self, spec: &str, group: &str, range: Range) -> Result<Vec<Item>, CallError> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :last")
                .expression_attribute_values(":pk", text(&partition(spec, group)))
                .expression_attribute_values(":from", text(&sort_key(range.from)))
                .expression_attribute_values(":last", text(&sort_key(range.until)))
                .consistent_read(true)
                .scan_index_forward(false)
                .limit(i32::try_from(range.limit - items.len() + 1).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from);
            let answer = request.send().await.map_err(|error| self.failed(&error))?;
            for item in answer.items() {
                let item = self.window(item)?;
                // `BETWEEN` includes its end.
                if item.key.start < range.until && items.len() < range.limit {
                    items.push(item);
                }
            }
            match answer.last_evaluated_key() {
                Some(key) if items.len() < range.limit => from = Some(key.clone()),
                _ => return Ok(items),
            }
        }
    }

    async fn clock(&self, name: &str) -> Result<Clock, CallError> {
        let mut clock = Clock::default();
        let mut from = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text(&format!("clock#{name}")))
                .consistent_read(true)
                .set_exclusive_start_key(from);
            let answer = request.send().await.map_err(|error| self.failed(&error))?;
            for item in answer.items() {
                let watermark = string(item, "watermark").and_then(|it| it.parse().ok());
                if string(item, "sk") == Some(ALL) {
                    clock.watermark = watermark;
                } else {
                    let shard = shard(item, watermark).ok_or_else(|| self.unreadable(item))?;
                    clock.shards.push(shard);
                }
            }
            match answer.last_evaluated_key() {
                Some(key) => from = Some(key.clone()),
                None => return Ok(clock),
            }
        }
    }

    async fn put_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        let request = self.put_of_shard(clock, shard, expires_at);
        request.send().await.map(|_| ()).map_err(|error| self.failed(&error))
    }

    async fn add_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        let request = self.put_of_shard(clock, shard, expires_at);
        match request.condition_expression("attribute_not_exists(pk)").send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(self.failed(&error)),
            },
        }
    }

    async fn touch_shard(
        &self,
        clock: &str,
        id: &str,
        last_seen: Timestamp,
    ) -> Result<(), CallError> {
        let request = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", text(&format!("clock#{clock}")))
            .key("sk", text(&format!("shard#{id}")))
            .update_expression("SET seen_at = :seen_at")
            .condition_expression("seen_at < :seen_at")
            .expression_attribute_values(":seen_at", number(last_seen.as_millisecond()));
        self.updated(request).await
    }

    async fn raise_watermark(&self, clock: &str, time: Timestamp) -> Result<(), CallError> {
        // Nanoseconds are compared; the text is for people and for reading back.
        let request = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", text(&format!("clock#{clock}")))
            .key("sk", text(ALL))
            .update_expression("SET watermark = :watermark, nanoseconds = :nanoseconds")
            .condition_expression("attribute_not_exists(pk) OR nanoseconds < :nanoseconds")
            .expression_attribute_values(":watermark", text(&time.to_string()))
            .expression_attribute_values(
                ":nanoseconds",
                AttributeValue::N(time.as_nanosecond().to_string()),
            );
        self.updated(request).await
    }
}

fn partition(spec: &str, group: &str) -> String {
    format!("{spec}#{group}")
}

/// Formats a start. Windows begin at whole seconds, so the text sorts as time does.
fn sort_key(start: Timestamp) -> String {
    format!("{start:.0}")
}

fn due_in(spec: &str, bucket: u8) -> String {
    format!("{spec}#{bucket}")
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
        last_seen: Timestamp::from_millisecond(integer(item, "seen_at")?).ok()?,
        is_closed: *item.get("is_over")?.as_bool().ok()?,
    })
}

fn string<'a>(item: &'a Attributes, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn integer(item: &Attributes, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
