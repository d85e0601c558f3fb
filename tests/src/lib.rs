//! Checks shared by the tests of the workspace, and the [simulation] of the whole system.
//!
//! A check is a function of its subject (a template, a listing, a text) that returns the faults it
//! finds, one line each. A test can therefore also give it a broken subject and expect the fault.
//! Code that a deployed function or the command needs does **not** belong here.

pub mod contract;
pub mod house;
pub mod oracle;
pub mod simulation;
pub mod style;

use std::path::{Path, PathBuf};

/// Returns the root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}
