//! Digests: many alerts of one rule in few messages that list every alert.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use jiff::Timestamp;
use serde::Serialize;

use super::{Alert, AlertStatus};
use crate::Severity;
use tributary_model::bad_row::first_chars;
use tributary_model::id::Id;
use tributary_model::json::to_json;

/// Maximum length in characters of a key or a title in a digest.
const MAX_TEXT_CHARS: usize = 200;

/// Number of alerts whose titles a digest shows.
const EXAMPLES: usize = 3;

/// Maximum size in bytes of a digest without its keys: five texts of [`MAX_TEXT_CHARS`], of which
/// JSON takes up to six bytes a character, and a dozen numbers and names.
const HEAD_BYTES: usize = 8 * 1024;

/// Size in bytes of a key without its text: 34 bytes of names and braces, and its number of events,
/// which is below a billion.
const KEY_BYTES: usize = 34 + 9;

/// Size in bytes of an id with its quotes and comma.
const ID_BYTES: usize = 35;

/// Plan of the messages for the alerts of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Number of alerts, from the first on, with a message of their own.
    pub singles: usize,
    /// Digests of the alerts after them, in order. Alerts in no digest exceed the number of
    /// messages.
    pub digests: Vec<Digest>,
}

/// Message for many alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Range of the alerts in this digest.
    pub alerts: Range<usize>,
    /// One-line summary.
    pub title: String,
    /// Message: a JSON object of `digest_id, rule, severity, dataset, title, alerts, events, from,
    /// to, part, parts, examples, keys`, of at most the `max_bytes` of [`plan`].
    ///
    /// `keys` has an object of `key, events, alert_ids` for each key, the key with the most events
    /// first.
    pub message: String,
}

#[derive(Serialize)]
struct Message<'a> {
    digest_id: Id,
    rule: &'a str,
    severity: Severity,
    dataset: &'a str,
    title: &'a str,
    alerts: usize,
    events: u64,
    from: String,
    to: String,
    part: usize,
    parts: usize,
    examples: Vec<&'a str>,
    keys: Vec<OfKey<'a>>,
}

#[derive(Serialize)]
struct OfKey<'a> {
    key: &'a str,
    events: u64,
    alert_ids: Vec<Id>,
}

/// Plans up to `messages` messages for `alerts` of one rule: as many single messages as possible,
/// the rest in as few digests of at most `max_bytes` as possible.
///
/// If digests alone cannot hold all alerts, the last ones are in none.
#[must_use]
pub fn plan(alerts: &[&Alert], messages: usize, max_bytes: usize) -> Plan {
    if alerts.len() <= messages {
        return Plan { singles: alerts.len(), digests: Vec::new() };
    }
    let mut ranges = Vec::new();
    for count in 1..=messages {
        ranges = pack(alerts, messages - count, count, max_bytes);
        if ranges.last().is_some_and(|last| last.end == alerts.len()) {
            break;
        }
    }
    let singles = ranges.first().map_or(0, |first| first.start);
    let parts = ranges.len();
    let digest = |(index, range): (usize, Range<usize>)| {
        let (title, message) = message(&alerts[range.clone()], index + 1, parts);
        Digest { alerts: range, title, message }
    };
    Plan { singles, digests: ranges.into_iter().enumerate().map(digest).collect() }
}

/// Returns up to `count` ranges from `start` on, each as large as one message of
/// `max_bytes` allows.
fn pack(alerts: &[&Alert], start: usize, count: usize, max_bytes: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut begin = start;
    let mut bytes = HEAD_BYTES;
    let mut keys = HashSet::new();
    for (index, alert) in alerts.iter().enumerate().skip(start) {
        let new = if keys.contains(&alert.key) { 0 } else { bytes_of_key(&alert.key) };
        if bytes + new + ID_BYTES > max_bytes {
            ranges.push(begin..index);
            if ranges.len() == count {
                return ranges;
            }
            begin = index;
            keys.clear();
            bytes = HEAD_BYTES + bytes_of_key(&alert.key) + ID_BYTES;
        } else {
            bytes += new + ID_BYTES;
        }
        keys.insert(&alert.key);
    }
    ranges.push(begin..alerts.len());
    ranges
}

fn bytes_of_key(key: &str) -> usize {
    to_json(first_chars(key, MAX_TEXT_CHARS)).len() + KEY_BYTES
}

fn message(alerts: &[&Alert], part: usize, parts: usize) -> (String, String) {
    let Some(first) = alerts.first() else { return Default::default() };
    let mut keys: Vec<OfKey<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for alert in alerts {
        let place = *places.entry(&alert.key).or_insert(keys.len());
        if place == keys.len() {
            let key = first_chars(&alert.key, MAX_TEXT_CHARS);
            keys.push(OfKey { key, events: 0, alert_ids: Vec::new() });
        }
        keys[place].events += alert.events;
        keys[place].alert_ids.push(alert.alert_id);
    }
    keys.sort_by_key(|key| std::cmp::Reverse(key.events));

    let ids: Vec<_> = alerts.iter().map(|alert| alert.alert_id.to_string()).collect();
    let parts_of_id = ["digest"].into_iter().chain(ids.iter().map(String::as_str));
    let time = |time: Option<Timestamp>| time.unwrap_or_default().to_string();
    let examples = alerts.iter().take(EXAMPLES);
    let (rule, dataset) = (first_chars(&first.rule, MAX_TEXT_CHARS), &first.dataset);
    let what = match first.status {
        AlertStatus::Firing => "alerts",
        AlertStatus::Resolved => "ends",
    };
    let title = match keys.len() {
        1 => format!("{} {what} of {rule}, all of one key", alerts.len()),
        keys => format!("{} {what} of {rule}, of {keys} keys", alerts.len()),
    };
    let message = to_json(&Message {
        digest_id: Id::of(parts_of_id.map(str::as_bytes)),
        rule,
        severity: first.severity,
        dataset: first_chars(dataset, MAX_TEXT_CHARS),
        title: &title,
        alerts: alerts.len(),
        events: alerts.iter().map(|alert| alert.events).sum(),
        from: time(alerts.iter().map(|alert| alert.from).min()),
        to: time(alerts.iter().map(|alert| alert.to).max()),
        part,
        parts,
        examples: examples.map(|alert| first_chars(&alert.title, MAX_TEXT_CHARS)).collect(),
        keys,
    });
    (title, message)
}

#[cfg(test)]
mod tests;
