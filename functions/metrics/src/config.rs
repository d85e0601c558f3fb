//! Environment of `metrics`.

use tributary_aws::env::{Env, EnvError};
use tributary_aws::takeover::ConfigSource;

/// Environment of the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the delivery stream for records that are not events.
    pub quarantine_delivery_stream: String,
    /// Name of the table of known series.
    pub state_table: String,
    /// CloudWatch namespace of the event metrics and the batch counts.
    pub metrics_namespace: String,
    /// Bucket of the configuration.
    pub config_source: ConfigSource,
}

impl Config {
    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        Env::read(lookup, |env| Self {
            quarantine_delivery_stream: env.quarantine_delivery_stream(),
            state_table: env.text("STATE_TABLE"),
            metrics_namespace: env.metrics_namespace(),
            config_source: ConfigSource::from_env(env),
        })
    }
}
