//! Roles of columns: event time, location, entity and key.

use super::keys::{Key, Part, Search};
use super::naming;
use super::profile::{Kind, Profile, is_missing};
use super::sample::{Cell, Sample};
use super::times::Times;
use super::{Hints, Unclear, is_nearly_all};
use crate::place::place;
use crate::row::Value;
use crate::schema::DecimalMark;
use crate::value::{MISSING, Missing};

/// Words of an event time, the best first.
const TIME_WORDS: [&str; 14] = [
    "timestamp",
    "time",
    "datetime",
    "observed",
    "recorded",
    "measured",
    "measurement",
    "event",
    "start",
    "started",
    "begin",
    "created",
    "date",
    "ts",
];

/// Words of times that are not the event's.
const OTHER_TIME_WORDS: [&str; 13] = [
    "end",
    "ended",
    "stop",
    "stopped",
    "finish",
    "updated",
    "modified",
    "received",
    "ingested",
    "processed",
    "uploaded",
    "expires",
    "valid",
];

/// Words of coordinates.
const LAT: [&str; 2] = ["lat", "latitude"];
const LON: [&str; 4] = ["lon", "lng", "long", "longitude"];

/// Words of a column that holds both.
const PLACES: [&str; 14] = [
    "location",
    "loc",
    "position",
    "pos",
    "point",
    "place",
    "coordinate",
    "coordinates",
    "coords",
    "geo",
    "geom",
    "gps",
    "lat",
    "latlon",
];

/// Columns of a sample and their roles.
#[derive(Debug)]
pub(super) struct Roles<'s> {
    pub profiles: Vec<Profile<'s>>,
    /// Column of the event time.
    pub time: usize,
    /// Reason for the event time.
    pub why_time: &'static str,
    pub location: Option<Place>,
    /// Columns inside the object of the location.
    pub inside_location: Vec<usize>,
    pub key: Key,
}

/// Columns of the location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    One(usize),
    Two([usize; 2]),
}

impl<'s> Roles<'s> {
    /// Finds the roles.
    pub(super) fn of(sample: &'s Sample, hints: &Hints) -> Result<Self, Unclear> {
        let decimal =
            if sample.file.has_decimal_comma { DecimalMark::Comma } else { DecimalMark::Point };
        let mut profiles: Vec<_> =
            sample.columns.iter().map(|column| Profile::of(column, decimal)).collect();
        settle_order(&mut profiles);
        if let [only] = profiles.as_slice() {
            return Err(Unclear::OneColumn(only.path().to_owned()));
        }
        let (time, why_time) = event_time(&profiles, hints)?;
        let location = location(&profiles, decimal);
        let taken = match location {
            None => Vec::new(),
            Some(Place::One(at)) => {
                let prefix = format!("{}.", profiles[at].path());
                let is_inside = |other: &usize| profiles[*other].path().starts_with(&prefix);
                std::iter::once(at).chain((0..profiles.len()).filter(is_inside)).collect()
            }
            Some(Place::Two(both)) => both.to_vec(),
        };
        let inside_location: Vec<_> = match location {
            Some(Place::One(_)) => taken[1..].to_vec(),
            _ => Vec::new(),
        };
        let no_times = Times::default();
        let times = profiles[time].times().unwrap_or(&no_times);
        let search = Search { profiles: &profiles, times, taken: &taken, rows: sample.rows };
        let key = if hints.key.is_empty() {
            search.find().map_err(|tried| no_key(&profiles, time, tried))?
        } else {
            let columns = hints.key.iter().map(|name| named(&profiles, name));
            search.named(columns.collect::<Result<_, _>>()?)
        };
        Ok(Self { profiles, time, why_time, location, inside_location, key })
    }

    /// Returns the times of the event.
    pub(super) fn times(&self) -> Option<&Times> {
        self.profiles[self.time].times()
    }

    /// Returns `true` if a row has a time and all parts of the key.
    pub(super) fn is_event(&self, row: usize) -> bool {
        let has_text = |at: usize| self.profiles[at].column.cells[row].text().is_some();
        let has_key = self.key.entity.iter().copied().chain(self.key_columns()).all(has_text);
        has_key && self.times().is_some_and(|times| times.instants[row].is_some())
    }

