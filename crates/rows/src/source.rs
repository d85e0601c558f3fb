//! Input of the reader: pieces of the object as stored, passed on as text.

use super::buffer::Buffer;
use super::fault::Problem;
use super::gzip::{self, Inflater};
use super::text::TextDecoder;

/// Turns pushed pieces into text.
pub(super) struct Source {
    compression: Compression,
    max_gzip_ratio: u64,
    pub text: TextDecoder,
    /// Reason why the text cannot be read.
    problem: Option<Problem>,
    finished: bool,
    at_end: bool,
}

/// Compression of the input.
enum Compression {
    /// Unknown: fewer than two bytes seen.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<Inflater>),
}

impl Source {
    pub(super) fn new(max_gzip_ratio: u64) -> Self {
        Self {
            compression: Compression::Unknown(Vec::new()),
            max_gzip_ratio,
            text: TextDecoder::new(),
            problem: None,
            finished: false,
            at_end: false,
        }
    }

    /// Appends the next bytes of the object.
    pub(super) fn push(&mut self, bytes: &[u8], buffer: &mut Buffer) {
        debug_assert!(!self.finished, "the input was finished");
        match &mut self.compression {
            Compression::Plain => {
                let pushed = self.text.push(bytes, buffer);
                self.problem = self.problem.take().or(pushed.err());
            }
            Compression::Gzip(inflater) => inflater.push(bytes),
            Compression::Unknown(seen) => {
                seen.extend_from_slice(bytes);
                if seen.len() >= gzip::MAGIC.len() {
                    self.detect_compression(buffer);
                }
            }
        }
    }

    /// Marks the end of the object: no bytes follow those pushed.
    pub(super) fn finish(&mut self, buffer: &mut Buffer) {
        if matches!(self.compression, Compression::Unknown(_)) {
            self.detect_compression(buffer);
        }
        match &mut self.compression {
            Compression::Gzip(inflater) => inflater.finish(),
            _ => {
                let finished = self.text.finish(buffer);
                self.problem = self.problem.take().or(finished.err());
            }
        }
        self.finished = true;
    }

    /// Moves more input into the buffer, or marks its end. Returns `false` if it can do neither.
    pub(super) fn fill(&mut self, buffer: &mut Buffer) -> Result<bool, Problem> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let Compression::Gzip(inflater) = &mut self.compression else {
            self.at_end = self.finished;
            return Ok(self.finished);
        };
        let mut pushed = Ok(());
        let step = inflater.step(|bytes| pushed = self.text.push(bytes, buffer));
        pushed?;
        match step {
            Ok(gzip::Step::Output) => Ok(true),
            Ok(gzip::Step::NeedInput) => Ok(false),
            Ok(gzip::Step::End) => {
                self.text.finish(buffer)?;
                self.at_end = true;
                Ok(true)
            }
            Err((kind, message)) => Err((kind, message.to_owned())),
        }
    }

    /// Returns `true` if the buffer holds all remaining input.
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// Returns `true` if the input can be continued at any offset.
    pub(super) fn is_seekable(&self) -> bool {
        matches!(self.compression, Compression::Plain) && self.text.other_encoding().is_none()
    }

    /// Expects the input to continue at another offset, even if it was finished.
    pub(super) fn restart(&mut self) {
        self.finished = false;
        self.at_end = false;
    }

    fn detect_compression(&mut self, buffer: &mut Buffer) {
        let Compression::Unknown(seen) = &mut self.compression else { return };
        let seen = std::mem::take(seen);
        if seen.starts_with(&gzip::MAGIC) {
            let mut inflater = Inflater::new(self.max_gzip_ratio);
            inflater.push(&seen);
            self.compression = Compression::Gzip(Box::new(inflater));
        } else {
            self.problem = self.text.push(&seen, buffer).err();
            self.compression = Compression::Plain;
        }
    }
}
