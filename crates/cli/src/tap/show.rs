//! Display of records.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use tributary_model::bad_row::{BadRow, Origin, Rejection};
use tributary_model::event::Event;
use tributary_model::raw::RawRecord;
use tributary_model::time::millis;
use tributary_rows::object_field;

use crate::output::for_stdout;

/// Format of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One record per line, as it is stored
    Json,
    /// Time, dataset, entity and measures in columns
    #[value(alias = "text")]
    Table,
    /// JSON on several lines
    Pretty,
}

/// Maximum characters of a raw record's row, and maximum bytes of an undecodable record, in a
/// table.
const MAX_TEXT: usize = 160;
const MAX_BYTES: usize = 48;

/// Maximum width of the entity column. A longer entity does not move the columns of other rows.
const MAX_WIDTH: usize = 32;

/// Record to show: a user record of the stream.
pub(super) struct DisplayRecord<'a> {
    pub arrived_at: Timestamp,
    pub partition_key: &'a str,
    pub data: &'a [u8],
}

/// Writer of records to standard output.
pub(super) struct Screen {
    out: io::BufWriter<io::Stdout>,
    format: Format,
    colours: bool,
    entity_width: usize,
    line: String,
}

impl Screen {
    /// Creates a screen. Without a format, it is a table on a terminal and JSON elsewhere.
    pub(super) fn new(format: Option<Format>) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let usual = if is_terminal { Format::Table } else { Format::Json };
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
        Self {
            out: io::BufWriter::with_capacity(1 << 16, stdout),
            format: format.unwrap_or(usual),
            colours,
            entity_width: 12,
            line: String::new(),
        }
    }

    /// Shows the text of one JSON object.
    pub(super) fn object(&mut self, record: &DisplayRecord<'_>, text: &str) -> io::Result<()> {
        match self.format {
            Format::Json => {
                // In valid JSON, unescaped line breaks occur between tokens only, so they can be
                // dropped.
                for part in text.split(['\n', '\r']) {
                    self.out.write_all(&for_stdout(part.as_bytes()))?;
                }
            }
            Format::Pretty => {
                let value: serde_json::Value = serde_json::from_str(text)?;
                self.out.write_all(&for_stdout(&serde_json::to_vec_pretty(&value)?))?;
            }
            Format::Table => return self.row(&Row::of(record, text)),
        }
        self.out.write_all(b"\n")
    }

    /// Shows a record that is not a JSON object. In JSON, it is the line that quarantine would
    /// hold, with all its bytes.
    pub(super) fn undecodable(
        &mut self,
        record: &DisplayRecord<'_>,
        rejection: &Rejection,
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        if self.format != Format::Table {
            let line = BadRow::new(rejection, origin, Some(record.data), record.arrived_at);
            self.out.write_all(&for_stdout(&serde_json::to_vec(&line)?))?;
            return self.out.write_all(b"\n");
        }
        let shown = &record.data[..record.data.len().min(MAX_BYTES)];
        let mut text = format!("{}: b\"{}\"", rejection.message, shown.escape_ascii());
        if record.data.len() > MAX_BYTES {
            // Writing to a string cannot fail.
            let _ = write!(text, "… {} bytes", record.data.len());
        }
        self.row(&Row {
            time: millis(record.arrived_at),
            dataset: rejection.code.as_str().into(),
            entity: record.partition_key.into(),
            text,
            is_bad: true,
        })
    }

    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let Row { time, dataset, entity, text, is_bad } = row;
        let (dataset, entity) = (plain(dataset), plain(entity));
        self.entity_width = self.entity_width.max(entity.chars().count().min(MAX_WIDTH));
        let width = self.entity_width;
        let (dim, bad, end) = match (self.colours, is_bad) {
            (false, _) => ("", "", ""),
            (true, false) => ("\x1b[2m", "", "\x1b[0m"),
            (true, true) => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
        };
        self.line.clear();
        let _ = write!(
            self.line,
            "{dim}{time:<24}{end}  {bad}{dataset:<10}{end}  {entity:<width$}  {}",
            plain(text)
        );
        self.out.write_all(self.line.trim_end().as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Flushes the buffer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Columns of one record.
struct Row<'a> {
    time: String,
    dataset: Cow<'a, str>,
    entity: Cow<'a, str>,
    text: String,
    is_bad: bool,
}

