//! Plan of a row: the value of each column that a schema reads.

use tributary_datasets::{ColumnNumber, Dataset, Form, KeyTime, Need, Reader};

use super::contradiction;
use super::layout::Layout;
use super::number::{NumberColumn, Variant};
use crate::DAY_MS;
use crate::settings::{MAX_DEVICES, SettingsError};

/// 2026-01-05T12:00:00Z.
const NOON_MS: i64 = 1_767_614_400_000;

/// Columns of a row.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) columns: Vec<Column>,
    pub(super) layout: Layout,
    /// Column of the partition key.
    pub(super) key: usize,
    /// Column of the time zone.
    pub(super) zone: Option<usize>,
    max_devices: u32,
}

/// Column of a row.
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: String,
    in_entity: bool,
    pub(super) value: Value,
}

/// Values of a column.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A name for each device: the choices, then `<stem>-001`.
    Name {
        stem: String,
        choices: Vec<String>,
    },
    /// A choice for each device, the next after `stride` devices.
    Choice {
        choices: Vec<String>,
        stride: usize,
    },
    /// A code of this many digits for each device.
    Code(usize),
    /// The number of the row, as a text or as a code of this many digits.
    Serial(Option<usize>),
    /// One of a few texts for each device.
    Label(String),
    /// A word of a list, mostly the first.
    Word(Vec<String>),
    Number(NumberColumn),
    /// The event time.
    Time,
    /// A time after the event time.
    EndTime,
    /// Coordinates of the device in one column.
    Place {
        is_text: bool,
    },
    Degrees {
        is_lat: bool,
        has_comma: bool,
    },
}

impl Plan {
    /// Plans the rows of a dataset.
    ///
    /// # Errors
    ///
    /// Returns an error if the readers of a column contradict each other.
    pub(crate) fn new(dataset: &Dataset) -> Result<Self, SettingsError> {
        let readers = dataset.readers();
        let names = names(dataset, &readers);
        let planner = Planner { dataset, readers: &readers, names: &names };
        let mut columns = Vec::with_capacity(names.len());
        for name in &names {
            columns.push(planner.column(name)?);
        }
        planner.add_numbers(&mut columns)?;
        let max_devices = add_strides(&mut columns);
        let position = |name: &str| names.iter().position(|it| *it == name);
        let zone = readers.iter().find(|it| matches!(it.form, Form::Zone));
        Ok(Self {
            layout: Layout::new(&names),
            key: dataset.partition_columns().find_map(position).unwrap_or_default(),
            zone: zone.and_then(|reader| position(reader.columns[0])),
            max_devices,
            columns,
        })
    }

    /// Returns the number of devices that have names of their own.
    pub(crate) fn max_devices(&self) -> u32 {
        self.max_devices
    }

    /// Returns `true` if a column has numbers that vary.
    pub(crate) fn has_spikes(&self) -> bool {
        let is_spiky =
            |it: &Column| matches!(&it.value, Value::Number(number) if number.has_spikes);
        self.columns.iter().any(is_spiky)
    }

    /// Returns the shortest interval of a device's rows that their keys tell apart.
    pub(crate) fn resolution_ms(&self, dataset: &Dataset) -> i64 {
        if dataset.key_time() == KeyTime::Absent {
            return 1;
        }
        let zone = self.zone.and_then(|at| self.columns[at].constant(0));
        let text = |ms: i64| {
            let instant = jiff::Timestamp::from_millisecond(ms).ok()?;
            let time = dataset.time_text(instant, zone.as_deref())?;
            Some(if dataset.key_time() == KeyTime::Date {
                time.date.to_string()
            } else {
                time.text
            })
        };
        let steps = [1, 1_000, 60_000, 3_600_000];
        let differs = |step: &i64| text(NOON_MS) != text(NOON_MS + step);
        steps.into_iter().find(differs).unwrap_or(DAY_MS)
    }
}

