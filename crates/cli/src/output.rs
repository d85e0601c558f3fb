//! NDJSON output: a file, standard output, or none.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// Name of standard output in error messages.
const STDOUT: &str = "standard output";

/// Output for lines; `-` is standard output.
pub(crate) struct Lines(Option<Target>);

struct Target {
    name: String,
    sink: Box<dyn Write>,
}

impl Lines {
    /// Opens `path`; without a path, lines are discarded.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        const BUFFER: usize = 1 << 20;
        let Some(path) = path else { return Ok(Self(None)) };
        if is_stdout(path) {
            let sink = Box::new(BufWriter::with_capacity(BUFFER, io::stdout().lock()));
            return Ok(Self(Some(Target { name: STDOUT.to_owned(), sink })));
        }
        let name = path.display().to_string();
        let file = File::create(path).map_err(|error| unwritten(&name, &error))?;
        let sink = Box::new(BufWriter::with_capacity(BUFFER, file));
        Ok(Self(Some(Target { name, sink })))
    }

    /// Returns whether lines are written anywhere.
    pub(crate) fn wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a value as one line.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.write(|sink| {
            serde_json::to_writer(&mut *sink, value)?;
            sink.write_all(b"\n")
        })
    }

    /// Writes bytes that already end with a newline.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.write(|sink| sink.write_all(line))
    }

    /// Flushes the buffer.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.write(Write::flush)
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut Box<dyn Write>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(Target { name, sink }) = &mut self.0 else { return Ok(()) };
        write(sink).map_err(|error| unwritten(name, &error))
    }
}

/// Adds the name of the output to an error. Keeps the error kind, so that a closed pipe is still
/// recognized.
fn unwritten(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name} cannot be written: {error}"))
}

/// Prints a line to standard output. A closed pipe is an error, not a panic.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
    said.map_err(|error| unwritten(STDOUT, &error))
}

/// Prints the summary of a command to standard output, or to standard error if standard output
/// holds the data. A closed pipe does not change the command's result.
pub(crate) fn print_summary(text: &str, data_on_stdout: bool) -> io::Result<()> {
    if data_on_stdout {
        eprint_line(text);
        return Ok(());
    }
    match print_line(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}

/// Prints a line to standard error and ignores failures: there is no other place to report them.
pub(crate) fn eprint_line(text: &str) {
    let mut err = io::stderr().lock();
    // One write per line, so that lines of several threads do not interleave.
    let _ = err.write_all(format!("{text}\n").as_bytes());
}

/// Returns whether a path stands for standard input or output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}
