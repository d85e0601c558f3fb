//! Lambda entry point: builds the function once, then hands it each payload.

use fn_ingest_kafka::config::Config;
use fn_ingest_kafka::handler::IngestKafka;
use tributary_aws::lambda::{self, Error};
use tributary_config::Configuration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let datasets = Configuration::shipped()?.datasets;
    let config = Config::from_lookup(&|name| std::env::var(name).ok(), &datasets)?;
    let ingest = IngestKafka::connect(config, datasets, &lambda::start().await);
    lambda::serve(async |payload, it| ingest.handle(payload, it.deadline).await).await
}
