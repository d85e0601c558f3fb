//! Lambda's runtime around a handler: logging, deadline, and the mapping of errors.

use std::time::Duration;

pub use lambda_runtime::Error;
use lambda_runtime::{Diagnostic, LambdaEvent, run, service_fn, tracing};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clients::{self, SdkConfig};
use crate::deadline::Deadline;
use crate::error::InvocationError;
use crate::s3::ObjectStore;
use crate::takeover::Reloading;

/// Maximum time for the first look at the configuration; Lambda gives a start 10 s.
const MAX_START: Duration = Duration::from_secs(5);

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

/// Hands each payload to `handler`, as the text that Lambda sent: see [`Reloading::answer`].
///
/// # Errors
///
/// Fails when the process cannot talk to Lambda.
pub async fn serve<F, O: ObjectStore, A: Serialize>(
    function: Reloading<'_, F, O>,
    handler: impl AsyncFn(&F, &str, Invocation) -> Result<A, InvocationError>,
) -> Result<(), Error> {
    // A start has more processor time than an invocation. What fails here is reported there.
    let _ = function.current(Deadline::after(MAX_START)).await;
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Deadline::before(event.context.deadline());
        let invocation = Invocation { request_id: event.context.request_id, deadline };
        let answer = function.answer(event.payload.get(), invocation, &handler).await;
        answer.map_err(|error| Diagnostic {
            error_type: error.kind().to_owned(),
            error_message: error.to_string(),
        })
    }))
    .await
}
