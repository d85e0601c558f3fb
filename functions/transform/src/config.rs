//! Environment of `transform`.

use tributary_aws::env::{Env, EnvError, StreamConfig};
use tributary_aws::takeover::ConfigSource;

/// Environment of the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Stream for events.
    pub events: StreamConfig,
    /// Name of the delivery stream for bad rows.
    pub quarantine_delivery_stream: String,
    /// CloudWatch namespace of the batch counts.
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
            events: StreamConfig::from_env(env, "EVENTS_STREAM").ordered(env),
            quarantine_delivery_stream: env.quarantine_delivery_stream(),
            metrics_namespace: env.metrics_namespace(),
            config_source: ConfigSource::from_env(env),
        })
    }
}
