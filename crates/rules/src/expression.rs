//! CEL expressions over an event: the `when` of a rule, the `drop_when` of a filter, and a
//! [`crate::filter`]. Also over a row: its repair in a quarantine replay.
//!
//! The language: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>.

mod fields;
mod json;
mod value;

use std::cell::OnceCell;
use std::sync::{Arc, LazyLock};

use cel::common::ast::Expr;
use cel::common::types::CelString;
use cel::{Context, Env, ExecutionError, Program, Value, extensions};

use tributary_model::config_error::ConfigError;
use tributary_model::event::Event;

use self::fields::Fields;
use crate::check::{Code, bounds, source};
use crate::predicate::{Failure, Predicate, translate};
use crate::tree;

/// Environment with the standard functions, built once per process.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Environment with string functions such as `replace`, `split` and `trim` for operators.
static TEXT_ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // The extension is added once, so no declaration can conflict.
    let _ = env.add_extension(extensions::strings);
    Arc::new(env)
});

/// Compiled expression over the variable `event`, or over `payload` and `row`.
///
/// A condition of comparisons between fields and literals is a predicate, evaluated on an event
/// directly. CEL evaluates every other expression, and every expression over JSON.
#[derive(Debug)]
pub struct Expression {
    program: Program,
    predicate: Option<Predicate>,
}

/// Variables for evaluating expressions, shared by all expressions over one event.
pub struct Scope<'e> {
    event: Option<&'e Event<'e>>,
    /// Variables for CEL, made when an expression that is no predicate needs them.
    context: OnceCell<Context<'e, 'e>>,
}

impl<'e> Scope<'e> {
    /// Creates the scope of one event.
    pub fn of(event: &'e Event<'e>) -> Self {
        Self { event: Some(event), context: OnceCell::new() }
    }

    /// Creates the scope of a JSON object, given as text, as `event`.
    pub fn of_json(object: &'e str) -> Self {
        Self { event: None, context: OnceCell::from(Self::with(Fields::Json(object))) }
    }

    /// Creates the scope of a row: its text as received, and the JSON object parsed from it, if it
    /// can be parsed.
    pub fn of_row(row: &'e str, payload: Option<&'e str>) -> Self {
        let mut context = Context::with_env(Arc::clone(&TEXT_ENV));
        context.add_variable_as_val("row", Box::new(CelString::from(row)));
        if let Some(payload) = payload {
            context.add_variable_as_val("payload", Box::new(Fields::Json(payload)));
        }
        Self { event: None, context: OnceCell::from(context) }
    }

    fn with(event: Fields<'e>) -> Context<'e, 'e> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.add_variable_as_val("event", Box::new(event));
        context
    }

    fn context(&self) -> &Context<'e, 'e> {
        self.context.get_or_init(|| match self.event {
            Some(event) => Self::with(Fields::Event(event, "")),
            None => Context::with_env(Arc::clone(&ENV)),
        })
    }
}

/// Reason to reject a text.
#[derive(Debug)]
pub(crate) struct Invalid {
    pub(crate) code: Code,
    pub(crate) offset: usize,
    pub(crate) message: String,
}

fn parse(env: &Env, text: &str) -> Result<Program, Invalid> {
    let too_large = |(offset, message)| Invalid { code: Code::TooLarge, offset, message };
    if let Some(deep) = bounds::of_text(text) {
        return Err(too_large(deep));
    }
    let program = env.compile(text).map_err(|errors| {
        let first = errors.errors.first();
        let (line, column) = first.map_or((1, 1), |first| first.pos);
        let lines = text.split_inclusive('\n');
        let before: usize =
            lines.take(usize::try_from(line - 1).unwrap_or_default()).map(str::len).sum();
        let offset = before + usize::try_from(column - 1).unwrap_or_default();
        // The rest of the message lists every operator.
        let message = first.and_then(|first| first.msg.lines().next()).unwrap_or_default();
        let message = message.split(" expecting {").next().unwrap_or_default();
        let message = format!("does not parse: {message}");
        Invalid { code: Code::Unparsable, offset: offset.min(text.len()), message }
    })?;
    match bounds::of_tree(&program) {
        Some(large) => Err(too_large(large)),
        None => Ok(program),
    }
}

impl Expression {
    /// Compiles `text`; error messages name its `owner`.
    ///
    /// # Errors
    ///
    /// Returns an error with line and column if `text` does not parse or is too large, or if it
    /// names a variable other than `event`.
    pub fn compile(owner: &str, text: &str) -> Result<Self, ConfigError> {
        let mut expression = Self::over(&ENV, &["event"], owner, text)?;
        (expression.predicate, _) = translate(&expression.program);
        Ok(expression)
    }

    /// Returns true if the expression is a predicate, and false if CEL evaluates it.
    #[must_use]
    pub fn is_predicate(&self) -> bool {
        self.predicate.is_some()
    }

    /// Leaves every evaluation to CEL, for comparisons between both ways.
    #[must_use]
    pub fn without_predicate(self) -> Self {
        Self { predicate: None, ..self }
    }

