//! Reading events from a batch of the EVENTS stream: what `metrics` and `alerts` have in common.

use jiff::Timestamp;
use tributary_core::bad_row::{Code, Origin, Rejection};
use tributary_core::event::Event;

use crate::batch::Fate;
use crate::payload::KinesisRecord;
use crate::quarantine::BadRows;

/// Gives each event of `records` to `each`, with its position and record. A record that is no event
/// becomes a bad row.
pub fn read(
    records: &[KinesisRecord<'_>],
    now: Timestamp,
    mut each: impl FnMut(usize, &Event<'_>, &KinesisRecord<'_>),
) -> (Vec<Fate>, BadRows) {
    let mut bad_rows = BadRows::default();
    let mut data = Vec::new();
    let fates = records.iter().enumerate().map(|(position, record)| {
        let (rejection, bytes) = match record.decode_into(&mut data) {
            Ok(()) => match Event::from_json(&data) {
                Ok(event) => {
                    each(position, &event, record);
                    return Fate::Out;
                }
                Err(error) => {
                    let message = format!("is no event, at column {}", error.column());
                    (Rejection::row(Code::NotAnEvent, message), data.as_slice())
                }
            },
            Err(text) => {
                let rejection = Rejection::row(Code::BrokenBase64, "the data is not base64");
                (rejection, text.as_bytes())
            }
        };
        let (shard, number) = (record.shard_id(), record.sequence_number());
        let origin = Origin::of_record(shard, number, record.arrival_time());
        bad_rows.push(position, &rejection, &origin, Some(bytes), now);
        Fate::Quarantined(rejection.code)
    });
    (fates.collect(), bad_rows)
}
