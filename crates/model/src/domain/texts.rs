//! Sets of texts: the possible values of an attribute, before and after a comparison.

use std::collections::BTreeSet;
use std::fmt;

use super::numbers::Comparison;

/// Maximum texts of a closed list shown in a message.
const MAX_SHOWN: usize = 8;

/// A set of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextSet {
    /// A closed list.
    OneOf(BTreeSet<String>),
    /// Any text except these.
    AllExcept(BTreeSet<String>),
}

impl TextSet {
    /// Returns the set of all texts.
    #[must_use]
    pub fn any() -> Self {
        Self::AllExcept(BTreeSet::new())
    }

    /// Returns a closed list.
    pub fn one_of(texts: impl IntoIterator<Item: Into<String>>) -> Self {
        Self::OneOf(texts.into_iter().map(Into::into).collect())
    }

    /// Returns `true` if the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::OneOf(texts) if texts.is_empty())
    }

    /// Returns `true` if the set contains `text`.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        match self {
            Self::OneOf(texts) => texts.contains(text),
            Self::AllExcept(texts) => !texts.contains(text),
        }
    }

    /// Returns the only text of a list of one.
    pub fn single(&self) -> Option<&str> {
        match self {
            Self::OneOf(texts) if texts.len() == 1 => texts.first().map(String::as_str),
            _ => None,
        }
    }

    /// Returns the intersection of both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::OneOf(texts), other) | (other, Self::OneOf(texts)) => {
                Self::OneOf(texts.iter().filter(|text| other.contains(text)).cloned().collect())
            }
            (Self::AllExcept(one), Self::AllExcept(other)) => Self::AllExcept(one | other),
        }
    }

    /// Returns the union of both sets.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::OneOf(one), Self::OneOf(other)) => Self::OneOf(one | other),
            (Self::AllExcept(one), Self::AllExcept(other)) => Self::AllExcept(one & other),
            (Self::AllExcept(but), Self::OneOf(texts))
            | (Self::OneOf(texts), Self::AllExcept(but)) => Self::AllExcept(but - texts),
        }
    }

    /// Returns the texts for which the comparison with some text of `other` holds; a superset where
    /// that is unknown.
    #[must_use]
    pub fn compared(&self, comparison: Comparison, other: &Self) -> Self {
        let Some(with) = other.single() else {
            return if comparison == Comparison::Equal { self.and(other) } else { self.clone() };
        };
        match comparison {
            Comparison::Equal => self.and(other),
            Comparison::NotEqual => self.and(&Self::AllExcept(BTreeSet::from([with.to_owned()]))),
            Comparison::Less => self.filtered(|text| text < with),
            Comparison::LessOrEqual => self.filtered(|text| text <= with),
            Comparison::Greater => self.filtered(|text| text > with),
            Comparison::GreaterOrEqual => self.filtered(|text| text >= with),
        }
    }

    /// Returns the set itself or, if it names more than `max` texts, the set of all texts.
    #[must_use]
    pub fn widened(self, max: usize) -> Self {
        match &self {
            Self::OneOf(texts) | Self::AllExcept(texts) if texts.len() > max => Self::any(),
            _ => self,
        }
    }

    /// Returns the texts of a closed list for which `keep` holds, and any other set unchanged.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        match self {
            Self::OneOf(texts) => {
                Self::OneOf(texts.iter().filter(|text| keep(text)).cloned().collect())
            }
            Self::AllExcept(_) => self.clone(),
        }
    }
}

/// `danger`, `ok or warning`, `any text`.
impl fmt::Display for TextSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (texts, is_closed) = match self {
            Self::OneOf(texts) => (texts, true),
            Self::AllExcept(texts) => (texts, false),
        };
        match (texts.len(), is_closed) {
            (0, true) => return f.write_str("nothing"),
            (0, false) => return f.write_str("any text"),
            (count, true) if count > MAX_SHOWN => return write!(f, "one of {count} texts"),
            (_, true) => {}
            (_, false) => f.write_str("any text but ")?,
        }
        for (position, text) in texts.iter().enumerate() {
            let between = match position {
                0 => "",
                _ if position + 1 == texts.len() => " or ",
                _ => ", ",
            };
            write!(f, "{between}{text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_sets_are_shown_in_words() {
        assert_eq!(
            TextSet::one_of(["ok", "warning", "failure"]).to_string(),
            "failure, ok or warning"
        );
        assert_eq!(TextSet::any().to_string(), "any text");
        let other = TextSet::any().compared(Comparison::NotEqual, &TextSet::one_of(["OH"]));
        assert_eq!(other.to_string(), "any text but OH");
        assert_eq!(TextSet::one_of((0..9).map(|it| it.to_string())).to_string(), "one of 9 texts");
    }

    fn texts() -> impl Strategy<Value = TextSet> {
        let list = prop::collection::btree_set("[a-d]", 0..4);
        (list, any::<bool>()).prop_map(|(list, is_closed)| {
            if is_closed { TextSet::OneOf(list) } else { TextSet::AllExcept(list) }
        })
    }

    proptest! {
        #[test]
        fn set_operations_keep_the_right_texts(one in texts(), other in texts(), text in "[a-e]") {
            let (is_in_one, is_in_other) = (one.contains(&text), other.contains(&text));
            prop_assert_eq!(one.and(&other).contains(&text), is_in_one && is_in_other);
            prop_assert_eq!(one.or(&other).contains(&text), is_in_one || is_in_other);
            let with = TextSet::one_of(["b"]);
            for (comparison, holds) in [
                (Comparison::Equal, text == "b"),
                (Comparison::NotEqual, text != "b"),
                (Comparison::Less, &text[..] < "b"),
                (Comparison::GreaterOrEqual, &text[..] >= "b"),
            ] {
                let left = one.compared(comparison, &with).contains(&text);
                prop_assert!(left || !(is_in_one && holds), "no matching text is lost");
                let is_exact = matches!(one, TextSet::OneOf(_))
                    || matches!(comparison, Comparison::Equal | Comparison::NotEqual);
                prop_assert!(!left || !is_exact || (is_in_one && holds));
            }
        }
    }
}
