//! Metrics aggregated from the events of one batch.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

use tributary_model::config_error::ConfigError;
use tributary_model::domain::Schemas;
use tributary_model::event::{Event, Kind};
use tributary_model::time::period;

/// Maximum number of dimensions of a metric, as CloudWatch accepts them.
///
/// See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>.
pub const MAX_DIMENSIONS: usize = 30;

/// Dimension value of series beyond [`MetricSpec::max_series`].
const OTHER: &str = "other";

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

/// Aggregates the events of one batch.
#[derive(Debug)]
pub struct Aggregator<'s> {
    specs: &'s [MetricSpec],
    /// Number of occurrences by series and by the bits of a value (finite, with -0 normalized to 0).
    series: HashMap<Key, HashMap<u64, f64>>,
    series_of_spec: Vec<usize>,
    /// Reused for each lookup, so that an existing series costs no allocation.
    key: Key,
}

/// Key of a series: the index of the metric, the minute, and the dimension values, each followed by
/// a character that none of them contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    spec: usize,
    minute: i64,
    values: String,
}

const END: char = '\u{1f}';

/// Checks the metrics of a configuration.
///
/// # Errors
///
/// Names the metric whose dataset is unknown, that has too many dimensions, or whose `max_series`
/// is 0.
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
    }
    Ok(())
}

impl<'s> Aggregator<'s> {
    /// Creates an empty aggregator for the metrics of a checked configuration.
    #[must_use]
    pub fn new(specs: &'s [MetricSpec]) -> Self {
        Self {
            specs,
            series: HashMap::new(),
            series_of_spec: vec![0; specs.len()],
            key: Key::default(),
        }
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
            self.find_series(index, spec, event, arrival_time);
            // Adding 0 merges -0 into 0.
            let bits = (value + 0.0).to_bits();
            if let Some(counts) = self.series.get_mut(&self.key) {
                *counts.entry(bits).or_default() += 1.0;
            } else {
                self.series.insert(self.key.clone(), HashMap::from([(bits, 1.0)]));
            }
        }
    }

    /// Stores the key of the event's series in `self.key`. If the batch has reached the metric's
    /// maximum number of series, that is the key of `other`.
    fn find_series(&mut self, index: usize, spec: &MetricSpec, event: &Event<'_>, time: Timestamp) {
        self.key.spec = index;
        self.key.minute = period(time, 60);
        self.key.values.clear();
        for name in &spec.dimensions {
            push_dimension(&mut self.key.values, event, name);
            self.key.values.push(END);
        }
        if self.series.contains_key(&self.key) {
            return;
        }
        if self.series_of_spec[index] < spec.max_series {
            self.series_of_spec[index] += 1;
            return;
        }
        self.key.values.clear();
        for _ in &spec.dimensions {
            self.key.values.push_str(OTHER);
            self.key.values.push(END);
        }
    }

    /// Returns one datum for each series and minute, in a fixed order.
    #[must_use]
    pub fn finish(self) -> Vec<Datum> {
        let mut series: Vec<_> = self.series.into_iter().collect();
        series.sort_by(|(a, _), (b, _)| a.cmp(b));

        let mut data = Vec::with_capacity(series.len());
        for (key, counts) in series {
            let spec = &self.specs[key.spec];
            let names = spec.dimensions.iter().cloned();
            let dimensions =
                names.zip(key.values.split_terminator(END).map(str::to_owned)).collect();
            let mut counts: Vec<_> =
                counts.into_iter().map(|(bits, count)| (f64::from_bits(bits), count)).collect();
            counts.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            let (values, counts) = counts.into_iter().unzip();
            data.push(Datum {
                name: spec.name.clone(),
                dimensions,
                time: Timestamp::from_second(key.minute * 60).unwrap_or(Timestamp::MIN),
                values,
                counts,
                unit: spec.unit(),
            });
        }
        data
    }
}

impl MetricSpec {
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
