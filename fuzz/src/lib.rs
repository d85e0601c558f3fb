//! Fuzz targets: whatever comes in at a door of Tributary, what comes out keeps these properties.
//!
//! A target is a function of any bytes. It makes of them what comes in at one door (an object, a
//! request, a batch), runs the code of the functions on that, and asserts what must hold for any
//! input. That nothing panics is the least of it: each byte or record is accounted for, an answer is
//! one of those that are documented, a record that is bad costs no other, and what can be done in
//! two ways (at once or in pieces, compressed or not, read or written and read again) has one result.
//!
//! Two engines run the same targets. In `make test` [`mutate`] makes up inputs from the corpus,
//! always the same ones, on any toolchain. `make fuzz` links libFuzzer, which sees the code that an
//! input reaches and keeps those that reach more.
//!
//! What must **not** go here: properties of one given input, which are tests of the code itself.

#![expect(clippy::unwrap_used, reason = "a panic is how a target says what it found")]

mod bench;
pub mod corpus;
pub mod mutate;
mod seeds;
mod targets;

pub use targets::TARGETS;

/// One door, and what holds for everything that comes in there.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name, which is also that of its folder in the corpus.
    pub name: &'static str,
    /// Asserts the properties for one input.
    pub check: fn(&[u8]),
    /// Inputs made of the files of `fixtures/` and `events/`: file name and bytes.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// The target of a name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
