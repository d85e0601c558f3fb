//! Lambda's runtime around a handler: logging, deadline, and the mapping of errors.

pub use lambda_runtime::Error;
use lambda_runtime::{Diagnostic, LambdaEvent, run, service_fn, tracing};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clients::{self, SdkConfig};
use crate::deadline::Deadline;
use crate::error::InvocationError;

/// One invocation of a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Id that no other invocation has.
    pub request_id: String,
    /// Instant by which work stops, so that the handler can still answer.
    pub deadline: Deadline,
}

/// Starts logging, and loads region, credentials and endpoint for the clients.
pub async fn start() -> SdkConfig {
    tracing::init_default_subscriber();
    clients::load().await
}

/// Hands each payload to `handler`, as the text that Lambda sent.
///
/// # Errors
///
/// Fails when the process cannot talk to Lambda.
pub async fn serve<A: Serialize>(
    handler: impl AsyncFn(&str, Invocation) -> Result<A, InvocationError>,
) -> Result<(), Error> {
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Deadline::before(event.context.deadline());
        let invocation = Invocation { request_id: event.context.request_id, deadline };
        // Some futures are larger than a stack should carry.
        let answer = Box::pin(handler(event.payload.get(), invocation)).await;
        answer.map_err(|error| Diagnostic {
            error_type: error.kind().to_owned(),
            error_message: error.to_string(),
        })
    }))
    .await
}
