//! Objects of the quarantine and the lines in them.

use std::collections::VecDeque;

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tokio::task::JoinHandle;
use tributary_aws::bucket::{Bucket, Entry};
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

    /// Lists the objects in order of their days. An object belongs to the day on which its first
    /// line arrived, so its other lines may be from an adjacent day. Hence the range is widened by
    /// one day at both ends.
    pub(super) async fn objects(
        &self,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Vec<Entry>> {
        let first = since.and_then(|since| since.checked_sub(24.hours()).ok()).map(day);
        let last = until.and_then(|until| until.checked_add(24.hours()).ok()).map(day);
        let after = first.map(|first| format!("{}dt={first}", self.prefix));
        let mut found = self.bucket.list(&self.prefix, after.as_deref()).await?;
        let is_before = |entry: &Entry| match (self.day_of(&entry.key), &last) {
            (Some(day), Some(last)) => day <= last.as_str(),
            _ => true,
        };
        found.retain(is_before);
        Ok(found)
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
pub(super) fn day(time: Timestamp) -> String {
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
