//! What `metrics` reads from its environment.

use tributary_aws::env::{Env, EnvError};

/// The environment of `metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the delivery stream for records that are no events.
    pub quarantine_delivery_stream: String,
    /// CloudWatch namespace of the metrics and of the books.
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
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        env.finish(config)
    }
}
