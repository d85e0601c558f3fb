//! Columns of a schema with their readers: the values that a row needs to become an event without
//! faults.

use std::collections::HashSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::attribute::{Attribute, AttributeKind};
use super::clock::{TimeReader, Zone};
use super::location::LocationColumns;
use super::lookups::Lookup;
use super::measure::{Measure, MeasureKind, Number, NumberUnit};
use super::source::Source;
use super::tag::{Tag, TagKind};
use super::{Dataset, IdPart, Template};
use crate::schema::DecimalMark;
use crate::time::{TimeFormat, WrittenTime, read};
use crate::units::Conversion;
use crate::value::MAX_NUMBER;

/// Part of a schema that reads a value from the columns of a row.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Measure, attribute or tag; `time`, `zone`, `location`, or the lookup.
    pub field: &'a str,
    /// Columns, of which the first with a value counts.
    pub columns: Vec<&'a str>,
    /// Effect of an absent or a bad value.
    pub need: Need,
    /// `true` if the value is part of the entity's name, in the first template.
    pub in_entity: bool,
    /// `true` if the value is part of the natural key, besides entity and time.
    pub in_key: bool,
    /// Accepted values.
    pub form: Form<'a>,
}

/// Effect of a value that is absent or bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The event lacks the field.
    Optional,
    /// A bad value rejects the row; an absent one does not.
    Strict,
    /// Either rejects the row.
    Required,
}

/// Values that a reader accepts.
#[derive(Debug)]
pub enum Form<'a> {
    /// The event time.
    Time,
    /// Another time, at any distance from the event time.
    OtherTime,
    /// A time that is not before the event time.
    EndTime,
    /// Name of a time zone.
    Zone,
    /// A number.
    Number(ColumnNumber<'a>),
    /// Unit of a number in another column, in any case.
    Unit(Vec<&'a str>),
    /// Degrees of at most this much, as text with a decimal comma if `true`.
    Degrees(f64, bool),
    /// A location in one column; a name of a place if `true`.
    Place(bool),
    /// Any text.
    Text,
    /// Words with the value that each stands for, in any case.
    Words(&'a [(String, String)]),
    /// A code of this many digits.
    Digits(usize),
    /// `true` or `false`.
    Flag,
    /// Any text, of which one with these words gives the tag.
    Classes(&'a [(String, Vec<String>)]),
    /// Keys of a lookup.
    Key {
        /// Keys, of which no two give the attributes that must have a value the same.
        keys: Vec<&'a str>,
        /// `true` if only a key is accepted.
        is_closed: bool,
    },
}

/// Number in a column, in the unit of the column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnNumber<'a> {
    number: &'a Number,
}

/// Time in the natural key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTime {
    /// The key has no time: it identifies a row by its attributes.
    Absent,
    /// Rows of an entity differ in their date.
    Date,
    /// Rows of an entity differ in their time.
    Time,
}

/// Time as a row of the dataset has it.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeText {
    /// Text in the first of the declared formats, or ISO 8601.
    pub text: String,
    /// Instant that the dataset reads in the text.
    pub instant: Timestamp,
    /// Date of it, in the zone of the row.
    pub date: Date,
}

impl Dataset {
    /// Returns the usual time between two readings of an entity, if the schema states it.
    #[must_use]
    pub fn interval(&self) -> Option<SignedDuration> {
        self.interval
    }

