//! Attributes: texts of a row, as written, mapped, looked up or derived.

use std::borrow::Cow;

use tributary_model::bad_row::{Code, Rejection};
use tributary_model::event::{Attributes, Measures, Text};

use super::clock::{Clock, TimeReader};
use super::lookups::{LookupColumn, Lookups, Matches};
use super::source::Source;
use crate::place::Place;
use crate::row::Row;
use crate::time::WrittenTime;
use crate::value::ValueError;

/// An attribute of the event.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub name: String,
    pub kind: AttributeKind,
    /// Value of the event if that in the row is not in the list.
    pub otherwise: Option<String>,
    /// Attribute that this one must differ from.
    pub unless: Option<String>,
    pub is_required: bool,
    /// A bad value rejects the row: it is required, or part of the natural key.
    pub is_strict: bool,
}

#[derive(Debug)]
pub(crate) enum AttributeKind {
    Text(Source),
    /// Words and their values.
    Words(Source, Words),
    /// A code of this many digits, or one fewer where the first is 0.
    Digits(Source, usize),
    Time(Source),
    Date(Source),
    PlaceName,
    Lookup(LookupColumn),
    Band(Bands),
}

/// A closed list of words, each with the value that it stands for.
#[derive(Debug)]
pub(crate) struct Words(pub Vec<(String, String)>);

/// Bands of a measure. A band begins at its level.
#[derive(Debug)]
pub(crate) struct Bands {
    pub measure: String,
    pub below: String,
    /// Value and level of each band, rising.
    pub levels: Vec<(String, Level)>,
}

/// Level of a band.
#[derive(Debug)]
pub(crate) enum Level {
    Number(f64),
    /// A lookup, and the level in each of its rows.
    Lookup(usize, Vec<Option<f64>>),
}

/// The parts of a row that are known when attributes are read.
pub(crate) struct Context<'c, 'a> {
    pub row: &'c Row<'a>,
    pub clock: &'c Clock,
    pub time: &'c TimeReader,
    pub lookups: &'a Lookups,
    pub matches: &'c Matches,
    pub place: &'c Place<'a>,
    pub measures: &'c Measures<'a>,
    pub attributes: &'c Attributes<'a>,
}

impl Attribute {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_required(&self) -> bool {
        self.is_required
    }

    pub(super) fn is_strict(&self) -> bool {
        self.is_strict
    }

    pub(super) fn otherwise(&self) -> Option<Text<'_>> {
        self.otherwise.as_deref().map(Cow::Borrowed)
    }

    pub(super) fn source(&self) -> Option<&Source> {
        match &self.kind {
            AttributeKind::Text(source)
            | AttributeKind::Words(source, _)
            | AttributeKind::Digits(source, _)
            | AttributeKind::Time(source)
            | AttributeKind::Date(source) => Some(source),
            AttributeKind::PlaceName | AttributeKind::Lookup(_) | AttributeKind::Band(_) => None,
        }
    }

    /// Returns the rejection of a row without this attribute.
    pub(super) fn missing(&self) -> Rejection {
        self.source().map_or_else(
            || Rejection::row(Code::MissingField, format!("{} is not known", self.name)),
            Source::empty,
        )
    }

    /// Returns the value, given the attributes before it.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the value of the column is invalid.
    pub(super) fn read<'a>(&'a self, it: &Context<'_, 'a>) -> Result<Option<Text<'a>>, Rejection> {
        let value = match &self.kind {
            AttributeKind::Text(source) => source.text(it.row)?.map(|(_, text)| text),
            AttributeKind::Words(source, words) => {
                source.read(it.row, |text| words.value(text))?.map(|(_, word)| Cow::Borrowed(word))
            }
            AttributeKind::Digits(source, digits) => match source.text(it.row)? {
                Some((column, text)) => {
                    Some(code(text, *digits).map_err(|error| error.reject(column))?)
                }
                None => None,
            },
            AttributeKind::Time(source) => match it.time.other(source, it.row)? {
                Some((column, time)) => {
                    let instant =
                        it.clock.instant_of(time).map_err(|error| error.reject(column))?;
                    Some(Cow::Owned(instant.to_string()))
                }
                None => None,
            },
            AttributeKind::Date(source) => match it.time.other(source, it.row)? {
                // It is written as it is in the event.
                Some(_) if it.time.is_of_iso_dates() => source.text(it.row)?.map(|(_, date)| date),
                Some((_, WrittenTime::Local(local))) => Some(local.date().to_string().into()),
                Some((_, WrittenTime::Instant(instant))) => {
                    Some(it.clock.zone.to_datetime(instant).date().to_string().into())
                }
                None => None,
            },
            AttributeKind::PlaceName => it.place.name.clone(),
            AttributeKind::Lookup(column) => {
                it.lookups.text(it.matches, *column).map(Cow::Borrowed)
            }
            AttributeKind::Band(bands) => bands.of(it.measures, it.matches).map(Cow::Borrowed),
        };
        let other = self.unless.as_ref().and_then(|name| it.attributes.get(name));
        Ok(value.filter(|value| other != Some(value)))
    }
}

impl Words {
    /// Returns `true` if `text` is one of the words, in any case.
    pub(super) fn has(&self, text: &str) -> bool {
        self.0.iter().any(|(word, _)| is_same_word(word, text))
    }

    /// Returns the value of a word, in any case.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownValue`] for any other word.
    pub(super) fn value(&self, text: &str) -> Result<&str, ValueError> {
        let found = self.0.iter().find(|(word, _)| is_same_word(word, text));
        found.map(|(_, value)| value.as_str()).ok_or_else(|| {
            let words: Vec<_> = self.0.iter().map(|(word, _)| word.as_str()).collect();
            ValueError::of(Code::UnknownValue, text, &format!("is none of {}", words.join(", ")))
        })
    }
}

/// Returns `true` for the same word in any case.
fn is_same_word(word: &str, text: &str) -> bool {
    word.eq_ignore_ascii_case(text)
        || !word.is_ascii() && word.to_lowercase() == text.to_lowercase()
}

impl Bands {
    fn of(&self, measures: &Measures<'_>, matches: &Matches) -> Option<&str> {
        let value = *measures.get(&self.measure)?;
        let mut band = &self.below;
        for (name, level) in &self.levels {
            let level = match level {
                Level::Number(level) => *level,
                Level::Lookup(lookup, levels) => levels[matches[*lookup]?]?,
            };
            if value >= level {
                band = name;
            }
        }
        Some(band)
    }
}

/// Reads a code of `digits` digits. A zero at the front that a number lost is put back, and a
/// fraction of zeros that it gained is dropped.
fn code(text: Text<'_>, digits: usize) -> Result<Text<'_>, ValueError> {
    let zeros = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte == b'0');
    let whole = match text.split_once('.') {
        Some((whole, rest)) if zeros(rest) => whole,
        _ => &text,
    };
    let is_code = whole.bytes().all(|byte| byte.is_ascii_digit());
    match whole.len() {
        length if is_code && length + 1 == digits => Ok(Cow::Owned(format!("0{whole}"))),
        length if is_code && length == digits => {
            let is_whole = text.len() == length;
            Ok(if is_whole { text } else { Cow::Owned(whole.to_owned()) })
        }
        _ => {
            let what = format!("is no code of {digits} digits");
            Err(ValueError::of(Code::UnknownValue, &text, &what))
        }
    }
}
