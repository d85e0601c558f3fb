//! Objects of the quarantine and the lines in them: bad rows and, in objects beside them, marks of
//! replayed ones.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tributary_aws::bucket::Bucket;
use tributary_model::id::Id;
use tributary_model::time::{as_millis, millis};
use tributary_operate::quarantine::QuarantinedRow;

use crate::lines::{Unreadable, lines};

/// Number of objects fetched concurrently. A local AWS writes one object per row.
const PREFETCH: usize = 8;

/// Objects below a prefix; those of a day are below `dt=<day>/`.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub bucket: Bucket,
    pub prefix: String,
}

impl Layer {
    pub(super) fn new(bucket: Bucket, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        Self { bucket, prefix: format!("{prefix}/") }
    }

    /// Returns the layer whose prefix has this suffix.
    pub(super) fn beside(&self, suffix: &str) -> Self {
        let prefix = format!("{}{suffix}/", self.prefix.trim_end_matches('/'));
        Self { bucket: self.bucket.clone(), prefix }
    }

    /// Lists the keys of the objects in order of their days. An object belongs to the day on which its first
    /// line arrived, so its other lines may be from an adjacent day. Hence the range is widened by
    /// one day at both ends.
    pub(super) async fn objects(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Vec<String>> {
        let first = since.and_then(|since| since.checked_sub(24.hours()).ok()).map(day);
        let last = until.and_then(|until| until.checked_add(24.hours()).ok()).map(day);
        let after = first.map(|first| format!("{}dt={first}", self.prefix));
        let found = self.bucket.list(&self.prefix, after.as_deref()).await?;
        let is_before = |key: &String| match (self.day_of(key), &last) {
            (Some(day), Some(last)) => day <= last.as_str(),
            _ => true,
        };
        Ok(found.into_iter().map(|entry| entry.key).filter(is_before).collect())
    }

    /// Returns the message that no object exists, for all days or for the requested ones.
    pub(super) fn nothing(&self, of_days: bool) -> String {
        let days = if of_days { " of those days" } else { "" };
        format!("there is no object{days} below s3://{}/{}", self.bucket.name(), self.prefix)
    }

    fn day_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&self.prefix)?.strip_prefix("dt=")?.get(..10)
    }

    /// Fetches objects in order, up to 8 concurrently.
    pub(super) fn fetch(&self, keys: Vec<String>) -> Fetch {
        Fetch { bucket: self.bucket.clone(), keys: keys.into_iter(), fetching: VecDeque::new() }
    }
}

/// Returns the UTC day of a time.
fn day(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

/// Objects being fetched.
pub(super) struct Fetch {
    bucket: Bucket,
    keys: std::vec::IntoIter<String>,
    fetching: VecDeque<(String, JoinHandle<Result<Vec<u8>>>)>,
}

impl Fetch {
    /// Returns the key and the bytes of the next object.
    pub(super) async fn next(&mut self) -> Result<Option<(String, Vec<u8>)>> {
        while self.fetching.len() < PREFETCH {
            let Some(key) = self.keys.next() else { break };
            let (bucket, wanted) = (self.bucket.clone(), key.clone());
            let fetched = async move { Ok(bucket.get(&wanted).await?) };
            self.fetching.push_back((key, tokio::spawn(fetched)));
        }
        let Some((key, fetched)) = self.fetching.pop_front() else { return Ok(None) };
        let bytes = fetched.await.context("an object was lost")??;
        Ok(Some((key, bytes)))
    }
}

/// Calls `each` with every bad row of a quarantine object.
pub(super) fn bad_rows(
    key: &str,
    bytes: &[u8],
    unreadable: &mut Unreadable,
    mut each: impl FnMut(&[u8], &QuarantinedRow<'_>),
) {
    lines(key, bytes, unreadable, |line| {
        let row =
            QuarantinedRow::from_json(line).map_err(|error| format!("is no bad row: {error}"))?;
        each(line, &row);
        Ok(())
    });
}

/// Replay of one bad row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub record_id: String,
    /// Time of the rejection that was replayed. If the row is rejected later than that, it came
    /// back.
    #[serde(with = "as_millis")]
    pub rejected_at: Timestamp,
    pub code: String,
    #[serde(with = "as_millis")]
    pub replayed_at: Timestamp,
    /// Set if the replayed row differed from the one in quarantine.
    pub mended: bool,
}

/// State of a bad row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Waiting,
    Replayed,
    /// Replayed, and rejected again.
    CameBack,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Replayed => "replayed",
            Self::CameBack => "came back",
        }
    }
}

/// Marks read so far.
#[derive(Debug)]
pub(super) struct Marks {
    layer: Layer,
    /// Latest replayed rejection by record id.
    by_record: HashMap<String, Timestamp>,
}

impl Marks {
    /// Reads the marks of rows rejected since `since`.
    pub(super) async fn read(
        quarantine: &Layer,
        since: Option<Timestamp>,
        unreadable: &mut Unreadable,
    ) -> Result<Self> {
        let mut marks = Self { layer: quarantine.beside("-replayed"), by_record: HashMap::new() };
        let objects = marks.layer.objects(since, None).await?;
        let mut objects = marks.layer.fetch(objects);
        while let Some((key, bytes)) = objects.next().await? {
            lines(&key, &bytes, unreadable, |line| {
                let mark: Mark = serde_json::from_slice(line).map_err(|error| error.to_string())?;
                marks.add(&mark);
                Ok(())
            });
        }
        Ok(marks)
    }

    /// Returns the state of a row whose last rejection was at `rejected_at`.
    pub(super) fn state(&self, record_id: &str, rejected_at: Timestamp) -> State {
        match self.by_record.get(record_id) {
            None => State::Waiting,
            Some(replayed) if *replayed < rejected_at => State::CameBack,
            Some(_) => State::Replayed,
        }
    }

    /// Writes marks to a new object.
    pub(super) async fn write(&mut self, marks: &[Mark]) -> Result<()> {
        let (Some(first), mut lines) = (marks.first(), Vec::new()) else { return Ok(()) };
        for mark in marks {
            serde_json::to_writer(&mut lines, mark)?;
            lines.push(b'\n');
        }
        let id = Id::of([lines.as_slice()]);
        let at = first.replayed_at;
        let key = format!("{}dt={}/{}-{id}.jsonl", self.layer.prefix, day(at), millis(at));
        self.layer.bucket.put(&key, lines).await?;
        for mark in marks {
            self.add(mark);
        }
        Ok(())
    }

    fn add(&mut self, mark: &Mark) {
        let latest = self.by_record.entry(mark.record_id.clone()).or_insert(mark.rejected_at);
        *latest = (*latest).max(mark.rejected_at);
    }
}
