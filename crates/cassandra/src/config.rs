//! Cluster settings from the environment.

use std::fmt;

use jiff::Timestamp;
use tributary_aws::clients::SdkConfig;
use tributary_aws::env::Env;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::windows::OPERATION;

use crate::connect::{Access, Cluster};
use crate::sigv4::Signer;
use crate::store::CassandraWindows;

/// Settings of the cluster that stores windows.
#[derive(Clone, PartialEq, Eq)]
pub enum ClusterConfig {
    /// Amazon Keyspaces, in the caller's region and with the caller's credentials.
    Keyspaces {
        /// Name of the keyspace.
        keyspace: String,
    },
    /// Apache Cassandra.
    Cassandra {
        /// Name of the keyspace.
        keyspace: String,
        /// Contact nodes, `host:port`.
        nodes: Vec<String>,
        /// Data centre whose quorum answers; `None` accepts an answer from any node.
        datacenter: Option<String>,
        /// Name of the role.
        user: String,
        /// Password of the role.
        password: String,
    },
}

/// Leaves the password out.
impl fmt::Debug for ClusterConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyspaces { keyspace } => write!(formatter, "keyspaces {keyspace}"),
            Self::Cassandra { keyspace, nodes, user, .. } => {
                write!(formatter, "cassandra {keyspace} as {user} at {nodes:?}")
            }
        }
    }
}

impl ClusterConfig {
    /// Reads `WINDOW_STORE` and the variables that it needs.
    ///
    /// The variables of the other store may be set, but empty: a deployment sets those of both.
    #[must_use]
    pub fn from_env(env: &mut Env<'_>) -> Self {
        let kind = env.text("WINDOW_STORE");
        let given =
            ["CASSANDRA_KEYSPACE", "CASSANDRA_NODES", "CASSANDRA_USER", "CASSANDRA_PASSWORD"]
                .map(|name| (name, env.parsed(name, |text| Ok(text.trim().to_owned()))));
        let datacenter = env.parsed("CASSANDRA_DATACENTER", |text| Ok(text.trim().to_owned()));
        let needed: &[&str] = match kind.as_str() {
            "keyspaces" => &["CASSANDRA_KEYSPACE"],
            "cassandra" => {
                &["CASSANDRA_KEYSPACE", "CASSANDRA_NODES", "CASSANDRA_USER", "CASSANDRA_PASSWORD"]
            }
            "" => &[],
            _ => {
                env.fault(format!("WINDOW_STORE is {kind:?} and should be keyspaces or cassandra"));
                &[]
            }
        };
        for (name, _) in
            given.iter().filter(|(name, value)| needed.contains(name) && value.is_empty())
        {
            env.fault(format!("{name} is missing"));
        }
        let [(_, keyspace), (_, nodes), (_, user), (_, password)] = given;
        if kind == "cassandra" {
            Self::Cassandra {
                keyspace,
                nodes: nodes.split(',').map(|node| node.trim().to_owned()).collect(),
                datacenter: Some(datacenter).filter(|name| !name.is_empty()),
                user,
                password,
            }
        } else {
            Self::Keyspaces { keyspace }
        }
    }

    /// Connects to the cluster.
    ///
    /// # Errors
    ///
    /// Returns a setup error if region or credentials are missing, or if the cluster rejects the
    /// role or lacks a table. Returns a retryable error if no node answers.
    pub async fn open(self, sdk: &SdkConfig) -> Result<CassandraWindows, CallError> {
        let cluster = match self {
            Self::Keyspaces { keyspace } => {
                let lacks = |what: &str| SetupError::request(OPERATION, &keyspace, &what);
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
        CassandraWindows::connect(&cluster, Timestamp::now).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<ClusterConfig, String> {
        let lookup = |name: &str| {
            let found = given.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut env = Env::new(&lookup);
        let read = ClusterConfig::from_env(&mut env);
        env.finish(read).map_err(|error| error.to_string())
    }

    #[test]
    fn each_store_needs_its_own_variables_only() {
        let keyspaces =
            [("WINDOW_STORE", "keyspaces"), ("CASSANDRA_KEYSPACE", "k"), ("CASSANDRA_NODES", "")];
        assert_eq!(read(&keyspaces), Ok(ClusterConfig::Keyspaces { keyspace: "k".to_owned() }));
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
        assert!(matches!(read, ClusterConfig::Cassandra { datacenter: None, .. }));
    }

    #[test]
    fn missing_variables_are_named_at_once() {
        assert_eq!(
            read(&[("WINDOW_STORE", "cassandra"), ("CASSANDRA_USER", "u")]).unwrap_err(),
            "environment: CASSANDRA_KEYSPACE is missing; CASSANDRA_NODES is missing; \
             CASSANDRA_PASSWORD is missing"
        );
        assert_eq!(
            read(&[("WINDOW_STORE", "dynamodb")]).unwrap_err(),
            "environment: WINDOW_STORE is \"dynamodb\" and should be keyspaces or cassandra"
        );
        assert_eq!(read(&[]).unwrap_err(), "environment: WINDOW_STORE is missing");
    }
}
