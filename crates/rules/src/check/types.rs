//! Type check of expressions: names and types of the fields they use.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, operators};

use super::names::{no_field, shown};
use super::tree::{self, Fault};
use super::{Code, Level};
use tributary_model::domain::{Comparison, Domain, Fields, NumberType, TextSet};

/// Supported functions besides operators and macros.
pub(super) const FUNCTIONS: [&str; 12] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "double",
    "int",
    "uint",
    "string",
    "bool",
    "bytes",
    "type",
    "dyn",
];

/// Type of a value.
#[derive(Clone, Debug, PartialEq)]
enum Type {
    Number(NumberType),
    Text,
    Bool,
    Null,
    List(Box<Type>),
    Tags,
    /// Object of the event at a path; "" for the event.
    Object(String),
    /// Unknown type, never rejected.
    Any,
}

impl Type {
    /// Returns the name of the type for messages.
    fn name(&self) -> String {
        match self {
            Self::Number(_) => "a number".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Bool => "a yes or no".to_owned(),
            Self::Null => "null".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Tags => "the tags".to_owned(),
            Self::Object(path) if path.is_empty() => "the event".to_owned(),
            Self::Object(path) => format!("the object {path}"),
            Self::Any => "anything".to_owned(),
        }
    }

    /// Returns true if values of the two types can be equal.
    fn is_comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) | (Self::Number(_), Self::Number(_)) => true,
            (Self::List(one), Self::List(other)) => one.is_comparable(other),
            (Self::List(of), Self::Tags) | (Self::Tags, Self::List(of)) => {
                of.is_comparable(&Self::Text)
            }
            (one, other) => one == other,
        }
    }
}

/// Returns the faults of the names and types of an expression over events with `fields`.
pub(super) fn faults(fields: &Fields, program: &cel::Program) -> Vec<Fault> {
    let mut types = Types { fields, program, bound: Vec::new(), faults: Vec::new() };
    types.expect(program.expression(), &Type::Bool);
    types.faults
}

struct Types<'c> {
    fields: &'c Fields,
    program: &'c cel::Program,
    /// Variables bound by macros, innermost last.
    bound: Vec<(String, Type)>,
    faults: Vec<Fault>,
}

