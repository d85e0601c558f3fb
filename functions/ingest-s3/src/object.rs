//! Work on one object, chunk by chunk: reads a range, makes records, delivers them and tracks the
//! position.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use tracing::warn;
use tributary_aws::batch::{BatchOutcome, Disposition};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::kinesis::{self, StreamRecord};
use tributary_aws::producer::Outbound;
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine::BadRows;
use tributary_aws::s3::{ObjectName, ObjectStore, ReadError};
use tributary_aws::sqs::Queue;
use tributary_aws::takeover::Stale;
use tributary_datasets::ingest::{BadFeedRow, Feed, FeedRow, SourceName, Step};
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_model::raw::RawRecordWriter;
use tributary_model::time::millis;
use tributary_rows::Position;

use crate::handler::{IngestS3, Totals};
use crate::message::Task;

/// Size of the first range, which holds any header. Later ranges are large enough to be worth a
/// request.
const FIRST_RANGE: u64 = 256 * 1024;
const RANGE: u64 = 8 * 1024 * 1024;

/// Maximum number of bytes of a plain object that one message covers; the rest is enqueued. If
/// Lambda is killed in the middle, no more than this is repeated, under the same ids.
pub(crate) const SEGMENT: u64 = 16 * 1024 * 1024;

/// Time that a range and a chunk may need. With less left, the rest is enqueued.
const CONTINUATION_RESERVE: Duration = Duration::from_secs(8);

/// Work on one object.
pub(crate) struct Work<'h, O, R, Q, C> {
    handler: &'h IngestS3<O, R, Q, C>,
    pub task: Task,
    deadline: Deadline,
    feed: Feed,
    writer: Option<RawRecordWriter>,
    source: SourceName,
    /// Start of the next range, and the length of the object once it is known.
    offset: u64,
    object_bytes: Option<u64>,
    chunk: Chunk,
    /// A row was found, good or bad.
    has_rows: bool,
    totals: &'h mut Totals,
}

/// Rows to deliver. The position of an [`Outbound`] is its index in `positions`.
#[derive(Default)]
struct Chunk {
    positions: Vec<Position>,
    dispositions: Vec<Disposition>,
    records: Vec<Outbound<StreamRecord>>,
    record_bytes: usize,
    bad_rows: BadRows,
}

/// Reasons to stop before the end of an object, or of the message that names it.
pub(crate) enum Stop {
    /// Retryable error; the rest of the object begins at this row.
    At(Option<Position>, String),
    Setup(SetupError),
    /// Object of a dataset that only a later configuration can have.
    Stale(Stale),
}

