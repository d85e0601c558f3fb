//! Lambda entry point: builds the function once, then hands it each payload.

use fn_windows::config::Config;
use fn_windows::handler::Windows;
use tributary_aws::clients;
use tributary_aws::lambda::{self, Error};
use tributary_aws::windows::WindowTable;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let sdk = lambda::start().await;
    let table = WindowTable::new(clients::dynamodb(&sdk), config.table);
    let windows = Windows::connect(table, config.settings, &sdk)?;
    lambda::serve(async |payload, it| Box::pin(windows.handle(payload, it.deadline)).await).await
}
