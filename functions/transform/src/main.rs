//! Lambda entry point: builds the function once, then hands it each payload.

use fn_transform::config::Config;
use fn_transform::handler::Transform;
use tributary_aws::lambda::{self, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let transform = Transform::connect(config, &lambda::start().await)?;
    lambda::serve(async |payload, it| transform.handle(payload, it.deadline).await).await
}
