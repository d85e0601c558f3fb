//! CEL view of an event or a JSON object: maps that read it in place.
//!
//! Converting an event costs more than building one, and a rule uses two fields of twenty.

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer};
use cel::common::types::{CelDouble, CelInt, CelList, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};

use tributary_model::event::{Attributes, Event, Location, Measures, WindowSpan};

/// Event, an object inside one, or the text of a JSON object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fields<'e> {
    Event(&'e Event<'e>),
    Location(&'e Location<'e>),
    Measures(&'e Measures<'e>),
    Attributes(&'e Attributes<'e>),
    Window(&'e WindowSpan<'e>),
    Json(&'e str),
}

fn text<'v>(text: &'v str) -> Box<dyn Val + 'v> {
    Box::new(CelString::from(text))
}

fn owned_text<'v>(text: &impl ToString) -> Box<dyn Val + 'v> {
    Box::new(CelString::from(text.to_string()))
}

fn number<'v>(number: f64) -> Box<dyn Val + 'v> {
    Box::new(CelDouble::from(number))
}

impl<'e> Fields<'e> {
    /// Returns the field of a name; names are those of the serialized event.
    fn field(self, name: &str) -> Option<Box<dyn Val + 'e>> {
        match self {
            Self::Event(event) => event_field(event, name),
            Self::Location(location) => Some(match name {
                "lat" => number(location.lat),
                "lon" => number(location.lon),
                "cell" => text(&location.cell),
                _ => return None,
            }),
            Self::Measures(measures) => measures.get(name).copied().map(number),
            Self::Attributes(attributes) => attributes.get(name).map(|value| text(value)),
            Self::Window(window) => Some(match name {
                "spec" => text(&window.spec),
                "start" => owned_text(&window.start),
                "end" => owned_text(&window.end),
                "revision" => Box::new(CelInt::from(i64::from(window.revision))),
                _ => return None,
            }),
            Self::Json(object) => super::json::field(object, name),
        }
    }
}

fn event_field<'e>(event: &'e Event<'e>, name: &str) -> Option<Box<dyn Val + 'e>> {
    Some(match name {
        "kind" => text(event.kind.as_str()),
        "dataset" => text(&event.dataset),
        "event_id" => text(&event.event_id),
        "entity" => text(&event.entity),
        "event_time" => owned_text(&event.event_time),
        "received_at" => owned_text(&tributary_model::time::millis(event.received_at)),
        "location" => Box::new(Fields::Location(event.location.as_ref()?)),
        "measures" => Box::new(Fields::Measures(&event.measures)),
        "attributes" => Box::new(Fields::Attributes(&event.attributes)),
        "tags" => {
            Box::new(CelList::from(event.tags.iter().map(|tag| text(tag)).collect::<Vec<_>>()))
        }
        "window" => Box::new(Fields::Window(event.window.as_ref()?)),
        _ => return None,
    })
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
