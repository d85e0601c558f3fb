//! Lines to a file or to standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::tally::Tally;
use super::{Item, SendResult, Target};
use crate::output::for_stdout;

/// Bytes per write.
const BUFFER: usize = 1 << 18;

/// Writes each record as a line.
pub(crate) struct LinesTarget {
    name: String,
    sink: Sink,
    buffer: Vec<u8>,
    /// Bytes written in earlier runs and in this one.
    bytes: u64,
    tally: Arc<Tally>,
}

enum Sink {
    Stdout(io::Stdout),
    File(File),
}

impl LinesTarget {
    pub(crate) fn stdout() -> Self {
        Self::new("standard output".to_owned(), Sink::Stdout(io::stdout()), 0)
    }

    /// Opens the file at `path`. Truncates it to its first `keep` bytes and appends; without
    /// `keep`, creates it anew.
    pub(crate) fn file(path: &Path, keep: Option<u64>) -> Result<Self> {
        let name = path.display().to_string();
        let cannot = || format!("{name} cannot be written");
        let Some(keep) = keep else {
            let file = File::create(path).with_context(cannot)?;
            return Ok(Self::new(name, Sink::File(file), 0));
        };
        let mut file = OpenOptions::new().write(true).open(path).with_context(cannot)?;
        let length = file.metadata().with_context(cannot)?.len();
        if length < keep {
            bail!("{name} has {length} bytes: the checkpoint expects at least {keep}");
        }
        file.set_len(keep).with_context(cannot)?;
        file.seek(SeekFrom::End(0)).with_context(cannot)?;
        Ok(Self::new(name, Sink::File(file), keep))
    }

    fn new(name: String, sink: Sink, bytes: u64) -> Self {
        let buffer = Vec::with_capacity(BUFFER + 4096);
        Self { name, sink, buffer, bytes, tally: Arc::default() }
    }

    fn write_out(&mut self) -> Result<()> {
        let started = Instant::now();
        let result = match &mut self.sink {
            Sink::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(&for_stdout(&self.buffer)).and_then(|()| stdout.flush())
            }
            Sink::File(file) => file.write_all(&self.buffer),
        };
        self.tally.add_waited(started);
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        result.with_context(|| format!("{} cannot be written", self.name))
    }
}

impl Target for LinesTarget {
    fn send(&mut self, item: &Item<'_>) -> Result<SendResult> {
        self.buffer.extend_from_slice(item.payload);
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER {
            self.write_out()?;
        }
        Ok(SendResult::Accepted)
    }

    fn flush_if_idle(&mut self, _pause: Duration) -> Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.write_out()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<Option<u64>> {
        self.flush()?;
        let Sink::File(file) = &self.sink else { return Ok(None) };
        let started = Instant::now();
        let synced = file.sync_data().or_else(not_a_disk);
        synced.with_context(|| format!("{} cannot be written", self.name))?;
        self.tally.add_waited(started);
        Ok(Some(self.bytes))
    }

    fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }
}

/// Accepts that a pipe or a device cannot be synced.
fn not_a_disk(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) }
}
