//! Lambda entry point: builds everything once, then hands each payload to the library.

// The SDK's futures nest deeper than the compiler follows by default.
#![recursion_limit = "256"]

use fn_ingest_http::config::Config;
use fn_ingest_http::handler::IngestHttp;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn, tracing};
use serde_json::value::RawValue;
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();

    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let ingest = IngestHttp::connect(config, &clients::load().await)?;

    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Deadline::before(event.context.deadline());
        let answer = ingest.handle(event.payload.get(), deadline).await;
        answer.map_err(|error| Diagnostic {
            error_type: error.kind().to_owned(),
            error_message: error.to_string(),
        })
    }))
    .await
}
