//! Event-time windows: what the readings of a group come to, minute by minute.
//!
//! A [`Spec`] says which windows an event is in and what is aggregated; a [`Window`] holds what came so
//! far; a [`clock::Clock`] says how far time has come, and with it which windows close. The words are
//! those of Akidau et al., "The Dataflow Model" (2015),
//! <https://research.google/pubs/the-dataflow-model-a-practical-approach-to-balancing-correctness-latency-and-cost-in-massive-scale-unbounded-out-of-order-data-processing/>.

pub mod aggregate;
pub mod clock;
pub mod fields;
pub mod seen;
pub mod spec;
mod state;

pub use spec::{Span, Spec, TimeBasis, WindowSpec, compile};
pub use state::{Phase, Window};
