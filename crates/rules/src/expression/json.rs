//! CEL view of JSON text: objects are parsed when a field is read, and nothing is copied.

use std::borrow::Cow;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer};
use cel::common::types::{CelBool, CelDouble, CelList, CelNull, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use serde_json::value::RawValue;

use super::fields::name;
use tributary_model::json::BorrowedText;
use tributary_rows::object_value;

/// Maximum nesting of lists; deeper values are null.
const MAX_DEPTH: usize = 16;

/// Text of a JSON object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<'e>(pub &'e str);

impl<'e> Json<'e> {
    /// Returns the value of a field, or `None` if it is missing or null.
    fn field(self, name: &str) -> Option<Box<dyn Val + 'e>> {
        let text = object_value(self.0, name)?;
        (text != "null").then(|| value(text, 0))
    }
}

/// Converts valid JSON text to a CEL value.
///
/// Every number is a double, like the measures of an event; CEL compares doubles with integers.
fn value(text: &str, depth: usize) -> Box<dyn Val + '_> {
    match text.as_bytes().first() {
        Some(b'{') => Box::new(Json(text)),
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

impl Val for Json<'_> {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for Json<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = name(index)?;
        match self.field(name) {
            Some(value) => Ok(CowVal::Owned(value)),
            None => Err(ExecutionError::no_such_key(name)),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Container for Json<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.field(name(value)?).is_some())
    }
}
