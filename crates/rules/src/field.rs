//! Fields of an event, by the names of the serialized event.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use jiff::Timestamp;

use tributary_model::event::Event;

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Double,
    Int,
    Text,
    Null,
    Tags,
    Object,
}

/// Value of a field or of a part of a condition, without a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'e> {
    Bool(bool),
    Double(f64),
    Int(i64),
    Text(&'e str),
    /// Time, compared as the text that the serialized event has.
    Time(Timestamp),
    /// The same, always with milliseconds.
    Millis(Timestamp),
    Tags,
    /// Object of this name.
    Object(&'static str),
}

/// Reads a field of an event; the name is that of a measure or an attribute.
pub(crate) type Get = for<'e> fn(&'e Event<'_>, &str) -> Option<Value<'e>>;

/// Returns type and reader of a field of an object; the name of the event is "".
pub(crate) fn member(object: &str, name: &str) -> Option<(Type, Get)> {
    Some(match (object, name) {
        ("measures", _) => {
            (Type::Double, |event, name| event.measures.get(name).copied().map(Value::Double))
        }
        ("attributes", _) => {
            (Type::Text, |event, name| event.attributes.get(name).map(|it| Value::Text(it)))
        }
        ("", "kind") => (Type::Text, |event, _| Some(Value::Text(event.kind.as_str()))),
        ("", "dataset") => (Type::Text, |event, _| Some(Value::Text(&event.dataset))),
        ("", "event_id") => (Type::Text, |event, _| Some(Value::Text(&event.event_id))),
        ("", "entity") => (Type::Text, |event, _| Some(Value::Text(&event.entity))),
        ("", "event_time") => (Type::Text, |event, _| Some(Value::Time(event.event_time))),
        ("", "received_at") => (Type::Text, |event, _| Some(Value::Millis(event.received_at))),
        ("", "measures") => (Type::Object, |_, _| Some(Value::Object("measures"))),
        ("", "attributes") => (Type::Object, |_, _| Some(Value::Object("attributes"))),
        ("", "tags") => (Type::Tags, |_, _| Some(Value::Tags)),
        ("", "location") => {
            (Type::Object, |event, _| event.location.as_ref().map(|_| Value::Object("location")))
        }
        ("", "window") => {
            (Type::Object, |event, _| event.window.as_ref().map(|_| Value::Object("window")))
        }
        ("location", "lat") => {
            (Type::Double, |event, _| Some(Value::Double(event.location.as_ref()?.lat)))
        }
        ("location", "lon") => {
            (Type::Double, |event, _| Some(Value::Double(event.location.as_ref()?.lon)))
        }
        ("location", "cell") => {
            (Type::Text, |event, _| Some(Value::Text(&event.location.as_ref()?.cell)))
        }
        ("window", "spec") => {
            (Type::Text, |event, _| Some(Value::Text(&event.window.as_ref()?.spec)))
        }
        ("window", "start") => {
            (Type::Text, |event, _| Some(Value::Time(event.window.as_ref()?.start)))
        }
        ("window", "end") => (Type::Text, |event, _| Some(Value::Time(event.window.as_ref()?.end))),
        ("window", "revision") => {
            (Type::Int, |event, _| Some(Value::Int(event.window.as_ref()?.revision.into())))
        }
        _ => return None,
    })
}

impl Value<'_> {
    /// Compares booleans, numbers or texts, as CEL orders them; `None` if they have no order.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(other)),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            _ => match (self.number(), other.number()) {
                (Some(one), Some(other)) => one.partial_cmp(&other),
                _ => self.with_text(|one| other.with_text(|other| one.cmp(other)))?,
            },
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as CEL compares an integer with a double")]
    fn number(&self) -> Option<f64> {
        match self {
            Self::Double(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// Calls `read` with a text, if the value is one.
    pub(crate) fn with_text<R>(&self, read: impl FnOnce(&str) -> R) -> Option<R> {
        match self {
            Self::Text(text) => Some(read(text)),
            Self::Time(time) => Some(read(Buffer::of(format_args!("{time}")).as_str())),
            Self::Millis(time) => Some(read(Buffer::of(format_args!("{time:.3}")).as_str())),
            _ => None,
        }
    }
}

/// Text of a time, without an allocation.
struct Buffer {
    /// As long as `-009999-01-01T00:00:00.123456789Z`, and some.
    bytes: [u8; 40],
    length: usize,
}

impl Buffer {
    fn of(time: fmt::Arguments<'_>) -> Self {
        let mut buffer = Self { bytes: [0; 40], length: 0 };
        // Fails only beyond the length of any time.
        let _ = buffer.write_fmt(time);
        buffer
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.length + part.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}
