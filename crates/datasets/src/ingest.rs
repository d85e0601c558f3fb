//! Turns the rows of an object into raw records: dataset, position, id.

use std::borrow::Cow;
use std::sync::Arc;

use crate::{Dataset, Datasets, recognition};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::id::Id;
use tributary_rows::{
    ErrorKind, Format, Header, Limits, Next, ObjectReader, Position, Refusal, Row,
};

/// Name of an object in the raw records made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceName {
    uri: String,
    identity: [String; 3],
}

impl SourceName {
    /// Names an object of S3. `version` is its version id, or its entity tag in a bucket without
    /// versions: with it, an offset refers to the same bytes permanently.
    #[must_use]
    pub fn s3(bucket: &str, key: &str, version_id: Option<&str>, etag: Option<&str>) -> Self {
        let version = version_id.or(etag).unwrap_or_default();
        let name = if version_id.is_some() { "versionId" } else { "etag" };
        Self::new(format!("s3://{bucket}/{key}?{name}={version}"), [bucket, key, version])
    }

    /// A local file, by the name it was given.
    #[must_use]
    pub fn file(name: &str) -> Self {
        Self::new(format!("file:{name}"), ["file", name, ""])
    }

    fn new(uri: String, identity: [&str; 3]) -> Self {
        Self { uri, identity: identity.map(str::to_owned) }
    }

    /// The source position of a row: `s3://bucket/key?versionId=v#offset=1234&row=12`.
    #[must_use]
    pub fn at(&self, position: Position) -> String {
        format!("{}#offset={}&row={}", self.uri, position.offset, position.row)
    }

    /// The id of the record made of the row at `position`.
    #[must_use]
    pub fn record_id(&self, position: Position) -> Id {
        let identity = self.identity.iter().map(String::as_bytes);
        let offset = position.offset.to_be_bytes();
        Id::of(identity.chain([offset.as_slice()]))
    }
}

/// The rows of one object, of one dataset.
pub struct Feed {
    reader: ObjectReader,
    datasets: Datasets,
    dataset: Option<Arc<Dataset>>,
    /// The columns of the partition key, in a CSV.
    partition_indices: Vec<usize>,
    /// The header was read.
    is_started: bool,
    /// Reason why the first line is no header of a dataset.
    refused: Option<Refused>,
}

/// The next thing in a feed.
pub enum Step<'f> {
    /// The header was read and fits the dataset. Comes before the first row of a CSV; a continued
    /// feed [seeks](Feed::seek) now.
    Started,
    /// A row to send.
    Row(FeedRow<'f>),
    /// A row that can never be sent.
    Bad(BadFeedRow<'f>),
    /// Push more bytes, or finish.
    NeedInput,
    /// All rows were given.
    End,
}

/// The object cannot be read further: the bad row that stands for the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Start of the unread rest.
    pub position: Position,
    /// Reason for the rejection.
    pub rejection: Rejection,
}

/// One row of a feed that can never be sent.
pub struct BadFeedRow<'f> {
    /// Position of the row.
    pub position: Position,
    /// Reason.
    pub rejection: Rejection,
    /// Dataset, once it is known.
    pub dataset: Option<&'f Arc<Dataset>>,
    /// The exact bytes, where they were not too many.
    pub bytes: Option<&'f [u8]>,
}

/// One good row of a feed.
pub struct FeedRow<'f> {
    row: Row<'f>,
    dataset: &'f Arc<Dataset>,
    partition_indices: &'f [usize],
}

impl Feed {
    /// Creates a feed of `dataset`, or if that is not known of the one that the header selects.
    #[must_use]
    pub fn new(datasets: &Datasets, dataset: Option<Arc<Dataset>>, limits: Limits) -> Self {
        let dialect = dataset.as_ref().map(|dataset| dataset.dialect()).unwrap_or_default();
        Self {
            reader: ObjectReader::new(limits).of_dialect(dialect),
            datasets: datasets.clone(),
            dataset,
            partition_indices: Vec::new(),
            is_started: false,
            refused: None,
        }
    }

    /// The same, of an object that an earlier feed found to be of `dataset`. The dialect stays what it
    /// was then.
    #[must_use]
    pub fn known(self, dataset: Option<Arc<Dataset>>) -> Self {
        Self { dataset: dataset.or(self.dataset), ..self }
    }

