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

#[tokio::test]
async fn malformed_items_fail_alone() {
    let item = |sort_key: &str| json!({"pk": {"S": "telemetry-1m#a"}, "sk": {"S": sort_key}, "version": {"N": "2"}});
    let whole = json!({"pk": {"S": "telemetry-1m#a"}, "sk": {"S": "2026-11-20T12:01:00Z"},
        "version": {"N": "2"}, "body": {"S": "{}"}});
    let items = json!([item("2026-11-20T12:00:00Z"), whole, item("noon")]);
    let read = json!({"Responses": {"windows": items.as_array().unwrap()[..2]}});
    let due = json!({"Items": items});
    let http = FakeHttp::new([(200, read.to_string()), (200, due.to_string())]);
    let table = table(&http);
    let key = |minute: i64| ItemKey {
        spec: "telemetry-1m".into(),
        group: "a".into(),
        start: noon() + jiff::SignedDuration::from_mins(minute),
    };

    let read = table.read(&[key(0), key(1)]).await.unwrap();
    let due = table.due("telemetry-1m", 0, noon(), 10).await.unwrap();

    let bodies: Vec<_> = read.iter().map(|item| item.as_ref().unwrap().body.as_str()).collect();
    assert_eq!(bodies, ["", "{}"]);
    assert_eq!(due, [key(0), key(1)]);
}
