//! What the tests of the whole workspace share: checks that return what is wrong, one line each, and
//! the [simulation] of the whole.
//!
//! A check is a function over what it judges (a template, a listing, a text), so that a test can
//! also hand it something broken and see that it speaks up. What must **not** go here: anything a
//! deployed function or the command needs.

pub mod contract;
pub mod house;
pub mod simulation;
pub mod style;

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}
