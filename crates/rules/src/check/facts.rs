//! Values that the fields of an event can have at a point of a predicate.
//!
//! Assumptions are never too narrow: a part about which nothing is known may hold or not.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;

use crate::field::Type;
use crate::predicate::{Arithmetic, Operation, Predicate};
use tributary_model::domain::{Comparison, Domain, Fields, NumberSet, TextSet};

/// Maximum number of parts of one predicate that are examined; parts after them may hold or not.
/// Repeated branching would otherwise take exponential time.
const MAX_STEPS: usize = 10_000;

/// Maximum number of texts or ranges of numbers tracked per field. A field with more is taken to
/// have any value.
const MAX_VALUES_TRACKED: usize = 1_000;

/// Bound of the integers that a double holds exactly, 2^53.
const MAX_INT: f64 = 9_007_199_254_740_992.0;

/// Stands for the variable of `event.tags.exists` among the paths.
const TAG: &str = "tags.*";

/// Values that the fields can have at a point of a predicate.
#[derive(Clone)]
pub(super) struct Facts<'f> {
    fields: &'f Fields,
    values: BTreeMap<String, Values>,
    /// Fields, and tags as `tags.<tag>`, that are there or are not.
    present: BTreeMap<String, bool>,
    steps: Rc<Cell<usize>>,
}

/// Possible values of an operand.
#[derive(Clone, Debug)]
enum Values {
    Numbers(NumberSet),
    Texts(TextSet),
}

impl Values {
    /// Returns the values for which the comparison with some value of `other` holds.
    fn compared(&self, comparison: Comparison, other: &Self) -> Self {
        match (self, other) {
            (Self::Numbers(one), Self::Numbers(other)) => {
                Self::Numbers(one.compared(comparison, other))
            }
            (Self::Texts(one), Self::Texts(other)) => Self::Texts(one.compared(comparison, other)),
            _ => self.clone(),
        }
    }

    /// Returns the values that are, or are not, among those of a list of literals.
    fn listed(&self, listed: &Self, is_in: bool) -> Self {
        match (self, listed) {
            (Self::Numbers(of), Self::Numbers(listed)) => {
                Self::Numbers(if is_in { of.and(listed) } else { of.difference(listed) })
            }
            (Self::Texts(of), Self::Texts(TextSet::OneOf(listed))) if !is_in => {
                Self::Texts(of.and(&TextSet::AllExcept(listed.clone())))
            }
            (Self::Texts(of), Self::Texts(listed)) => Self::Texts(of.and(listed)),
            _ => self.clone(),
        }
    }

    fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Numbers(one), Self::Numbers(other)) => Self::Numbers(one.or(other)),
            (Self::Texts(one), Self::Texts(other)) => Self::Texts(one.or(other)),
            _ => self.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Numbers(numbers) => numbers.is_empty(),
            Self::Texts(texts) => texts.is_empty(),
        }
    }

    fn widened(self) -> Self {
        match self {
            Self::Numbers(numbers) => Self::Numbers(numbers.widened(MAX_VALUES_TRACKED)),
            Self::Texts(texts) => Self::Texts(texts.widened(MAX_VALUES_TRACKED)),
        }
    }
}

impl<'f> Facts<'f> {
    /// Returns the facts before any condition.
    pub(super) fn of(fields: &'f Fields) -> Self {
        Self { fields, values: BTreeMap::new(), present: BTreeMap::new(), steps: Rc::default() }
    }

