//! `AlertStateTable` against recorded SDK answers.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use jiff::Timestamp;
use tributary_aws::alert_state::{AlertState, AlertStateTable};
use tributary_aws::error::CallError;
use tributary_rules::consecutive::{Mark, Marks};
use tributary_rules::no_data::WatchedEntity;

use crate::support::answer;

fn table(rule: &Rule) -> AlertStateTable {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::Sequential, [rule], |config| {
        config.retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
    });
    AlertStateTable::new(client, "state".into())
}

async fn raised(rule: &Rule) -> Result<Marks, CallError> {
    let mark = Mark { item: "i".into(), window: -7, value: 3 };
    table(rule).raise_mark(&mark, Timestamp::from_second(5_000).unwrap()).await
}

#[tokio::test]
async fn mark_write_returns_all_marks_of_its_item() {
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
async fn higher_stored_mark_is_kept_and_returned() {
    let higher = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed","Item":{"item":{"S":"i"},"w-7":{"N":"4"}}}"#,
    );

    assert_eq!(raised(&higher).await, Ok(Marks::from([(-7, 4)])));
}

#[tokio::test]
async fn missing_table_is_named() {
    let bare = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"m"}"#,
    );
    let missing = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"none"}"#,
    );

    let error = raised(&bare).await.unwrap_err();
    assert!(matches!(error, CallError::Retryable { .. }), "{error}");
    let error = raised(&missing).await.unwrap_err();
    assert_eq!(error.to_string(), "dynamodb:UpdateItem on state: ResourceNotFoundException: none");
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
fn item(last_seen: i64, silent_since: Option<i64>) -> HashMap<String, AttributeValue> {
    let texts =
        [("item", "i"), ("rule", "silent"), ("entity", "device-01"), ("key", "k"), ("title", "t")];
    let mut item: HashMap<_, _> =
        texts.map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned()))).into();
    item.insert("seen_at".to_owned(), AttributeValue::N(last_seen.to_string()));
    item.insert("due".to_owned(), AttributeValue::N("1300000".to_owned()));
    if let Some(since) = silent_since {
        item.insert("silent_since".to_owned(), AttributeValue::N(since.to_string()));
    }
    item
}

/// Returns the attribute names that a request declares; it must use each of them.
fn names(request: &UpdateItemInput) -> BTreeSet<String> {
    request
        .expression_attribute_names()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

#[tokio::test]
async fn reading_schedules_entity_and_returns_no_data_period() {
    let rule = mock!(Client::update_item)
        .match_requests(|request| {
            let values = request.expression_attribute_values().unwrap();
            request.condition_expression()
                == Some("attribute_not_exists(#seen_at) OR #seen_at < :seen_at")
                && values[":seen_at"] == AttributeValue::N("1000000".into())
                && values[":due"] == AttributeValue::N("1300000".into())
                && values[":due_in"] == AttributeValue::S(format!("watch#{}", watched().bucket()))
                && names(request)
                    == ["due", "due_in", "entity", "key", "rule", "seen_at", "title"]
                        .map(|name| format!("#{name}"))
                        .into()
        })
        .then_output(|| {
            UpdateItemOutput::builder().set_attributes(Some(item(1_000_000, Some(400_000)))).build()
        });
    let later = Timestamp::from_second(9_000).unwrap();

    let known = table(&rule).record_seen(&watched(), later).await.unwrap();

    let since = Some(Timestamp::from_second(400).unwrap());
    assert_eq!(known, WatchedEntity { silent_since: since, ..watched() });
}

#[tokio::test]
async fn sent_alert_is_due_only_after_new_reading() {
    let reported = mock!(Client::update_item)
        .match_requests(|request| {
            request.update_expression() == Some("SET #silent_since = :seen_at REMOVE #due_in, #due")
                && request.condition_expression() == Some("#seen_at = :seen_at")
                && names(request)
                    == ["due", "due_in", "seen_at", "silent_since"]
                        .map(|name| format!("#{name}"))
                        .into()
        })
        .then_output(|| {
            UpdateItemOutput::builder().set_attributes(Some(item(1_000_000, None))).build()
        });
    assert_eq!(table(&reported).mark_sent(&watched()).await, Ok(()));

    let came = answer(
        400,
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"m",
        "Item":{"item":{"S":"i"},"seen_at":{"N":"2000000"}}}"#,
    );
    let noted = mock!(Client::update_item)
        .match_requests(|request| {
            request.update_expression() == Some("SET #silent_since = :seen_at")
                && names(request)
                    == ["seen_at", "silent_since"].map(|name| format!("#{name}")).into()
        })
        .then_output(|| UpdateItemOutput::builder().build());
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::Sequential, [&came, &noted], |config| {
        config.retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
    });
    assert_eq!(AlertStateTable::new(client, "state".into()).mark_sent(&watched()).await, Ok(()));
    assert_eq!(noted.num_calls(), 1);
}

#[tokio::test]
async fn due_alert_without_new_reading_is_postponed() {
    let rule = mock!(Client::update_item)
        .match_requests(|request| {
            let values = request.expression_attribute_values().unwrap();
            request.update_expression() == Some("SET #due = :until, expires_at = :expires_at")
                && request.condition_expression() == Some("#seen_at = :seen_at AND #due < :until")
                && values[":until"] == AttributeValue::N("3600000".into())
                && values[":expires_at"] == AttributeValue::N("9000".into())
                && names(request) == ["due", "seen_at"].map(|name| format!("#{name}")).into()
        })
        .then_output(|| UpdateItemOutput::builder().build());
    let (until, later) =
        (Timestamp::from_second(3_600).unwrap(), Timestamp::from_second(9_000).unwrap());

    assert_eq!(table(&rule).postpone(&watched(), until, later).await, Ok(()));
}

#[tokio::test]
async fn due_entities_are_one_query_per_bucket() {
    let rule = mock!(Client::query)
        .match_requests(|request| {
            let values = request.expression_attribute_values().unwrap();
            request.index_name() == Some("due")
                && request.key_condition_expression() == Some("#due_in = :due_in AND #due <= :now")
                && values[":due_in"] == AttributeValue::S("watch#3".into())
                && values[":now"] == AttributeValue::N("5000000".into())
                && request.limit() == Some(10)
        })
        .then_output(|| QueryOutput::builder().items(item(1_000_000, None)).build());

    let due = table(&rule).due(3, Timestamp::from_second(5_000).unwrap(), 10).await;

    assert_eq!(due, Ok(vec![watched()]));
}

#[tokio::test]
async fn unreadable_item_is_a_setup_error() {
    let rule = mock!(Client::query).then_output(|| {
        let strange = HashMap::from([("item".to_owned(), AttributeValue::S("i".into()))]);
        QueryOutput::builder().items(strange).build()
    });

    let error = table(&rule).due(3, Timestamp::UNIX_EPOCH, 10).await.unwrap_err();

    assert!(matches!(error, CallError::Setup(_)), "{error}");
}
