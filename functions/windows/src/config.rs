//! Environment of `windows`.

use tributary_aws::env::{Env, EnvError, StreamConfig};
use tributary_aws::takeover::ConfigSource;

/// Settings of the function, whichever store it writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Stream of events: source of readings, sink of window events.
    pub events: StreamConfig,
    /// Name of the delivery stream for late readings and for records that are not events.
    pub quarantine_delivery_stream: String,
    /// CloudWatch namespace of the batch counts.
    pub metrics_namespace: String,
    /// Bucket of the configuration.
    pub config_source: ConfigSource,
}

impl Settings {
    /// Reads the settings from `env`, which collects what is missing or wrong.
    #[must_use]
    pub fn from_env(env: &mut Env<'_>) -> Self {
        Self {
            events: StreamConfig::from_env(env, "EVENTS_STREAM"),
            quarantine_delivery_stream: env.quarantine_delivery_stream(),
            metrics_namespace: env.metrics_namespace(),
            config_source: ConfigSource::from_env(env),
        }
    }
}

/// Environment of the function with its windows in `DynamoDB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Settings that do not depend on the store.
    pub settings: Settings,
    /// Name of the table of windows and watermarks.
    pub table: String,
}

impl Config {
    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        Env::read(lookup, |env| Self {
            settings: Settings::from_env(env),
            table: env.text("WINDOWS_TABLE"),
        })
    }
}
