//! Finds JSON objects that are not one per line: arrays, objects over several lines, and objects
//! with nothing between them.
//!
//! The scan passes each byte once. It tracks strings, which a line end always closes, and nesting.
//! An object ends with its last brace. It is broken where another object begins and none can: after
//! anything but a colon, an opening bracket, or a comma in an array. A missing brace or quote
//! therefore rarely costs more than its own object.

use super::is_blank;
use super::line::{BYTE_ORDER_MARK, Line};

/// Layout of the objects of a JSON file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonLayout {
    /// One object on each line.
    #[default]
    Lines,
    /// An array of objects, objects over several lines, or objects with nothing between them.
    Stream,
}

impl JsonLayout {
    /// Returns the layout that the extension of an object's name promises, if any: a broken first
    /// line must not turn JSON Lines into another layout.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let stem = name.strip_suffix(".gz").unwrap_or(&name);
        [".jsonl", ".ndjson"].iter().any(|end| stem.ends_with(end)).then_some(Self::Lines)
    }
}

/// Nesting of braces and brackets outside strings.
#[derive(Clone, Debug, Default)]
struct Nesting {
    in_string: bool,
    /// The last byte was a backslash in a string.
    escaped: bool,
    /// Last byte outside strings that is not blank.
    before: u8,
    /// One bit for each open brace (0) and bracket (1), the innermost lowest.
    open: u128,
    depth: u32,
    /// Braces and brackets open beyond the bits of `open`: deeper than any valid row.
    deeper: u64,
}

/// Result of passing one byte.
#[derive(PartialEq, Eq)]
enum Passed {
    Inside,
    /// The byte closes the outermost object.
    Closed,
    /// The byte opens an object in a place without one. It has not been passed.
    Misplaced,
}

impl Nesting {
    fn pass(&mut self, byte: u8) -> Passed {
        if self.in_string {
            self.pass_in_string(byte);
            return Passed::Inside;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' if !self.takes_object() => return Passed::Misplaced,
            b'{' | b'[' => self.open(byte == b'['),
            b'}' | b']' => self.close(byte == b']'),
            b' ' | b'\t' | b'\r' | b'\n' => return Passed::Inside,
            _ => {}
        }
        self.before = byte;
        if self.depth == 0 { Passed::Closed } else { Passed::Inside }
    }

    fn pass_in_string(&mut self, byte: u8) {
        match byte {
            b'\r' | b'\n' => (self.in_string, self.escaped) = (false, false),
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
    }

    /// Returns `true` if an object can begin here.
    fn takes_object(&self) -> bool {
        match self.before {
            b':' | b'[' => true,
            b',' => self.open & 1 == 1 || self.deeper > 0,
            _ => self.depth == 0,
        }
    }

    fn open(&mut self, is_array: bool) {
        if self.depth == u128::BITS {
            self.deeper += 1;
        } else {
            self.open = self.open << 1 | u128::from(is_array);
            self.depth += 1;
        }
    }

    /// Closes the innermost brace with all brackets in it, or the innermost bracket if it is that
    /// of an array.
    fn close(&mut self, is_array: bool) {
        if self.deeper > 0 {
            self.deeper -= 1;
            return;
        }
        let innermost = self.open.trailing_ones().min(self.depth);
        let closed = match (is_array, innermost) {
            (true, 0) => 0,
            (true, _) => 1,
            (false, brackets) => brackets + 1,
        };
        self.open = self.open.checked_shr(closed).unwrap_or_default();
        self.depth = self.depth.saturating_sub(closed);
    }
}

/// Result of a scan.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// More input is needed.
    More,
    /// Bytes between objects.
    Separators(usize),
    /// An object, or anything else that is not a separator.
    Found(Line),
    /// The rest of an item of which the beginning was dropped.
    TooLarge(usize),
    /// The end of the input.
    End,
}

#[derive(Debug, Default)]
enum Part {
    #[default]
    Between,
    Object(Nesting),
    /// Anything else, up to the next object or the end of the line.
    Other,
}

/// Scan for one object.
#[derive(Debug, Default)]
pub(super) struct StreamScan {
    at: usize,
    part: Part,
    /// The item is too large: its beginning was dropped.
    dropped: bool,
}

impl StreamScan {
    /// Discards the progress on the current item.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Searches for the end of the item that starts at `bytes`, resuming where the last call
    /// stopped. After [`Item::More`], `bytes` must start with everything the last call saw, or
    /// after [`dropped`](Self::dropped) with what follows it.
    pub(super) fn item(&mut self, bytes: &[u8], at_end: bool, max_bytes: usize) -> Item {
        if let Part::Between = self.part {
            let count = separators(bytes);
            match &bytes[count..] {
                _ if count > 0 => return Item::Separators(count),
                [] if at_end => return Item::End,
                rest if BYTE_ORDER_MARK.starts_with(rest) && !at_end => return Item::More,
                [b'{', ..] => self.part = Part::Object(Nesting::default()),
                _ => self.part = Part::Other,
            }
        }
        let next = match self.end(bytes) {
            Some(next) => next,
            None if at_end => bytes.len(),
            None => {
                self.at = bytes.len();
                return Item::More;
            }
        };
        let dropped = self.dropped;
        self.restart();
        if dropped || next > max_bytes {
            return Item::TooLarge(next);
        }
        let is_trailing = |byte: &&u8| is_blank(**byte) || matches!(byte, b'\r' | b'\n' | b',');
        let trailing = bytes[..next].iter().rev().take_while(is_trailing).count();
        Item::Found(Line { end: next - trailing, next })
    }

