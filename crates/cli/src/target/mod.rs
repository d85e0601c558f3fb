//! Where a feed goes: standard output, a file.

mod lines;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

pub(crate) use lines::LinesTarget;

/// A place for records.
pub(crate) trait Target {
    /// Takes one record. It may be kept for a while, and so may the caller be.
    fn send(&mut self, item: &Item<'_>) -> Result<()>;

    /// There will be a pause: what is kept should go out.
    fn nudge(&mut self) -> Result<()>;

    /// Waits until everything has gone out, or is known not to.
    fn settle(&mut self) -> Result<()>;

    /// Settles so that what has gone out survives a crash, for a checkpoint to build on. For a file,
    /// the bytes that it has then.
    fn make_safe(&mut self) -> Result<Option<u64>>;

    /// How it went so far.
    fn status(&self) -> Status;
}

/// One record for a target.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    /// One JSON object on one line.
    pub payload: &'a [u8],
}

/// How a target is doing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    /// Records that did not get there, and will not.
    pub undelivered: u64,
    /// How long the caller has waited for it.
    pub waited: Duration,
}

/// A target by its name: `stdout`, `file:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetName {
    Stdout,
    File(PathBuf),
}

impl TargetName {
    /// Opens it. A file is begun anew, or after its first `keep` bytes.
    pub(crate) fn open(&self, keep: Option<u64>) -> Result<Box<dyn Target>> {
        Ok(match self {
            Self::Stdout => Box::new(LinesTarget::stdout()),
            Self::File(path) => Box::new(LinesTarget::file(path, keep)?),
        })
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Reads a target's name.
pub(crate) fn name(text: &str) -> Result<TargetName, String> {
    match text.split_once(':') {
        None if text == "stdout" || text == "-" => Ok(TargetName::Stdout),
        Some(("file", path)) if !path.is_empty() => Ok(TargetName::File(path.into())),
        _ => Err(format!("{text:?} is no target; there are stdout and file:PATH")),
    }
}