/// Returns the columns of a row: the first of each reader, those of the entity in front. A column
/// that an earlier reader falls back to is left out if nothing needs it.
fn names<'a>(dataset: &'a Dataset, readers: &[Reader<'a>]) -> Vec<&'a str> {
    let needs = |name: &str| {
        let mut of = readers.iter().filter(|it| it.columns[0] == name);
        of.any(|it| it.need == Need::Required || it.columns.len() > 1)
    };
    let is_fallback = |name: &&str| readers.iter().any(|it| it.columns[1..].contains(name));
    let by_entity = |in_entity: bool| {
        let of = readers.iter().filter(move |it| it.in_entity == in_entity);
        of.map(|it| it.columns[0])
    };
    let read = by_entity(true).chain(by_entity(false));
    let read = read.filter(|name| needs(name) || !is_fallback(name));
    let mut names: Vec<&str> = Vec::new();
    let others = dataset.header_columns().filter(|name| !is_fallback(name));
    for name in read.chain(others) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if !dataset.partition_columns().any(|name| names.contains(&name)) {
        names.extend(dataset.partition_columns().next());
    }
    names
}

/// Numbers the choices of the entity, so that each device has another combination. Returns the
/// number of combinations.
fn add_strides(columns: &mut [Column]) -> u32 {
    let mut combinations = 1_usize;
    let mut is_open = false;
    for column in columns.iter_mut().filter(|column| column.in_entity) {
        match &mut column.value {
            Value::Choice { choices, stride } => {
                *stride = combinations;
                combinations = combinations.saturating_mul(choices.len());
            }
            Value::Code(digits) => {
                combinations = combinations.saturating_mul(most(*digits));
            }
            _ => is_open = true,
        }
    }
    let max = u32::try_from(combinations).unwrap_or(MAX_DEVICES).min(MAX_DEVICES);
    if is_open { MAX_DEVICES } else { max }
}

/// Returns the number of codes of so many digits, without that of zeros.
fn most(digits: usize) -> usize {
    10_usize.saturating_pow(u32::try_from(digits).unwrap_or(u32::MAX)) - 1
}

/// Choice of the values of columns.
struct Planner<'p, 'a> {
    dataset: &'a Dataset,
    readers: &'p [Reader<'a>],
    names: &'p [&'a str],
}