    /// Returns the number of bytes to drop, which have been scanned, because the item is larger
    /// than `max_bytes`.
    pub(super) fn dropped(&mut self, max_bytes: usize) -> usize {
        if self.at <= max_bytes && !self.dropped {
            return 0;
        }
        self.dropped = true;
        std::mem::take(&mut self.at)
    }

    /// Returns the end of the current item, if it lies in `bytes`.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let rest = &bytes[self.at..];
        let length = match &mut self.part {
            Part::Between => None,
            Part::Other => rest.iter().position(|byte| b"{\r\n".contains(byte)),
            Part::Object(nesting) => {
                rest.iter().enumerate().find_map(|(at, &byte)| match nesting.pass(byte) {
                    Passed::Inside => None,
                    Passed::Closed => Some(at + 1),
                    Passed::Misplaced => Some(at),
                })
            }
        };
        length.map(|length| self.at + length)
    }
}

/// Returns the number of bytes at the start of `bytes` that separate objects.
fn separators(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        match rest {
            [b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']', ..] => at += 1,
            _ if rest.starts_with(BYTE_ORDER_MARK) => at += BYTE_ORDER_MARK.len(),
            _ => return at,
        }
    }
}

/// Result of the detection of the layout.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// More input is needed.
    More,
    Layout(JsonLayout),
    /// The text begins with a bracket and is no array of objects.
    NoObjects,
}

/// Detection of the layout of a JSON file, which can stop and resume at any byte.
#[derive(Debug, Default)]
pub(super) struct LayoutScan {
    at: usize,
    part: LayoutPart,
}

#[derive(Debug, Default)]
enum LayoutPart {
    #[default]
    Start,
    /// After the bracket that the text begins with.
    Array,
    FirstObject(Nesting),
    /// After an object that ends in the first line.
    AfterObject,
    /// After the first line, which ends inside an object, and maybe with an opening bracket.
    NextLine {
        in_array: bool,
    },
}

impl LayoutScan {
    /// Detects the layout of `bytes`, which start with the first line that is not blank. What does
    /// not show within `max_bytes` has no effect.
    ///
    /// - A bracket with a brace or a closing bracket after it begins an array.
    /// - A first line with an object and a comma, or the beginning of another object, begins objects
    ///   with nothing or a comma between them.
    /// - A first line that ends inside an object begins objects over several lines, unless the next
    ///   line begins with a brace and the first does not end with an opening bracket: then the first
    ///   line is broken.
    /// - Everything else is JSON Lines.
    pub(super) fn detect(&mut self, bytes: &[u8], at_end: bool, max_bytes: usize) -> Detected {
        let window = &bytes[..bytes.len().min(max_bytes)];
        while let Some(&byte) = window.get(self.at) {
            if let Some(detected) = self.pass(byte) {
                return detected;
            }
            self.at += 1;
        }
        match self.part {
            _ if !at_end && window.len() < max_bytes => Detected::More,
            LayoutPart::Array => Detected::NoObjects,
            _ => Detected::Layout(JsonLayout::Lines),
        }
    }

    fn pass(&mut self, byte: u8) -> Option<Detected> {
        let is_space = is_blank(byte) || matches!(byte, b'\r' | b'\n');
        let layout = match (&mut self.part, byte) {
            (LayoutPart::Start, b'[') => {
                self.part = LayoutPart::Array;
                return None;
            }
            (LayoutPart::Start, b'{') => {
                let mut nesting = Nesting::default();
                nesting.pass(byte);
                self.part = LayoutPart::FirstObject(nesting);
                return None;
            }
            (LayoutPart::FirstObject(nesting), b'\r' | b'\n') => {
                let in_array = nesting.before == b'[';
                self.part = LayoutPart::NextLine { in_array };
                return None;
            }
            (LayoutPart::FirstObject(nesting), _) => match nesting.pass(byte) {
                Passed::Inside => return None,
                Passed::Misplaced => JsonLayout::Lines,
                Passed::Closed => {
                    self.part = LayoutPart::AfterObject;
                    return None;
                }
            },
            (LayoutPart::Start | LayoutPart::AfterObject, _) if is_blank(byte) => return None,
            (LayoutPart::Array | LayoutPart::NextLine { .. }, _) if is_space => return None,
            (LayoutPart::Array, b'{' | b']') | (LayoutPart::AfterObject, b'{' | b',') => {
                JsonLayout::Stream
            }
            (LayoutPart::Array, _) => return Some(Detected::NoObjects),
            (LayoutPart::NextLine { in_array: false }, b'{')
            | (LayoutPart::Start | LayoutPart::AfterObject, _) => JsonLayout::Lines,
            (LayoutPart::NextLine { .. }, _) => JsonLayout::Stream,
        };
        Some(Detected::Layout(layout))
    }
}