    /// Returns the facts if `predicate` is `truth`, or `None` if it cannot be.
    pub(super) fn assume(&self, predicate: &Predicate, truth: bool) -> Option<Self> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Some(self.clone());
        }
        let parts = &predicate.parts[..];
        match &predicate.operation {
            Operation::Bool(value) => (*value == truth).then(|| self.clone()),
            Operation::Not => self.assume(&parts[0], !truth),
            Operation::Logic { decisive } if *decisive != truth => {
                self.assume(&parts[0], truth)?.assume(&parts[1], truth)
            }
            Operation::Logic { .. } => either([0, 1].map(|side| self.assume(&parts[side], truth))),
            Operation::Choice => {
                let way = |holds, part| self.assume(&parts[0], holds)?.assume(part, truth);
                either([way(true, &parts[1]), way(false, &parts[2])])
            }
            Operation::Compare(comparison) => {
                if let Some((condition, value)) = boolean_test(predicate) {
                    return self.assume(condition, value == truth);
                }
                let comparison = if truth { *comparison } else { comparison.negated() };
                let facts = self.with_fields_of(predicate)?;
                let (left, right) = (facts.values(&parts[0]), facts.values(&parts[1]));
                facts
                    .narrowed(&parts[0], left.compared(comparison, &right))?
                    .narrowed(&parts[1], right.compared(comparison.mirrored(), &left))
            }
            Operation::In => {
                let facts = self.with_fields_of(predicate)?;
                let values = facts.values(&parts[0]);
                match literals(&parts[1..], parts[0].value_type) {
                    Some(listed) => facts.narrowed(&parts[0], values.listed(&listed, truth)),
                    None => Some(facts),
                }
            }
            Operation::Matches(holds) => {
                let facts = self.with_fields_of(predicate)?;
                match (facts.values(&parts[0]), &parts[1].operation) {
                    (Values::Texts(texts), Operation::Text(part)) => {
                        let texts = texts.filtered(|text| holds(text, part) == truth);
                        facts.narrowed(&parts[0], Values::Texts(texts))
                    }
                    _ => Some(facts),
                }
            }
            Operation::Has(field) => self.clone().with_presence(&field.path, truth),
            Operation::Tagged => match &parts[0].operation {
                Operation::Text(tag) => self.clone().with_presence(&format!("tags.{tag}"), truth),
                _ => self.with_fields_of(predicate),
            },
            Operation::AnyTag if truth => self.assume(&parts[0], true).map(|_| self.clone()),
            _ => Some(self.clone()),
        }
    }

    /// With a field that is there, or is not; `None` where the opposite is known.
    fn with_presence(mut self, path: &str, is_there: bool) -> Option<Self> {
        match self.present.insert(path.to_owned(), is_there) {
            Some(before) if before != is_there => None,
            _ => Some(self),
        }
    }

    /// With every field there that `predicate` has no value without.
    fn with_fields_of(&self, predicate: &Predicate) -> Option<Self> {
        let mut paths = Vec::new();
        paths_of(predicate, true, &mut paths);
        paths.into_iter().try_fold(self.clone(), |facts, path| facts.with_presence(path, true))
    }

    /// Returns the facts once a part has these values only.
    fn narrowed(mut self, part: &Predicate, values: Values) -> Option<Self> {
        let path = match &part.operation {
            Operation::Field(field) => Some(&*field.path),
            Operation::Tag => Some(TAG),
            _ => None,
        };
        if values.is_empty() {
            return None;
        }
        if let Some(path) = path {
            self.values.insert(path.to_owned(), values.widened());
        }
        Some(self)
    }

    /// Returns the values that a field can have, if it is a number or a text.
    fn field(&self, path: &str) -> Option<Values> {
        let declared = || match self.fields.domain(path)? {
            Domain::Number(numbers, _) => Some(Values::Numbers(numbers)),
            Domain::Text(texts) => Some(Values::Texts(texts)),
            Domain::Tags | Domain::Object => None,
        };
        self.values.get(path).cloned().or_else(declared)
    }

    /// Returns the values that a number or a text can have.
    fn values(&self, part: &Predicate) -> Values {
        let number = |part: usize, of: &Predicate| match self.values(&of.parts[part]) {
            Values::Numbers(numbers) => numbers,
            Values::Texts(_) => NumberSet::any(),
        };
        let found = match &part.operation {
            Operation::Double(number) => Some(Values::Numbers(NumberSet::of(*number))),
            Operation::Int(number) => Some(Values::Numbers(NumberSet::of(as_double(*number)))),
            Operation::Text(text) => Some(Values::Texts(TextSet::one_of([&**text]))),
            Operation::Field(field) => self.field(&field.path),
            Operation::Tag => Some(self.values.get(TAG).cloned().unwrap_or_else(|| {
                Values::Texts(TextSet::one_of(self.fields.tags.iter().cloned()))
            })),
            Operation::TagCount => {
                let max = u32::try_from(self.fields.tags.len()).unwrap_or(u32::MAX);
                Some(Values::Numbers(NumberSet::whole(0.0, f64::from(max))))
            }
            Operation::Arithmetic(operator) => {
                let (one, other) = (number(0, part), number(1, part));
                let result = match (operator, part.value_type) {
                    (Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Multiply, _) => {
                        Some(one.combined(&other, operator.function()))
                    }
                    (Arithmetic::Divide, Type::Double) => one.divided(&other),
                    _ => None,
                };
                result.map(Values::Numbers)
            }
            _ => None,
        };
        // A double rounds larger integers.
        let is_exact = |values: &Values| match values {
            Values::Numbers(numbers) if part.value_type == Type::Int => {
                numbers.hull().is_some_and(|(low, high)| low > -MAX_INT && high < MAX_INT)
            }
            _ => true,
        };
        found.filter(is_exact).unwrap_or_else(|| match part.value_type {
            Type::Text => Values::Texts(TextSet::any()),
            _ => Values::Numbers(NumberSet::any()),
        })
    }

    /// Returns the bytes of the list elements that the part before them can never be.
    pub(super) fn impossible_elements(&self, list: &Predicate) -> Vec<usize> {
        let can_be = self.values(&list.parts[0]);
        let is_never =
            |it: &&Predicate| can_be.compared(Comparison::Equal, &self.values(it)).is_empty();
        list.parts[1..].iter().filter(is_never).map(|element| element.offset).collect()
    }

    /// Describes the possible values of the fields of a part at this point, for a message.
    pub(super) fn describe(&self, predicate: &Predicate) -> String {
        let mut reported = String::new();
        for path in all_paths(predicate) {
            let short = path.rsplit_once('.').map_or(path, |(_, name)| name);
            let can_be = match self.field(path) {
                Some(Values::Numbers(numbers)) => numbers.to_string(),
                Some(Values::Texts(texts)) => texts.to_string(),
                None => continue,
            };
            let here = if self.values.contains_key(path) { " here" } else { "" };
            let before = if reported.is_empty() { ": " } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(reported, "{before}{short} is {can_be}{here}");
        }
        reported
    }
}

