//! Cluster settings from the environment.

use std::fmt;

use tributary_aws::env::Env;

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
        if !["keyspaces", "cassandra", ""].contains(&kind.as_str()) {
            env.fault(format!("WINDOW_STORE is {kind:?} and should be keyspaces or cassandra"));
        }
        let mut text = |name: &str, is_needed: bool| {
            let text: String = env.parsed(name, |text| Ok(text.trim().to_owned()));
            if is_needed && text.is_empty() {
                env.fault(format!("{name} is missing"));
            }
            text
        };
        let is_cassandra = kind == "cassandra";
        let keyspace = text("CASSANDRA_KEYSPACE", is_cassandra || kind == "keyspaces");
        let nodes = text("CASSANDRA_NODES", is_cassandra);
        let user = text("CASSANDRA_USER", is_cassandra);
        let password = text("CASSANDRA_PASSWORD", is_cassandra);
        let datacenter = text("CASSANDRA_DATACENTER", false);
        if !is_cassandra {
            return Self::Keyspaces { keyspace };
        }
        let nodes = nodes.split(',').map(|node| node.trim().to_owned()).collect();
        let datacenter = Some(datacenter).filter(|name| !name.is_empty());
        Self::Cassandra { keyspace, nodes, datacenter, user, password }
    }

    /// Name of the keyspace.
    pub(crate) fn keyspace(&self) -> &str {
        match self {
            Self::Keyspaces { keyspace } | Self::Cassandra { keyspace, .. } => keyspace,
        }
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
