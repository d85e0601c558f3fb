//! CloudWatch metrics.

use std::mem::take;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use jiff::{SignedDuration, Timestamp};
use tributary_pipeline::metric::{Datum, Unit};

use crate::error::CallError;
use crate::put::{BatchPut, EntryResult, Limits};

/// Limits of a `PutMetricData` call: 1,000 data and 1 MB.
///
/// See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>.
pub const LIMITS: Limits = Limits { entries: 1_000, bytes: 900_000, entry_bytes: 900_000 };

/// Maximum number of distinct values in one datum.
///
/// See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>.
pub const MAX_VALUES: usize = 150;

/// Largest magnitude of a value, 2^360. CloudWatch refuses a call with a larger one.
///
/// See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>.
pub const MAX_VALUE: f64 = f64::from_bits((1023 + 360) << 52);

/// Maximum length of a dimension value.
///
/// See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html>.
pub const MAX_DIMENSION_BYTES: usize = 1_024;

/// Maximum age of a datum: CloudWatch accepts 14 days, and 1 hour is kept for the call itself.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(14 * 24 - 1);

/// Upper bound of a value with its count in a request, in bytes.
const VALUE_BYTES: usize = 20;

/// Bytes that names, time and unit take in a request beside the texts themselves.
const DATUM_BYTES: usize = 128;

/// Returns an upper bound of a datum's bytes in a request.
#[must_use]
pub fn size(datum: &Datum) -> usize {
    let texts = datum.dimensions.iter().map(|(name, value)| name.len() + value.len() + 32);
    DATUM_BYTES + datum.name.len() + texts.sum::<usize>() + datum.values.len() * VALUE_BYTES
}

/// Fits the metrics of one batch into what CloudWatch accepts, in the order of `data`.
///
/// - A datum of more than [`MAX_VALUES`] distinct values is split.
/// - A dimension value becomes printable ASCII of at most [`MAX_DIMENSION_BYTES`]; any other
///   character becomes `?`. Series whose values become equal stay separate data: CloudWatch sums
///   them.
/// - A value that is not a number within ±[`MAX_VALUE`] is left out, and counted by
///   [`count_beyond`].
/// - A time more than 14 days (less 1 hour) before `now` becomes the oldest accepted time.
#[must_use]
pub fn fit(data: Vec<Datum>, now: Timestamp) -> Vec<Datum> {
    let oldest = now - MAX_AGE;
    let mut fitted = Vec::with_capacity(data.len());
    for mut datum in data {
        for (_, value) in &mut datum.dimensions {
            *value = dimension_value(value);
        }
        datum.time = datum.time.max(oldest);
        if count_beyond(&datum) > 0.0 {
            let pairs = take(&mut datum.values).into_iter().zip(take(&mut datum.counts));
            (datum.values, datum.counts) = pairs.filter(|(value, _)| is_within(*value)).unzip();
            if datum.values.is_empty() {
                continue;
            }
        }
        if datum.values.len() <= MAX_VALUES {
            fitted.push(datum);
            continue;
        }
        let (values, counts) = (take(&mut datum.values), take(&mut datum.counts));
        for (values, counts) in values.chunks(MAX_VALUES).zip(counts.chunks(MAX_VALUES)) {
            let (values, counts) = (values.to_vec(), counts.to_vec());
            fitted.push(Datum { values, counts, ..datum.clone() });
        }
    }
    fitted
}

/// Returns the number of values of a datum that CloudWatch does not accept.
#[must_use]
pub fn count_beyond(datum: &Datum) -> f64 {
    let values = datum.values.iter().zip(&datum.counts);
    values.filter(|(value, _)| !is_within(**value)).map(|(_, count)| count).sum()
}

/// Returns true for a number that CloudWatch accepts.
fn is_within(value: f64) -> bool {
    value.abs() <= MAX_VALUE
}

/// Returns `value` as CloudWatch accepts it: printable ASCII, not blank, not too long.
fn dimension_value(value: &str) -> String {
    let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let value: String = value.chars().take(MAX_DIMENSION_BYTES).map(printable).collect();
    if value.trim().is_empty() { "unknown".to_owned() } else { value }
}

/// CloudWatch namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    client: Client,
    name: String,
}

impl Namespace {
    /// Creates a sink for the namespace `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

impl BatchPut for Namespace {
    type Entry = Datum;

    const OPERATION: &'static str = "cloudwatch:PutMetricData";

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn size(&self, datum: &Datum) -> usize {
        size(datum)
    }

