//! Translation of CEL syntax trees to predicates, with the types checked on the way.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};
use cel::{IdedExpr, Program};

use super::{Arithmetic, Field, Operation, Predicate};
use crate::field::{Get, Type, member};
use crate::tree;

/// Translates a condition; `None` if it has a part that predicates do not have, or wrong types.
/// Beside it: byte and message of each wrong type.
pub(crate) fn translate(program: &Program) -> (Option<Predicate>, Vec<(usize, String)>) {
    let mut translator = Translator { program, tag: None, faults: Vec::new() };
    let predicate = translator.condition(program.expression());
    (predicate.filter(|_| translator.faults.is_empty()), translator.faults)
}

struct Translator<'p> {
    program: &'p Program,
    /// Variable of the `event.tags.exists` around the part.
    tag: Option<&'p str>,
    faults: Vec<(usize, String)>,
}

/// Type and operation of a part, and what it applies to.
type Translated = (Type, Operation, Vec<Predicate>);

impl Predicate {
    /// Returns the type for messages.
    fn type_name(&self) -> String {
        let name = match (self.value_type, &self.operation) {
            (Type::Bool, _) => "a yes or no",
            (Type::Double | Type::Int, _) => "a number",
            (Type::Text, _) => "a text",
            (Type::Null, _) => "null",
            (Type::Tags, _) => "the tags",
            (Type::Object, Operation::Field(field)) if !field.path.is_empty() => {
                return format!("the object {}", field.path);
            }
            (Type::Object, _) => "the event",
        };
        name.to_owned()
    }

    fn is_object(&self) -> bool {
        matches!(self.value_type, Type::Tags | Type::Object)
    }

    /// Returns true if values of the two types can be equal.
    fn is_comparable(&self, other: &Self) -> bool {
        let class = |of: &Self| match of.value_type {
            Type::Int => Type::Double,
            other => other,
        };
        class(self) == class(other)
    }
}

impl<'p> Translator<'p> {
    /// Reports a wrong type at the first byte of a part.
    fn fault<T>(&mut self, offset: usize, message: impl Into<String>) -> Option<T> {
        self.faults.push((offset, message.into()));
        None
    }

    fn condition(&mut self, node: &'p IdedExpr) -> Option<Predicate> {
        let part = self.part(node)?;
        if part.value_type == Type::Bool {
            return Some(part);
        }
        let message = format!("is {} and should be a yes or no", part.type_name());
        self.fault(part.offset, message)
    }

    fn part(&mut self, node: &'p IdedExpr) -> Option<Predicate> {
        let offset = tree::start(self.program, node);
        let (value_type, operation, parts) = match &node.expr {
            Expr::Literal(literal) => literal_part(literal)?,
            Expr::Ident(name) if Some(name.as_str()) == self.tag => {
                (Type::Text, Operation::Tag, Vec::new())
            }
            Expr::Ident(name) if name == "event" => {
                let event = Field { path: "".into(), name: 0, get: Get::Object("", |_| true) };
                (Type::Object, Operation::Field(event), Vec::new())
            }
            Expr::Select(select) => {
                let object = self.part(&select.operand)?;
                self.member(offset, &object, &select.field, select.test)?
            }
            Expr::Call(call) => self.call(offset, node, call)?,
            Expr::Comprehension(comprehension) => self.any_tag(comprehension)?,
            _ => return None,
        };
        Some(Predicate { offset, value_type, operation, parts })
    }

    /// Translates a field of an object, or the test whether the event has it.
    fn member(
        &mut self,
        offset: usize,
        object: &Predicate,
        name: &str,
        is_test: bool,
    ) -> Option<Translated> {
        let (Type::Object, Operation::Field(Field { path, .. })) =
            (object.value_type, &object.operation)
        else {
            return self.fault(offset, format!("{} has no fields", object.type_name()));
        };
        let get = member(path, name)?;
        // The event may lack the object itself, which is a failure and no answer.
        let is_unsure = is_test && matches!(&**path, "location" | "window");
        let path = tree::join(path, name);
        let field = Field { name: path.len() - name.len(), path: path.into(), get };
        if is_test {
            return (!is_unsure).then(|| (Type::Bool, Operation::Has(field), Vec::new()));
        }
        Some((get.value_type(), Operation::Field(field), Vec::new()))
    }

