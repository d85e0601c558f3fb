//! What `ingest-kafka` reads from its environment.

use std::collections::BTreeMap;

use tributary_aws::env::{Env, EnvError};
use tributary_aws::producer::Order;
use tributary_datasets::{self as datasets, Dataset};
use tributary_model::bad_row::shown;

/// The environment of `ingest-kafka`.
#[derive(Clone)]
pub struct Config {
    /// Name of the stream for raw records.
    pub raw_stream: String,
    /// Name of the delivery stream for bad rows.
    pub quarantine_delivery_stream: String,
    /// The dataset of each topic that is not called like its dataset.
    pub topics: Topics,
    /// The most bytes of a record in the stream, with its partition key.
    pub max_record_bytes: usize,
    /// Whether records of one key keep their order when some of a call fail.
    pub record_order: Order,
    /// CloudWatch namespace of the books.
    pub metrics_namespace: String,
}

/// Which dataset the records of a topic are of.
#[derive(Clone, Default)]
pub struct Topics(BTreeMap<String, &'static dyn Dataset>);

impl Topics {
    /// Reads `topic=dataset,topic=dataset`; blanks around the parts do not matter. A topic alone is
    /// of the dataset of its name.
    ///
    /// # Errors
    ///
    /// Names the part that is not of this form, names no dataset, or names a topic again.
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

    /// The dataset of a topic: as configured, or the one of the topic's name.
    #[must_use]
    pub fn dataset(&self, topic: &str) -> Option<&'static dyn Dataset> {
        self.0.get(topic).copied().or_else(|| datasets::by_name(topic))
    }
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
            raw_stream: env.text("RAW_STREAM"),
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            topics: env.parsed("TOPIC_DATASETS", Topics::parse),
            max_record_bytes: env.number("MAX_RECORD_BYTES"),
            record_order: env.parsed("RECORD_ORDER", Order::parse),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        env.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(topics: &Topics, topic: &str) -> Option<&'static str> {
        topics.dataset(topic).map(Dataset::name)
    }

    #[test]
    fn a_topic_is_of_the_dataset_that_is_configured_or_that_it_is_called_like() {
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
    fn a_part_that_is_wrong_is_named() {
        let fault = |text: &str| Topics::parse(text).err().unwrap();

        for part in ["crashes", "a=weather", "a=", "a=b=covid"] {
            let expected = format!("{part:?}: the dataset is none of ");
            assert!(fault(part).starts_with(&expected), "{part}");
        }
        assert_eq!(fault("=covid"), "\"=covid\" names no topic");
        assert_eq!(fault("a=covid,a=flood"), "\"a\" is there twice");
    }

    #[test]
    fn topics_may_be_left_out_and_every_fault_is_named() {
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
