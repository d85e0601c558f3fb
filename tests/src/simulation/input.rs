//! Input rows of every dataset, good and bad, with the expected result of each.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tributary_datagen::random::Sequence;
use tributary_datagen::{FeedKind, Rates, Settings, Simulation};
use tributary_model::event::{Event, Kind};
use tributary_pipeline::transform::{Outcome, Transformer};
use tributary_testkit::clock;

use crate::oracle;

pub(super) const FEEDS: [FeedKind; 4] =
    [FeedKind::Accidents, FeedKind::Covid, FeedKind::Flood, FeedKind::Telemetry];

/// Time by which the clock of some devices is ahead: 40 days.
pub(super) const CLOCK_AHEAD: SignedDuration = SignedDuration::from_hours(40 * 24);

/// Device whose readings are never refused.
pub(super) const LIVELY: &str = "lively";

/// One row of one dataset, as one line of JSON.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Name of the dataset.
    pub dataset: &'static str,
    /// The line without its newline.
    pub line: Vec<u8>,
}

/// Expected result of a row.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// An event, without `received_at`.
    Event {
        /// Id of the event.
        event_id: String,
        /// The event as JSON.
        event: Value,
    },
    /// A bad row.
    Bad,
}

/// Endless rows from a seed.
pub(super) struct Rows {
    feeds: Vec<(FeedKind, Simulation)>,
    chance: Sequence,
    /// Chance of a device with a clock that runs ahead.
    ahead: Sequence,
    bad: f64,
}

impl Rows {
    /// Returns the rows of a seed. A share of `bad` is bad; a share of `disorder` is sent late, and
    /// the same share twice.
    #[must_use]
    pub(super) fn new(seed: u64, bad: f64, disorder: f64) -> Self {
        let feed = |kind: FeedKind| {
            let mut usual = Settings::of(kind);
            if kind == FeedKind::Telemetry {
                // Rows start now: readings from the past would suppress no-data alerts.
                usual.start_ms = clock::now().as_millisecond();
                // Slow enough for rows to be a minute of event time, so that shards pass each other.
                usual.interval_ms *= 4;
            }
            let rates = Rates { late: disorder, duplicate: disorder, ..usual.rates };
            let settings = Settings { seed, rates, ..usual };
            Simulation::new(kind, &settings).ok().map(|simulation| (kind, simulation))
        };
        let feeds = FEEDS.into_iter().filter_map(feed).collect();
        let (chance, ahead) = (Sequence::new(seed, 0x0b5), Sequence::new(seed, 0xaea));
        Self { feeds, chance, ahead, bad }
    }

    /// Returns a number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.chance.bits() % bound.max(1) as u64) as usize
    }

    /// Returns true with a probability of `rate`.
    pub(super) fn chance(&mut self, rate: f64) -> bool {
        self.chance.chance(rate)
    }

    /// Returns the next `count` rows, all of one dataset.
    pub(super) fn take(&mut self, count: usize) -> Vec<Row> {
        let feed = self.below(self.feeds.len());
        (0..count).filter_map(|_| self.next_of(feed)).collect()
    }

    fn next_of(&mut self, feed: usize) -> Option<Row> {
        let is_bad = self.chance.chance(self.bad);
        let (way, number) = (self.below(9), self.chance.bits() >> 32);
        let is_ahead = self.ahead.chance(0.05);
        let (kind, simulation) = self.feeds.get_mut(feed)?;
        let dataset = kind.name();
        let mut line = simulation.next()?.json.to_vec();
        if is_bad {
            corrupt(&mut line, way, number);
        } else if is_ahead {
            set_clock_ahead(&mut line);
        }
        Some(Row { dataset, line })
    }
}

/// Makes a good row bad, in one of several ways. The line never becomes empty: that would be no
/// row.
fn corrupt(line: &mut Vec<u8>, way: usize, number: u64) {
    match way {
        0 => line.truncate(line.len() / 2),
        1 => line.insert(2, 0xff),
        2 => *line = b"[1, 2, 3]".to_vec(),
        3 => *line = b"{\"sensor_id\":\"nobody\"}".to_vec(),
        4 => {
            // Repeat a field.
            if let Some(end) = line.iter().position(|byte| *byte == b',') {
                let field = line[1..=end].to_vec();
                line.splice(1..1, field);
            }
        }
        5 => *line = b"not JSON at all".to_vec(),
        // Before all time, beyond what services take, and more digits than a number keeps.
        6 => set(line, &["timestamp", "Start_Time"], "\"0000-01-01T00:00:00+00:01\""),
        // The ids are new: another content under a known id is a conflict.
        7 => {
            set(line, &["sensor_id", "device_id", "ID"], &format!("\"odd-{number}\""));
            set(line, &["temperature", "Temperature(F)"], "1e200");
        }
        _ => set(line, &["sensor_id", "device_id", "ID"], &format!("18446744073709551617{number}")),
    }
}

