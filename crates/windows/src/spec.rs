//! Window specs: the `[[windows]]` of `pipeline.toml`.

use std::collections::BTreeSet;
use std::ops::Deref;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::fields::window_fields;
use tributary_anomaly::{AnomalySpec, Detector};
use tributary_model::config_error::ConfigError;
use tributary_model::domain::Schemas;
use tributary_model::event::{Event, Kind};
use tributary_model::id::shortened;
use tributary_model::time::{DurationSpec, floor_second, period};

/// Maximum number of windows that hold one event.
const MAX_OVERLAP: i64 = 60;

/// Maximum duration in a spec: 100 years.
const MAX_LENGTH: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

/// Maximum number of event ids per window: a stored window is limited to 400 KB, and an id takes 11
/// bytes of it.
const MAX_DISTINCT: usize = 25_000;

/// Maximum length of a group key in characters: the limit of a Kinesis partition key.
///
/// See <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>.
const MAX_KEY_CHARS: usize = 256;

/// Window spec as written in `pipeline.toml`; the file explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// Id of the spec, in window events and in the window store.
    pub id: String,
    /// Dataset of its events.
    pub dataset: String,
    /// Parts of the group key: `entity` or attributes.
    pub key: Vec<String>,
    /// Duration of a window in whole seconds.
    pub size: DurationSpec,
    /// Distance between the starts of consecutive windows in whole seconds. Equals the size for
    /// tumbling windows.
    #[serde(default)]
    pub slide: Option<DurationSpec>,
    /// Time of an event that assigns it to windows.
    #[serde(default)]
    pub time: TimeBasis,
    /// Watermark delay: a window closes when the watermark is this far past its end.
    #[serde(default)]
    pub delay: DurationSpec,
    /// Allowed lateness: until the watermark is this far past the delay, a late event makes a
    /// revision.
    pub allowed_lateness: DurationSpec,
    /// Idle timeout: a shard without records for this long no longer holds back the watermark.
    #[serde(default = "two_minutes")]
    pub idle_timeout: DurationSpec,
    /// Retention of a closed window in the store.
    pub retention: DurationSpec,
    /// Measures to aggregate.
    pub measures: Vec<String>,
    /// Quantiles of each measure, 0 to 1.
    #[serde(default)]
    pub quantiles: Vec<f64>,
    /// Measures whose change per hour is emitted.
    #[serde(default)]
    pub rate: Vec<String>,
    /// Attributes or integer measures whose values are counted.
    #[serde(default)]
    pub count_by: Vec<String>,
    /// Maximum number of events per window that are deduplicated by id.
    #[serde(default = "default_distinct")]
    pub distinct: usize,
    /// Anomaly detection on the windows, if any.
    #[serde(default)]
    pub anomaly: Option<AnomalySpec>,
}

fn two_minutes() -> DurationSpec {
    DurationSpec(SignedDuration::from_mins(2))
}

fn default_distinct() -> usize {
    10_000
}

/// Time of an event that assigns it to windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeBasis {
    /// Event time.
    #[default]
    Event,
    /// Arrival time at Tributary, for datasets whose files are not ordered by event time.
    Received,
}

/// Half-open time range of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after the end.
    pub end: Timestamp,
}

/// Compiled window spec: a valid [`WindowSpec`], which it dereferences to.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The spec as written.
    pub written: WindowSpec,
    /// Distance between the starts of consecutive windows in whole seconds: the size if the spec
    /// has no `slide`.
    pub slide: SignedDuration,
    /// Anomaly detector, if the spec has one.
    pub detector: Option<Detector>,
}

impl Deref for Spec {
    type Target = WindowSpec;

    fn deref(&self) -> &WindowSpec {
        &self.written
    }
}

/// Compiles the windows of a configuration over the datasets of `schemas`.
///
/// # Errors
///
/// Returns an error that names the spec if its id is repeated, its dataset or a field is unknown,
/// or a value is out of range.
pub fn compile(specs: &[WindowSpec], schemas: &Schemas) -> Result<Vec<Spec>, ConfigError> {
    let mut ids = BTreeSet::new();
    let specs = specs.iter().map(|spec| {
        if !ids.insert(spec.id.as_str()) {
            return Err(ConfigError::new(format!("window {}", spec.id), "duplicate id"));
        }
        if let Some(message) = wrong_name(spec, schemas) {
            return Err(ConfigError::new(format!("window {}", spec.id), message));
        }
        Spec::compile(spec, schemas)
    });
    specs.collect()
}

/// Returns an error message for a name that the dataset lacks or that a list repeats.
///
/// An unknown dataset is reported by [`Spec::compile`].
fn wrong_name(spec: &WindowSpec, schemas: &Schemas) -> Option<String> {
    let lists = [
        ("key", &spec.key),
        ("measures", &spec.measures),
        ("rate", &spec.rate),
        ("count_by", &spec.count_by),
    ];
    for (list, names) in lists {
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
            return Some(format!("{list} names {twice} twice"));
        }
    }
    let fields = schemas.get(&spec.dataset)?;
    let is_attribute = |name: &String| fields.attributes.contains_key(name);
    let is_measure = |name: &String| fields.measure(name).is_some();
    let have = |names: &mut dyn Iterator<Item = &String>| {
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    if let Some(name) = spec.key.iter().find(|name| *name != "entity" && !is_attribute(name)) {
        let there = have(&mut fields.attributes.keys());
        return Some(format!("key {name:?} is neither entity nor one of the attributes {there}"));
    }
    if let Some(name) = spec.measures.iter().find(|name| !is_measure(name)) {
        return Some(format!("measures {name:?} is none of {}", have(&mut fields.measures.keys())));
    }
    if let Some(name) = spec.count_by.iter().find(|name| !is_attribute(name) && !is_measure(name)) {
        let there = have(&mut fields.attributes.keys().chain(fields.measures.keys()));
        return Some(format!("count_by {name:?} is none of {there}"));
    }
    let results = window_fields(spec, fields);
    let evaluated = spec.anomaly.iter().flat_map(|anomaly| &anomaly.measures);
    let unknown = evaluated.into_iter().find(|name| results.measure(name).is_none())?;
    Some(format!("anomaly: measures {unknown:?} is none of {}", have(&mut results.measures.keys())))
}

