//! Lambda entry point: builds the function once, then hands it each payload.

use fn_alerts::config::Config;
use fn_alerts::handler::Alerts;
use tributary_aws::lambda::{self, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let alerts = Alerts::connect(config, &lambda::start().await)?;
    lambda::serve(async |payload, it| alerts.handle(payload, &it.request_id, it.deadline).await)
        .await
}
