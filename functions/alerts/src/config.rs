//! What `alerts` reads from its environment.

use tributary_aws::env::{Env, EnvError};

/// The environment of `alerts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the delivery stream for records that are no events.
    pub quarantine_delivery_stream: String,
    /// The topic for alerts.
    pub alerts_topic_arn: String,
    /// The topic for critical ones; may be the same.
    pub critical_alerts_topic_arn: String,
    /// The topic for warnings; may be the same.
    pub warning_alerts_topic_arn: String,
    /// Name of the table of claims.
    pub claims_table: String,
    /// Name of the table of what rules remember.
    pub state_table: String,
    /// Hours for which the stream of events keeps a record.
    pub stream_retention_hours: usize,
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
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            alerts_topic_arn: env.text("ALERTS_TOPIC_ARN"),
            critical_alerts_topic_arn: env.text("CRITICAL_ALERTS_TOPIC_ARN"),
            warning_alerts_topic_arn: env.text("WARNING_ALERTS_TOPIC_ARN"),
            claims_table: env.text("CLAIMS_TABLE"),
            state_table: env.text("STATE_TABLE"),
            stream_retention_hours: env.number("STREAM_RETENTION_HOURS"),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        env.finish(config)
    }
}
