//! Infers a schema from a sample: which column is what, and a metric, a window and a rule to begin
//! with.
//!
//! Every guess is a comment in the text and a line in the report. Where a guess would decide what an
//! event is, its time or its key, and the sample does not say, there is no schema but a reason.
//!
//! Out of scope: reading files, and other datasets.

mod extras;
mod fields;
mod keys;
mod naming;
mod plan;
mod profile;
mod roles;
mod sample;
mod times;

use serde::Serialize;

pub use self::sample::{Sample, SampleFile};

/// Columns that the user names.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// Column of the event time.
    pub time: Option<String>,
    /// Columns whose values name the entity.
    pub key: Vec<String>,
}

/// Entry of a dataset's file that is not its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The example of a metric.
    Metric,
    /// The example of a window.
    Window,
    /// The example of a rule.
    Rule,
}

impl Entry {
    /// All entries, in the order of the file.
    pub const ALL: [Self; 3] = [Self::Metric, Self::Window, Self::Rule];

    /// Returns the key of the entry in the file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Metric => "metrics",
            Self::Window => "windows",
            Self::Rule => "rules",
        }
    }
}

/// Schema of a sample.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// Every assumption.
    pub assumptions: Vec<Assumption>,
    /// Doubts that a person has to settle.
    pub checks: Vec<String>,
    /// Id of the rule, if there is one.
    pub rule: Option<String>,
    /// Column of the event time.
    pub time_column: String,
    /// Columns without which a row is bad.
    pub key_columns: Vec<String>,
    /// Column and name of a measure that may be absent.
    pub measure: Option<(String, String)>,
    plan: plan::Plan,
    entries: Vec<Entry>,
}

impl Inferred {
    /// Returns the text of `datasets/<name>.toml`.
    #[must_use]
    pub fn text(&self) -> String {
        self.text_with(&self.entries)
    }

    /// Returns the text of the schema with these entries only.
    #[must_use]
    pub fn text_with(&self, entries: &[Entry]) -> String {
        self.plan.text(entries)
    }

    /// Leaves out an entry, and states the reason in the checks.
    pub fn leave_out(&mut self, entry: Entry, why: &str) {
        self.entries.retain(|it| *it != entry);
        self.assumptions.retain(|it| it.field != entry.key());
        self.checks.push(format!("the example of {} is left out: {why}", entry.key()));
        if entry == Entry::Rule {
            self.rule = None;
        }
    }
}

/// Assumption about a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assumption {
    /// Column of the sample; empty for the file.
    pub column: String,
    /// Field of the event, or key of the schema.
    pub field: String,
    /// Reason.
    pub why: String,
}

/// Reason why a sample gives no schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// There is no row.
    Empty,
    /// There is one column.
    OneColumn(String),
    /// The rows are in an array of one object.
    Wrapped(String),
    /// A name in the header is a time.
    TimeInHeader(String),
    /// A column that the user names does not exist.
    UnknownColumn(String, Vec<String>),
    /// The column that the user names holds other values.
    NotTime(String, String),
    /// No column holds times.
    NoTime(Vec<String>),
    /// No set of columns identifies a row.
    NoKey(Vec<String>),
    /// No set of columns identifies a row: the time has a date only, and the time of day is in
    /// another column.
    SplitTime(String, String),
}

impl std::fmt::Display for Unclear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("the sample has no row"),
            Self::OneColumn(column) => write!(
                f,
                "the sample has one column, {column:?}: a dataset has a time and a key at least"
            ),
            Self::Wrapped(array) => write!(
                f,
                "the rows are in the array {array:?} of one object, and a row is an object: write \
                 the array alone, with `jq .{array}` for example"
            ),
            Self::TimeInHeader(name) => write!(
                f,
                "the header has the time {name:?}: it is a row of values, and the file needs a \
                 header, or each column is a time, and a row needs one"
            ),
            Self::UnknownColumn(column, known) => {
                write!(f, "there is no column {column:?}: expected one of {}", known.join(", "))
            }
            Self::NotTime(column, value) => {
                write!(f, "column {column:?} is no event time: it has values such as {value:?}")
            }
            Self::NoTime(columns) => write!(
                f,
                "no column is a date or time that can be read (columns: {}): --time COLUMN names \
                 it, and a date and a time of day in two columns have to be joined first",
                columns.join(", ")
            ),
            Self::NoKey(tried) if tried.is_empty() => f.write_str(
                "no column names the thing that a row is about, such as a station: add one to a \
                 sample of one thing, or name the columns with --key COLUMN[,COLUMN]",
            ),
            Self::SplitTime(date, clock) => write!(
                f,
                "the time is in two columns, {date:?} and {clock:?}, and a schema reads one: join \
                 them in the source"
            ),
            Self::NoKey(tried) => write!(
                f,
                "no set of up to three columns identifies a row; tried with the time: {}: --key \
                 COLUMN[,COLUMN] names the columns, and rows with equal keys then count as one event",
                tried.join(", ")
            ),
        }
    }
}

impl std::error::Error for Unclear {}

/// Infers the schema of dataset `name`.
///
/// # Errors
///
/// Returns the reason why the sample does not determine time and key.
pub fn infer(name: &str, sample: &Sample, hints: &Hints) -> Result<Inferred, Unclear> {
    if sample.rows == 0 {
        return Err(Unclear::Empty);
    }
    if let Some(name) = sample.file.columns.iter().find(|name| times::is_time(name)) {
        return Err(Unclear::TimeInHeader(name.clone()));
    }
    let roles = roles::Roles::of(sample, hints).map_err(|unclear| match unclear {
        Unclear::NoTime(_) | Unclear::OneColumn(_) => wrapped(sample).unwrap_or(unclear),
        other => other,
    })?;
    let mut schema = fields::Schema::of(sample, &roles);
    let rule = extras::add(name, sample, &roles, &mut schema);
    let fields::Schema { plan, assumptions, checks, measures, .. } = schema;
    let path = |at: usize| roles.profiles[at].path().to_owned();
    let mut key_columns: Vec<_> = roles.key.entity.iter().map(|at| path(*at)).collect();
    key_columns.extend(roles.key_columns().map(path));
    let measure = measures.iter().find(|measure| !measure.is_elapsed);
    Ok(Inferred {
        assumptions,
        checks,
        rule,
        time_column: path(roles.time),
        key_columns,
        measure: measure.map(|measure| (path(measure.column), measure.name.clone())),
        plan,
        entries: Entry::ALL.to_vec(),
    })
}

/// Returns the array that holds the rows, if the sample is one object.
fn wrapped(sample: &Sample) -> Option<Unclear> {
    let array = sample.arrays.first().filter(|_| sample.rows == 1)?;
    Some(Unclear::Wrapped(array.clone()))
}

/// Returns `true` if a count is at least 19 in 20 of a total.
fn is_nearly_all(count: usize, total: usize) -> bool {
    count * 20 >= total * 19
}

#[cfg(test)]
mod tests;
