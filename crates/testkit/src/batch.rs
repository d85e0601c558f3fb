//! Kinesis batches with KPL aggregates.

use serde_json::{Value, json};
use tributary_kpl::{Aggregator, UserRecord};

/// Packs every `each` records of a Kinesis payload into a KPL aggregate at the position of the
/// first of them.
///
/// Returns `None` if the payload is not one of base64 data.
#[must_use]
pub fn aggregated(payload: &str, each: usize) -> Option<String> {
    let mut payload: Value = serde_json::from_str(payload).ok()?;
    let aggregates = payload["Records"].as_array()?.chunks(each.max(1)).map(aggregate);
    payload["Records"] = aggregates.collect::<Option<Vec<_>>>()?.into();
    Some(payload.to_string())
}

fn aggregate(records: &[Value]) -> Option<Value> {
    let mut aggregator = Aggregator::new(usize::MAX);
    for record in records {
        let record = &record["kinesis"];
        let data = base64_simd::STANDARD.decode_to_vec(record["data"].as_str()?).ok()?;
        let partition_key = record["partitionKey"].as_str()?;
        let record = UserRecord { partition_key, explicit_hash_key: None, data: &data };
        aggregator.push(&record).then_some(())?;
    }
    let mut aggregate = records.first()?.clone();
    let data = base64_simd::STANDARD.encode_to_string(aggregator.finish());
    aggregate["kinesis"]["data"] = json!(data);
    Some(aggregate)
}
