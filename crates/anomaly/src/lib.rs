//! Detects anomalies: measures of a closed window that deviate from the baseline of its entity.
//!
//! A [`Detector`] compares each measure of a window with the [`Baseline`] of its (spec, key). It
//! returns a z-score, an [`AnomalyKind`] if the measure is anomalous, and the next baseline. It is
//! pure, and the cost of a measure does not depend on the length of its history: a baseline is a
//! dozen numbers, plus one per hour of the day with [`Seasonal::HourOfDay`].
//!
//! Methods and their sources:
//!
//! - **Level and trend** are Brown's double exponential smoothing (R. G. Brown, *Smoothing,
//!   Forecasting and Prediction of Discrete Time Series*, 1963): exponentially weighted means of
//!   the values and of those means. A window is compared with the forecast made before it.
//! - **Robustness** follows S. Gelper, R. Fried and C. Croux, *Robust forecasting with exponential
//!   and Holt-Winters smoothing*, Journal of Forecasting 29 (2010). Forecast errors are cut to a
//!   bound before they enter level and variance (P. J. Huber, *Robust Estimation of a Location
//!   Parameter*, 1964), so that no single value moves either far. A reported outlier does not enter
//!   the level at all.
//! - **Spikes and level shifts** are told apart by the windows that follow, as in C. Chen and L.-M.
//!   Liu, *Joint Estimation of Model Parameters and Outlier Effects in Time Series*, JASA 88
//!   (1993): `accept` consecutive outliers on one side become the new level.
//! - **Drifts** are trends that bend away from the usual trend by more than this series usually
//!   does: the tracking signal of D. W. Trigg, *Monitoring a Forecasting System*, Operational
//!   Research Quarterly 15 (1964), compared with the exponentially weighted variance of all bends.
//! - **Stuck sensors** repeat a value longer than chance explains: at the rate at which this series
//!   usually repeats itself, a run of equal values this long has a probability below one in a
//!   million.
//! - **The hour of the day** is the additive season of P. R. Winters, *Forecasting Sales by
//!   Exponentially Weighted Moving Averages*, Management Science 6 (1960), interpolated linearly
//!   between the middles of the hours, so that short windows see no steps.
//!
//! Out of scope: the definition of windows, and the storage of baselines.

mod measure;
mod season;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use measure::{State, Tuning};

/// Maximum absolute z-score. Beyond it, the size of an outlier carries no more information.
pub const MAX_Z: f64 = 1e4;

/// Anomaly detection on the windows of a spec, as configured in `pipeline.toml`. docs/ANOMALY.md
/// explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the configuration's page explains its fields where users read them"
)]
pub struct AnomalySpec {
    pub measures: Vec<String>,
    #[serde(default = "count::<60>")]
    pub warm_up: u32,
    #[serde(default = "number::<5>")]
    pub half_life: f64,
    #[serde(default = "count::<720>")]
    pub memory: u32,
    #[serde(default = "number::<6>")]
    pub z: f64,
    #[serde(default = "number::<6>")]
    pub drift_z: f64,
    #[serde(default = "count::<5>")]
    pub accept: u32,
    #[serde(default)]
    pub seasonal: Option<Seasonal>,
    #[serde(default)]
    pub floor: BTreeMap<String, f64>,
}

fn count<const N: u32>() -> u32 {
    N
}

fn number<const N: u32>() -> f64 {
    f64::from(N)
}

/// Period that a series repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seasonal {
    /// The day, in UTC.
    HourOfDay,
}

/// Kinds of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// A value away from its level, so far for one or two windows only.
    Spike,
    /// The values are at a new level and stay there.
    LevelShift,
    /// The values move away faster than this series usually does.
    Drift,
    /// The value does not change, although it usually does.
    Stuck,
}

impl AnomalyKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Spike, Self::LevelShift, Self::Drift, Self::Stuck];

    /// Returns the name on the wire.
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

/// Baseline of the measures of one (spec, key): compact as JSON, stored by the caller that closes
/// windows. The default is an empty baseline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline(BTreeMap<String, State>);

impl Baseline {
    /// Returns `true` if no measure has a baseline.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Result for one measure of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Name of the measure, such as `temperature_c_mean`.
    pub measure: String,
    /// Deviation from the forecast in usual deviations: -[`MAX_Z`] to [`MAX_Z`].
    pub z: f64,
    /// Kind of the anomaly, if the measure is one.
    pub kind: Option<AnomalyKind>,
}

/// Results for a window, one per evaluated measure, in the order of the spec. Measures without enough history are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Returns the measures to add to the window event: `<measure>_z`, each finite.
    pub fn measures(&self) -> impl Iterator<Item = (String, f64)> {
        self.0.iter().map(|finding| (format!("{}_z", finding.measure), finding.z))
    }

    /// Returns the tags to add to the window event, sorted: for an anomaly `anomaly`,
    /// `anomaly:<measure>` for each measure, and `anomaly_kind:<kind>` for each kind.
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

/// An invalid value of an [`AnomalySpec`]: its name and the expected range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

/// A validated [`AnomalySpec`], ready to evaluate windows.
#[derive(Clone, Debug)]
pub struct Detector {
    measures: Vec<(String, Tuning)>,
}

impl Detector {
    /// Compiles the detector of a spec whose windows start every `step`: its slide, or its size if
    /// it has none.
    ///
    /// # Errors
    ///
    /// If a value of the spec is invalid. The message names the value and its range.
    pub fn compile(spec: &AnomalySpec, step: SignedDuration) -> Result<Self, SpecError> {
        let fault = |message: String| Err(SpecError(message));
        if spec.measures.is_empty() {
            return fault("measures names none".to_owned());
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = spec.measures.iter().find(|name| !seen.insert(*name)) {
            return fault(format!("measures names {twice} twice"));
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

    /// Evaluates the window that starts at `start` and returns its findings and the next baseline.
    /// `measure` returns a measure of the window by name.
    ///
    /// The caller passes the windows of one key in the order of their starts. An out-of-order
    /// window, such as a revision, is evaluated as if it were the next. A measure that is missing
    /// or not finite leaves its baseline unchanged. Measures of `before` that the spec no longer
    /// names are dropped.
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
