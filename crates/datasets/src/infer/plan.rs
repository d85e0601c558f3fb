//! Schema as planned, before it is text.

use std::fmt::Write as _;

use super::Entry;

/// Schema and the entries of its file.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Lines at the start of the file, without `#`.
    pub head: Vec<String>,
    pub entity: Line,
    pub event_id: Line,
    pub partition: Line,
    pub header: Option<Line>,
    pub missing: Option<Line>,
    pub interval: Option<Line>,
    pub file: Vec<Line>,
    pub time: Vec<Line>,
    pub location: Vec<Line>,
    pub measures: Vec<Line>,
    pub attributes: Vec<Line>,
    pub tags: Vec<Line>,
    pub metric: Vec<Line>,
    pub window: Vec<Line>,
    pub rule: Vec<Line>,
}

/// Key, value and the comment behind them.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub key: String,
    pub value: String,
    pub comment: String,
}

impl Line {
    pub(super) fn new(key: &str, value: String, comment: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value, comment: comment.into() }
    }
}

/// Returns a text as TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Returns a text as the key of a table in TOML. A basic string of one line has the escapes of JSON.
pub(super) fn key(text: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !text.is_empty() && text.bytes().all(is_bare) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

/// Returns texts as a list in TOML.
pub(super) fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<_> = texts.into_iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// Returns keys and values as an inline table.
pub(super) fn table(entries: &[(&str, String)]) -> String {
    let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", entries.join(", "))
}

/// Returns a range in TOML.
pub(super) fn range([low, high]: [f64; 2]) -> String {
    format!("[{low}, {high}]")
}

impl Plan {
    /// Returns the text of the file with some of the entries beside the schema.
    pub(super) fn text(&self, entries: &[Entry]) -> String {
        let none = Vec::new();
        let of_entry = |entry, lines| if entries.contains(&entry) { lines } else { &none };
        let mut text = String::new();
        for line in &self.head {
            text.push_str(format!("# {line}").trim_end());
            text.push('\n');
        }
        text.push('\n');
        let top = [&self.entity, &self.event_id, &self.partition];
        let optional = [&self.header, &self.missing, &self.interval];
        let top: Vec<_> = top.into_iter().chain(optional.into_iter().flatten()).cloned().collect();
        push_lines(&mut text, &top);
        for (name, lines) in [
            ("[file]", &self.file),
            ("[time]", &self.time),
            ("[location]", &self.location),
            ("[measures]", &self.measures),
            ("[attributes]", &self.attributes),
            ("[tags]", &self.tags),
            ("[[metrics]]", of_entry(Entry::Metric, &self.metric)),
            ("[[windows]]", of_entry(Entry::Window, &self.window)),
            ("[[rules]]", of_entry(Entry::Rule, &self.rule)),
        ] {
            if !lines.is_empty() {
                let _ = writeln!(text, "\n{name}");
                push_lines(&mut text, lines);
            }
        }
        text
    }
}

/// Appends lines. Writing to a string cannot fail.
fn push_lines(text: &mut String, lines: &[Line]) {
    for Line { key, value, comment } in lines {
        if value.is_empty() {
            let _ = writeln!(text, "# {comment}");
        } else if comment.is_empty() {
            let _ = writeln!(text, "{key} = {value}");
        } else if key.len() + value.len() + comment.len() > 110 {
            let _ = writeln!(text, "# {comment}\n{key} = {value}");
        } else {
            let _ = writeln!(text, "{key} = {value}  # {comment}");
        }
    }
}