    /// Returns every part of the schema that reads columns.
    #[must_use]
    pub fn readers(&self) -> Vec<Reader<'_>> {
        let mut readers = vec![reader("time", &self.time.source, true, Form::Time)];
        if let Zone::Column { source, otherwise, .. } = &self.time.zone {
            let zone = reader("zone", source, true, Form::Zone);
            let need = if otherwise.is_none() { Need::Required } else { Need::Strict };
            readers.push(Reader { need, ..zone });
        }
        readers.extend(self.attributes.iter().filter_map(|it| self.attribute_reader(it)));
        let lookups = self.lookups.0.iter().enumerate();
        readers.extend(lookups.map(|(index, lookup)| self.lookup_reader(index, lookup)));
        for measure in &self.measures {
            measure_readers(measure, &mut readers);
        }
        readers.extend(self.location_readers());
        readers.extend(self.tags.iter().filter_map(tag_reader));
        readers
    }

    /// Iterates over the further columns that a CSV of this dataset has.
    pub fn header_columns(&self) -> impl Iterator<Item = &str> {
        self.header.iter().map(String::as_str)
    }

    /// Returns the time in the natural key.
    #[must_use]
    pub fn key_time(&self) -> KeyTime {
        if self.event_id.iter().any(|part| matches!(part, IdPart::Time)) {
            return KeyTime::Time;
        }
        let kinds = || self.attributes.iter().filter(|it| self.is_in_key(&it.name));
        if kinds().any(|it| matches!(it.kind, AttributeKind::Time(_))) {
            KeyTime::Time
        } else if kinds().any(|it| matches!(it.kind, AttributeKind::Date(_))) {
            KeyTime::Date
        } else {
            KeyTime::Absent
        }
    }

    /// Returns `true` if the schema reads `name` as a time zone.
    #[must_use]
    pub fn is_zone(name: &str) -> bool {
        TimeZone::get(name).is_ok()
    }

    /// Writes an instant as the rows of this dataset do, in the zone of the row if that names one.
    /// Returns `None` for a time that the format cannot state.
    #[must_use]
    pub fn time_text(&self, instant: Timestamp, zone: Option<&str>) -> Option<TimeText> {
        let TimeReader { formats, zone: declared, .. } = &self.time;
        let zone = match (declared, zone) {
            (Zone::Fixed(zone), _) => zone.clone(),
            (Zone::Column { .. }, Some(name)) => TimeZone::get(name).ok()?,
            (Zone::Column { .. }, None) => TimeZone::UTC,
        };
        let local = instant.to_zoned(zone.clone());
        let text = match formats.first() {
            None => instant.to_string(),
            Some(TimeFormat::IsoDate) => local.date().to_string(),
            Some(TimeFormat::Declared(format)) => {
                jiff::fmt::strtime::format(format, &local).ok()?
            }
        };
        let instant = match read(&text, formats).ok()? {
            WrittenTime::Instant(instant) => instant,
            WrittenTime::Local(local) => zone.to_timestamp(local).ok()?,
        };
        Some(TimeText { text, instant, date: zone.to_datetime(instant).date() })
    }

    fn is_in_entity(&self, attribute: &str) -> bool {
        let parts = self.entity.first().into_iter().flat_map(|template| &template.parts);
        parts.into_iter().any(|(_, name)| name == attribute)
    }

    /// Returns `true` if a row without the attribute is rejected.
    fn is_needed(&self, attribute: &Attribute) -> bool {
        let has_it =
            |template: &Template| template.parts.iter().any(|(_, name)| *name == attribute.name);
        attribute.is_required || self.entity.iter().all(has_it)
    }

    fn is_in_key(&self, attribute: &str) -> bool {
        let is_it = |part: &IdPart| matches!(part, IdPart::Attribute(name) if name == attribute);
        self.event_id.iter().any(is_it)
    }

    fn attribute_reader<'a>(&'a self, attribute: &'a Attribute) -> Option<Reader<'a>> {
        let form = match &attribute.kind {
            AttributeKind::Text(_) => Form::Text,
            AttributeKind::Words(_, words) => Form::Words(&words.0),
            AttributeKind::Digits(_, digits) => Form::Digits(*digits),
            AttributeKind::Time(_) | AttributeKind::Date(_) => Form::OtherTime,
            AttributeKind::PlaceName | AttributeKind::Lookup(_) | AttributeKind::Band(_) => {
                return None;
            }
        };
        let name = attribute.name.as_str();
        let reader = reader(name, attribute.source()?, self.is_needed(attribute), form);
        let (in_entity, in_key) = (self.is_in_entity(name), self.is_in_key(name));
        let need = match reader.need {
            Need::Optional if attribute.is_strict => Need::Strict,
            need => need,
        };
        Some(Reader { need, in_entity, in_key, ..reader })
    }

    fn lookup_reader<'a>(&'a self, index: usize, lookup: &'a Lookup) -> Reader<'a> {
        let of_lookup =
            |it: &&Attribute| matches!(it.kind, AttributeKind::Lookup(at) if at.lookup == index);
        let strict: Vec<_> =
            self.attributes.iter().filter(of_lookup).filter(|it| it.is_strict).collect();
        let column = |attribute: &&Attribute| match attribute.kind {
            AttributeKind::Lookup(at) => at.column,
            _ => 0,
        };
        // Two keys with the same values would name the same entity.
        let mut seen = HashSet::new();
        let keys = lookup.table.keys().enumerate().filter(|(row, _)| {
            let values = strict.iter().map(|it| lookup.table.text(*row, column(it)));
            let values: Option<Vec<_>> = values.collect();
            values.is_some_and(|values| values.is_empty() || seen.insert(values))
        });
        let keys = keys.map(|(_, key)| key).collect();
        let is_closed = lookup.is_required || !strict.is_empty();
        let is_required = lookup.is_required || strict.iter().any(|it| self.is_needed(it));
        let form = Form::Key { keys, is_closed };
        Reader {
            in_entity: strict.iter().any(|it| self.is_in_entity(&it.name)),
            in_key: strict.iter().any(|it| self.is_in_key(&it.name)),
            ..reader(&lookup.name, &lookup.source, is_required, form)
        }
    }

    fn location_readers(&self) -> Vec<Reader<'_>> {
        let Some(location) = &self.location else { return Vec::new() };
        let needs_columns = location.is_required && location.otherwise.is_none();
        match &location.columns {
            LocationColumns::One(source) => {
                let mut names =
                    self.attributes.iter().filter(|it| matches!(it.kind, AttributeKind::PlaceName));
                let name = names.find(|it| it.is_strict);
                let is_required = needs_columns || name.is_some_and(|it| self.is_needed(it));
                let is_part = |is_in: fn(&Self, &str) -> bool| {
                    name.is_some_and(|attribute| is_in(self, &attribute.name))
                };
                vec![Reader {
                    in_entity: is_part(Self::is_in_entity),
                    in_key: is_part(Self::is_in_key),
                    ..reader("location", source, is_required, Form::Place(name.is_some()))
                }]
            }
            LocationColumns::Two([lat, lon], decimal) => {
                let degrees = |source, max| {
                    let form = Form::Degrees(max, *decimal == DecimalMark::Comma);
                    reader("location", source, needs_columns, form)
                };
                vec![degrees(lat, 90.0), degrees(lon, 180.0)]
            }
        }
    }
}