    fn call(
        &mut self,
        offset: usize,
        node: &'p IdedExpr,
        call: &'p CallExpr,
    ) -> Option<Translated> {
        let name = call.func_name.as_str();
        let list = match &call.args[..] {
            [_, IdedExpr { expr: Expr::List(list), .. }] if name == operators::IN => Some(list),
            _ => None,
        };
        let nodes = match list {
            Some(list) if !list.optional_indices.is_empty() => return None,
            Some(list) => call.args[..1].iter().chain(&list.elements).collect(),
            None => tree::parts(node),
        };
        // All parts are translated before one ends it, so that the faults of each are reported.
        let parts: Vec<_> = nodes.into_iter().map(|node| self.part(node)).collect();
        let mut parts: Vec<_> = parts.into_iter().collect::<Option<_>>()?;
        if let (Some(comparison), [one, other]) = (tree::comparison(call), &parts[..]) {
            self.comparable(offset, one, other)?;
            return Some((Type::Bool, Operation::Compare(comparison), parts));
        }
        let types: Vec<_> = parts.iter().map(|part| part.value_type).collect();
        let (value_type, operation) = match (name, &types[..]) {
            (operators::LOGICAL_NOT, [Type::Bool]) => (Type::Bool, Operation::Not),
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [Type::Bool, Type::Bool]) => {
                (Type::Bool, Operation::Logic { decisive: name == operators::LOGICAL_OR })
            }
            (operators::CONDITIONAL, [Type::Bool, one, other])
                if one == other && !parts[1].is_object() =>
            {
                (*one, Operation::Choice)
            }
            (operators::IN, _) if list.is_some() => {
                self.all_are_comparable(offset, &parts)?;
                (Type::Bool, Operation::In)
            }
            (operators::IN, [Type::Text, Type::Tags]) => (Type::Bool, Operation::Tagged),
            (operators::IN, [Type::Text, Type::Object]) => {
                return self.member(offset, &parts[1], text(&parts[0])?, true);
            }
            (operators::INDEX, [Type::Object, _]) => {
                return self.member(offset, &parts[0], text(&parts[1])?, false);
            }
            (operators::NEGATE, [of @ (Type::Double | Type::Int)]) => {
                let minus =
                    if *of == Type::Int { Operation::Int(-1) } else { Operation::Double(-1.0) };
                let (value_type, no_parts) = (*of, Vec::new());
                parts.push(Predicate { offset, value_type, operation: minus, parts: no_parts });
                (*of, Operation::Arithmetic(Arithmetic::Multiply))
            }
            (operators::MODULO, [Type::Double, Type::Double]) => {
                return self.fault(offset, "a double has no remainder");
            }
            (_, [one @ (Type::Double | Type::Int), other]) if arithmetic(name).is_some() => {
                match other {
                    other if one == other => (*one, Operation::Arithmetic(arithmetic(name)?)),
                    Type::Double | Type::Int => {
                        let message =
                            "calculates with a double and a whole number: write 1.0 for 1";
                        return self.fault(offset, message);
                    }
                    _ => return self.does_not_apply(name, &parts),
                }
            }
            ("size", [Type::Tags]) => return Some((Type::Int, Operation::TagCount, Vec::new())),
            (_, [Type::Text, Type::Text]) if call.target.is_some() => {
                (Type::Bool, Operation::Matches(text_match(name)?))
            }
            _ if is_left_to_cel(name, &types) => return None,
            _ => return self.does_not_apply(name, &parts),
        };
        Some((value_type, operation, parts))
    }

    /// Reports an operator or a function without a meaning for the types of its parts.
    fn does_not_apply<T>(&mut self, name: &str, parts: &[Predicate]) -> Option<T> {
        let types: Vec<_> = parts.iter().map(Predicate::type_name).collect();
        let shown = name.replace(['_', '@'], "");
        let message = format!("{shown} does not apply to {}", types.join(" and "));
        self.fault(parts.first()?.offset, message)
    }

    fn comparable(&mut self, offset: usize, one: &Predicate, other: &Predicate) -> Option<()> {
        if one.value_type == Type::Null || other.value_type == Type::Null {
            let message = "no field is null: what is absent is left out, ask has(…)";
            return self.fault(offset, message);
        }
        if !one.is_comparable(other) {
            let (one, other) = (one.type_name(), other.type_name());
            return self.fault(offset, format!("compares {one} with {other}"));
        }
        (!one.is_object()).then_some(())
    }

    /// Reports the elements of a list that are never equal to the part before them.
    fn all_are_comparable(&mut self, offset: usize, parts: &[Predicate]) -> Option<()> {
        let [wanted, elements @ ..] = parts else { return None };
        let others: Vec<_> = elements.iter().filter(|it| !wanted.is_comparable(it)).collect();
        if !others.is_empty() && others.len() == elements.len() {
            let message = format!("looks for {} in a list of others", wanted.type_name());
            return self.fault(offset, message);
        }
        for other in &others {
            let message = format!("compares {} with {}", wanted.type_name(), other.type_name());
            self.fault::<()>(other.offset, message);
        }
        (others.is_empty() && !wanted.is_object() && wanted.value_type != Type::Null).then_some(())
    }

    /// Translates `event.tags.exists(tag, …)`, except one inside another.
    fn any_tag(&mut self, of: &'p ComprehensionExpr) -> Option<Translated> {
        let range = self.part(&of.iter_range)?;
        if range.value_type != Type::Tags {
            let message = format!("{} is no list to go through", range.type_name());
            return self.fault(range.offset, message);
        }
        if self.tag.is_some() || of.iter_var == "event" {
            return None;
        }
        let condition = tree::exists(of)?;
        self.tag = Some(&of.iter_var);
        let condition = self.condition(condition);
        self.tag = None;
        Some((Type::Bool, Operation::AnyTag, vec![condition?]))
    }
}

