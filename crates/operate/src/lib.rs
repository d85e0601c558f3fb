//! What an operator does with data that did not arrive: replay of [quarantined](quarantine) rows,
//! [parked](parked) batches, and the [reconciliation](balance) of batch counts over functions.
//!
//! What must **not** go here: how objects are listed and records put; the `tributary` command does.

pub mod parked;
pub mod quarantine;
pub mod reconciliation;
