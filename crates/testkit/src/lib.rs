//! In-memory AWS: implementations of the traits of `tributary-aws` for tests and development.
//!
//! There are two kinds. For tests of one behaviour, [`MemorySink`] stores entries and answers
//! according to a [`Script`], [`MemoryObjects`] and [`MemoryQueue`] replace S3 and SQS, and
//! [`aggregated`] packs a batch into KPL aggregates. For whole-system tests, [`service`] models the
//! services and [`mapping`] the event source mappings that run functions ([`lambda`]), on a virtual
//! clock ([`clock`]), from one seed, and with any rate of any [`Fault`]. A simulation uses no
//! sockets and no threads: it is deterministic, and hours of it take milliseconds.
//!
//! Deployed functions never depend on this crate.

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
