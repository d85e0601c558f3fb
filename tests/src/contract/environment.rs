//! The environment a function gets is the one its `config.rs` reads.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::template::{Function, Template};

/// Where a configuration asks for a variable.
pub type LookUp<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A function's configuration as something that can be read.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// The binary of the function.
    pub binary: &'static str,
    /// Reads the configuration and drops it; the error is what the function would say at start.
    pub read: fn(LookUp<'_>) -> Result<(), String>,
}

/// The configuration of every function.
pub const READERS: &[Reader] = &[
    Reader {
        binary: "ingest-s3",
        read: |from| done(ingest_s3::config::Config::from_look_up(from)),
    },
    Reader {
        binary: "ingest-http",
        read: |from| done(ingest_http::config::Config::from_look_up(from)),
    },
    Reader {
        binary: "ingest-kafka",
        read: |from| done(ingest_kafka::config::Config::from_look_up(from)),
    },
    Reader {
        binary: "transform",
        read: |from| done(transform::config::Config::from_look_up(from)),
    },
    Reader { binary: "metrics", read: |from| done(metrics::config::Config::from_look_up(from)) },
    Reader { binary: "alerts", read: |from| done(alerts::config::Config::from_look_up(from)) },
    Reader { binary: "windows", read: |from| done(windows::config::Config::from_look_up(from)) },
];

fn done<T, E: ToString>(read: Result<T, E>) -> Result<(), String> {
    read.map(drop).map_err(|error| error.to_string())
}

impl Reader {
    /// The names it asks for, both where everything is there and where nothing is.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<String> {
        let asked = RefCell::new(BTreeSet::new());
        for answer in [None, Some("1")] {
            // Whether it could start with that is not the question here.
            let _ = (self.read)(&|name| {
                asked.borrow_mut().insert(name.to_owned());
                answer.map(str::to_owned)
            });
        }
        asked.into_inner()
    }
}

/// The variables of each function in the template are exactly those its configuration reads.
#[must_use]
pub fn is_what_the_code_reads(template: &Template, readers: &[Reader]) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        let Some(reader) = readers.iter().find(|it| it.binary == function.binary) else {
            faults.push(format!("{}: no reader here knows its configuration", function.id));
            continue;
        };
        let (given, read) = (values(template, &function), reader.variables());
        for name in read.iter().filter(|name| !given.contains_key(*name)) {
            faults.push(format!("{}: lacks the variable {name}", function.id));
        }
        for name in given.keys().filter(|name| !read.contains(*name)) {
            faults.push(format!("{}: its code does not read the variable {name}", function.id));
        }
    }
    faults
}

/// Each function starts with the values of the template, every parameter at its default.
#[must_use]
pub fn starts_each_function(template: &Template, readers: &[Reader]) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        let given = values(template, &function);
        for reader in readers.iter().filter(|it| it.binary == function.binary) {
            if let Err(error) = (reader.read)(&|name| given.get(name).cloned()) {
                faults
                    .push(format!("{}: does not start with its environment: {error}", function.id));
            }
        }
    }
    faults
}

fn values(template: &Template, function: &Function) -> BTreeMap<String, String> {
    let variables = function.properties["Environment"]["Variables"].as_object();
    variables
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), template.sample(value)))
        .collect()
}
