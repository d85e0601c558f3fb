//! `for`: rules whose `when` must hold for several consecutive windows.
//!
//! The evaluation of a window is stored as one number that only grows, because a higher revision is
//! higher. Marks may therefore be written in any order and repeatedly with the same result.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Rule;
use tributary_model::event::WindowSpan;
use tributary_model::id::Id;
use tributary_model::time::period;

/// Minimum number of windows whose marks share an item.
const MIN_CHUNK_WINDOWS: i64 = 64;

/// Window marks of one item, by window number.
pub type Marks = BTreeMap<i64, u64>;

/// Window mark: the evaluation of one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Item of the mark: a hash of the rule, the entity and a chunk of windows.
    pub item: String,
    /// Number of the window: its start in slides since 1970.
    pub window: i64,
    /// Twice the revision, plus one if `when` held.
    pub value: u64,
}

/// Consecutive windows of a rule with `for`.
#[derive(Clone, Copy, Debug)]
pub struct ConsecutiveWindows<'r> {
    rule: &'r Rule,
    needed: i64,
    /// Slide in seconds.
    slide: i64,
}

impl Rule {
    /// Returns the consecutive windows of this rule for windows `slide` apart, or `None` for a rule
    /// without `for`.
    #[must_use]
    pub fn consecutive_windows(&self, slide: SignedDuration) -> Option<ConsecutiveWindows<'_>> {
        let needed = i64::from(self.spec.sustained?);
        Some(ConsecutiveWindows { rule: self, needed, slide: slide.as_secs().max(1) })
    }
}

impl ConsecutiveWindows<'_> {
    /// Returns the marks to store for a window of `entity`.
    ///
    /// There are none if `when` does not hold for revision 0: that equals no evaluation. If the
    /// windows after it belong to another item, that item gets the same mark.
    #[must_use]
    pub fn marks(&self, entity: &str, window: &WindowSpan<'_>, holds: bool) -> Vec<Mark> {
        if !holds && window.revision == 0 {
            return Vec::new();
        }
        let number = period(window.start, self.slide);
        let value = 2 * u64::from(window.revision) + u64::from(holds);
        let last = self.chunk(number + self.needed - 1);
        (self.chunk(number)..=last)
            .map(|chunk| Mark { item: self.item(entity, chunk), window: number, value })
            .collect()
    }

    /// Returns the starts of the windows at which `when` has held for enough consecutive windows.
    ///
    /// Considers the windows that `mark` affects. `marks` are those of its item, `mark` included.
    #[must_use]
    pub fn fires(&self, entity: &str, mark: &Mark, marks: &Marks) -> Vec<Timestamp> {
        let holds = |number: i64| marks.get(&number).is_some_and(|value| value % 2 == 1);
        let ends = mark.window..mark.window + self.needed;
        ends.filter(|end| self.item(entity, self.chunk(*end)) == mark.item)
            .filter(|end| (end - self.needed + 1..=*end).all(holds))
            .filter_map(|end| Timestamp::from_second(end * self.slide).ok())
            .collect()
    }

    /// Returns the chunk of a window. A sequence of consecutive windows spans at most two chunks.
    fn chunk(&self, number: i64) -> i64 {
        number.div_euclid(self.needed.max(MIN_CHUNK_WINDOWS))
    }

    /// Returns the item of a chunk. A different `when`, `for` or `window` has different items, so
    /// earlier evaluations do not count for it.
    fn item(&self, entity: &str, chunk: i64) -> String {
        let definition = self.rule.definition.to_string();
        Id::of_text(&["for", &definition, entity, &chunk.to_string()]).to_string()
    }
}

#[cfg(test)]
mod tests;
