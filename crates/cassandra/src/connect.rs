//! Connection to a cluster.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
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
use tributary_aws::clients::SdkConfig;
use tributary_aws::error::CallError;

use crate::config::ClusterConfig;
use crate::sigv4::Signer;
use crate::{failure, tls};

/// Time limit for opening a connection and for answering a request. Shorter than
/// `tributary_aws::retry` allows for a call that makes several requests.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Port of Amazon Keyspaces:
/// <https://docs.aws.amazon.com/keyspaces/latest/devguide/programmatic.endpoints.html>.
const KEYSPACES_PORT: u16 = 9142;

impl ClusterConfig {
    /// Connects to the cluster.
    ///
    /// # Errors
    ///
    /// Returns a setup error if region or credentials are missing, the cluster rejects the role or
    /// a name cannot be resolved, and a retryable error if no node answers.
    pub(crate) async fn connect(&self, sdk: &SdkConfig) -> Result<Session, CallError> {
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
        let builder = match self {
            Self::Cassandra { keyspace, nodes, datacenter, user, password } => {
                let builder = builder
                    .known_nodes(nodes)
                    .user(user, password)
                    // The keyspace is enough to route a statement to the node that owns its rows.
                    .keyspaces_to_fetch([keyspace]);
                match datacenter {
                    Some(name) => builder.prefer_datacenter(name.clone()),
                    None => builder,
                }
            }
            Self::Keyspaces { .. } => {
                let region = sdk.region().ok_or_else(|| self.wrong(&"there is no region"))?;
                let credentials = sdk.credentials_provider();
                let credentials =
                    credentials.ok_or_else(|| self.wrong(&"there are no credentials"))?;
                let region = region.to_string();
                let endpoint = format!("cassandra.{region}.amazonaws.com");
                let tls = tls::of_endpoint(&endpoint).map_err(|why| self.wrong(&why))?;
                let clock = Timestamp::now;
                let signer = Signer { region: region.clone(), credentials, clock };
                builder
                    .known_node(format!("{endpoint}:{KEYSPACES_PORT}"))
                    .tls_context(Some(tls))
                    .prefer_datacenter(region)
                    .authenticator_provider(Arc::new(signer))
                    // Keyspaces does not report which node owns which rows.
                    .fetch_schema_metadata(false)
            }
        };
        builder.build().await.map_err(|error| match &error {
            NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
                ConnectionPoolError::Broken { last_connection_error: last },
            )) if is_refused(last) => {
                failure::of_request(self.keyspace(), "bad_credentials", error.to_string())
            }
            NewSessionError::MetadataError(_) => failure::retryable("dispatch", error.to_string()),
            error => self.wrong(error),
        })
    }

    fn wrong(&self, why: &impl ToString) -> CallError {
        failure::of_request(self.keyspace(), "client", why.to_string())
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
