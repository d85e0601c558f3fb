//! Reads the sample of a dataset.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use tributary_datasets::infer::{Sample, SampleFile};
use tributary_rows::{Dialect, Encoding, Limits, Next, ObjectReader, Position, Sniffed, sniff};

use crate::output::is_stdout;
use crate::rows;

/// Maximum rows of a file that are read.
const MAX_ROWS: usize = 10_000;

/// Maximum bytes of a file that are read.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Sample, and the file it is of.
pub(super) struct SampledFile {
    pub sample: Sample,
    pub sniffed: Sniffed,
    /// Rows as JSON objects.
    pub payloads: Vec<String>,
    /// Rows as they are written, in UTF-8.
    pub texts: Vec<String>,
    /// Decimal mark of the files with decimals.
    decimal: Option<char>,
    /// Rows that cannot be read.
    pub broken: usize,
    /// Reason why the first of them cannot be read.
    pub first_broken: Option<String>,
    /// Files of which only the first rows were read, and lines that were skipped.
    pub checks: Vec<String>,
}

impl SampledFile {
    /// Returns the encoding that the dataset has to declare.
    pub(super) fn declared_encoding(&self) -> Option<&'static str> {
        declared_encoding(&self.sniffed)
    }
}

/// Returns the encoding, unless it is UTF-8 or the text names it with a byte order mark.
fn declared_encoding(sniffed: &Sniffed) -> Option<&'static str> {
    let name = sniffed.encoding.name();
    (sniffed.encoding != Encoding::UTF_8 && !name.starts_with("UTF-16")).then_some(name)
}

/// Returns the name of a file in messages.
pub(super) fn name_of(file: &Path) -> String {
    if is_stdout(file) { "stdin".to_owned() } else { file.display().to_string() }
}

/// Reads the first rows of the files, which are of one dialect.
pub(super) fn read(files: &[PathBuf]) -> Result<SampledFile> {
    let mut all: Option<SampledFile> = None;
    for file in files {
        let name = name_of(file);
        let cannot = || format!("{name} cannot be read");
        let mut bytes = Vec::new();
        let input = rows::open(file).with_context(cannot)?;
        input.take(MAX_BYTES + 1).read_to_end(&mut bytes).with_context(cannot)?;
        let sniffed = sniff(&bytes).map_err(|refusal| anyhow!("{name}: {refusal}"))?;
        if let Some(first) = &all {
            check_dialect(&name, &bytes, &sniffed, &first.sniffed)?;
        }
        let known = all.get_or_insert_with(|| new(&name, sniffed.clone()));
        let rows = known.texts.len();
        add(known, &name, &bytes, &sniffed)?;
        let own = decimal_mark(&known.texts[rows..], &sniffed);
        match (known.decimal, own) {
            (Some(expected), Some(own)) if own != expected => {
                bail!("{name} has the decimal mark {own:?}: expected {expected:?} as before");
            }
            (None, Some(',')) => known.sample.set_decimal_comma(),
            _ => {}
        }
        known.decimal = known.decimal.or(own);
    }
    all.context("there is no file")
}

/// Returns the decimal mark of the rows of a CSV; `None` if all their numbers are whole.
fn decimal_mark(rows: &[String], sniffed: &Sniffed) -> Option<char> {
    let delimiter = char::from(sniffed.delimiter?);
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let is_decimal = |field: &str| {
        let field = field.trim_matches([' ', '"', '-', '+']);
        field.split_once('.').is_some_and(|(whole, part)| is_digits(whole) && is_digits(part))
    };
    let has_point = || rows.iter().any(|row| row.split(delimiter).any(is_decimal));
    if sniffed.has_decimal_comma { Some(',') } else { has_point().then_some('.') }
}

