//! `ClaimsTable` against recorded SDK answers: claimed, sent, held by another sender, and unknown.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use jiff::Timestamp;
use tributary_aws::claims::{Claim, ClaimStatus, ClaimStore, ClaimsTable, RetryingClaims};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::CallError;

use crate::support::answer;

const MINUTE: Duration = Duration::from_mins(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn claim(alert_id: &str) -> Claim {
    let (alert_id, owner) = (alert_id.to_owned(), "request-1".to_owned());
    Claim { alert_id, owner, lease_until: at(1_068), expires_at: at(2_679_400) }
}

fn table(rules: &[&Rule]) -> ClaimsTable {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::Sequential, rules, |config| {
        config.retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
    });
    ClaimsTable::new(client, "claims".into())
}

fn taken() -> Rule {
    mock!(Client::update_item).then_output(|| UpdateItemOutput::builder().build())
}

fn text(request: &UpdateItemInput, name: &str) -> Option<String> {
    let values = request.expression_attribute_values()?;
    match values.get(name)? {
        AttributeValue::S(text) | AttributeValue::N(text) => Some(text.clone()),
        _ => None,
    }
}

async fn status(status: u16, body: &'static str) -> Result<ClaimStatus, CallError> {
    table(&[&answer(status, body)]).claim(&claim("a"), at(1_000)).await
}

#[tokio::test]
async fn a_claim_is_one_conditional_write() {
    let rule = mock!(Client::update_item)
        .match_requests(|request| {
            let keys = request.key().unwrap();
            request.table_name() == Some("claims")
                && keys.len() == 1
                && keys["alert_id"] == AttributeValue::S("a".into())
                && request.condition_expression()
                    == Some(
                        "attribute_not_exists(alert_id) OR \
                         (#state = :claimed AND (lease_until <= :now OR #owner = :owner))",
                    )
                && request.return_values_on_condition_check_failure()
                    == Some(&ReturnValuesOnConditionCheckFailure::AllOld)
                && text(request, ":owner").as_deref() == Some("request-1")
                && text(request, ":now").as_deref() == Some("1000000")
                && text(request, ":lease_until").as_deref() == Some("1068000")
                && text(request, ":expires_at").as_deref() == Some("2679400")
        })
        .then_output(|| UpdateItemOutput::builder().build());

    assert_eq!(table(&[&rule]).claim(&claim("a"), at(1_000)).await, Ok(ClaimStatus::Claimed));
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
    let bare = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed"}"#;

    let error = status(400, bare).await.unwrap_err();

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
    let settle = mock!(Client::update_item)
        .match_requests(|request| {
            request.condition_expression().is_none()
                && text(request, ":sent").as_deref() == Some("sent")
                && text(request, ":expires_at").as_deref() == Some("2679400")
        })
        .then_output(|| UpdateItemOutput::builder().build());
    let release = mock!(Client::update_item)
        .match_requests(|request| {
            request.update_expression() == Some("SET lease_until = :over")
                && request.condition_expression() == Some("#state = :claimed AND #owner = :owner")
        })
        .then_http_response(|| {
            let body =
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}"#;
            HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::from(body))
        });
    let table = table(&[&settle, &release]);

    assert_eq!(table.mark_sent(&claim("a")).await, Ok(()));
    assert_eq!(table.release(&claim("a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn throttled_claim_is_retried_within_the_deadline() {
    let throttled = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"m"}"#,
    );
    let limited = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#RequestLimitExceeded","message":"m"}"#,
    );
    let failed =
        answer(500, r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#);
    let claimant = RetryingClaims::new(table(&[&throttled, &limited, &failed, &taken()]));

    let statuses = claimant.claim(&[claim("a")], || at(1_000), Deadline::after(MINUTE)).await;

    assert_eq!(statuses, [Ok(ClaimStatus::Claimed)]);
    let down = mock!(Client::update_item).sequence().http_status(500, None).repeatedly().build();
    let claimant = RetryingClaims::new(table(&[&down]));
    let statuses = claimant.claim(&[claim("a")], || at(1_000), Deadline::after(MINUTE)).await;
    assert!(matches!(statuses[..], [Err(CallError::Retryable { .. })]), "{statuses:?}");
    assert!(down.num_calls() > 5, "{}", down.num_calls());
}

#[tokio::test(start_paused = true)]
async fn without_time_nothing_is_asked() {
    let rule = taken();
    let claimant = RetryingClaims::new(table(&[&rule]));

    let statuses =
        claimant.claim(&[claim("a")], || at(1_000), Deadline::after(Duration::ZERO)).await;

    assert!(matches!(statuses[..], [Err(CallError::Retryable { .. })]), "{statuses:?}");
    assert_eq!(rule.num_calls(), 0);
}
