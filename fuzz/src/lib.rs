//! Fuzz targets: properties of the output of Tributary for any input.
//!
//! A target is a function of arbitrary bytes. It turns them into one kind of input (an object, a
//! request, a batch), runs the code of the functions on it, and asserts the properties. No panic is
//! the least of them: each byte or record is accounted for, an answer is one of those documented, a
//! bad record affects no other, and equivalent ways (whole or in pieces, compressed or not, parsed
//! or written and parsed again) have one result.
//!
//! Two engines run the same targets. In `make test`, [`mutate`] generates inputs from the corpus,
//! the same ones every time, on any toolchain. `make fuzz` links libFuzzer, which observes the code
//! that an input reaches and keeps inputs that reach more.
//!
//! Properties of one particular input do **not** belong here: those are tests of the code itself.

#![expect(clippy::unwrap_used, reason = "a panic is how a target says what it found")]

mod bench;
pub mod corpus;
pub mod mutate;
mod seeds;
mod targets;

pub use targets::TARGETS;

/// One kind of input, with the properties that hold for every one.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name, also of its folder in the corpus.
    pub name: &'static str,
    /// Asserts the properties for one input.
    pub check: fn(&[u8]),
    /// Returns inputs made of the files of `fixtures/` and `events/`: file name and bytes.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// Returns the target with a name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
