//! `windows` with its windows in Cassandra or Keyspaces: the environment of that binary.

pub mod config;
