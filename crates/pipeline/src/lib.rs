//! From a raw record to an event: [ranges and filters](transform), and the [metrics](metric) that
//! events add up to.
//!
//! What must **not** go here: how a row of one dataset is read (crate `tributary-datasets`), and how
//! metrics are published.

pub mod metric;
pub mod transform;
