//! The store of windows in Apache Cassandra or Amazon Keyspaces: [`CassandraWindows`], behind the trait
//! that the table of `DynamoDB` is behind too.
//!
//! A crate of its own, so that a driver and its TLS come only into what asks for this store. Tables:
//! `config/cassandra.cql`, `config/keyspaces.cql`. What does not go here: what a window is
//! (`tributary-core`), and when a call is made again (`tributary_aws::insist`).

mod config;
mod connect;
mod failure;
mod sigv4;
mod statements;
mod store;
mod tls;
mod value;

pub use config::ClusterConfig;
pub use connect::{Access, Cluster};
pub use sigv4::{Signer, answer_of};
pub use store::CassandraWindows;