/// Checks that a file has the columns and the dialect of the first file.
///
/// # Errors
///
/// One schema does not read both.
fn check_dialect(name: &str, bytes: &[u8], sniffed: &Sniffed, first: &Sniffed) -> Result<()> {
    if first.format != sniffed.format || first.columns != sniffed.columns {
        bail!("{name} has other columns than the first file: a dataset at a time");
    }
    let delimiter = |of: &Sniffed| of.delimiter.map(char::from);
    let (own, expected) = (delimiter(sniffed), delimiter(first));
    if let (Some(own), Some(expected)) = (own, expected)
        && own != expected
    {
        bail!("{name} has the delimiter {own:?}: expected {expected:?} as in the first file");
    }
    let encoding = |of: &Sniffed| declared_encoding(of).unwrap_or("UTF-8");
    let (own, expected) = (encoding(sniffed), encoding(first));
    // Plain ASCII is text in either.
    if own != expected && !bytes.is_ascii() {
        bail!("{name} has the encoding {own}: expected {expected} as in the first file");
    }
    Ok(())
}

fn new(name: &str, sniffed: Sniffed) -> SampledFile {
    let base = name.rsplit('/').next().unwrap_or(name);
    let file = SampleFile {
        name: base.to_owned(),
        encoding: declared_encoding(&sniffed).map(str::to_owned),
        has_decimal_comma: sniffed.has_decimal_comma,
        columns: sniffed.columns.clone(),
    };
    SampledFile {
        sample: Sample::new(file),
        sniffed,
        payloads: Vec::new(),
        texts: Vec::new(),
        decimal: None,
        broken: 0,
        first_broken: None,
        checks: Vec::new(),
    }
}

/// Adds the first rows of a file.
fn add(all: &mut SampledFile, name: &str, bytes: &[u8], sniffed: &Sniffed) -> Result<()> {
    let is_whole = bytes.len() as u64 <= MAX_BYTES;
    if sniffed.preamble_lines > 0 {
        let (lines, columns) = (sniffed.preamble_lines, sniffed.columns.join(", "));
        all.checks.push(format!("{name}: {lines} lines are skipped before the header: {columns}"));
    }
    let encoding = declared_encoding(sniffed).map(|_| sniffed.encoding);
    let dialect = Dialect { encoding, ..Dialect::default() };
    let mut reader = ObjectReader::new(Limits::default()).of_dialect(dialect).of_name(name);
    reader.push(bytes);
    if is_whole {
        reader.finish();
    }
    let (mut payload, mut rows) = (Vec::new(), 0);
    loop {
        let is_before_header = reader.preamble_lines() < sniffed.preamble_lines;
        match reader.next() {
            Ok(Next::Header(_)) => {}
            Ok(Next::Row(_) | Next::Broken(_)) if rows == MAX_ROWS => break,
            Ok(Next::Row(row)) => {
                rows += 1;
                payload.clear();
                row.write_json(&mut payload);
                // The reader writes JSON from text that it has validated.
                let payload = str::from_utf8(&payload)?;
                all.sample.add(payload);
                all.payloads.push(payload.to_owned());
                all.texts.push(row.text().to_owned());
                continue;
            }
            Ok(Next::Broken(row)) => {
                rows += 1;
                all.broken += 1;
                all.first_broken.get_or_insert_with(|| {
                    let Position { row: number, offset } = row.position;
                    format!("{name}, row {number} at byte {offset}: {}", row.message)
                });
                continue;
            }
            Ok(Next::NeedInput | Next::End) if is_whole => return Ok(()),
            Ok(Next::NeedInput | Next::End) => break,
            Err(_) if is_before_header => {}
            // A damaged end of a file costs the end.
            Err(refusal) if rows > 0 => {
                all.checks.push(format!("{name}: only the first {rows} rows were read: {refusal}"));
                return Ok(());
            }
            Err(refusal) => bail!("{name}: {refusal}"),
        }
        // The dialect was detected with the lines before the header.
        if reader.preamble_lines() < sniffed.preamble_lines {
            reader.skip_header();
        }
    }
    all.checks.push(format!("{name}: only the first {rows} rows were read"));
    Ok(())
}
