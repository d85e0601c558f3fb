//! AWS in memory: the traits of `tributary-aws`, for tests and development.
//!
//! A [`MemorySink`] keeps what it is given and answers as a [`Script`] says; [`MemoryObjects`] and
//! [`MemoryQueue`] stand for S3 and SQS, and [`aggregated`]
//! makes a batch one of KPL aggregates. A deployed function never depends on this crate.

mod batch;
mod objects;
mod queue;
mod sink;

pub use batch::aggregated;
pub use objects::MemoryObjects;
pub use queue::MemoryQueue;
pub use sink::{Answer, MemorySink, Script};
