//! What `windows` reads from its environment.

use tributary_aws::env::{Env, EnvError};

/// The environment of `windows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the stream of events: where readings come from and windows go to.
    pub events_stream: String,
    /// Name of the delivery stream for what is too late, and for records that are no events.
    pub quarantine_delivery_stream: String,
    /// Where windows are kept.
    pub store: Store,
    /// The most bytes of a record of the stream, with its partition key.
    pub max_record_bytes: usize,
    /// CloudWatch namespace of the books.
    pub metrics_namespace: String,
}

/// A store of windows, and the way to it.
#[derive(Clone, PartialEq, Eq)]
pub enum Store {
    /// A table of `DynamoDB`.
    DynamoDb {
        /// Its name.
        table: String,
    },
    /// Amazon Keyspaces, in the function's region and with its credentials.
    Keyspaces {
        /// The keyspace.
        keyspace: String,
    },
    /// Apache Cassandra.
    Cassandra {
        /// The keyspace.
        keyspace: String,
        /// Some of the nodes, `host:port`.
        nodes: Vec<String>,
        /// The data centre whose quorum answers; any where there is none.
        datacenter: Option<String>,
        /// The role.
        user: String,
        /// Its password.
        password: String,
    },
}

/// Without the password.
impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DynamoDb { table } => write!(formatter, "dynamodb {table}"),
            Self::Keyspaces { keyspace } => write!(formatter, "keyspaces {keyspace}"),
            Self::Cassandra { keyspace, nodes, user, .. } => {
                write!(formatter, "cassandra {keyspace} as {user} at {nodes:?}")
            }
        }
    }
}

impl Config {
    /// Reads it through `look_up`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_look_up(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        let mut env = Env::new(look_up);
        let config = Self {
            events_stream: env.text("EVENTS_STREAM"),
            quarantine_delivery_stream: env.text("QUARANTINE_DELIVERY_STREAM"),
            store: store(&mut env),
            max_record_bytes: env.number("MAX_RECORD_BYTES"),
            metrics_namespace: env.text("METRICS_NAMESPACE"),
        };
        env.finish(config)
    }
}

/// All stores have their variables in every deployment, empty where another one is asked for.
fn store(env: &mut Env<'_>) -> Store {
    let kind = env.text("WINDOW_STORE");
    let given = [
        "WINDOWS_TABLE",
        "CASSANDRA_KEYSPACE",
        "CASSANDRA_NODES",
        "CASSANDRA_USER",
        "CASSANDRA_PASSWORD",
    ]
    .map(|name| (name, env.parsed(name, |text| Ok(text.trim().to_owned()))));
    let datacenter = env.parsed("CASSANDRA_DATACENTER", |text| Ok(text.trim().to_owned()));
    let needed: &[&str] = match kind.as_str() {
        "dynamodb" => &["WINDOWS_TABLE"],
        "keyspaces" => &["CASSANDRA_KEYSPACE"],
        "cassandra" => {
            &["CASSANDRA_KEYSPACE", "CASSANDRA_NODES", "CASSANDRA_USER", "CASSANDRA_PASSWORD"]
        }
        "" => &[],
        _ => {
            env.fault(format!(
                "WINDOW_STORE is {kind:?} and should be dynamodb, keyspaces or cassandra"
            ));
            &[]
        }
    };
    for (name, _) in given.iter().filter(|(name, value)| needed.contains(name) && value.is_empty())
    {
        env.fault(format!("{name} is missing"));
    }
    let [(_, table), (_, keyspace), (_, nodes), (_, user), (_, password)] = given;
    match kind.as_str() {
        "keyspaces" => Store::Keyspaces { keyspace },
        "cassandra" => Store::Cassandra {
            keyspace,
            nodes: nodes.split(',').map(|node| node.trim().to_owned()).collect(),
            datacenter: Some(datacenter).filter(|name| !name.is_empty()),
            user,
            password,
        },
        _ => Store::DynamoDb { table },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(store: &[(&str, &str)]) -> Result<Store, String> {
        let look_up = |name: &str| {
            let given = store.iter().find(|(given, _)| *given == name);
            let others = [
                "EVENTS_STREAM",
                "QUARANTINE_DELIVERY_STREAM",
                "MAX_RECORD_BYTES",
                "METRICS_NAMESPACE",
            ];
            match given {
                Some((_, value)) => Some((*value).to_owned()),
                None => others.contains(&name).then(|| "1".to_owned()),
            }
        };
        Config::from_look_up(&look_up).map(|it| it.store).map_err(|error| error.to_string())
    }

    #[test]
    fn each_store_needs_its_own_variables_only() {
        let table = [("WINDOW_STORE", "dynamodb"), ("WINDOWS_TABLE", "w"), ("CASSANDRA_NODES", "")];
        assert_eq!(read(&table), Ok(Store::DynamoDb { table: "w".to_owned() }));
        let keyspaces = [("WINDOW_STORE", "keyspaces"), ("CASSANDRA_KEYSPACE", "k")];
        assert_eq!(read(&keyspaces), Ok(Store::Keyspaces { keyspace: "k".to_owned() }));
        let cassandra = [
            ("WINDOW_STORE", "cassandra"),
            ("CASSANDRA_KEYSPACE", "k"),
            ("CASSANDRA_NODES", "a:9042, b:9042"),
            ("CASSANDRA_USER", "u"),
            ("CASSANDRA_PASSWORD", "secret"),
            ("CASSANDRA_DATACENTER", " "),
        ];
        let read = read(&cassandra).unwrap();
        assert_eq!(format!("{read:?}"), "cassandra k as u at [\"a:9042\", \"b:9042\"]");
        assert!(matches!(read, Store::Cassandra { datacenter: None, .. }));
    }

    #[test]
    fn what_a_store_lacks_is_named_at_once() {
        assert_eq!(
            read(&[("WINDOW_STORE", "cassandra"), ("CASSANDRA_USER", "u")]).unwrap_err(),
            "environment: CASSANDRA_KEYSPACE is missing; CASSANDRA_NODES is missing; \
             CASSANDRA_PASSWORD is missing"
        );
        assert_eq!(
            read(&[("WINDOW_STORE", "redis")]).unwrap_err(),
            "environment: WINDOW_STORE is \"redis\" and should be dynamodb, keyspaces or cassandra"
        );
        assert_eq!(read(&[]).unwrap_err(), "environment: WINDOW_STORE is missing");
    }
}
