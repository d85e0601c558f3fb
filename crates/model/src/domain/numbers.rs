//! Sets of numbers: the possible values of a measure, before and after a comparison.

use std::cmp::Ordering;
use std::fmt;

/// Maximum decimals of a bound in a message: the next double after 30 is shown as 30.
const MAX_DECIMALS: usize = 9;

/// A set of doubles: disjoint closed spans in ascending order, or the whole numbers in them.
///
/// An exclusive bound is stored as the next double inside the set, so that every span is closed.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberSet {
    spans: Vec<(f64, f64)>,
    is_whole: bool,
}

/// Comparison operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Returns `true` if the comparison holds between two values in this order.
    #[must_use]
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// Returns the comparison that holds if and only if this one does not.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// Returns the comparison with its sides exchanged.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }
}

impl NumberSet {
    /// Returns the set of all numbers.
    #[must_use]
    pub fn any() -> Self {
        Self::between(f64::NEG_INFINITY, f64::INFINITY)
    }

    /// Returns the numbers from `low` to `high`, both included.
    #[must_use]
    pub fn between(low: f64, high: f64) -> Self {
        Self { spans: vec![(low, high)], is_whole: false }.normal()
    }

    /// Returns `low` and every number above it.
    #[must_use]
    pub fn at_least(low: f64) -> Self {
        Self::between(low, f64::INFINITY)
    }

    /// Returns the whole numbers from `low` to `high`, both included.
    #[must_use]
    pub fn whole(low: f64, high: f64) -> Self {
        Self { spans: vec![(low, high)], is_whole: true }.normal()
    }

    /// Returns the set of one number.
    #[must_use]
    pub fn of(number: f64) -> Self {
        Self { spans: vec![(number, number)], is_whole: number.fract() == 0.0 }
    }

    /// Removes empty spans.
    fn normal(mut self) -> Self {
        if self.is_whole {
            for (low, high) in &mut self.spans {
                (*low, *high) = (low.ceil(), high.floor());
            }
        }
        self.spans.retain(|(low, high)| low <= high);
        self
    }

    /// Returns `true` if the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns `true` if every number of the set is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns `true` if the set contains `number`.
    #[must_use]
    pub fn contains(&self, number: f64) -> bool {
        let is_inside = self.spans.iter().any(|&(low, high)| (low..=high).contains(&number));
        is_inside && (!self.is_whole || number.fract() == 0.0)
    }

    /// Returns the lowest and the highest number; `None` if the set is empty.
    #[must_use]
    pub fn hull(&self) -> Option<(f64, f64)> {
        Some((self.spans.first()?.0, self.spans.last()?.1))
    }

    /// Returns the numbers if they are whole and at most `max`.
    #[must_use]
    pub fn listed(&self, max: usize) -> Option<Vec<f64>> {
        let mut all = Vec::new();
        for &(low, high) in self.spans.iter().filter(|_| self.is_whole) {
            let mut next = low;
            while next <= high {
                if all.len() == max {
                    return None;
                }
                all.push(next);
                next += 1.0;
            }
        }
        self.is_whole.then_some(all)
    }

    /// Returns the set of these numbers.
    pub fn from_values(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        let is_whole = numbers.iter().all(|number| number.fract() == 0.0);
        Self { spans: numbers.into_iter().map(|number| (number, number)).collect(), is_whole }
    }

