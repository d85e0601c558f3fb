//! A compiled schema: turns the rows of one dataset into events.

mod attribute;
mod clock;
mod compile;
mod location;
mod lookups;
mod measure;
mod outline;
mod source;
mod tables;
mod tag;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use tributary_model::bad_row::{Code, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_model::domain::Fields;
use tributary_model::event::{
    Attributes, CLOCK_AHEAD, Event, Kind, Measures, Text, is_clock_ahead,
};
use tributary_model::id::Id;

use tributary_rows::Dialect;

use self::attribute::Attribute;
use self::clock::{Clock, TimeReader};
use self::location::LocationReader;
use self::lookups::{Lookups, Matches};
use self::measure::Measure;
use self::source::Source;
use self::tag::Tag;
use crate::place::Place;
use crate::row::{Columns, Row, unknown_column};
use crate::schema::DriftPolicy;
use crate::value::Missing;

pub use self::compile::LookupFiles;
pub use self::outline::{ColumnNumber, Form, KeyTime, Need, Reader, TimeText};

/// A dataset: the schema of `config/datasets/<name>.toml`, compiled.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    columns: Columns,
    dialect: Dialect,
    unknown_columns: DriftPolicy,
    /// Usual time between two readings of an entity.
    interval: Option<SignedDuration>,
    lookups: Lookups,
    time: TimeReader,
    location: Option<LocationReader>,
    measures: Vec<Measure>,
    attributes: Vec<Attribute>,
    tags: Vec<Tag>,
    any_of: Vec<AnyOf>,
    entity: Vec<Template>,
    event_id: Vec<IdPart>,
    /// Columns with their slots.
    partition: Vec<(String, usize)>,
    /// The partition columns name the entity, so its rows keep their order.
    keeps_order_of_entity: bool,
    /// Further columns of a CSV.
    header: Vec<String>,
    required_columns: Vec<Vec<String>>,
    required_fields: Vec<Vec<String>>,
    fields: Fields,
}

/// Text with attributes in braces, such as `{state}/{county}`.
#[derive(Debug)]
struct Template {
    /// Literal text before each attribute, and the attribute.
    parts: Vec<(String, String)>,
    tail: String,
}

/// Part of the natural key.
#[derive(Debug)]
enum IdPart {
    Entity,
    /// Event time in nanoseconds.
    Time,
    Attribute(String),
}

/// A field of which at least one must have a value.
#[derive(Debug)]
struct AnyOf {
    name: String,
    column: String,
}

/// Faults of the optional fields of a row, by field.
#[derive(Default)]
struct Faults<'p>(Vec<(&'p str, Rejection)>);

impl<'p> Faults<'p> {
    /// Returns the value of a field. An error of a required field rejects the row; of another field
    /// it is a fault, and the field has no value.
    fn value<T>(
        &mut self,
        name: &'p str,
        is_required: bool,
        read: Result<Option<T>, Rejection>,
    ) -> Result<Option<T>, Rejection> {
        match read {
            Err(rejection) if !is_required => {
                self.0.push((name, rejection));
                Ok(None)
            }
            read => read,
        }
    }

    fn of(&self, name: &str) -> Option<&Rejection> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, rejection)| rejection)
    }

    /// Returns `field:code` of each fault.
    fn into_texts(self) -> Vec<Text<'static>> {
        let text = |(field, rejection): (&str, Rejection)| {
            Cow::Owned(format!("{field}:{}", rejection.code))
        };
        self.0.into_iter().map(text).collect()
    }
}

impl Dataset {
    /// Returns the name in records, keys and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the columns that a CSV file of this dataset must have, each with its alternative
    /// names. If nothing else names the dataset, a header with all of them selects it.
    #[must_use]
    pub fn required_columns(&self) -> &[Vec<String>] {
        &self.required_columns
    }

    /// Returns the fields that a JSON row must have, each with its alternative names: fewer than
    /// the columns of a CSV where a field may be empty.
    #[must_use]
    pub fn required_fields(&self) -> &[Vec<String>] {
        &self.required_fields
    }

    /// Iterates over the candidate columns of the raw record's partition key; the first with a
    /// value counts. They are those whose rows must keep their order, or else the natural key, so
    /// that load spreads.
    pub fn partition_columns(&self) -> impl Iterator<Item = &str> {
        self.partition.iter().map(|(column, _)| column.as_str())
    }

