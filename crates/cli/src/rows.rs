//! Rows of an input, from its start or from a checkpoint.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tributary_datasets::ingest::{BadFeedRow, Feed, FeedRow, Step};
use tributary_datasets::{Dataset, Datasets};
use tributary_model::bad_row::{Code, Rejection};
use tributary_rows::{Limits, Position};

use crate::init::quoted;
use crate::output::{eprint_line, is_stdout};

/// Bytes per read.
pub(crate) const PIECE: usize = 1 << 20;

/// Decision after a row.
pub(crate) type Flow = ControlFlow<()>;

/// Next part of an input.
pub(crate) enum Found<'f> {
    /// This many bytes were read.
    Bytes(usize),
    Row(FeedRow<'f>),
    /// Bad row with its dataset and bytes, if known. The rest of a damaged file is one bad row.
    Bad(Position, &'f Rejection, Option<&'f str>, Option<&'f [u8]>),
    /// Position after a row or a bad row.
    Reached(Position),
}

/// Position to resume from, and the function that moves the input to an offset.
pub(crate) type Resume<R> = (Position, fn(&mut R, u64) -> Result<()>);

/// Calls `each` with the rows of an input until it ends or `each` breaks.
///
/// # Errors
///
/// Fails if the input cannot be read or has no row of a dataset, and with the errors of `each`.
pub(crate) fn read_rows<R: Read>(
    name: &str,
    datasets: &Datasets,
    dataset: Option<Arc<Dataset>>,
    mut input: R,
    resume: Option<Resume<R>>,
    mut each: impl FnMut(Found<'_>) -> Result<Flow>,
) -> Result<Flow> {
    let cannot = || format!("{name} cannot be read");
    let is_unnamed = dataset.is_none();
    let mut feed = Feed::new(datasets, dataset, Limits::default()).named(name);
    let mut piece = vec![0; PIECE];
    // Reason why the first line is not a row, reported if no line is one.
    let mut first = None;
    loop {
        let flow = match feed.step() {
            Ok(Step::NeedInput) => {
                let length = input.read(&mut piece).with_context(cannot)?;
                match length {
                    0 => feed.finish(),
                    _ => feed.push(&piece[..length]),
                }
                each(Found::Bytes(length))?
            }
            Ok(Step::Started) => {
                report_preamble(name, feed.preamble_lines());
                if let Some((position, seek)) = resume
                    && let Some(offset) = feed.seek(position)
                {
                    seek(&mut input, offset).with_context(cannot)?;
                }
                continue;
            }
            Ok(Step::Row(row)) => each(Found::Row(row))?,
            Ok(Step::Bad(BadFeedRow { position, rejection, dataset, bytes })) => {
                first.get_or_insert_with(|| (position.row, rejection.message.clone()));
                let dataset = dataset.map(|dataset| dataset.name());
                each(Found::Bad(position, &rejection, dataset, bytes))?
            }
            Ok(Step::End) => {
                if feed.dataset().is_none() && resume.is_none() {
                    bail!("{name}: {}", no_row(first.as_ref()));
                }
                return Ok(Flow::Continue(()));
            }
            Err(refused) => {
                let Rejection { code, message, .. } = &refused.rejection;
                let Some(dataset) = feed.dataset().filter(|_| is_damage(*code)) else {
                    let advice = advice(name, &refused.rejection).filter(|_| is_unnamed);
                    let advice = advice.unwrap_or_default();
                    bail!("{name}: {code}: {message}{advice}");
                };
                let dataset = Some(dataset.name());
                return each(Found::Bad(refused.position, &refused.rejection, dataset, None));
            }
        };
        if flow.is_break() || each(Found::Reached(feed.position()))?.is_break() {
            return Ok(Flow::Break(()));
        }
    }
}

/// Reports lines before the header.
fn report_preamble(name: &str, lines: usize) {
    match lines {
        0 => {}
        1 => eprint_line(&format!("tributary: {name}: skipped 1 line before the header")),
        _ => eprint_line(&format!("tributary: {name}: skipped {lines} lines before the header")),
    }
}

/// Opens a file, or standard input for `-`.
pub(crate) fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if is_stdout(file) { Box::new(io::stdin()) } else { Box::new(File::open(file)?) })
}

/// Returns the command that makes a dataset of a file, if no dataset has its columns or its encoding.
fn advice(name: &str, rejection: &Rejection) -> Option<String> {
    let fits_several = rejection.message.starts_with("the columns fit ");
    let is_unknown = match rejection.code {
        Code::UnknownDataset => !fits_several,
        code => code == Code::NotUtf8,
    };
    (is_unknown && name != "stdin")
        .then(|| format!("; to make one: tributary init {}", quoted(Path::new(name))))
}

/// Returns the error for JSON without any row, quoting what is wrong with the first.
fn no_row(first: Option<&(u64, String)>) -> String {
    match first {
        Some((row, fault)) => format!(
            "no row is of a dataset: row {row}: {fault}; JSON is objects, one a line or in an array"
        ),
        None => "no row is of a dataset".to_owned(),
    }
}

/// Returns whether the error means that a file was damaged partway. Then the rest counts as one bad
/// row; with any other error, nothing of the file could be read.
fn is_damage(code: Code) -> bool {
    matches!(code, Code::TruncatedGzip | Code::CorruptGzip | Code::GzipRatio)
}