impl<'a> Planner<'_, 'a> {
    fn of(&self, name: &str) -> impl Iterator<Item = &Reader<'a>> {
        self.readers.iter().filter(move |it| it.columns[0] == name)
    }

    fn column(&self, name: &str) -> Result<Column, SettingsError> {
        let in_entity = self.of(name).any(|it| it.in_entity);
        let value = if let Some(value) = self.time(name) {
            value
        } else if let Some(choices) = self.choices(name)? {
            self.listed(name, choices)
        } else {
            self.open(name)
        };
        Ok(Column { name: name.to_owned(), in_entity, value })
    }

    fn time(&self, name: &str) -> Option<Value> {
        let has = |is: fn(&Form<'_>) -> bool| self.of(name).any(|it| is(&it.form));
        if has(|form| matches!(form, Form::Time | Form::OtherTime)) {
            return Some(Value::Time);
        }
        has(|form| matches!(form, Form::EndTime)).then_some(Value::EndTime)
    }

    /// Returns the values that every reader of a column accepts, if one of them has a list.
    fn choices(&self, name: &str) -> Result<Option<Vec<String>>, SettingsError> {
        let mut lists: Vec<_> = self.of(name).filter_map(|it| list(&it.form)).collect();
        if lists.is_empty() && self.of(name).any(|it| matches!(it.form, Form::Zone)) {
            lists.push(vec!["UTC".to_owned()]);
        }
        let Some(mut choices) = lists.into_iter().next() else { return Ok(None) };
        choices.retain(|text| {
            is_plain(text) && self.of(name).all(|reader| accepts(&reader.form, text))
        });
        if choices.is_empty() {
            let what = format!("no value of column {name:?} is in the lists of all its fields");
            return Err(contradiction(self.dataset, &what));
        }
        Ok(Some(choices))
    }

    fn listed(&self, name: &str, choices: Vec<String>) -> Value {
        let varies =
            |form: &Form<'_>| matches!(form, Form::Words(_) | Form::Flag | Form::Classes(_));
        let is_fixed = self.of(name).any(|it| it.in_entity) || self.is_partition(name);
        if !is_fixed && self.of(name).any(|it| varies(&it.form)) {
            return Value::Word(choices);
        }
        Value::Choice { choices, stride: 1 }
    }

    fn open(&self, name: &str) -> Value {
        let digits = self.of(name).find_map(|it| match it.form {
            Form::Digits(digits) => Some(digits),
            _ => None,
        });
        if self.is_serial(name) {
            return Value::Serial(digits);
        }
        if let Some(digits) = digits {
            return Value::Code(digits);
        }
        for reader in self.of(name) {
            match reader.form {
                Form::Degrees(max, has_comma) => {
                    return Value::Degrees { is_lat: max < 180.0, has_comma };
                }
                Form::Place(false) => return Value::Place { is_text: self.is_place_text(name) },
                _ => {}
            }
        }
        let keys = self.of(name).find_map(|it| match &it.form {
            Form::Key { keys, .. } => Some(owned(keys.iter().copied())),
            _ => None,
        });
        let in_entity = self.of(name).any(|it| it.in_entity);
        if in_entity || self.is_partition(name) {
            let mut choices = keys.unwrap_or_default();
            choices
                .retain(|text| is_plain(text) && self.of(name).all(|it| accepts(&it.form, text)));
            return Value::Name { stem: self.dataset.name().to_owned(), choices };
        }
        match keys.filter(|keys| !keys.is_empty() && keys.iter().all(|key| is_plain(key))) {
            Some(choices) => Value::Choice { choices, stride: 1 },
            None => Value::Label(label(name)),
        }
    }

    fn is_partition(&self, name: &str) -> bool {
        let mut columns = self.dataset.partition_columns();
        columns.find(|column| self.names.contains(column)) == Some(name)
    }

    /// Returns `true` for a column that must differ in each row, because no time tells rows apart:
    /// one of the key, or else of the entity.
    fn is_serial(&self, name: &str) -> bool {
        let is_own = |it: &Reader<'_>| it.in_key && !it.in_entity && list(&it.form).is_none();
        let has_own = self.readers.iter().any(is_own);
        self.dataset.key_time() == KeyTime::Absent
            && self.of(name).any(|it| if has_own { is_own(it) } else { it.in_entity })
    }

    /// Returns `true` for a location that must be a single text, because it is read as one, or
    /// because other columns are paths into it.
    fn is_place_text(&self, name: &str) -> bool {
        let is_single = |form: &Form<'_>| !matches!(form, Form::Place(_));
        let is_inside = |it: &&str| it.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.of(name).any(|it| is_single(&it.form)) || self.names.iter().any(is_inside)
    }

    /// Adds numbers, whose units may be the choices of other columns.
    fn add_numbers(&self, columns: &mut [Column]) -> Result<(), SettingsError> {
        let mut has_spikes = true;
        for index in 0..columns.len() {
            let is_number = |it: &Reader<'_>| matches!(it.form, Form::Number(_));
            let name = columns[index].name.clone();
            let is_listed = matches!(columns[index].value, Value::Word(_) | Value::Choice { .. });
            let Some(reader) = self.of(&name).find(|it| is_number(it)).filter(|_| !is_listed)
            else {
                continue;
            };
            if matches!(columns[index].value, Value::Time | Value::EndTime) {
                continue;
            }
            let mut number = self.number(&name, reader.field, columns)?;
            number.has_spikes = has_spikes && !number.is_constant;
            has_spikes &= number.is_constant;
            columns[index].value = Value::Number(number);
        }
        Ok(())
    }

    fn number(
        &self,
        name: &str,
        field: &str,
        columns: &[Column],
    ) -> Result<NumberColumn, SettingsError> {
        let numbers: Vec<ColumnNumber<'_>> = self
            .of(name)
            .filter_map(|it| match &it.form {
                Form::Number(number) => Some(*number),
                _ => None,
            })
            .collect();
        let unit_column = numbers.iter().find_map(|it| it.unit_column());
        let units = columns.iter().find(|it| Some(it.name.as_str()) == unit_column);
        let units: Vec<Option<&str>> = match units.map(|it| &it.value) {
            Some(Value::Choice { choices, .. }) => {
                choices.iter().map(|it| Some(it.as_str())).collect()
            }
            _ => vec![None],
        };
        let mut limits = [f64::NEG_INFINITY, f64::INFINITY];
        let mut is_constant = false;
        for reader in self.of(name) {
            match reader.form {
                Form::Degrees(max, _) => (limits, is_constant) = ([-max, max], true),
                Form::Digits(digits) => {
                    let power = (1..digits).fold(1.0, |power, _| power * 10.0);
                    limits = [power, 10.0 * power - 1.0];
                }
                _ => {}
            }
        }
        let variants = units.iter().map(|unit| Variant::new(field, &numbers, *unit, limits));
        let variants: Option<Vec<_>> = variants.collect();
        let variants = variants.ok_or_else(|| {
            let what = format!("no number of column {name:?} is in the ranges of all its fields");
            contradiction(self.dataset, &what)
        })?;
        Ok(NumberColumn {
            variants,
            missing: numbers.iter().flat_map(|it| it.missing().iter().copied()).collect(),
            has_comma: numbers.iter().any(|it| it.has_comma()),
            is_constant,
            has_spikes: false,
        })
    }
}

