//! Lambda entry point: builds the function once, then hands it each payload.

use fn_ingest_http::config::Config;
use fn_ingest_http::handler::IngestHttp;
use tributary_aws::lambda::{self, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let ingest = IngestHttp::connect(config, &lambda::start().await)?;
    lambda::serve(async |payload, it| ingest.handle(payload, it.deadline).await).await
}
