//! Predicates: conditions evaluated on an event directly, without CEL.
//!
//! A predicate is a tree with the types checked and the fields resolved when it is compiled.
//! Evaluation allocates nothing and gives the result that CEL gives.

mod translate;

use std::cmp::Ordering;

use crate::field::{Get, Type, Value};
use tributary_model::domain::Comparison;
use tributary_model::event::Event;

pub(crate) use self::translate::translate;

/// Operation of a predicate with the parts that it applies to.
#[derive(Debug)]
pub(crate) struct Predicate {
    /// First byte in the text.
    pub(crate) offset: usize,
    pub(crate) value_type: Type,
    pub(crate) operation: Operation,
    pub(crate) parts: Vec<Predicate>,
}

#[derive(Debug)]
pub(crate) enum Operation {
    Bool(bool),
    Double(f64),
    Int(i64),
    Text(Box<str>),
    Null,
    /// Number, text, tags or object.
    Field(Field),
    /// `has(event.measures.x)` and `"x" in event.measures`.
    Has(Field),
    /// Variable of `event.tags.exists`.
    Tag,
    TagCount,
    Not,
    /// `&&`, decided by a false side, or `||`, decided by a true one.
    Logic {
        decisive: bool,
    },
    /// `?:`
    Choice,
    Compare(Comparison),
    Arithmetic(Arithmetic),
    /// `in` a list, whose elements are all parts but the first.
    In,
    /// `in event.tags`
    Tagged,
    /// `startsWith` and the like.
    Matches(fn(&str, &str) -> bool),
    /// `event.tags.exists(tag, …)`
    AnyTag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Field with its path, such as `measures.severity`; "" is the event.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) path: Box<str>,
    /// Byte of the path at which the last name begins.
    name: usize,
    get: Get,
}

/// Failure of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The event lacks a field.
    Missing,
    /// Values without an order, or a result that is no integer.
    Mistake,
}

impl Field {
    fn name(&self) -> &str {
        &self.path[self.name..]
    }

    fn value<'e>(&self, event: &'e Event<'_>) -> Option<Value<'e>> {
        self.get.value(event, self.name())
    }
}

impl Predicate {
    /// Evaluates a condition, inside `exists` on one tag.
    ///
    /// # Errors
    ///
    /// Fails where CEL fails, and with the failure that CEL reports if there are two.
    pub(crate) fn holds(&self, event: &Event<'_>, tag: &str) -> Result<bool, Failure> {
        match self.operation {
            Operation::Choice | Operation::Bool(_) => match self.value(event, tag)? {
                Value::Bool(holds) => Ok(holds),
                _ => Err(Failure::Mistake),
            },
            _ => self.decide(event, tag),
        }
    }

    /// Returns the value of a part. Inlined, as most parts are fields and literals.
    #[inline]
    fn value<'e>(&'e self, event: &'e Event<'_>, tag: &'e str) -> Result<Value<'e>, Failure> {
        match &self.operation {
            Operation::Field(field) => field.value(event).ok_or(Failure::Missing),
            Operation::Double(number) => Ok(Value::Double(*number)),
            Operation::Int(number) => Ok(Value::Int(*number)),
            Operation::Text(text) => Ok(Value::Text(text)),
            Operation::Bool(value) => Ok(Value::Bool(*value)),
            Operation::Tag => Ok(Value::Text(tag)),
            Operation::TagCount => {
                Ok(Value::Int(i64::try_from(event.tags.len()).unwrap_or(i64::MAX)))
            }
            Operation::Choice | Operation::Arithmetic(_) => self.computed(event, tag),
            _ => self.decide(event, tag).map(Value::Bool),
        }
    }

    fn computed<'e>(&'e self, event: &'e Event<'_>, tag: &'e str) -> Result<Value<'e>, Failure> {
        let parts = &self.parts[..];
        match self.operation {
            Operation::Arithmetic(operator) => {
                operator.apply(parts[0].value(event, tag)?, parts[1].value(event, tag)?)
            }
            _ => parts[if parts[0].holds(event, tag)? { 1 } else { 2 }].value(event, tag),
        }
    }

    /// Returns the value of a double; `None` if the event lacks a field, or of another type.
    #[inline]
    fn double(&self, event: &Event<'_>) -> Option<f64> {
        match &self.operation {
            Operation::Double(number) => Some(*number),
            Operation::Field(field @ Field { get: Get::Double(get), .. }) => {
                get(event, field.name())
            }
            Operation::Arithmetic(operator) => {
                let (one, other) = (self.parts[0].double(event)?, self.parts[1].double(event)?);
                Some(operator.function()(one, other))
            }
            _ => None,
        }
    }

