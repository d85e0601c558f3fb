//! Rebuilds raw records from bad rows.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fix::Fixes;
use super::row::{ObjectPosition, QuarantinedRow, SourceKind};
use tributary_datasets::Dataset;
use tributary_datasets::ingest::{Feed, Step, json_object};
use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::event::Event;
use tributary_model::raw::{RawRecord, RawRecordWriter};
use tributary_model::time::millis;
use tributary_pipeline::transform::{Outcome, Transformer, read_raw};
use tributary_rows::{Limits, object_fault};

/// Evaluates bad rows as the current ingest and `transform` would.
pub struct Replayer {
    /// Step from raw records to events.
    pub transformer: Transformer,
    /// Maximum size in bytes of a record with its partition key, raw or event.
    pub max_record_bytes: usize,
    /// Edits applied to every row.
    pub fixes: Fixes,
    /// Dataset of rows whose own dataset is unknown.
    pub dataset: Option<Arc<Dataset>>,
}

/// Manual repair of one row, in place of the quarantined bytes.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Repair {
    /// Payload of the row: one JSON object.
    pub payload: Option<Box<RawValue>>,
    /// Text of the row; for a CSV one row without its header.
    pub row: Option<String>,
}

/// Raw record rebuilt from a bad row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuiltRecord {
    /// Dataset of the record.
    pub dataset: String,
    /// Partition key in RAW.
    pub partition_key: String,
    /// Raw record with the id, source and arrival time of the bad row.
    ///
    /// Identical to the quarantined bytes if those are a raw record and nothing was changed.
    pub data: Vec<u8>,
    /// Set when the row differs from the one in quarantine.
    pub is_repaired: bool,
}

/// Result that replaying a bad row would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayVerdict {
    /// It would become an event.
    Event(RebuiltRecord),
    /// A configured filter would drop it.
    Filtered(RebuiltRecord),
    /// It would be rejected again. Holds the record if it would reach `transform`.
    Rejected(Rejection, Option<RebuiltRecord>),
    /// It is this event, too late for a window that can still be revised.
    Late(Vec<u8>),
    /// No record can be built.
    NotReplayable(NotReplayable),
}

/// Header of the CSV that a bad row came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvHeader {
    /// Delimiter of the fields.
    pub delimiter: u8,
    /// Names of the columns.
    pub columns: Vec<String>,
}

impl CsvHeader {
    /// Returns the header with a line `sep=` before it.
    fn text(&self) -> String {
        let delimiter = char::from(self.delimiter);
        let cells = self.columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
        let cells: Vec<_> = cells.collect();
        format!("sep={delimiter}\n{}\n", cells.join(&delimiter.to_string()))
    }
}

/// Reason why no record can be built from a bad row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReplayable {
    /// Code of the reason, for counting.
    pub code: &'static str,
    /// Message for the operator.
    pub message: String,
}

impl NotReplayable {
    /// Creates a reason.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Row as read now, with all edits.
struct Read {
    /// The row as a JSON object.
    payload: String,
    /// Dataset that the row names or whose columns it has.
    dataset: Option<String>,
    /// Set when the row differs from the one in quarantine.
    is_repaired: bool,
}

impl Replayer {
    /// Creates a replayer without edits.
    #[must_use]
    pub fn new(transformer: Transformer, max_record_bytes: usize) -> Self {
        Self { transformer, max_record_bytes, fixes: Fixes::default(), dataset: None }
    }

    /// Returns true if evaluating the row needs the columns of its CSV, which only the header of
    /// the object holds.
    #[must_use]
    pub fn needs_columns(row: &QuarantinedRow<'_>, repair: &Repair) -> bool {
        let has_text = row.payload_base64.is_some() || repair.row.is_some();
        matches!(row.source_kind(), SourceKind::Object(_)) && repair.payload.is_none() && has_text
    }

    /// Evaluates `row`, which comes from an object with this `header` if that is a CSV.
    #[must_use]
    pub fn evaluate(
        &self,
        row: &QuarantinedRow<'_>,
        header: Option<&CsvHeader>,
        repair: &Repair,
    ) -> ReplayVerdict {
        let bytes = row.bytes();
        let is_edited = repair.payload.is_some() || repair.row.is_some() || !self.fixes.is_empty();
        if row.code == Code::Late.as_str()
            && !is_edited
            && let Some(event) = bytes.as_deref().filter(|it| Event::from_json(it).is_ok())
        {
            return ReplayVerdict::Late(event.to_vec());
        }
        let raw = match row.source_kind() {
            SourceKind::Record => bytes.as_deref().and_then(|bytes| read_raw(bytes).ok()),
            _ => None,
        };
        let read = match self.read(row, raw.as_ref(), bytes.as_deref(), header, repair) {
            Ok(Ok(read)) => read,
            Ok(Err(rejection)) => return ReplayVerdict::Rejected(rejection, None),
            Err(unable) => return ReplayVerdict::NotReplayable(unable),
        };
        let Read { payload, dataset, is_repaired } = read;
        let Some(dataset) = self.dataset(row, dataset.as_deref()) else {
            let name = dataset.as_deref().or(row.dataset.as_deref()).unwrap_or_default();
            let message =
                format!("{} is none of {}", shown(name), self.transformer.datasets().names());
            return ReplayVerdict::Rejected(Rejection::row(Code::UnknownDataset, message), None);
        };
        let is_as_it_was =
            !is_repaired && raw.as_ref().is_some_and(|raw| raw.dataset == dataset.name());
        let data = match &bytes {
            Some(bytes) if is_as_it_was => bytes.clone(),
            _ => write(dataset, row, raw.as_ref(), &payload),
        };
        let key = dataset.partition_key(&payload);
        let partition_key = key.unwrap_or(Cow::Borrowed(&row.record_id)).into_owned();
        let rebuilt =
            RebuiltRecord { dataset: dataset.name().to_owned(), partition_key, data, is_repaired };
        self.outcome(rebuilt)
    }

