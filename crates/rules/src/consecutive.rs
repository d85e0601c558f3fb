//! `for`: rules that want `when` to hold for several windows in a row.
//!
//! What is known of a window is one number that only grows: a higher revision is higher, so that marks
//! may come in any order, and again, and come to the same.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Rule;
use tributary_model::event::WindowSpan;
use tributary_model::id::Id;
use tributary_model::time::period;

/// The fewest windows whose marks are kept together.
const MIN_CHUNK_WINDOWS: i64 = 64;

/// The marks of windows that are kept together, by the number of the window.
pub type Marks = BTreeMap<i64, u64>;

/// What is known of one window, for the marks of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The item that holds it: a hash of the rule, the entity and a stretch of time.
    pub item: String,
    /// The number of the window: its start in hops since 1970.
    pub window: i64,
    /// Twice the revision, and one more where `when` held.
    pub value: u64,
}

/// The windows of a rule with `for`.
#[derive(Clone, Copy, Debug)]
pub struct ConsecutiveWindows<'r> {
    rule: &'r Rule,
    needed: i64,
    /// Seconds.
    slide: i64,
}

impl Rule {
    /// The windows of this rule, `hop` from start to start; `None` for a rule without `for`.
    #[must_use]
    pub fn consecutive_windows(&self, slide: SignedDuration) -> Option<ConsecutiveWindows<'_>> {
        let needed = i64::from(self.sustained()?);
        Some(ConsecutiveWindows { rule: self, needed, slide: slide.as_secs().max(1) })
    }
}

impl ConsecutiveWindows<'_> {
    /// What is to be noted of a window of `entity`: nothing, where it is the first word of it and
    /// `when` does not hold, because that is as if nothing were known. Where the windows after it are
    /// kept in another item, that item has the same mark.
    #[must_use]
    pub fn marks(&self, entity: &str, window: &WindowSpan<'_>, holds: bool) -> Vec<Mark> {
        if !holds && window.revision == 0 {
            return Vec::new();
        }
        let number = self.number(window.start);
        let value = 2 * u64::from(window.revision) + u64::from(holds);
        let last = self.chunk(number + self.needed - 1);
        (self.chunk(number)..=last)
            .map(|chunk| Mark { item: self.item(entity, chunk), window: number, value })
            .collect()
    }

    /// The starts of the windows with which `when` has held often enough in a row, of those that the
    /// mark has to do with, by the `marks` of its item with that mark among them.
    #[must_use]
    pub fn fires(&self, entity: &str, mark: &Mark, marks: &Marks) -> Vec<Timestamp> {
        let holds = |number: i64| marks.get(&number).is_some_and(|value| value % 2 == 1);
        let ends = mark.window..mark.window + self.needed;
        ends.filter(|end| self.item(entity, self.chunk(*end)) == mark.item)
            .filter(|end| (end - self.needed + 1..=*end).all(holds))
            .filter_map(|end| Timestamp::from_second(end * self.slide).ok())
            .collect()
    }

    fn number(&self, start: Timestamp) -> i64 {
        period(start, self.slide)
    }

    /// Which windows are kept together. None is needed beyond the next stretch.
    fn chunk(&self, number: i64) -> i64 {
        number.div_euclid(self.needed.max(MIN_CHUNK_WINDOWS))
    }

    /// Another `when`, `for` or `window` makes another item: what was known does not count for it.
    fn item(&self, entity: &str, chunk: i64) -> String {
        let definition = self.rule.definition.to_string();
        Id::of_text(&["for", &definition, entity, &chunk.to_string()]).to_string()
    }
}

#[cfg(test)]
mod tests;
