//! Operator commands for data that did not arrive: replay of [quarantined](quarantine) rows and
//! [reconciliation] of the batch counts of all functions.
//!
//! This crate does no I/O. The `tributary` command lists objects and puts records.

pub mod quarantine;
pub mod reconciliation;