/// Returns the facts if one of two ways holds: the union of both.
fn either(ways: [Option<Facts<'_>>; 2]) -> Option<Facts<'_>> {
    ways.into_iter().flatten().reduce(|mut facts, other| {
        facts.values.retain(|path, _| other.values.contains_key(path));
        for (path, values) in &mut facts.values {
            if let Some(with) = other.values.get(path) {
                *values = values.or(with);
            }
        }
        facts.present.retain(|path, is_there| other.present.get(path) == Some(is_there));
        facts
    })
}

/// Returns the condition of `condition == true` and the like, and the value that makes it hold.
pub(super) fn boolean_test(predicate: &Predicate) -> Option<(&Predicate, bool)> {
    let is_equal = match predicate.operation {
        Operation::Compare(Comparison::Equal) => true,
        Operation::Compare(Comparison::NotEqual) => false,
        _ => return None,
    };
    match &predicate.parts[..] {
        [condition, Predicate { operation: Operation::Bool(value), .. }]
        | [Predicate { operation: Operation::Bool(value), .. }, condition] => {
            Some((condition, *value == is_equal))
        }
        _ => None,
    }
}

/// Returns the paths of all fields of a part in alphabetic order, each once.
pub(super) fn all_paths(predicate: &Predicate) -> BTreeSet<&str> {
    let mut paths = Vec::new();
    paths_of(predicate, false, &mut paths);
    paths.into_iter().collect()
}

/// Collects the paths of fields: of all, or of those that a part has no value without.
fn paths_of<'p>(predicate: &'p Predicate, is_required: bool, paths: &mut Vec<&'p str>) {
    let certain = match &predicate.operation {
        Operation::Field(field) => {
            paths.push(&field.path);
            0
        }
        Operation::Has(field) if !is_required => {
            paths.push(&field.path);
            0
        }
        Operation::Choice if is_required => 1,
        // Where one side decides, the other need not have a value.
        Operation::Logic { .. } | Operation::AnyTag if is_required => 0,
        _ => predicate.parts.len(),
    };
    for part in &predicate.parts[..certain] {
        paths_of(part, is_required, paths);
    }
}

/// Returns the values of a list of literals of one type; `None` if it has other elements.
fn literals(elements: &[Predicate], value_type: Type) -> Option<Values> {
    if value_type == Type::Text {
        let text = |it: &Predicate| match &it.operation {
            Operation::Text(text) => Some(text.to_string()),
            _ => None,
        };
        return elements
            .iter()
            .map(text)
            .collect::<Option<_>>()
            .map(TextSet::OneOf)
            .map(Values::Texts);
    }
    let number = |it: &Predicate| match it.operation {
        Operation::Double(number) => Some(number),
        Operation::Int(number) => Some(as_double(number)),
        _ => None,
    };
    let numbers: Option<_> = elements.iter().map(number).collect();
    numbers.map(NumberSet::from_values).map(Values::Numbers)
}

#[expect(clippy::cast_precision_loss, reason = "as CEL compares an integer with a double")]
fn as_double(number: i64) -> f64 {
    number as f64
}
