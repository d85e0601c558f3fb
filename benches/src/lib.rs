//! How well Tributary does: what `make bench-*` prints, and what tests hold.

pub mod anomaly;