/// Returns true for what CEL evaluates and predicates do not.
fn is_left_to_cel(name: &str, types: &[Type]) -> bool {
    match name {
        operators::CONDITIONAL => types.first() == Some(&Type::Bool),
        operators::INDEX => types.first() == Some(&Type::Tags),
        operators::ADD => matches!(types, [Type::Text, Type::Text] | [Type::Tags, Type::Tags]),
        "size" => types == [Type::Text],
        operators::OPT_INDEX
        | operators::OPT_SELECT
        | "double"
        | "int"
        | "uint"
        | "string"
        | "bool"
        | "bytes"
        | "type"
        | "dyn" => true,
        _ => false,
    }
}

fn literal_part(literal: &LiteralValue) -> Option<Translated> {
    let (value_type, operation) = match literal {
        LiteralValue::Boolean(value) => (Type::Bool, Operation::Bool(*value.inner())),
        LiteralValue::Double(value) => (Type::Double, Operation::Double(*value.inner())),
        LiteralValue::Int(value) => (Type::Int, Operation::Int(*value.inner())),
        LiteralValue::String(text) => (Type::Text, Operation::Text(text.inner().into())),
        LiteralValue::Null => (Type::Null, Operation::Null),
        LiteralValue::UInt(_) | LiteralValue::Bytes(_) => return None,
    };
    Some((value_type, operation, Vec::new()))
}

/// Returns the value of a text literal.
fn text(part: &Predicate) -> Option<&str> {
    match &part.operation {
        Operation::Text(text) => Some(text),
        _ => None,
    }
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    Some(match operator {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        _ => return None,
    })
}

fn text_match(name: &str) -> Option<fn(&str, &str) -> bool> {
    match name {
        "startsWith" => Some(|text, part| text.starts_with(part)),
        "endsWith" => Some(|text, part| text.ends_with(part)),
        "contains" => Some(|text, part| text.contains(part)),
        _ => None,
    }
}
