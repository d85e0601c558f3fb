//! Checks that a function's environment in the template is the one its `config.rs` reads.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::template::{Function, Template};

/// Lookup of an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reader of a function's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Binary of the function.
    pub binary: &'static str,
    /// Reads the configuration and drops it; the error is the one that the function would fail with
    /// at start.
    pub read: fn(Lookup<'_>) -> Result<(), String>,
    /// Parameters that differ from their defaults, for each stack in which the function must start.
    pub stacks: &'static [&'static [(&'static str, &'static str)]],
}

const DEFAULTS: &[&[(&str, &str)]] = &[&[]];

/// Stacks that store windows in a Cassandra cluster.
const CLUSTERS: &[&[(&str, &str)]] = &[
    &[("WindowStore", "keyspaces")],
    &[("WindowStore", "cassandra"), ("CassandraNodes", "10.0.0.7:9042")],
];

/// Configuration of every function.
pub const READERS: &[Reader] = &[
    Reader {
        binary: "ingest-s3",
        read: |from| done(fn_ingest_s3::config::Config::from_lookup(from)),
        stacks: DEFAULTS,
    },
    Reader {
        binary: "ingest-http",
        read: |from| done(fn_ingest_http::config::Config::from_lookup(from)),
        stacks: DEFAULTS,
    },
    Reader {
        binary: "ingest-kafka",
        read: |from| done(fn_ingest_kafka::config::Config::from_lookup(from)),
        stacks: DEFAULTS,
    },
    Reader {
        binary: "transform",
        read: |from| done(fn_transform::config::Config::from_lookup(from)),
        stacks: DEFAULTS,
    },
    Reader {
        binary: "metrics",
        read: |from| done(fn_metrics::config::Config::from_lookup(from)),
        stacks: DEFAULTS,
    },
    Reader {
        binary: "alerts",
        read: |from| done(fn_alerts::config::Config::from_lookup(from)),
        stacks: DEFAULTS,
    },
    Reader {
        binary: "windows",
        read: |from| done(fn_windows::config::Config::from_lookup(from)),
        stacks: DEFAULTS,
    },
    Reader {
        binary: "windows-cassandra",
        read: |from| done(fn_windows_cassandra::config::Config::from_lookup(from)),
        stacks: CLUSTERS,
    },
];

fn done<T, E: ToString>(read: Result<T, E>) -> Result<(), String> {
    read.map(drop).map_err(|error| error.to_string())
}

impl Reader {
    /// Returns the names of the variables that the configuration looks up, with all of them set and
    /// with none.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<String> {
        let asked = RefCell::new(BTreeSet::new());
        for answer in [None, Some("1")] {
            // The result does not matter here.
            let _ = (self.read)(&|name| {
                asked.borrow_mut().insert(name.to_owned());
                answer.map(str::to_owned)
            });
        }
        asked.into_inner()
    }
}

/// Checks that the variables of each function in the template are exactly those its configuration
/// reads.
#[must_use]
pub fn is_what_the_code_reads(template: &Template, readers: &[Reader]) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        let Some(reader) = readers.iter().find(|it| it.binary == function.binary) else {
            faults.push(format!("{}: no reader here knows its configuration", function.id));
            continue;
        };
        let (given, read) = (values(template, &function, &BTreeMap::new()), reader.variables());
        for name in read.iter().filter(|name| !given.contains_key(*name)) {
            faults.push(format!("{}: lacks the variable {name}", function.id));
        }
        for name in given.keys().filter(|name| !read.contains(*name)) {
            faults.push(format!("{}: its code does not read the variable {name}", function.id));
        }
    }
    faults
}

/// Checks that each function exists in the stacks of its reader, and starts with the variables the
/// template sets there.
#[must_use]
pub fn starts_each_function(template: &Template, readers: &[Reader]) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        let readers = readers.iter().filter(|it| it.binary == function.binary);
        for (reader, stack) in readers.flat_map(|it| it.stacks.iter().map(move |stack| (it, stack)))
        {
            let parameters: BTreeMap<_, _> =
                stack.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            if !template.has(&function.resource, &parameters) {
                faults.push(format!("{}: is not in a stack with {stack:?}", function.id));
            }
            let given = values(template, &function, &parameters);
            if let Err(error) = (reader.read)(&|name| given.get(name).cloned()) {
                faults
                    .push(format!("{}: does not start with its environment: {error}", function.id));
            }
        }
    }
    faults
}

fn values(
    template: &Template,
    function: &Function,
    parameters: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let variables = function.properties["Environment"]["Variables"].as_object();
    variables
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), template.sample_with(value, parameters)))
        .collect()
}
