//! Where NDJSON goes: a file, standard output, or nowhere.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// What standard output is called where it cannot be written.
const STDOUT: &str = "standard output";

/// A place for lines; `-` is standard output.
pub(crate) struct Lines(Option<Target>);

struct Target {
    name: String,
    sink: Box<dyn Write>,
}

impl Lines {
    /// Opens `path`, or nothing where none was asked for.
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

    /// Whether anybody wants the lines.
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

    /// Writes bytes that end with their newline.
    pub(crate) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.write(|sink| sink.write_all(line))
    }

    /// Writes out what is buffered.
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

/// The same kind of error, which says where: a closed pipe is still one.
fn unwritten(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name} cannot be written: {error}"))
}

/// Says something on standard output. Its reader may have seen enough: that is an error, and no panic.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
    said.map_err(|error| unwritten(STDOUT, &error))
}

/// Says what a command came to, on standard error where lines go to standard output. A reader who has
/// seen enough changes nothing of that.
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

/// Tells a person something on standard error. Where nobody can be told, there is nobody to tell that.
pub(crate) fn eprint_line(text: &str) {
    let mut err = io::stderr().lock();
    // At once: what several threads tell is not mixed.
    let _ = err.write_all(format!("{text}\n").as_bytes());
}

/// Whether a path stands for standard input or output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}
