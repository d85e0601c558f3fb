//! What `transform` reads from its environment.

use tributary_aws::env::{Env, EnvError};
use tributary_aws::producer::Order;

/// The environment of `transform`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the stream for events.
    pub events_stream: String,
    /// Name of the delivery stream for bad rows.
    pub quarantine_delivery_stream: String,
    /// The most bytes of a record in the stream for events, with its partition key.
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
            events_stream: env.text("EVENTS_STREAM"),
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            max_record_bytes: env.number("MAX_RECORD_BYTES"),
            record_order: env.parsed("RECORD_ORDER", Order::parse),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        env.finish(config)
    }
}
