//! Templates for title and key of an alert: text with fields of the event.

use tributary_model::config_error::ConfigError;
use tributary_model::domain::rounded;
use tributary_model::event::Event;

/// Fields allowed in braces.
pub(super) const FIELDS: &str = "{dataset}, {event_id}, {entity}, {event_time}, {attributes.…}, \
                                 {measures.…}, {window.start}, {window.end}";

/// Returns true if `name` is allowed in braces.
pub(super) fn is_field(name: &str) -> bool {
    match name {
        "dataset" | "event_id" | "entity" | "event_time" | "window.start" | "window.end" => true,
        _ => name.starts_with("attributes.") || name.starts_with("measures."),
    }
}

/// Text with `{fields}` of an event.
#[derive(Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    /// Name of a field.
    Field(String),
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
            if !is_field(name) {
                return Err(ConfigError::new(owner, format!("{{{name}}} is none of {FIELDS}")));
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Field(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Renders the text of `event` for people, with at most three decimals. A missing field shows
    /// as `?`.
    pub(super) fn render(&self, event: &Event<'_>) -> String {
        self.with(event, |number| rounded(number, 3)).0
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
                Piece::Field(name) => match field(event, name, shown) {
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

/// Returns the text of a field of `event`, or `None` if the event lacks it.
fn field(event: &Event<'_>, name: &str, shown: fn(f64) -> String) -> Option<String> {
    Some(match name {
        "dataset" => event.dataset.clone().into_owned(),
        "event_id" => event.event_id.clone().into_owned(),
        "entity" => event.entity.clone().into_owned(),
        "event_time" => event.event_time.to_string(),
        "window.start" => event.window.as_ref()?.start.to_string(),
        "window.end" => event.window.as_ref()?.end.to_string(),
        _ => match name.split_once('.')? {
            ("attributes", key) => event.attributes.get(key)?.clone().into_owned(),
            (_, key) => shown(*event.measures.get(key)?),
        },
    })
}
