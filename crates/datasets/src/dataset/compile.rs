//! Compiles a schema: resolves columns to slots, and names to what they name.

mod fields;
mod names;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::SignedDuration;
use toml::Spanned;

use tributary_model::config_error::ConfigError;
use tributary_model::domain::Fields;
use tributary_rows::{Dialect, Encoding};

use self::names::{check_columns, check_name, is_name, texts, unknown};
use super::attribute::{Attribute, AttributeKind, Words};
use super::location::{LocationColumns, LocationReader};
use super::lookups::{Lookup, LookupColumn, Lookups, MAX_LOOKUPS};
use super::measure::{Measure, MeasureKind};
use super::source::Source;
use super::tag::Tag;
use super::{AnyOf, Dataset, IdPart, Template};
use crate::lookup::Table;
use crate::row::{Columns, MAX_COLUMNS};
use crate::schema::{
    DecimalMark, FileSpec, LocationSpec, LookupSpec, Map, Names, SchemaSpec, in_order,
};
use crate::value::{MISSING, Missing};

/// Error at a byte range of the schema.
struct Fault {
    span: Range<usize>,
    message: String,
}

type Compiled<T> = Result<T, Fault>;

fn fault<T>(span: Range<usize>, message: impl Into<String>) -> Compiled<T> {
    Err(Fault { span, message: message.into() })
}

/// Lookup tables by file name, as text.
pub type LookupFiles = BTreeMap<String, String>;

impl Dataset {
    /// Compiles the text of `datasets/<name>.toml`.
    ///
    /// # Errors
    ///
    /// Names file, line and column, and what is expected there.
    pub fn compile(name: &str, text: &str, lookups: &LookupFiles) -> Result<Self, ConfigError> {
        let file = format!("datasets/{name}.toml");
        let at = |fault: Fault| ConfigError::at(&file, text, fault.span.start, fault.message);
        let spec: SchemaSpec = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            ConfigError::at(&file, text, start, error.message())
        })?;
        Compiler::new(name, &spec, lookups).and_then(|it| it.compile(&spec)).map_err(at)
    }
}

/// Compilation of one schema.
struct Compiler {
    name: String,
    columns: Columns,
    /// Texts that stand for no value, in every field that does not state its own.
    missing: Vec<String>,
    /// The same for free texts, where only declared ones count.
    missing_texts: Vec<String>,
    decimal: DecimalMark,
    lookups: Lookups,
    has_place_name: bool,
    fields: Fields,
}

impl Compiler {
    fn new(name: &str, spec: &SchemaSpec, files: &LookupFiles) -> Compiled<Self> {
        if !is_name(name, true) {
            return fault(
                0..0,
                "the name of a dataset has a to z, digits, _ and -, and begins with a letter",
            );
        }
        let defaults = || MISSING.map(str::to_owned).to_vec();
        let mut compiler = Self {
            name: name.to_owned(),
            columns: Columns::default(),
            missing: spec.missing.clone().unwrap_or_else(defaults),
            missing_texts: spec.missing.clone().unwrap_or_default(),
            decimal: spec.file.decimal,
            lookups: Lookups::default(),
            has_place_name: spec.location.as_ref().is_some_and(|it| !it.as_ref().from.0.is_empty()),
            fields: Fields::of_readings(name, [], [], []),
        };
        compiler.fields.has_location = spec.location.is_some();
        for (name, lookup) in in_order(&spec.lookups) {
            compiler.add_lookup(name, lookup, files)?;
        }
        Ok(compiler)
    }

