//! Lambda entry point: builds the function of the configuration in use, then hands it each payload.

use fn_ingest_kafka::config::Config;
use fn_ingest_kafka::handler::IngestKafka;
use tributary_aws::lambda::{self, Error};
use tributary_aws::takeover::{InUse, Reloading};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let sdk = lambda::start().await;
    let build = |in_use: &InUse| IngestKafka::connect(&config, in_use, &sdk);
    let (source, namespace) = (&config.config_source, &config.metrics_namespace);
    let function = Reloading::connect("ingest-kafka", namespace, source, &sdk, build);
    lambda::serve(function, async |ingest, payload, it| ingest.handle(payload, it.deadline).await)
        .await
}
