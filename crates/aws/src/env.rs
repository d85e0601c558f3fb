//! The one trip through the environment.

use std::fmt;

use thiserror::Error;

/// What the environment lacks or has wrong: every fault at once, so that one deployment mends all.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("environment: {}", .0.join("; "))]
pub struct EnvError(Vec<String>);

/// As it is displayed: this is what Rust prints when `main` fails with it.
impl fmt::Debug for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads variables through a look-up that tests can pass, and collects what is wrong with them.
pub struct Env<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<String>,
}

impl<'a> Env<'a> {
    /// A reader over `look_up`, which is `|name| std::env::var(name).ok()` in a function.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    /// The value of a variable that must be there; an empty one counts as missing.
    pub fn text(&mut self, name: &str) -> String {
        let value = (self.lookup)(name).filter(|value| !value.trim().is_empty());
        value.unwrap_or_else(|| {
            self.faults.push(format!("{name} is missing"));
            String::new()
        })
    }

    /// A whole number above 0 that must be there.
    pub fn number(&mut self, name: &str) -> usize {
        let text = self.text(name);
        match text.parse() {
            Ok(number) if number > 0 => number,
            _ if text.is_empty() => 0,
            _ => {
                self.faults
                    .push(format!("{name} is {text:?} and should be a whole number above 0"));
                0
            }
        }
    }

    /// `true` or `false`, which must be there.
    pub fn flag(&mut self, name: &str) -> bool {
        let text = self.text(name);
        match text.as_str() {
            "true" => true,
            "false" | "" => false,
            _ => {
                self.faults.push(format!("{name} is {text:?} and should be true or false"));
                false
            }
        }
    }

    /// What `parse` makes of a variable; one that is not there is read like an empty one.
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

    /// Something else that is wrong.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// `config` if nothing was wrong.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn finish<T>(self, config: T) -> Result<T, EnvError> {
        if self.faults.is_empty() { Ok(config) } else { Err(EnvError(self.faults)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
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
