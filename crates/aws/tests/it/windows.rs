//! `WindowTable` against recorded SDK answers: the condition of each write, and the result of a
//! failed one.

use jiff::Timestamp;
use serde_json::{Value, json};
use tributary_aws::clients;
use tributary_aws::error::CallError;
use tributary_aws::windows::{Item, ItemKey, WindowStore, WindowTable, Written};
use tributary_testkit::FakeHttp;
use tributary_windows::clock::{Mark, Rise};

use crate::support::{CONDITION_FAILED, EMPTY, request, sent};

const NO_TABLE: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no such table"}"#;

fn table(http: &FakeHttp) -> WindowTable {
    WindowTable::new(clients::dynamodb(&http.sdk_config()), "windows".into())
}

fn noon() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn touch() -> Value {
    json!({
        "TableName": "windows",
        "Key": {"pk": {"S": "clock#telemetry/event"}, "sk": {"S": "shard#shardId-000000000001"}},
        "ConditionExpression": "seen_at < :seen_at",
        "UpdateExpression": "SET seen_at = :seen_at",
        "ExpressionAttributeValues": {":seen_at": {"N": "1795176000000"}},
    })
}

#[tokio::test]
async fn touch_shard_leaves_the_watermark() {
    let http = FakeHttp::new([(200, EMPTY)]);

    table(&http).touch_shard("telemetry/event", "shardId-000000000001", noon()).await.unwrap();

    assert_eq!(sent(&http), [request("UpdateItem", touch())]);
}

#[tokio::test]
async fn newer_shard_state_needs_no_update() {
    let http = FakeHttp::new([(400, CONDITION_FAILED), (400, CONDITION_FAILED), (400, NO_TABLE)]);
    let table = table(&http);

    let touched = table.touch_shard("telemetry/event", "shardId-000000000001", noon()).await;
    assert_eq!(touched, Ok(()));
    let mark = Mark { watermark: None, at: noon() };
    let rise = Rise { to: noon(), at: noon(), mark };
    assert_eq!(table.raise_watermark("telemetry/event", &rise).await, Ok(()));
    let error = table.raise_watermark("telemetry/event", &rise).await.unwrap_err();
    assert!(matches!(&error, CallError::Setup(it) if it.resource == "windows"), "{error}");

    let update = json!({
        "TableName": "windows",
        "Key": {"pk": {"S": "clock#telemetry/event"}, "sk": {"S": "all"}},
        "ConditionExpression": "attribute_not_exists(pk) OR nanoseconds < :nanoseconds",
        "UpdateExpression": "SET watermark = :watermark, nanoseconds = :nanoseconds, \
            raised_at = :raised_at, mark = :mark, mark_at = :mark_at",
        "ExpressionAttributeValues": {
            ":watermark": {"S": "2026-11-20T12:00:00Z"},
            ":nanoseconds": {"N": "1795176000000000000"},
            ":raised_at": {"N": "1795176000000"},
            ":mark": {"NULL": true},
            ":mark_at": {"N": "1795176000000"},
        },
    });
    let expected = [touch(), update.clone(), update].map(|body| request("UpdateItem", body));
    assert_eq!(sent(&http), expected);
}

#[tokio::test]
async fn window_write_requires_the_version_read() {
    let key = ItemKey { spec: "telemetry-1m".into(), group: "device-1".into(), start: noon() };
    let bucket = format!("telemetry-1m#{}", key.bucket());
    let item = |version| Item {
        key: key.clone(),
        version,
        due: Some(noon()),
        expires_at: None,
        body: "{}".into(),
    };
    let put = |version: &str, condition: &str| {
        json!({
            "TableName": "windows",
            "Item": {
                "pk": {"S": "telemetry-1m#device-1"},
                "sk": {"S": "2026-11-20T12:00:00Z"},
                "version": {"N": version},
                "body": {"S": "{}"},
                "due_in": {"S": bucket},
                "due": {"N": "1795176000000"},
            },
            "ConditionExpression": condition,
        })
    };
    let http = FakeHttp::new([(200, EMPTY), (200, EMPTY), (400, CONDITION_FAILED)]);
    let table = table(&http);

    assert_eq!(table.write(&item(1)).await, Ok(Written::Stored));
    assert_eq!(table.write(&item(7)).await, Ok(Written::Stored));
    assert_eq!(table.write(&item(7)).await, Ok(Written::Conflict));

    let first = put("1", "attribute_not_exists(pk)");
    let mut next = put("7", "version = :before");
    next["ExpressionAttributeValues"] = json!({":before": {"N": "6"}});
    let expected = [first, next.clone(), next].map(|body| request("PutItem", body));
    assert_eq!(sent(&http), expected);
}
