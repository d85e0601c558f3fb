//! Environment of `ingest-kafka`.

use std::collections::BTreeMap;

use tributary_aws::env::{Env, EnvError, StreamConfig};
use tributary_datasets::{self as datasets, Dataset};
use tributary_model::bad_row::shown;

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
}

/// Configured dataset of each topic.
#[derive(Clone, Default)]
pub struct Topics(BTreeMap<String, &'static dyn Dataset>);

impl Topics {
    /// Parses `topic=dataset,topic=dataset`, ignoring blanks around the parts.
    ///
    /// A topic without `=dataset` has the dataset of its own name.
    ///
    /// # Errors
    ///
    /// Names the part that has another form, an unknown dataset, or a topic that is listed twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut topics = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (topic, name) = part.split_once('=').unwrap_or((part, part));
            let (topic, name) = (topic.trim(), name.trim());
            if topic.is_empty() {
                return Err(format!("{} names no topic", shown(part)));
            }
            let dataset = datasets::by_name(name).ok_or_else(|| {
                format!("{}: the dataset is none of {}", shown(part), datasets::names())
            })?;
            if topics.insert(topic.to_owned(), dataset).is_some() {
                return Err(format!("{} is there twice", shown(topic)));
            }
        }
        Ok(Self(topics))
    }

    /// Returns the dataset of a topic: the configured one, else the one named like the topic.
    #[must_use]
    pub fn dataset(&self, topic: &str) -> Option<&'static dyn Dataset> {
        self.0.get(topic).copied().or_else(|| datasets::by_name(topic))
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(topics: &Topics, topic: &str) -> Option<&'static str> {
        topics.dataset(topic).map(Dataset::name)
    }

    #[test]
    fn topic_maps_to_configured_or_namesake_dataset() {
        let topics =
            Topics::parse("prod.crashes = accidents, ,flood=telemetry,covid").ok().unwrap();

        assert_eq!(name(&topics, "prod.crashes"), Some("accidents"));
        assert_eq!(name(&topics, "flood"), Some("telemetry"));
        assert_eq!(name(&topics, "covid"), Some("covid"));
        assert_eq!(name(&topics, "accidents"), Some("accidents"));
        assert_eq!(name(&topics, "weather"), None);
        assert_eq!(name(&Topics::default(), "accidents"), Some("accidents"));
    }

    #[test]
    fn invalid_topic_entry_is_named() {
        let fault = |text: &str| Topics::parse(text).err().unwrap();

        for part in ["crashes", "a=weather", "a=", "a=b=covid"] {
            let expected = format!("{part:?}: the dataset is none of ");
            assert!(fault(part).starts_with(&expected), "{part}");
        }
        assert_eq!(fault("=covid"), "\"=covid\" names no topic");
        assert_eq!(fault("a=covid,a=flood"), "\"a\" is there twice");
    }

    #[test]
    fn topics_are_optional_and_faults_are_named() {
        let given = |topics: Option<&'static str>| {
            Config::from_lookup(&|name| match name {
                "TOPIC_DATASETS" => topics.map(str::to_owned),
                "MAX_RECORD_BYTES" => Some("1048576".into()),
                "RECORD_ORDER" => Some("throughput".into()),
                "RAW_STREAM" if topics == Some("a=b") => None,
                _ => Some("x".into()),
            })
        };

        assert!(given(None).is_ok() && given(Some("")).is_ok() && given(Some("a=flood")).is_ok());
        let fault = given(Some("a=b")).err().unwrap().to_string();
        assert!(fault.contains("RAW_STREAM is missing; TOPIC_DATASETS: \"a=b\""), "{fault}");
    }
}
