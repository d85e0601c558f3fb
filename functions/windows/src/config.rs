//! What `windows` reads from its environment.

use tributary_aws::env::{Env, EnvError};
use tributary_cassandra::Store;

/// The environment of `windows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the stream of events: where readings come from and windows go to.
    pub events_stream: String,
    /// Name of the delivery stream for what is too late, and for records that are no events.
    pub quarantine_delivery_stream: String,
    /// Where windows are kept.
    pub store: Store,
    /// The most bytes of a record of the stream, with its partition key.
    pub max_record_bytes: usize,
    /// CloudWatch namespace of the books.
    pub metrics_namespace: String,
}

impl Config {
    /// Reads it through `look_up`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_look_up(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let mut env = Env::new(look_up);
        let config = Self {
            events_stream: env.text("EVENTS_STREAM"),
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            store: Store::from_env(&mut env),
            max_record_bytes: env.number("MAX_RECORD_BYTES"),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        env.finish(config)
    }
}
