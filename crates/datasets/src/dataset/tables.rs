//! Tables of a schema for the pages that explain its feed, as Markdown.

use std::fmt::Write as _;

use jiff::civil::Weekday;

use super::attribute::{Attribute, AttributeKind, Bands, Level};
use super::clock::Zone;
use super::measure::{Measure, MeasureKind, Number, NumberUnit};
use super::tag::{Tag, TagKind};
use super::{Dataset, Form, IdPart, Need, Reader, Template};
use crate::schema::DriftPolicy;
use crate::time::TimeFormat;
use crate::units;

/// Rows of a table.
type Rows<const N: usize> = Vec<[String; N]>;

impl Dataset {
    /// Returns the tables of this schema: its keys, the columns of a row, derived fields and closed
    /// lists. Each has a blank line before and after it.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut text = String::from("\n");
        table(&mut text, ["schema", "value"], &self.key_rows());
        table(&mut text, ["column", "required", "accepted", "field"], &self.column_rows());
        table(&mut text, ["derived field", "from"], &self.derived_rows());
        table(&mut text, ["field", "value", "words"], &self.word_rows());
        text
    }

    fn key_rows(&self) -> Rows<2> {
        let entity: Vec<_> = self.entity.iter().map(|template| code(&template.text())).collect();
        let part = |part: &IdPart| match part {
            IdPart::Entity => "entity".to_owned(),
            IdPart::Time => "time".to_owned(),
            IdPart::Attribute(name) => code(name),
        };
        let event_id: Vec<_> = self.event_id.iter().map(part).collect();
        let partition: Vec<_> = self.partition_columns().map(code).collect();
        let mut rows = vec![
            ["entity".to_owned(), entity.join(", else ")],
            ["`event_id`".to_owned(), event_id.join(", ")],
            ["partition key".to_owned(), partition.join(", else ")],
            ["columns of a CSV".to_owned(), all_of(self.required_columns())],
        ];
        if self.required_fields != self.required_columns {
            rows.push(["fields of JSON".to_owned(), all_of(self.required_fields())]);
        }
        if !self.any_of.is_empty() {
            let names: Vec<_> = self.any_of.iter().map(|field| code(&field.name)).collect();
            rows.push(["a good value in one of".to_owned(), names.join(", ")]);
        }
        if let Some(interval) = self.interval {
            rows.push(["usual interval".to_owned(), format!("{interval:#}")]);
        }
        let other = match self.unknown_columns {
            DriftPolicy::Ignore => "ignored; they stay in the raw layer",
            DriftPolicy::Count => "a fault, `row:unknown_column`",
            DriftPolicy::Refuse => "reject the row",
        };
        rows.push(["other columns".to_owned(), other.to_owned()]);
        rows
    }

    fn column_rows(&self) -> Rows<4> {
        let mut rows = Rows::new();
        // Texts and flags that differ in their names only share a row.
        let mut last = None;
        for reader in self.readers() {
            let [column, required, accepted, field] = self.column_row(&reader);
            let plural = match reader.form {
                Form::Text if reader.columns.len() == 1 => field.strip_prefix("attribute "),
                Form::Flag => field.strip_prefix("tag "),
                _ => None,
            };
            let kind = plural.map(|_| (required.clone(), accepted.clone()));
            match (rows.last_mut(), plural) {
                (Some([columns, _, _, fields]), Some(name)) if kind == last => {
                    let _ = write!(columns, " {column}");
                    let _ = write!(fields, " {name}");
                }
                _ => rows.push([column, required, accepted, field]),
            }
            last = kind;
        }
        rows
    }

    fn column_row(&self, reader: &Reader<'_>) -> [String; 4] {
        let columns: Vec<_> = reader.columns.iter().map(|column| code(column)).collect();
        let required = match (reader.need, &reader.form) {
            (Need::Required, _) => "yes",
            // Any text is good.
            (Need::Optional, _) | (_, Form::Text) => "no",
            (Need::Strict, _) => "no, but a bad value rejects the row",
        };
        let (field, accepted) = (self.field_of(reader), self.accepted(reader));
        [columns.join(" or "), required.to_owned(), accepted, field]
    }

    /// Returns the field that a reader gives a value.
    fn field_of(&self, reader: &Reader<'_>) -> String {
        let name = reader.field;
        match &reader.form {
            Form::Time => "`event_time`, in UTC".to_owned(),
            Form::Zone => "zone of the times".to_owned(),
            Form::Place(_) | Form::Degrees(..) => "`location`".to_owned(),
            Form::Key { .. } => format!("key of the lookup {}", code(name)),
            Form::Unit(_) => format!("unit of {}", code(name)),
            Form::Flag | Form::Classes(_) => format!("tag {}", code(name)),
            Form::Words(_) if self.tags.iter().any(|tag| tag.name == name) => {
                format!("tag of {}", code(name))
            }
            Form::Number(_) | Form::EndTime => format!("measure {}", code(name)),
            Form::Text | Form::Digits(_) | Form::Words(_) | Form::OtherTime => {
                let attribute = self.attributes.iter().find(|it| it.name == name);
                let other = attribute.and_then(|it| it.unless.as_ref());
                let unless = other.map(|it| format!(", unless it equals {}", code(it)));
                format!("attribute {}{}", code(name), unless.unwrap_or_default())
            }
        }
    }

    fn accepted(&self, reader: &Reader<'_>) -> String {
        let attribute = || self.attributes.iter().find(|it| it.name == reader.field);
        match &reader.form {
            Form::Time => self.times(),
            Form::OtherTime => match attribute().map(|it| &it.kind) {
                Some(AttributeKind::Date(_)) => "a time, of which the date counts".to_owned(),
                _ => "a time; in UTC in the event".to_owned(),
            },
            Form::EndTime => "a time not before the event time".to_owned(),
            Form::Zone => "IANA name of a time zone".to_owned(),
            Form::Number(_) => {
                let measure = self.measures.iter().find(|it| it.name == reader.field);
                measure.map(accepted_numbers).unwrap_or_default()
            }
            Form::Unit(units) => self.accepted_units(reader.field, units),
            Form::Degrees(max, _) => format!("degrees, -{max} to {max}"),
            Form::Place(_) => "coordinates in any form, or a name".to_owned(),
            Form::Text => "text".to_owned(),
            Form::Classes(_) => "text; a word in it gives the tag".to_owned(),
            Form::Words(_) => "a word of the list".to_owned(),
            Form::Digits(digits) => format!("code of {digits} digits"),
            Form::Flag => "`true` or `false`".to_owned(),
            Form::Key { .. } => {
                let lookup = self.lookups.0.iter().find(|it| it.name == reader.field);
                let file = lookup.map_or("", |it| it.table.file());
                format!("a key in `lookups/{file}`")
            }
        }
    }

    fn times(&self) -> String {
        let format = |format: &TimeFormat| match format {
            TimeFormat::IsoDate => code("%Y-%m-%d"),
            TimeFormat::Declared(format) => code(format),
        };
        let formats: Vec<_> = self.time.formats.iter().map(format).collect();
        let zone = match &self.time.zone {
            Zone::Fixed(zone) => zone.iana_name().unwrap_or("UTC").to_owned(),
            Zone::Column { source, .. } => format!("the zone of {}", code(source.column())),
        };
        if formats.is_empty() {
            return format!("ISO 8601 or Unix time; without an offset in {zone}");
        }
        format!("{}, in {zone}", formats.join(" or "))
    }

    fn accepted_units(&self, measure: &str, units: &[&str]) -> String {
        let units: Vec<_> = units.iter().map(|unit| code(unit)).collect();
        let measure = self.measures.iter().find(|it| it.name == measure);
        let otherwise = match measure.map(|it| &it.kind) {
            Some(MeasureKind::Column(Number {
                unit: NumberUnit::Column { otherwise, .. },
                ..
            })) => otherwise.0.as_str(),
            _ => "",
        };
        format!("{}; {} if empty", units.join(", "), code(otherwise))
    }

    fn derived_rows(&self) -> Rows<2> {
        let mut rows = Rows::new();
        for measure in &self.measures {
            if let MeasureKind::Call(function, [first, second]) = &measure.kind {
                let from =
                    format!("{} of {} and {}", code(function.name()), code(first), code(second));
                rows.push([format!("measure {}", code(&measure.name)), from]);
            }
        }
        for attribute in &self.attributes {
            if let Some(from) = self.derivation(attribute) {
                rows.push([format!("attribute {}", code(&attribute.name)), from]);
            }
        }
        if let Some(lookup) = self.location.as_ref().and_then(|it| it.otherwise.as_ref()) {
            let from = format!("coordinates of {}, where the row has none", self.lookup(lookup.0));
            rows.push(["`location`".to_owned(), from]);
        }
        if let Zone::Column { source, tag: Some(tag), .. } = &self.time.zone {
            rows.push([
                format!("tag {}", code(tag)),
                format!("{} is empty", code(source.column())),
            ]);
        }
        rows.extend(self.tags.iter().filter_map(tag_row));
        rows
    }

    fn derivation(&self, attribute: &Attribute) -> Option<String> {
        match &attribute.kind {
            AttributeKind::PlaceName => Some("`location`, where it is a name".to_owned()),
            AttributeKind::Lookup(at) => {
                let table = &self.lookups.0[at.lookup].table;
                let column = table.columns().nth(at.column).unwrap_or_default();
                Some(format!("{} of {}", code(column), self.lookup(at.lookup)))
            }
            AttributeKind::Band(bands) => Some(self.bands(bands)),
            _ => None,
        }
    }

    /// Returns the name of a lookup, as text.
    fn lookup(&self, index: usize) -> String {
        format!("the lookup {}", code(&self.lookups.0[index].name))
    }

    fn bands(&self, bands: &Bands) -> String {
        let mut text = format!("band of {}: {}", code(&bands.measure), code(&bands.below));
        for (value, level) in &bands.levels {
            let _ = match level {
                Level::Number(level) => write!(text, ", from {level} {}", code(value)),
                Level::Lookup(..) => write!(text, ", {}", code(value)),
            };
        }
        if let Some((_, Level::Lookup(lookup, _))) = bands.levels.first() {
            let _ = write!(text, "; levels of {}", self.lookup(*lookup));
        }
        text
    }

    fn word_rows(&self) -> Rows<3> {
        let mut rows = Rows::new();
        for attribute in &self.attributes {
            if let AttributeKind::Words(_, words) = &attribute.kind {
                let name = format!("attribute {}", code(&attribute.name));
                push_words(&mut rows, &name, &words.0);
                if let Some(otherwise) = &attribute.otherwise {
                    rows.push([name, code(otherwise), "any other, with a fault".to_owned()]);
                }
            }
        }
        for tag in &self.tags {
            let name = format!("tag of {}", code(&tag.name));
            match &tag.kind {
                TagKind::Words(_, words) => push_words(&mut rows, &name, &words.0),
                TagKind::Classes { classes, otherwise, .. } => {
                    let class = |(tag, words): &(String, Vec<String>)| {
                        [name.clone(), code(tag), words.join(", ")]
                    };
                    rows.extend(classes.iter().map(class));
                    let other = otherwise.iter().map(|otherwise| {
                        [name.clone(), code(otherwise), "a text without any of them".to_owned()]
                    });
                    rows.extend(other);
                }
                _ => {}
            }
        }
        rows
    }
}

