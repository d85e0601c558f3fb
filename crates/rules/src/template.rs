//! Templates for title and key of an alert: text with fields of the event.

use tributary_model::config_error::ConfigError;
use tributary_model::event::Event;

/// Fields allowed in braces.
pub(super) const FIELDS: &str = "{dataset}, {event_id}, {entity}, {event_time}, {attributes.…}, \
                                 {measures.…}, {window.start}, {window.end}";

/// Returns true if `name` is allowed in braces.
pub(super) fn is_field(name: &str) -> bool {
    Field::named(name).is_some()
}

/// Text with `{fields}` of an event.
#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Debug)]
enum Field {
    Dataset,
    EventId,
    Entity,
    EventTime,
    Attribute(String),
    Measure(String),
    WindowStart,
    WindowEnd,
}

impl Template {
    /// Compiles `text`; error messages name its `owner`.
    ///
    /// # Errors
    ///
    /// Returns an error if a brace is not closed or encloses no known field.
    pub(super) fn compile(owner: &str, text: &str) -> Result<Self, ConfigError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(ConfigError::new(owner, format!("{text:?} lacks a closing brace")));
            };
            let field = Field::named(name).ok_or_else(|| {
                let message = format!("{{{name}}} is none of {FIELDS}");
                ConfigError::new(owner, message)
            })?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Field(field));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Renders the text of `event` for people, with at most three decimals. A missing field shows
    /// as `?`.
    pub(super) fn render(&self, event: &Event<'_>) -> String {
        self.with(event, rounded).0
    }

    /// Renders the text of `event` as a key. If a field is missing, the entity is appended, so that
    /// different entities do not share the key.
    pub(super) fn key(&self, event: &Event<'_>) -> String {
        match self.with(event, |number| number.to_string()) {
            (key, true) => key,
            (key, false) => format!("{key} {}", event.entity),
        }
    }

    /// Renders the text of `event`, and returns whether every field exists.
    fn with(&self, event: &Event<'_>, shown: fn(f64) -> String) -> (String, bool) {
        let (mut out, mut is_whole) = (String::new(), true);
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(field) => match field.of(event, shown) {
                    Some(value) => out.push_str(&value),
                    None => {
                        out.push('?');
                        is_whole = false;
                    }
                },
            }
        }
        (out, is_whole)
    }
}

/// Formats a number with at most three decimals.
fn rounded(number: f64) -> String {
    let text = format!("{number:.3}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "dataset" => Self::Dataset,
            "event_id" => Self::EventId,
            "entity" => Self::Entity,
            "event_time" => Self::EventTime,
            "window.start" => Self::WindowStart,
            "window.end" => Self::WindowEnd,
            _ => match name.split_once('.')? {
                ("attributes", key) => Self::Attribute(key.to_owned()),
                ("measures", key) => Self::Measure(key.to_owned()),
                _ => return None,
            },
        })
    }

    fn of(&self, event: &Event<'_>, shown: fn(f64) -> String) -> Option<String> {
        Some(match self {
            Self::Dataset => event.dataset.clone().into_owned(),
            Self::EventId => event.event_id.clone().into_owned(),
            Self::Entity => event.entity.clone().into_owned(),
            Self::EventTime => event.event_time.to_string(),
            Self::Attribute(key) => event.attributes.get(key)?.clone().into_owned(),
            Self::Measure(key) => shown(*event.measures.get(key)?),
            Self::WindowStart => event.window.as_ref()?.start.to_string(),
            Self::WindowEnd => event.window.as_ref()?.end.to_string(),
        })
    }
}
