//! Inflates gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)) in bounded steps.
//!
//! Members may follow one another, as in the output of `cat a.gz b.gz`; their contents are
//! concatenated. After the last member only zeros may follow, because some tools pad with them.
//! Checksums and lengths are verified at the end of a member, which is after its rows have been
//! returned.
//!
//! [`GzDecoder`] reads a member. This module does the rest: it forms input blocks that do not
//! depend on the pieces pushed, bounds the expansion, checks the bytes between and after members,
//! and distinguishes a truncated stream from a damaged one.

use std::io::Write as _;

use flate2::write::GzDecoder;

use super::ErrorKind;
use super::buffer::Buffer;

/// First bytes of a gzip member.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Block size for inflating. Blocks end at multiples of this offset, not at the ends of pushed
/// pieces, so that the point where damage is detected does not depend on the pieces.
const BLOCK: usize = 16 * 1024;

/// Output below which the expansion ratio is not checked.
const RATIO_GRACE: u64 = 1024 * 1024;

/// Kind and message of damage, after which there is no more output.
pub(super) type Damage = (ErrorKind, &'static str);

const TRUNCATED: Damage = (ErrorKind::TruncatedGzip, "the gzip stream ends too early");
const BAD_HEADER: Damage = (ErrorKind::CorruptGzip, "the gzip header is damaged");
const BAD_BODY: Damage = (ErrorKind::CorruptGzip, "the gzip stream is damaged");
const BAD_SUM: Damage = (ErrorKind::CorruptGzip, "the gzip stream does not match its sum");
const BAD_TAIL: Damage = (ErrorKind::CorruptGzip, "the gzip stream is followed by something else");
const BAD_RATIO: Damage =
    (ErrorKind::GzipRatio, "the gzip stream expands beyond the configured ratio");

/// Result of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Output was passed to the sink.
    Output,
    /// More input is needed.
    NeedInput,
    /// End of the stream: all members are complete.
    End,
}

/// Part of the stream that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Member,
    /// After a member.
    Between,
    /// After the first byte of another member's header.
    Magic,
    /// Zeros after the last member.
    Padding,
}

/// Incremental gzip decoder.
pub(super) struct Inflater {
    /// Input of the stream; its offset is the number of bytes consumed so far.
    input: Buffer,
    finished: bool,
    /// Bytes of output so far.
    given: u64,
    max_ratio: u64,
    part: Part,
    member: GzDecoder<Vec<u8>>,
    /// Returned once all output before it has been passed on.
    damage: Option<Damage>,
}

impl Inflater {
    pub(super) fn new(max_ratio: u64) -> Self {
        Self {
            input: Buffer::default(),
            finished: false,
            given: 0,
            max_ratio,
            part: Part::Member,
            member: GzDecoder::new(Vec::new()),
            damage: None,
        }
    }

    /// Appends more of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
    }

    /// Marks the end of the stream: no bytes follow those pushed.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Passes the next output to `sink`: the result of one decoder call, at most about 32 KiB.
    ///
    /// Damage is final, and is returned after all output before it.
    pub(super) fn step(&mut self, mut sink: impl FnMut(&[u8])) -> Result<Step, Damage> {
        self.check_ratio()?;
        loop {
            if let Some(damage) = self.damage {
                return Err(damage);
            }
            let in_block = BLOCK - (self.input.offset() % BLOCK as u64) as usize;
            let pending = self.input.pending();
            if pending.len() < in_block && !self.finished {
                return Ok(Step::NeedInput);
            }
            let block = pending.len().min(in_block);
            let next = pending.first();
            match (self.part, next) {
                (Part::Member, _) => {
                    self.damage = self.inflate(block).err();
                    let output = self.member.get_mut();
                    if !output.is_empty() {
                        self.given += output.len() as u64;
                        sink(output);
                        output.clear();
                        return Ok(Step::Output);
                    }
                }
                (Part::Between | Part::Padding, None) => return Ok(Step::End),
                (Part::Magic, None) => return Err(TRUNCATED),
                (part, Some(byte)) => {
                    self.part = self.after(part, *byte)?;
                    self.input.consume(1);
                }
            }
        }
    }

    fn check_ratio(&self) -> Result<(), Damage> {
        let max = self.input.offset().saturating_mul(self.max_ratio);
        if self.given > RATIO_GRACE && self.given > max { Err(BAD_RATIO) } else { Ok(()) }
    }

    /// Inflates part of the next `block` bytes, of which there are none at the end of the stream.
    /// If the input is damaged, the decoder still holds all output that precedes the damage.
    fn inflate(&mut self, block: usize) -> Result<(), Damage> {
        // A complete member consumes nothing; any other consumes at least one byte.
        let has_ended = block == 0;
        let input = if has_ended { &[0] } else { &self.input.pending()[..block] };
        let damage = if self.member.header().is_none() { BAD_HEADER } else { BAD_BODY };
        match self.member.write(input) {
            Ok(0) => {
                self.member.try_finish().map_err(|_| BAD_SUM)?;
                self.part = Part::Between;
                Ok(())
            }
            _ if has_ended => Err(TRUNCATED),
            Ok(taken) => {
                self.input.consume(taken);
                // Without the flush, the last output stays inside the decoder.
                self.member.flush().map_err(|_| self.damaged(damage))
            }
            Err(_) => Err(self.damaged(damage)),
        }
    }

    /// Moves the last output out of a decoder that has met damage: `flush` would not return it.
    fn damaged(&mut self, damage: Damage) -> Damage {
        let _ = self.member.try_finish();
        damage
    }

    /// Returns the part that follows `byte`, which lies outside any member.
    fn after(&mut self, part: Part, byte: u8) -> Result<Part, Damage> {
        match (part, byte) {
            (Part::Between, 0x1f) => Ok(Part::Magic),
            (Part::Magic, 0x8b) => {
                self.member = GzDecoder::new(Vec::new());
                self.member.write_all(&MAGIC).map_err(|_| BAD_HEADER)?;
                Ok(Part::Member)
            }
            (Part::Magic, _) => Err(BAD_HEADER),
            (Part::Between | Part::Padding, 0) => Ok(Part::Padding),
            _ => Err(BAD_TAIL),
        }
    }
}
