//! Answers of DynamoDB as sent over the wire.

use aws_sdk_dynamodb::Client;
use aws_smithy_mocks::{Rule, mock};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

/// Answers an `UpdateItem` with this status and body.
pub(crate) fn answer(status: u16, body: &'static str) -> Rule {
    mock!(Client::update_item).then_http_response(move || {
        HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
    })
}
