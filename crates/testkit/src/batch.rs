//! Batches as a stream of KPL aggregates would have them.

use serde_json::{Value, json};
use tributary_kpl::{Aggregator, UserRecord};

/// A Kinesis payload whose records are put together, `each` by `each`, into KPL aggregates that
/// stand where the first of them stood; `None` where it is no payload of base64 data.
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
        let added =
            aggregator.push(&UserRecord { partition_key, explicit_hash_key: None, data: &data });
        added.then_some(())?;
    }
    let mut aggregate = records.first()?.clone();
    let data = base64_simd::STANDARD.encode_to_string(aggregator.finish());
    aggregate["kinesis"]["data"] = json!(data);
    Some(aggregate)
}
