//! Environment variables of `ingest-s3`.

use tributary_aws::env::{Env, EnvError, StreamConfig};
use tributary_aws::producer::Order;
use tributary_aws::takeover::ConfigSource;

/// Environment of `ingest-s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Stream for raw records.
    pub raw: StreamConfig,
    /// Name of the delivery stream for bad rows.
    pub quarantine_delivery_stream: String,
    /// URL of the queue that feeds the function, and receives its continuations.
    pub queue_url: String,
    /// Puts small records to the stream together, as KPL aggregates, if true.
    pub aggregate_records: bool,
    /// Maximum expansion of a gzip object, as a multiple of its size.
    pub max_gzip_ratio: usize,
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
        Env::read(lookup, |env| {
            let config = Self {
                raw: StreamConfig::from_env(env, "RAW_STREAM").ordered(env),
                quarantine_delivery_stream: env.quarantine_delivery_stream(),
                queue_url: env.text("QUEUE_URL"),
                aggregate_records: env.flag("AGGREGATE_RECORDS"),
                max_gzip_ratio: env.number("MAX_GZIP_RATIO"),
                metrics_namespace: env.metrics_namespace(),
                config_source: ConfigSource::from_env(env),
            };
            if config.aggregate_records && config.raw.order == Order::PerKey {
                // An aggregate goes to the shard of its first record.
                env.fault("AGGREGATE_RECORDS is true, which RECORD_ORDER per-key does not go with");
            }
            config
        })
    }
}
