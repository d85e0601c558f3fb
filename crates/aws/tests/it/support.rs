//! Requests and errors of AWS JSON services as sent over the wire.

use serde_json::Value;
use tributary_testkit::FakeHttp;

/// Body of a successful write to `DynamoDB` that returns nothing.
pub(crate) const EMPTY: &str = "{}";

/// Body of the error for a condition that failed, with the stored item left out.
pub(crate) const CONDITION_FAILED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"The conditional request failed"}"#;

/// Returns a request: operation and JSON body.
pub(crate) fn request(operation: &str, body: Value) -> (String, Value) {
    (operation.to_owned(), body)
}

/// Returns the operations of all requests that were sent, in order.
pub(crate) fn operations(http: &FakeHttp) -> Vec<String> {
    http.requests().into_iter().map(|it| it.operation).collect()
}

/// Returns all requests that were sent, in order.
pub(crate) fn sent(http: &FakeHttp) -> Vec<(String, Value)> {
    http.requests().into_iter().map(|it| (it.operation.clone(), it.json())).collect()
}