impl From<SetupError> for Stop {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl<'h, O, R, Q, C> Work<'h, O, R, Q, C>
where
    O: ObjectStore,
    R: BatchPut<Entry = StreamRecord>,
    Q: BatchPut<Entry = Vec<u8>>,
    C: Queue,
{
    pub(crate) fn new(
        handler: &'h IngestS3<O, R, Q, C>,
        task: Task,
        deadline: Deadline,
        totals: &'h mut Totals,
    ) -> Self {
        let (object, datasets) = (&task.object, &handler.datasets);
        let (version, etag) = (object.version_id.as_deref(), object.etag.as_deref());
        Self {
            // A continuation knows the dataset, and reads in the dialect of the first segment.
            feed: Feed::new(
                datasets,
                datasets.by_key(&object.key).cloned(),
                handler.limits.clone(),
            )
            .known(task.dataset.clone())
            .named(&object.key),
            writer: None,
            source: SourceName::s3(&object.bucket, &object.key, version, etag),
            handler,
            task,
            deadline,
            offset: 0,
            object_bytes: None,
            chunk: Chunk::default(),
            has_rows: false,
            totals,
        }
    }

    /// Reads the object until it ends, time runs short, or a sink accepts nothing more. Returns the
    /// position of the rest to enqueue, or `None` if nothing is left: what cannot be read is in
    /// quarantine. Updates the task with what it learnt of the object, for the continuation.
    pub(crate) async fn run(&mut self) -> Result<Option<Position>, Stop> {
        let begun = self.task.start.map_or(0, |start| start.offset);
        let done = |totals: &Totals| totals.counts.delivered + totals.counts.quarantined;
        let before = done(self.totals);
        let read = self.read().await;
        // The first line of JSON Lines determines the dataset; the first line of the rest may not.
        let dataset = self.task.dataset.take();
        self.task.dataset = dataset.or_else(|| self.feed.dataset().cloned());
        if matches!(read, Ok(None)) && self.task.start.is_none() && !self.has_rows {
            let ObjectName { bucket, key, .. } = &self.task.object;
            warn!(bucket, key, "no row was read of the object");
            self.totals.without_rows += 1;
        }
        match read {
            // Progress is enqueued as a continuation. Without progress the message itself must be
            // redelivered, so that the queue counts its receptions and finally parks it.
            Err(Stop::At(Some(rest), _)) if rest.offset > begun && done(self.totals) > before => {
                Ok(Some(rest))
            }
            read => read,
        }
    }

    /// Reads the object. Returns `None` at its end, or the position of the rest to enqueue.
    async fn read(&mut self) -> Result<Option<Position>, Stop> {
        let begun = self.task.start.map_or(0, |start| start.offset);
        loop {
            match self.feed.step() {
                Ok(Step::NeedInput) => {
                    let position = self.feed.position();
                    let far = !self.feed.is_sequential()
                        && position.offset >= begun + self.handler.segment_bytes;
                    if far || self.deadline.remaining() < CONTINUATION_RESERVE {
                        self.flush().await?;
                        if position.offset > begun {
                            return Ok(Some(position));
                        }
                        // An object whose next row is never reached within one invocation would be
                        // enqueued permanently.
                        let error = "no row was reached in time".to_owned();
                        return Err(Stop::At(Some(position), error));
                    }
                    if !self.read_range().await? {
                        return Ok(None);
                    }
                }
                Ok(Step::Started) => {
                    // A continuation resumes at its start once the header is known.
                    if let Some(start) = self.task.start
                        && let Some(offset) = self.feed.seek(start)
                    {
                        self.offset = offset;
                    }
                }
                Ok(Step::Row(row)) => {
                    self.has_rows = true;
                    let now = (self.handler.clock)();
                    let (position, dataset) = (row.position(), row.dataset().name());
                    let writer = self.writer.get_or_insert_with(|| RawRecordWriter::new(dataset));
                    let max = self.handler.raw.target().limits().entry_bytes;
                    let (chunk, source) = (&mut self.chunk, &self.source);
                    match record(writer, source, &row, &millis(now), max) {
                        Ok(record) => chunk.push_record(position, record),
                        Err(rejection) => {
                            let (dataset, bytes) = (Some(dataset), Some(row.bytes()));
                            chunk.push_bad_row(position, &rejection, source, dataset, bytes, now);
                        }
                    }
                    self.flush_when_full().await?;
                }
                Ok(Step::Bad(BadFeedRow { position, rejection, dataset, bytes })) => {
                    self.has_rows = true;
                    let dataset = dataset.map(|dataset| dataset.name());
                    let (source, now) = (&self.source, (self.handler.clock)());
                    self.chunk.push_bad_row(position, &rejection, source, dataset, bytes, now);
                    self.flush_when_full().await?;
                }
                Ok(Step::End) => {
                    self.flush().await?;
                    return Ok(None);
                }
                Err(refused) => {
                    self.refuse(refused.position, &refused.rejection).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Reads the next range into the feed. Returns `false` if the object is missing; it is then in
    /// quarantine.
    async fn read_range(&mut self) -> Result<bool, Stop> {
        if self.object_bytes.is_some_and(|length| self.offset >= length) {
            self.feed.finish();
            return Ok(true);
        }
        let length = if self.offset == 0 { FIRST_RANGE } else { RANGE };
        // Bytes beyond the segment are left to the next message.
        let range = self.offset..self.offset + length.min(self.handler.segment_bytes);
        let read = self.handler.objects.read(&self.task.object, range);
        let answer = timeout(self.deadline.remaining(), read).await;
        let answer = answer.unwrap_or_else(|_| Err(CallError::time_out("s3:GetObject").into()));
        let position = self.feed.position();
        let (code, message) = match answer {
            Ok(piece) => {
                if self.object_bytes.is_none() {
                    self.pin(piece.version_id, piece.etag);
                }
                self.object_bytes = Some(piece.object_bytes);
                self.offset += piece.bytes.len() as u64;
                self.feed.push(&piece.bytes);
                // The store has fewer bytes than it reports: nothing more will arrive.
                if piece.bytes.is_empty() {
                    self.feed.finish();
                }
                return Ok(true);
            }
            Err(ReadError::Missing) => {
                (Code::ObjectMissing, "the object was deleted before it was read")
            }
            Err(ReadError::Changed) => {
                (Code::ObjectChanged, "the object was overwritten while it was read")
            }
            Err(ReadError::Call(CallError::Setup(error))) => return Err(error.into()),
            Err(ReadError::Call(error)) => {
                self.flush().await?;
                return Err(Stop::At(Some(position), error.to_string()));
            }
        };
        self.refuse(position, &Rejection::row(code, message)).await?;
        Ok(false)
    }

    /// Pins the version after the first range: all later reads use the same one, and ids are made
    /// of it.
    fn pin(&mut self, version_id: Option<String>, etag: Option<String>) {
        let object = &mut self.task.object;
        object.version_id = object.version_id.take().or(version_id);
        object.etag = object.etag.take().or(etag);
        let (version, etag) = (object.version_id.as_deref(), object.etag.as_deref());
        self.source = SourceName::s3(&object.bucket, &object.key, version, etag);
    }

    /// Quarantines everything from `position` on as one bad row.
    async fn refuse(&mut self, position: Position, rejection: &Rejection) -> Result<(), Stop> {
        let dataset = self.feed.dataset().or(self.task.dataset.as_ref());
        let dataset = dataset.map(|dataset| dataset.name());
        let now = (self.handler.clock)();
        self.chunk.push_bad_row(position, rejection, &self.source, dataset, None, now);
        self.flush().await
    }

    async fn flush_when_full(&mut self) -> Result<(), Stop> {
        let full = self.chunk.positions.len() >= kinesis::MAX_ENTRIES
            || self.chunk.record_bytes >= kinesis::MAX_BYTES;
        if full { self.flush().await } else { Ok(()) }
    }

    /// Delivers the chunk, bad rows first.
    async fn flush(&mut self) -> Result<(), Stop> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let quarantined = chunk.bad_rows.deliver(&self.handler.quarantine, self.deadline).await?;
        let end = quarantined.first_undelivered().unwrap_or(chunk.positions.len());
        let ready = chunk.records.partition_point(|record| record.position < end);
        let mut sent = self.handler.raw.send(&chunk.records[..ready], self.deadline).await?;
        let dataset = self.feed.dataset().map(|dataset| dataset.name());
        let (rejected, now) = (sent.take_rejected(), (self.handler.clock)());
        let refused = chunk.reject(&rejected, &self.source, dataset, now);
        sent.extend(refused.deliver(&self.handler.quarantine, self.deadline).await?);
        self.totals.retried += quarantined.retried + sent.retried;

        let undelivered = quarantined.undelivered.iter().chain(&sent.undelivered).copied();
        let outcome = BatchOutcome::new(&chunk.dispositions, undelivered);
        outcome.add_to(&mut self.totals.counts, &mut self.totals.codes);
        let Some(first) = outcome.first_undelivered else { return Ok(()) };
        let error = sent.last_error.or(quarantined.last_error).unwrap_or_default();
        Err(Stop::At(Some(chunk.positions[first]), error))
    }
}

impl Chunk {
    fn push_record(&mut self, position: Position, record: StreamRecord) {
        self.record_bytes += record.size();
        self.records.push(Outbound { position: self.positions.len(), entry: record });
        self.positions.push(position);
        self.dispositions.push(Disposition::Delivered);
    }

    fn push_bad_row(
        &mut self,
        position: Position,
        rejection: &Rejection,
        source: &SourceName,
        dataset: Option<&str>,
        bytes: Option<&[u8]>,
        now: Timestamp,
    ) {
        let origin = origin_of(position, source, dataset);
        self.bad_rows.push(self.positions.len(), rejection, &origin, bytes, now);
        self.positions.push(position);
        self.dispositions.push(Disposition::Quarantined(rejection.code));
    }

    /// Returns the bad rows of the records that the stream rejected for what they contain. `source`
    /// locates their bytes.
    fn reject(
        &mut self,
        rejected: &BTreeMap<usize, String>,
        source: &SourceName,
        dataset: Option<&str>,
        now: Timestamp,
    ) -> BadRows {
        let mut bad_rows = BadRows::default();
        for (&index, reason) in rejected {
            let origin = origin_of(self.positions[index], source, dataset);
            bad_rows.push(index, &Rejection::row(Code::Refused, reason), &origin, None, now);
            self.dispositions[index] = Disposition::Quarantined(Code::Refused);
        }
        bad_rows
    }
}

fn origin_of<'o>(position: Position, source: &SourceName, dataset: Option<&'o str>) -> Origin<'o> {
    Origin {
        dataset,
        source: source.at(position).into(),
        record_id: source.record_id(position).to_string().into(),
        ..Origin::default()
    }
}

/// Returns the record of a row, unless it exceeds the maximum size.
fn record(
    writer: &RawRecordWriter,
    source: &SourceName,
    row: &FeedRow<'_>,
    received_at: &str,
    max: usize,
) -> Result<StreamRecord, Rejection> {
    let record_id = source.record_id(row.position()).to_string();
    let data = writer.write(&record_id, &source.at(row.position()), received_at, |out| {
        row.write_payload(out);
    });
    let key = row.partition_key();
    StreamRecord::new(key.as_deref().unwrap_or(&record_id), data).within(max)
}