/// Sets the fields of these names that a row has to a JSON value.
fn set(line: &mut Vec<u8>, names: &[&str], json: &str) {
    const PLACE: &str = "the value";
    let Ok(mut row) = serde_json::from_slice::<Value>(line) else { return };
    for name in names {
        if let Some(field) = row.get_mut(*name) {
            *field = PLACE.into();
        }
    }
    *line = row.to_string().replace(&format!("\"{PLACE}\""), json).into_bytes();
}

/// Moves the timestamp of a reading of a device ahead.
fn set_clock_ahead(line: &mut Vec<u8>) {
    let Ok(mut row) = serde_json::from_slice::<Value>(line) else { return };
    let time = row["timestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let Some(time) = time.filter(|_| row.get("temperature").is_some()) else { return };
    // Hot enough for an alert.
    row["temperature"] = 35.0.into();
    row["timestamp"] = (time + CLOCK_AHEAD).to_string().into();
    *line = row.to_string().into_bytes();
}

/// Returns the expected result of `line` in `dataset`: for two datasets by code of their own, if
/// that accepts the row without a fault.
#[must_use]
pub(super) fn expected(transformer: &Transformer, dataset: &str, line: &[u8]) -> Expected {
    let of_text = |text: &str| {
        serde_json::from_str::<serde_json::Map<String, Value>>(text).ok()?;
        let schema = transformer.datasets().by_name(dataset)?;
        let of_engine = match transformer.payload(schema, text, None) {
            Ok(Outcome::Event(event)) => Some(*event),
            _ => None,
        };
        let has_faults = of_engine.as_ref().is_some_and(|event| !event.faults.is_empty());
        let of_oracle = match dataset {
            _ if has_faults => None,
            "accidents" => oracle::accidents::event(text, None).ok(),
            "telemetry" => oracle::telemetry::event(text, None).ok(),
            _ => None,
        };
        let event = of_oracle.or(of_engine)?;
        let event_id = event.event_id.clone().into_owned();
        Some(Expected::Event {
            event_id,
            event: without_receipt(serde_json::to_value(&event).ok()?),
        })
    };
    str::from_utf8(line).ok().and_then(of_text).unwrap_or(Expected::Bad)
}

/// Returns true for the data of an event that the stream refuses, in a simulation with refusals.
pub(super) fn is_refused(data: &[u8]) -> bool {
    let event = Event::from_json(data);
    event.is_ok_and(|event| {
        event.kind == Kind::Reading && is_refused_reading(&event.event_id, &event.entity)
    })
}

/// Returns true for one reading in 16, but for none of the device that must not pause.
pub(super) fn is_refused_reading(event_id: &str, entity: &str) -> bool {
    event_id.starts_with('0') && entity != LIVELY
}

/// Removes the arrival time from an event, and the tag that depends on it: they do not depend on the
/// input.
#[must_use]
pub(super) fn without_receipt(mut event: Value) -> Value {
    if let Some(fields) = event.as_object_mut() {
        fields.remove("received_at");
    }
    if let Some(tags) = event["tags"].as_array_mut() {
        tags.retain(|tag| tag != "clock_ahead");
    }
    event
}

/// Returns true if the tag `clock_ahead` of an event is as its times require: 5 minutes are the
/// allowance.
pub(super) fn is_tagged_rightly(event: &Event<'_>) -> bool {
    let lead = event.event_time.as_second() - event.received_at.as_second();
    let is_tagged = event.tags.iter().any(|tag| tag == "clock_ahead");
    if is_tagged { lead >= 300 } else { lead <= 300 }
}

/// Returns the rows as a JSON Lines file, and the offset of each.
#[must_use]
pub(super) fn json_lines(rows: &[Row]) -> (Vec<u8>, BTreeMap<u64, Row>) {
    let (mut file, mut offsets) = (Vec::new(), BTreeMap::new());
    for row in rows {
        offsets.insert(file.len() as u64, row.clone());
        file.extend_from_slice(&row.line);
        file.push(b'\n');
    }
    (file, offsets)
}

#[cfg(test)]
mod tests {
    use tributary_config::Configuration;

    use super::*;

    #[test]
    fn rows_cover_datasets_and_results() {
        let configuration = Configuration::shipped();
        let transformer =
            configuration.and_then(|it| it.transformer()).unwrap_or_else(|_| unreachable!());
        let mut rows = Rows::new(7, 0.3, 0.1);
        let mut seen: BTreeMap<_, [usize; 2]> = BTreeMap::new();
        for row in (0..100).flat_map(|_| rows.take(10)) {
            let is_bad = matches!(expected(&transformer, row.dataset, &row.line), Expected::Bad);
            seen.entry(row.dataset).or_default()[usize::from(is_bad)] += 1;
        }

        assert_eq!(seen.len(), 4);
        assert!(seen.values().all(|[good, bad]| *good > 100 && *bad > 30), "{seen:?}");
    }
}
