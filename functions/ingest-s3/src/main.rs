//! Lambda entry point: builds the function once, then hands it each payload.

use fn_ingest_s3::config::Config;
use fn_ingest_s3::handler::IngestS3;
use tributary_aws::lambda::{self, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let ingest = IngestS3::connect(config, &lambda::start().await)?;
    lambda::serve(async |payload, it| {
        ingest.handle(serde_json::from_str(payload)?, it.deadline).await
    })
    .await
}
