//! Event-time windows: aggregates of the readings of a group, minute by minute.
//!
//! A [`Spec`] assigns events to windows and lists the measures to aggregate. A [`Window`] holds the
//! aggregate so far. A [`clock::Clock`] tracks the watermark, which closes windows. The terms are
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
