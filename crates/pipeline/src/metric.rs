//! Metrics aggregated from the events of one batch.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::Deserialize;

use tributary_model::config_error::ConfigError;
use tributary_model::domain::Schemas;
use tributary_model::event::{Event, Kind};
use tributary_model::id::Id;
use tributary_model::time::period;

/// Maximum number of dimensions of a metric, as CloudWatch accepts them.
///
/// See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>.
pub const MAX_DIMENSIONS: usize = 30;

/// Maximum of [`MetricSpec::max_series`]: the known series of a metric and day are one item of a
/// store.
pub const MAX_SERIES: usize = 10_000;

/// Dimension value of series beyond [`MetricSpec::max_series`].
const OTHER: &str = "other";

const MINUTES_PER_DAY: i64 = 24 * 60;

/// A metric as configured in `pipeline.toml`, which explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the configuration file explains its fields where users read them")]
pub struct MetricSpec {
    pub name: String,
    pub dataset: String,
    pub measure: Option<String>,
    pub dimensions: Vec<String>,
    #[serde(default = "default_max_series")]
    pub max_series: usize,
}

fn default_max_series() -> usize {
    200
}

/// Unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Events.
    Count,
    /// A measure in `_pct`.
    Percent,
    /// Any other measure: its name contains the unit.
    None,
}

/// One series of one minute: its distinct values, each with its count.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// Name of the metric.
    pub name: String,
    /// Dimension names and values.
    pub dimensions: Vec<(String, String)>,
    /// The minute.
    pub time: Timestamp,
    /// The distinct values, ascending.
    pub values: Vec<f64>,
    /// Number of occurrences of each value.
    pub counts: Vec<f64>,
    /// Unit of the values.
    pub unit: Unit,
}

/// One metric on one UTC day of arrival: what `max_series` limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricDay {
    /// Index of the metric.
    pub metric: usize,
    /// Number of the day since 1970.
    pub day: i64,
}

/// Metrics of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aggregated {
    /// One datum for each series and minute, in a fixed order.
    pub data: Vec<Datum>,
    /// Number of values counted under `other`.
    pub others: f64,
}

/// Aggregates the events of one batch.
#[derive(Debug)]
pub struct Aggregator<'s> {
    specs: &'s [MetricSpec],
    series: HashMap<Key, Series>,
    /// Reused for each lookup, so that an existing series costs no allocation.
    key: Key,
}

/// Key of a series: the index of the metric, the minute, and the dimension values, each followed by
/// a character that none of them contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    metric: usize,
    minute: i64,
    values: String,
}

/// Values of one series and minute.
#[derive(Debug)]
struct Series {
    /// Hash of the dimension values.
    hash: u64,
    /// Number of series of the batch before this one.
    position: usize,
    /// Number of occurrences by the bits of a value (finite, with -0 normalized to 0).
    counts: HashMap<u64, f64>,
}

const END: char = '\u{1f}';

/// Checks the metrics of a configuration.
///
/// # Errors
///
/// Names the metric whose dataset is unknown, that has too many dimensions, or whose `max_series`
/// is 0 or above [`MAX_SERIES`].
pub fn check(specs: &[MetricSpec], schemas: &Schemas) -> Result<(), ConfigError> {
    for spec in specs {
        let owner = format!("metric {}", spec.name);
        schemas.require(&owner, &spec.dataset)?;
        if spec.dimensions.len() > MAX_DIMENSIONS {
            let message = format!("has more than CloudWatch's {MAX_DIMENSIONS} dimensions");
            return Err(ConfigError::new(owner, message));
        }
        if spec.max_series == 0 {
            return Err(ConfigError::new(owner, "max_series is 0, which leaves only `other`"));
        }
        if spec.max_series > MAX_SERIES {
            let message = format!("max_series is {}, above {MAX_SERIES}", spec.max_series);
            return Err(ConfigError::new(owner, message));
        }
    }
    Ok(())
}

impl<'s> Aggregator<'s> {
    /// Creates an empty aggregator for the metrics of a checked configuration.
    #[must_use]
    pub fn new(specs: &'s [MetricSpec]) -> Self {
        Self { specs, series: HashMap::new(), key: Key::default() }
    }

    /// Adds one event that arrived at `arrival_time`.
    ///
    /// Metric time is arrival time: event times may be years old, and a metric store accepts
    /// recent times only. Window events are skipped: their readings were counted before.
    pub fn add(&mut self, event: &Event<'_>, arrival_time: Timestamp) {
        if event.kind != Kind::Reading {
            return;
        }
        let specs = self.specs.iter().enumerate();
        for (index, spec) in specs.filter(|(_, spec)| spec.dataset == event.dataset) {
            let value = match &spec.measure {
                None => Some(1.0),
                Some(measure) => event.measures.get(measure).copied(),
            };
            let Some(value) = value else { continue };
            self.key.set(index, spec, event, arrival_time);
            // Adding 0 merges -0 into 0.
            let bits = (value + 0.0).to_bits();
            if let Some(series) = self.series.get_mut(&self.key) {
                *series.counts.entry(bits).or_default() += 1.0;
            } else {
                let hash = Id::of_text(&[&self.key.values]).prefix();
                let (position, counts) = (self.series.len(), HashMap::from([(bits, 1.0)]));
                self.series.insert(self.key.clone(), Series { hash, position, counts });
            }
        }
    }

