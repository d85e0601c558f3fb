//! Anomalies: what in a closed window is not as it usually is for its entity.
//!
//! A [`Detector`] holds one measure of a window against the [`Baseline`] of its (spec, key) and
//! gives a z-score, a [`AnomalyKind`] where there is something to say, and the baseline after it.
//! It is pure, and a measure costs the same however long its history is: nothing is kept but a
//! dozen numbers, and with [`Seasonal::HourOfDay`] one for each hour of the day.
//!
//! How it works, and on whose shoulders it stands:
//!
//! - **Level and trend** are Brown's double exponential smoothing (R. G. Brown, *Smoothing,
//!   Forecasting and Prediction of Discrete Time Series*, 1963): exponentially weighted means of the
//!   values and of those means. What a window is held against is the forecast made before it.
//! - **Robustness** is that of S. Gelper, R. Fried and C. Croux, *Robust forecasting with exponential
//!   and Holt-Winters smoothing*, Journal of Forecasting 29 (2010): forecast errors enter level and
//!   variance cut to a bound (P. J. Huber, *Robust Estimation of a Location Parameter*, 1964), so
//!   that no value can move either far. What is told as an outlier does not enter the level at all.
//! - **Spikes and level shifts** differ by what follows, as in C. Chen and L.-M. Liu, *Joint
//!   Estimation of Model Parameters and Outlier Effects in Time Series*, JASA 88 (1993): outliers on
//!   one side, `accept` windows in a row, are the new level.
//! - **Drifts** are a trend that bends away from the usual one, far for *this* series: the tracking
//!   signal of D. W. Trigg, *Monitoring a Forecasting System*, Operational Research Quarterly 15
//!   (1964), held against the exponentially weighted variance of all such bends.
//! - **Stuck sensors** repeat a value that does not repeat by chance: the probability of a run of
//!   equal values, at the rate at which this series usually repeats itself, is below
//!   one in a million.
//! - **The hour of the day** is the additive season of P. R. Winters, *Forecasting Sales by
//!   Exponentially Weighted Moving Averages*, Management Science 6 (1960), drawn as straight lines
//!   between the middles of the hours, so that short windows see no steps.
//!
//! What must **not** go here: what a window is, and where baselines are kept.

mod measure;
mod season;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use measure::{State, Tuning};

/// The largest score that is given, either way: how far beyond it an outlier is says nothing more.
pub const MAX_Z: f64 = 1e4;

/// Anomaly detection on the windows of a spec, as `pipeline.toml` states it; docs/ANOMALY.md
/// explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the configuration's page explains its fields where users read them"
)]
pub struct AnomalySpec {
    pub measures: Vec<String>,
    #[serde(default = "default_warm_up")]
    pub warm_up: u32,
    #[serde(default = "default_half_life")]
    pub half_life: f64,
    #[serde(default = "default_memory")]
    pub memory: u32,
    #[serde(default = "default_z")]
    pub z: f64,
    #[serde(default = "default_drift_z")]
    pub drift_z: f64,
    #[serde(default = "default_accept")]
    pub accept: u32,
    #[serde(default)]
    pub seasonal: Option<Seasonal>,
    #[serde(default)]
    pub floor: BTreeMap<String, f64>,
}

fn default_warm_up() -> u32 {
    60
}

fn default_half_life() -> f64 {
    5.0
}

fn default_memory() -> u32 {
    720
}

fn default_z() -> f64 {
    6.0
}

fn default_drift_z() -> f64 {
    6.0
}

fn default_accept() -> u32 {
    5
}

/// What a series repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seasonal {
    /// The day, in UTC.
    HourOfDay,
}

/// What an anomaly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// A value away from its level, for a window or two as far as is known by now.
    Spike,
    /// The values are at another level, and stay there.
    LevelShift,
    /// The values move away faster than they ever do.
    Drift,
    /// The value does not change, which it usually does.
    Stuck,
}

impl AnomalyKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Spike, Self::LevelShift, Self::Drift, Self::Stuck];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::LevelShift => "level_shift",
            Self::Drift => "drift",
            Self::Stuck => "stuck",
        }
    }
}

/// What is usual for the measures of one (spec, key): small as JSON, and kept by whoever closes
/// windows. The default is that nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline(BTreeMap<String, State>);

impl Baseline {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What there is to say about one measure of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The measure, such as `temperature_c_mean`.
    pub measure: String,
    /// How far it is from what was expected, in usual deviations: -[`MAX_Z`] to [`MAX_Z`].
    pub z: f64,
    /// What it is, where it is an anomaly.
    pub kind: Option<AnomalyKind>,
}