    fn compile(mut self, spec: &SchemaSpec) -> Compiled<Dataset> {
        let dialect = dialect(&spec.file)?;
        let time = self.time(&spec.time)?;
        let mut measures = Vec::new();
        for (name, measure) in in_order(&spec.measures) {
            check_name(name)?;
            measures.push(self.measure(name, &measure.0)?);
        }
        let mut attributes = Vec::new();
        for (name, attribute) in in_order(&spec.attributes) {
            check_name(name)?;
            attributes.push(self.attribute(name, &attribute.0)?);
        }
        let location = spec.location.as_ref().map(|it| self.location(it)).transpose()?;
        let mut tags = Vec::new();
        for (name, tag) in in_order(&spec.tags) {
            let tag: Tag = self.tag(name, tag)?;
            self.fields.tags.extend(tag.possible().into_iter().map(str::to_owned));
            tags.push(tag);
        }
        let entity = Self::entity(&spec.entity, &mut attributes)?;
        let event_id = Self::event_id(&spec.event_id, &mut attributes)?;
        if let Some(interval) =
            spec.interval.as_ref().filter(|it| it.get_ref().0 <= SignedDuration::ZERO)
        {
            return fault(interval.span(), "the interval between two readings must be above 0s");
        }
        self.fields.interval = spec.interval.as_ref().map(|interval| interval.get_ref().0);
        let any_of = Self::any_of(&spec.any_of, &measures, &attributes)?;
        check_columns(&spec.header, "header")?;
        for column in &spec.header.0 {
            self.columns.slot(column.get_ref());
        }
        let partition = self.partition(&spec.partition)?;
        let of_entity = self.columns_of(&entity, &attributes);
        let keeps_order_of_entity = partition.iter().any(|(name, _)| of_entity.contains(name));
        let (required_columns, required_fields) =
            self.required(spec, &time.source, &measures, &attributes, location.as_ref());
        if self.columns.len() > MAX_COLUMNS {
            return fault(0..0, format!("the schema reads more than {MAX_COLUMNS} columns"));
        }
        Ok(Dataset {
            name: self.name,
            columns: self.columns,
            dialect,
            unknown_columns: spec.unknown_columns,
            interval: self.fields.interval,
            lookups: self.lookups,
            time,
            location,
            measures,
            attributes,
            tags,
            any_of,
            entity,
            event_id,
            partition,
            keeps_order_of_entity,
            header: texts(&spec.header),
            required_columns,
            required_fields,
            fields: self.fields,
        })
    }

    fn add_lookup(
        &mut self,
        name: &Spanned<String>,
        spec: &LookupSpec,
        files: &LookupFiles,
    ) -> Compiled<()> {
        if self.lookups.0.len() == MAX_LOOKUPS {
            return fault(name.span(), format!("a schema has at most {MAX_LOOKUPS} lookups"));
        }
        let file = spec.file.get_ref();
        let Some(text) = files.get(file) else {
            return fault(spec.file.span(), format!("there is no file lookups/{file}"));
        };
        let keys: Vec<_> = spec.key.0.iter().map(|key| key.get_ref().as_str()).collect();
        let table = Table::read(file, text, &keys, spec.ignore_case)
            .or_else(|message| fault(spec.file.span(), message))?;
        let lookup = Lookup {
            name: name.get_ref().clone(),
            table,
            source: self.source(&spec.from, &[], name.span(), true)?,
            is_required: spec.required,
        };
        self.lookups.0.push(lookup);
        Ok(())
    }

    /// Returns the source of the columns `from`.
    fn source(
        &mut self,
        from: &Names,
        missing: &[String],
        owner: Range<usize>,
        is_text: bool,
    ) -> Compiled<Source> {
        if from.0.is_empty() {
            return fault(owner, "`from` names no column");
        }
        check_columns(from, "from")?;
        let mut columns = Vec::with_capacity(from.0.len());
        for column in &from.0 {
            columns.push((self.columns.slot(column.get_ref()), column.get_ref().clone()));
        }
        let defaults = if is_text { &self.missing_texts } else { &self.missing };
        let missing = defaults.iter().chain(missing);
        Ok(Source::new(columns, Missing::new(missing.map(String::as_str))))
    }

    /// Resolves `lookup.column`.
    fn lookup_column(&self, text: &str, span: Range<usize>) -> Compiled<LookupColumn> {
        let Some((name, column)) = text.split_once('.') else {
            return fault(
                span,
                format!("{text:?} should be LOOKUP.COLUMN, such as \"states.zone\""),
            );
        };
        let Some(lookup) = self.lookups.0.iter().position(|lookup| lookup.name == name) else {
            let names: Vec<_> = self.lookups.0.iter().map(|it| it.name.as_str()).collect();
            return fault(span, unknown("lookup", name, &names));
        };
        let column = self.lookups.0[lookup].table.column(column);
        let column = column.or_else(|message| fault(span, message))?;
        Ok(LookupColumn { lookup, column })
    }