impl Spec {
    fn compile(spec: &WindowSpec, schemas: &Schemas) -> Result<Self, ConfigError> {
        let refuse = |message: String| ConfigError::new(format!("window {}", spec.id), message);
        let (size, slide) = (spec.size.0, spec.slide.unwrap_or(spec.size).0);
        let settings = [spec.delay, spec.allowed_lateness, spec.idle_timeout, spec.retention];
        let is_long = |length: SignedDuration| length > MAX_LENGTH;
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
        };
        let message = if !is_name(&spec.id) {
            Some("the id takes letters, digits and hyphens".to_owned())
        } else if schemas.get(&spec.dataset).is_none() {
            Some(format!("dataset {:?} is none of {}", spec.dataset, schemas.names()))
        } else if size.as_secs() == 0 || slide.as_secs() == 0 || slide > size {
            Some("size and slide are at least 1s, and slide is no longer than size".to_owned())
        } else if size.subsec_nanos() != 0 || slide.subsec_nanos() != 0 {
            Some("size and slide are whole seconds".to_owned())
        } else if is_long(size) || settings.iter().any(|length| is_long(length.0)) {
            Some("a length of time is more than a hundred years".to_owned())
        } else if spec.idle_timeout.0 < SignedDuration::from_secs(1) {
            Some("idle_timeout is less than 1s: every shard would be idle".to_owned())
        } else if spec.distinct > MAX_DISTINCT {
            Some(format!(
                "distinct is more than {MAX_DISTINCT}, which an item of the store cannot hold"
            ))
        } else if size.as_secs() > MAX_OVERLAP * slide.as_secs() {
            Some(format!("an event would be in more than {MAX_OVERLAP} windows"))
        } else if spec.key.is_empty() {
            Some("key is empty: expected entity or attributes".to_owned())
        } else if spec.retention < spec.allowed_lateness {
            Some(
                "retention is shorter than allowed_lateness: a late event would start a new window"
                    .to_owned(),
            )
        } else if !spec.quantiles.iter().all(|it| (0.0..=1.0).contains(it)) {
            Some("quantiles are from 0 to 1".to_owned())
        } else {
            let unknown = spec.rate.iter().find(|name| !spec.measures.contains(name));
            unknown.map(|name| format!("rate {name:?} is none of the measures"))
        };
        if let Some(message) = message {
            return Err(refuse(message));
        }
        let detector = |anomaly| {
            Detector::compile(anomaly, slide).map_err(|error| {
                ConfigError::new(format!("window {}: anomaly", spec.id), error.to_string())
            })
        };
        let detector = spec.anomaly.as_ref().map(detector).transpose()?;
        Ok(Self { written: spec.clone(), slide, detector })
    }

    /// Returns true if `event` is a reading of the spec's dataset.
    #[must_use]
    pub fn takes(&self, event: &Event<'_>) -> bool {
        event.kind == Kind::Reading && event.dataset == self.dataset
    }

    /// Returns the event time or arrival time of `event`, as the spec chooses.
    #[must_use]
    pub fn time_of(&self, event: &Event<'_>) -> Timestamp {
        match self.time {
            TimeBasis::Event => event.event_time,
            TimeBasis::Received => event.received_at,
        }
    }

    /// Returns the group key of `event`: its parts joined by `/`, with `unknown` for a missing
    /// part.
    #[must_use]
    pub fn key_of(&self, event: &Event<'_>) -> String {
        let mut text = String::new();
        for (position, name) in self.key.iter().enumerate() {
            if position > 0 {
                text.push('/');
            }
            text.push_str(match name.as_str() {
                "entity" => &event.entity,
                _ => event.attributes.get(name).map_or("unknown", |value| value),
            });
        }
        if text.is_empty() {
            text.push_str("unknown");
        }
        shortened(&text, MAX_KEY_CHARS).into_owned()
    }

    /// Returns the windows that hold `time`, earliest first.
    ///
    /// Windows start at multiples of the slide since 1970. A window whose start or end a
    /// [`Timestamp`] cannot represent is left out.
    pub fn windows_of(&self, time: Timestamp) -> impl Iterator<Item = Span> + use<> {
        let (size, slide) = (self.size.0.as_secs(), self.slide.as_secs());
        let last = period(time, slide);
        // The latest window that ends at or before `time` starts at least one size earlier.
        let before = (floor_second(time) - size).div_euclid(slide);
        let span = move |number: i64| {
            let start = number * slide;
            let (start, end) =
                (Timestamp::from_second(start), Timestamp::from_second(start + size));
            Some(Span { start: start.ok()?, end: end.ok()? })
        };
        (before + 1..=last).filter_map(span)
    }

    /// Returns the latest end of the windows that are closed at `watermark`.
    #[must_use]
    pub fn closes_until(&self, watermark: Timestamp) -> Timestamp {
        watermark.checked_sub(self.delay.0).unwrap_or(Timestamp::MIN)
    }

    /// Returns true if an event is too late for the window `span` at `watermark`.
    #[must_use]
    pub fn is_late(&self, span: Span, watermark: Timestamp) -> bool {
        let limit = span.end.checked_add(self.delay.0.saturating_add(self.allowed_lateness.0));
        limit.is_ok_and(|limit| watermark >= limit)
    }
}
