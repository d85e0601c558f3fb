//! Environment of `windows`.

use tributary_aws::env::{Env, EnvError};

/// Settings of the function, whichever store it writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the stream of events: source of readings, sink of window events.
    pub events_stream: String,
    /// Name of the delivery stream for late readings and for records that are not events.
    pub quarantine_delivery_stream: String,
    /// Largest record that the stream takes, in bytes, with its partition key.
    pub max_record_bytes: usize,
    /// CloudWatch namespace of the batch counts.
    pub metrics_namespace: String,
}

impl Settings {
    /// Reads the settings from `env`, which collects what is missing or wrong.
    #[must_use]
    pub fn from_env(env: &mut Env<'_>) -> Self {
        Self {
            events_stream: env.text("EVENTS_STREAM"),
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            max_record_bytes: env.number("MAX_RECORD_BYTES"),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
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
    /// Reads the environment through `look_up`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let mut env = Env::new(lookup);
        let config =
            Self { settings: Settings::from_env(&mut env), table: env.text("WINDOWS_TABLE") };
        env.finish(config)
    }
}
