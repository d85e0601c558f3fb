//! What `ingest-s3` reads from its environment.

use tributary_aws::env::{Env, EnvError};
use tributary_aws::producer::Order;

/// The environment of `ingest-s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the stream for raw records.
    pub raw_stream: String,
    /// Name of the delivery stream for bad rows.
    pub quarantine_delivery_stream: String,
    /// The queue the function is fed by, and sends continuations to.
    pub queue_url: String,
    /// The most bytes of a record in the stream, with its partition key; also the most of a row.
    pub max_record_bytes: usize,
    /// Whether records of one key keep their order when some of a call fail.
    pub record_order: Order,
    /// Whether small records go to the stream together, in KPL aggregates.
    pub aggregate_records: bool,
    /// How many times its size a gzip object may expand to.
    pub max_gzip_ratio: usize,
    /// CloudWatch namespace of the books.
    pub metrics_namespace: String,
}

impl Config {
    /// Reads it through `look_up`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
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