    /// The same, of an object of this name, which may say its format.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { reader: self.reader.of_name(name), ..self }
    }

    /// Adds the next bytes of the object.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// Says that there are no more bytes.
    pub fn finish(&mut self) {
        self.reader.finish();
    }

    /// Returns the position of the next row.
    #[must_use]
    pub fn position(&self) -> Position {
        self.reader.position()
    }

    /// Returns `true` if the object can only be read from its beginning, because it is compressed or
    /// its encoding is not UTF-8.
    #[must_use]
    pub fn is_sequential(&self) -> bool {
        self.reader.is_sequential()
    }

    /// Skips to `position`, which an earlier [`Feed::position`] of the same object gave. Returns
    /// the offset to read the object from, `None` to go on from where it is being read.
    pub fn seek(&mut self, position: Position) -> Option<u64> {
        self.reader.seek(position)
    }

    /// Returns the number of lines before the header.
    #[must_use]
    pub fn preamble_lines(&self) -> usize {
        self.reader.preamble_lines()
    }

    /// Returns the header, once it is known.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.reader.header()
    }

    /// Returns the dataset, once it is known.
    #[must_use]
    pub fn dataset(&self) -> Option<&Arc<Dataset>> {
        self.dataset.as_ref()
    }

    /// Returns the next step.
    ///
    /// Lines before the header of a CSV are skipped until one has the columns of a dataset. If none
    /// has, the first line counts as the header.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the rest of the object cannot be read, or is of no dataset.
    pub fn step(&mut self) -> Result<Step<'_>, Refused> {
        if !self.is_started {
            return self.start();
        }
        let next = self.reader.next().map_err(refused)?;
        Ok(match next {
            // Returned once, by `start`.
            Next::Header(_) => Step::Started,
            Next::Row(row) => {
                let dataset = match &mut self.dataset {
                    Some(dataset) => dataset,
                    unknown => unknown.insert(
                        of_fields(&self.datasets, &row)
                            .map_err(|rejection| Refused { position: row.position, rejection })?,
                    ),
                };
                Step::Row(FeedRow { row, dataset, partition_indices: &self.partition_indices })
            }
            Next::Broken(broken) => {
                let rejection = Rejection {
                    code: code_of(broken.kind),
                    field: broken.field.map(Cow::Owned),
                    message: broken.message,
                };
                let bytes = broken.complete.then_some(broken.bytes);
                let (position, dataset) = (broken.position, self.dataset.as_ref());
                Step::Bad(BadFeedRow { position, rejection, dataset, bytes })
            }
            Next::NeedInput => Step::NeedInput,
            Next::End => Step::End,
        })
    }

    /// Reads the header, and the lines before it.
    fn start(&mut self) -> Result<Step<'static>, Refused> {
        loop {
            let found = match self.reader.next() {
                Ok(Next::NeedInput) => return Ok(Step::NeedInput),
                Ok(Next::Header(header)) if header.format() == Format::Csv => {
                    let columns: Vec<_> = header.columns().iter().map(String::as_str).collect();
                    let position = Position { offset: header.offset(), row: 1 };
                    let named = self.dataset.as_ref();
                    recognition::of_columns(&self.datasets, named, &columns)
                        .map(|dataset| (partition_indices(&dataset, &columns), dataset))
                        .map_err(|rejection| Refused { position, rejection })
                }
                // Each line of JSON has its own fields: the first one selects the dataset. After lines
                // that are no JSON it would be a guess.
                Ok(_) => {
                    if let Some(first) = &self.refused {
                        return Err(first.clone());
                    }
                    self.is_started = true;
                    return Ok(Step::Started);
                }
                Err(refusal) => Err(refused(refusal)),
            };
            match found {
                Ok((indices, dataset)) => {
                    self.partition_indices = indices;
                    self.dataset = Some(dataset);
                    self.is_started = true;
                    return Ok(Step::Started);
                }
                Err(refused) => {
                    let first = self.refused.get_or_insert(refused);
                    if !self.reader.skip_header() {
                        return Err(first.clone());
                    }
                }
            }
        }
    }
}

/// Returns the refusal of an object that cannot be read.
fn refused(refusal: Refusal) -> Refused {
    let rejection = Rejection::row(code_of(refusal.kind), refusal.message);
    Refused { position: refusal.position, rejection }
}

/// Returns the indices of the dataset's partition columns in a header.
fn partition_indices(dataset: &Dataset, columns: &[&str]) -> Vec<usize> {
    dataset.partition_columns().filter_map(|column| index_of(columns, column)).collect()
}

impl FeedRow<'_> {
    /// Returns the position of the row.
    #[must_use]
    pub fn position(&self) -> Position {
        self.row.position
    }

    /// The exact bytes, without the line's end.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.row.bytes
    }

    /// Returns the dataset.
    #[must_use]
    pub fn dataset(&self) -> &Arc<Dataset> {
        self.dataset
    }

    /// Returns the partition key: the value of the first of the dataset's partition columns that the
    /// row has a value in.
    #[must_use]
    pub fn partition_key(&self) -> Option<Cow<'_, str>> {
        match self.row.header().format() {
            Format::Csv => {
                let cells = self.partition_indices.iter();
                cells.filter_map(|&index| self.row.field_at(index)).find_map(trimmed)
            }
            Format::JsonLines => self.dataset.partition_key(self.row.text()),
        }
    }

    /// Appends the payload: one JSON object.
    pub fn write_payload(&self, out: &mut Vec<u8>) {
        self.row.write_json(out);
    }
}

