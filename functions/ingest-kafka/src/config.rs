//! Environment of `ingest-kafka`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_aws::env::{Env, EnvError, StreamConfig};
use tributary_aws::takeover::ConfigSource;
use tributary_datasets::{Dataset, Datasets};
use tributary_model::bad_row::shown;
use tributary_model::config_error::ConfigError;

/// Environment of the function.
#[derive(Clone)]
pub struct Config {
    /// Stream for raw records.
    pub raw: StreamConfig,
    /// Name of the delivery stream for bad rows.
    pub quarantine_delivery_stream: String,
    /// Datasets of topics whose names differ from their datasets.
    pub topics: Topics,
    /// CloudWatch namespace of the batch counts.
    pub metrics_namespace: String,
    /// Bucket of the configuration.
    pub config_source: ConfigSource,
}

/// Configured dataset of each topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics(BTreeMap<String, String>);

impl Topics {
    /// Parses `topic=dataset,topic=dataset`, ignoring blanks around the parts.
    ///
    /// A topic without `=dataset` has the dataset of its own name.
    ///
    /// # Errors
    ///
    /// Names the part that has another form, or a topic that is listed twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut topics = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (topic, name) = part.split_once('=').unwrap_or((part, part));
            let (topic, name) = (topic.trim(), name.trim());
            if topic.is_empty() || name.is_empty() {
                let missing = if topic.is_empty() { "topic" } else { "dataset" };
                return Err(format!("{} names no {missing}", shown(part)));
            }
            if topics.insert(topic.to_owned(), name.to_owned()).is_some() {
                return Err(format!("{} is there twice", shown(topic)));
            }
        }
        Ok(Self(topics))
    }

    /// Checks that the dataset of each topic is one of `datasets`.
    ///
    /// # Errors
    ///
    /// Names the topic and its dataset.
    pub fn check(&self, datasets: &Datasets) -> Result<(), ConfigError> {
        let unknown = self.0.iter().find(|(_, name)| datasets.by_name(name).is_none());
        let Some((topic, name)) = unknown else { return Ok(()) };
        let (topic, name, known) = (shown(topic), shown(name), datasets.names());
        let message = format!("the dataset {name} of topic {topic} is none of {known}");
        Err(ConfigError::new("TOPIC_DATASETS", message))
    }

    /// Returns the dataset of a topic: the configured one, else the one named like the topic.
    #[must_use]
    pub fn dataset<'d>(&self, topic: &str, datasets: &'d Datasets) -> Option<&'d Arc<Dataset>> {
        datasets.by_name(self.0.get(topic).map_or(topic, String::as_str))
    }
}

impl Config {
    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        Env::read(lookup, |env| Self {
            raw: StreamConfig::from_env(env, "RAW_STREAM").ordered(env),
            quarantine_delivery_stream: env.quarantine_delivery_stream(),
            topics: env.parsed("TOPIC_DATASETS", Topics::parse),
            metrics_namespace: env.metrics_namespace(),
            config_source: ConfigSource::from_env(env),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datasets() -> Datasets {
        tributary_config::Configuration::shipped().unwrap().datasets
    }

    fn name(topics: &Topics, topic: &str) -> Option<String> {
        topics.dataset(topic, &datasets()).map(|dataset| dataset.name().to_owned())
    }

    #[test]
    fn topic_maps_to_configured_or_namesake_dataset() {
        let topics = Topics::parse("prod.crashes = accidents, ,flood=telemetry,covid").unwrap();
        topics.check(&datasets()).unwrap();

        assert_eq!(name(&topics, "prod.crashes").as_deref(), Some("accidents"));
        assert_eq!(name(&topics, "flood").as_deref(), Some("telemetry"));
        assert_eq!(name(&topics, "covid").as_deref(), Some("covid"));
        assert_eq!(name(&topics, "accidents").as_deref(), Some("accidents"));
        assert_eq!(name(&topics, "weather"), None);
        assert_eq!(name(&Topics::default(), "accidents").as_deref(), Some("accidents"));
    }

    #[test]
    fn invalid_topic_entry_is_named() {
        let fault = |text: &str| Topics::parse(text).err().unwrap();

        for (text, topic, name) in
            [("crashes", "crashes", "crashes"), ("a=x", "a", "x"), ("a=b=covid", "a", "b=covid")]
        {
            let error = Topics::parse(text).unwrap().check(&datasets()).unwrap_err().to_string();
            let expected = format!("the dataset {name:?} of topic {topic:?} is none of accidents");
            assert!(error.contains(&expected), "{error}");
        }
        assert_eq!(fault("=covid"), "\"=covid\" names no topic");
        assert_eq!(fault("a="), "\"a=\" names no dataset");
        assert_eq!(fault("a=covid,a=flood"), "\"a\" is there twice");
    }

    #[test]
    fn topics_are_optional_and_faults_are_named() {
        let given = |topics: Option<&'static str>| {
            let lookup = |name: &str| match name {
                "TOPIC_DATASETS" => topics.map(str::to_owned),
                "MAX_RECORD_BYTES" => Some("1048576".into()),
                "RECORD_ORDER" => Some("throughput".into()),
                "RAW_STREAM" if topics == Some("a=") => None,
                "CONFIG_REFRESH_SECONDS" => Some("60".into()),
                _ => Some("x".into()),
            };
            Config::from_lookup(&lookup)
        };

        assert!(given(None).is_ok() && given(Some("")).is_ok() && given(Some("a=flood")).is_ok());
        let fault = given(Some("a=")).err().unwrap().to_string();
        assert!(fault.contains("RAW_STREAM is missing; TOPIC_DATASETS: \"a=\""), "{fault}");
    }
}
