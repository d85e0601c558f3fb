//! CEL over an event: the `when` of a rule and the `drop_when` of a filter.
//!
//! The language: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>.

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, Program, Value};

use crate::config::ConfigError;
use crate::event::Event;

/// The standard functions, built once a process.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled expression over the variable `event`.
#[derive(Debug)]
pub(crate) struct Expression {
    program: Program,
}

/// An event as CEL sees it: converted once, asked by every expression.
pub(crate) struct Scope<'e> {
    context: Context<'e, 'e>,
}

impl Scope<'_> {
    /// The scope of one event.
    ///
    /// # Errors
    ///
    /// Never for an event: its fields are numbers, strings, lists and maps with string keys.
    pub(crate) fn of(event: &Event<'_>) -> Result<Self, String> {
        let value = cel::to_value(event).map_err(|error| error.to_string())?;
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.add_variable_from_value("event", value);
        Ok(Self { context })
    }
}

impl Expression {
    /// Compiles `text`, which belongs to `owner` (for the message).
    ///
    /// # Errors
    ///
    /// When it does not parse, with line and column, or names a variable other than `event`.
    pub(crate) fn compile(owner: &str, text: &str) -> Result<Self, ConfigError> {
        let program = ENV
            .compile(text)
            .map_err(|errors| ConfigError::new(owner, format!("does not parse: {errors}")))?;
        let strangers: Vec<_> = program
            .references()
            .variables()
            .into_iter()
            .filter(|name| *name != "event")
            .map(str::to_owned)
            .collect();
        if strangers.is_empty() {
            Ok(Self { program })
        } else {
            let message = format!("names {}, and only `event` is there", strangers.join(", "));
            Err(ConfigError::new(owner, message))
        }
    }

    /// Whether the expression holds. A field the event does not have makes it false, as an absent
    /// value fails every comparison.
    ///
    /// # Errors
    ///
    /// When the expression compares what cannot be compared, or is no boolean.
    pub(crate) fn holds(&self, scope: &Scope<'_>) -> Result<bool, String> {
        match self.program.execute(&scope.context) {
            Ok(Value::Bool(held)) => Ok(held),
            Ok(other) => Err(format!("is a {} and should be a bool", other.type_of())),
            Err(ExecutionError::NoSuchKey(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}
