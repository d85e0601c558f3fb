//! Guesses the dialect of a file without knowledge of datasets.

use super::header_scan::MAX_PREAMBLE_LINES;
use super::{
    Dialect, Encoding, ErrorKind, Format, Header, JsonLayout, Limits, Next, ObjectReader, Refusal,
    Row,
};

/// Maximum bytes of a file that [`sniff`] reads.
pub const MAX_SNIFFED_BYTES: usize = 64 * 1024;

/// Encoding of text that is not UTF-8 and has no byte order mark.
const FALLBACK_ENCODING: &str = "windows-1252";

/// Dialect of a file, guessed from its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sniffed {
    /// Format of the rows.
    pub format: Format,
    /// Layout of the objects; `None` for CSV.
    pub json_layout: Option<JsonLayout>,
    /// Delimiter of the fields; `None` for JSON.
    pub delimiter: Option<u8>,
    /// Encoding of the text. `windows-1252` stands for any that is neither UTF-8 nor marked, and
    /// has to be declared.
    pub encoding: Encoding,
    /// Number of lines before the header. Lines that begin with `#` count.
    pub preamble_lines: usize,
    /// Column names in order; empty for JSON.
    pub columns: Vec<String>,
    /// `true` if decimals have a comma, as in `12,5`, and the delimiter is not a comma.
    pub has_decimal_comma: bool,
}

/// Guesses the dialect of a file from its first bytes, of which up to [`MAX_SNIFFED_BYTES`] count.
///
/// The header of a CSV is the first line of at least two fields, none of them a number, with as
/// many fields as most of the rows after it. If there is none, the first line is the header.
///
/// # Errors
///
/// The file cannot be read: see [`Refusal`].
pub fn sniff(bytes: &[u8]) -> Result<Sniffed, Refusal> {
    let bytes = &bytes[..bytes.len().min(MAX_SNIFFED_BYTES)];
    let sniffed = sniff_as(bytes, Dialect::default());
    let is_other = match &sniffed {
        Ok((_, has_invalid_text)) => *has_invalid_text,
        Err(refusal) => refusal.kind == ErrorKind::NotUtf8,
    };
    if is_other {
        let dialect =
            Dialect { encoding: Encoding::of_label(FALLBACK_ENCODING), ..Dialect::default() };
        if let Ok((other, _)) = sniff_as(bytes, dialect) {
            return Ok(other);
        }
    }
    sniffed.map(|(sniffed, _)| sniffed)
}

/// Returns the dialect of the file, and `true` if bytes are not in its encoding.
fn sniff_as(bytes: &[u8], dialect: Dialect) -> Result<(Sniffed, bool), Refusal> {
    let first = Sample::read(bytes, dialect, 0);
    let later = || (1..=MAX_PREAMBLE_LINES).map(|skips| Sample::read(bytes, dialect, skips));
    let sample = if first.has_fitting_header() {
        first
    } else {
        let mut later = later().take_while(|sample| sample.is_skipped);
        later.find(Sample::has_fitting_header).unwrap_or(first)
    };
    let header = sample.header?;
    let sniffed = Sniffed {
        format: header.format(),
        json_layout: header.json_layout(),
        delimiter: header.delimiter(),
        encoding: sample.encoding,
        preamble_lines: sample.preamble_lines,
        columns: header.columns().to_vec(),
        has_decimal_comma: sample.decimal_commas > sample.decimal_points,
    };
    Ok((sniffed, sample.has_invalid_text))
}

/// Header and rows of a file after a number of skipped lines.
struct Sample {
    header: Result<Header, Refusal>,
    /// All of the lines could be skipped.
    is_skipped: bool,
    preamble_lines: usize,
    encoding: Encoding,
    rows: usize,
    /// Rows with as many fields as the header.
    full_rows: usize,
    decimal_commas: usize,
    decimal_points: usize,
    /// Text before the last row is not in the encoding. The last row may be cut.
    has_invalid_text: bool,
}

impl Sample {
    fn read(bytes: &[u8], dialect: Dialect, skips: usize) -> Self {
        let mut reader = ObjectReader::new(Limits::default()).of_dialect(dialect);
        reader.push(bytes);
        reader.finish();
        let mut header = read_header(&mut reader);
        let mut is_skipped = true;
        for _ in 0..skips {
            is_skipped &= reader.skip_header();
            header = read_header(&mut reader);
        }
        let mut sample = Self {
            header,
            is_skipped,
            preamble_lines: reader.preamble_lines(),
            encoding: reader.encoding(),
            rows: 0,
            full_rows: 0,
            decimal_commas: 0,
            decimal_points: 0,
            has_invalid_text: false,
        };
        sample.read_rows(&mut reader);
        sample
    }

    fn read_rows(&mut self, reader: &mut ObjectReader) {
        let mut last_is_invalid = false;
        while let Ok(next @ (Next::Row(_) | Next::Broken(_))) = reader.next() {
            self.rows += 1;
            self.has_invalid_text |= last_is_invalid;
            last_is_invalid = false;
            match next {
                Next::Row(row) => self.count(&row),
                Next::Broken(broken) => last_is_invalid = broken.kind == ErrorKind::NotUtf8,
                Next::Header(_) | Next::NeedInput | Next::End => {}
            }
        }
    }

    fn count(&mut self, row: &Row<'_>) {
        let columns = row.header().columns().len();
        if row.ends.len() == columns {
            self.full_rows += 1;
        }
        if row.header().delimiter() == Some(b',') {
            return;
        }
        for field in (0..columns).filter_map(|index| row.field_at(index)) {
            self.decimal_commas += usize::from(is_decimal(&field, ','));
            self.decimal_points += usize::from(is_decimal(&field, '.'));
        }
    }

    /// Returns `true` if the header looks like the names of the rows' columns.
    fn has_fitting_header(&self) -> bool {
        let Ok(header) = &self.header else { return false };
        let is_number = |name: &String| name.replace(',', ".").parse::<f64>().is_ok();
        let columns = header.columns();
        header.format() == Format::JsonLines
            || columns.len() >= 2
                && !columns.iter().any(is_number)
                && (self.rows == 0 || self.full_rows * 2 > self.rows)
    }
}

fn read_header(reader: &mut ObjectReader) -> Result<Header, Refusal> {
    reader.next()?;
    Ok(reader.header().cloned().unwrap_or_default())
}

/// Returns `true` for digits with one separator between them, and perhaps a sign before them.
fn is_decimal(text: &str, separator: char) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.trim();
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    text.split_once(separator).is_some_and(|(whole, part)| is_digits(whole) && is_digits(part))
}
