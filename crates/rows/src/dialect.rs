//! Dialect of an object's text: declared by a dataset, stated by the object, or detected.

use super::line::Line;

/// Delimiters that are detected. On a tie the first counts.
pub(super) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Dialect that a dataset declares for its objects. A part that is `None` is detected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Delimiter of CSV fields: an ASCII byte other than a quote, CR and LF, which count as `None`.
    /// A first line `sep=;` takes precedence. If `None`, the most frequent of comma, semicolon, tab
    /// and pipe outside the quotes of the header; on a tie the first of them.
    pub delimiter: Option<u8>,
    /// Byte that makes a quote inside a quoted CSV field data, usually a backslash: an ASCII byte
    /// other than a quote, CR and LF, which count as `None`. Quotes can still be doubled. If
    /// `None`, quotes can only be doubled.
    ///
    /// Directly before a quote, two such bytes stand for one. Elsewhere the byte is data.
    pub escape: Option<u8>,
    /// Encoding of the text. A byte order mark takes precedence. If `None`, UTF-8.
    pub encoding: Option<Encoding>,
}

impl Dialect {
    /// Replaces what cannot be used by `None`.
    pub(super) fn usable(self) -> Self {
        let usable = |byte: &u8| byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n');
        Self {
            delimiter: self.delimiter.filter(usable),
            escape: self.escape.filter(usable),
            ..self
        }
    }
}

/// Character encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(pub(super) &'static encoding_rs::Encoding);

impl Encoding {
    /// UTF-8, the encoding of text that declares none.
    pub const UTF_8: Self = Self(encoding_rs::UTF_8);

    /// Returns the encoding with this label of the [WHATWG standard](https://encoding.spec.whatwg.org/#names-and-labels),
    /// without regard to case: `windows-1252`, `latin1`, `shift_jis`, `utf-16le` and others.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).map(Self)
    }

    /// Returns the name, such as `windows-1252` or `UTF-16LE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

/// Result of the search for a line `sep=;`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SepLine {
    /// More input is needed.
    More,
    Absent,
    Found {
        delimiter: u8,
        line: Line,
    },
}

/// Searches for a line `sep=;`, quoted or not, at the start of `bytes`.
pub(super) fn sep_line(bytes: &[u8], at_end: bool) -> SepLine {
    const MAX_BYTES: usize = b"\"sep=;\"\r\n".len();
    let window = &bytes[..bytes.len().min(MAX_BYTES)];
    let unquoted = window.strip_prefix(b"\"").unwrap_or(window);
    let name = &unquoted[..unquoted.len().min(4)];
    if !name.eq_ignore_ascii_case(&b"sep="[..name.len()]) {
        return SepLine::Absent;
    }
    let line = match Line::first(window, 0) {
        Ok(line) => line,
        Err(_) if window.len() == MAX_BYTES => return SepLine::Absent,
        Err(_) if at_end => Line::last(window),
        Err(_) => return SepLine::More,
    };
    let content = &window[..line.end];
    let quoted = content.strip_prefix(b"\"").and_then(|content| content.strip_suffix(b"\""));
    match *quoted.unwrap_or(content) {
        [_, _, _, _, delimiter]
            if delimiter.is_ascii() && !delimiter.is_ascii_alphanumeric() && delimiter != b'"' =>
        {
            SepLine::Found { delimiter, line }
        }
        _ => SepLine::Absent,
    }
}

/// Count of the delimiters in a header, which can stop and resume at any byte.
#[derive(Debug, Default)]
pub(super) struct DelimiterCount {
    at: usize,
    quoted: bool,
    counts: [usize; DELIMITERS.len()],
    /// Counts of the first line, if it ends inside quotes.
    first_line: Option<[usize; DELIMITERS.len()]>,
}

impl DelimiterCount {
    /// Returns the most frequent delimiter outside the quotes of the header that `bytes` starts
    /// with, or `None` if that needs more input. If a quote is never closed within `max_bytes`, the
    /// first line counts.
    pub(super) fn delimiter(&mut self, bytes: &[u8], at_end: bool, max_bytes: usize) -> Option<u8> {
        let window = &bytes[..bytes.len().min(max_bytes)];
        for &byte in &window[self.at..] {
            match byte {
                b'"' => self.quoted = !self.quoted,
                b'\r' | b'\n' if self.quoted => {
                    self.first_line.get_or_insert(self.counts);
                }
                b'\r' | b'\n' => return Some(most_frequent(self.counts)),
                _ if self.quoted => {}
                _ => {
                    if let Some(index) = DELIMITERS.iter().position(|&it| it == byte) {
                        self.counts[index] += 1;
                    }
                }
            }
        }
        self.at = window.len();
        let complete = at_end || window.len() == max_bytes;
        complete.then(|| most_frequent(self.first_line.unwrap_or(self.counts)))
    }
}

fn most_frequent(counts: [usize; DELIMITERS.len()]) -> u8 {
    let max = counts.iter().max();
    let index = counts.iter().position(|count| Some(count) == max);
    DELIMITERS[index.unwrap_or_default()]
}
