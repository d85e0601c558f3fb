//! Benchmarks: the figures that `make bench-*` prints and that tests pin.

pub mod anomaly;
pub mod conditions;