    /// Returns the intersection of both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (mut spans, mut mine, mut theirs) = (Vec::new(), 0, 0);
        while let (Some(&(low, high)), Some(&(other_low, other_high))) =
            (self.spans.get(mine), other.spans.get(theirs))
        {
            spans.push((low.max(other_low), high.min(other_high)));
            // The span that ends first has nothing in common with later ones.
            if high < other_high {
                mine += 1;
            } else {
                theirs += 1;
            }
        }
        Self { spans, is_whole: self.is_whole || other.is_whole }.normal()
    }

    /// Returns the numbers that are not in `others`, a set made by
    /// [`from_values`](Self::from_values).
    #[must_use]
    pub fn difference(&self, others: &Self) -> Self {
        let mut spans = Vec::new();
        let mut low = f64::NEG_INFINITY;
        for &(begin, end) in &others.spans {
            spans.push((low, begin.next_down()));
            low = end.next_up();
        }
        spans.push((low, f64::INFINITY));
        self.and(&Self { spans, is_whole: false }.normal())
    }

    /// Returns the set itself or, if it has more than `max` spans, the single span from its first
    /// to its last.
    #[must_use]
    pub fn widened(self, max: usize) -> Self {
        match self.hull() {
            Some(hull) if self.spans.len() > max => Self { spans: vec![hull], ..self },
            _ => self,
        }
    }

    /// Returns the possible results of a division by a number of `by`; `None` if that may be a
    /// division by zero.
    pub fn divided(&self, by: &Self) -> Option<Self> {
        let (low, high) = by.hull()?;
        (low > 0.0 || high < 0.0).then(|| self.combined(by, |one, by| one / by))
    }

    /// Returns the union of both sets. If only one of them is of whole numbers, the result includes
    /// the numbers between them.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other.clone() } else { self.clone() };
        }
        let mut all: Vec<_> = self.spans.iter().chain(&other.spans).copied().collect();
        all.sort_by(|one, other| one.0.total_cmp(&other.0));
        let is_whole = self.is_whole && other.is_whole;
        let mut spans: Vec<(f64, f64)> = Vec::new();
        for (low, high) in all {
            match spans.last_mut() {
                Some(last) if low <= last.1 || (is_whole && low <= last.1 + 1.0) => {
                    last.1 = last.1.max(high);
                }
                _ => spans.push((low, high)),
            }
        }
        Self { spans, is_whole }
    }

    /// Returns the numbers for which the comparison with some number of `other` holds.
    #[must_use]
    pub fn compared(&self, comparison: Comparison, other: &Self) -> Self {
        let none = Self { spans: Vec::new(), is_whole: self.is_whole };
        let Some((low, high)) = other.hull() else { return none };
        let below = |high| self.and(&Self::between(f64::NEG_INFINITY, high));
        let above = |low| self.and(&Self::between(low, f64::INFINITY));
        match comparison {
            Comparison::Equal => self.and(other),
            Comparison::NotEqual if low < high => self.clone(),
            Comparison::NotEqual => below(low.next_down()).or(&above(low.next_up())),
            Comparison::Less => below(high.next_down()),
            Comparison::LessOrEqual => below(high),
            Comparison::Greater => above(low.next_up()),
            Comparison::GreaterOrEqual => above(low),
        }
    }

    /// Returns the possible results of `combine`, which is monotone in each argument, from the
    /// lowest to the highest.
    #[must_use]
    pub fn combined(&self, other: &Self, combine: fn(f64, f64) -> f64) -> Self {
        let (Some(one), Some(other)) = (self.hull(), other.hull()) else {
            return Self { spans: Vec::new(), is_whole: false };
        };
        let corners = [(one.0, other.0), (one.0, other.1), (one.1, other.0), (one.1, other.1)]
            .map(|(one, other)| combine(one, other));
        // Infinity minus infinity: any result is possible.
        if corners.iter().any(|corner| corner.is_nan()) {
            return Self::any();
        }
        let low = corners.into_iter().fold(f64::INFINITY, f64::min);
        let high = corners.into_iter().fold(f64::NEG_INFINITY, f64::max);
        Self::between(low, high)
    }
}

/// `1 to 4`, `at least 0`, `at most 5 or at least 7`; `any number` where it is any.
impl fmt::Display for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (position, &(low, high)) in self.spans.iter().enumerate() {
            if position > 0 {
                f.write_str(" or ")?;
            }
            let shown = |bound| rounded(bound, MAX_DECIMALS);
            match (low.is_finite(), high.is_finite()) {
                #[expect(clippy::float_cmp, reason = "it is the same number or it is not")]
                (true, true) if low == high => write!(f, "{low}")?,
                (true, true) => write!(f, "{} to {}", shown(low), shown(high))?,
                (true, false) => write!(f, "at least {}", shown(low))?,
                (false, true) => write!(f, "at most {}", shown(high))?,
                (false, false) => f.write_str("any number")?,
            }
        }
        Ok(())
    }
}

