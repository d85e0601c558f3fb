//! Environment variables of `ingest-http`.

use tributary_aws::env::{Env, EnvError};
use tributary_aws::producer::Order;

/// Environment of `ingest-http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the stream for raw records.
    pub raw_stream: String,
    /// Maximum number of bytes of a record in the stream, partition key included.
    pub max_record_bytes: usize,
    /// Order of records of one key when some entries of a call fail.
    pub record_order: Order,
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
            max_record_bytes: env.number("MAX_RECORD_BYTES"),
            record_order: env.parsed("RECORD_ORDER", Order::parse),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        env.finish(config)
    }
}
