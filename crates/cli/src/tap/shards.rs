//! Tail of one shard, read page by page at a rate that leaves the functions their share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jiff::Timestamp;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;
use tributary_aws::error::CallError;
use tributary_aws::tail::{Page, PageError, Reader, Record, Shard, Start};

use crate::pace;

/// Interval between two reads of a shard. A shard allows five reads per second, and each function
/// uses one.
const PAUSE: Duration = Duration::from_secs(1);

/// Interval between two reads while catching up.
const CATCHING_UP: Duration = Duration::from_millis(300);

/// Maximum read rate. A shard serves 2 MB per second to all its readers; half of it is left to the
/// others.
const BYTES_PER_SECOND: f64 = 1e6;

const INITIAL_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Maximum time without an answer from the service. Throttling is not limited, because it passes.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Records of one shard.
pub(super) struct Batch {
    pub shard: Arc<str>,
    pub records: Vec<Record>,
}

/// Retried reads over all shards.
#[derive(Debug, Default)]
pub(super) struct ReadStats {
    /// Throttled calls.
    pub throttled: AtomicU64,
    /// Expired iterators that were renewed.
    pub renewed: AtomicU64,
}

/// Reader of one shard.
pub(super) struct Tail {
    reader: Reader,
    shard: Arc<str>,
    /// Current iterator, and the start of the next one.
    iterator: Option<String>,
    start: Start,
    /// Start of reading. Every later record is shown, whichever iterator returns it.
    begun: Timestamp,
    stats: Arc<ReadStats>,
    failing_since: Option<Instant>,
}

/// Shard that was fully read, and its children.
pub(super) type EndedShard = (Arc<str>, Vec<Shard>);

impl Tail {
    pub(super) fn new(reader: Reader, shard: String, start: Start, stats: Arc<ReadStats>) -> Self {
        let (shard, begun) = (shard.into(), Timestamp::now());
        Self { reader, shard, iterator: None, start, begun, stats, failing_since: None }
    }

    /// Reads until the shard ends or the receiver is dropped.
    pub(super) async fn run(mut self, sender: Sender<Batch>) -> Result<EndedShard> {
        let mut delays = delays();
        loop {
            let Some(page) = self.page().await? else {
                sleep(delays.next().unwrap_or(MAX_DELAY)).await;
                continue;
            };
            self.failing_since = None;
            delays = self::delays();
            let is_caught_up = page.behind.is_zero() || page.records.is_empty();
            let bytes: usize = page.records.iter().map(|record| record.data.len()).sum();
            if let Some(last) = page.records.last() {
                self.start = Start::After(last.sequence_number.clone());
                let batch = Batch { shard: Arc::clone(&self.shard), records: page.records };
                if sender.send(batch).await.is_err() {
                    return Ok((self.shard, Vec::new()));
                }
            }
            if page.next.is_none() {
                let children =
                    if page.children.is_empty() { self.children().await? } else { page.children };
                return Ok((self.shard, children));
            }
            self.iterator = page.next;
            sleep(pause(is_caught_up, bytes)).await;
        }
    }

    /// Reads the next page. Returns `None` after a transient failure.
    async fn page(&mut self) -> Result<Option<Page>> {
        let current = match self.iterator.take() {
            Some(current) => current,
            None => match self.reader.iterator(&self.shard, &self.start).await {
                Ok(fresh) => fresh,
                Err(error) => return self.pass(error).map(|()| None),
            },
        };
        match self.reader.page(&current).await {
            Ok(page) => return Ok(Some(page)),
            Err(PageError::Expired) => self.renew(),
            Err(PageError::Call(error)) => {
                self.pass(error)?;
                self.iterator = Some(current);
            }
        }
        Ok(None)
    }

    /// Counts a transient failure. Returns other errors, and those that exceed the time limit.
    fn pass(&mut self, error: CallError) -> Result<()> {
        if is_throttle(&error) {
            self.stats.throttled.fetch_add(1, Ordering::Relaxed);
            self.failing_since = None;
            return Ok(());
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        match error {
            CallError::Retryable { .. } if since.elapsed() < TIMEOUT => Ok(()),
            error => bail!("{}: {error}", self.shard),
        }
    }

    /// Makes the next iterator start after the last record. If there was no record yet, a new
    /// `latest` iterator would skip the records that arrived since the start.
    fn renew(&mut self) {
        self.stats.renewed.fetch_add(1, Ordering::Relaxed);
        if self.start == Start::Latest {
            self.start = Start::At(self.begun);
        }
    }

    /// Looks up the child shards if the last page does not name them.
    async fn children(&mut self) -> Result<Vec<Shard>> {
        let mut delays = delays();
        loop {
            match self.reader.shards().await {
                Ok(shards) => {
                    let is_child =
                        |shard: &Shard| shard.parents.iter().any(|it| **it == *self.shard);
                    return Ok(shards.into_iter().filter(is_child).collect());
                }
                Err(error) => self.pass(error)?,
            }
            sleep(delays.next().unwrap_or(MAX_DELAY)).await;
        }
    }
}

fn delays() -> impl Iterator<Item = Duration> {
    pace::delays(INITIAL_DELAY, MAX_DELAY)
}

fn is_throttle(error: &CallError) -> bool {
    let CallError::Retryable { code, .. } = error else { return false };
    code == "ProvisionedThroughputExceededException"
        || code == "LimitExceededException"
        || code.contains("Throttl")
}

/// Returns the wait after a page of `bytes` bytes.
#[expect(clippy::cast_precision_loss, reason = "a page has at most 10 MiB")]
fn pause(is_caught_up: bool, bytes: usize) -> Duration {
    let least = if is_caught_up { PAUSE } else { CATCHING_UP };
    least.max(Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_interval_grows_with_page_size() {
        assert_eq!(pause(true, 0), Duration::from_secs(1));
        assert_eq!(pause(false, 1_000), Duration::from_millis(300));
        assert_eq!(pause(false, 10_000_000), Duration::from_secs(10));
    }
}
