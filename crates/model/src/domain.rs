//! Possible values of an event's fields, by dataset and by window spec.
//!
//! A rule whose condition can never hold is detected with them before it is deployed.

mod numbers;
mod texts;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use crate::config_error::ConfigError;
use crate::event::{Event, Kind};

pub use self::numbers::{Comparison, NumberSet, rounded};
pub use self::texts::TextSet;

/// The fields of the events of one dataset, or of the windows of one spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// The dataset.
    pub dataset: String,
    /// The window spec, for windows.
    pub spec: Option<String>,
    /// Possible values of each measure.
    pub measures: BTreeMap<String, NumberSet>,
    /// Prefixes of measures that count the values of an attribute with arbitrary text.
    pub counted: Vec<String>,
    /// Possible values of each attribute.
    pub attributes: BTreeMap<String, TextSet>,
    /// The tags.
    pub tags: BTreeSet<String>,
    /// `true` if the events have a location.
    pub has_location: bool,
    /// Usual time between two readings of an entity, if the dataset declares it.
    pub interval: Option<SignedDuration>,
    /// Number of readings of an entity that a window has at that interval.
    pub usual_readings: Option<u32>,
}

/// Possible values of one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// A number: a double, or an integer.
    Number(NumberSet, NumberType),
    /// A text.
    Text(TextSet),
    /// The tags.
    Tags,
    /// An object with fields of its own.
    Object,
}

/// Storage type of a number. Arithmetic does not mix the types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// A 64-bit float.
    Double,
    /// A signed integer.
    Int,
    /// An unsigned integer.
    Uint,
}