/// Formats a finite number with at most this many decimals, of which there is at least one.
#[must_use]
pub fn rounded(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Comparison::*;
    use super::*;

    const ALL: [Comparison; 6] = [Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual];

    #[expect(clippy::float_cmp, reason = "it is the same number or it is not")]
    fn holds(comparison: Comparison, one: f64, other: f64) -> bool {
        match comparison {
            Equal => one == other,
            NotEqual => one != other,
            Less => one < other,
            LessOrEqual => one <= other,
            Greater => one > other,
            GreaterOrEqual => one >= other,
        }
    }

    #[test]
    fn comparison_narrows_severity() {
        let severity = NumberSet::whole(1.0, 4.0);
        for (comparison, with, shown) in [
            (Greater, 4.0, "nothing"),
            (GreaterOrEqual, 4.0, "4"),
            (Greater, 3.2, "4"),
            (Less, 1.5, "1"),
            (Equal, 2.5, "nothing"),
            (NotEqual, 2.5, "1 to 4"),
            (NotEqual, 2.0, "1 or 3 to 4"),
            (LessOrEqual, 0.0, "nothing"),
        ] {
            let left = severity.compared(comparison, &NumberSet::of(with));
            assert_eq!(left.to_string(), shown, "{comparison:?} {with}");
        }
    }

    #[test]
    fn number_sets_are_shown_in_words() {
        assert_eq!(NumberSet::any().to_string(), "any number");
        assert_eq!(NumberSet::at_least(-273.15).to_string(), "at least -273.15");
        let hot = NumberSet::between(-90.0, 100.0).compared(Greater, &NumberSet::of(30.0));
        assert_eq!(hot.to_string(), "30 to 100");
        assert_eq!(NumberSet::any().compared(Less, &NumberSet::of(0.0)).to_string(), "at most 0");
    }

    #[test]
    fn arithmetic_spans_lowest_to_highest() {
        let celsius = NumberSet::between(-90.0, 100.0);
        let fahrenheit = celsius.combined(&NumberSet::of(1.8), |one, other| one * other);
        let fahrenheit = fahrenheit.combined(&NumberSet::of(32.0), |one, other| one + other);
        assert_eq!(fahrenheit.to_string(), "-130 to 212");
        let unknown = NumberSet::any().combined(&NumberSet::any(), |one, other| one - other);
        assert_eq!(unknown, NumberSet::any());
    }

    fn numbers() -> impl Strategy<Value = NumberSet> {
        let bound = (-6_i8..=6).prop_map(|it| f64::from(it) / 2.0);
        let span = (bound.clone(), bound, any::<bool>()).prop_map(|(one, other, is_whole)| {
            let (low, high) = (one.min(other), one.max(other));
            if is_whole { NumberSet::whole(low, high) } else { NumberSet::between(low, high) }
        });
        prop::collection::vec(span, 1..4).prop_map(|spans| {
            spans.into_iter().reduce(|one, other| one.or(&other)).unwrap_or_else(NumberSet::any)
        })
    }

    proptest! {
        #[test]
        fn comparison_keeps_exactly_the_matching_numbers(
            set in numbers(), with in -8_i8..=8, number in -16_i8..=16
        ) {
            let (with, number) = (f64::from(with) / 2.0, f64::from(number) / 4.0);
            for comparison in ALL {
                let left = set.compared(comparison, &NumberSet::of(with));
                let expected = set.contains(number) && holds(comparison, number, with);
                prop_assert_eq!(left.contains(number), expected, "{:?} {} {}", comparison, with, number);
                let turned = holds(comparison.mirrored(), with, number);
                prop_assert_eq!(turned, holds(comparison, number, with));
                let negated = holds(comparison.negated(), number, with);
                prop_assert_eq!(negated, !holds(comparison, number, with));
            }
        }

        #[test]
        fn intersection_and_union_contain_the_right_numbers(
            one in numbers(), other in numbers(), number in -16_i8..=16
        ) {
            let number = f64::from(number) / 4.0;
            let (is_in_one, is_in_other) = (one.contains(number), other.contains(number));
            prop_assert_eq!(one.and(&other).contains(number), is_in_one && is_in_other);
            prop_assert!(one.or(&other).contains(number) || !(is_in_one || is_in_other));
        }
    }
}
