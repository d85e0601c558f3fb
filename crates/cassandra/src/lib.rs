//! Store of windows in Apache Cassandra or Amazon Keyspaces: [`CassandraWindows`] implements the
//! same trait as the `DynamoDB` table.
//!
//! It is a crate of its own so that only users of this store link the driver and its TLS. Tables:
//! `config/cassandra.cql`, `config/keyspaces.cql`. `tributary-windows` defines windows, and
//! `tributary_aws::retry` retries calls; neither belongs here.

mod config;
mod connect;
mod failure;
mod sigv4;
mod statements;
mod store;
mod tls;
mod value;

pub use config::ClusterConfig;
pub use store::CassandraWindows;
