//! Schema of a dataset as written in `config/datasets/<name>.toml`. docs/DATASETS.md explains each
//! key with an example.

mod forms;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Table};

use tributary_model::time::DurationSpec;

pub(crate) use self::forms::{Names, Short, in_order};

/// Contents of a schema file. Maps are keyed by names with their positions, so that fields keep
/// the order of the file and errors name a line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaSpec {
    pub entity: Names,
    pub event_id: Names,
    pub partition: Names,
    #[serde(default)]
    pub header: Names,
    #[serde(default)]
    pub any_of: Names,
    pub missing: Option<Vec<String>>,
    pub interval: Option<Spanned<DurationSpec>>,
    #[serde(default)]
    pub unknown_columns: DriftPolicy,
    #[serde(default)]
    pub file: FileSpec,
    pub time: Spanned<TimeSpec>,
    pub location: Option<Spanned<LocationSpec>>,
    #[serde(default)]
    pub lookups: Map<LookupSpec>,
    #[serde(default)]
    pub measures: Map<Short<MeasureSpec>>,
    #[serde(default)]
    pub attributes: Map<Short<AttributeSpec>>,
    #[serde(default)]
    pub tags: Map<TagSpec>,
    // Read by the crate `tributary-config`.
    #[serde(default, rename = "filters")]
    _filters: Vec<Table>,
    #[serde(default, rename = "metrics")]
    _metrics: Vec<Table>,
    #[serde(default, rename = "windows")]
    _windows: Vec<Table>,
    #[serde(default, rename = "rules")]
    _rules: Vec<Table>,
}

/// `[file]`: dialect of the files, where it is not detected.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileSpec {
    pub delimiter: Option<Spanned<String>>,
    pub escape: Option<Spanned<String>>,
    pub encoding: Option<Spanned<String>>,
    /// Decimal mark of all measures that state none.
    pub decimal: DecimalMark,
}

/// Treatment of columns that the schema does not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DriftPolicy {
    /// They stay in the raw layer only.
    #[default]
    Ignore,
    /// The event has a fault `unknown_column`.
    Count,
    /// The row is rejected.
    Refuse,
}

/// `[time]`: the event time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeSpec {
    pub from: Names,
    #[serde(default)]
    pub formats: Vec<Spanned<String>>,
    pub zone: Option<Spanned<Short<ZoneSpec>>>,
}

/// Time zone of times without an offset: an IANA name, or a column of such names.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ZoneSpec {
    #[serde(skip)]
    pub name: Option<String>,
    pub from: Option<Spanned<String>>,
    pub otherwise: Option<Spanned<String>>,
    pub tag: Option<String>,
}

/// `[location]`: one column of any form, or a column for each coordinate.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LocationSpec {
    pub from: Names,
    pub lat: Option<Spanned<String>>,
    pub lon: Option<Spanned<String>>,
    pub otherwise: Names,
    pub required: bool,
}

/// `[lookups.<name>]`: selects a row of a reference table by the value of a column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookupSpec {
    pub file: Spanned<String>,
    pub key: Names,
    pub from: Names,
    #[serde(default)]
    pub ignore_case: bool,
    #[serde(default)]
    pub required: bool,
}

/// `[measures]`: a number of the event.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MeasureSpec {
    pub from: Names,
    pub call: Option<Spanned<String>>,
    pub args: Names,
    #[serde(rename = "as")]
    pub form: Option<Spanned<MeasureForm>>,
    #[serde(rename = "type")]
    pub number_type: NumberForm,
    pub unit: Option<Spanned<Short<UnitSpec>>>,
    pub range: Option<Spanned<[f64; 2]>>,
    pub plausible: Option<Spanned<[f64; 2]>>,
    pub clip: Option<f64>,
    pub decimal: Option<DecimalMark>,
    pub missing: Vec<String>,
    pub required: bool,
}

/// Special forms of a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MeasureForm {
    /// Time from the event time to the time in the column.
    Elapsed,
}

/// Kinds of number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NumberForm {
    #[default]
    Number,
    Integer,
}

/// Decimal mark of the numbers of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum DecimalMark {
    #[default]
    #[serde(rename = ".")]
    Point,
    #[serde(rename = ",")]
    Comma,
}

/// Unit of a column: fixed, or named by another column of the row.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UnitSpec {
    #[serde(skip)]
    pub name: Option<String>,
    pub from: Names,
    pub one_of: Vec<Spanned<String>>,
    pub otherwise: Option<Spanned<String>>,
}

/// `[attributes]`: a text of the event.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AttributeSpec {
    pub from: Names,
    pub of: Option<Spanned<String>>,
    #[serde(rename = "as")]
    pub form: Option<Spanned<AttributeForm>>,
    pub words: Map<Vec<String>>,
    pub otherwise: Option<String>,
    pub digits: Option<usize>,
    pub unless: Option<Spanned<String>>,
    pub band_of: Option<Spanned<String>>,
    pub below: Option<String>,
    pub bands: Vec<BandSpec>,
    pub missing: Vec<String>,
    pub required: bool,
}

/// Special forms of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AttributeForm {
    /// A time, written in UTC.
    Time,
    /// The date of a time, as written.
    Date,
    /// The name in the column of `[location]`, where it holds one.
    PlaceName,
}

/// A band of a measure, from a level up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BandSpec {
    pub value: String,
    pub from: Spanned<LevelSpec>,
}

/// Level of a band: a number, or a column of a lookup.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum LevelSpec {
    Number(f64),
    Column(String),
}

/// `[tags]`: a flag of the event.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TagSpec {
    pub flag: Names,
    pub days: Vec<Spanned<String>>,
    pub hours: Vec<Spanned<[i8; 2]>>,
    pub from: Names,
    pub words: Map<Vec<String>>,
    pub contains: Vec<ClassSpec>,
    pub otherwise: Option<String>,
    pub of: Option<Spanned<String>>,
    pub prefix: String,
}

/// Words that give a text a tag.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClassSpec {
    pub tag: String,
    pub words: Vec<String>,
}

/// A map from names to specs, with the positions of the names.
pub(crate) type Map<T> = BTreeMap<Spanned<String>, T>;
