//! The datasets: how a row of each becomes an event.
//!
//! A new dataset is one file here, one line in [`ALL`] and one fixture folder under
//! `events/datasets/`; no function changes.

pub mod accidents;
mod us;

use jiff::Timestamp;

use crate::bad_row::{Code, Rejection};
use crate::event::Event;

/// How the rows of one feed become events.
pub trait Dataset: Sync {
    /// The name in records, keys and metrics.
    fn name(&self) -> &'static str;

    /// The columns without which a file is not of this dataset. A header that has them all is
    /// recognised as this dataset where nothing else says which it is.
    fn required_columns(&self) -> &'static [&'static str];

    /// The column whose value is the partition key of the raw record: what must keep its order
    /// where rows have one, the natural key where they do not, so that load spreads.
    fn partition_column(&self) -> &'static str;

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
pub static ALL: &[&dyn Dataset] = &[&accidents::Accidents];

/// The dataset of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Dataset> {
    ALL.iter().copied().find(|dataset| dataset.name() == name)
}

/// The dataset whose required columns are all in `columns`; of several, the most demanding.
#[must_use]
pub fn by_columns(columns: &[&str]) -> Option<&'static dyn Dataset> {
    ALL.iter()
        .copied()
        .filter(|dataset| dataset.required_columns().iter().all(|column| columns.contains(column)))
        .max_by_key(|dataset| dataset.required_columns().len())
}

/// The names of all datasets, for messages.
#[must_use]
pub fn names() -> String {
    ALL.iter().map(|dataset| dataset.name()).collect::<Vec<_>>().join(", ")
}

/// Rejects a payload that is no object: serde would read the fields of a row from an array too.
fn check_object(payload: &str) -> Result<(), Rejection> {
    if is_object(payload.as_bytes()) {
        Ok(())
    } else {
        Err(Rejection::row(Code::InvalidJson, "the payload is not an object"))
    }
}

/// Whether JSON text is an object, by its first byte.
pub(crate) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
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
