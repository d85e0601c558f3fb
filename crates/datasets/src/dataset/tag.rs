//! Tags: flags of an event.

use std::borrow::Cow;

use jiff::civil::Weekday;

use tributary_model::bad_row::Rejection;
use tributary_model::event::{Attributes, Text};

use super::attribute::Words;
use super::clock::Clock;
use super::source::Source;
use crate::row::Row;
use crate::value::flag;

/// A tag, or a choice of tags.
#[derive(Debug)]
pub(crate) struct Tag {
    pub name: String,
    pub kind: TagKind,
}

#[derive(Debug)]
pub(crate) enum TagKind {
    /// The name, where the column is true.
    Flag(Source),
    /// The name, at local event times on these days and, if there are any, in these hours, both
    /// included.
    Schedule { days: Vec<Weekday>, hours: Vec<[i8; 2]> },
    /// The tag that the word in the column stands for.
    Words(Source, Words),
    /// The tag of the first class that has a word in the text, or the other tag.
    Classes { source: Source, classes: Vec<(String, Vec<String>)>, otherwise: Option<String> },
    /// The tag of each value of an attribute.
    Attribute { attribute: String, tags: Vec<(String, String)> },
}

impl Tag {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the tag of a row.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the value of the column is invalid.
    pub(super) fn read<'a>(
        &'a self,
        row: &Row<'_>,
        clock: &Clock,
        attributes: &Attributes<'_>,
    ) -> Result<Option<Text<'a>>, Rejection> {
        let tag = match &self.kind {
            TagKind::Flag(source) => {
                let is_set = source.read(row, flag)?.is_some_and(|(_, is_set)| is_set);
                is_set.then_some(self.name.as_str())
            }
            TagKind::Schedule { days, hours } => {
                let hour = clock.local.hour();
                let is_in = |[from, to]: &[i8; 2]| (*from..=*to).contains(&hour);
                let is_now = days.contains(&clock.local.weekday())
                    && (hours.is_empty() || hours.iter().any(is_in));
                is_now.then_some(self.name.as_str())
            }
            TagKind::Words(source, words) => {
                source.read(row, |text| words.value(text))?.map(|(_, tag)| tag)
            }
            TagKind::Classes { source, classes, otherwise } => {
                let class = |text: &str| {
                    let has = |words: &Vec<String>| words.iter().any(|word| contains(text, word));
                    let class = classes.iter().find(|(_, words)| has(words));
                    Ok(class.map(|(tag, _)| tag.as_str()).or(otherwise.as_deref()))
                };
                source.read(row, class)?.and_then(|(_, tag)| tag)
            }
            TagKind::Attribute { attribute, tags } => attributes.get(attribute).and_then(|value| {
                tags.iter().find(|(known, _)| known == value).map(|(_, tag)| tag.as_str())
            }),
        };
        Ok(tag.map(Cow::Borrowed))
    }

    /// Returns every tag that a row can get.
    pub(super) fn possible(&self) -> Vec<&str> {
        match &self.kind {
            TagKind::Flag(_) | TagKind::Schedule { .. } => vec![&self.name],
            TagKind::Words(_, words) => words.0.iter().map(|(_, tag)| tag.as_str()).collect(),
            TagKind::Classes { classes, otherwise, .. } => {
                classes.iter().map(|(tag, _)| tag.as_str()).chain(otherwise.as_deref()).collect()
            }
            TagKind::Attribute { tags, .. } => tags.iter().map(|(_, tag)| tag.as_str()).collect(),
        }
    }
}

/// Returns `true` if `text` contains `word`, in any case of ASCII letters.
fn contains(text: &str, word: &str) -> bool {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    !word.is_empty() && text.windows(word.len()).any(|at| at.eq_ignore_ascii_case(word))
}
