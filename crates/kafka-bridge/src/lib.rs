//! Small poller that does locally what Lambda's event source mapping does for Kafka. It consumes
//! topics in a consumer group, invokes a function with batches in Lambda's format, reads from the
//! answer which records were not delivered, and commits the others. See the README beside this
//! crate.
//!
//! [`batch`], [`answer`] and [`payload`] decide, and do not know Kafka's client. [`poller`]
//! consumes and commits. [`invoke`] is the function, in this process or in Lambda.

pub mod answer;
pub mod batch;
pub mod invoke;
pub mod payload;
pub mod poller;
pub mod settings;
