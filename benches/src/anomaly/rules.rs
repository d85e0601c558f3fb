//! Detection methods: ours and two common rules. Each sees only the past of a window.

use std::collections::VecDeque;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use tributary_anomaly::{AnomalyKind, AnomalySpec, Baseline, Detector};
use tributary_model::config_error::ConfigError;

/// Detection method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `tributary_anomaly` with its defaults.
    Ours,
    /// More than 3 standard deviations from the mean of this many previous windows.
    ThreeSigma(usize),
    /// More than 3 scaled median deviations from the median of this many previous windows (F. R.
    /// Hampel, *The Influence Curve and its Role in Robust Estimation*, JASA 69, 1974).
    MovingMedian(usize),
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours => f.write_str("tributary"),
            Self::ThreeSigma(length) => write!(f, "3 sigma, {length} windows"),
            Self::MovingMedian(length) => write!(f, "median, {length} windows"),
        }
    }
}

/// Ratio of standard deviation to median deviation for normally distributed values.
const SCALE: f64 = 1.4826;

/// Result of a method for one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Detection {
    pub(super) is_anomaly: bool,
    /// Kind of anomaly, if the method reports one.
    pub(super) kind: Option<AnomalyKind>,
}

impl Method {
    /// Returns the detections for each window.
    pub(super) fn report(self, means: &[Option<f64>]) -> Vec<Detection> {
        match self {
            Self::Ours => ours(means).unwrap_or_default(),
            Self::ThreeSigma(length) => beyond(means, length, mean_and_deviation),
            Self::MovingMedian(length) => beyond(means, length, median_and_deviation),
        }
    }
}

fn ours(means: &[Option<f64>]) -> Result<Vec<Detection>, ConfigError> {
    let spec: AnomalySpec = toml::from_str("measures = ['mean']")
        .map_err(|error| ConfigError::new("bench", error.to_string()))?;
    let detector = Detector::compile(&spec, SignedDuration::from_mins(1))
        .map_err(|error| ConfigError::new("bench", error.to_string()))?;
    let mut baseline = Baseline::default();
    let mut second = 0;
    let reported = means.iter().map(|&mean| {
        let start = Timestamp::from_second(second).unwrap_or_default();
        second += 60;
        let Some(mean) = mean else { return Detection::default() };
        let (findings, after) = detector.evaluate(&baseline, start, |_| Some(mean));
        baseline = after;
        let kind = findings.0.first().and_then(|finding| finding.kind);
        Detection { is_anomaly: kind.is_some(), kind }
    });
    Ok(reported.collect())
}

/// Flags each value that is more than three deviations from the centre of the `length` values
/// before it.
fn beyond(
    means: &[Option<f64>],
    length: usize,
    centre_and_deviation: fn(&VecDeque<f64>) -> (f64, f64),
) -> Vec<Detection> {
    let mut past = VecDeque::with_capacity(length + 1);
    let report = |mean: &Option<f64>| {
        let Some(mean) = *mean else { return Detection::default() };
        let is_anomaly = past.len() == length && {
            let (centre, deviation) = centre_and_deviation(&past);
            (mean - centre).abs() > 3.0 * deviation
        };
        past.push_back(mean);
        if past.len() > length {
            past.pop_front();
        }
        Detection { is_anomaly, kind: None }
    };
    means.iter().map(report).collect()
}

fn mean_and_deviation(past: &VecDeque<f64>) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "some hundred windows")]
    let count = past.len() as f64;
    let mean = past.iter().sum::<f64>() / count;
    let variance = past.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance.sqrt())
}

fn median_and_deviation(past: &VecDeque<f64>) -> (f64, f64) {
    let mut values: Vec<f64> = past.iter().copied().collect();
    let middle = median(&mut values);
    for value in &mut values {
        *value = (*value - middle).abs();
    }
    (middle, SCALE * median(&mut values))
}

fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(method: Method, last: f64) -> bool {
        let past = [3.0, 1.0, 2.0, 4.0, 5.0, 90.0, 3.0];
        let means: Vec<_> = past.into_iter().chain([last]).map(Some).collect();
        method.report(&means).last().is_some_and(|reported| reported.is_anomaly)
    }

    #[test]
    fn outlier_blinds_mean_but_not_median() {
        assert!(!reported(Method::ThreeSigma(7), 80.0));
        assert!(reported(Method::MovingMedian(7), 80.0));
        assert!(reported(Method::ThreeSigma(7), 130.0));
        // The median is 3 and the median deviation is 1.
        assert!(reported(Method::MovingMedian(7), 7.5) && !reported(Method::MovingMedian(7), 7.4));
    }

    #[test]
    fn no_detection_before_history_is_full() {
        assert!(!reported(Method::ThreeSigma(8), 1e6) && !reported(Method::MovingMedian(8), 1e6));
    }
}
