//! Events from a batch of the EVENTS stream, as all its consumers read them.

use jiff::Timestamp;
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_model::event::Event;

use crate::batch::{Disposition, Dispositions};
use crate::payload::KinesisRecord;
use crate::quarantine::BadRows;
use crate::unpack::{RecordContext, classify};

/// Passes each event of `records` to `each` with its position. A record that is no event, and an
/// event that `each` rejects, become bad rows.
pub fn read(
    records: &[KinesisRecord<'_>],
    now: Timestamp,
    mut each: impl FnMut(&RecordContext<'_>, &Event<'_>) -> Result<Disposition, Rejection>,
) -> (Dispositions, BadRows) {
    classify(records, now, |record| match Event::from_json(record.data) {
        Ok(event) => each(record.context, &event).unwrap_or_else(|rejection| {
            let origin = Origin { dataset: Some(&event.dataset), ..record.context.origin() };
            record.reject(&rejection, &origin)
        }),
        Err(error) => {
            let message = format!("is no event, at column {}", error.column());
            record.reject(&Rejection::row(Code::NotAnEvent, message), &record.context.origin())
        }
    })
}
