//! Partial aggregates of window events, mergeable in any order.

use std::collections::BTreeMap;

use base64_simd::STANDARD;
use datasketches::tdigest::TDigestMut;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::spec::Spec;
use tributary_model::event::{Event, Measures};
use tributary_model::id::shortened;

/// Accuracy of a t-digest: about 100 centroids, 1.6 kB.
const DIGEST_K: u16 = 100;

/// Maximum number of distinct values of a field that are counted separately. The first in text
/// order win.
pub(crate) const MAX_VALUES: usize = 50;

/// Key of the values beyond [`MAX_VALUES`].
const OTHER: &str = "other";

/// Maximum length of a counted value in characters. Longer values are shortened.
const MAX_VALUE_CHARS: usize = 128;

/// Contribution of one event to a window.
///
/// An owned copy, so that the record can be dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Id of the event and its values: see [`super::seen`].
    pub id: u64,
    /// Event time or arrival time, as the spec chooses.
    pub time: Timestamp,
    /// Values of the spec's measures, in the spec's order.
    pub values: Vec<Option<f64>>,
    /// Values of the spec's `count_by` fields, in the spec's order.
    pub counted: Vec<Option<String>>,
}

impl Sample {
    /// Extracts the contribution of `event` to the windows of `spec`.
    #[must_use]
    pub fn of(event: &Event<'_>, spec: &Spec) -> Self {
        let value = |name: &String| event.measures.get(name).copied();
        let counted = |name: &String| match event.attributes.get(name) {
            Some(text) => Some(shortened(text, MAX_VALUE_CHARS).into_owned()),
            None => event.measures.get(name).map(ToString::to_string),
        };
        Self {
            id: super::seen::id_of(event),
            time: spec.time_of(event),
            values: spec.measures.iter().map(value).collect(),
            counted: spec.count_by.iter().map(counted).collect(),
        }
    }
}

/// Aggregate of some events of one window.
///
/// [`Aggregate::merge`] is associative and commutative. Sums are compensated, so the order affects
/// the last digits at most. A sum that overflows is clamped to the largest finite number and has no
/// standard deviation. An aggregate does not know its events: see [`super::seen`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Number of events.
    pub count: u64,
    /// Statistics by measure.
    pub measures: BTreeMap<String, Moments>,
    /// Number of events by field and value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Statistics of one measure over at least one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    n: u64,
    sum: Sum,
    /// Sum of squared distances from the mean, clamped to the largest finite number.
    m2: f64,
    min: f64,
    max: f64,
    first: Reading,
    last: Reading,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

/// Compensated sum: the sum and the rounding error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sum(f64, f64);

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.0 + value;
        self.1 += if self.0.abs() >= value.abs() {
            (self.0 - sum) + value
        } else {
            (value - sum) + self.0
        };
        self.0 = sum;
        self.bound();
    }

    fn merge(&mut self, other: Self) {
        self.add(other.0);
        self.1 += other.1;
        self.bound();
    }

    /// Clamps the sum to finite numbers: JSON has no infinity.
    fn bound(&mut self) {
        if !(self.0.is_finite() && self.1.is_finite()) {
            *self = Self(self.0.clamp(f64::MIN, f64::MAX), 0.0);
        }
    }

    fn get(self) -> f64 {
        self.0 + self.1
    }
}

/// Value and time of one reading. Readings of the same time are ordered by event id.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    #[serde(with = "tributary_model::time::as_rfc3339")]
    time: Timestamp,
    id: u64,
    value: f64,
}

impl Reading {
    fn place(self) -> (Timestamp, u64) {
        (self.time, self.id)
    }
}

/// A t-digest. In JSON it is the base64 of its double-precision form.
#[derive(Clone, Debug)]
struct Digest(TDigestMut);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.clone().serialize() == other.0.clone().serialize()
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode_to_string(self.0.clone().serialize()))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode_to_vec(text).map_err(de::Error::custom)?;
        TDigestMut::deserialize(&bytes).map(Self).map_err(de::Error::custom)
    }
}

impl Aggregate {
    /// Adds one event.
    pub fn add(&mut self, sample: &Sample, spec: &Spec) {
        self.count += 1;
        for (name, value) in spec.measures.iter().zip(&sample.values) {
            let Some(value) = *value else { continue };
            let reading = Reading { time: sample.time, id: sample.id, value };
            match self.measures.get_mut(name) {
                Some(moments) => moments.add(reading),
                None => {
                    let moments = Moments::of(reading, !spec.quantiles.is_empty());
                    self.measures.insert(name.clone(), moments);
                }
            }
        }
        for (name, value) in spec.count_by.iter().zip(&sample.counted) {
            if let Some(value) = value {
                count(self.counts.entry(name.clone()).or_default(), value, 1);
            }
        }
    }

