//! AWS in memory: the traits of `tributary-aws`, for tests and development.
//!
//! Two kinds of stand-in. For a test of one behaviour: a [`MemorySink`] keeps what it is given and
//! answers as a [`Script`] says; [`MemoryObjects`] and [`MemoryQueue`] stand for S3 and SQS, and
//! [`aggregated`] makes a batch one of KPL aggregates. For the whole: a model of the services
//! ([`service`]) and of the event source mappings ([`mapping`]) that run functions ([`lambda`]), on
//! a virtual clock ([`clock`]) and from one seed, with any rate of any [`Fault`]. No sockets, no
//! threads: a simulation is deterministic, hours of it take milliseconds.
//!
//! A deployed function never depends on this crate.

mod batch;
pub mod clock;
mod fault;
mod injector;
pub mod lambda;
pub mod mapping;
mod objects;
mod queue;
pub mod service;
mod sink;

pub use batch::aggregated;
pub use fault::{Fault, Faults};
pub use injector::FaultInjector;
pub use objects::MemoryObjects;
pub use queue::MemoryQueue;
pub use sink::{Answer, MemorySink, Script};
