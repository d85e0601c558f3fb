//! Lambda entry point: builds the function once, then hands it each payload.

use fn_windows::handler::Windows;
use fn_windows_cassandra::config::Config;
use tributary_aws::lambda::{self, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let sdk = lambda::start().await;
    let cluster = config.cluster.open(&sdk).await?;
    let windows = Windows::connect(cluster, config.settings, &sdk)?;
    lambda::serve(async |payload, it| Box::pin(windows.handle(payload, it.deadline)).await).await
}