    /// Compiles `text` as [`compile`](Self::compile) does, over the variables `payload` and `row`.
    ///
    /// # Errors
    ///
    /// As for [`compile`](Self::compile).
    pub fn compile_for_row(owner: &str, text: &str) -> Result<Self, ConfigError> {
        Self::over(&TEXT_ENV, &["payload", "row"], owner, text)
    }

    /// Parses the `text` of an expression over `event`.
    pub(crate) fn parse(text: &str) -> Result<Program, Invalid> {
        parse(&ENV, text)
    }

    fn over(env: &Env, names: &[&str], owner: &str, text: &str) -> Result<Self, ConfigError> {
        let program = parse(env, text).map_err(|Invalid { offset, message, .. }| {
            let (line, column) = source::place(text, offset);
            ConfigError::new(owner, format!("{message}, at {line}:{column}"))
        })?;
        let mut unknown_variables = Vec::new();
        tree::visit(program.expression(), &mut Vec::new(), &mut |node, bound| match &node.expr {
            Expr::Ident(name)
                if !names.contains(&name.as_str())
                    && !bound.contains(&name.as_str())
                    && !unknown_variables.contains(&name.as_str()) =>
            {
                unknown_variables.push(name.as_str());
            }
            _ => {}
        });
        if unknown_variables.is_empty() {
            return Ok(Self { program, predicate: None });
        }
        let (unknown_variables, known) = (unknown_variables.join(", "), names.join("` and `"));
        let is = if names.len() == 1 { "is" } else { "are" };
        let message = format!("names {unknown_variables}, and only `{known}` {is} there");
        Err(ConfigError::new(owner, message))
    }

    /// Returns the value of the expression.
    ///
    /// # Errors
    ///
    /// Returns an error if a field is missing, the evaluation fails, or JSON cannot represent the
    /// value.
    pub fn value(&self, scope: &Scope<'_>) -> Result<serde_json::Value, String> {
        let value = self.program.execute(scope.context()).map_err(|error| error.to_string())?;
        value::json(&value)
    }

    /// Returns true if the expression holds. A missing field makes it false, as an absent value
    /// fails every comparison.
    ///
    /// # Errors
    ///
    /// Returns an error if values cannot be compared or the result is no boolean.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, String> {
        if let (Some(predicate), Some(event)) = (&self.predicate, scope.event) {
            match predicate.holds(event, "") {
                Ok(holds) => return Ok(holds),
                Err(Failure::Missing) => return Ok(false),
                // CEL reports the values of the mistake.
                Err(Failure::Mistake) => {}
            }
        }
        match self.program.execute(scope.context()) {
            Ok(Value::Bool(held)) => Ok(held),
            Ok(other) => Err(format!("is a {} and should be a bool", other.type_of())),
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"kind":"window","dataset":"accidents","event_id":"e1","entity":"OH/Lucas",
        "event_time":"2026-11-20T10:00:00Z","received_at":"2026-11-20T10:00:01.5Z",
        "location":{"lat":41.6,"lon":-83.5,"cell":"852ab2c3fffffff"},
        "measures":{"severity":4.0,"temperature_c":-3.5},"attributes":{"city":"Toledo"},
        "tags":["night","weather_snow"],
        "window":{"spec":"1h","start":"2026-11-20T09:00:00Z","end":"2026-11-20T10:00:00Z","revision":2}}"#;

    fn holds(text: &str) -> Result<bool, String> {
        let event = Event::from_json(EVENT.as_bytes()).unwrap();
        Expression::compile("test", text).unwrap().holds(&Scope::of(&event))
    }

    #[test]
    fn every_event_field_is_readable() {
        for text in [
            "event.kind == 'window' && event.dataset == 'accidents' && event.event_id == 'e1'",
            "event.entity.startsWith('OH/')",
            "event.event_time == '2026-11-20T10:00:00Z'",
            "event.received_at == '2026-11-20T10:00:01.500Z'",
            "event.location.lat > 41 && event.location.lon < 0.0 && event.location.cell != ''",
            "event.measures.severity >= 4 && event.measures['temperature_c'] == -3.5",
            "event.attributes.city in ['Toledo', 'Dayton']",
            "'night' in event.tags && event.tags.exists(tag, tag.startsWith('weather_'))",
            "size(event.tags) == 2",
            "event.window.spec == '1h' && event.window.revision == 2",
            "event.window.start < event.window.end",
            "has(event.measures.severity) && !has(event.measures.depth) && 'city' in event.attributes",
        ] {
            assert_eq!(holds(text), Ok(true), "{text}");
        }
    }

    #[test]
    fn missing_field_makes_expression_false() {
        for text in ["event.measures.depth_m > 1.0", "event.colour == 'red'", "!(event.x == 1)"] {
            assert_eq!(holds(text), Ok(false), "{text}");
        }
    }

    #[test]
    fn incomparable_values_are_an_error() {
        for text in ["event.entity > 3", "event.measures.severity + 1.0", "event.measures > 1"] {
            assert!(holds(text).is_err(), "{text}");
        }
    }
}
