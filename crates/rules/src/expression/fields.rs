//! CEL view of an event or a JSON object: maps that read it in place.
//!
//! Converting an event costs more than building one, and a rule uses two fields of twenty.

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};

use crate::field::{Value, member};
use tributary_model::event::{Event, Text};

/// Event or an object inside one, by its name, or the text of a JSON object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fields<'e> {
    Event(&'e Event<'e>, &'static str),
    Json(&'e str),
}

impl<'e> Fields<'e> {
    /// Returns the field of a name; names are those of the serialized event.
    fn field(self, name: &str) -> Option<Box<dyn Val + 'e>> {
        let (event, object) = match self {
            Self::Event(event, object) => (event, object),
            Self::Json(object) => return super::json::field(object, name),
        };
        let value = member(object, name)?.value(event, name)?;
        Some(match value {
            Value::Bool(value) => Box::new(CelBool::from(value)),
            Value::Double(number) => Box::new(CelDouble::from(number)),
            Value::Int(number) => Box::new(CelInt::from(number)),
            Value::Text(text) => Box::new(CelString::from(text)),
            Value::Time(_) | Value::Millis(_) => {
                Box::new(CelString::from(value.with_text(str::to_owned)?))
            }
            Value::Tags => {
                let tag =
                    |tag: &'e Text<'e>| Box::new(CelString::from(&**tag)) as Box<dyn Val + 'e>;
                Box::new(CelList::from(event.tags.iter().map(tag).collect::<Vec<_>>()))
            }
            Value::Object(name) => Box::new(Self::Event(event, name)),
        })
    }
}

/// Returns an index as a field name.
fn name(index: &dyn Val) -> Result<&str, ExecutionError> {
    index.downcast_ref::<CelString>().map(CelString::inner).ok_or_else(|| {
        let got = index.get_type().name().to_owned();
        ExecutionError::UnexpectedType { got, want: "string".to_owned() }
    })
}

impl Val for Fields<'_> {
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

impl Indexer for Fields<'_> {
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

impl Container for Fields<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.field(name(value)?).is_some())
    }
}
