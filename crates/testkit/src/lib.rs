//! In-memory AWS: implementations of the traits of `tributary-aws` for tests and development.
//!
//! There are two kinds. For tests of one behaviour, [`MemorySink`] stores entries and answers
//! by a script of [`Answer`]s, [`MemoryObjects`] and [`MemoryQueue`] replace S3 and SQS,
//! [`aggregated`] packs a batch into KPL aggregates, and [`FakeHttp`] replaces the network below the
//! SDK. For whole-system tests, [`service`] models the services and [`mapping`] the event source
//! mappings that run functions ([`lambda`]), on a virtual clock ([`clock`]), from one seed, and with
//! any rate of any [`Fault`]. A simulation uses no sockets and no threads: it is deterministic, and
//! hours of it take milliseconds.
//!
//! Deployed functions never depend on this crate.

mod batch;
pub mod clock;
mod fault;
mod http;
mod injector;
pub mod lambda;
pub mod mapping;
mod objects;
pub mod service;
mod sink;

pub use batch::aggregated;
pub use fault::{Fault, Faults};
pub use http::{FakeHttp, RecordedRequest};
pub use objects::MemoryObjects;
pub use sink::{Answer, MemoryQueue, MemorySink};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `state`, even after a panic of another test.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
