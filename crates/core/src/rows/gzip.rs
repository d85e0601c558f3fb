//! Inflates gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)) in bounded steps.
//!
//! Members may follow one another, as `cat a.gz b.gz` makes them; their contents are one. After the
//! last member only zeros may follow, which some tools pad with. Sums and lengths are checked, and
//! since that is possible only at the end of a member, after its rows have been given.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::bad_row::Code;

/// The first bytes of a gzip member.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Input is inflated in blocks that end at multiples of this offset, never in the pieces it came
/// in, so that even where damage is noticed does not depend on the pieces.
const BLOCK: usize = 16 * 1024;

/// The most output of one step: what is inflated ahead of the rows that are asked for.
const STEP: usize = 64 * 1024;

/// Below this much output the ratio says nothing.
const RATIO_GRACE: u64 = 1024 * 1024;

const DEFLATE: u8 = 8;
const HAS_HEADER_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Why there is no more output: a code and a message.
pub(super) type Damage = (Code, &'static str);

const TRUNCATED: Damage = (Code::TruncatedGzip, "the gzip stream ends too early");

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

/// The part of a member that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The ten bytes that every header has; so many have been seen.
    Fixed(usize),
    /// The length of the extra field; so many of its two bytes have been seen.
    ExtraLength(usize),
    /// The extra field; so many bytes are left.
    Extra(u16),
    Name,
    Comment,
    HeaderCrc(usize),
    Body,
    /// Sum and length; so many of their eight bytes have been seen.
    Trailer(usize),
    /// After a member.
    Between,
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
    flags: u8,
    /// What has been seen of a number of the header or trailer.
    number: u64,
    header_crc: Crc,
    inflate: Decompress,
    crc: Crc,
    output: Box<[u8]>,
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
            part: Part::Fixed(0),
            flags: 0,
            number: 0,
            header_crc: Crc::new(),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            output: vec![0; STEP].into_boxed_slice(),
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

    /// Hands the next output, at most [`STEP`] bytes, to `sink`.
    ///
    /// Damage is final, and all output before it has been given.
    pub(super) fn step(&mut self, mut sink: impl FnMut(&[u8])) -> Result<Step, Damage> {
        self.check_ratio()?;
        loop {
            let in_block = BLOCK - (self.taken % BLOCK as u64) as usize;
            let available = self.input.len() - self.at;
            if available < in_block && !self.finished {
                return Ok(Step::NeedInput);
            }
            let block = self.at..self.at + available.min(in_block);

            if self.part == Part::Body {
                let written = self.inflate(block)?;
                if written > 0 {
                    sink(&self.output[..written]);
                    return Ok(Step::Output);
                }
            } else if block.is_empty() {
                return match self.part {
                    Part::Between | Part::Padding => Ok(Step::End),
                    _ => Err(TRUNCATED),
                };
            } else {
                let byte = self.input[self.at];
                self.part = self.frame(byte)?;
                self.at += 1;
                self.taken += 1;
            }
        }
    }

    fn check_ratio(&self) -> Result<(), Damage> {
        let most = self.taken.saturating_mul(self.max_ratio);
        if self.given > RATIO_GRACE && self.given > most {
            return Err((Code::GzipRatio, "the gzip stream expands beyond the configured ratio"));
        }
        Ok(())
    }

    /// Inflates some of `block` of the input and returns how much was put to the output.
    fn inflate(&mut self, block: std::ops::Range<usize>) -> Result<usize, Damage> {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let empty = block.is_empty();
        let status =
            self.inflate.decompress(&self.input[block], &mut self.output, FlushDecompress::None);
        // The totals count also what came before damage.
        let read = (self.inflate.total_in() - read) as usize;
        let written = (self.inflate.total_out() - written) as usize;
        self.at += read;
        self.taken += read as u64;
        self.given += written as u64;
        self.crc.update(&self.output[..written]);
        match status {
            Ok(Status::StreamEnd) => self.part = Part::Trailer(0),
            Ok(_) if read > 0 || written > 0 => {}
            Ok(_) if empty => return Err(TRUNCATED),
            Ok(_) | Err(_) if written == 0 => {
                return Err((Code::CorruptGzip, "the gzip stream is damaged"));
            }
            // Output first; the next call meets the damage again.
            Ok(_) | Err(_) => {}
        }
        Ok(written)
    }

    /// What follows after one byte of a header, of a trailer or between members.
    fn frame(&mut self, byte: u8) -> Result<Part, Damage> {
        let in_header = matches!(
            self.part,
            Part::Fixed(_) | Part::ExtraLength(_) | Part::Extra(_) | Part::Name | Part::Comment
        );
        if in_header {
            self.header_crc.update(&[byte]);
        }
        Ok(match self.part {
            Part::Fixed(seen) => {
                let fits = match seen {
                    0 | 1 => byte == MAGIC[seen],
                    2 => byte == DEFLATE,
                    3 => byte & RESERVED == 0,
                    _ => true,
                };
                if !fits {
                    return Err((Code::CorruptGzip, "the gzip header is damaged"));
                }
                if seen == 3 {
                    self.flags = byte;
                }
                if seen < 9 { Part::Fixed(seen + 1) } else { self.optional(HAS_EXTRA) }
            }
            Part::ExtraLength(seen) => match (seen, self.collect(seen, byte) as u16) {
                (0, _) => Part::ExtraLength(1),
                (_, 0) => self.optional(HAS_NAME),
                (_, length) => Part::Extra(length),
            },
            Part::Extra(1) => self.optional(HAS_NAME),
            Part::Extra(left) => Part::Extra(left - 1),
            Part::Name if byte == 0 => self.optional(HAS_COMMENT),
            Part::Comment if byte == 0 => self.optional(HAS_HEADER_CRC),
            Part::Name | Part::Comment => self.part,
            Part::HeaderCrc(seen) => {
                let sum = self.collect(seen, byte);
                if seen == 0 {
                    Part::HeaderCrc(1)
                } else if sum == u64::from(self.header_crc.sum() & 0xffff) {
                    Part::Body
                } else {
                    return Err((Code::CorruptGzip, "the gzip header is damaged"));
                }
            }
            Part::Body => Part::Body,
            Part::Trailer(seen) => {
                let number = self.collect(seen, byte);
                if seen < 7 {
                    Part::Trailer(seen + 1)
                } else if number == u64::from(self.crc.amount()) << 32 | u64::from(self.crc.sum()) {
                    Part::Between
                } else {
                    return Err((Code::CorruptGzip, "the gzip stream does not match its sum"));
                }
            }
            Part::Between if byte == MAGIC[0] => {
                self.inflate.reset(false);
                self.crc.reset();
                self.header_crc.reset();
                self.header_crc.update(&[byte]);
                Part::Fixed(1)
            }
            Part::Between | Part::Padding if byte == 0 => Part::Padding,
            Part::Between | Part::Padding => {
                return Err((Code::CorruptGzip, "the gzip stream is followed by something else"));
            }
        })
    }

    /// Adds the next byte of a little-endian number, of which `seen` are known, and returns it.
    fn collect(&mut self, seen: usize, byte: u8) -> u64 {
        if seen == 0 {
            self.number = 0;
        }
        self.number |= u64::from(byte) << (8 * seen);
        self.number
    }

    /// The first part of the header, from that of `flag` on, that this member has.
    fn optional(&self, flag: u8) -> Part {
        let parts = [
            (HAS_EXTRA, Part::ExtraLength(0)),
            (HAS_NAME, Part::Name),
            (HAS_COMMENT, Part::Comment),
            (HAS_HEADER_CRC, Part::HeaderCrc(0)),
        ];
        let mut from = parts.into_iter().skip_while(|part| part.0 != flag);
        from.find(|part| self.flags & part.0 != 0).map_or(Part::Body, |part| part.1)
    }
}
