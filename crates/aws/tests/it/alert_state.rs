//! `AlertStateTable` against recorded SDK answers.

use jiff::Timestamp;
use serde_json::{Value, json};
use tributary_aws::alert_state::{AlertState, AlertStateTable};
use tributary_aws::clients;
use tributary_aws::error::CallError;
use tributary_rules::consecutive::{Mark, Marks};
use tributary_rules::no_data::WatchedEntity;
use tributary_testkit::FakeHttp;

use crate::support::{CONDITION_FAILED, EMPTY, operations, request, sent};

fn table(http: &FakeHttp) -> AlertStateTable {
    AlertStateTable::new(clients::dynamodb(&http.sdk_config()), "state".into())
}

/// Returns an update of the item `i` that asks for the item in either case.
fn update(expression: &str, condition: &str, names: &Value, values: &Value) -> (String, Value) {
    let body = json!({
        "TableName": "state",
        "Key": {"item": {"S": "i"}},
        "UpdateExpression": expression,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    request("UpdateItem", body)
}

async fn raised(http: &FakeHttp) -> Result<Marks, CallError> {
    let mark = Mark { item: "i".into(), window: -7, value: 3 };
    table(http).raise_mark(&mark, Timestamp::from_second(5_000).unwrap()).await
}

#[tokio::test]
async fn mark_write_returns_all_marks_of_its_item() {
    let item = r#"{"Attributes":{"item":{"S":"i"},"expires_at":{"N":"5000"},"w-7":{"N":"3"},"w8":{"N":"2"}}}"#;
    let http = FakeHttp::new([(200, item)]);

    assert_eq!(raised(&http).await, Ok(Marks::from([(-7, 3), (8, 2)])));

    let raise = update(
        "SET #window = :value, expires_at = :expires_at",
        "attribute_not_exists(#window) OR #window < :value",
        &json!({"#window": "w-7"}),
        &json!({":value": {"N": "3"}, ":expires_at": {"N": "5000"}}),
    );
    assert_eq!(sent(&http), [raise]);
}

#[tokio::test]
async fn higher_stored_mark_is_kept_and_returned() {
    let higher = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed","Item":{"item":{"S":"i"},"w-7":{"N":"4"}}}"#;
    let http = FakeHttp::new([(400, higher)]);

    assert_eq!(raised(&http).await, Ok(Marks::from([(-7, 4)])));
    assert_eq!(operations(&http), ["UpdateItem"]);
}

#[tokio::test]
async fn missing_table_is_named() {
    let missing = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"none"}"#;
    let http = FakeHttp::new([(400, CONDITION_FAILED), (400, missing)]);

    let error = raised(&http).await.unwrap_err();
    assert!(matches!(error, CallError::Retryable { ref code, .. } if code == "no_item"), "{error}");
    let error = raised(&http).await.unwrap_err();
    assert_eq!(error.to_string(), "dynamodb:UpdateItem on state: ResourceNotFoundException: none");
    assert_eq!(operations(&http), ["UpdateItem"; 2]);
}

fn watched() -> WatchedEntity {
    let text = |text: &str| text.to_owned();
    WatchedEntity {
        item: text("i"),
        rule: text("silent"),
        entity: text("device-01"),
        key: text("k"),
        title: text("t"),
        last_seen: Timestamp::from_second(1_000).unwrap(),
        silent_since: None,
        due: Some(Timestamp::from_second(1_300).unwrap()),
    }
}

/// Returns the item of the entity above, with `seen_at` and `silent_since` in milliseconds.
fn item(last_seen: i64, silent_since: Option<i64>) -> Value {
    let mut item = json!({
        "item": {"S": "i"},
        "rule": {"S": "silent"},
        "entity": {"S": "device-01"},
        "key": {"S": "k"},
        "title": {"S": "t"},
        "seen_at": {"N": last_seen.to_string()},
        "due": {"N": "1300000"},
    });
    if let Some(since) = silent_since {
        item["silent_since"] = json!({"N": since.to_string()});
    }
    item
}

/// Returns the declaration of these attribute names: a request must use each that it declares.
fn names<const N: usize>(names: [&str; N]) -> Value {
    names.into_iter().map(|name| (format!("#{name}"), name)).collect()
}

#[tokio::test]
async fn reading_schedules_entity_and_returns_no_data_period() {
    let stored = json!({"Attributes": item(1_000_000, Some(400_000))});
    let http = FakeHttp::new([(200, stored.to_string())]);
    let later = Timestamp::from_second(9_000).unwrap();

    let known = table(&http).record_seen(&watched(), later).await.unwrap();

    let since = Some(Timestamp::from_second(400).unwrap());
    assert_eq!(known, WatchedEntity { silent_since: since, ..watched() });
    let record = update(
        "SET #rule = :rule, #entity = :entity, #key = :key, #title = :title, \
         #seen_at = :seen_at, #due_in = :due_in, #due = :due, expires_at = :expires_at",
        "attribute_not_exists(#seen_at) OR #seen_at < :seen_at",
        &names(["due", "due_in", "entity", "key", "rule", "seen_at", "title"]),
        &json!({
            ":rule": {"S": "silent"},
            ":entity": {"S": "device-01"},
            ":key": {"S": "k"},
            ":title": {"S": "t"},
            ":seen_at": {"N": "1000000"},
            ":due_in": {"S": format!("watch#{}", watched().bucket())},
            ":due": {"N": "1300000"},
            ":expires_at": {"N": "9000"},
        }),
    );
    assert_eq!(sent(&http), [record]);
}

#[tokio::test]
async fn sent_alert_is_due_only_after_new_reading() {
    let mark = update(
        "SET #silent_since = :seen_at REMOVE #due_in, #due",
        "#seen_at = :seen_at",
        &names(["due", "due_in", "seen_at", "silent_since"]),
        &json!({":seen_at": {"N": "1000000"}}),
    );
    let marked = json!({"Attributes": item(1_000_000, None)});
    let http = FakeHttp::new([(200, marked.to_string())]);
    assert_eq!(table(&http).mark_sent(&watched()).await, Ok(()));
    assert_eq!(sent(&http), std::slice::from_ref(&mark));

    let came = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"m",
        "Item":{"item":{"S":"i"},"seen_at":{"N":"2000000"}}}"#;
    let http = FakeHttp::new([(400, came), (200, EMPTY)]);
    assert_eq!(table(&http).mark_sent(&watched()).await, Ok(()));
    let note = update(
        "SET #silent_since = :seen_at",
        "#seen_at > :seen_at AND \
         (attribute_not_exists(#silent_since) OR #silent_since < :seen_at)",
        &names(["seen_at", "silent_since"]),
        &json!({":seen_at": {"N": "1000000"}}),
    );
    assert_eq!(sent(&http), [mark, note]);
}

