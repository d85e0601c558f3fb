//! Decodes text to UTF-8.

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE};

use super::buffer::Buffer;
use super::fault::Problem;
use super::line::BYTE_ORDER_MARK;
use super::{Encoding, ErrorKind, signature};

/// Maximum bytes that decide the encoding.
const MAX_START: usize = 16;

/// Byte that never occurs in UTF-8. It replaces each sequence that is invalid in another encoding,
/// so that the sequence breaks its own row only.
const INVALID: u8 = 0xff;

const UTF_16LE_MARK: &[u8] = b"\xff\xfe";
const UTF_16BE_MARK: &[u8] = b"\xfe\xff";
const UTF_32LE_MARK: &[u8] = b"\xff\xfe\0\0";
const UTF_32BE_MARK: &[u8] = b"\0\0\xfe\xff";
const MARKS: [&[u8]; 5] =
    [BYTE_ORDER_MARK, UTF_16LE_MARK, UTF_16BE_MARK, UTF_32LE_MARK, UTF_32BE_MARK];

/// Incremental decoder to UTF-8.
pub(super) struct TextDecoder {
    state: State,
    /// Encoding of text without a byte order mark.
    pub declared: Option<Encoding>,
}

enum State {
    /// The encoding is unknown: these bytes do not decide it.
    Start(Vec<u8>),
    Utf8,
    Other(Box<Transcoder>),
}

impl TextDecoder {
    pub(super) fn new() -> Self {
        Self { state: State::Start(Vec::new()), declared: None }
    }

    /// Returns the encoding, if known and not UTF-8.
    pub(super) fn other_encoding(&self) -> Option<Encoding> {
        match &self.state {
            State::Other(transcoder) => Some(Encoding(transcoder.decoder.encoding())),
            State::Start(_) | State::Utf8 => None,
        }
    }

    /// Appends the text of more bytes to `buffer`.
    pub(super) fn push(&mut self, bytes: &[u8], buffer: &mut Buffer) -> Result<(), Problem> {
        let State::Start(seen) = &mut self.state else {
            self.decode(bytes, false, buffer);
            return Ok(());
        };
        let (head, rest) = bytes.split_at(bytes.len().min(MAX_START - seen.len()));
        seen.extend_from_slice(head);
        if self.start(false, buffer)? {
            self.decode(rest, false, buffer);
        }
        Ok(())
    }

    /// Appends the text that depends on the end of the input.
    pub(super) fn finish(&mut self, buffer: &mut Buffer) -> Result<(), Problem> {
        self.start(true, buffer)?;
        self.decode(&[], true, buffer);
        Ok(())
    }

    /// Detects the encoding. Returns `false` if that needs more input.
    fn start(&mut self, at_end: bool, buffer: &mut Buffer) -> Result<bool, Problem> {
        let State::Start(seen) = &mut self.state else { return Ok(true) };
        let Some(start) = detect(seen, at_end, self.declared)? else { return Ok(false) };
        let seen = std::mem::take(seen);
        self.state = match start {
            Encoding(other) if other == encoding_rs::UTF_8 => State::Utf8,
            Encoding(other) => State::Other(Box::new(Transcoder::new(other))),
        };
        let has_mark = seen.starts_with(UTF_16LE_MARK) || seen.starts_with(UTF_16BE_MARK);
        self.decode(if has_mark { &seen[2..] } else { &seen }, false, buffer);
        Ok(true)
    }

    fn decode(&mut self, bytes: &[u8], last: bool, buffer: &mut Buffer) {
        match &mut self.state {
            State::Start(_) => {}
            State::Utf8 => buffer.extend(bytes),
            State::Other(transcoder) => transcoder.decode(bytes, last, buffer),
        }
    }
}

/// Decoder of an encoding other than UTF-8, with space for its output.
struct Transcoder {
    decoder: Decoder,
    output: [u8; 4096],
}

impl Transcoder {
    fn new(encoding: &'static encoding_rs::Encoding) -> Self {
        Self { decoder: encoding.new_decoder_without_bom_handling(), output: [0; 4096] }
    }

    fn decode(&mut self, mut bytes: &[u8], last: bool, buffer: &mut Buffer) {
        // Without input, some decoders forget the first half of a character.
        while last || !bytes.is_empty() {
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.output, last);
            buffer.extend(&self.output[..written]);
            bytes = &bytes[read..];
            match result {
                DecoderResult::InputEmpty => return,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => buffer.extend(&[INVALID]),
            }
        }
    }
}

/// Returns the encoding of text that starts with `seen`, or `None` if that needs more input.
fn detect(
    seen: &[u8],
    at_end: bool,
    declared: Option<Encoding>,
) -> Result<Option<Encoding>, Problem> {
    let is_open = |start: &&[u8]| start.starts_with(seen) && start.len() > seen.len();
    if !at_end && MARKS.iter().any(is_open) {
        return Ok(None);
    }
    if !signature::check(seen, at_end)? {
        return Ok(None);
    }
    let starts_with = |mark| seen.starts_with(mark);
    let is_utf_32 = matches!(seen, [1..=255, 0, 0, 0, ..] | [0, 0, 0, 1..=255, ..]);
    if is_utf_32 || starts_with(UTF_32LE_MARK) || starts_with(UTF_32BE_MARK) {
        let message = "the text is UTF-32: convert it with iconv -f UTF-32 -t UTF-8";
        return Err((ErrorKind::NotUtf8, message.to_owned()));
    }
    if starts_with(UTF_16LE_MARK) {
        return Ok(Some(Encoding(UTF_16LE)));
    }
    if starts_with(UTF_16BE_MARK) {
        return Ok(Some(Encoding(UTF_16BE)));
    }
    if let Some(declared) = declared.filter(|_| !starts_with(BYTE_ORDER_MARK)) {
        return Ok(Some(declared));
    }
    let encoding = match seen {
        [0, 0] | [0, 0, _] if !at_end => return Ok(None),
        [0, 0, ..] => return Ok(Some(Encoding::UTF_8)),
        [_, 0, _, 0, ..] => UTF_16LE,
        [0, _, 0, _, ..] => UTF_16BE,
        [] | [_] | [_, 0] | [0, _] | [_, 0, _] | [0, _, _] if !at_end => return Ok(None),
        _ => return Ok(Some(Encoding::UTF_8)),
    };
    let name = encoding.name();
    let message = format!(
        "the text is UTF-16 without a byte order mark: convert it with iconv -f {name} -t UTF-8"
    );
    Err((ErrorKind::NotUtf8, message))
}