impl Types<'_> {
    /// Reports a fault; its part can have any type.
    fn fault(&mut self, code: Code, offset: usize, message: String) -> Type {
        self.faults.push(Fault { level: Level::Error, code, offset, message });
        Type::Any
    }

    fn wrong(&mut self, node: &IdedExpr, message: String) -> Type {
        let offset = tree::start(self.program, node);
        self.fault(Code::WrongType, offset, message)
    }

    fn of(&mut self, node: &IdedExpr) -> Type {
        match &node.expr {
            Expr::Ident(name) => self.name(node, name),
            Expr::Literal(literal) => literal_type(literal),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => {
                let mut types: Vec<_> = list.elements.iter().map(|it| self.of(it)).collect();
                types.dedup();
                let of = if types.len() == 1 { types.remove(0) } else { Type::Any };
                Type::List(Box::new(of))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                for part in tree::parts(node) {
                    self.of(part);
                }
                Type::Any
            }
        }
    }

    fn name(&mut self, node: &IdedExpr, name: &str) -> Type {
        if let Some((_, found)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return found.clone();
        }
        if name == "event" {
            return Type::Object(String::new());
        }
        let offset = tree::start(self.program, node);
        self.fault(Code::UnknownField, offset, format!("names {name}, and only event is there"))
    }

    fn select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Type {
        let found = match self.of(&select.operand) {
            Type::Object(path) => {
                // The position of a selection is that of its dot.
                let offset = tree::own(self.program, node).map(|point| point + 1);
                let offset = offset.filter(|_| !select.test);
                let offset = offset.unwrap_or_else(|| tree::start(self.program, node));
                self.field(&path, &select.field, offset)
            }
            Type::Any => Type::Any,
            other => self.wrong(node, format!("{} has no fields", other.name())),
        };
        if select.test { Type::Bool } else { found }
    }

    /// Returns the type of a field of the object at `path`.
    fn field(&mut self, path: &str, name: &str, offset: usize) -> Type {
        let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match self.fields.domain(&full) {
            Some(Domain::Number(_, number)) => Type::Number(number),
            Some(Domain::Text(_)) => Type::Text,
            Some(Domain::Tags) => Type::Tags,
            Some(Domain::Object) => Type::Object(full),
            None => {
                let message = no_field(self.fields, path, name);
                self.fault(Code::UnknownField, offset, message)
            }
        }
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Type {
        let element = match self.of(&comprehension.iter_range) {
            Type::List(of) => *of,
            Type::Tags => Type::Text,
            Type::Any => Type::Any,
            other => {
                let message = format!("{} is no list to go through", other.name());
                self.wrong(&comprehension.iter_range, message)
            }
        };
        let start = match self.of(&comprehension.accu_init) {
            Type::List(_) => Type::List(Box::new(Type::Any)),
            other => other,
        };
        let outer = self.bound.len();
        self.bound.push((comprehension.iter_var.clone(), element));
        if let Some(second) = &comprehension.iter_var2 {
            self.bound.push((second.clone(), Type::Any));
        }
        self.bound.push((comprehension.accu_var.clone(), start));
        self.of(&comprehension.loop_cond);
        self.of(&comprehension.loop_step);
        let result = self.of(&comprehension.result);
        self.bound.truncate(outer);
        result
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Type {
        if let Some(comparison) = tree::comparison(call) {
            return self.compare(node, call, comparison);
        }
        match (call.func_name.as_str(), &call.target, &call.args[..]) {
            (
                operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT
                | operators::NOT_STRICTLY_FALSE,
                ..,
            ) => {
                for part in &call.args {
                    self.expect(part, &Type::Bool);
                }
                Type::Bool
            }
            (operators::CONDITIONAL, None, [condition, one, other]) => {
                self.expect(condition, &Type::Bool);
                let (one, other) = (self.of(one), self.of(other));
                if one == other { one } else { Type::Any }
            }
            (operators::IN, None, [element, container]) => self.is_in(node, element, container),
            (operators::INDEX, None, [container, index]) => self.index(container, index),
            (operators::NEGATE, None, [of]) => match self.of(of) {
                found @ (Type::Number(_) | Type::Any) => found,
                other => self.wrong(of, format!("{} has no negative", other.name())),
            },
            (
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO,
                None,
                [one, other],
            ) => self.arithmetic(node, &call.func_name, one, other),
            (name, target, args) => self.function(node, name, target.as_deref(), args),
        }
    }

    fn expect(&mut self, node: &IdedExpr, expected: &Type) {
        let found = self.of(node);
        if found != Type::Any && found != *expected {
            let message = format!("is {} and should be {}", found.name(), expected.name());
            self.wrong(node, message);
        }
    }

    fn compare(&mut self, node: &IdedExpr, call: &CallExpr, comparison: Comparison) -> Type {
        let types: Vec<_> = call.args.iter().map(|part| self.of(part)).collect();
        if types.contains(&Type::Tags) {
            let listed = call.args.iter().filter_map(|part| match &part.expr {
                Expr::List(list) => Some(&list.elements),
                _ => None,
            });
            for element in listed.flatten() {
                self.tag(element);
            }
        }
        let [one, other] = &types[..] else { return Type::Bool };
        let has_null = matches!((one, other), (Type::Null, _) | (_, Type::Null));
        let has_order =
            |of: &Type| matches!(of, Type::Number(_) | Type::Text | Type::Bool | Type::Any);
        if has_null {
            self.wrong(node, "no field is null: what is absent is left out, ask has(…)".to_owned());
        } else if !one.is_comparable(other) {
            self.wrong(node, format!("compares {} with {}", one.name(), other.name()));
        } else if !matches!(comparison, Comparison::Equal | Comparison::NotEqual)
            && !types.iter().all(has_order)
        {
            self.wrong(node, format!("{} has no order", one.name()));
        }
        Type::Bool
    }

    fn is_in(&mut self, node: &IdedExpr, element: &IdedExpr, container: &IdedExpr) -> Type {
        if let Expr::List(list) = &container.expr {
            let found = self.of(element);
            let types: Vec<_> = list.elements.iter().map(|it| self.of(it)).collect();
            let is_other = |of: &Type| !found.is_comparable(of);
            if !types.is_empty() && types.iter().all(is_other) {
                let message = format!("looks for {} in a list of others", found.name());
                self.wrong(node, message);
                return Type::Bool;
            }
            for (with, of) in list.elements.iter().zip(&types).filter(|(_, of)| is_other(of)) {
                self.wrong(with, format!("compares {} with {}", found.name(), of.name()));
            }
            return Type::Bool;
        }
        let (found, inside) = (self.of(element), self.of(container));
        let text = tree::text(element);
        match (&inside, text) {
            (Type::List(of), _) if !found.is_comparable(of) => {
                let message = format!("looks for {} in a list of others", found.name());
                self.wrong(node, message);
            }
            (Type::Tags | Type::Object(_), None) if !found.is_comparable(&Type::Text) => {
                self.wrong(node, format!("looks for {} among names", found.name()));
            }
            (Type::Tags, Some(_)) => self.tag(element),
            (Type::Object(path), Some(name)) => {
                let offset = tree::start(self.program, element);
                self.field(&path.clone(), name, offset);
            }
            (Type::List(_) | Type::Tags | Type::Object(_) | Type::Any, _) => {}
            (other, _) => {
                self.wrong(container, format!("{} holds nothing", other.name()));
            }
        }
        Type::Bool
    }

    /// Reports a text that is no known tag.
    fn tag(&mut self, node: &IdedExpr) {
        if let Some(tag) = tree::text(node).filter(|tag| !self.fields.tags.contains(*tag)) {
            let offset = tree::start(self.program, node);
            let names: Vec<_> = self.fields.tags.iter().map(String::as_str).collect();
            let known = shown(&names, tag);
            let message = format!("{} has no tag {tag:?}{known}", self.fields.owner());
            self.fault(Code::UnknownField, offset, message);
        }
    }

    /// Reports a value that is never a number.
    fn number_of(&mut self, node: &IdedExpr, found: &Type, function: &str) {
        if matches!(found, Type::List(_) | Type::Tags | Type::Object(_) | Type::Null) {
            self.wrong(node, format!("{} is no number", found.name()));
            return;
        }
        let texts = match (tree::text(node), tree::path(node)) {
            (Some(text), _) => TextSet::one_of([text]),
            (None, Some(path)) => match self.fields.domain(&path) {
                Some(Domain::Text(texts)) => texts,
                _ => return,
            },
            (None, None) => return,
        };
        let is_number = |text: &String| match function {
            "int" => text.parse::<i64>().is_ok(),
            "uint" => text.parse::<u64>().is_ok(),
            _ => text.parse::<f64>().is_ok(),
        };
        if let TextSet::OneOf(all) = &texts
            && !all.iter().any(is_number)
        {
            self.wrong(node, format!("is never a number: it is {texts}"));
        }
    }

    fn index(&mut self, container: &IdedExpr, index: &IdedExpr) -> Type {
        let (inside, by) = (self.of(container), self.of(index));
        match (inside, tree::text(index)) {
            (Type::Object(path), Some(name)) => {
                let offset = tree::start(self.program, index);
                self.field(&path, name, offset)
            }
            (Type::Object(_) | Type::Any, _) => Type::Any,
            (Type::List(of), _) if by != Type::Text => *of,
            (Type::Tags, _) if by != Type::Text => {
                let offset = tree::start(self.program, container);
                let message = "fails on an event with fewer tags: 'x' in event.tags does not";
                let (level, code) = (Level::Warning, Code::WrongType);
                self.faults.push(Fault { level, code, offset, message: message.to_owned() });
                Type::Text
            }
            (other, _) => self.wrong(container, format!("{} has no such index", other.name())),
        }
    }

    fn arithmetic(
        &mut self,
        node: &IdedExpr,
        operator: &str,
        one: &IdedExpr,
        other: &IdedExpr,
    ) -> Type {
        let (one, other) = (self.of(one), self.of(other));
        let is_sum = operator == operators::ADD;
        match (&one, &other) {
            (Type::Any, _) | (_, Type::Any) => Type::Any,
            (Type::Number(of), Type::Number(with)) if of != with => {
                let message = "calculates with a double and a whole number: write 1.0 for 1";
                self.wrong(node, message.to_owned())
            }
            (Type::Number(NumberType::Double), _) if operator == operators::MODULO => {
                self.wrong(node, "a double has no remainder".to_owned())
            }
            (Type::Number(_), Type::Number(_)) => one,
            (Type::Text, Type::Text) if is_sum => Type::Text,
            (Type::List(_) | Type::Tags, Type::List(_) | Type::Tags) if is_sum => {
                Type::List(Box::new(Type::Any))
            }
            _ => {
                let message = format!("calculates with {} and {}", one.name(), other.name());
                self.wrong(node, message)
            }
        }
    }

    fn function(
        &mut self,
        node: &IdedExpr,
        name: &str,
        target: Option<&IdedExpr>,
        args: &[IdedExpr],
    ) -> Type {
        let parts: Vec<_> = target.into_iter().chain(args).collect();
        let types: Vec<_> = parts.iter().map(|part| self.of(part)).collect();
        let is_text = |found: &Type| matches!(found, Type::Text | Type::Any);
        match (name, &types[..]) {
            ("startsWith" | "endsWith" | "contains", [_, _]) if target.is_some() => {
                if let Some(at) = types.iter().position(|found| !is_text(found)) {
                    let message = format!("{name} asks texts, and this is {}", types[at].name());
                    self.wrong(parts[at], message);
                }
                Type::Bool
            }
            ("size", [of]) => {
                if !matches!(of, Type::Text | Type::List(_) | Type::Tags | Type::Any) {
                    self.wrong(parts[0], format!("{} has no size", of.name()));
                }
                Type::Number(NumberType::Int)
            }
            ("double" | "int" | "uint", [found]) => {
                self.number_of(parts[0], found, name);
                Type::Number(match name {
                    "double" => NumberType::Double,
                    "int" => NumberType::Int,
                    _ => NumberType::Uint,
                })
            }
            ("string", [_]) => Type::Text,
            ("bool", [_]) => Type::Bool,
            ("bytes" | "type" | "dyn", [_]) => Type::Any,
            _ => {
                let known = FUNCTIONS.contains(&name);
                let what = if known { "is called with other arguments" } else { "is no function" };
                let offset = tree::start(self.program, node);
                self.fault(Code::UnknownFunction, offset, format!("{name} {what} there is"))
            }
        }
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Double(_) => Type::Number(NumberType::Double),
        LiteralValue::Int(_) => Type::Number(NumberType::Int),
        LiteralValue::UInt(_) => Type::Number(NumberType::Uint),
        LiteralValue::String(_) => Type::Text,
        LiteralValue::Null => Type::Null,
        LiteralValue::Bytes(_) => Type::Any,
    }
}