    /// Iterates over the columns of the natural key beside entity and time.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.key.parts.iter().filter_map(|part| match part {
            Part::Column(at) => Some(*at),
            Part::Entity | Part::Time => None,
        })
    }

    /// Returns `true` if a row without the column is bad.
    pub(super) fn is_key(&self, at: usize) -> bool {
        self.key.entity.contains(&at) || self.key_columns().any(|other| other == at)
    }

    /// Returns `true` if the column is a time, the location or in it.
    pub(super) fn has_role(&self, at: usize) -> bool {
        let is_location = match self.location {
            None => false,
            Some(Place::One(one)) => one == at || self.inside_location.contains(&at),
            Some(Place::Two(both)) => both.contains(&at),
        };
        at == self.time || is_location
    }
}

/// Settles the order of day and month of all columns by the columns that have a day above 12.
fn settle_order(profiles: &mut [Profile<'_>]) {
    let orders = profiles.iter().filter_map(|profile| profile.times()?.is_day_first());
    let orders: Vec<_> = orders.collect();
    if let [first, rest @ ..] = orders.as_slice()
        && rest.iter().all(|order| order == first)
    {
        for profile in profiles.iter_mut() {
            profile.settle_order(*first);
        }
    }
}

/// Returns the reason why there is no key.
fn no_key(profiles: &[Profile<'_>], time: usize, tried: Vec<String>) -> Unclear {
    let is_date = profiles[time].times().is_some_and(|times| times.is_date);
    let mut clocks = profiles.iter().filter(|it| matches!(it.kind, Kind::TimeOfDay));
    match clocks.next().filter(|_| is_date) {
        Some(clock) => {
            Unclear::SplitTime(profiles[time].path().to_owned(), clock.path().to_owned())
        }
        None => Unclear::NoKey(tried),
    }
}

fn named(profiles: &[Profile<'_>], name: &str) -> Result<usize, Unclear> {
    let exact = profiles.iter().position(|profile| profile.path() == name);
    let folded = || {
        let is = |profile: &Profile<'_>| profile.path().to_lowercase() == name.to_lowercase();
        profiles.iter().position(is)
    };
    exact.or_else(folded).ok_or_else(|| Unclear::UnknownColumn(name.to_owned(), paths(profiles)))
}

fn paths(profiles: &[Profile<'_>]) -> Vec<String> {
    profiles.iter().map(|profile| profile.path().to_owned()).collect()
}

fn event_time(profiles: &[Profile<'_>], hints: &Hints) -> Result<(usize, &'static str), Unclear> {
    if let Some(name) = &hints.time {
        let at = named(profiles, name)?;
        if profiles[at].times().is_some() {
            return Ok((at, "--time names it"));
        }
        let value = profiles[at].counts.keys().next().copied().unwrap_or_default();
        return Err(Unclear::NotTime(name.clone(), value.to_owned()));
    }
    let all: Vec<_> = (0..profiles.len()).filter(|at| profiles[*at].times().is_some()).collect();
    let max = all.iter().map(|at| profiles[*at].filled).max();
    // A time that is often absent would make bad rows.
    let complete = all.iter().filter(|at| Some(profiles[**at].filled) == max);
    let best = complete.min_by(|&&one, &&other| {
        let ranks = word_rank(profiles[one].path()).cmp(&word_rank(profiles[other].path()));
        ranks.then_with(|| earlier(&profiles[one], &profiles[other])).then(one.cmp(&other))
    });
    let Some(&best) = best else { return Err(Unclear::NoTime(paths(profiles))) };
    Ok((best, if all.len() == 1 { "the only time" } else { "its name says most" }))
}

/// Returns how much a name says that the column is the event time: 0 is most.
fn word_rank(path: &str) -> usize {
    let tokens = naming::tokens(path);
    let has = |word: &&str| tokens.iter().any(|token| token == word);
    if OTHER_TIME_WORDS.iter().any(&has) {
        return usize::MAX;
    }
    // `started_at` and `start_time` are one rank with `time` only where nothing says more.
    let starts = ["start", "started", "begin"];
    let is_start = starts.iter().any(&has);
    let rank = |words: &[&str]| words.iter().position(&has);
    if is_start {
        return rank(&TIME_WORDS).map_or(TIME_WORDS.len(), |_| 8);
    }
    rank(&TIME_WORDS).unwrap_or(TIME_WORDS.len())
}

/// Compares two columns of times: the one that is earlier in most rows is less.
fn earlier(one: &Profile<'_>, other: &Profile<'_>) -> std::cmp::Ordering {
    let (Some(one), Some(other)) = (one.times(), other.times()) else {
        return std::cmp::Ordering::Equal;
    };
    let pairs = || one.instants.iter().zip(&other.instants);
    let before = pairs().filter(|(a, b)| a.is_some() && b.is_some() && a < b).count();
    let after = pairs().filter(|(a, b)| a.is_some() && b.is_some() && a > b).count();
    after.cmp(&before)
}

fn location(profiles: &[Profile<'_>], decimal: DecimalMark) -> Option<Place> {
    let is_nested = |at: &usize| matches!(profiles[*at].kind, Kind::Nested | Kind::Text);
    let one = (0..profiles.len()).filter(is_nested).find(|at| holds_points(&profiles[*at]));
    if let Some(at) = one {
        return Some(Place::One(at));
    }
    let mut pairs = Vec::new();
    for (lat, profile) in profiles.iter().enumerate() {
        let Some(rest) = without(profile.path(), &LAT) else { continue };
        let is_lon = |at: &usize| without(profiles[*at].path(), &LON).as_ref() == Some(&rest);
        let Some(lon) = (0..profiles.len()).find(is_lon) else { continue };
        if is_within(profile, decimal, 90.0) && is_within(&profiles[lon], decimal, 180.0) {
            let is_start = rest.is_empty() || rest.iter().any(|word| word == "start");
            pairs.push((!is_start, lat, lon));
        }
    }
    let (_, lat, lon) = pairs.into_iter().min()?;
    Some(Place::Two([lat, lon]))
}

/// Returns the parts of a name without one of `words`.
fn without(path: &str, words: &[&str]) -> Option<Vec<String>> {
    let mut tokens = naming::tokens(path);
    let at = tokens.iter().position(|token| words.contains(&token.as_str()))?;
    tokens.remove(at);
    Some(tokens)
}

/// Returns `true` if nearly all values are numbers from `-max` to `max`, with the decimal mark of
/// the file: a location has no other.
fn is_within(profile: &Profile<'_>, decimal: DecimalMark, max: f64) -> bool {
    let Some(numbers) = profile.numbers().filter(|it| it.decimal == decimal) else { return false };
    let is_point = |degrees: &&f64| degrees.abs() <= max;
    let points = numbers.values.iter().flatten().filter(is_point).count();
    points > 0 && is_nearly_all(points, profile.filled)
}

/// Returns `true` if nearly every value of a column holds coordinates. A text of two whole numbers
/// does only where the name says so: `12,5` is a number too.
fn holds_points(profile: &Profile<'_>) -> bool {
    let tokens = naming::tokens(profile.path());
    let is_place = tokens.iter().any(|token| PLACES.contains(&token.as_str()));
    let missing = Missing::new(MISSING);
    let mut points = 0;
    let mut values = 0;
    for cell in &profile.column.cells {
        let value = match cell {
            Cell::Object(json) => Value::Nested(json),
            Cell::Text(text) if !text.trim().is_empty() && !is_missing(text.trim()) => {
                Value::Text(text.as_str().into())
            }
            _ => continue,
        };
        values += 1;
        let is_clear = is_place || !matches!(&value, Value::Text(text) if !text.contains('.'));
        let place = place(&value, &missing);
        points += usize::from(is_clear && place.is_ok_and(|place| place.point.is_some()));
    }
    points > 0 && is_nearly_all(points, values)
}
