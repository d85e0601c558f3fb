//! Reading events from a batch of the EVENTS stream: what its consumers have in common.

use jiff::Timestamp;
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_model::event::Event;

use crate::batch::{Disposition, Dispositions};
use crate::payload::KinesisRecord;
use crate::quarantine::BadRows;
use crate::unpack::{RecordContext, UndecodableRecord, unpack};

/// Gives each event of `records` to `each`, with its place, which says what becomes of it. What is no
/// event, and what `each` rejects, becomes a bad row.
pub fn read(
    records: &[KinesisRecord<'_>],
    now: Timestamp,
    mut each: impl FnMut(&RecordContext<'_>, &Event<'_>) -> Result<Disposition, Rejection>,
) -> (Dispositions, BadRows) {
    let mut bad_rows = BadRows::default();
    let dispositions = unpack(records, |place, data| {
        let mut reject = |rejection: &Rejection, origin: &Origin<'_>, bytes: &[u8]| {
            bad_rows.push(place.position, rejection, origin, Some(bytes), now);
            match rejection.code {
                Code::Late => Disposition::Late,
                code => Disposition::Quarantined(code),
            }
        };
        let bytes = match data {
            Ok(bytes) => bytes,
            Err(UndecodableRecord { rejection, bytes }) => {
                return reject(&rejection, &place.origin(), bytes);
            }
        };
        match Event::from_json(bytes) {
            Ok(event) => each(place, &event).unwrap_or_else(|rejection| {
                let origin = Origin { dataset: Some(&event.dataset), ..place.origin() };
                reject(&rejection, &origin, bytes)
            }),
            Err(error) => {
                let message = format!("is no event, at column {}", error.column());
                reject(&Rejection::row(Code::NotAnEvent, message), &place.origin(), bytes)
            }
        }
    });
    (dispositions, bad_rows)
}
