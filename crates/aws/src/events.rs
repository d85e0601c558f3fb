//! Reading events from a batch of the EVENTS stream: what `metrics` and `alerts` have in common.

use jiff::Timestamp;
use tributary_core::bad_row::{Code, Rejection};
use tributary_core::event::Event;

use crate::batch::{Fate, Fates};
use crate::payload::KinesisRecord;
use crate::quarantine::BadRows;
use crate::unpack::{Broken, unpack};

/// Gives each event of `records` to `each`, with its position and the record it came in. What is no
/// event becomes a bad row.
pub fn read(
    records: &[KinesisRecord<'_>],
    now: Timestamp,
    mut each: impl FnMut(usize, &Event<'_>, &KinesisRecord<'_>),
) -> (Fates, BadRows) {
    let mut bad_rows = BadRows::default();
    let fates = unpack(records, |place, data| {
        let event = data.and_then(|bytes| {
            Event::from_json(bytes).map_err(|error| {
                let message = format!("is no event, at column {}", error.column());
                Broken { rejection: Rejection::row(Code::NotAnEvent, message), bytes }
            })
        });
        match event {
            Ok(event) => {
                each(place.position, &event, place.record);
                Fate::Out
            }
            Err(Broken { rejection, bytes }) => {
                bad_rows.push(place.position, &rejection, &place.origin(), Some(bytes), now);
                Fate::Quarantined(rejection.code)
            }
        }
    });
    (fates, bad_rows)
}