impl Template {
    /// Returns the template as the schema has it.
    fn text(&self) -> String {
        let parts = self.parts.iter().map(|(head, name)| format!("{head}{{{name}}}"));
        parts.chain([self.tail.clone()]).collect()
    }
}

/// Returns the numbers that a measure takes, in its column and in its unit.
fn accepted_numbers(measure: &Measure) -> String {
    let MeasureKind::Column(number) = &measure.kind else { return String::new() };
    let mut text = if number.is_integer { "whole number" } else { "number" }.to_owned();
    let unit = units::of_measure(&measure.name).and_then(units::first_name);
    let _ = match (&number.unit, unit) {
        (NumberUnit::Fixed(name, _), _) => write!(text, " in {name}"),
        (NumberUnit::Column { source, .. }, _) => {
            write!(text, " in the unit of {}", code(source.column()))
        }
        (NumberUnit::Same, Some(unit)) => write!(text, " in {unit}"),
        (NumberUnit::Same, None) => Ok(()),
    };
    let is_same = matches!(number.unit, NumberUnit::Same);
    let suffix = unit.filter(|_| !is_same).map(|unit| format!(" {unit}")).unwrap_or_default();
    if let Some(range) = number.range.and_then(|range| shown_range(range, &suffix)) {
        let _ = write!(text, ", {range}");
        if let Some([_, high]) = number.range.filter(|_| number.clip > 0.0) {
            let _ = write!(text, ", and up to {} counts as {high}", high + number.clip);
        }
    }
    if let Some(range) = number.plausible.and_then(|range| shown_range(range, &suffix)) {
        let _ = write!(text, ", plausible {range}");
    }
    text
}