fn reader<'a>(field: &'a str, source: &'a Source, is_required: bool, form: Form<'a>) -> Reader<'a> {
    let columns = source.columns().collect();
    let need = if is_required { Need::Required } else { Need::Optional };
    Reader { field, columns, need, in_entity: false, in_key: false, form }
}

fn measure_readers<'a>(measure: &'a Measure, readers: &mut Vec<Reader<'a>>) {
    let name = measure.name.as_str();
    match &measure.kind {
        MeasureKind::Column(number) => {
            if let NumberUnit::Column { source, units, .. } = &number.unit {
                let units = units.iter().map(|(unit, _)| unit.as_str()).collect();
                readers.push(reader(name, source, false, Form::Unit(units)));
            }
            let form = Form::Number(ColumnNumber { number });
            readers.push(reader(name, &number.source, number.is_required, form));
        }
        MeasureKind::Elapsed { source, .. } => {
            readers.push(reader(name, source, false, Form::EndTime));
        }
        MeasureKind::Call(..) => {}
    }
}

fn tag_reader(tag: &Tag) -> Option<Reader<'_>> {
    let (source, form) = match &tag.kind {
        TagKind::Flag(source) => (source, Form::Flag),
        TagKind::Words(source, words) => (source, Form::Words(&words.0)),
        TagKind::Classes { source, classes, .. } => (source, Form::Classes(classes)),
        TagKind::Schedule { .. } | TagKind::Attribute { .. } => return None,
    };
    Some(reader(&tag.name, source, false, form))
}

impl<'a> ColumnNumber<'a> {
    /// Returns the lowest and the highest value, in the unit of the measure; both may be infinite.
    #[must_use]
    pub fn bounds(self) -> [f64; 2] {
        let all = [f64::NEG_INFINITY, f64::INFINITY];
        let [low, high] = self.number.range.unwrap_or(all);
        let [min, max] = self.number.plausible.unwrap_or(all);
        [low.max(min), high.min(max)]
    }

    /// Returns `true` for whole numbers only.
    #[must_use]
    pub fn is_integer(self) -> bool {
        self.number.is_integer
    }

    /// Returns `true` for a text with a decimal comma.
    #[must_use]
    pub fn has_comma(self) -> bool {
        self.number.decimal == DecimalMark::Comma
    }

    /// Returns the numbers that stand for no value.
    #[must_use]
    pub fn missing(self) -> &'a [f64] {
        self.number.source.missing_values().numbers()
    }

    /// Returns the column that names the unit.
    #[must_use]
    pub fn unit_column(self) -> Option<&'a str> {
        match &self.number.unit {
            NumberUnit::Column { source, .. } => Some(source.column()),
            NumberUnit::Same | NumberUnit::Fixed(..) => None,
        }
    }

    /// Converts a value of the measure to the unit of the column, which may be named by the row.
    #[must_use]
    pub fn in_column(self, value: f64, unit: Option<&str>) -> f64 {
        self.conversion(unit).map_or(value, |conversion| conversion.revert(value))
    }

    /// Returns `true` if `text` in the column gives the measure a value, with the unit that the row
    /// names.
    #[must_use]
    pub fn accepts(self, text: &str, unit: Option<&str>) -> bool {
        let Ok(number) = crate::value::number(text, self.number.decimal) else { return false };
        let value = self.conversion(unit).map_or(number, |conversion| conversion.apply(number));
        let [low, high] = self.bounds();
        (low..=high).contains(&value)
            && value.abs() <= MAX_NUMBER
            && (!self.number.is_integer || number.fract() == 0.0)
            && !self.number.source.missing_values().holds(text)
            && !self.missing().contains(&number)
    }

    fn conversion(self, unit: Option<&str>) -> Option<Conversion> {
        match &self.number.unit {
            NumberUnit::Same => None,
            NumberUnit::Fixed(_, conversion) => Some(*conversion),
            NumberUnit::Column { units, otherwise, .. } => {
                let named = unit.and_then(|unit| {
                    units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))
                });
                Some(named.unwrap_or(otherwise).1)
            }
        }
    }
}
