//! Where NDJSON goes: a file, standard output, or nowhere.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// A place for lines; `-` is standard output.
pub(crate) struct Lines(Option<Box<dyn Write>>);

impl Lines {
    /// Opens `path`, or nothing where none was asked for.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        const BUFFER: usize = 1 << 20;
        let Some(path) = path else { return Ok(Self(None)) };
        let target: Box<dyn Write> = if is_stdout(path) {
            Box::new(BufWriter::with_capacity(BUFFER, io::stdout().lock()))
        } else {
            let file = File::create(path)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Box::new(BufWriter::with_capacity(BUFFER, file))
        };
        Ok(Self(Some(target)))
    }

    /// Whether anybody wants the lines.
    pub(crate) fn wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a value as one line.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        let Some(target) = &mut self.0 else { return Ok(()) };
        serde_json::to_writer(&mut *target, value)?;
        target.write_all(b"\n")
    }

    /// Writes bytes that end with their newline.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |target| target.write_all(line))
    }

    /// Writes out what is buffered.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Says something on standard output. Its reader may have seen enough: that is an error, and no panic.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// Whether a path stands for standard input or output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}
