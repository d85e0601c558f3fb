//! The table of what rules remember against answers of the SDK.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use jiff::Timestamp;
use tributary_aws::alert_state::{AlertState, AlertStateTable};
use tributary_aws::error::CallError;
use tributary_core::rule::series::{Mark, Marks};

fn table(rule: &Rule) -> AlertStateTable {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::Sequential, [rule], |config| {
        config.retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
    });
    AlertStateTable::new(client, "state".into())
}

fn answer(status: u16, body: &'static str) -> Rule {
    mock!(Client::update_item).then_http_response(move || {
        HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
    })
}

async fn raised(rule: &Rule) -> Result<Marks, CallError> {
    let mark = Mark { item: "i".into(), window: -7, value: 3 };
    table(rule).raise(&mark, Timestamp::from_second(5_000).unwrap()).await
}

#[tokio::test]
async fn a_mark_is_one_conditional_write_that_answers_with_all_marks_of_its_item() {
    let number = |value: i64| AttributeValue::N(value.to_string());
    let rule = mock!(Client::update_item)
        .match_requests(move |request| {
            let values = request.expression_attribute_values().unwrap();
            request.table_name() == Some("state")
                && request.key().unwrap()["item"] == AttributeValue::S("i".into())
                && request.condition_expression()
                    == Some("attribute_not_exists(#window) OR #window < :value")
                && request.update_expression()
                    == Some("SET #window = :value, expires_at = :expires_at")
                && request.expression_attribute_names().unwrap()["#window"] == "w-7"
                && values[":value"] == number(3)
                && values[":expires_at"] == number(5_000)
                && request.return_values() == Some(&ReturnValue::AllNew)
        })
        .then_output(move || {
            let item = HashMap::from([
                ("item".to_owned(), AttributeValue::S("i".into())),
                ("expires_at".to_owned(), number(5_000)),
                ("w-7".to_owned(), number(3)),
                ("w8".to_owned(), number(2)),
            ]);
            UpdateItemOutput::builder().set_attributes(Some(item)).build()
        });

    assert_eq!(raised(&rule).await, Ok(Marks::from([(-7, 3), (8, 2)])));
}

#[tokio::test]
async fn a_mark_that_is_not_lower_is_left_and_told() {
    let higher = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed","Item":{"item":{"S":"i"},"w-7":{"N":"4"}}}"#,
    );

    assert_eq!(raised(&higher).await, Ok(Marks::from([(-7, 4)])));
}

#[tokio::test]
async fn without_an_item_nothing_is_known_and_a_missing_table_is_named() {
    let bare = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"m"}"#,
    );
    let missing = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"none"}"#,
    );

    let error = raised(&bare).await.unwrap_err();
    assert!(matches!(error, CallError::Plumbing { .. }), "{error}");
    let error = raised(&missing).await.unwrap_err();
    assert_eq!(error.to_string(), "dynamodb:UpdateItem on state: ResourceNotFoundException: none");
}