    fn location(&mut self, spec: &Spanned<LocationSpec>) -> Compiled<LocationReader> {
        let (span, spec) = (spec.span(), spec.get_ref());
        let columns = match (&spec.lat, &spec.lon) {
            (Some(lat), Some(lon)) if spec.from.0.is_empty() => {
                let [lat, lon] = [lat, lon].map(|it| Names(vec![it.clone()]));
                let lat = self.source(&lat, &[], span.clone(), false)?;
                let lon = self.source(&lon, &[], span.clone(), false)?;
                LocationColumns::Two([lat, lon], self.decimal)
            }
            (None, None) if !spec.from.0.is_empty() => {
                LocationColumns::One(self.source(&spec.from, &[], span.clone(), false)?)
            }
            _ => return fault(span, "a location has either `from`, or both `lat` and `lon`"),
        };
        let otherwise = match spec.otherwise.0.as_slice() {
            [] => None,
            [lat, lon] => {
                let [lat, lon] = [lat, lon].map(|it| self.lookup_column(it.get_ref(), it.span()));
                let (lat, lon) = (lat?, lon?);
                let table = &self.lookups.0[lat.lookup].table;
                let locations = table.locations([lat.column, lon.column]);
                Some((lat.lookup, locations.or_else(|message| fault(span.clone(), message))?))
            }
            _ => {
                return fault(
                    span,
                    "`otherwise` names two columns of a lookup: latitude, longitude",
                );
            }
        };
        Ok(LocationReader { columns, otherwise, is_required: spec.required })
    }

    /// Compiles the templates of the entity. A bad value in one of their attributes rejects a row.
    fn entity(spec: &Names, attributes: &mut [Attribute]) -> Compiled<Vec<Template>> {
        let mut templates = Vec::new();
        for text in &spec.0 {
            let mut parts = Vec::new();
            let mut rest = text.get_ref().as_str();
            while let Some((head, tail)) = rest.split_once('{') {
                let Some((name, tail)) = tail.split_once('}') else {
                    return fault(text.span(), "a brace is not closed");
                };
                Self::strict(name, text.span(), attributes)?;
                parts.push((head.to_owned(), name.to_owned()));
                rest = tail;
            }
            if parts.is_empty() {
                return fault(text.span(), "names no attribute in braces, such as \"{sensor_id}\"");
            }
            templates.push(Template { parts, tail: rest.to_owned() });
        }
        if templates.is_empty() {
            return fault(0..0, "`entity` has no template, such as \"{sensor_id}\"");
        }
        Ok(templates)
    }

