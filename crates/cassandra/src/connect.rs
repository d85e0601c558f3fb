//! Connection to a cluster.

use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, MetadataError,
    NewSessionError,
};
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::{Consistency, SerialConsistency};
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::windows::OPERATION;

use crate::sigv4::Signer;
use crate::tls;

/// Time limit for opening a connection and for answering a request. Shorter than
/// `tributary_aws::retry` allows for a call that makes several requests.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Port of Amazon Keyspaces:
/// <https://docs.aws.amazon.com/keyspaces/latest/devguide/programmatic.endpoints.html>.
const KEYSPACES_PORT: u16 = 9142;

/// Cluster and keyspace that hold the tables.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Name of the keyspace.
    pub keyspace: String,
    /// Access to the cluster.
    pub access: Access,
}

/// Access to a cluster.
#[derive(Clone)]
pub enum Access {
    /// Apache Cassandra with a password and without TLS, for a private network.
    Password {
        /// Some of the nodes, `host:port`; the driver discovers the others.
        nodes: Vec<String>,
        /// Data centre whose quorum answers; `None` accepts an answer from any node.
        datacenter: Option<String>,
        /// Name of the role.
        user: String,
        /// Password of the role.
        password: String,
    },
    /// Amazon Keyspaces with the credentials of the function.
    Keyspaces(Signer),
}

/// Leaves the password out.
impl std::fmt::Debug for Access {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { nodes, user, .. } => write!(formatter, "{user} at {nodes:?}"),
            Self::Keyspaces(signer) => write!(formatter, "keyspaces of {}", signer.region()),
        }
    }
}

impl Cluster {
    /// Connects to the cluster.
    ///
    /// # Errors
    ///
    /// Returns a setup error if the cluster rejects the role or a name cannot be resolved, and a
    /// retryable error if no node answers.
    pub(crate) async fn connect(&self) -> Result<Session, CallError> {
        let profile = ExecutionProfile::builder()
            // Keyspaces supports this level, and it reads the result of a lightweight transaction.
            .consistency(Consistency::LocalQuorum)
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .request_timeout(Some(REQUEST_TIMEOUT))
            // The caller knows the time left, and retries.
            .retry_policy(Arc::new(FallthroughRetryPolicy))
            .build();
        let builder = SessionBuilder::new()
            .default_execution_profile_handle(profile.into_handle())
            .connection_timeout(CONNECT_TIMEOUT)
            .pool_size(PoolSize::PerHost(std::num::NonZeroUsize::MIN));
        let builder = match &self.access {
            Access::Password { nodes, datacenter, user, password } => {
                let builder = builder
                    .known_nodes(nodes)
                    .user(user, password)
                    // The keyspace is enough to route a statement to the node that owns its rows.
                    .keyspaces_to_fetch([&self.keyspace]);
                match datacenter {
                    Some(name) => builder.prefer_datacenter(name.clone()),
                    None => builder,
                }
            }
            Access::Keyspaces(signer) => {
                let endpoint = format!("cassandra.{}.amazonaws.com", signer.region());
                let tls = tls::of_endpoint(&endpoint).map_err(|why| self.wrong("client", why))?;
                builder
                    .known_node(format!("{endpoint}:{KEYSPACES_PORT}"))
                    .authenticator_provider(Arc::new(signer.clone()))
                    .tls_context(Some(tls))
                    .prefer_datacenter(signer.region().to_owned())
                    // Keyspaces does not report which node owns which rows.
                    .fetch_schema_metadata(false)
            }
        };
        builder.build().await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &NewSessionError) -> CallError {
        match error {
            NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
                ConnectionPoolError::Broken { last_connection_error: last },
            )) if is_refused(last) => self.wrong("bad_credentials", error.to_string()),
            NewSessionError::MetadataError(_) => CallError::Retryable {
                operation: OPERATION,
                code: "dispatch".to_owned(),
                message: error.to_string(),
            },
            error => self.wrong("client", error.to_string()),
        }
    }

    fn wrong(&self, code: &str, message: String) -> CallError {
        let (resource, code) = (self.keyspace.clone(), code.to_owned());
        CallError::Setup(SetupError { operation: OPERATION, resource, code, message })
    }
}

/// Returns true if a node answered and rejected the login.
fn is_refused(error: &ConnectionError) -> bool {
    use ConnectionSetupRequestErrorKind as Kind;
    let ConnectionError::ConnectionSetupRequestError(error) = error else { return false };
    matches!(
        error.get_error(),
        Kind::DbError(DbError::AuthenticationError | DbError::Unauthorized, _)
            | Kind::MissingAuthentication
    )
}
