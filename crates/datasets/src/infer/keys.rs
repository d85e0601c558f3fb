//! Entity and natural key of a sample.

use std::collections::HashSet;

use super::profile::{Kind, Profile};
use super::times::Times;
use super::{is_nearly_all, naming};

/// Words for things that send readings.
const NOUNS: [&str; 44] = [
    "station",
    "sensor",
    "device",
    "garage",
    "gauge",
    "meter",
    "site",
    "node",
    "host",
    "machine",
    "vehicle",
    "asset",
    "well",
    "camera",
    "detector",
    "counter",
    "buoy",
    "plant",
    "line",
    "route",
    "facility",
    "lot",
    "ip",
    "addr",
    "standort",
    "messstelle",
    "zaehler",
    "zaehlernummer",
    "geraet",
    "anlage",
    "fahrzeug",
    "linie",
    "parkhaus",
    "pegel",
    "building",
    "room",
    "vessel",
    "ship",
    "mmsi",
    "pump",
    "turbine",
    "inverter",
    "tank",
    "ticker",
];

/// Words that end the name of an identifier.
const IDS: [&str; 6] = ["id", "ids", "uuid", "guid", "serial", "imei"];

/// Words that do so behind another word only: `no` alone is nitric oxide.
const IDS_BEHIND_WORD: [&str; 3] = ["no", "key", "mac"];

/// Longest text that is part of a key.
const MAX_KEY_CHARS: usize = 80;

/// Entity and natural key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Columns of the entity, by index.
    pub entity: Vec<usize>,
    /// Reason for the entity.
    pub why_entity: &'static str,
    /// Parts of `event_id`.
    pub parts: Vec<Part>,
    /// Reason for the natural key.
    pub why_parts: &'static str,
    /// Rows that share their key with an earlier row.
    pub clashes: usize,
    /// Each entity has one row.
    pub is_unique: bool,
    /// Column of the key that counts the rows of the file, if there is one.
    pub row_number: Option<usize>,
}

/// Part of the natural key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Entity,
    Time,
    Column(usize),
}

/// Columns of a sample, for the search of a key.
pub(super) struct Search<'p, 's> {
    pub profiles: &'p [Profile<'s>],
    pub times: &'p Times,
    /// Columns with another role.
    pub taken: &'p [usize],
    pub rows: usize,
}

impl Search<'_, '_> {
    /// Returns the key of the columns that the user names.
    pub(super) fn named(&self, columns: Vec<usize>) -> Key {
        let own: Vec<_> = columns.iter().map(|at| Part::Column(*at)).collect();
        let is_unique = self.clashes(&columns, &own) == 0;
        let row_number = columns.iter().copied().find(|at| self.is_row_number(*at));
        let is_key = is_unique && row_number.is_none();
        let parts = if is_key { vec![Part::Entity] } else { vec![Part::Entity, Part::Time] };
        let clashes = self.clashes(&columns, &parts);
        let why = "--key names it";
        Key {
            entity: columns,
            why_entity: why,
            parts,
            why_parts: why,
            clashes,
            is_unique,
            row_number,
        }
    }

    /// Finds entity and natural key.
    ///
    /// # Errors
    ///
    /// Returns the columns that were tried.
    pub(super) fn find(&self) -> Result<Key, Vec<String>> {
        let unique = self.unique();
        let entity = self.repeated().or_else(|| self.widest_list());
        let number = self.row_number();
        let (entity, why_entity) = match (entity, unique.or(number)) {
            (Some(found), _) => found,
            (None, Some(unique)) => (unique, "its value is different in every row"),
            (None, None) => return Err(self.tried(None)),
        };
        let (parts, why_parts) =
            self.parts(entity, unique).ok_or_else(|| self.tried(Some(entity)))?;
        Ok(Key {
            entity: vec![entity],
            why_entity,
            why_parts,
            clashes: 0,
            is_unique: unique.or(number) == Some(entity),
            row_number: number.filter(|at| *at == entity || parts.contains(&Part::Column(*at))),
            parts,
        })
    }

