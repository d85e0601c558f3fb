//! `ingest-kafka`: records of Kafka topics in, raw records out. See the README beside this crate.

pub mod config;
pub mod handler;
pub mod payload;
mod record;