/// Returns a key without blanks around it; `None` if nothing is left.
fn trimmed(key: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let key = match key {
        Cow::Borrowed(key) => Cow::Borrowed(key.trim()),
        Cow::Owned(key) => Cow::Owned(key.trim().to_owned()),
    };
    (!key.is_empty()).then_some(key)
}

/// Returns the code under which a row of this fault is quarantined.
#[must_use]
pub fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidJson => Code::InvalidJson,
        ErrorKind::BrokenQuoting => Code::BrokenQuoting,
        ErrorKind::WrongColumnCount => Code::WrongColumnCount,
        // The message names the format.
        ErrorKind::NotUtf8 | ErrorKind::UnsupportedFormat => Code::NotUtf8,
        ErrorKind::NulByte => Code::NulByte,
        ErrorKind::RowTooLarge => Code::RowTooLarge,
        ErrorKind::EmptyObject => Code::EmptyObject,
        ErrorKind::DuplicateColumn => Code::DuplicateColumn,
        ErrorKind::HeaderTooLarge => Code::HeaderTooLarge,
        ErrorKind::TruncatedGzip => Code::TruncatedGzip,
        ErrorKind::CorruptGzip => Code::CorruptGzip,
        ErrorKind::GzipRatio => Code::GzipRatio,
    }
}

/// Reads bytes as the one JSON object they must be, without the blanks around it; `what` names the
/// bytes in the message.
///
/// # Errors
///
/// [`Code::NotUtf8`], [`Code::NulByte`] or [`Code::InvalidJson`].
pub fn json_object<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, Rejection> {
    tributary_rows::json_object(bytes, what)
        .map_err(|error| Rejection::row(code_of(error.kind), error.message))
}

/// The dataset of the first line of a JSON Lines file.
fn of_fields(datasets: &Datasets, row: &Row<'_>) -> Result<Arc<Dataset>, Rejection> {
    let fields: serde_json::Map<_, _> = serde_json::from_str(row.text()).unwrap_or_default();
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    recognition::of_fields(datasets, &names)
}

/// Returns the index of a column, exact or in another case.
fn index_of(columns: &[&str], name: &str) -> Option<usize> {
    let exact = columns.iter().position(|column| *column == name);
    let folded = || {
        let name = name.to_lowercase();
        columns.iter().position(|column| column.trim().to_lowercase() == name)
    };
    exact.or_else(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shipped;

    /// Returns for each row of an object with this name whether it is good.
    fn rows(name: &str, text: &str) -> Vec<bool> {
        let datasets = shipped();
        let flood = datasets.by_name("flood").cloned();
        let mut feed = Feed::new(&datasets, flood, Limits::default()).named(name);
        feed.push(text.as_bytes());
        feed.finish();
        let mut rows = Vec::new();
        loop {
            match feed.step() {
                Ok(Step::Row(_)) => rows.push(true),
                Ok(Step::Bad(..)) => rows.push(false),
                Ok(Step::Started | Step::NeedInput) => {}
                Ok(Step::End) | Err(_) => return rows,
            }
        }
    }

    #[test]
    fn unknown_header_position_is_independent_of_pieces() {
        let object = b"\xef\xbb\xbf\r\n \r\nno,columns\n1,2\n";
        for size in 1..=object.len() {
            let mut feed = Feed::new(&shipped(), None, Limits::default());
            let mut pieces = object.chunks(size);
            let refused = loop {
                match feed.step() {
                    Ok(Step::NeedInput) => match pieces.next() {
                        Some(piece) => feed.push(piece),
                        None => feed.finish(),
                    },
                    Ok(_) => unreachable!("there is no dataset"),
                    Err(refused) => break refused,
                }
            };
            assert_eq!(refused.position, Position { offset: 8, row: 1 }, "{size}");
        }
    }

    #[test]
    fn file_name_selects_the_format() {
        let text = "no JSON\n{\"sensor_id\":\"s\"}\n";

        for name in ["a.jsonl", "a.NDJSON", "folder/a.json", "a.jsonl.gz"] {
            assert_eq!(rows(name, text), [false, true], "{name}");
        }
        for name in ["a.csv", "jsonl", "a.jsonl.csv"] {
            assert_eq!(rows(name, text), [false; 0], "{name}: a CSV without the columns");
        }
    }
}
