//! Fields of the event: measures, attributes and tags.

mod numbers;

use std::collections::BTreeSet;

use super::Assumption;
use super::keys::{self, Part};
use super::naming::{self, Names};
use super::plan::{self, Line, Plan, list, quoted, table};
use super::profile::{Kind, Numbers, Profile, is_missing};
use super::roles::{Place, Roles};
use super::sample::Sample;
use super::times::Times;
use crate::value::MISSING;

/// Maximum columns that a CSV header is recognized by, beside the required ones.
const MAX_HEADER: usize = 12;

/// Words of codes, which are texts although they have digits only.
const CODE_WORDS: [&str; 9] =
    ["status", "code", "zip", "zipcode", "postcode", "plz", "year", "fips", "phone"];

/// Names of columns with a part of a date.
const CALENDAR_WORDS: [&str; 6] = ["month", "week", "weekday", "day", "hour", "quarter"];

/// Schema that grows field by field.
#[derive(Debug, Default)]
pub(super) struct Schema {
    pub plan: Plan,
    pub assumptions: Vec<Assumption>,
    pub checks: Vec<String>,
    pub measures: Vec<MeasureField>,
    pub attributes: Vec<AttributeField>,
    names: Names,
    /// Texts that stand for no value in every field, if they do.
    missing: BTreeSet<String>,
    /// Formats of the event time, and of other times of the same writer.
    formats: Vec<String>,
}

/// A measure and its values in the sample.
#[derive(Debug)]
pub(super) struct MeasureField {
    pub name: String,
    pub column: usize,
    pub values: Vec<Option<f64>>,
    pub is_elapsed: bool,
    /// Coordinates are of little use in a window or a rule.
    pub is_coordinate: bool,
}

/// An attribute.
#[derive(Debug)]
pub(super) struct AttributeField {
    pub name: String,
    pub column: usize,
    /// Values of a closed list, with their number of rows.
    pub list: Option<Vec<(String, usize)>>,
}

impl Schema {
    /// Plans all fields of a sample.
    pub(super) fn of(sample: &Sample, roles: &Roles<'_>) -> Self {
        let mut schema = Self { names: Names::new(), ..Self::default() };
        schema.add_file(sample, roles);
        schema.add_time(roles);
        schema.add_location(roles);
        for at in &roles.key.entity {
            schema.add_text(roles, *at);
        }
        for (at, profile) in roles.profiles.iter().enumerate() {
            if !roles.has_role(at) && !roles.key.entity.contains(&at) {
                schema.add_column(roles, at, profile);
            }
        }
        schema.add_key(sample, roles);
        schema.add_header(roles);
        schema
    }

    pub(super) fn assume(&mut self, column: &str, field: &str, why: impl Into<String>) {
        let (column, field) = (column.to_owned(), field.to_owned());
        self.assumptions.push(Assumption { column, field, why: why.into() });
    }

    pub(super) fn check(&mut self, check: impl Into<String>) {
        self.checks.push(check.into());
    }

    fn add_file(&mut self, sample: &Sample, roles: &Roles<'_>) {
        let rows = sample.rows;
        self.plan.head = vec![
            format!("Written by `tributary init` from {rows} rows of {}.", sample.file.name),
            String::new(),
            "A comment behind a line says why it is there. Correct what is wrong.".to_owned(),
        ];
        if let Some(encoding) = &sample.file.encoding {
            let why = "the text is not UTF-8, and nothing in it names its encoding";
            self.plan.file.push(Line::new("encoding", quoted(encoding), why));
            self.assume("", "file.encoding", why);
            self.check(format!("{encoding} is a guess: look at letters such as ä, é and °"));
        }
        if sample.file.has_decimal_comma {
            let why = "numbers such as 12,5";
            self.plan.file.push(Line::new("decimal", quoted(","), why));
            self.assume("", "file.decimal", why);
        }
        if sample.duplicates > 0 {
            self.check(format!("{} rows are exact copies of others", sample.duplicates));
        }
        let is_located = |path: &&String| {
            let inside = |at: usize| path.starts_with(&format!("{}.", roles.profiles[at].path()));
            !matches!(roles.location, Some(Place::One(at)) if inside(at))
        };
        for path in sample.arrays.iter().filter(is_located) {
            self.check(format!("{path} holds arrays, which no schema reads: left out"));
        }
        for column in &sample.unnamed {
            self.check(format!("{column} has no name, or a very long one: left out"));
        }
        for path in &sample.dotted {
            self.check(format!("{path} has a dot in the name of a nested key: left out"));
        }
        for path in &sample.too_deep {
            self.check(format!("{path} holds objects below the third level: left out"));
        }
        let is_number = |name: &&String| name.parse::<f64>().is_ok();
        if let Some(name) = sample.file.columns.iter().find(is_number) {
            self.check(format!("the header has the number {name}: is its line a row of values?"));
        }
        self.add_missing(roles);
    }

