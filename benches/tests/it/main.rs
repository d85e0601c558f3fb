//! Integration tests of the benchmarks.

mod anomaly;
