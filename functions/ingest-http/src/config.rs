//! Environment variables of `ingest-http`.

use tributary_aws::env::{Env, EnvError, StreamConfig};
use tributary_aws::takeover::ConfigSource;

/// Environment of `ingest-http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Stream for raw records.
    pub raw: StreamConfig,
    /// CloudWatch namespace of the batch counts.
    pub metrics_namespace: String,
    /// Bucket of the configuration.
    pub config_source: ConfigSource,
}

impl Config {
    /// Reads the variables through `lookup`.
    ///
    /// # Errors
    ///
    /// Returns an error that names every missing or wrong variable.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        Env::read(lookup, |env| Self {
            raw: StreamConfig::from_env(env, "RAW_STREAM").ordered(env),
            metrics_namespace: env.metrics_namespace(),
            config_source: ConfigSource::from_env(env),
        })
    }
}