    fn parts(&self, entity: usize, unique: Option<usize>) -> Option<(Vec<Part>, &'static str)> {
        use Part::{Column, Entity, Time};
        if let Some(unique) = unique.filter(|at| self.is_record_id(*at)) {
            let part = if unique == entity { Entity } else { Column(unique) };
            return Some((vec![part], "its value is different in every row"));
        }
        let is_key = |parts: &[Part]| self.clashes(&[entity], parts) == 0;
        if is_key(&[Entity, Time]) {
            return Some((vec![Entity, Time], "no two rows share both"));
        }
        let others = self.candidates();
        let others: Vec<_> = others.into_iter().filter(|at| *at != entity).collect();
        let with_time = others.iter().map(|at| vec![Entity, Time, Column(*at)]);
        let number = self.row_number().map(|at| vec![Entity, Time, Column(at)]);
        let mut pairs = Vec::new();
        for (index, one) in others.iter().enumerate() {
            pairs.extend(others[index + 1..].iter().map(|other| [*one, *other]));
        }
        let without = pairs.into_iter().flat_map(|[one, other]| {
            [vec![Time, Column(one), Column(other)], vec![Entity, Column(one), Column(other)]]
        });
        let found = with_time.chain(without).chain(number).find(|parts| is_key(parts))?;
        Some((found, "no two rows share all of them"))
    }

    /// Returns the columns that can be part of a key, the best first.
    fn candidates(&self) -> Vec<usize> {
        let is_candidate = |at: &usize| {
            let profile = &self.profiles[*at];
            let is_short =
                || profile.counts.keys().all(|text| text.chars().count() <= MAX_KEY_CHARS);
            let is_label = matches!(profile.kind, Kind::Text) || self.rank(*at).is_some();
            let is_complete = profile.filled == self.rows && profile.counts.len() > 1;
            let is_free = !self.is_taken(*at) && !self.is_row_number(*at);
            profile.is_discrete() && is_label && is_complete && is_short() && is_free
        };
        let mut all: Vec<_> = (0..self.profiles.len()).filter(is_candidate).collect();
        all.sort_by_key(|at| (self.rank(*at).unwrap_or(u8::MAX), self.profiles[*at].counts.len()));
        // A search over pairs of many columns would take minutes.
        all.truncate(16);
        all
    }

    fn is_taken(&self, at: usize) -> bool {
        self.taken.contains(&at)
    }

    /// Returns how much a column seems to name a thing: 0 is most. A number without a noun comes
    /// behind a text with one.
    fn rank(&self, at: usize) -> Option<u8> {
        let is_number = self.profiles[at].numbers().is_some();
        rank(self.profiles[at].path()).map(|rank| match rank {
            0 => 0,
            1 | 2 if is_number => rank + 2,
            1 | 2 => rank,
            _ => rank + 2,
        })
    }

    /// Returns the column with repeated values whose name says most.
    fn repeated(&self) -> Option<(usize, &'static str)> {
        let is_candidate = |at: &usize| {
            let profile = &self.profiles[*at];
            let values = profile.counts.len();
            let repeats = values == 1 || values * 2 <= profile.filled;
            profile.is_discrete()
                && repeats
                && is_nearly_all(profile.filled, self.rows)
                && !self.is_taken(*at)
        };
        let all = (0..self.profiles.len()).filter(is_candidate);
        let ranked = all.filter_map(|at| Some((self.rank(at)?, at)));
        let best = ranked.min_by_key(|(rank, at)| {
            (*rank, std::cmp::Reverse(self.profiles[*at].counts.len()), *at)
        })?;
        Some((best.1, "its name says so, and its values repeat"))
    }

