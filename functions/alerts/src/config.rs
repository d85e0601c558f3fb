//! Environment of `alerts`.

use tributary_aws::env::{Env, EnvError};
use tributary_aws::takeover::ConfigSource;

/// Environment of the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the delivery stream for records that are not events.
    pub quarantine_delivery_stream: String,
    /// ARN of the default topic for alerts.
    pub alerts_topic_arn: String,
    /// ARN of the topic for critical alerts; may be the default topic.
    pub critical_alerts_topic_arn: String,
    /// ARN of the topic for warnings; may be the default topic.
    pub warning_alerts_topic_arn: String,
    /// Name of the table of claims.
    pub claims_table: String,
    /// Name of the table of rule state.
    pub state_table: String,
    /// Retention of the EVENTS stream in hours.
    pub stream_retention_hours: usize,
    /// CloudWatch namespace of the batch counts.
    pub metrics_namespace: String,
    /// Bucket of the configuration.
    pub config_source: ConfigSource,
}

impl Config {
    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        Env::read(lookup, |env| Self {
            quarantine_delivery_stream: env.quarantine_delivery_stream(),
            alerts_topic_arn: env.text("ALERTS_TOPIC_ARN"),
            critical_alerts_topic_arn: env.text("CRITICAL_ALERTS_TOPIC_ARN"),
            warning_alerts_topic_arn: env.text("WARNING_ALERTS_TOPIC_ARN"),
            claims_table: env.text("CLAIMS_TABLE"),
            state_table: env.text("STATE_TABLE"),
            stream_retention_hours: env.number("STREAM_RETENTION_HOURS"),
            metrics_namespace: env.metrics_namespace(),
            config_source: ConfigSource::from_env(env),
        })
    }
}
