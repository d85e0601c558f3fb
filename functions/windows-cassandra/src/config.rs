//! Environment of `windows-cassandra`.

use fn_windows::config::Settings;
use tributary_aws::env::{Env, EnvError};
use tributary_cassandra::ClusterConfig;

/// Environment of the function with its windows in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Settings that do not depend on the store.
    pub settings: Settings,
    /// The cluster.
    pub cluster: ClusterConfig,
}

impl Config {
    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    ///
    /// Names every variable that is missing or wrong.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, EnvError> {
        Env::read(lookup, |env| Self {
            settings: Settings::from_env(env),
            cluster: ClusterConfig::from_env(env),
        })
    }
}
