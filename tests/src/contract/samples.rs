//! One record of each kind with every optional field set, as it goes over the wire.
//!
//! They are written field by field: a new field does not compile until it is set here, and then
//! requires its column.

use jiff::Timestamp;
use serde_json::Value;
use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};
use tributary_model::event::{Attributes, Event, Kind, Location, Measures, WindowSpan};
use tributary_model::raw::RawRecordWriter;

/// Returns an event.
///
/// # Errors
///
/// When it cannot be written as JSON.
pub fn event() -> Result<Value, serde_json::Error> {
    let mut measures = Measures::default();
    measures.push("temperature_c", 27.5);
    let mut attributes = Attributes::default();
    attributes.push("id", "A-1");

    serde_json::to_value(Event {
        kind: Kind::Window,
        dataset: "accidents".into(),
        event_id: "0123456789abcdef0123456789abcdef".into(),
        entity: "CA/Los Angeles".into(),
        event_time: Timestamp::UNIX_EPOCH,
        received_at: Timestamp::UNIX_EPOCH,
        location: Location::new(52.3676, 4.9041),
        measures,
        attributes,
        tags: vec!["night".into()],
        faults: vec!["humidity_pct:out_of_range".into()],
        window: Some(WindowSpan {
            spec: "accidents-1h".into(),
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            revision: 1,
        }),
    })
}

/// Returns a bad row.
///
/// # Errors
///
/// When its line is not JSON.
pub fn bad_row() -> Result<Value, serde_json::Error> {
    let rejection = Rejection {
        code: Code::OutOfRange,
        field: Some("Severity".into()),
        message: "5 is not in 1 to 4".into(),
    };
    let origin = Origin {
        dataset: Some("accidents"),
        source: "s3://bucket/key?versionId=v#offset=0&row=1".into(),
        record_id: "0123456789abcdef0123456789abcdef".into(),
        shard_id: Some("shardId-000000000000"),
        sequence_number: Some("42"),
        arrived_at: Some(Timestamp::UNIX_EPOCH),
    };
    let bad_row = BadRow::new(&rejection, &origin, Some(b"5"), Timestamp::UNIX_EPOCH);
    serde_json::from_slice(&bad_row.to_line(usize::MAX))
}

/// Returns a raw record.
///
/// # Errors
///
/// When it is not JSON.
pub fn raw_record() -> Result<Value, serde_json::Error> {
    let record = RawRecordWriter::new("accidents").write(
        "0123456789abcdef0123456789abcdef",
        "s3://bucket/key?versionId=v#offset=0&row=1",
        "2026-11-20T10:00:00.123Z",
        |payload| payload.extend_from_slice(br#"{"ID":"A-1"}"#),
    );
    serde_json::from_slice(&record)
}
