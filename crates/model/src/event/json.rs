//! Writes an event as JSON. Every function that makes events writes one for each record, and the
//! general serializer is twice the work: it looks at each byte of each name.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use super::{Event, Location, Text, WindowSpan};
use crate::json::{push_json, push_number};

/// As [`as_rfc3339`](crate::time::as_rfc3339) writes times.
const PRINTER: DateTimePrinter = DateTimePrinter::new();
/// As [`as_millis`](crate::time::as_millis) writes times.
const MILLIS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// Usual maximum of the bytes of an event.
const CAPACITY: usize = 1_024;

impl Event<'_> {
    /// Returns the event as JSON: see [`Event::write_json`].
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CAPACITY);
        self.write_json(&mut out);
        out
    }

    /// Appends the event as its [`Serialize`](serde::Serialize) does: one JSON object on one line.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        // Without `..`, so that a new field does not compile until it is written.
        let Self {
            kind,
            dataset,
            event_id,
            entity,
            event_time,
            received_at,
            location,
            measures,
            attributes,
            tags,
            faults,
            window,
        } = self;
        out.extend_from_slice(b"{\"kind\":");
        push_json(out, kind.as_str());
        push_text(out, b",\"dataset\":", dataset);
        push_text(out, b",\"event_id\":", event_id);
        push_text(out, b",\"entity\":", entity);
        push_time(out, b",\"event_time\":", &PRINTER, *event_time);
        push_time(out, b",\"received_at\":", &MILLIS, *received_at);
        if let Some(location) = location {
            push_location(out, location);
        }
        out.extend_from_slice(b",\"measures\":{");
        for (index, (name, value)) in measures.iter().enumerate() {
            push_name(out, index, name);
            push_number(out, *value);
        }
        out.extend_from_slice(b"},\"attributes\":{");
        for (index, (name, value)) in attributes.iter().enumerate() {
            push_name(out, index, name);
            push_json(out, value);
        }
        push_list(out, b"},\"tags\":[", tags);
        if !faults.is_empty() {
            push_list(out, b",\"faults\":[", faults);
        }
        if let Some(window) = window {
            push_window(out, window);
        }
        out.push(b'}');
    }
}

fn push_text(out: &mut Vec<u8>, head: &[u8], text: &str) {
    out.extend_from_slice(head);
    push_json(out, text);
}

#[expect(clippy::expect_used, reason = "a vector takes every byte")]
fn push_time(out: &mut Vec<u8>, head: &[u8], printer: &DateTimePrinter, time: Timestamp) {
    out.extend_from_slice(head);
    out.push(b'"');
    printer.print_timestamp(&time, &mut *out).expect("a vector takes every byte");
    out.push(b'"');
}

fn push_location(out: &mut Vec<u8>, Location { lat, lon, cell }: &Location<'_>) {
    out.extend_from_slice(b",\"location\":{\"lat\":");
    push_number(out, *lat);
    out.extend_from_slice(b",\"lon\":");
    push_number(out, *lon);
    push_text(out, b",\"cell\":", cell);
    out.push(b'}');
}

fn push_window(out: &mut Vec<u8>, WindowSpan { spec, start, end, revision }: &WindowSpan<'_>) {
    push_text(out, b",\"window\":{\"spec\":", spec);
    push_time(out, b",\"start\":", &PRINTER, *start);
    push_time(out, b",\"end\":", &PRINTER, *end);
    out.extend_from_slice(format!(",\"revision\":{revision}}}").as_bytes());
}

fn push_name(out: &mut Vec<u8>, index: usize, name: &str) {
    push_text(out, if index == 0 { b"" } else { b"," }, name);
    out.push(b':');
}

fn push_list(out: &mut Vec<u8>, head: &[u8], texts: &[Text<'_>]) {
    out.extend_from_slice(head);
    for (index, text) in texts.iter().enumerate() {
        push_text(out, if index == 0 { b"" } else { b"," }, text);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Attributes, Kind, Measures};
    use crate::json::to_json;

    const TEXT: &str = "[\\x00-\\x7fä😀]{0,12}";

    fn times() -> impl Strategy<Value = Timestamp> {
        (-60_000_000_000_i64..200_000_000_000, 0..1_000_000_000)
            .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
    }

    prop_compose! {
        fn events()(
            texts in (TEXT, TEXT, TEXT, vec(TEXT, 0..3), vec(TEXT, 0..3)),
            times in (times(), times()),
            place in option::of((-90.0..90.0, -180.0..180.0)),
            numbers in vec((TEXT, any::<f64>()), 0..4),
            pairs in vec((TEXT, TEXT), 0..4),
            window in option::of((TEXT, times(), times(), any::<u32>())),
        ) -> Event<'static> {
            let texts_of = |texts: Vec<String>| texts.into_iter().map(Text::from).collect();
            let (mut measures, mut attributes) = (Measures::default(), Attributes::default());
            for (name, number) in numbers {
                measures.push(name, number);
            }
            for (name, text) in pairs {
                attributes.push(name, text);
            }
            let window = window.map(|(spec, start, end, revision)| {
                WindowSpan { spec: spec.into(), start, end, revision }
            });
            Event {
                kind: if window.is_some() { Kind::Window } else { Kind::Reading },
                dataset: texts.0.into(),
                event_id: texts.1.into(),
                entity: texts.2.into(),
                event_time: times.0,
                received_at: times.1,
                location: place.and_then(|(lat, lon)| Location::new(lat, lon)),
                measures,
                attributes,
                tags: texts_of(texts.3),
                faults: texts_of(texts.4),
                window,
            }
        }
    }

    proptest! {
        #[test]
        fn any_event_is_written_as_by_serde(event in events()) {
            prop_assert_eq!(String::from_utf8(event.to_json()).unwrap(), to_json(&event));
        }
    }
}
