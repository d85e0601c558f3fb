//! Times of a row: in UTC in the event, local for the tags that local time decides.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use tributary_model::bad_row::{Code, Rejection};
use tributary_model::event::Text;

use super::lookups::{LookupZones, Lookups, Matches};
use super::source::Source;
use crate::row::Row;
use crate::time::{TimeFormat, WrittenTime, read};
use crate::value::ValueError;

/// Earliest event time: 1900-01-01T00:00:00Z. Earlier times are those of clocks that were never
/// set, and their text breaks the key order of stores.
const MIN_TIME: Timestamp = Timestamp::constant(-2_208_988_800, 0);

/// Reads the times of rows.
#[derive(Debug)]
pub(crate) struct TimeReader {
    pub source: Source,
    pub formats: Vec<TimeFormat>,
    pub zone: Zone,
}

/// Time zone of times without an offset.
#[derive(Debug)]
pub(crate) enum Zone {
    Fixed(TimeZone),
    /// A column of zone names; where it is empty, the zone of a lookup.
    Column {
        source: Source,
        otherwise: Option<LookupZones>,
        tag: Option<String>,
        known: Vec<(String, TimeZone)>,
    },
}

/// Event time of a row.
pub(crate) struct Clock {
    pub instant: Timestamp,
    pub local: DateTime,
    pub zone: TimeZone,
}

impl TimeReader {
    /// Reads the event time of `row`. Adds `dst_gap` or `dst_fold` to `tags` if its local time does
    /// not exist or exists twice, and the tag of a zone that the row does not name.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if time or zone is absent or invalid.
    pub(super) fn clock<'a>(
        &'a self,
        row: &Row<'_>,
        matches: &Matches,
        lookups: &Lookups,
        tags: &mut Vec<Text<'a>>,
    ) -> Result<Clock, Rejection> {
        let zone = self.zone.of(row, matches, lookups, tags)?;
        let found = self.source.read(row, |text| read(text, &self.formats))?;
        let (column, written) = found.ok_or_else(|| self.source.empty())?;
        let (instant, local) = match written {
            WrittenTime::Instant(instant) => (instant, zone.to_datetime(instant)),
            WrittenTime::Local(local) if zone == TimeZone::UTC => {
                (Offset::UTC.to_timestamp(local).map_err(|_| beyond().reject(column))?, local)
            }
            WrittenTime::Local(local) => {
                let ambiguous = zone.to_ambiguous_timestamp(local);
                match ambiguous.offset() {
                    AmbiguousOffset::Unambiguous { .. } => {}
                    AmbiguousOffset::Gap { .. } => tags.push(Cow::Borrowed("dst_gap")),
                    AmbiguousOffset::Fold { .. } => tags.push(Cow::Borrowed("dst_fold")),
                }
                (ambiguous.compatible().map_err(|_| beyond().reject(column))?, local)
            }
        };
        if instant < MIN_TIME {
            return Err(ValueError::new(Code::OutOfRange, "is before 1900").reject(column));
        }
        Ok(Clock { instant, local, zone })
    }

    /// Returns `true` if times are dates such as `2026-01-31` and nothing else.
    pub(super) fn is_of_iso_dates(&self) -> bool {
        matches!(self.formats[..], [TimeFormat::IsoDate])
    }

    /// Reads another time of the row, with its column.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidTime`] if it is invalid.
    pub(super) fn other<'s>(
        &self,
        source: &'s Source,
        row: &Row<'_>,
    ) -> Result<Option<(&'s str, WrittenTime)>, Rejection> {
        source.read(row, |text| read(text, &self.formats))
    }
}

impl Zone {
    fn of<'a>(
        &'a self,
        row: &Row<'_>,
        matches: &Matches,
        lookups: &Lookups,
        tags: &mut Vec<Text<'a>>,
    ) -> Result<TimeZone, Rejection> {
        let (source, otherwise, tag, known) = match self {
            Self::Fixed(zone) => return Ok(zone.clone()),
            Self::Column { source, otherwise, tag, known } => (source, otherwise, tag, known),
        };
        let unknown = |name: &str| ValueError::of(Code::UnknownValue, name, "is no time zone");
        let found = source.read(row, |name| {
            // The database is a tree behind a lock: names seen in most rows are kept.
            if let Some((_, zone)) = known.iter().find(|(known, _)| known == name) {
                return Ok(zone.clone());
            }
            TimeZone::get(name).map_err(|_| unknown(name))
        })?;
        if let Some((_, zone)) = found {
            return Ok(zone);
        }
        tags.extend(tag.as_deref().map(Cow::Borrowed));
        let Some(otherwise) = otherwise else { return Err(source.empty()) };
        otherwise
            .zone(matches)
            .cloned()
            .ok_or_else(|| unknown(&lookups.key(otherwise.lookup, row)).reject(source.column()))
    }
}

impl Clock {
    /// Returns the instant of another time of the row, in the zone of the row.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidTime`] beyond the years that a timestamp can name.
    pub(super) fn instant_of(&self, time: WrittenTime) -> Result<Timestamp, ValueError> {
        match time {
            WrittenTime::Instant(instant) => Ok(instant),
            WrittenTime::Local(local) => self.zone.to_timestamp(local).map_err(|_| beyond()),
        }
    }

    /// Returns the instant of a time that is not before the event time. Of the two instants of a
    /// repeated hour, the first that is not before it.
    ///
    /// # Errors
    ///
    /// [`Code::OutOfRange`] for a time before the event time.
    pub(super) fn end_of(&self, time: WrittenTime, start: &str) -> Result<Timestamp, ValueError> {
        let first = self.instant_of(time)?;
        let second = || match time {
            WrittenTime::Instant(_) => None,
            WrittenTime::Local(local) => self.zone.to_ambiguous_timestamp(local).later().ok(),
        };
        let end = Some(first).filter(|end| *end >= self.instant).or_else(second);
        let end = end.filter(|end| *end >= self.instant);
        end.ok_or_else(|| ValueError::new(Code::OutOfRange, format!("is before {start}")))
    }
}

/// Error of an instant beyond the years that a timestamp can name.
fn beyond() -> ValueError {
    ValueError::new(Code::InvalidTime, "is beyond the years -9999 to 9999")
}
