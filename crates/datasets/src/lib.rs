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

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

pub(crate) use self::columns::{of_columns, of_fields};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_model::domain::{Fields, Schemas};
use tributary_model::event::Event;
use tributary_model::id::Id;
use tributary_model::json::is_object;

/// How the rows of one feed become events.
pub trait Dataset: Sync {
    /// The name in records, keys and metrics.
    fn name(&self) -> &'static str;

    /// The columns without which a file is not of this dataset, each by the names it goes by. A
    /// header that has them all is recognised as this dataset where nothing else says which it is.
    fn required_columns(&self) -> &'static [&'static [&'static str]];

    /// The fields without which a row of JSON is no event, each by the names it goes by: fewer than
    /// the columns of a CSV where a cell may be empty.
    fn required_fields(&self) -> &'static [&'static [&'static str]] {
        self.required_columns()
    }

    /// The columns of which the first that a row has a value in is the partition key of the raw
    /// record: what must keep its order where rows have one, the natural key where they do not, so
    /// that load spreads.
    fn partition_columns(&self) -> &'static [&'static str];

    /// What an event of this dataset can hold: every measure, attribute and tag, and what each can be
    /// by physics or by a closed list. Rules are held against it.
    fn fields(&self) -> Fields;

    /// Whether what is compiled in for this dataset can be used: asked once, before any row.
    ///
    /// # Errors
    ///
    /// Names the file and what is wrong with it.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The event of a payload, which is a JSON object as text. The payload borrows from the
    /// record, and the event from the payload.
    ///
    /// `received_at` is when Tributary received the row; a row that nobody received, such as one of
    /// a file that is read offline, counts as received when it happened.
    ///
    /// # Errors
    ///
    /// A value that is present and wrong makes the whole row bad.
    fn event<'a>(
        &self,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Event<'a>, Rejection>;
}

/// Every dataset.
pub static ALL: &[&dyn Dataset] =
    &[&accidents::Accidents, &covid::Covid, &flood::Flood, &telemetry::Telemetry];

/// The dataset of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Dataset> {
    ALL.iter().copied().find(|dataset| dataset.name() == name)
}

/// The names of all datasets, for messages.
#[must_use]
pub fn names() -> String {
    ALL.iter().map(|dataset| dataset.name()).collect::<Vec<_>>().join(", ")
}

/// Returns the fields of every dataset's readings, within the `ranges` of each dataset's measures.
#[must_use]
pub fn schemas(ranges: &BTreeMap<String, BTreeMap<String, [f64; 2]>>) -> Schemas {
    let fields = |dataset: &&dyn Dataset| match ranges.get(dataset.name()) {
        Some(ranges) => dataset.fields().within(ranges),
        None => dataset.fields(),
    };
    ALL.iter().map(fields).collect()
}

/// The row of a payload. Serde would read the fields of a row from an array too: that is no row.
fn row<'a, R: Deserialize<'a>>(payload: &'a str) -> Result<R, Rejection> {
    if is_object(payload.as_bytes()) {
        serde_json::from_str(payload).map_err(|error| unreadable(&error))
    } else {
        Err(Rejection::row(Code::InvalidJson, "the payload is not an object"))
    }
}

/// The id of a sensor's reading: of its instant, however that was written.
fn reading_id(dataset: &str, sensor: &str, event_time: Timestamp) -> Id {
    let nanosecond = event_time.as_nanosecond().to_be_bytes();
    Id::of([dataset.as_bytes(), sensor.as_bytes(), nanosecond.as_slice()])
}

/// To a millionth: far below what any of the sources resolves, and without the digits that a change
/// of units invents. A number too large to have a millionth stays what it is.
fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { value }
}

/// What is wrong with a payload that serde could not read as a row.
///
/// The payload is known to be JSON by then, so that what is left is its shape.
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
