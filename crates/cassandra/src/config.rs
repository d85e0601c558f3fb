//! Which store of windows, as a deployment says.

use std::fmt;

use jiff::Timestamp;
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::env::Env;
use tributary_aws::error::{CallError, SetUpError};
use tributary_aws::windows::{OPERATION, WindowTable};

use crate::chosen::ChosenStore;
use crate::connect::{Access, Cluster};
use crate::sigv4::Signer;
use crate::store::CassandraWindows;

/// A store of windows, and the way to it.
#[derive(Clone, PartialEq, Eq)]
pub enum Store {
    /// A table of `DynamoDB`.
    DynamoDb {
        /// Its name.
        table: String,
    },
    /// Amazon Keyspaces, in the region and with the credentials of who asks.
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
impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DynamoDb { table } => write!(formatter, "dynamodb {table}"),
            Self::Keyspaces { keyspace } => write!(formatter, "keyspaces {keyspace}"),
            Self::Cassandra { keyspace, nodes, user, .. } => {
                write!(formatter, "cassandra {keyspace} as {user} at {nodes:?}")
            }
        }
    }
}

impl Store {
    /// Reads `WINDOW_STORE` and what it needs. All stores have their variables in every deployment,
    /// empty where another one is asked for.
    #[must_use]
    pub fn from_env(env: &mut Env<'_>) -> Self {
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
        for (name, _) in
            given.iter().filter(|(name, value)| needed.contains(name) && value.is_empty())
        {
            env.fault(format!("{name} is missing"));
        }
        let [(_, table), (_, keyspace), (_, nodes), (_, user), (_, password)] = given;
        match kind.as_str() {
            "keyspaces" => Self::Keyspaces { keyspace },
            "cassandra" => Self::Cassandra {
                keyspace,
                nodes: nodes.split(',').map(|node| node.trim().to_owned()).collect(),
                datacenter: Some(datacenter).filter(|name| !name.is_empty()),
                user,
                password,
            },
            _ => Self::DynamoDb { table },
        }
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// Broken set-up where there is no region or nobody to ask as, where a cluster lets nobody in or lacks a
    /// table; broken plumbing where no node answers.
    pub async fn open(self, sdk: &SdkConfig) -> Result<ChosenStore, CallError> {
        let cluster = match self {
            Self::DynamoDb { table } => {
                return Ok(ChosenStore::Table(WindowTable::new(clients::dynamodb(sdk), table)));
            }
            Self::Keyspaces { keyspace } => {
                let lacks = |what: &str| SetUpError::request(OPERATION, &keyspace, &what);
                let region = sdk.region().ok_or_else(|| lacks("there is no region"))?;
                let credentials = sdk.credentials_provider();
                let credentials = credentials.ok_or_else(|| lacks("there are no credentials"))?;
                let signer = Signer::new(region.to_string(), credentials, Timestamp::now);
                Cluster { keyspace, access: Access::Keyspaces(signer) }
            }
            Self::Cassandra { keyspace, nodes, datacenter, user, password } => {
                Cluster { keyspace, access: Access::Password { nodes, datacenter, user, password } }
            }
        };
        Ok(ChosenStore::Cluster(CassandraWindows::connect(&cluster, Timestamp::now).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(store: &[(&str, &str)]) -> Result<Store, String> {
        let look_up = |name: &str| {
            let given = store.iter().find(|(given, _)| *given == name);
            given.map(|(_, value)| (*value).to_owned())
        };
        let mut env = Env::new(&look_up);
        let read = Store::from_env(&mut env);
        env.finish(read).map_err(|error| error.to_string())
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
