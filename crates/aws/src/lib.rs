//! Thin adapters over AWS, and the traits they implement.
//!
//! One trait per capability, with one real implementation here and one in memory in
//! `tributary-sim`. What is decided about data is decided in `tributary-core`; what is decided
//! here is how to deliver: [limits](put::Limits), [retries](producer), [deadlines](deadline).
//!
//! What must **not** go here: anything that knows a dataset or a rule, and any read of the
//! environment other than through [`env::Env`].

pub mod aggregating;
pub mod alert_state;
pub mod batch;
pub mod bucket;
pub mod claims;
pub mod clients;
pub mod cloudwatch;
pub mod deadline;
pub mod delivery;
pub mod env;
pub mod error;
pub mod events;
pub mod firehose;
pub mod kinesis;
pub mod log;
pub mod payload;
pub mod producer;
pub mod put;
pub mod quarantine;
pub mod retry;
pub mod s3;
pub mod sns;
pub mod sqs;
pub mod tail;
pub mod unpack;
pub mod windows;
