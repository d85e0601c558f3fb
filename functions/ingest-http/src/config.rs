//! What `ingest-http` reads from its environment.

use tributary_aws::env::{Env, EnvError};
use tributary_aws::producer::Order;

/// The environment of `ingest-http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the stream for raw records.
    pub raw_stream: String,
    /// The most bytes of a record in the stream, with its partition key.
    pub max_record_bytes: usize,
    /// Whether records of one key keep their order when some of a call fail.
    pub record_order: Order,
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
            max_record_bytes: env.number("MAX_RECORD_BYTES"),
            record_order: env.parsed("RECORD_ORDER", Order::parse),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        env.finish(config)
    }
}