impl<'a> Row<'a> {
    fn of(record: &DisplayRecord<'a>, text: &'a str) -> Self {
        if let Ok(event) = Event::from_json(text.as_bytes()) {
            return Self {
                time: event.event_time.to_string(),
                text: measures(&event),
                dataset: event.dataset,
                entity: event.entity,
                is_bad: false,
            };
        }
        let raw = RawRecord::from_json(text.as_bytes()).ok();
        let (time, payload) = match &raw {
            Some(raw) => (raw.received_at, raw.payload.get()),
            None => (record.arrived_at, text),
        };
        let dataset = raw.map(|raw| raw.dataset).or_else(|| object_field(text, "dataset"));
        Self {
            time: millis(time),
            dataset: dataset.unwrap_or("-".into()),
            entity: record.partition_key.into(),
            text: cut(payload),
            is_bad: false,
        }
    }
}

/// Formats the measures and tags of an event, and the span of a window:
/// `temperature_c=27.5 humidity_pct=40.2 night`.
fn measures(event: &Event<'_>) -> String {
    let mut text = String::new();
    if let Some(window) = &event.window {
        let _ = write!(text, "{} {}/{} ", window.spec, window.start, window.end);
    }
    for (name, value) in event.measures.iter() {
        let _ = write!(text, "{name}={value} ");
    }
    for tag in &event.tags {
        let _ = write!(text, "{tag} ");
    }
    text.truncate(text.trim_end().len());
    text
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Escapes control characters, so that a producer to the stream cannot control the terminal.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> (String, String, String, String) {
        let arrived_at = "2026-11-20T10:00:02Z".parse().unwrap();
        let record = DisplayRecord { arrived_at, partition_key: "key-1", data: text.as_bytes() };
        let Row { time, dataset, entity, text, .. } = Row::of(&record, text);
        (time, dataset.into_owned(), entity.into_owned(), text)
    }

    #[test]
    fn event_row_has_time_entity_measures_tags() {
        let event = r#"{"kind":"reading","dataset":"telemetry","event_id":"e","entity":"device-01",
            "event_time":"2025-11-05T12:00:00Z","received_at":"2026-11-20T10:00:00.000Z",
            "measures":{"temperature_c":27.5,"humidity_pct":40.0},"attributes":{},"tags":["hot"]}"#;

        let (time, dataset, entity, text) = row(event);

        assert_eq!(time, "2025-11-05T12:00:00Z");
        assert_eq!((dataset.as_str(), entity.as_str()), ("telemetry", "device-01"));
        assert_eq!(text, "temperature_c=27.5 humidity_pct=40 hot");
    }

    #[test]
    fn raw_record_row_shows_payload() {
        let raw = r#"{"dataset":"flood","record_id":"0","source":"s",
            "received_at":"2026-11-20T10:00:00.1Z","payload":{"sensor_id":"s-1"}}"#;

        let (time, dataset, entity, text) = row(raw);

        assert_eq!((time.as_str(), dataset.as_str()), ("2026-11-20T10:00:00.100Z", "flood"));
        assert_eq!((entity.as_str(), text.as_str()), ("key-1", r#"{"sensor_id":"s-1"}"#));
    }

    #[test]
    fn other_object_is_shown_truncated() {
        let (time, dataset, _, text) =
            row(&format!(r#"{{"dataset":7,"a":"{}"}}"#, "x".repeat(900)));

        assert_eq!((time.as_str(), dataset.as_str()), ("2026-11-20T10:00:02.000Z", "7"));
        assert!(text.chars().count() == MAX_TEXT + 1 && text.ends_with('…'));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}c\nd"), "a\\u{1b}[2Jb\\u{9b}c\\nd");
        assert_eq!(plain("Tolédo"), "Tolédo");
    }
}
