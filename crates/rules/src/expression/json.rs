//! CEL view of JSON text: objects are parsed when a field is read, and nothing is copied.

use std::borrow::Cow;

use cel::common::types::{CelBool, CelDouble, CelList, CelNull, CelString};
use cel::common::value::Val;
use serde_json::value::RawValue;

use super::fields::Fields;
use tributary_model::json::BorrowedText;
use tributary_rows::object_value;

/// Maximum nesting of lists; deeper values are null.
const MAX_DEPTH: usize = 16;

/// Returns the value of a field of a JSON object, or `None` if it is missing or null.
pub(super) fn field<'e>(object: &'e str, name: &str) -> Option<Box<dyn Val + 'e>> {
    let text = object_value(object, name)?;
    (text != "null").then(|| value(text, 0))
}

/// Converts valid JSON text to a CEL value.
///
/// Every number is a double, like the measures of an event; CEL compares doubles with integers.
fn value(text: &str, depth: usize) -> Box<dyn Val + '_> {
    match text.as_bytes().first() {
        Some(b'{') => Box::new(Fields::Json(text)),
        Some(b'[') if depth < MAX_DEPTH => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            let elements = elements.into_iter().map(|element| value(element.get(), depth + 1));
            Box::new(CelList::from(elements.collect::<Vec<_>>()))
        }
        Some(b'"') => match serde_json::from_str(text) {
            Ok(BorrowedText(Cow::Borrowed(text))) => Box::new(CelString::from(text)),
            Ok(BorrowedText(Cow::Owned(text))) => Box::new(CelString::from(text)),
            Err(_) => Box::new(CelNull),
        },
        Some(b't' | b'f') => Box::new(CelBool::from(text == "true")),
        _ => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Box::new(CelDouble::from(number)),
            _ => Box::new(CelNull),
        },
    }
}
