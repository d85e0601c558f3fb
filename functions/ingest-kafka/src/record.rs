//! Classification of a Kafka record: a raw record, a bad row, or filtered as a tombstone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use tributary_aws::batch::Disposition;
use tributary_aws::kinesis::{StreamRecord, too_large};
use tributary_aws::producer::Outbound;
use tributary_aws::quarantine::BadRows;
use tributary_datasets::ingest::json_object;
use tributary_datasets::{Dataset, Datasets};
use tributary_model::bad_row::{Code, Origin, Rejection, shown};
use tributary_model::id::Id;
use tributary_model::raw::RawRecordWriter;
use tributary_model::time::millis;

use crate::config::Topics;
use crate::payload::{KafkaRecord, Received, Value};

/// Classified batch, before delivery. Positions count the records of all partitions, one partition
/// after the other.
#[derive(Default)]
pub(crate) struct Sorted {
    pub(crate) dispositions: Vec<Disposition>,
    pub(crate) records: Vec<Outbound<StreamRecord>>,
    pub(crate) bad_rows: BadRows,
}

/// Classifies the records of one batch, with values and buffers that all records share.
pub(crate) struct Sorter<'t> {
    /// Records so far.
    pub(crate) sorted: Sorted,
    /// Time of the first record whose topic has no dataset.
    pub(crate) unknown: Option<Timestamp>,
    /// Positions of records that the stream rejects, with its reasons.
    pub(crate) rejected: BTreeMap<usize, String>,
    topics: &'t Topics,
    datasets: &'t Datasets,
    now: Timestamp,
    received_at: String,
    max_record_bytes: usize,
    /// In the order of the datasets.
    writers: Vec<RawRecordWriter>,
    value: Vec<u8>,
    key: Vec<u8>,
    numbers: [String; 2],
    record_id: String,
    source: String,
}

impl<'t> Sorter<'t> {
    /// Returns a sorter of records received at `now`, of at most `max_record_bytes` in the stream
    /// with the partition key.
    pub(crate) fn new(
        topics: &'t Topics,
        datasets: &'t Datasets,
        now: Timestamp,
        max_record_bytes: usize,
    ) -> Self {
        let writers = datasets.iter().map(|dataset| RawRecordWriter::new(dataset.name()));
        Self {
            sorted: Sorted::default(),
            unknown: None,
            rejected: BTreeMap::new(),
            topics,
            datasets,
            now,
            received_at: millis(now),
            max_record_bytes,
            writers: writers.collect(),
            value: Vec::new(),
            key: Vec::new(),
            numbers: Default::default(),
            record_id: String::new(),
            source: String::new(),
        }
    }

    /// Classifies the next record, of the partition `name`.
    pub(crate) fn push(&mut self, name: &str, received: &Received<'_>) {
        let disposition = match received {
            Received::Record(record) => self.record(name, record),
            Received::Unreadable(json, offset) => {
                let rejection =
                    Rejection::row(Code::InvalidJson, "the record lacks the shape of one of Kafka");
                // It has no position of its own: its text identifies it.
                replace(&mut self.record_id, Id::of_text(&["kafka", name, json]));
                self.source_is(name, *offset);
                self.reject(&rejection, None, None, json.as_bytes())
            }
        };
        self.sorted.dispositions.push(disposition);
    }

    fn record(&mut self, name: &str, record: &KafkaRecord<'_>) -> Disposition {
        let mut value = std::mem::take(&mut self.value);
        let (bytes, made) = match record.value_into(&mut value) {
            // A tombstone marks a key as deleted from the topic; it is no row.
            Value::Null => {
                self.value = value;
                return Disposition::Filtered;
            }
            Value::NotBase64(text) => {
                self.place(name, record);
                let rejection = Rejection::row(Code::BrokenBase64, "the value is not base64");
                (text.as_bytes(), Err(rejection))
            }
            Value::Bytes => {
                self.place(name, record);
                (value.as_slice(), self.raw(record, &value))
            }
        };
        let position = self.sorted.dispositions.len();
        let made = match self.rejected.get(&position) {
            Some(reason) => Err(Rejection::row(Code::Refused, reason)),
            None => made,
        };
        let disposition = match made {
            Ok(entry) => {
                self.sorted.records.push(Outbound { position, entry });
                Disposition::Delivered
            }
            Err(rejection) => {
                if rejection.code == Code::UnknownDataset {
                    self.unknown = self.unknown.or(record.arrival_time());
                }
                let dataset = self.topics.dataset(&record.topic, self.datasets);
                let dataset = dataset.map(AsRef::as_ref);
                self.reject(&rejection, dataset, record.arrival_time(), bytes)
            }
        };
        self.value = value;
        disposition
    }

    /// Returns the raw record of `value` for the stream.
    fn raw(&mut self, record: &KafkaRecord<'_>, value: &[u8]) -> Result<StreamRecord, Rejection> {
        let own = self.topics.dataset(&record.topic, self.datasets);
        let mut known = self.datasets.iter().zip(&self.writers);
        let found = known.find(|(dataset, _)| own.is_some_and(|own| own.name() == dataset.name()));
        let (_, writer) = found.ok_or_else(|| {
            let topic = shown(&record.topic);
            let message = format!(
                "TOPIC_DATASETS does not name the topic {topic}, and no dataset is called so"
            );
            Rejection::row(Code::UnknownDataset, message)
        })?;

        if value.len() > self.max_record_bytes {
            return Err(too_large(value.len(), self.max_record_bytes));
        }
        let payload = json_object(value, "value")?;
        let data = writer.write(&self.record_id, &self.source, &self.received_at, |out| {
            push_on_one_line(out, payload);
        });
        let key = record.key_in(&mut self.key).unwrap_or(&self.record_id);
        StreamRecord::new(key, data).within(self.max_record_bytes)
    }

    /// Sets id and source to those of a record: topic, partition and offset.
    fn place(&mut self, name: &str, record: &KafkaRecord<'_>) {
        let [partition, offset] = &mut self.numbers;
        replace(partition, record.partition);
        replace(offset, record.offset);
        let id = Id::of_text(&["kafka", &record.topic, partition, offset]);
        replace(&mut self.record_id, id);
        self.source_is(name, Some(record.offset));
    }

    /// Sets the source to `kafka:<topic>-<partition>#offset=<offset>`.
    fn source_is(&mut self, name: &str, offset: Option<i64>) {
        replace(&mut self.source, format_args!("kafka:{name}"));
        if let Some(offset) = offset {
            // Writing to a string cannot fail.
            let _ = write!(self.source, "#offset={offset}");
        }
    }

    fn reject(
        &mut self,
        rejection: &Rejection,
        dataset: Option<&Dataset>,
        arrived_at: Option<Timestamp>,
        bytes: &[u8],
    ) -> Disposition {
        let position = self.sorted.dispositions.len();
        let origin = Origin {
            dataset: dataset.map(Dataset::name),
            source: self.source.as_str().into(),
            record_id: self.record_id.as_str().into(),
            arrived_at,
            ..Origin::default()
        };
        self.sorted.bad_rows.push(position, rejection, &origin, Some(bytes), self.now);
        Disposition::Quarantined(rejection.code)
    }
}

/// Replaces the content of `text` with `value`.
fn replace(text: &mut String, value: impl std::fmt::Display) {
    text.clear();
    // Writing to a string cannot fail.
    let _ = write!(text, "{value}");
}

/// Appends `json` with blanks for line ends, because the raw layer has one record per line. Line
/// ends in JSON are white space between tokens.
fn push_on_one_line(out: &mut Vec<u8>, json: &str) {
    out.extend(json.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}