fn shown_range([low, high]: [f64; 2], unit: &str) -> Option<String> {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => Some(format!("{low} to {high}{unit}")),
        (true, false) => Some(format!("from {low}{unit}")),
        (false, true) => Some(format!("to {high}{unit}")),
        (false, false) => None,
    }
}

fn tag_row(tag: &Tag) -> Option<[String; 2]> {
    match &tag.kind {
        TagKind::Schedule { days, hours } => {
            let days: Vec<_> = days.iter().map(|day| day_name(*day)).collect();
            let hours: Vec<_> =
                hours.iter().map(|[from, to]| format!("{from:02}:00 to {to:02}:59")).collect();
            let mut from = days.join(", ");
            if !hours.is_empty() {
                let _ = write!(from, "; {}", hours.join(", "));
            }
            Some([format!("tag {}", code(&tag.name)), format!("{from}; local time")])
        }
        TagKind::Attribute { attribute, tags } => {
            let tags: Vec<_> = tags.iter().map(|(_, tag)| code(tag)).collect();
            Some([format!("tags {}", tags.join(" ")), format!("value of {}", code(attribute))])
        }
        TagKind::Flag(_) | TagKind::Words(..) | TagKind::Classes { .. } => None,
    }
}

fn day_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

/// Appends a row for each value of a list, with its words.
fn push_words(rows: &mut Rows<3>, name: &str, words: &[(String, String)]) {
    let mut values: Vec<(&str, Vec<&str>)> = Vec::new();
    for (word, value) in words {
        match values.iter_mut().find(|(known, _)| known == value) {
            Some((_, words)) => words.push(word),
            None => values.push((value, vec![word])),
        }
    }
    rows.extend(
        values.iter().map(|(value, words)| [name.to_owned(), code(value), words.join(", ")]),
    );
}

fn all_of(columns: &[Vec<String>]) -> String {
    let one =
        |names: &Vec<String>| names.iter().map(|name| code(name)).collect::<Vec<_>>().join(" or ");
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Appends a table and a blank line, unless it has no rows.
fn table<const N: usize>(text: &mut String, header: [&str; N], rows: &[[String; N]]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "| {} |\n|{}", header.join(" | "), "---|".repeat(N));
    for row in rows {
        let fields = row.each_ref().map(|field| field.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", fields.join(" | "));
    }
    text.push('\n');
}