    /// Returns the dataset of a row: its own, or the replayer's if its own is unknown.
    fn dataset(&self, row: &QuarantinedRow<'_>, read: Option<&str>) -> Option<&Arc<Dataset>> {
        let by_name = |name| self.transformer.datasets().by_name(name);
        let own = read.or(row.dataset.as_deref()).and_then(by_name).or(self.dataset.as_ref());
        match row.source_kind() {
            SourceKind::Topic(topic) => own.or_else(|| by_name(topic)),
            _ => own,
        }
    }

    /// Reads the row, repaired or not.
    fn read(
        &self,
        row: &QuarantinedRow<'_>,
        raw: Option<&RawRecord<'_>>,
        bytes: Option<&[u8]>,
        header: Option<&CsvHeader>,
        repair: &Repair,
    ) -> Result<Result<Read, Rejection>, NotReplayable> {
        let not_mended = |error| NotReplayable::new("not_mended", error);
        let new = repair.payload.as_deref().map(RawValue::get).or(repair.row.as_deref());
        let text: Cow<'_, [u8]> = match (new, raw, bytes) {
            (Some(text), _, _) => text.as_bytes().into(),
            (None, Some(raw), _) => raw.payload.get().as_bytes().into(),
            (None, None, Some(bytes)) => bytes.into(),
            (None, None, None) => return Err(no_bytes(row)),
        };
        if new.is_none() && raw.is_none() {
            no_row(row, &text)?;
        }
        let fixed = match repair.payload {
            None => self.fixes.row(&String::from_utf8_lossy(&text)).map_err(not_mended)?,
            Some(_) => None,
        };
        let mut is_repaired = new.is_some() || fixed.is_some();
        let text = fixed.map_or(text, |fixed| fixed.into_bytes().into());
        let of_raw = raw.map(|raw| raw.dataset.clone().into_owned());
        let is_payload = repair.payload.is_some() || raw.is_some();
        let read = match row.source_kind() {
            SourceKind::Object(object) if !is_payload => {
                self.read_object_row(row, object.key, header, &text)
            }
            _ => json_object(&text, if is_payload { "payload" } else { "value" })
                .map(|payload| (on_one_line(payload), of_raw)),
        };
        let (mut payload, dataset) = match read {
            Ok(read) => read,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let fixed = self.fixes.payload(&payload, &String::from_utf8_lossy(&text));
        if let Some(fixed) = fixed.map_err(not_mended)? {
            (payload, is_repaired) = (fixed, true);
        }
        Ok(Ok(Read { payload, dataset, is_repaired }))
    }

    /// Reads a row of an object as ingest does: after the header of its object, if that has one.
    fn read_object_row(
        &self,
        row: &QuarantinedRow<'_>,
        key: &str,
        header: Option<&CsvHeader>,
        text: &[u8],
    ) -> Result<(String, Option<String>), Rejection> {
        let datasets = self.transformer.datasets();
        let own = row.dataset.as_deref().and_then(|name| datasets.by_name(name));
        let own = own.or(self.dataset.as_ref()).cloned();
        let limits = Limits {
            max_row_bytes: self.max_record_bytes,
            max_header_bytes: usize::MAX,
            ..Limits::default()
        };
        let mut feed = Feed::new(datasets, datasets.by_key(key).cloned(), limits).known(own);
        // The bytes in quarantine are UTF-8, whatever the dataset declares for its files.
        feed.push("\u{feff}".as_bytes());
        match header {
            Some(header) => feed.push(header.text().as_bytes()),
            // Ingest would read any other text as the header of a CSV.
            None if !text.trim_ascii_start().starts_with(b"{") => {
                let fault = object_fault(&String::from_utf8_lossy(text));
                let message = fault.unwrap_or_else(|| "is no JSON object".to_owned());
                return Err(Rejection::row(Code::InvalidJson, message));
            }
            None => {}
        }
        feed.push(text);
        feed.push(b"\n");
        feed.finish();
        let mut found = None;
        loop {
            match feed.step().map_err(|refused| refused.rejection)? {
                Step::Started => {}
                Step::Row(row) if found.is_none() => {
                    let mut payload = Vec::new();
                    row.write_payload(&mut payload);
                    let payload = String::from_utf8_lossy(&payload).into_owned();
                    found = Some((payload, Some(row.dataset().name().to_owned())));
                }
                Step::Bad(bad) => return Err(bad.rejection),
                Step::Row(_) => {
                    let message = "the text is more than one row";
                    return Err(Rejection::row(Code::WrongColumnCount, message));
                }
                Step::NeedInput | Step::End => break,
            }
        }
        found.ok_or_else(|| Rejection::row(Code::EmptyObject, "there is nothing left of the row"))
    }

