//! Lambda entry point: builds the function once, then hands it each payload.

use fn_metrics::config::Config;
use fn_metrics::handler::Metrics;
use tributary_aws::lambda::{self, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let metrics = Metrics::connect(config, &lambda::start().await)?;
    lambda::serve(async |payload, it| metrics.handle(payload, it.deadline).await).await
}
