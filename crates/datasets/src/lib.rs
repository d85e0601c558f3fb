//! The datasets: how a row of each becomes an event.
//!
//! A new dataset is one file here, one line in [`ALL`] and one fixture folder under
//! `fixtures/datasets/`; no function changes.

pub mod accidents;
mod columns;
pub mod covid;
pub mod field_value;
pub mod flood;
pub mod ingest;
mod place;
pub mod telemetry;
mod times;
mod us;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

pub(crate) use self::columns::{of_columns, of_fields};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_model::domain::{Fields, MeasureRanges, Schemas};
use tributary_model::event::{Attributes, Event, Kind, Measures, Text};
use tributary_model::id::Id;
use tributary_model::json::is_object;

/// Conversion of the rows of one dataset into events.
pub trait Dataset: Sync {
    /// The name in records, keys and metrics.
    fn name(&self) -> &'static str;

    /// Returns the columns that a file of this dataset must have, each with its alternative names.
    /// If nothing else names the dataset, a header with all of them selects it.
    fn required_columns(&self) -> &'static [&'static [&'static str]];

    /// Returns the fields that a JSON row must have, each with its alternative names: fewer than
    /// the columns of a CSV where a field may be empty.
    fn required_fields(&self) -> &'static [&'static [&'static str]] {
        self.required_columns()
    }

    /// Returns the candidate columns of the raw record's partition key; the first with a value
    /// counts. They are those whose rows must keep their order, or else the natural key, so that
    /// load spreads.
    fn partition_columns(&self) -> &'static [&'static str];

    /// Declares the events of this dataset: every measure, attribute and tag, and its possible
    /// values by physics or by a closed list. Rules are checked against it.
    fn fields(&self) -> Fields;

    /// Checks the data compiled in for this dataset. Called once, before any row.
    ///
    /// # Errors
    ///
    /// Names the file and its fault.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Returns the event of a payload, which is a JSON object as text. The payload borrows from the
    /// record, and the event from the payload.
    ///
    /// `received_at` is the time Tributary received the row. If it is `None`, for example for a row
    /// of a file read offline, the event time counts as the arrival time.
    ///
    /// # Errors
    ///
    /// A present but invalid value rejects the whole row.
    fn event<'a>(
        &self,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Event<'a>, Rejection>;
}

/// Every dataset.
pub static ALL: &[&dyn Dataset] =
    &[&accidents::Accidents, &covid::Covid, &flood::Flood, &telemetry::Telemetry];

/// Returns the dataset of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Dataset> {
    ALL.iter().copied().find(|dataset| dataset.name() == name)
}

/// Returns the names of all datasets, for messages.
#[must_use]
pub fn names() -> String {
    ALL.iter().map(|dataset| dataset.name()).collect::<Vec<_>>().join(", ")
}

/// Returns the fields of every dataset's readings, within the `ranges` of each dataset's measures.
#[must_use]
pub fn schemas(ranges: &MeasureRanges) -> Schemas {
    let fields = |dataset: &&dyn Dataset| match ranges.get(dataset.name()) {
        Some(ranges) => dataset.fields().within(ranges),
        None => dataset.fields(),
    };
    ALL.iter().map(fields).collect()
}

/// Parses the row of a payload. Only objects are rows: serde would also read the fields from an
/// array.
fn row<'a, R: Deserialize<'a>>(payload: &'a str) -> Result<R, Rejection> {
    if is_object(payload.as_bytes()) {
        serde_json::from_str(payload).map_err(|error| unreadable(&error))
    } else {
        Err(Rejection::row(Code::InvalidJson, "the payload is not an object"))
    }
}

/// Returns the event of a row, without location and tags.
fn reading<'a>(
    dataset: &'static str,
    event_id: Id,
    entity: Text<'a>,
    event_time: Timestamp,
    received_at: Option<Timestamp>,
    measures: Measures<'a>,
    attributes: Attributes<'a>,
) -> Event<'a> {
    Event {
        kind: Kind::Reading,
        dataset: Cow::Borrowed(dataset),
        event_id: Cow::Owned(event_id.to_string()),
        entity,
        event_time,
        received_at: received_at.unwrap_or(event_time),
        location: None,
        measures,
        attributes,
        tags: Vec::new(),
        window: None,
    }
}

/// Returns the id of a sensor's reading. It depends on the instant, not on its spelling.
fn reading_id(dataset: &str, sensor: &str, event_time: Timestamp) -> Id {
    let nanosecond = event_time.as_nanosecond().to_be_bytes();
    Id::of([dataset.as_bytes(), sensor.as_bytes(), nanosecond.as_slice()])
}

/// Rounds to a millionth: finer than any source resolves, and without digits that unit conversion
/// adds. A number too large for that is returned unchanged.
fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { value }
}

/// Returns the rejection of a payload that serde could not read as a row.
///
/// The payload is already known to be JSON, so only its shape can be wrong.
fn unreadable(error: &serde_json::Error) -> Rejection {
    let text = error.to_string();
    match text.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`')) {
        Some((field, _)) => Rejection {
            code: Code::DuplicateField,
            field: Some(field.to_owned().into()),
            message: "is there more than once".into(),
        },
        None => Rejection::row(
            Code::InvalidJson,
            format!("the payload cannot be read at column {}", error.column()),
        ),
    }
}
