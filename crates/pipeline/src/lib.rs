//! Turns raw records into events with [ranges and filters](transform), and aggregates events into
//! [metrics](metric).
//!
//! Out of scope: parsing the rows of a dataset (crate `tributary-datasets`), and publishing
//! metrics.

pub mod metric;
pub mod transform;