    /// Declares the missing values of all numbers and times, unless they are values of another
    /// column.
    fn add_missing(&mut self, roles: &Roles<'_>) {
        let numbers = || roles.profiles.iter().filter_map(Profile::numbers);
        let times = roles.profiles.iter().filter_map(Profile::times);
        let tokens = numbers().map(|it| &it.missing).chain(times.map(|it| &it.missing));
        let tokens: BTreeSet<_> = tokens.flatten().cloned().collect();
        if tokens.is_empty() {
            return;
        }
        let is_word = |text: &&&str| {
            is_missing(text) || tokens.iter().any(|token| token.eq_ignore_ascii_case(text))
        };
        let has_word = |it: &Profile<'_>| {
            matches!(it.kind, Kind::Text) && it.counts.keys().any(|text| is_word(&text))
        };
        let has_value = |it: &Numbers| {
            let values = tokens.iter().filter_map(|token| token.parse::<f64>().ok());
            values.into_iter().any(|value| it.values.contains(&Some(value)))
        };
        if roles.profiles.iter().any(has_word) || numbers().any(has_value) {
            return;
        }
        let why = "the usual ones, and those of the sample";
        self.plan.missing = Some(Line::new("missing", missing_list(&tokens), why));
        let texts: Vec<_> = tokens.iter().map(String::as_str).collect();
        self.assume("", "missing", format!("texts that stand for no value: {}", texts.join(", ")));
        self.missing = tokens;
    }

    /// Returns the entry of a field whose missing values the schema does not declare.
    fn own_missing(&self, tokens: &BTreeSet<String>) -> Option<(&'static str, String)> {
        (!tokens.is_subset(&self.missing)).then(|| ("missing", list(tokens)))
    }

    fn add_time(&mut self, roles: &Roles<'_>) {
        let profile = &roles.profiles[roles.time];
        let Some(times) = profile.times() else { return };
        let (path, why) = (profile.path(), roles.why_time);
        self.plan.time.push(Line::new("from", quoted(path), why));
        self.assume(path, "event_time", why);
        self.formats.clone_from(&times.formats);
        if let Some(other) = &times.ambiguous {
            self.check(format!(
                "{path}: no day is above 12, so {} could also be {other}",
                times.formats.join(", ")
            ));
        }
        let is_utc = path.to_lowercase().contains("utc");
        if times.is_local && is_utc {
            self.assume(path, "time.zone", "UTC, from the name");
        } else if times.is_local {
            let comment = "No value has an offset: UTC is assumed. zone = \"Europe/Amsterdam\" is \
                           another assumption.";
            self.plan.time.push(Line::new("zone", String::new(), comment));
            self.assume(path, "time.zone", "no value has an offset: UTC is assumed");
            self.check(format!("{path}: is UTC its time zone? Otherwise set `zone`"));
        }
        if times.wrong > 0 {
            self.check(format!("{path}: {} values are no time: bad rows", times.wrong));
        }
        let has_clock = |it: &&Profile<'_>| matches!(it.kind, Kind::TimeOfDay);
        if let Some(clock) = roles.profiles.iter().find(has_clock).filter(|_| times.is_date) {
            self.check(format!(
                "{path} has dates and {} times of day: a schema reads one column, so join them in \
                 the source",
                clock.path()
            ));
        }
    }

    fn add_location(&mut self, roles: &Roles<'_>) {
        let path = |at: usize| roles.profiles[at].path();
        match roles.location {
            None => {}
            Some(Place::One(at)) => {
                let why = "its values hold coordinates";
                self.plan.location.push(Line::new("from", quoted(path(at)), why));
                self.assume(path(at), "location", why);
            }
            Some(Place::Two([lat, lon])) => {
                for (key, at) in [("lat", lat), ("lon", lon)] {
                    let why = "its name and its values";
                    self.plan.location.push(Line::new(key, quoted(path(at)), why));
                    self.assume(path(at), &format!("location.{key}"), why);
                }
            }
        }
    }

    fn add_column(&mut self, roles: &Roles<'_>, at: usize, profile: &Profile<'_>) {
        let path = profile.path();
        match &profile.kind {
            Kind::Empty => self.check(format!("{path} has no value in the sample: left out")),
            Kind::Nested => {}
            Kind::Flag => {
                let name = self.names.give(&naming::snake(path));
                let flag = table(&[("flag", quoted(path))]);
                self.plan.tags.push(Line::new(&name, flag, "true or false"));
                self.assume(path, &format!("tags.{name}"), "true or false");
            }
            Kind::Time(times) => self.add_other_time(roles, at, times),
            Kind::Number(_) if roles.is_key(at) || is_code(profile) => self.add_text(roles, at),
            Kind::Number(numbers) => self.add_number(at, path, numbers),
            Kind::Text | Kind::TimeOfDay => self.add_text(roles, at),
        }
    }

    /// Adds a time that is not the event's. The formats of the event time read it too.
    fn add_other_time(&mut self, roles: &Roles<'_>, at: usize, times: &Times) {
        let path = roles.profiles[at].path();
        let main = roles.times().map(|times| times.formats.as_slice()).unwrap_or_default();
        if main.is_empty() != times.formats.is_empty() || is_other_order(main, &times.formats) {
            self.check(format!(
                "{path} has times in another form than the event time: kept as text"
            ));
            self.add_text(roles, at);
            return;
        }
        for format in &times.formats {
            if !self.formats.contains(format) {
                self.formats.push(format.clone());
            }
        }
        let name = self.names.give(&naming::snake(path));
        let mut entries = vec![("from", quoted(path)), ("as", quoted("time"))];
        entries.extend(self.own_missing(&times.missing));
        let entry = table(&entries);
        let why = "another time of the event";
        self.plan.attributes.push(Line::new(&name, entry, why));
        self.assume(path, &format!("attributes.{name}"), why);
        self.attributes.push(AttributeField { name, column: at, list: None });
        self.add_elapsed(roles, at, times);
    }

    /// Adds the time from the event time to a time that is never before it.
    fn add_elapsed(&mut self, roles: &Roles<'_>, at: usize, times: &Times) {
        let Some(main) = roles.times() else { return };
        let pairs = main.instants.iter().zip(&times.instants);
        let minutes = pairs
            .map(|(from, to)| Some(to.as_ref()?.duration_since((*from)?).as_secs_f64() / 60.0));
        let minutes: Vec<Option<f64>> = minutes.collect();
        let is_later = |minutes: &f64| *minutes > 0.0;
        if minutes.iter().flatten().any(|it| *it < 0.0) || !minutes.iter().flatten().any(is_later) {
            return;
        }
        let path = roles.profiles[at].path();
        let name = self.names.give(&format!("{}_min", naming::snake(path)));
        let mut entries = vec![("from", quoted(path)), ("as", quoted("elapsed"))];
        entries.extend(self.own_missing(&times.missing));
        let entry = table(&entries);
        let why = "minutes since the event time, which is never later";
        self.plan.measures.push(Line::new(&name, entry, why));
        self.assume(path, &format!("measures.{name}"), why);
        self.measures.push(MeasureField {
            name,
            column: at,
            values: minutes,
            is_elapsed: true,
            is_coordinate: false,
        });
    }

    fn add_text(&mut self, roles: &Roles<'_>, at: usize) {
        let profile = &roles.profiles[at];
        let path = profile.path();
        let name = self.names.give(&naming::snake(path));
        if roles.is_key(at) {
            let entry = table(&[("from", quoted(path)), ("required", "true".to_owned())]);
            let why = "part of the key: a row without it is bad";
            self.plan.attributes.push(Line::new(&name, entry, why));
            self.assume(path, &format!("attributes.{name}"), why);
            self.attributes.push(AttributeField { name, column: at, list: None });
            return;
        }
        if profile.looks_like_number() {
            let text = profile.counts.keys().next().copied().unwrap_or_default();
            self.check(format!(
                "{path} holds numbers with other signs, such as {text:?}: kept as text"
            ));
        }
        let list = profile.closed_list().map(|values| words(&values, profile));
        let (value, why) = match &list {
            None => (quoted(path), "text".to_owned()),
            Some(words) => {
                let entries: Vec<_> = words
                    .iter()
                    .map(|(word, spellings, _)| {
                        format!("{} = {}", plan::key(word), plan::list(spellings))
                    })
                    .collect();
                let words_table = format!("{{ {} }}", entries.join(", "));
                let entry = [
                    ("from", quoted(path)),
                    ("otherwise", quoted("other")),
                    ("words", words_table),
                ];
                (table(&entry), format!("closed list of {} values", words.len()))
            }
        };
        let comment = if list.is_some() { why.clone() } else { String::new() };
        self.plan.attributes.push(Line::new(&name, value, comment));
        self.assume(path, &format!("attributes.{name}"), why);
        let list =
            list.map(|words| words.into_iter().map(|(word, _, count)| (word, count)).collect());
        self.attributes.push(AttributeField { name, column: at, list });
    }

    fn add_key(&mut self, sample: &Sample, roles: &Roles<'_>) {
        let key = &roles.key;
        let attribute = |at: &usize| {
            let found = self.attributes.iter().find(|attribute| attribute.column == *at);
            found.map(|attribute| attribute.name.clone()).unwrap_or_default()
        };
        let names: Vec<_> = key.entity.iter().map(attribute).collect();
        let entity: Vec<_> = names.iter().map(|name| format!("{{{name}}}")).collect();
        let parts = key.parts.iter().map(|part| match part {
            Part::Entity => "entity".to_owned(),
            Part::Time => "time".to_owned(),
            Part::Column(at) => attribute(at),
        });
        let parts: Vec<String> = parts.collect();
        let paths: Vec<_> = key.entity.iter().map(|at| roles.profiles[*at].path()).collect();
        self.plan.entity = Line::new("entity", quoted(&entity.join("/")), key.why_entity);
        self.plan.event_id = Line::new("event_id", list(&parts), key.why_parts);
        self.plan.partition =
            Line::new("partition", list(&paths), "rows of an entity keep their order");
        self.assume(&paths.join(", "), "entity", key.why_entity);
        self.assume("", "event_id", format!("{}: {}", parts.join(" + "), key.why_parts));
        if key.clashes > 0 {
            self.check(format!(
                "{} rows have the key of another row, and count as the same event",
                key.clashes
            ));
        }
        if let Some(at) = key.row_number {
            self.check(format!(
                "{} counts the rows, and another file may have its numbers for other rows: is it an \
                 id? Otherwise --key names the columns",
                roles.profiles[at].path()
            ));
        }
        for at in &key.entity {
            let empty = sample.rows - roles.profiles[*at].filled;
            if empty > 0 {
                let path = roles.profiles[*at].path();
                self.check(format!("{path} is empty in {empty} rows: bad rows"));
            }
        }
        if !self.formats.is_empty() {
            let why = "the form of the sample; other forms are bad rows";
            self.plan.time.insert(1, Line::new("formats", list(&self.formats), why));
            let time = roles.profiles[roles.time].path();
            self.assumptions.push(Assumption {
                column: time.to_owned(),
                field: "time.formats".to_owned(),
                why: self.formats.join(", "),
            });
        }
    }

    /// Lists the columns that tell a CSV of this dataset from others.
    fn add_header(&mut self, roles: &Roles<'_>) {
        let is_there = |at: &usize| roles.profiles[*at].is_in_every_row && !roles.is_key(*at);
        let measures = self.measures.iter().filter(|it| !it.is_elapsed).map(|it| it.column);
        let mut columns: Vec<_> = measures.filter(is_there).collect();
        if columns.is_empty() {
            columns = self.attributes.iter().map(|it| it.column).filter(is_there).collect();
        }
        columns.truncate(MAX_HEADER);
        if columns.is_empty() {
            return;
        }
        let paths = columns.iter().map(|at| roles.profiles[*at].path());
        let why = "a file with these columns is of this dataset";
        self.plan.header = Some(Line::new("header", list(paths), why));
    }
}

