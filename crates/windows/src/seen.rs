//! Which events a window holds, so that one that comes again adds nothing.
//!
//! An event comes again because Lambda delivers its record again, with the sequence number it had, or
//! because `transform` wrote it twice, with another one. Both are found by its id. A window knows the
//! ids of so many events as its spec says; the rest it knows by the highest sequence number of each
//! shard, which finds the first kind and not the second: such a window says that it is approximate.

use std::collections::BTreeMap;

use base64_simd::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use tributary_model::id::Id;

/// The events that a window holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenEvents {
    /// By id, ascending: no more than the spec's `distinct`.
    ids: Ids,
    /// By shard, the highest sequence number that was applied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<String, String>,
    /// Whether there are events beyond those in `ids`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_more: bool,
}

/// Where a record was in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPosition<'a> {
    /// The shard.
    pub shard: &'a str,
    /// The sequence number: a decimal number without leading zeros, of up to 56 digits.
    pub number: &'a str,
}

impl SeenEvents {
    /// Whether the event `id` of a record at `place` is one of these.
    ///
    /// A sequence number speaks for an event only where ids do not: a batch that was given up and is
    /// made again comes after records with higher numbers.
    #[must_use]
    pub fn contains(&self, id: u64, place: Option<RecordPosition<'_>>) -> bool {
        self.ids.0.binary_search(&id).is_ok()
            || self.has_more && place.is_some_and(|place| self.is_passed(place))
    }

    fn is_passed(&self, place: RecordPosition<'_>) -> bool {
        self.marks.get(place.shard).is_some_and(|mark| !is_after(place.number, mark))
    }

    /// Whether there are more events than are known by their ids.
    #[must_use]
    pub fn is_approximate(&self) -> bool {
        self.has_more
    }

    /// Adds events, of which none was seen, by their ids in any order and as far as `most` go.
    pub fn add(&mut self, ids: impl IntoIterator<Item = u64>, max: usize) {
        // In one order, so that the same events leave the same window.
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        for id in ids {
            if self.ids.0.len() < max {
                self.ids.0.push(id);
            } else {
                self.has_more = true;
            }
        }
        self.ids.0.sort_unstable();
        self.ids.0.dedup();
    }

    /// Says that the records up to `place` were applied.
    pub fn mark(&mut self, place: RecordPosition<'_>) {
        match self.marks.get_mut(place.shard) {
            Some(mark) if is_after(place.number, mark) => place.number.clone_into(mark),
            Some(_) => {}
            None => {
                self.marks.insert(place.shard.to_owned(), place.number.to_owned());
            }
        }
    }
}

/// Whether one sequence number is higher than another.
fn is_after(number: &str, other: &str) -> bool {
    (number.len(), number) > (other.len(), other)
}

/// An event id as a window keeps it: its first 16 digits. Of 10,000 events, two would share them once
/// in 400 billion windows.
#[must_use]
pub fn id_prefix(event_id: &str) -> u64 {
    let digits = |id: &str| u64::from_str_radix(id.get(..16)?, 16).ok();
    let is_ours = event_id.len() == 32 && event_id.bytes().all(|it| it.is_ascii_hexdigit());
    let own = is_ours.then(|| digits(event_id)).flatten();
    own.or_else(|| digits(&Id::of_text(&[event_id]).to_string())).unwrap_or_default()
}

/// Base64 of eight bytes each in JSON, little end first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ids(Vec<u64>);

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<_> = self.0.iter().flat_map(|id| id.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode_to_string(bytes))
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode_to_vec(text).map_err(de::Error::custom)?;
        let (ids, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(de::Error::custom("ids are of eight bytes"));
        }
        Ok(Self(ids.iter().map(|id| u64::from_le_bytes(*id)).collect()))
    }
}
