//! Reading the environment of a function, and the settings that several functions share.

use std::fmt;

use thiserror::Error;

use crate::clients::{self, SdkConfig};
use crate::kinesis::Stream;
use crate::producer::{Order, Producer};

/// Every variable that is missing or wrong, so that one deployment repairs all of them.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("environment: {}", .0.join("; "))]
pub struct EnvError(Vec<String>);

/// Prints the error as it is displayed: this is what Rust prints when `main` fails with it.
impl fmt::Debug for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads variables through a lookup that tests can pass, and collects their faults.
pub struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<String>,
}

impl<'a> Env<'a> {
    /// Returns a reader over `lookup`, which is `|name| std::env::var(name).ok()` in a function.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    /// Reads a configuration through `lookup`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn read<T>(
        lookup: &'a dyn Fn(&str) -> Option<String>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> Result<T, EnvError> {
        let mut env = Self::new(lookup);
        let config = read(&mut env);
        env.finish(config)
    }

    /// Returns the value of a required variable; an empty one counts as missing.
    pub fn text(&mut self, name: &str) -> String {
        let value = (self.lookup)(name).filter(|value| !value.trim().is_empty());
        value.unwrap_or_else(|| {
            self.faults.push(format!("{name} is missing"));
            String::new()
        })
    }

    /// Returns the whole number above 0 of a required variable.
    pub fn number(&mut self, name: &str) -> usize {
        let parse = |text: &str| text.parse().ok().filter(|number| *number > 0);
        self.required(name, "a whole number above 0", parse)
    }

    /// Returns the `true` or `false` of a required variable.
    pub fn flag(&mut self, name: &str) -> bool {
        self.required(name, "true or false", |text| text.parse().ok())
    }

    fn required<T: Default>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let text = self.text(name);
        let value = parse(&text);
        if value.is_none() && !text.is_empty() {
            self.faults.push(format!("{name} is {text:?} and should be {expected}"));
        }
        value.unwrap_or_default()
    }

    /// Returns the result of `parse` on a variable; a missing one is parsed as an empty text.
    pub fn parsed<T: Default>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let text = (self.lookup)(name).unwrap_or_default();
        parse(&text).unwrap_or_else(|fault| {
            self.faults.push(format!("{name}: {fault}"));
            T::default()
        })
    }

    /// Returns the name of the delivery stream for bad rows.
    pub fn quarantine_delivery_stream(&mut self) -> String {
        self.text("QUARANTINE_DELIVERY_STREAM")
    }

    /// Returns the CloudWatch namespace of the batch counts.
    pub fn metrics_namespace(&mut self) -> String {
        self.text("METRICS_NAMESPACE")
    }

    /// Records another fault.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// Returns `config` if no fault was recorded.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn finish<T>(self, config: T) -> Result<T, EnvError> {
        if self.faults.is_empty() { Ok(config) } else { Err(EnvError(self.faults)) }
    }
}

/// Settings of a stream that a function writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// Name of the stream.
    pub name: String,
    /// Largest record in bytes, with its partition key.
    pub max_record_bytes: usize,
    /// Order of records of one key when some of a call fail.
    pub order: Order,
}

impl StreamConfig {
    /// Reads the name from the variable `name`, and the limit of records.
    pub fn from_env(env: &mut Env<'_>, name: &str) -> Self {
        let (name, max_record_bytes) = (env.text(name), env.number("MAX_RECORD_BYTES"));
        Self { name, max_record_bytes, order: Order::default() }
    }

    /// Reads the order of records, too.
    #[must_use]
    pub fn ordered(self, env: &mut Env<'_>) -> Self {
        Self { order: env.parsed("RECORD_ORDER", Order::parse), ..self }
    }

    /// Returns the stream.
    #[must_use]
    pub fn stream(&self, sdk: &SdkConfig) -> Stream {
        Stream::new(clients::kinesis(sdk), self.name.clone(), self.max_record_bytes)
    }

    /// Returns a producer for the stream.
    #[must_use]
    pub fn producer(&self, sdk: &SdkConfig) -> Producer<Stream> {
        Producer::new(self.stream(sdk)).with_order(self.order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_environment_faults_are_reported_together() {
        let lookup = |name: &str| match name {
            "STREAM" => Some("raw".to_owned()),
            "EMPTY" => Some(" ".to_owned()),
            "BYTES" => Some("many".to_owned()),
            "ON" => Some("true".to_owned()),
            "OFF" => Some("yes".to_owned()),
            _ => None,
        };
        let mut env = Env::new(&lookup);

        let read = (env.text("STREAM"), env.text("EMPTY"), env.number("BYTES"), env.text("QUEUE"));
        assert!(env.flag("ON"));
        let read = (read, env.flag("OFF"), env.flag("FLAG"));
        let length = |text: &str| if text == "raw" { Err("is raw".into()) } else { Ok(text.len()) };
        let read = (read, env.parsed("STREAM", length), env.parsed("ABSENT", length));

        assert_eq!(
            env.finish(read).unwrap_err().to_string(),
            "environment: EMPTY is missing; BYTES is \"many\" and should be a whole number above 0; \
             QUEUE is missing; OFF is \"yes\" and should be true or false; FLAG is missing; \
             STREAM: is raw"
        );
    }
}