/// What there is to say about a window: measures in the order of the spec, those left out of which
/// too little is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// One for each measure that was judged.
    #[must_use]
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    /// The measures to add to the window event: `<measure>_z`, each finite.
    pub fn measures(&self) -> impl Iterator<Item = (String, f64)> {
        self.0.iter().map(|finding| (format!("{}_z", finding.measure), finding.z))
    }

    /// The tags to add to the window event: where there is an anomaly `anomaly`,
    /// `anomaly:<measure>` for each and `anomaly_kind:<kind>` for each kind, sorted.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        let mut tags = BTreeSet::new();
        for finding in &self.0 {
            if let Some(kind) = finding.kind {
                tags.insert("anomaly".to_owned());
                tags.insert(format!("anomaly:{}", finding.measure));
                tags.insert(format!("anomaly_kind:{}", kind.as_str()));
            }
        }
        tags.into_iter().collect()
    }
}

/// The value of an [`AnomalySpec`] that cannot be used: which one, and what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

/// An [`AnomalySpec`], checked and ready to judge.
#[derive(Clone, Debug)]
pub struct Detector {
    measures: Vec<(String, Tuning)>,
}

impl Detector {
    /// The detector of a spec, whose windows begin every `step` (its hop, or its size where it has
    /// none).
    ///
    /// # Errors
    ///
    /// When a value of the spec cannot be: says which, and what can.
    pub fn compile(spec: &AnomalySpec, step: SignedDuration) -> Result<Self, SpecError> {
        let fault = |message: String| Err(SpecError(message));
        if spec.measures.is_empty() {
            return fault("measures names none".to_owned());
        }
        if let Some(twice) = (1..spec.measures.len())
            .find(|&index| spec.measures[..index].contains(&spec.measures[index]))
        {
            return fault(format!("measures names {} twice", spec.measures[twice]));
        }
        if !(1.0..=1e4).contains(&spec.half_life) {
            return fault(format!("half_life is 1 to 10000 windows, not {}", spec.half_life));
        }
        let counts = [
            ("warm_up", spec.warm_up, 10, 100_000),
            ("memory", spec.memory, 10, 1_000_000),
            ("accept", spec.accept, 3, 1_000),
        ];
        for (name, value, min, max) in counts {
            if !(min..=max).contains(&value) {
                return fault(format!("{name} is {min} to {max} windows, not {value}"));
            }
        }
        for (name, value) in [("z", spec.z), ("drift_z", spec.drift_z)] {
            if !(2.0..=100.0).contains(&value) {
                return fault(format!("{name} is 2 to 100 usual deviations, not {value}"));
            }
        }
        if step.as_secs() < 1 {
            return fault("windows begin a second apart or more".to_owned());
        }
        if spec.seasonal.is_some() && step > season::MAX_STEP {
            return fault("seasonal needs windows that begin at least every hour".to_owned());
        }
        for (measure, floor) in &spec.floor {
            if !spec.measures.contains(measure) {
                return fault(format!("floor names {measure}, which measures does not"));
            }
            if !(0.0..=1e12).contains(floor) {
                return fault(format!("the floor of {measure} is 0 to 1e12, not {floor}"));
            }
        }
        let tuning = |measure: &String| {
            let floor = spec.floor.get(measure).copied().unwrap_or_default();
            (measure.clone(), Tuning::new(spec, step.as_secs(), floor))
        };
        Ok(Self { measures: spec.measures.iter().map(tuning).collect() })
    }

    /// The names of the measures that are judged, in the order of the spec.
    pub fn measures(&self) -> impl Iterator<Item = &str> {
        self.measures.iter().map(|(name, _)| name.as_str())
    }

    /// Judges the window that begins at `start`, of which `measure` knows the measures by name, and
    /// gives what is usual after it.
    ///
    /// Windows of one key come in the order of their starts. One that does not (a revision, say) is
    /// judged as if it were the next. A measure that the window does not have, or that is not
    /// finite, leaves its baseline as it is. Measures of `before` that the spec no longer names are
    /// dropped.
    #[must_use]
    pub fn evaluate(
        &self,
        before: &Baseline,
        start: Timestamp,
        measure: impl Fn(&str) -> Option<f64>,
    ) -> (Findings, Baseline) {
        let (mut findings, mut after) = (Vec::new(), BTreeMap::new());
        for (name, tuning) in &self.measures {
            let before = before.0.get(name);
            let Some(value) = measure(name).filter(|value| value.is_finite()) else {
                if let Some(before) = before {
                    after.insert(name.clone(), before.clone());
                }
                continue;
            };
            let (verdict, state) = tuning.evaluate(before, start.as_second(), value);
            if let Some((z, kind)) = verdict {
                findings.push(Finding { measure: name.clone(), z, kind });
            }
            after.insert(name.clone(), state);
        }
        (Findings(findings), Baseline(after))
    }
}

#[cfg(test)]
mod tests;
