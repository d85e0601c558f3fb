//! Turns raw records into events with [ranges and filters](transform), aggregates events into
//! [metrics](metric), and knows which [senders](sender) may post what.
//!
//! Out of scope: parsing the rows of a dataset (crate `tributary-datasets`), and publishing
//! metrics.

pub mod metric;
pub mod sender;
pub mod transform;