    /// Returns the verdict that `transform` would reach.
    fn outcome(&self, rebuilt: RebuiltRecord) -> ReplayVerdict {
        let size = rebuilt.data.len() + rebuilt.partition_key.len();
        if size > self.max_record_bytes {
            return ReplayVerdict::Rejected(
                self.too_large(Code::RowTooLarge, "record", size),
                None,
            );
        }
        match self.transform(&rebuilt.data) {
            Ok(true) => ReplayVerdict::Event(rebuilt),
            Ok(false) => ReplayVerdict::Filtered(rebuilt),
            Err(rejection) => ReplayVerdict::Rejected(rejection, Some(rebuilt)),
        }
    }

    /// Returns true if the raw record becomes an event, false if a filter drops it.
    fn transform(&self, data: &[u8]) -> Result<bool, Rejection> {
        let Outcome::Event(event) = self.transformer.record(&read_raw(data)?)? else {
            return Ok(false);
        };
        let size = event.to_json().len() + event.entity.len();
        if size > self.max_record_bytes {
            return Err(self.too_large(Code::EventTooLarge, "event", size));
        }
        Ok(true)
    }

    fn too_large(&self, code: Code, what: &str, bytes: usize) -> Rejection {
        let max = self.max_record_bytes;
        Rejection::row(code, format!("the {what} would have {bytes} bytes of {max}"))
    }
}

/// Writes the raw record of a row, with the id, source and arrival time that it had or would have
/// had.
fn write(
    dataset: &Dataset,
    row: &QuarantinedRow<'_>,
    raw: Option<&RawRecord<'_>>,
    payload: &str,
) -> Vec<u8> {
    let received_at = raw.map(|raw| raw.received_at).or(match row.source_kind() {
        SourceKind::Record => row.arrived_at,
        // Ingest rejects a row when it receives it.
        _ => None,
    });
    let received_at = millis(received_at.unwrap_or(row.rejected_at));
    RawRecordWriter::new(dataset.name()).write(&row.record_id, &row.source, &received_at, |out| {
        out.extend_from_slice(payload.as_bytes());
    })
}

/// Replaces line breaks by blanks: the raw layer holds one record per line.
///
/// In JSON, a line break can only occur between tokens, where a blank is equivalent.
fn on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// Returns the reason why a bad row has no bytes, with their location.
fn no_bytes(row: &QuarantinedRow<'_>) -> NotReplayable {
    let source = &row.source;
    let message = match row.source_kind() {
        SourceKind::Record => {
            let layer = row.arrived_at.map_or_else(String::new, |arrived_at| {
                let hour = arrived_at.strftime("raw/dt=%Y-%m-%d/hour=%H/");
                format!(", in the raw layer below {hour}")
            });
            format!("its record was too large to keep: it is {source}{layer}")
        }
        SourceKind::Object(_) if row.code == Code::RowTooLarge.as_str() => {
            format!("its row was too large to keep: it is at {source}")
        }
        SourceKind::Object(ObjectPosition { bucket, key, version_id, .. }) => {
            let version = version_id.filter(|version| *version != "null");
            let version = version.map_or_else(String::new, |it| format!("?versionId={it}"));
            let message = format!(
                "stands for all that is left of an object: once it can be read, \
                 `tributary replay 's3://{bucket}/{key}{version}'` sends its rows under the same ids"
            );
            return NotReplayable::new("rest_of_object", message);
        }
        _ => format!("its bytes were not kept: they are at {source}"),
    };
    NotReplayable::new("bytes_elsewhere", message)
}

/// Rejects bytes that can never be a row, regardless of how rows are read.
fn no_row(row: &QuarantinedRow<'_>, bytes: &[u8]) -> Result<(), NotReplayable> {
    let message = match row.source_kind() {
        SourceKind::Record
            if Event::from_json(bytes).is_ok() || row.code == Code::NotAnEvent.as_str() =>
        {
            "is a record of EVENTS: nothing leads from there to a row".to_owned()
        }
        SourceKind::Record => match read_raw(bytes) {
            Ok(_) => return Ok(()),
            Err(rejection) => format!("is no raw record: {}", rejection.message),
        },
        SourceKind::Message => "is a message of the queue that asks for no object".to_owned(),
        SourceKind::Object(_) | SourceKind::Topic(_) | SourceKind::Unknown => return Ok(()),
    };
    Err(NotReplayable::new("no_row", message))
}