    /// Puts all data or none: the answer is for the call as a whole.
    async fn put(&self, data: &[&Datum]) -> Result<Vec<EntryResult>, CallError> {
        self.client
            .put_metric_data()
            .namespace(&self.name)
            .set_metric_data(Some(data.iter().map(|datum| metric_datum(datum)).collect()))
            .send()
            .await
            .map_err(CallError::from_sdk(Self::OPERATION, &self.name))?;
        Ok(vec![EntryResult::Stored; data.len()])
    }
}

fn metric_datum(datum: &Datum) -> MetricDatum {
    let dimension =
        |(name, value): &(String, String)| Dimension::builder().name(name).value(value).build();
    let unit = match datum.unit {
        Unit::Count => StandardUnit::Count,
        Unit::Percent => StandardUnit::Percent,
        Unit::None => StandardUnit::None,
    };
    MetricDatum::builder()
        .metric_name(&datum.name)
        .set_dimensions(Some(datum.dimensions.iter().map(dimension).collect()))
        .timestamp(DateTime::from_secs(datum.time.as_second()))
        .set_values(Some(datum.values.clone()))
        .set_counts(Some(datum.counts.clone()))
        .unit(unit)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-20T12:00:00Z";

    fn datum(city: &str, values: u32) -> Datum {
        Datum {
            name: "temperature_c".to_owned(),
            dimensions: vec![("city".to_owned(), city.to_owned())],
            time: NOON.parse().unwrap(),
            values: (0..values).map(f64::from).collect(),
            counts: (1..=values).map(f64::from).collect(),
            unit: Unit::None,
        }
    }

    fn fitted(data: Vec<Datum>) -> Vec<Datum> {
        fit(data, NOON.parse().unwrap())
    }

    #[test]
    fn datum_with_too_many_values_is_split() {
        let data = fitted(vec![datum("a", 400), datum("b", 150)]);

        let parts: Vec<_> = data.iter().map(|it| (&*it.dimensions[0].1, it.values.len())).collect();
        assert_eq!(parts, [("a", 150), ("a", 150), ("a", 100), ("b", 150)]);
        let values: Vec<f64> = data[..3].iter().flat_map(|it| it.values.clone()).collect();
        let counts: Vec<f64> = data[..3].iter().flat_map(|it| it.counts.clone()).collect();
        let whole = datum("a", 400);
        assert_eq!((values, counts), (whole.values, whole.counts));
    }

    #[test]
    fn value_beyond_service_limit_is_left_out() {
        let values = vec![-1e200, -MAX_VALUE, 1.0, MAX_VALUE, 1e200];
        let counts = vec![1.0, 2.0, 3.0, 4.0, 5.0];
        let beyond = Datum { values, counts, ..datum("a", 0) };
        assert!((count_beyond(&beyond) - 6.0).abs() < f64::EPSILON);

        let only = Datum { values: vec![1e200], counts: vec![1.0], ..datum("b", 0) };
        let data = fitted(vec![beyond, only]);

        let [data] = &data[..] else { panic!("{} data", data.len()) };
        assert_eq!(data.values, [-MAX_VALUE, 1.0, MAX_VALUE]);
        assert_eq!(data.counts, [2.0, 3.0, 4.0]);
    }

    #[test]
    fn dimension_values_become_printable_ascii() {
        let (long, blank) = ("x".repeat(2_000), " ".repeat(2_000) + "x");
        let cities = ["Cañon City", " ", "a\u{1f}b", "\t", &long, &blank];

        let data = fitted(cities.map(|city| datum(city, 1)).into());

        let values: Vec<_> = data.iter().map(|it| it.dimensions[0].1.as_str()).collect();
        let expected = ["Ca?on City", "unknown", "a?b", "?", &"x".repeat(1_024), "unknown"];
        assert_eq!(values, expected);
    }

    #[test]
    fn time_is_moved_to_the_oldest_accepted() {
        let old = Datum { time: "2026-01-01T00:00:00Z".parse().unwrap(), ..datum("a", 1) };

        let data = fitted(vec![old, datum("a", 1)]);

        let times: Vec<_> = data.iter().map(|it| it.time.to_string()).collect();
        assert_eq!(times, ["2026-11-06T13:00:00Z", NOON]);
    }

    #[test]
    fn unit_has_the_name_of_the_service() {
        let unit = |unit| metric_datum(&Datum { unit, ..datum("a", 1) }).unit;

        assert_eq!(unit(Unit::Count), Some(StandardUnit::Count));
        assert_eq!(unit(Unit::Percent), Some(StandardUnit::Percent));
        assert_eq!(unit(Unit::None), Some(StandardUnit::None));
    }
}
