//! Deduplication of the events of a window.
//!
//! An event arrives twice because Lambda redelivers its record, with the same sequence number, or
//! because `transform` wrote it twice, with another one. The event id detects both. A window stores
//! the ids of up to `distinct` events. Beyond them it compares with the highest sequence number of
//! each shard, which detects the first kind only: such a window is tagged `approximate`.

use std::collections::BTreeMap;

use base64_simd::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use tributary_model::id::Id;

/// Events that a window holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenEvents {
    /// Event ids, ascending, up to the spec's `distinct`.
    ids: Ids,
    /// Highest applied sequence number by shard.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<String, String>,
    /// Set when the window holds events beyond those in `ids`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_more: bool,
}

/// Position of a record in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPosition<'a> {
    /// Id of the shard.
    pub shard: &'a str,
    /// Sequence number: decimal, without leading zeros, up to 56 digits.
    pub number: &'a str,
}

impl SeenEvents {
    /// Returns true if the window holds the event `id` of a record at `place`.
    ///
    /// The sequence number counts only where ids do not suffice: a parked batch that is redriven
    /// arrives after records with higher numbers.
    #[must_use]
    pub fn contains(&self, id: u64, place: Option<RecordPosition<'_>>) -> bool {
        self.ids.0.binary_search(&id).is_ok()
            || self.has_more && place.is_some_and(|place| self.is_passed(place))
    }

    fn is_passed(&self, place: RecordPosition<'_>) -> bool {
        self.marks.get(place.shard).is_some_and(|mark| !is_after(place.number, mark))
    }

    /// Returns true if the window holds more events than it stores ids.
    #[must_use]
    pub fn is_approximate(&self) -> bool {
        self.has_more
    }

    /// Adds unseen events, in any order, and stores their ids up to a total of `max`.
    pub fn add(&mut self, ids: impl IntoIterator<Item = u64>, max: usize) {
        // Sorted, so that the same events always produce the same window.
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

    /// Records that the records up to `place` were applied.
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

/// Compares two sequence numbers.
fn is_after(number: &str, other: &str) -> bool {
    (number.len(), number) > (other.len(), other)
}

/// Returns the first 16 hexadecimal digits of an event id. Of 10,000 events, two share them once in
/// 400 billion windows.
#[must_use]
pub fn id_prefix(event_id: &str) -> u64 {
    let digits = |id: &str| u64::from_str_radix(id.get(..16)?, 16).ok();
    let is_ours = event_id.len() == 32 && event_id.bytes().all(|it| it.is_ascii_hexdigit());
    let own = is_ours.then(|| digits(event_id)).flatten();
    own.or_else(|| digits(&Id::of_text(&[event_id]).to_string())).unwrap_or_default()
}

/// Event ids. In JSON they are the base64 of 8 bytes each, little-endian.
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