#[tokio::test]
async fn due_alert_without_new_reading_is_postponed() {
    let http = FakeHttp::new([(200, EMPTY)]);
    let (until, later) =
        (Timestamp::from_second(3_600).unwrap(), Timestamp::from_second(9_000).unwrap());

    assert_eq!(table(&http).postpone(&watched(), until, later).await, Ok(()));

    let postpone = update(
        "SET #due = :until, expires_at = :expires_at",
        "#seen_at = :seen_at AND #due < :until",
        &names(["due", "seen_at"]),
        &json!({
            ":seen_at": {"N": "1000000"},
            ":until": {"N": "3600000"},
            ":expires_at": {"N": "9000"},
        }),
    );
    assert_eq!(sent(&http), [postpone]);
}

#[tokio::test]
async fn due_entities_are_one_query_per_bucket() {
    let found = json!({"Items": [item(1_000_000, None)]});
    let http = FakeHttp::new([(200, found.to_string())]);

    let due = table(&http).due(3, Timestamp::from_second(5_000).unwrap(), 10).await;

    assert_eq!(due, Ok(vec![watched()]));
    let query = json!({
        "TableName": "state",
        "IndexName": "due",
        "KeyConditionExpression": "#due_in = :due_in AND #due <= :now",
        "ExpressionAttributeNames": names(["due", "due_in"]),
        "ExpressionAttributeValues": {":due_in": {"S": "watch#3"}, ":now": {"N": "5000000"}},
        "Limit": 10,
    });
    assert_eq!(sent(&http), [request("Query", query)]);
}

#[tokio::test]
async fn unreadable_item_is_a_setup_error() {
    let http = FakeHttp::new([(200, r#"{"Items":[{"item":{"S":"i"}}]}"#)]);

    let error = table(&http).due(3, Timestamp::UNIX_EPOCH, 10).await.unwrap_err();

    assert!(matches!(error, CallError::Setup(_)), "{error}");
    assert_eq!(
        error.to_string(),
        "dynamodb:Query on state: client: the item i is none that this program wrote"
    );
    assert_eq!(operations(&http), ["Query"]);
}

#[tokio::test]
async fn failed_query_is_reported_as_query() {
    let body = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"none"}"#;
    let http = FakeHttp::new([(400, body)]);

    let error = table(&http).due(3, Timestamp::UNIX_EPOCH, 10).await.unwrap_err();

    assert_eq!(error.to_string(), "dynamodb:Query on state: ResourceNotFoundException: none");
}