/// Returns the values of a closed list, one for each meaning.
fn list(form: &Form<'_>) -> Option<Vec<String>> {
    match form {
        Form::Words(words) => {
            let is_first = |(at, (_, value)): &(usize, &(String, String))| {
                words.iter().position(|(_, it)| it == value) == Some(*at)
            };
            let words = words.iter().enumerate().filter(is_first);
            Some(words.map(|(_, (word, _))| word.clone()).collect())
        }
        Form::Classes(classes) => {
            Some(owned(classes.iter().filter_map(|(_, words)| words.first()).map(String::as_str)))
        }
        Form::Flag => Some(owned(["false", "true"])),
        Form::Unit(units) => Some(owned(units.iter().copied())),
        Form::Key { keys, is_closed: true } => Some(owned(keys.iter().copied())),
        _ => None,
    }
}

fn accepts(form: &Form<'_>, text: &str) -> bool {
    match form {
        Form::Words(words) => words.iter().any(|(it, _)| it.to_lowercase() == text.to_lowercase()),
        Form::Flag => matches!(text, "true" | "false"),
        Form::Unit(units) => units.iter().any(|unit| unit.eq_ignore_ascii_case(text)),
        Form::Key { keys, is_closed } => !is_closed || keys.contains(&text),
        Form::Number(number) => number.accepts(text, None),
        Form::Degrees(max, _) => text.parse::<f64>().is_ok_and(|it| it.abs() <= *max),
        Form::Digits(digits) => text.len() == *digits && text.bytes().all(|it| it.is_ascii_digit()),
        Form::Zone => Dataset::is_zone(text),
        Form::Place(_) => text.contains(char::is_alphabetic),
        Form::Text | Form::Classes(_) => true,
        Form::Time | Form::OtherTime | Form::EndTime => false,
    }
}

/// Returns `true` for a text that JSON takes as it is, and that no reader trims.
fn is_plain(text: &str) -> bool {
    let is_escaped = |it: char| it.is_control() || matches!(it, '"' | '\\');
    !text.is_empty() && text.trim() == text && !text.contains(is_escaped)
}

/// Returns the beginning of a column's texts: its name, as far as it has plain letters.
fn label(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let plain: String =
        last.chars().filter(|it| it.is_ascii_alphanumeric() || "_-".contains(*it)).collect();
    let plain = plain.to_lowercase();
    if plain.is_empty() { "text".to_owned() } else { plain }
}

fn owned<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
