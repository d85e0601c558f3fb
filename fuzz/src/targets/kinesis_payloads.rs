//! Payload of a function that reads a stream: the text of a batch.

use serde_json::{Value, json};
use tributary_aws::batch::Disposition;
use tributary_aws::events;
use tributary_aws::payload::{KinesisPayload, KinesisRecord};
use tributary_aws::unpack::unpack;
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
    each_user_record_is_given_once(&payload.records);

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
    unpack(&again.records, |place, data| {
        last =
            place.record.sequence_number() == "good" && data.is_ok_and(|it| read_raw(it).is_ok());
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
/// disposition and origin.
fn each_user_record_is_given_once(records: &[KinesisRecord<'_>]) {
    let mut places = Vec::new();
    let dispositions = unpack(records, |place, _| {
        let origin = place.origin();
        places.push((place.position, origin.source.into_owned()));
        Disposition::Delivered
    });
    assert_eq!(dispositions.len(), places.len());
    assert!(places.iter().enumerate().all(|(index, (position, _))| index == *position));
    for position in 0..dispositions.len() {
        assert!(dispositions.record_of(position) < records.len());
        assert!(dispositions.redelivered_from(position) <= position);
    }

    let mut seen = 0;
    let (dispositions, bad_rows) = events::read(records, now(), |_, _| {
        seen += 1;
        Ok(Disposition::Delivered)
    });
    assert_eq!(dispositions.len(), seen + bad_rows.len(), "an event or a bad row");
}
