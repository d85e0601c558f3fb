//! Environment of `ingest-kafka`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_aws::env::{Env, EnvError, StreamConfig};
use tributary_datasets::{Dataset, Datasets};
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics(BTreeMap<String, String>);

impl Topics {
    /// Parses `topic=dataset,topic=dataset`, ignoring blanks around the parts.
    ///
    /// A topic without `=dataset` has the dataset of its own name.
    ///
    /// # Errors
    ///
    /// Names the part that has another form, an unknown dataset, or a topic that is listed twice.
    pub fn parse(text: &str, datasets: &Datasets) -> Result<Self, String> {
        let mut topics = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (topic, name) = part.split_once('=').unwrap_or((part, part));
            let (topic, name) = (topic.trim(), name.trim());
            if topic.is_empty() {
                return Err(format!("{} names no topic", shown(part)));
            }
            if datasets.by_name(name).is_none() {
                let names = datasets.names();
                return Err(format!("{}: the dataset is none of {names}", shown(part)));
            }
            if topics.insert(topic.to_owned(), name.to_owned()).is_some() {
                return Err(format!("{} is there twice", shown(topic)));
            }
        }
        Ok(Self(topics))
    }

    /// Returns the dataset of a topic: the configured one, else the one named like the topic.
    #[must_use]
    pub fn dataset<'d>(&self, topic: &str, datasets: &'d Datasets) -> Option<&'d Arc<Dataset>> {
        datasets.by_name(self.0.get(topic).map_or(topic, String::as_str))
    }
}

impl Config {
    /// Reads the environment through `lookup`. Topics are of these `datasets`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(
        lookup: &dyn Fn(&str) -> Option<String>,
        datasets: &Datasets,
    ) -> Result<Self, EnvError> {
        Env::read(lookup, |env| Self {
            raw: StreamConfig::from_env(env, "RAW_STREAM").ordered(env),
            quarantine_delivery_stream: env.quarantine_delivery_stream(),
            topics: env.parsed("TOPIC_DATASETS", |text| Topics::parse(text, datasets)),
            metrics_namespace: env.metrics_namespace(),
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
        let topics =
            Topics::parse("prod.crashes = accidents, ,flood=telemetry,covid", &datasets()).unwrap();

        assert_eq!(name(&topics, "prod.crashes").as_deref(), Some("accidents"));
        assert_eq!(name(&topics, "flood").as_deref(), Some("telemetry"));
        assert_eq!(name(&topics, "covid").as_deref(), Some("covid"));
        assert_eq!(name(&topics, "accidents").as_deref(), Some("accidents"));
        assert_eq!(name(&topics, "weather"), None);
        assert_eq!(name(&Topics::default(), "accidents").as_deref(), Some("accidents"));
    }

    #[test]
    fn invalid_topic_entry_is_named() {
        let fault = |text: &str| Topics::parse(text, &datasets()).err().unwrap();

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
            let lookup = |name: &str| match name {
                "TOPIC_DATASETS" => topics.map(str::to_owned),
                "MAX_RECORD_BYTES" => Some("1048576".into()),
                "RECORD_ORDER" => Some("throughput".into()),
                "RAW_STREAM" if topics == Some("a=b") => None,
                _ => Some("x".into()),
            };
            Config::from_lookup(&lookup, &datasets())
        };

        assert!(given(None).is_ok() && given(Some("")).is_ok() && given(Some("a=flood")).is_ok());
        let fault = given(Some("a=b")).err().unwrap().to_string();
        assert!(fault.contains("RAW_STREAM is missing; TOPIC_DATASETS: \"a=b\""), "{fault}");
    }
}
