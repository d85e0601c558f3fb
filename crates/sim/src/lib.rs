//! AWS in memory: the traits of `tributary-aws`, for tests and development.
//!
//! A [`MemorySink`] keeps what it is given and answers as a [`Script`] says; [`MemoryObjects`] and
//! [`MemoryQueue`] stand for S3 and SQS. A deployed function never depends on this crate.

mod objects;
mod queue;
mod sink;

pub use objects::MemoryObjects;
pub use queue::MemoryQueue;
pub use sink::{Answer, MemorySink, Script};
