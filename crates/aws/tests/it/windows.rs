//! `WindowTable` against recorded SDK answers: the condition of each write, and the result of a
//! failed one.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use jiff::Timestamp;
use tributary_aws::error::CallError;
use tributary_aws::windows::{Item, ItemKey, WindowStore, WindowTable, Written};

const REFUSED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"The conditional request failed"}"#;
const NO_TABLE: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no such table"}"#;

fn table(rules: &[&Rule]) -> WindowTable {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::Sequential, rules, |config| {
        config.retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
    });
    WindowTable::new(client, "windows".into())
}

fn noon() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn bad(body: &'static str) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::from(body))
}

fn is_keyed(request: &UpdateItemInput, sort: &str) -> bool {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    request.key().is_some_and(|keys| {
        keys["pk"] == text("clock#telemetry/event") && keys["sk"] == text(sort) && keys.len() == 2
    })
}

#[tokio::test]
async fn touch_shard_leaves_the_watermark() {
    let taken = mock!(Client::update_item)
        .match_requests(|request| {
            is_keyed(request, "shard#shardId-000000000001")
                && request.update_expression() == Some("SET seen_at = :seen_at")
                && request.condition_expression() == Some("seen_at < :seen_at")
                && request.expression_attribute_values().unwrap()[":seen_at"]
                    == AttributeValue::N("1795176000000".to_owned())
        })
        .then_output(|| UpdateItemOutput::builder().build());

    table(&[&taken]).touch_shard("telemetry/event", "shardId-000000000001", noon()).await.unwrap();

    assert_eq!(taken.num_calls(), 1);
}

#[tokio::test]
async fn newer_shard_state_needs_no_update() {
    let refused = mock!(Client::update_item).then_http_response(|| bad(REFUSED));
    let asleep = table(&[&refused]);
    assert_eq!(asleep.touch_shard("telemetry/event", "shardId-000000000001", noon()).await, Ok(()));

    let refused = mock!(Client::update_item)
        .match_requests(|request| is_keyed(request, "all"))
        .then_http_response(|| bad(REFUSED));
    assert_eq!(table(&[&refused]).raise_watermark("telemetry/event", noon()).await, Ok(()));

    let missing = mock!(Client::update_item).then_http_response(|| bad(NO_TABLE));
    let error = table(&[&missing]).raise_watermark("telemetry/event", noon()).await.unwrap_err();
    assert!(matches!(&error, CallError::Setup(it) if it.resource == "windows"), "{error}");
}

#[tokio::test]
async fn window_write_requires_the_version_read() {
    let key = ItemKey { spec: "telemetry-1m".into(), group: "device-1".into(), start: noon() };
    let item = |version| Item {
        key: key.clone(),
        version,
        due: Some(noon()),
        expires_at: None,
        body: "{}".into(),
    };
    let conditions = ["attribute_not_exists(pk)", "version = :before"];
    for (version, condition) in [(1, conditions[0]), (7, conditions[1])] {
        let taken = mock!(Client::put_item)
            .match_requests(move |request| {
                let start = request.item().unwrap()["sk"].as_s().unwrap();
                request.condition_expression() == Some(condition) && start == "2026-11-20T12:00:00Z"
            })
            .then_output(|| PutItemOutput::builder().build());
        assert_eq!(table(&[&taken]).write(&item(version)).await, Ok(Written::Stored));
    }

    let refused = mock!(Client::put_item).then_http_response(|| bad(REFUSED));
    assert_eq!(table(&[&refused]).write(&item(7)).await, Ok(Written::Conflict));
}