    /// Returns the hashes of the batch's series by metric and day, in the order of their first
    /// events.
    #[must_use]
    pub fn series(&self) -> BTreeMap<MetricDay, Vec<u64>> {
        let mut series: Vec<_> = self.series.iter().collect();
        series.sort_by_key(|(_, series)| series.position);
        let mut days: BTreeMap<MetricDay, Vec<u64>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for (key, series) in series {
            if seen.insert((key.day(), series.hash)) {
                days.entry(key.day()).or_default().push(series.hash);
            }
        }
        days
    }

    /// Returns the metrics of the batch. Series that are not `admitted` count under `other`, in
    /// every dimension.
    #[must_use]
    pub fn finish(self, admitted: &BTreeMap<MetricDay, HashSet<u64>>) -> Aggregated {
        let mut others = 0.0;
        let mut merged: BTreeMap<Key, HashMap<u64, f64>> = BTreeMap::new();
        for (mut key, series) in self.series {
            if !admitted.get(&key.day()).is_some_and(|it| it.contains(&series.hash)) {
                others += series.counts.values().sum::<f64>();
                let other = format!("{OTHER}{END}");
                key.values = other.repeat(self.specs[key.metric].dimensions.len());
            }
            let counts = merged.entry(key).or_default();
            for (bits, count) in series.counts {
                *counts.entry(bits).or_default() += count;
            }
        }
        let data = merged.into_iter().map(|(key, counts)| datum(self.specs, &key, counts));
        Aggregated { data: data.collect(), others }
    }
}

/// Returns the datum of one series and minute.
fn datum(specs: &[MetricSpec], key: &Key, counts: HashMap<u64, f64>) -> Datum {
    let spec = &specs[key.metric];
    let names = spec.dimensions.iter().cloned();
    let dimensions = names.zip(key.values.split_terminator(END).map(str::to_owned)).collect();
    let mut counts: Vec<_> =
        counts.into_iter().map(|(bits, count)| (f64::from_bits(bits), count)).collect();
    counts.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (values, counts) = counts.into_iter().unzip();
    Datum {
        name: spec.name.clone(),
        dimensions,
        time: Timestamp::from_second(key.minute * 60).unwrap_or(Timestamp::MIN),
        values,
        counts,
        unit: spec.unit(),
    }
}

impl Key {
    /// Replaces the key by that of an event's series.
    fn set(&mut self, metric: usize, spec: &MetricSpec, event: &Event<'_>, time: Timestamp) {
        self.metric = metric;
        self.minute = period(time, 60);
        self.values.clear();
        for name in &spec.dimensions {
            push_dimension(&mut self.values, event, name);
            self.values.push(END);
        }
    }

    fn day(&self) -> MetricDay {
        MetricDay { metric: self.metric, day: self.minute.div_euclid(MINUTES_PER_DAY) }
    }
}

impl MetricSpec {
    /// Returns the hash of what makes a series: metrics of one name may have other dimensions.
    #[must_use]
    pub fn definition(&self) -> Id {
        let measure = self.measure.as_deref().unwrap_or_default();
        let parts = [self.name.as_str(), &self.dataset, measure];
        let dimensions = self.dimensions.iter().map(String::as_str);
        Id::of_text(&parts.into_iter().chain(dimensions).collect::<Vec<_>>())
    }

    fn unit(&self) -> Unit {
        match &self.measure {
            None => Unit::Count,
            Some(measure) if measure.ends_with("_pct") => Unit::Percent,
            Some(_) => Unit::None,
        }
    }
}

/// Appends the value of a dimension; `unknown` where the event has none.
fn push_dimension(out: &mut String, event: &Event<'_>, name: &str) {
    use std::fmt::Write as _;

    let start = out.len();
    match name {
        "dataset" => push_text(out, &event.dataset),
        "kind" => out.push_str(event.kind.as_str()),
        "entity" => push_text(out, &event.entity),
        _ => match (event.attributes.get(name), event.measures.get(name)) {
            (Some(text), _) => push_text(out, text),
            // Writing to a string cannot fail.
            (None, Some(number)) => drop(write!(out, "{number}")),
            (None, None) => {}
        },
    }
    if out[start..].trim_matches(' ').is_empty() {
        out.truncate(start);
        out.push_str("unknown");
    }
}

/// Appends `text` without the character that separates values in a [`Key`].
fn push_text(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c == END { '?' } else { c }));
}

#[cfg(test)]
mod tests;
