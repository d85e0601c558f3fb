//! Inflates gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)) in bounded steps.
//!
//! Members may follow one another, as `cat a.gz b.gz` makes them; their contents are one. After the
//! last member only zeros may follow, which some tools pad with. Sums and lengths are checked, and
//! since that is possible only at the end of a member, after its rows have been given.
//!
//! A member is [`GzDecoder`]'s to read. Here is what it leaves to its caller: input in blocks that do
//! not depend on the pieces it came in, the bound on expansion, what may follow a member, and whether
//! a stream that ends was cut or damaged.

use std::io::Write as _;
use std::ops::Range;

use flate2::write::GzDecoder;

use crate::ErrorKind;

/// The first bytes of a gzip member.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Input is inflated in blocks that end at multiples of this offset, never in the pieces it came
/// in, so that even where damage is noticed does not depend on the pieces.
const BLOCK: usize = 16 * 1024;

/// Below this much output the ratio says nothing.
const RATIO_GRACE: u64 = 1024 * 1024;

/// Why there is no more output: a code and a message.
pub(super) type Damage = (ErrorKind, &'static str);

const TRUNCATED: Damage = (ErrorKind::TruncatedGzip, "the gzip stream ends too early");
const BAD_HEADER: Damage = (ErrorKind::CorruptGzip, "the gzip header is damaged");
const BAD_BODY: Damage = (ErrorKind::CorruptGzip, "the gzip stream is damaged");
const BAD_SUM: Damage = (ErrorKind::CorruptGzip, "the gzip stream does not match its sum");
const BAD_TAIL: Damage = (ErrorKind::CorruptGzip, "the gzip stream is followed by something else");
const BAD_RATIO: Damage =
    (ErrorKind::GzipRatio, "the gzip stream expands beyond the configured ratio");

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is output.
    Output,
    /// There is no output before more input.
    NeedInput,
    /// There is no more output: all members are complete.
    End,
}

/// The part of the stream that the next byte belongs to.
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

/// A gzip stream on its way to being plain.
pub(super) struct Inflater {
    input: Vec<u8>,
    /// How much of `input` is behind us.
    at: usize,
    finished: bool,
    /// Bytes of the stream that are behind us.
    taken: u64,
    /// Bytes that came out.
    given: u64,
    max_ratio: u64,
    part: Part,
    member: GzDecoder<Vec<u8>>,
    /// Told once all output before it has been given.
    damage: Option<Damage>,
}

impl Inflater {
    pub(super) fn new(max_ratio: u64) -> Self {
        Self {
            input: Vec::new(),
            at: 0,
            finished: false,
            taken: 0,
            given: 0,
            max_ratio,
            part: Part::Member,
            member: GzDecoder::new(Vec::new()),
            damage: None,
        }
    }

    /// Takes more of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.at * 2 >= self.input.len() {
            self.input.drain(..self.at);
            self.at = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Says that the stream has no more bytes than those pushed.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Hands the next output to `sink`: what one call of the decoder gives, some 32 KiB at most.
    ///
    /// Damage is final, and all output before it has been given.
    pub(super) fn step(&mut self, mut sink: impl FnMut(&[u8])) -> Result<Step, Damage> {
        self.check_ratio()?;
        loop {
            if let Some(damage) = self.damage {
                return Err(damage);
            }
            let in_block = BLOCK - (self.taken % BLOCK as u64) as usize;
            let available = self.input.len() - self.at;
            if available < in_block && !self.finished {
                return Ok(Step::NeedInput);
            }
            let block = self.at..self.at + available.min(in_block);
            let next = self.input.get(self.at).filter(|_| !block.is_empty());
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
                    self.at += 1;
                    self.taken += 1;
                }
            }
        }
    }

    fn check_ratio(&self) -> Result<(), Damage> {
        let max = self.taken.saturating_mul(self.max_ratio);
        if self.given > RATIO_GRACE && self.given > max { Err(BAD_RATIO) } else { Ok(()) }
    }

    /// Inflates some of `block`, which is empty where the stream has ended. Of damaged input, too, the
    /// member has all output that comes before the damage.
    fn inflate(&mut self, block: Range<usize>) -> Result<(), Damage> {
        // A complete member takes nothing, and any other takes something.
        let has_ended = block.is_empty();
        let input = if has_ended { &[0] } else { &self.input[block] };
        let damage = if self.member.header().is_none() { BAD_HEADER } else { BAD_BODY };
        match self.member.write(input) {
            Ok(0) => {
                self.member.try_finish().map_err(|_| BAD_SUM)?;
                self.part = Part::Between;
                Ok(())
            }
            _ if has_ended => Err(TRUNCATED),
            Ok(taken) => {
                self.at += taken;
                self.taken += taken as u64;
                // Without it, the last output stays inside the decoder.
                self.member.flush().map_err(|_| self.damaged(damage))
            }
            Err(_) => Err(self.damaged(damage)),
        }
    }

    /// Gets the last output out of a decoder that has met damage: its `flush` would not give it.
    fn damaged(&mut self, damage: Damage) -> Damage {
        let _ = self.member.try_finish();
        damage
    }

    /// What follows after one byte that is of no member.
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
