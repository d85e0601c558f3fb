//! Simulated CloudWatch metrics: a call is accepted as a whole or refused for an invalid datum.
//!
//! Rules: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>.

use std::sync::Mutex;

use jiff::SignedDuration;
use tributary_aws::cloudwatch;
use tributary_aws::put::{EntryResult, Limits};
use tributary_pipeline::metric::{Datum, MAX_DIMENSIONS};

use super::Store;
use crate::{clock, lock};

const MAX_VALUES: usize = 150;
/// 2^360.
const MAX_VALUE: f64 = 2.348_542_582_773_833_2e108;
const MIN_OFFSET: SignedDuration = SignedDuration::from_hours(-14 * 24);
const MAX_OFFSET: SignedDuration = SignedDuration::from_hours(2);

/// Simulated namespace.
#[derive(Debug, Default)]
pub struct SimMetrics(Mutex<Vec<Datum>>);

impl SimMetrics {
    /// Returns the data in the order of the calls.
    pub fn data(&self) -> Vec<Datum> {
        lock(&self.0).clone()
    }
}

impl Store for SimMetrics {
    type Entry = Datum;

    const OPERATION: &'static str = "cloudwatch:PutMetricData";
    const IS_ATOMIC: bool = true;

    fn limits(&self) -> Limits {
        cloudwatch::LIMITS
    }

    fn size(&self, datum: &Datum) -> usize {
        cloudwatch::size(datum)
    }

    fn refuses(&self, datum: &Datum) -> bool {
        let age = datum.time.duration_since(clock::now());
        let is_valid = datum.values.len() == datum.counts.len()
            && datum.values.len() <= MAX_VALUES
            && datum.dimensions.len() <= MAX_DIMENSIONS
            && datum.values.iter().chain(&datum.counts).all(|value| value.abs() <= MAX_VALUE)
            && (MIN_OFFSET..=MAX_OFFSET).contains(&age);
        !is_valid
    }

    fn take(&self, datum: &Datum) -> EntryResult {
        lock(&self.0).push(datum.clone());
        EntryResult::Stored
    }
}
