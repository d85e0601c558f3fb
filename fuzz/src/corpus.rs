//! The inputs that are kept: `corpus/<target>/`, one file an input.
//!
//! `seed-*` are made of the fixtures, by [`Target::seeds`](crate::Target::seeds); a test says when
//! they are out of date. Everything else stays: what once broke a property, named after that, and
//! what reaches code that the seeds do not.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::Target;

/// What the name of a file that is made of a fixture begins with.
pub const SEED: &str = "seed-";

/// The folder of a target's inputs.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "corpus", target.name].iter().collect()
}

/// The inputs of a target by file name, in a fixed order.
///
/// # Errors
///
/// When a file cannot be read.
pub fn inputs(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        inputs.push((name, fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}

/// The seeds of a target under the names that they have in the corpus.
#[must_use]
pub fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let named = |(name, bytes)| (format!("{SEED}{name}"), bytes);
    let mut seeds: Vec<_> = (target.seeds)().into_iter().map(named).collect();
    seeds.sort();
    seeds
}

/// Makes the seeds of a target anew.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write_seeds(target: &Target) -> io::Result<()> {
    let folder = folder(target);
    fs::create_dir_all(&folder)?;
    for (name, _) in inputs(target)? {
        if name.starts_with(SEED) {
            fs::remove_file(folder.join(name))?;
        }
    }
    for (name, bytes) in seeds(target) {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