    /// Returns the partition key of a payload: the trimmed value of the first partition column that
    /// has one. Without one, or if the payload is no row, it is `None`.
    #[must_use]
    pub fn partition_key<'a>(&self, payload: &'a str) -> Option<Cow<'a, str>> {
        let row = self.columns.read(payload).ok()?;
        let no_missing = Missing::default();
        let text = |slot: usize| row.value(slot).text(&no_missing).ok().flatten();
        self.partition.iter().find_map(|(_, slot)| text(*slot))
    }

    /// Returns the partition key of an event: its entity if that is what `partition` names. Otherwise
    /// the rows of an entity come in no order, and the key is the event id, so that the load of a
    /// large entity spreads.
    #[must_use]
    pub fn event_key<'e>(&self, event: &'e Event<'_>) -> &'e str {
        if self.keeps_order_of_entity { &event.entity } else { &event.event_id }
    }

    /// Returns the natural key as text, such as `entity {id} (id from sensor) + time (from at)`.
    ///
    /// Schemas of one name with different texts give the same row different event ids.
    #[must_use]
    pub fn natural_key(&self) -> String {
        let origin = |name: &str| {
            let attribute = self.attributes.iter().find(|attribute| attribute.name == name);
            let column = attribute.and_then(Attribute::source).map(Source::column);
            column.map_or(name.to_owned(), |column| format!("{name} from {column}"))
        };
        let part = |part: &IdPart| match part {
            IdPart::Entity => {
                let templates: Vec<_> = self.entity.iter().map(ToString::to_string).collect();
                let names = self.entity.iter().flat_map(|it| &it.parts);
                let origins: Vec<_> = names.map(|(_, name)| origin(name)).collect();
                format!("entity {} ({})", templates.join(" or "), origins.join(", "))
            }
            IdPart::Time => format!("time (from {})", self.time.source.column()),
            IdPart::Attribute(name) => origin(name),
        };
        self.event_id.iter().map(part).collect::<Vec<_>>().join(" + ")
    }

    /// Returns the dialect that the schema declares for files.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns every measure, attribute and tag of the events with its possible values. Rules are
    /// checked against them.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Narrows measures to plausible ranges, both ends included.
    ///
    /// # Errors
    ///
    /// Names the range that is empty, or of no measure with a column.
    pub(crate) fn narrow(
        &mut self,
        ranges: &BTreeMap<String, [f64; 2]>,
    ) -> Result<(), ConfigError> {
        for (name, &[low, high]) in ranges {
            let owner = || format!("ranges.{}.{name}", self.name);
            if !low.is_finite() || !high.is_finite() || low >= high {
                let message = format!("{low} to {high} is no range of finite numbers");
                return Err(ConfigError::new(owner(), message));
            }
            let number = self.measures.iter_mut().find(|measure| measure.name == *name);
            let Some(number) = number.and_then(Measure::number_mut) else {
                let names: Vec<_> = self.fields.measures.keys().map(String::as_str).collect();
                let message = format!(
                    "there is no measure with a column {name:?}: expected one of {}",
                    names.join(", ")
                );
                return Err(ConfigError::new(owner(), message));
            };
            number.narrow([low, high]);
            let values = number.values();
            if values.is_empty() {
                let message = format!("{low} to {high} has no possible value of the measure");
                return Err(ConfigError::new(owner(), message));
            }
            self.fields.measures.insert(name.clone(), values);
        }
        Ok(())
    }

    /// Returns the event of a payload, which is a JSON object as text. The event borrows from the
    /// payload and from the dataset.
    ///
    /// A bad optional field costs that field: the event lists it in `faults`.
    ///
    /// `received_at` is the time Tributary received the row. If it is `None`, for example for a row
    /// of a file read offline, the event time counts as the arrival time. An event that is far ahead
    /// of it is tagged [`CLOCK_AHEAD`].
    ///
    /// # Errors
    ///
    /// An absent or invalid required field rejects the row, and so does a row that is not one JSON
    /// object.
    pub fn event<'a>(
        &'a self,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Event<'a>, Rejection> {
        let row = self.columns.read(payload)?;
        let mut faults = Faults::default();
        let mut tags = Vec::with_capacity(8);

        let matches = self.lookups.find(&row)?;
        let clock = self.time.clock(&row, &matches, &self.lookups, &mut tags)?;
        let measures = self.measures_of(&row, &clock, &mut faults)?;
        let place = self.place_of(&row, &matches, &mut faults)?;
        let attributes =
            self.attributes_of(&row, &clock, &matches, &place, &measures, &mut faults)?;
        self.check_any_of(&measures, &attributes, &faults)?;
        for tag in &self.tags {
            let read = tag.read(&row, &clock, &attributes);
            tags.extend(faults.value(tag.name(), false, read)?);
        }
        self.check_columns(&row, &mut faults)?;
        if received_at.is_some_and(|received_at| is_clock_ahead(clock.instant, received_at)) {
            tags.push(Cow::Borrowed(CLOCK_AHEAD));
        }

        let entity = self.entity_of(&attributes)?;
        Ok(Event {
            kind: Kind::Reading,
            dataset: Cow::Borrowed(&self.name),
            event_id: Cow::Owned(self.id_of(&entity, clock.instant, &attributes).to_string()),
            entity,
            event_time: clock.instant,
            received_at: received_at.unwrap_or(clock.instant),
            location: place.point,
            measures,
            attributes,
            tags,
            faults: faults.into_texts(),
            window: None,
        })
    }

    fn measures_of<'a>(
        &'a self,
        row: &Row<'a>,
        clock: &Clock,
        faults: &mut Faults<'a>,
    ) -> Result<Measures<'a>, Rejection> {
        let mut measures = Measures::with_capacity(self.measures.len());
        for measure in &self.measures {
            let read = measure.read(row, clock, &self.time, &measures);
            let value = faults.value(measure.name(), measure.is_required(), read)?;
            if value.is_none() && measure.is_required() {
                return Err(measure.missing());
            }
            measures.push_some(measure.name(), value);
        }
        Ok(measures)
    }

    fn place_of<'a>(
        &'a self,
        row: &Row<'a>,
        matches: &Matches,
        faults: &mut Faults<'a>,
    ) -> Result<Place<'a>, Rejection> {
        let Some(location) = &self.location else { return Ok(Place::default()) };
        let read = location.read(row).map(Some);
        let mut place = faults.value("location", location.is_required(), read)?.unwrap_or_default();
        if place.point.is_none() {
            place.point = location.otherwise(matches);
        }
        if place.point.is_none() && location.is_required() {
            return Err(location.missing());
        }
        Ok(place)
    }

    fn attributes_of<'a>(
        &'a self,
        row: &Row<'a>,
        clock: &Clock,
        matches: &Matches,
        place: &Place<'a>,
        measures: &Measures<'a>,
        faults: &mut Faults<'a>,
    ) -> Result<Attributes<'a>, Rejection> {
        let mut attributes = Attributes::with_capacity(self.attributes.len());
        for attribute in &self.attributes {
            let context = attribute::Context {
                row,
                clock,
                time: &self.time,
                lookups: &self.lookups,
                matches,
                place,
                measures,
                attributes: &attributes,
            };
            let read = attribute.read(&context);
            let value = faults.value(attribute.name(), attribute.is_strict(), read)?;
            if value.is_none() && attribute.is_required() {
                return Err(attribute.missing());
            }
            let value =
                value.or_else(|| faults.of(attribute.name()).and_then(|_| attribute.otherwise()));
            attributes.push_some(attribute.name(), value);
        }
        Ok(attributes)
    }

    /// Rejects a row without a good value in any field of `any_of`, for the first bad value if
    /// there is one.
    fn check_any_of(
        &self,
        measures: &Measures<'_>,
        attributes: &Attributes<'_>,
        faults: &Faults<'_>,
    ) -> Result<(), Rejection> {
        let Some(first) = self.any_of.first() else { return Ok(()) };
        let has_value = |name: &str| {
            (measures.get(name).is_some() || attributes.get(name).is_some())
                && faults.of(name).is_none()
        };
        if self.any_of.iter().any(|field| has_value(&field.name)) {
            return Ok(());
        }
        if let Some(rejection) = self.any_of.iter().find_map(|field| faults.of(&field.name)) {
            return Err(rejection.clone());
        }
        let others: Vec<_> = self.any_of[1..].iter().map(|field| field.column.as_str()).collect();
        Err(Rejection {
            code: Code::MissingField,
            field: Some(Cow::Owned(first.column.clone())),
            message: format!("is empty, and so are {}", others.join(", ")),
        })
    }

    fn check_columns(&self, row: &Row<'_>, faults: &mut Faults<'_>) -> Result<(), Rejection> {
        match (&row.unknown, self.unknown_columns) {
            (None, _) | (_, DriftPolicy::Ignore) => {}
            (Some(column), DriftPolicy::Count) => faults.0.push(("row", unknown_column(column))),
            (Some(column), DriftPolicy::Refuse) => return Err(unknown_column(column)),
        }
        Ok(())
    }

    fn entity_of<'a>(&'a self, attributes: &Attributes<'a>) -> Result<Text<'a>, Rejection> {
        let entity = self.entity.iter().find_map(|template| template.fill(attributes));
        entity.ok_or_else(|| {
            let names = self.entity.first().into_iter().flat_map(|it| &it.parts);
            let names: Vec<_> = names.map(|(_, name)| name.as_str()).collect();
            let message = format!("no entity: {} is empty", names.join(" or "));
            Rejection::row(Code::MissingField, message)
        })
    }

    /// Returns the id of the natural key. A time in it is the instant, not its spelling.
    fn id_of(&self, entity: &str, time: Timestamp, attributes: &Attributes<'_>) -> Id {
        let nanosecond = time.as_nanosecond().to_be_bytes();
        let part = |part: &'_ IdPart| match part {
            IdPart::Entity => entity.as_bytes(),
            IdPart::Time => nanosecond.as_slice(),
            IdPart::Attribute(name) => attributes.get(name).map_or(&[][..], |it| it.as_bytes()),
        };
        Id::of(std::iter::once(self.name.as_bytes()).chain(self.event_id.iter().map(part)))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (head, name) in &self.parts {
            write!(f, "{head}{{{name}}}")?;
        }
        f.write_str(&self.tail)
    }
}

impl Template {
    /// Returns the text; `None` if an attribute has no value.
    fn fill<'a>(&self, attributes: &Attributes<'a>) -> Option<Text<'a>> {
        if let ([(head, name)], "") = (self.parts.as_slice(), self.tail.as_str())
            && head.is_empty()
        {
            return attributes.get(name).cloned();
        }
        let mut text = String::new();
        for (head, name) in &self.parts {
            text.push_str(head);
            text.push_str(attributes.get(name)?);
        }
        text.push_str(&self.tail);
        Some(Cow::Owned(text))
    }
}
