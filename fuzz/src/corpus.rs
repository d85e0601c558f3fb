//! Corpus: `corpus/<target>/` has one file for each input.
//!
//! `seed-*` files are generated from the fixtures by [`Target::seeds`](crate::Target::seeds); a
//! test fails when they are out of date. All other files are kept: inputs that once broke a
//! property, named after that, and inputs that reach code the seeds do not.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::Target;

/// Prefix of the file names of generated inputs.
pub const SEED: &str = "seed-";

/// Returns the folder of a target's inputs.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "corpus", target.name].iter().collect()
}

/// Returns the inputs of a target by file name, in a fixed order.
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

/// Returns the seeds of a target under their names in the corpus.
#[must_use]
pub fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let named = |(name, bytes)| (format!("{SEED}{name}"), bytes);
    let mut seeds: Vec<_> = (target.seeds)().into_iter().map(named).collect();
    seeds.sort();
    seeds
}

/// Writes the seeds of a target.
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
