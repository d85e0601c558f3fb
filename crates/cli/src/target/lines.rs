//! Lines into a file or to standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Item, Status, Taken, Target};

/// So many bytes are written with one call.
const BUFFER: usize = 1 << 18;

/// Writes each record as a line.
pub(crate) struct LinesTarget {
    sink: Sink,
    buffer: Vec<u8>,
    /// Bytes before this run and of it.
    bytes: u64,
    waited: Duration,
}

enum Sink {
    Stdout(io::Stdout),
    File(File),
}

impl LinesTarget {
    pub(crate) fn stdout() -> Self {
        Self::new(Sink::Stdout(io::stdout()), 0)
    }

    /// The file at `path`, begun anew, or cut to its first `keep` bytes and gone on with.
    pub(crate) fn file(path: &Path, keep: Option<u64>) -> Result<Self> {
        let name = path.display();
        let cannot = || format!("{name} cannot be written");
        let Some(keep) = keep else {
            return Ok(Self::new(Sink::File(File::create(path).with_context(cannot)?), 0));
        };
        let mut file = OpenOptions::new().write(true).open(path).with_context(cannot)?;
        let length = file.metadata().with_context(cannot)?.len();
        if length < keep {
            bail!("{name} has {length} bytes where the checkpoint knows of {keep}");
        }
        file.set_len(keep).with_context(cannot)?;
        file.seek(SeekFrom::End(0)).with_context(cannot)?;
        Ok(Self::new(Sink::File(file), keep))
    }

    fn new(sink: Sink, bytes: u64) -> Self {
        let buffer = Vec::with_capacity(BUFFER + 4096);
        Self { sink, buffer, bytes, waited: Duration::ZERO }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let started = Instant::now();
        let result = match &mut self.sink {
            Sink::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(&self.buffer).and_then(|()| stdout.flush())
            }
            Sink::File(file) => file.write_all(&self.buffer),
        };
        self.waited += started.elapsed();
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        result
    }
}

impl Target for LinesTarget {
    fn send(&mut self, item: &Item<'_>) -> Result<Taken> {
        self.buffer.extend_from_slice(item.payload);
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER {
            self.write_out()?;
        }
        Ok(Taken::Yes)
    }

    fn nudge(&mut self, _pause: Duration) -> Result<()> {
        self.settle()
    }

    fn settle(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.write_out()?;
        }
        Ok(())
    }

    fn make_safe(&mut self) -> Result<Option<u64>> {
        self.settle()?;
        let Sink::File(file) = &self.sink else { return Ok(None) };
        let started = Instant::now();
        file.sync_data().or_else(not_a_disk)?;
        self.waited += started.elapsed();
        Ok(Some(self.bytes))
    }

    fn status(&self) -> Status {
        Status { waited: self.waited, ..Status::default() }
    }
}

/// A pipe or a device has nothing to be made safe on.
fn not_a_disk(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) }
}