impl Fields {
    /// Declares the readings of a dataset.
    pub fn of_readings<'n>(
        dataset: &str,
        measures: impl IntoIterator<Item = (&'n str, NumberSet)>,
        attributes: impl IntoIterator<Item = (&'n str, TextSet)>,
        tags: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let named = |(name, numbers): (&str, NumberSet)| (name.to_owned(), numbers);
        Self {
            dataset: dataset.to_owned(),
            spec: None,
            measures: measures.into_iter().map(named).collect(),
            counted: Vec::new(),
            attributes: attributes.into_iter().map(|(name, it)| (name.to_owned(), it)).collect(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            has_location: true,
            interval: None,
            usual_readings: None,
        }
    }

    /// Declares that the dataset's events have no location.
    #[must_use]
    pub fn without_location(mut self) -> Self {
        self.has_location = false;
        self
    }

    /// Narrows each measure of `ranges` to its lowest and highest possible value.
    #[must_use]
    pub fn within(mut self, ranges: &BTreeMap<String, [f64; 2]>) -> Self {
        for (measure, &[low, high]) in ranges {
            if let Some(numbers) = self.measures.get_mut(measure) {
                *numbers = numbers.and(&NumberSet::between(low, high));
            }
        }
        self
    }

    /// Returns the owner of the fields for messages: `accidents`, `telemetry-1m`.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.spec.as_deref().unwrap_or(&self.dataset)
    }

    /// Returns the possible values of a measure; `None` if it does not exist.
    #[must_use]
    pub fn measure(&self, name: &str) -> Option<NumberSet> {
        let known = self.measures.get(name).cloned();
        let is_counted = || self.counted.iter().any(|start| name.starts_with(start.as_str()));
        known.or_else(|| is_counted().then(|| NumberSet::whole(1.0, f64::INFINITY)))
    }

    /// Returns the possible values of the field at `path`, such as `measures.severity`; `None` if
    /// it does not exist.
    pub fn domain(&self, path: &str) -> Option<Domain> {
        let window = |domain| self.spec.as_ref().map(|_| domain);
        let placed = |domain| self.has_location.then_some(domain);
        let degrees = |max: f64| Domain::Number(NumberSet::between(-max, max), NumberType::Double);
        let kind = if self.spec.is_some() { Kind::Window } else { Kind::Reading };
        match path {
            "kind" => Some(Domain::Text(TextSet::one_of([kind.as_str()]))),
            "dataset" => Some(Domain::Text(TextSet::one_of([self.dataset.as_str()]))),
            "event_id" | "entity" | "event_time" | "received_at" => {
                Some(Domain::Text(TextSet::any()))
            }
            "measures" | "attributes" => Some(Domain::Object),
            "tags" => Some(Domain::Tags),
            "location" => placed(Domain::Object),
            "location.lat" => placed(degrees(90.0)),
            "location.lon" => placed(degrees(180.0)),
            "location.cell" => placed(Domain::Text(TextSet::any())),
            "window" => window(Domain::Object),
            "window.spec" => window(Domain::Text(TextSet::one_of(self.spec.as_deref()))),
            "window.start" | "window.end" => window(Domain::Text(TextSet::any())),
            "window.revision" => {
                let revisions = NumberSet::whole(0.0, f64::from(u32::MAX));
                window(Domain::Number(revisions, NumberType::Int))
            }
            _ => match path.split_once('.')? {
                ("measures", name) => {
                    self.measure(name).map(|it| Domain::Number(it, NumberType::Double))
                }
                ("attributes", name) => self.attributes.get(name).cloned().map(Domain::Text),
                _ => None,
            },
        }
    }

    /// Returns the names at `path`, for a message about an unknown one.
    pub fn names(&self, path: &str) -> Vec<&str> {
        match path {
            "measures" => self.measures.keys().map(String::as_str).collect(),
            "attributes" => self.attributes.keys().map(String::as_str).collect(),
            "location" => vec!["lat", "lon", "cell"],
            "window" => vec!["spec", "start", "end", "revision"],
            _ => {
                let names = [
                    "kind",
                    "dataset",
                    "event_id",
                    "entity",
                    "event_time",
                    "received_at",
                    "location",
                    "measures",
                    "attributes",
                    "tags",
                    "window",
                ];
                names.into_iter().filter(|name| self.domain(name).is_some()).collect()
            }
        }
    }

    /// Returns the first part of `event` that contradicts the declaration.
    #[must_use]
    pub fn mismatch(&self, event: &Event<'_>) -> Option<String> {
        for (name, value) in event.measures.iter() {
            match self.measure(name) {
                None => return Some(format!("measures.{name}")),
                Some(numbers) if !numbers.contains(*value) => {
                    return Some(format!("measures.{name} is {value} and should be {numbers}"));
                }
                Some(_) => {}
            }
        }
        for (name, value) in event.attributes.iter() {
            match self.attributes.get(name) {
                None => return Some(format!("attributes.{name}")),
                Some(texts) if !texts.contains(value) => {
                    return Some(format!("attributes.{name} is {value:?} and should be {texts}"));
                }
                Some(_) => {}
            }
        }
        let tag = event.tags.iter().find(|tag| !self.tags.contains(&***tag));
        let place = event.location.as_ref().filter(|_| !self.has_location);
        tag.map(|tag| format!("tag {tag}")).or_else(|| place.map(|_| "location".to_owned()))
    }
}

/// Lowest and highest plausible value, by dataset and measure.
pub type MeasureRanges = BTreeMap<String, BTreeMap<String, [f64; 2]>>;

/// Fields of the readings of every dataset, by the dataset's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schemas(BTreeMap<String, Fields>);

impl FromIterator<Fields> for Schemas {
    fn from_iter<I: IntoIterator<Item = Fields>>(fields: I) -> Self {
        Self(fields.into_iter().map(|fields| (fields.dataset.clone(), fields)).collect())
    }
}

impl Schemas {
    /// Returns the fields of a dataset's readings.
    #[must_use]
    pub fn get(&self, dataset: &str) -> Option<&Fields> {
        self.0.get(dataset)
    }

    /// Returns the fields of a dataset's readings, for the configuration entry `owner`.
    ///
    /// # Errors
    ///
    /// If `dataset` is unknown. The message names `owner` and the known datasets.
    pub fn require(&self, owner: &str, dataset: &str) -> Result<&Fields, ConfigError> {
        self.get(dataset).ok_or_else(|| {
            let message = format!("dataset {dataset:?} is none of {}", self.names());
            ConfigError::new(owner, message)
        })
    }

    /// Returns the names of all datasets, for messages.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}