    /// Returns the value of a text; `None` if the event lacks a field, or of a time or another type.
    #[inline]
    fn text<'e>(&'e self, event: &'e Event<'_>, tag: &'e str) -> Option<&'e str> {
        match &self.operation {
            Operation::Text(text) => Some(text),
            Operation::Field(field @ Field { get: Get::Text(get), .. }) => get(event, field.name()),
            Operation::Tag => Some(tag),
            _ => None,
        }
    }

    /// Compares the two parts: the common types first, in registers.
    #[inline]
    fn order(&self, event: &Event<'_>, tag: &str) -> Result<Option<Ordering>, Failure> {
        let [one, other] = &self.parts[..] else { return Err(Failure::Mistake) };
        if let (Some(one), Some(other)) = (one.double(event), other.double(event)) {
            return Ok(one.partial_cmp(&other));
        }
        if let (Some(one), Some(other)) = (one.text(event, tag), other.text(event, tag)) {
            return Ok(Some(one.cmp(other)));
        }
        Ok(one.value(event, tag)?.order(&other.value(event, tag)?))
    }

    /// Evaluates an operation whose result is a boolean.
    fn decide(&self, event: &Event<'_>, tag: &str) -> Result<bool, Failure> {
        let value = |part: usize| self.parts[part].value(event, tag);
        let holds = |part: usize| self.parts[part].holds(event, tag);
        Ok(match &self.operation {
            Operation::Has(field) => field.value(event).is_some(),
            Operation::Not => !holds(0)?,
            Operation::Logic { decisive } => match holds(0) {
                Ok(one) if one == *decisive => one,
                // A failure of the first side does not matter if the second decides.
                one => {
                    if holds(1)? == *decisive {
                        *decisive
                    } else {
                        one?
                    }
                }
            },
            Operation::Compare(comparison) => {
                let order = self.order(event, tag)?;
                match comparison {
                    Comparison::Equal => order == Some(Ordering::Equal),
                    Comparison::NotEqual => order != Some(Ordering::Equal),
                    _ => comparison.holds(order.ok_or(Failure::Mistake)?),
                }
            }
            Operation::In => {
                let wanted = value(0)?;
                // All elements are evaluated: CEL fails on any of them.
                self.parts[1..].iter().try_fold(false, |is_found, element| {
                    let order = element.value(event, tag)?.order(&wanted);
                    Ok(is_found || order == Some(Ordering::Equal))
                })?
            }
            Operation::Tagged => {
                let is_tag = |wanted: &str| event.tags.iter().any(|tag| tag == wanted);
                match self.parts[0].text(event, tag) {
                    Some(wanted) => is_tag(wanted),
                    None => value(0)?.with_text(is_tag).unwrap_or_default(),
                }
            }
            Operation::Matches(function) => {
                let (text, part) = (value(0)?, value(1)?);
                text.with_text(|text| part.with_text(|part| function(text, part)))
                    == Some(Some(true))
            }
            Operation::AnyTag => {
                let mut failure = None;
                let is_found = event.tags.iter().any(|tag| match self.parts[0].holds(event, tag) {
                    Ok(holds) => holds,
                    Err(error) => {
                        failure = Some(error);
                        false
                    }
                });
                match failure {
                    Some(failure) if !is_found => return Err(failure),
                    _ => is_found,
                }
            }
            _ => return Err(Failure::Mistake),
        })
    }
}

impl Arithmetic {
    fn apply<'e>(self, one: Value<'e>, other: Value<'e>) -> Result<Value<'e>, Failure> {
        match (one, other) {
            (Value::Double(one), Value::Double(other)) => {
                Ok(Value::Double(self.function()(one, other)))
            }
            (Value::Int(one), Value::Int(other)) => {
                let result = match self {
                    Self::Add => one.checked_add(other),
                    Self::Subtract => one.checked_sub(other),
                    Self::Multiply => one.checked_mul(other),
                    Self::Divide => one.checked_div(other),
                    Self::Remainder => one.checked_rem(other),
                };
                result.map(Value::Int).ok_or(Failure::Mistake)
            }
            _ => Err(Failure::Mistake),
        }
    }

    /// Returns the operation on doubles.
    pub(crate) fn function(self) -> fn(f64, f64) -> f64 {
        match self {
            Self::Add => |one, other| one + other,
            Self::Subtract => |one, other| one - other,
            Self::Multiply => |one, other| one * other,
            Self::Divide => |one, other| one / other,
            Self::Remainder => |one, other| one % other,
        }
    }
}

#[cfg(test)]
mod tests;
