//! Metrics aggregated from the events of one batch.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use tributary_model::config_error::ConfigError;
use tributary_model::domain::Schemas;
use tributary_model::event::{Event, Kind};
use tributary_model::time::period;

/// The most distinct values one CloudWatch datum carries.
///
/// See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>.
pub const MAX_VALUES: usize = 150;

/// The longest dimension value CloudWatch takes.
const MAX_DIMENSION_BYTES: usize = 1024;

/// CloudWatch takes times up to two weeks back; an hour is kept for the way there.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(14 * 24 - 1);

/// Dimension value of series beyond [`MetricSpec::max_series`].
const OTHER: &str = "other";

/// A metric as configured in `pipeline.toml`, which explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the configuration file explains its fields where users read them")]
pub struct MetricSpec {
    pub name: String,
    pub dataset: String,
    #[serde(default)]
    pub measure: Option<String>,
    pub dimensions: Vec<String>,
    #[serde(default = "default_max_series")]
    pub max_series: usize,
}

fn default_max_series() -> usize {
    200
}

/// The unit of a metric, as CloudWatch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Events.
    Count,
    /// A measure in `_pct`.
    Percent,
    /// Any other measure: its name contains the unit.
    None,
}

/// One series of one minute: at most [`MAX_VALUES`] distinct values, each with its count.
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
    series: HashMap<Key, Series>,
    series_of_spec: Vec<usize>,
    /// Reused for each lookup, so that an existing series costs no allocation.
    key: Key,
}

/// Key of a series: the index of the metric, the minute, and the dimension values joined by a
/// character that none of them contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    spec: usize,
    minute: i64,
    values: String,
}

const JOIN: char = '\u{1f}';

#[derive(Debug, Default)]
struct Series {
    /// Number of occurrences by the bits of a value (finite, with -0 normalized to 0).
    counts: HashMap<u64, u64>,
}

/// Checks the metrics of a configuration.
///
/// |# Errors
///
/// Names the metric whose dataset is unknown, that has too many dimensions, or whose `max_series`
/// is 0.
pub fn check(specs: &[MetricSpec], schemas: &Schemas) -> Result<(), ConfigError> {
    for spec in specs {
        let owner = format!("metric {}", spec.name);
        schemas.require(&owner, &spec.dataset)?;
        if spec.dimensions.len() > 30 {
            return Err(ConfigError::new(owner, "has more than CloudWatch's 30 dimensions"));
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
    /// Metric time is arrival time: event times may be years old, and CloudWatch takes two weeks.
    /// Of readings only: what windows say was counted before.
    pub fn add(&mut self, event: &Event<'_>, arrival_time: Timestamp) {
        if event.kind != Kind::Reading {
            return;
        }
        for (index, spec) in self.specs.iter().enumerate() {
            if spec.dataset != event.dataset {
                continue;
            }
            let value = match &spec.measure {
                None => 1.0,
                Some(measure) => match event.measures.get(measure) {
                    Some(&value) => value,
                    None => continue,
                },
            };
            self.find_series(index, spec, event, arrival_time);
            // Adding 0 merges -0 into 0.
            let bits = (value + 0.0).to_bits();
            match self.series.get_mut(&self.key) {
                Some(series) => *series.counts.entry(bits).or_default() += 1,
                None => {
                    let series = Series { counts: HashMap::from([(bits, 1)]) };
                    self.series.insert(self.key.clone(), series);
                }
            }
        }
    }

    /// Stores the key of the event's series in `self.key`. If the batch has reached the metric's
    /// maximum number of series, that is the key of `other`.
    fn find_series(&mut self, index: usize, spec: &MetricSpec, event: &Event<'_>, time: Timestamp) {
        self.key.spec = index;
        self.key.minute = period(time, 60);
        self.key.values.clear();
        for (position, name) in spec.dimensions.iter().enumerate() {
            if position > 0 {
                self.key.values.push(JOIN);
            }
            push_dimension(&mut self.key.values, event, name);
        }
        if self.series.contains_key(&self.key) {
            return;
        }
        if self.series_of_spec[index] < spec.max_series {
            self.series_of_spec[index] += 1;
            return;
        }
        self.key.values.clear();
        for position in 0..spec.dimensions.len() {
            if position > 0 {
                self.key.values.push(JOIN);
            }
            self.key.values.push_str(OTHER);
        }
    }

    /// Returns the data in a fixed order. `now` bounds the age of a datum.
    #[must_use]
    pub fn finish(self, now: Timestamp) -> Vec<Datum> {
        let oldest = now - MAX_AGE;
        let mut series: Vec<_> = self.series.into_iter().collect();
        series.sort_by(|(a, _), (b, _)| a.cmp(b));

        let mut data = Vec::with_capacity(series.len());
        for (key, series) in series {
            let spec = &self.specs[key.spec];
            let dimensions: Vec<_> = spec
                .dimensions
                .iter()
                .cloned()
                .zip(key.values.split(JOIN).map(str::to_owned))
                .collect();
            let minute = Timestamp::from_second(key.minute * 60).unwrap_or(oldest);
            let mut counts: Vec<_> =
                series.counts.into_iter().map(|(bits, n)| (f64::from_bits(bits), n)).collect();
            counts.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            for part in counts.chunks(MAX_VALUES) {
                data.push(Datum {
                    name: spec.name.clone(),
                    dimensions: dimensions.clone(),
                    time: minute.max(oldest),
                    values: part.iter().map(|&(value, _)| value).collect(),
                    counts: part.iter().map(|&(_, n)| as_f64(n)).collect(),
                    unit: spec.unit(),
                });
            }
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

#[expect(clippy::cast_precision_loss, reason = "counts of one batch, far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Appends the value of a dimension as CloudWatch takes it: printable ASCII, not empty, at most
/// 1,024 bytes. A character it does not take becomes `?`.
fn push_dimension(out: &mut String, event: &Event<'_>, name: &str) {
    use std::fmt::Write as _;

    let start = out.len();
    match name {
        "dataset" => push_ascii(out, &event.dataset),
        "kind" => out.push_str(event.kind.as_str()),
        "entity" => push_ascii(out, &event.entity),
        _ => match (event.attributes.get(name), event.measures.get(name)) {
            (Some(text), _) => push_ascii(out, text),
            // Writing to a string cannot fail.
            (None, Some(number)) => drop(write!(out, "{number}")),
            (None, None) => {}
        },
    }
    if out[start..].trim().is_empty() {
        out.truncate(start);
        out.push_str("unknown");
    }
}

fn push_ascii(out: &mut String, text: &str) {
    let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    out.extend(text.chars().take(MAX_DIMENSION_BYTES).map(printable));
}

#[cfg(test)]
mod tests;
