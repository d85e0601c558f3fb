//! A small poller that does on this machine what Lambda's event source mapping does for Kafka: it
//! consumes topics in a group, hands a function batches in the shape that Lambda sends, reads which
//! records were not delivered, and commits the rest. See the README beside this crate.
//!
//! Decisions are in [`batch`], [`answer`] and [`payload`], which know nothing of Kafka's client;
//! [`poller`] consumes and commits; [`invoke`] is the function, in this process or in a Lambda.

pub mod answer;
pub mod batch;
pub mod invoke;
pub mod payload;
pub mod poller;