    /// Returns the closed list with the most values.
    fn widest_list(&self) -> Option<(usize, &'static str)> {
        let is_log = self.row_number().is_some();
        if is_log || self.unique().is_some_and(|at| self.is_record_id(at)) {
            return None;
        }
        let all = (0..self.profiles.len()).filter(|at| !self.is_taken(*at));
        let lists = all.filter_map(|at| Some((self.profiles[at].closed_list()?.len(), at)));
        let complete = lists.filter(|(_, at)| self.profiles[*at].filled == self.rows);
        let (_, at) = complete.max_by_key(|(values, at)| (*values, std::cmp::Reverse(*at)))?;
        Some((at, "the closed list with the most values; no column names a thing"))
    }

    /// Returns a column with the name of an id that counts the rows.
    fn row_number(&self) -> Option<usize> {
        let is_number = |at: &usize| self.is_row_number(*at) && !self.is_taken(*at);
        (0..self.profiles.len()).find(is_number)
    }

    /// Returns `true` if a column is named like a record id, but its whole numbers rise by one from
    /// row to row: another file has the same numbers for other rows.
    fn is_row_number(&self, at: usize) -> bool {
        let cells = &self.profiles[at].column.cells;
        let numbers = cells.iter().filter_map(|cell| cell.text()?.parse::<i64>().ok());
        let numbers: Vec<_> = numbers.collect();
        let rises = |pair: &[i64]| pair[0].checked_add(1) == Some(pair[1]);
        self.is_record_id(at)
            && numbers.len() > 1
            && numbers.len() == self.profiles[at].filled
            && numbers.windows(2).all(rises)
    }

    /// Returns a column whose value is different in every row, and that counts none.
    fn unique(&self) -> Option<usize> {
        let is_unique = |at: &usize| {
            let profile = &self.profiles[*at];
            profile.is_discrete()
                && is_nearly_all(profile.filled, self.rows)
                && profile.counts.len() == profile.filled
                && self.rows > 1
                && self.rank(*at).is_some()
                && !self.is_taken(*at)
                && !self.is_row_number(*at)
        };
        (0..self.profiles.len()).filter(is_unique).min_by_key(|at| self.rank(*at))
    }

    /// Returns `true` if the name of a column says that it names a row, not a thing.
    fn is_record_id(&self, at: usize) -> bool {
        rank(self.profiles[at].path()) == Some(1)
    }

    /// Counts the rows that share their key with an earlier row. A row without a part of the key is
    /// a bad row and does not count.
    fn clashes(&self, entity: &[usize], parts: &[Part]) -> usize {
        let mut seen = HashSet::new();
        let texts = |at: usize, row: usize| self.profiles[at].column.cells[row].text();
        let is_repeated = |row: &usize| {
            let mut key: Vec<(Option<&str>, i128)> = Vec::new();
            for part in parts {
                match part {
                    Part::Entity => key.extend(entity.iter().map(|at| (texts(*at, *row), 0))),
                    Part::Column(at) => key.push((texts(*at, *row), 0)),
                    Part::Time => match self.times.instants[*row] {
                        Some(instant) => key.push((Some(""), instant.as_nanosecond())),
                        None => return false,
                    },
                }
            }
            key.iter().all(|(text, _)| text.is_some()) && !seen.insert(key)
        };
        (0..self.rows).filter(is_repeated).count()
    }

    /// Returns the paths of the columns that were tried as keys.
    fn tried(&self, entity: Option<usize>) -> Vec<String> {
        let mut all = self.candidates();
        all.retain(|at| Some(*at) != entity);
        let all = entity.into_iter().chain(all);
        all.map(|at| self.profiles[at].path().to_owned()).collect()
    }
}

/// Returns how much a name says that the column names a thing or a row: 0 is most.
pub(super) fn rank(path: &str) -> Option<u8> {
    let tokens = naming::tokens(path);
    let last = tokens.last()?.as_str();
    let has_noun = tokens.iter().any(|token| NOUNS.contains(&token.as_str()));
    let is_id = IDS.contains(&last) || tokens.len() > 1 && IDS_BEHIND_WORD.contains(&last);
    match last {
        _ if is_id && has_noun => Some(0),
        _ if is_id => Some(1),
        _ if NOUNS.contains(&last) => Some(2),
        "code" => Some(3),
        "name" => Some(4),
        _ => None,
    }
}
