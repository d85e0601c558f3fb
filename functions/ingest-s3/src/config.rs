//! Environment variables of `ingest-s3`.

use tributary_aws::env::{Env, EnvError};
use tributary_aws::producer::Order;

/// Environment of `ingest-s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the stream for raw records.
    pub raw_stream: String,
    /// Name of the delivery stream for bad rows.
    pub quarantine_delivery_stream: String,
    /// URL of the queue that feeds the function, and receives its continuations.
    pub queue_url: String,
    /// Maximum number of bytes of a record in the stream, partition key included; also the maximum
    /// of a row.
    pub max_record_bytes: usize,
    /// Order of records of one key when some entries of a call fail.
    pub record_order: Order,
    /// Puts small records to the stream together, as KPL aggregates, if true.
    pub aggregate_records: bool,
    /// Maximum expansion of a gzip object, as a multiple of its size.
    pub max_gzip_ratio: usize,
    /// CloudWatch namespace of the batch counts.
    pub metrics_namespace: String,
}

impl Config {
    /// Reads the variables through `lookup`.
    ///
    /// # Errors
    ///
    /// Returns an error that names every missing or wrong variable.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let mut env = Env::new(lookup);
        let config = Self {
            raw_stream: env.text("RAW_STREAM"),
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            queue_url: env.text("QUEUE_URL"),
            max_record_bytes: env.number("MAX_RECORD_BYTES"),
            record_order: env.parsed("RECORD_ORDER", Order::parse),
            aggregate_records: env.flag("AGGREGATE_RECORDS"),
            max_gzip_ratio: env.number("MAX_GZIP_RATIO"),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        if config.aggregate_records && config.record_order == Order::PerKey {
            // An aggregate goes to the shard of its first record.
            env.fault("AGGREGATE_RECORDS is true, which RECORD_ORDER per-key does not go with");
        }
        env.finish(config)
    }
}
