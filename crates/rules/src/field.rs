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

/// Reader of a field by its type; its argument is the name of a measure or an attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Get {
    Double(fn(&Event<'_>, &str) -> Option<f64>),
    Int(fn(&Event<'_>, &str) -> Option<i64>),
    Text(for<'e> fn(&'e Event<'_>, &str) -> Option<&'e str>),
    Time(fn(&Event<'_>) -> Option<Timestamp>),
    Millis(fn(&Event<'_>) -> Option<Timestamp>),
    Tags,
    /// Object of this name, and whether the event has it.
    Object(&'static str, fn(&Event<'_>) -> bool),
}

/// Returns the reader of a field of an object; the name of the event is "".
pub(crate) fn member(object: &str, name: &str) -> Option<Get> {
    Some(match (object, name) {
        ("measures", _) => Get::Double(|event, name| event.measures.get(name).copied()),
        ("attributes", _) => Get::Text(|event, name| event.attributes.get(name).map(|it| &**it)),
        ("", "kind") => Get::Text(|event, _| Some(event.kind.as_str())),
        ("", "dataset") => Get::Text(|event, _| Some(&event.dataset)),
        ("", "event_id") => Get::Text(|event, _| Some(&event.event_id)),
        ("", "entity") => Get::Text(|event, _| Some(&event.entity)),
        ("", "event_time") => Get::Time(|event| Some(event.event_time)),
        ("", "received_at") => Get::Millis(|event| Some(event.received_at)),
        ("", "measures") => Get::Object("measures", |_| true),
        ("", "attributes") => Get::Object("attributes", |_| true),
        ("", "tags") => Get::Tags,
        ("", "location") => Get::Object("location", |event| event.location.is_some()),
        ("", "window") => Get::Object("window", |event| event.window.is_some()),
        ("location", "lat") => Get::Double(|event, _| Some(event.location.as_ref()?.lat)),
        ("location", "lon") => Get::Double(|event, _| Some(event.location.as_ref()?.lon)),
        ("location", "cell") => Get::Text(|event, _| Some(&event.location.as_ref()?.cell)),
        ("window", "spec") => Get::Text(|event, _| Some(&event.window.as_ref()?.spec)),
        ("window", "start") => Get::Time(|event| Some(event.window.as_ref()?.start)),
        ("window", "end") => Get::Time(|event| Some(event.window.as_ref()?.end)),
        ("window", "revision") => Get::Int(|event, _| Some(event.window.as_ref()?.revision.into())),
        _ => return None,
    })
}

impl Get {
    pub(crate) fn value_type(self) -> Type {
        match self {
            Self::Double(_) => Type::Double,
            Self::Int(_) => Type::Int,
            Self::Text(_) | Self::Time(_) | Self::Millis(_) => Type::Text,
            Self::Tags => Type::Tags,
            Self::Object(..) => Type::Object,
        }
    }

    /// Returns the value of the field, if the event has it.
    pub(crate) fn value<'e>(self, event: &'e Event<'_>, name: &str) -> Option<Value<'e>> {
        match self {
            Self::Double(get) => get(event, name).map(Value::Double),
            Self::Int(get) => get(event, name).map(Value::Int),
            Self::Text(get) => get(event, name).map(Value::Text),
            Self::Time(get) => get(event).map(Value::Time),
            Self::Millis(get) => get(event).map(Value::Millis),
            Self::Tags => Some(Value::Tags),
            Self::Object(name, is_in) => is_in(event).then_some(Value::Object(name)),
        }
    }
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