/// Returns `true` for numbers that name something.
fn is_code(profile: &Profile<'_>) -> bool {
    let tokens = naming::tokens(profile.path());
    let is_code = match tokens.as_slice() {
        [only] if CALENDAR_WORDS.contains(&only.as_str()) => true,
        [.., last] => CODE_WORDS.contains(&last.as_str()),
        [] => false,
    };
    profile.is_discrete() && (is_code || keys::rank(profile.path()).is_some_and(|rank| rank < 2))
}

/// Returns `true` if one list of formats has the day first and the other the month.
fn is_other_order(one: &[String], other: &[String]) -> bool {
    let has = |formats: &[String], first: &str| formats.iter().any(|it| it.starts_with(first));
    has(one, "%d/") && has(other, "%m/")
        || has(one, "%m/") && has(other, "%d/")
        || has(one, "%d-") && has(other, "%m-")
        || has(one, "%m-") && has(other, "%d-")
}

/// Returns the values of a closed list with their spellings and number of rows.
fn words(values: &[&str], profile: &Profile<'_>) -> Vec<(String, Vec<String>, usize)> {
    let mut words: Vec<(String, Vec<String>, usize)> = Vec::new();
    for value in values.iter().filter(|value| !is_missing(value)) {
        let count = profile.counts.get(value).copied().unwrap_or_default();
        // Words match in any case, so that one spelling is enough.
        match words.iter_mut().find(|(word, ..)| word.eq_ignore_ascii_case(value)) {
            Some(word) => word.2 += count,
            None => words.push(((*value).to_owned(), vec![(*value).to_owned()], count)),
        }
    }
    words
}

fn missing_list(tokens: &BTreeSet<String>) -> String {
    list(MISSING.iter().copied().chain(tokens.iter().map(String::as_str)))
}
