//! Adapters over AWS, and the traits they implement.
//!
//! Each capability is one trait with one real implementation here and one in memory in
//! `tributary-testkit`. The pure crates make decisions about data; this crate decides how to deliver:
//! [limits](put::Limits), [retries](producer), [deadlines](deadline).
//!
//! This crate must **not** know a dataset or a rule, and must read the environment only through
//! [`env::Env`].

pub mod aggregating;
pub mod alert_state;
pub mod batch;
pub mod bucket;
pub mod cardinality;
pub mod claims;
pub mod clients;
pub mod cloudwatch;
pub mod deadline;
pub mod delivery;
mod dynamodb;
pub mod env;
pub mod error;
pub mod firehose;
pub mod kinesis;
pub mod lambda;
pub mod log;
pub mod parked;
pub mod payload;
pub mod producer;
pub mod put;
pub mod quarantine;
pub mod retry;
pub mod s3;
pub mod sns;
pub mod sqs;
pub mod tail;
pub mod takeover;
pub mod unpack;
pub mod windows;