    /// Merges the aggregate of other events.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for (name, moments) in &other.measures {
            match self.measures.get_mut(name) {
                Some(own) => own.merge(moments),
                None => {
                    self.measures.insert(name.clone(), moments.clone());
                }
            }
        }
        for (name, counts) in &other.counts {
            let own = self.counts.entry(name.clone()).or_default();
            for (value, more) in counts {
                count(own, value, *more);
            }
        }
    }

    /// Returns the measures of the window event: `count`, and the statistics of each measure under
    /// the names documented in `pipeline.toml`.
    #[must_use]
    pub fn results(&self, spec: &Spec) -> Measures<'static> {
        let mut results = Measures::with_capacity(1 + 8 * self.measures.len());
        #[expect(clippy::cast_precision_loss, reason = "less than 2^53 events")]
        let float = |count: u64| count as f64;
        results.push("count", float(self.count));
        for (name, moments) in &self.measures {
            let mut put = |suffix: &str, value: Option<f64>| {
                if let Some(value) = value.filter(|value| value.is_finite()) {
                    results.push(format!("{name}_{suffix}"), value);
                }
            };
            put("mean", Some(moments.mean()));
            put("min", Some(moments.min));
            put("max", Some(moments.max));
            put("sum", Some(moments.sum.get()));
            put("std", moments.std());
            put("first", Some(moments.first.value));
            put("last", Some(moments.last.value));
            for quantile in &spec.quantiles {
                put(&format!("p{}", percent(*quantile)), moments.quantile(*quantile));
            }
            if spec.rate.contains(name) {
                put("per_h", moments.per_hour());
            }
        }
        for (name, counts) in &self.counts {
            for (value, count) in counts {
                results.push(format!("count_{name}_{value}"), float(*count));
            }
        }
        results
    }
}

/// Adds `more` to the count of `value`.
///
/// Beyond [`MAX_VALUES`] values, the last in text order moves to [`OTHER`]. Which values are
/// counted separately therefore depends on the values and not on their order.
fn count(counts: &mut BTreeMap<String, u64>, value: &str, more: u64) {
    if let Some(own) = counts.get_mut(value) {
        *own += more;
        return;
    }
    counts.insert(value.to_owned(), more);
    let is_own = |name: &&String| *name != OTHER;
    if counts.keys().filter(is_own).count() > MAX_VALUES
        && let Some(last) = counts.keys().rev().find(is_own).cloned()
    {
        let beyond = counts.remove(&last).unwrap_or_default();
        *counts.entry(OTHER.to_owned()).or_default() += beyond;
    }
}

/// Formats a quantile as a percentage: `50`, `99.9`.
pub(crate) fn percent(quantile: f64) -> String {
    let percent = (quantile * 100_000.0).round() / 1_000.0;
    percent.to_string()
}

/// Clamps a sum of squares to the largest finite number.
fn finite(squares: f64) -> f64 {
    if squares.is_finite() { squares } else { f64::MAX }
}

impl Moments {
    fn of(reading: Reading, has_digest: bool) -> Self {
        let digest = has_digest.then(|| TDigestMut::new(DIGEST_K).ok()).flatten();
        let mut moments = Self {
            n: 1,
            sum: Sum(reading.value, 0.0),
            m2: 0.0,
            min: reading.value,
            max: reading.value,
            first: reading,
            last: reading,
            digest: digest.map(Digest),
        };
        if let Some(digest) = &mut moments.digest {
            digest.0.update(reading.value);
        }
        moments
    }

    fn add(&mut self, reading: Reading) {
        let before = self.mean();
        self.n += 1;
        self.sum.add(reading.value);
        // Welford, "Note on a method for calculating corrected sums of squares and products"
        // (1962).
        self.m2 = finite(self.m2 + (reading.value - before) * (reading.value - self.mean()));
        self.merge_extremes(reading, reading, reading.value, reading.value);
        if let Some(digest) = &mut self.digest {
            digest.0.update(reading.value);
        }
    }

    /// Merges the statistics of two sets of readings.
    ///
    /// Chan, Golub and `LeVeque`, "Updating formulae and a pairwise algorithm for computing sample
    /// variances" (1979).
    fn merge(&mut self, other: &Self) {
        let distance = other.mean() - self.mean();
        let (own, others) = (self.float_n(), other.float_n());
        let between = distance * distance * own * others / (own + others);
        self.m2 = finite(self.m2 + other.m2 + between);
        self.n += other.n;
        self.sum.merge(other.sum);
        self.merge_extremes(other.first, other.last, other.min, other.max);
        if let (Some(own), Some(others)) = (&mut self.digest, &other.digest) {
            own.0.merge(&others.0);
        }
    }

    fn merge_extremes(&mut self, first: Reading, last: Reading, min: f64, max: f64) {
        if first.place() < self.first.place() {
            self.first = first;
        }
        if last.place() > self.last.place() {
            self.last = last;
        }
        self.min = self.min.min(min);
        self.max = self.max.max(max);
    }

    #[expect(clippy::cast_precision_loss, reason = "less than 2^53 events")]
    fn float_n(&self) -> f64 {
        self.n as f64
    }

    fn mean(&self) -> f64 {
        self.sum.get() / self.float_n()
    }

    /// Returns the population standard deviation: a window holds all its events.
    fn std(&self) -> Option<f64> {
        (self.m2 < f64::MAX).then(|| (self.m2.max(0.0) / self.float_n()).sqrt())
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        self.digest.as_ref()?.0.clone().quantile(quantile).ok()?
    }

    /// Returns the change per hour from the first to the last reading, or `None` if both have the
    /// same time.
    fn per_hour(&self) -> Option<f64> {
        let seconds = self.last.time.duration_since(self.first.time).as_secs_f64();
        (seconds > 0.0).then(|| (self.last.value - self.first.value) * 3_600.0 / seconds)
    }
}
