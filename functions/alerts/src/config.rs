//! What `alerts` reads from its environment.

use jiff::SignedDuration;
use tributary_aws::env::{Env, EnvError};

use crate::active_rules::RulesOverride;

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
    /// Where rules come from that override those that are compiled in.
    pub rules_override: Option<RulesOverride>,
}

impl Config {
    /// Reads it through `look_up`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let mut env = Env::new(lookup);
        let seconds = i64::try_from(env.number("RULES_REFRESH_SECONDS")).unwrap_or(i64::MAX);
        let every = SignedDuration::from_secs(seconds);
        let config = Self {
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            alerts_topic_arn: env.text("ALERTS_TOPIC_ARN"),
            critical_alerts_topic_arn: env.text("CRITICAL_ALERTS_TOPIC_ARN"),
            warning_alerts_topic_arn: env.text("WARNING_ALERTS_TOPIC_ARN"),
            claims_table: env.text("CLAIMS_TABLE"),
            state_table: env.text("STATE_TABLE"),
            stream_retention_hours: env.number("STREAM_RETENTION_HOURS"),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
            rules_override: env.parsed("RULES_OBJECT", |text| override_of(text, every)),
        };
        env.finish(config)
    }
}

/// The object that `bucket/key` names; none for an empty text.
///
/// # Errors
///
/// When one of the two is missing.
fn override_of(text: &str, every: SignedDuration) -> Result<Option<RulesOverride>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
            Ok(Some(RulesOverride { bucket: bucket.to_owned(), key: key.to_owned(), every }))
        }
        _ => Err(format!("{text:?} should be bucket/key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(object: &str) -> Result<Config, String> {
        let lookup = |name: &str| match name {
            "RULES_OBJECT" => Some(object.to_owned()),
            _ => Some("300".to_owned()),
        };
        Config::from_lookup(&lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_overridden_by_an_object_where_one_is_named() {
        assert_eq!(config("").unwrap().rules_override, None);
        let by = config("my-rules/prod/alerts.toml").unwrap().rules_override.unwrap();
        assert_eq!((by.bucket.as_str(), by.key.as_str()), ("my-rules", "prod/alerts.toml"));
        assert_eq!(by.every, SignedDuration::from_mins(5));
        for wrong in ["alerts.toml", "/alerts.toml", "my-rules/"] {
            let error = config(wrong).unwrap_err();
            assert_eq!(error, format!("environment: RULES_OBJECT: {wrong:?} should be bucket/key"));
        }
    }
}
