//! `ClaimsTable` against recorded SDK answers: claimed, sent, held by another sender, and unknown.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tributary_aws::claims::{Claim, ClaimStatus, ClaimStore, ClaimsTable, RetryingClaims};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::CallError;
use tributary_testkit::FakeHttp;

use crate::support::{CONDITION_FAILED, EMPTY, operations, request, sent};

const MINUTE: Duration = Duration::from_mins(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn claim(alert_id: &str) -> Claim {
    let (alert_id, owner) = (alert_id.to_owned(), "request-1".to_owned());
    Claim { alert_id, owner, lease_until: at(1_068), expires_at: at(2_679_400) }
}

fn table(http: &FakeHttp) -> ClaimsTable {
    ClaimsTable::new(clients::dynamodb(&http.sdk_config()), "claims".into())
}

async fn status(status: u16, body: &str) -> Result<ClaimStatus, CallError> {
    let http = FakeHttp::new([(status, body)]);
    let status = table(&http).claim(&claim("a"), at(1_000)).await;
    assert_eq!(operations(&http), ["UpdateItem"]);
    status
}

#[tokio::test]
async fn a_claim_is_one_conditional_write() {
    let http = FakeHttp::new([(200, EMPTY)]);

    assert_eq!(table(&http).claim(&claim("a"), at(1_000)).await, Ok(ClaimStatus::Claimed));

    let write = json!({
        "TableName": "claims",
        "Key": {"alert_id": {"S": "a"}},
        "ConditionExpression": "attribute_not_exists(alert_id) OR \
            (#state = :claimed AND (lease_until <= :now OR #owner = :owner))",
        "UpdateExpression": "SET #state = :claimed, #owner = :owner, \
            lease_until = :lease_until, expires_at = :expires_at",
        "ExpressionAttributeNames": {"#state": "state", "#owner": "owner"},
        "ExpressionAttributeValues": {
            ":claimed": {"S": "claimed"},
            ":owner": {"S": "request-1"},
            ":now": {"N": "1000000"},
            ":lease_until": {"N": "1068000"},
            ":expires_at": {"N": "2679400"},
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    assert_eq!(sent(&http), [request("UpdateItem", write)]);
}

#[tokio::test]
async fn conflicting_item_distinguishes_sent_from_held() {
    let sent = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed","Item":{"alert_id":{"S":"a"},"state":{"S":"sent"},
        "owner":{"S":"request-0"},"lease_until":{"N":"1060000"},"expires_at":{"N":"2679000"}}}"#;
    let held = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed","Item":{"alert_id":{"S":"a"},"state":{"S":"claimed"},
        "owner":{"S":"request-0"},"lease_until":{"N":"1060000"},"expires_at":{"N":"2679000"}}}"#;
    let settled_late = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed","Item":{"alert_id":{"S":"a"},"state":{"S":"sent"},
        "owner":{"S":"request-0"},"expires_at":{"N":"2679000"}}}"#;

    assert_eq!(status(400, sent).await, Ok(ClaimStatus::Sent));
    assert_eq!(status(400, held).await, Ok(ClaimStatus::HeldByOther { until: at(1_060) }));
    assert_eq!(
        status(400, settled_late).await,
        Ok(ClaimStatus::Sent),
        "of an item that had expired"
    );
}

#[tokio::test]
async fn failed_condition_without_item_is_retryable() {
    let error = status(400, CONDITION_FAILED).await.unwrap_err();

    assert!(matches!(error, CallError::Retryable { ref code, .. } if code == "no_item"), "{error}");
}

#[tokio::test]
async fn unreadable_claim_is_a_setup_error() {
    let strange = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed","Item":{"alert_id":{"S":"a"},"state":{"S":"claimed"}}}"#;

    let error = status(400, strange).await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "dynamodb:UpdateItem on claims: client: the item a is none that this program wrote"
    );
}

#[tokio::test]
async fn missing_or_denied_table_is_named() {
    let missing = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
        "message":"Requested resource not found"}"#;
    let closed = r#"{"__type":"com.amazon.coral.service#AccessDeniedException",
        "Message":"not authorized to perform: dynamodb:UpdateItem"}"#;

    assert_eq!(
        status(400, missing).await.unwrap_err().to_string(),
        "dynamodb:UpdateItem on claims: ResourceNotFoundException: Requested resource not found"
    );
    let error = status(400, closed).await.unwrap_err();
    assert!(matches!(error, CallError::Setup(_)), "{error}");
    assert!(
        error.to_string().starts_with("dynamodb:UpdateItem on claims: AccessDenied"),
        "{error}"
    );
}

#[tokio::test]
async fn mark_sent_is_unconditional_release_accepts_condition_failure() {
    let failed = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}"#;
    let http = FakeHttp::new([(200, EMPTY), (400, failed)]);
    let table = table(&http);

    assert_eq!(table.mark_sent(&claim("a")).await, Ok(()));
    assert_eq!(table.release(&claim("a")).await, Ok(()));

    let mark_sent = json!({
        "TableName": "claims",
        "Key": {"alert_id": {"S": "a"}},
        "UpdateExpression": "SET #state = :sent, #owner = :owner, expires_at = :expires_at",
        "ExpressionAttributeNames": {"#state": "state", "#owner": "owner"},
        "ExpressionAttributeValues": {
            ":sent": {"S": "sent"},
            ":owner": {"S": "request-1"},
            ":expires_at": {"N": "2679400"},
        },
    });
    let release = json!({
        "TableName": "claims",
        "Key": {"alert_id": {"S": "a"}},
        "ConditionExpression": "#state = :claimed AND #owner = :owner",
        "UpdateExpression": "SET lease_until = :over",
        "ExpressionAttributeNames": {"#state": "state", "#owner": "owner"},
        "ExpressionAttributeValues": {
            ":claimed": {"S": "claimed"},
            ":owner": {"S": "request-1"},
            ":over": {"N": "0"},
        },
    });
    assert_eq!(sent(&http), [request("UpdateItem", mark_sent), request("UpdateItem", release)]);
}

#[tokio::test(start_paused = true)]
async fn throttled_claim_is_retried_within_the_deadline() {
    let throttled = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"m"}"#;
    let limited =
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#RequestLimitExceeded","message":"m"}"#;
    let failed = r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#;
    let http = FakeHttp::new([(400, throttled), (400, limited), (500, failed), (200, EMPTY)]);
    let claimant = RetryingClaims::new(table(&http));

    let statuses = claimant.claim(&[claim("a")], || at(1_000), Deadline::after(MINUTE)).await;

    assert_eq!(statuses, [Ok(ClaimStatus::Claimed)]);
    assert_eq!(operations(&http), ["UpdateItem"; 4]);

    let down = FakeHttp::new(vec![(500, ""); 100]);
    let claimant = RetryingClaims::new(table(&down));
    let statuses = claimant.claim(&[claim("a")], || at(1_000), Deadline::after(MINUTE)).await;
    assert!(matches!(statuses[..], [Err(CallError::Retryable { .. })]), "{statuses:?}");
    let calls = operations(&down);
    assert!((6..=100).contains(&calls.len()), "{} calls", calls.len());
    assert!(calls.iter().all(|it| it == "UpdateItem"), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn without_time_nothing_is_asked() {
    let http = FakeHttp::new([(200, EMPTY)]);
    let claimant = RetryingClaims::new(table(&http));

    let statuses =
        claimant.claim(&[claim("a")], || at(1_000), Deadline::after(Duration::ZERO)).await;

    assert!(matches!(statuses[..], [Err(CallError::Retryable { .. })]), "{statuses:?}");
    assert_eq!(http.requests(), []);
}
