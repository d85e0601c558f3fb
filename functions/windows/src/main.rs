//! Lambda entry point: build everything once, then hand each payload to the library.

// The SDK's futures nest deeper than the compiler follows by default.
#![recursion_limit = "256"]

use fn_windows::config::Config;
use fn_windows::handler::Windows;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, run, service_fn, tracing};
use serde_json::value::RawValue;
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::windows::WindowTable;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();

    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let sdk = clients::load().await;
    let table = WindowTable::new(clients::dynamodb(&sdk), config.table);
    let windows = Windows::connect(table, config.settings, &sdk)?;

    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Deadline::before(event.context.deadline());
        // Its future is larger than a stack should carry.
        let answer = Box::pin(windows.handle(event.payload.get(), deadline)).await;
        answer.map_err(|error| Diagnostic {
            error_type: error.kind().to_owned(),
            error_message: error.to_string(),
        })
    }))
    .await
}
