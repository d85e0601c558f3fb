//! Lambda entry point: builds the function of the configuration in use, then hands it each payload.

use fn_windows::config::Config;
use fn_windows::handler::Windows;
use tributary_aws::clients;
use tributary_aws::lambda::{self, Error, Invocation};
use tributary_aws::takeover::{InUse, Reloading};
use tributary_aws::windows::WindowTable;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::from_lookup(&|name| std::env::var(name).ok())?;
    let sdk = lambda::start().await;
    let store = WindowTable::new(clients::dynamodb(&sdk), config.table.clone());
    let settings = &config.settings;
    let build = |in_use: &InUse| Windows::connect(store.clone(), settings, in_use, &sdk);
    let (source, namespace) = (&settings.config_source, &settings.metrics_namespace);
    let function = Reloading::connect("windows", namespace, source, &sdk, build);
    let handle = async |windows: &Windows<_, _, _, _>, payload: &str, it: Invocation| {
        Box::pin(windows.handle(payload, it.deadline)).await
    };
    lambda::serve(function, handle).await
}
