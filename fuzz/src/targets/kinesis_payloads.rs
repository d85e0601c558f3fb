//! Payload of a function that reads a stream: the text of a batch.

use serde_json::{Value, json};
use tributary_aws::batch::{Disposition, KinesisBatch};
use tributary_aws::payload::{KinesisPayload, KinesisRecord};
use tributary_aws::takeover::KnownDatasets;
use tributary_model::time::millis;
use tributary_pipeline::transform::read_raw;

use super::raw_records::GOOD;
use crate::bench::now;
use crate::{Target, seeds};

pub(super) const TARGET: Target =
    Target { name: "kinesis-payloads", check, seeds: seeds::kinesis_payloads };

/// A record as read: sequence number, shard, and its data or the text that is not base64.
type Known = (String, String, Result<Vec<u8>, String>);

fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(payload) = KinesisPayload::from_json(text) else { return };
    let known: Vec<_> = payload.records.iter().map(known).collect();
    for record in &payload.records {
        // Any number yields a time that can be formatted.
        let arrived = millis(record.arrival_time());
        assert!(arrived.parse::<jiff::Timestamp>().is_ok(), "{arrived}");
    }
    each_user_record_is_given_once(text);

    // The payload reads the same when rewritten, and one more record is one more.
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return };
    let Some(records) = value["Records"].as_array_mut() else { return };
    let data = base64_simd::STANDARD.encode_to_string(GOOD);
    records.push(json!({"kinesis": {"sequenceNumber": "good", "data": data}}));
    let text = value.to_string();
    let again = KinesisPayload::from_json(&text).unwrap();
    let (good, rest) = again.records.split_last().unwrap();
    assert_eq!(rest.iter().map(self::known).collect::<Vec<_>>(), known);
    let mut last = false;
    KinesisBatch::parse(&text).unwrap().classify(now(), |record| {
        let number = record.context.record.sequence_number();
        last = number == "good" && read_raw(record.data).is_ok();
        Disposition::Delivered
    });
    assert!(last && good.shard_id().is_empty(), "a good record is read after any other");
}

fn known(record: &KinesisRecord<'_>) -> Known {
    let mut bytes = b"what another record left".to_vec();
    let data = match record.decode_into(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(text) => Err(text.to_owned()),
    };
    (record.sequence_number().to_owned(), record.shard_id().to_owned(), data)
}

/// Asserts that each record yields itself or the user records of its aggregate, each with its own
/// disposition, or is one bad row.
fn each_user_record_is_given_once(text: &str) {
    let mut batch = KinesisBatch::parse(text).unwrap();
    let mut positions = Vec::new();
    batch.classify(now(), |record| {
        assert!(!record.context.origin().source.is_empty());
        positions.push(record.context.position);
        Disposition::Delivered
    });
    let dispositions = &batch.dispositions;
    let count = dispositions.all.len();
    assert_eq!(count, positions.len() + batch.bad_rows.0.len(), "given or a bad row");
    assert!(positions.is_sorted_by(|one, next| one < next));
    assert!(positions.last().is_none_or(|last| *last < count));
    for position in 0..count {
        assert!(dispositions.record_of(position) < batch.records.len());
        assert!(dispositions.redelivered_from(position) <= position);
    }

    let mut seen = 0;
    let read = batch.read_events(now(), &KnownDatasets::default(), |_, _| {
        seen += 1;
        Ok(Disposition::Delivered)
    });
    assert_eq!(read, Ok(()));
    assert_eq!(
        batch.dispositions.all.len(),
        seen + batch.bad_rows.0.len(),
        "an event or a bad row"
    );
}