    /// Marks an attribute as part of the key.
    fn strict<'t>(
        name: &str,
        span: Range<usize>,
        attributes: &'t mut [Attribute],
    ) -> Compiled<&'t Attribute> {
        let at = attributes.iter().position(|attribute| attribute.name == name);
        let Some(at) = at else {
            let names: Vec<_> = attributes.iter().map(|it| it.name.as_str()).collect();
            return fault(span, unknown("attribute", name, &names));
        };
        attributes[at].is_strict = true;
        Ok(&attributes[at])
    }

    fn event_id(spec: &Names, attributes: &mut [Attribute]) -> Compiled<Vec<IdPart>> {
        let mut parts = Vec::new();
        for part in &spec.0 {
            parts.push(match part.get_ref().as_str() {
                "entity" => IdPart::Entity,
                "time" => IdPart::Time,
                name => {
                    let attribute = Self::strict(name, part.span(), attributes)?;
                    if !attribute.is_required {
                        let message = format!(
                            "attribute {name:?} can be empty: a part of the key is `required`"
                        );
                        return fault(part.span(), message);
                    }
                    IdPart::Attribute(name.to_owned())
                }
            });
        }
        if parts.is_empty() {
            return fault(0..0, "`event_id` has no part, such as \"entity\" and \"time\"");
        }
        Ok(parts)
    }

    /// Returns the columns of the partition key with their slots.
    fn partition(&mut self, spec: &Names) -> Compiled<Vec<(String, usize)>> {
        check_columns(spec, "partition")?;
        if spec.0.is_empty() {
            return fault(0..0, "`partition` names no column: rows would lose their order");
        }
        let column = |name: &Spanned<String>| {
            let known = self.columns.len();
            let slot = self.columns.slot(name.get_ref());
            if slot == known {
                let message =
                    format!("neither a field nor `header` names the column {:?}", name.get_ref());
                return fault(name.span(), message);
            }
            Ok((name.get_ref().clone(), slot))
        };
        spec.0.iter().map(column).collect()
    }

    /// Returns the columns of the attributes in an entity.
    fn columns_of(&self, entity: &[Template], attributes: &[Attribute]) -> BTreeSet<String> {
        let names: BTreeSet<_> =
            entity.iter().flat_map(|it| &it.parts).map(|(_, name)| name.as_str()).collect();
        let of_entity = attributes.iter().filter(|it| names.contains(it.name()));
        let source = |attribute: &Attribute| match &attribute.kind {
            AttributeKind::Lookup(column) => Some(self.lookups.0[column.lookup].source.names()),
            _ => attribute.source().map(Source::names),
        };
        of_entity.filter_map(source).flatten().collect()
    }

    fn any_of(
        spec: &Names,
        measures: &[Measure],
        attributes: &[Attribute],
    ) -> Compiled<Vec<AnyOf>> {
        let mut fields = Vec::new();
        for name in &spec.0 {
            let text = name.get_ref();
            let measure = measures.iter().find(|it| it.name == *text).and_then(Measure::source);
            let attribute = || attributes.iter().find(|it| it.name == *text)?.source();
            let Some(source) = measure.or_else(attribute) else {
                let known = measures.iter().map(|it| it.name.as_str());
                let known: Vec<_> =
                    known.chain(attributes.iter().map(|it| it.name.as_str())).collect();
                return fault(name.span(), unknown("field with a column", text, &known));
            };
            fields.push(AnyOf { name: text.clone(), column: source.column().to_owned() });
        }
        Ok(fields)
    }

    /// Returns the columns that a CSV needs, and those that a JSON row needs.
    fn required(
        &self,
        spec: &SchemaSpec,
        time: &Source,
        measures: &[Measure],
        attributes: &[Attribute],
        location: Option<&LocationReader>,
    ) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
        let attributes_required = attributes.iter().filter(|it| it.is_required);
        let mut fields: Vec<_> =
            attributes_required.filter_map(|it| Some(it.source()?.names())).collect();
        fields.push(time.names());
        let lookups = self.lookups.0.iter().filter(|lookup| lookup.is_required);
        fields.extend(lookups.map(|lookup| lookup.source.names()));
        let numbers = measures.iter().filter_map(|measure| match &measure.kind {
            MeasureKind::Column(number) if number.is_required => Some(number.source.names()),
            _ => None,
        });
        fields.extend(numbers);
        let needs_columns = |it: &&LocationReader| it.is_required && it.otherwise.is_none();
        match location.filter(needs_columns).map(|it| &it.columns) {
            Some(LocationColumns::One(source)) => fields.push(source.names()),
            Some(LocationColumns::Two(sources, _)) => {
                fields.extend(sources.each_ref().map(Source::names));
            }
            None => {}
        }
        let mut distinct = Vec::new();
        for names in fields {
            if !distinct.contains(&names) {
                distinct.push(names);
            }
        }
        let mut columns = distinct.clone();
        columns.extend(texts(&spec.header).into_iter().map(|column| vec![column]));
        if !spec.any_of.0.is_empty() {
            let of = |name: &Spanned<String>| {
                let name = name.get_ref();
                let measure = measures.iter().find(|it| it.name == *name).and_then(Measure::source);
                let attribute = || attributes.iter().find(|it| it.name == *name)?.source();
                measure.or_else(attribute).map(Source::names)
            };
            distinct.push(spec.any_of.0.iter().filter_map(of).flatten().collect());
        }
        (columns, distinct)
    }
}

/// Returns the declared dialect of files.
fn dialect(spec: &FileSpec) -> Compiled<Dialect> {
    let byte = |text: &Option<Spanned<String>>| match text {
        None => Ok(None),
        Some(text) => match text.get_ref().as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(Some(*byte)),
            _ => fault(text.span(), format!("{:?} is not one ASCII character", text.get_ref())),
        },
    };
    let encoding = match &spec.encoding {
        None => None,
        Some(label) => match Encoding::of_label(label.get_ref()) {
            None => {
                let message = format!("there is no encoding {:?}", label.get_ref());
                return fault(label.span(), message);
            }
            encoding => encoding,
        },
    };
    Ok(Dialect { delimiter: byte(&spec.delimiter)?, escape: byte(&spec.escape)?, encoding })
}

/// Returns the words of a list and their values, in the order of the file.
fn words(map: &Map<Vec<String>>) -> Compiled<Words> {
    let mut words = Words(Vec::new());
    for (value, spellings) in in_order(map) {
        for word in spellings {
            if words.has(word) {
                return fault(value.span(), format!("the word {word:?} is there twice"));
            }
            words.0.push((word.clone(), value.get_ref().clone()));
        }
    }
    Ok(words)
}
