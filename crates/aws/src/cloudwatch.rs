//! CloudWatch metrics.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use tributary_pipeline::metric::{Datum, Unit};

use crate::error::CallError;
use crate::put::{BatchPut, EntryResult, Limits};

/// Limits of a `PutMetricData` call: 1,000 data and 1 MB.
///
/// See <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>.
pub const LIMITS: Limits = Limits { entries: 1_000, bytes: 900_000, entry_bytes: 900_000 };

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
            .map_err(|error| CallError::from_sdk(Self::OPERATION, &self.name, &error))?;
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
