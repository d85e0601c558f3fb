//! Environment of `alerts`.

use jiff::SignedDuration;
use tributary_aws::env::{Env, EnvError};

use crate::active_rules::RulesOverride;

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
    /// S3 object of rules that override the compiled-in ones.
    pub rules_override: Option<RulesOverride>,
}

impl Config {
    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        Env::read(lookup, |env| {
            let seconds = i64::try_from(env.number("RULES_REFRESH_SECONDS")).unwrap_or(i64::MAX);
            let every = SignedDuration::from_secs(seconds);
            Self {
                quarantine_delivery_stream: env.quarantine_delivery_stream(),
                alerts_topic_arn: env.text("ALERTS_TOPIC_ARN"),
                critical_alerts_topic_arn: env.text("CRITICAL_ALERTS_TOPIC_ARN"),
                warning_alerts_topic_arn: env.text("WARNING_ALERTS_TOPIC_ARN"),
                claims_table: env.text("CLAIMS_TABLE"),
                state_table: env.text("STATE_TABLE"),
                stream_retention_hours: env.number("STREAM_RETENTION_HOURS"),
                metrics_namespace: env.metrics_namespace(),
                rules_override: env.parsed("RULES_OBJECT", |text| override_of(text, every)),
            }
        })
    }
}

/// Parses `bucket/key` as the object of rules; an empty text means none.
///
/// # Errors
///
/// Fails when the bucket or the key is missing.
fn override_of(text: &str, every: SignedDuration) -> Result<Option<RulesOverride>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let object = text.split_once('/').filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty());
    let (bucket, key) = object.ok_or_else(|| format!("{text:?} should be bucket/key"))?;
    Ok(Some(RulesOverride { bucket: bucket.to_owned(), key: key.to_owned(), every }))
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
    fn rules_object_is_parsed_as_bucket_and_key() {
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
