//! Batches of a topic: selects the records of the next one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::payload;
use crate::settings::Limits;

/// Backoff of a partition after its first failure; it doubles with each further failure, up to
/// [`MAX_PAUSE`].
const INITIAL_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition.
    pub number: i32,
}

impl Partition {
    /// Creates partition `number` of `topic`.
    #[must_use]
    pub fn new(topic: &str, number: i32) -> Self {
        Self { topic: topic.to_owned(), number }
    }
}

/// Formats the partition's name in payloads and answers.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.number)
    }
}

/// Consumed record that waits for the function.
#[derive(Clone, Debug)]
pub struct Record {
    /// Partition of the record.
    pub partition: Partition,
    /// Offset in the partition.
    pub offset: i64,
    /// Its JSON text in a payload.
    pub json: String,
    /// Time at which it was consumed.
    pub arrived: Instant,
}

/// Consumed, undelivered records of one topic, in the order of each partition.
#[derive(Debug, Default)]
pub struct Queue {
    /// Waiting records.
    pub records: Vec<Record>,
    backoffs: BTreeMap<Partition, Backoff>,
}

/// Backoff of a partition that failed.
#[derive(Debug)]
struct Backoff {
    until: Instant,
    pause: Duration,
}

impl Queue {
    /// Takes the next batch, if one is complete. Leaves out partitions in backoff. A record that
    /// exceeds the payload limit is a batch of its own.
    pub fn take(&mut self, limits: Limits, frame: usize, now: Instant) -> Option<Vec<Record>> {
        let mut chosen = Vec::new();
        let mut seen: Vec<&Partition> = Vec::new();
        let (mut bytes, mut is_full) = (frame, false);
        for (index, record) in self.records.iter().enumerate() {
            if self.backoffs.get(&record.partition).is_some_and(|backoff| now < backoff.until) {
                continue;
            }
            bytes += record.json.len() + 1;
            if !seen.contains(&&record.partition) {
                bytes += payload::partition_frame(&record.partition);
                seen.push(&record.partition);
            }
            is_full = bytes > limits.bytes;
            if is_full && !chosen.is_empty() {
                break;
            }
            chosen.push(index);
            is_full |= chosen.len() == limits.records;
            if is_full {
                break;
            }
        }
        let first = &self.records[*chosen.first()?];
        if !is_full && now < first.arrived + limits.window {
            return None;
        }
        let (mut indexes, mut chosen) = (0.., chosen.into_iter().peekable());
        let is_chosen = |_: &mut Record| chosen.next_if(|it| indexes.next() == Some(*it)).is_some();
        Some(self.records.extract_if(.., is_chosen).collect())
    }

    /// Puts undelivered records back in front of all others. Their partitions wait for a backoff
    /// that grows with each failure.
    pub fn requeue(&mut self, records: Vec<Record>, now: Instant) {
        let mut failed: Vec<&Partition> = records.iter().map(|it| &it.partition).collect();
        failed.sort_unstable();
        failed.dedup();
        for partition in failed {
            let backoff = self.backoffs.entry(partition.clone());
            let backoff = backoff.or_insert(Backoff { until: now, pause: INITIAL_PAUSE });
            backoff.until = now + backoff.pause;
            backoff.pause = MAX_PAUSE.min(backoff.pause * 2);
        }
        self.records.splice(..0, records);
    }

    /// Resets the backoff of a delivered partition.
    pub fn delivered(&mut self, partition: &Partition) {
        self.backoffs.remove(partition);
    }

    /// Drops a partition that is no longer assigned.
    pub fn forget(&mut self, partition: &Partition) {
        self.records.retain(|record| record.partition != *partition);
        self.backoffs.remove(partition);
    }

    /// Returns the next time at which a batch may become complete.
    #[must_use]
    pub fn next_at(&self, window: Duration) -> Option<Instant> {
        let of = |record: &Record| {
            let backoff = self.backoffs.get(&record.partition).map(|backoff| backoff.until);
            backoff.unwrap_or(record.arrived).max(record.arrived + window)
        };
        self.records.iter().map(of).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { records: 3, bytes: 1_000, window: Duration::from_millis(500) };

    fn record(number: i32, offset: i64, arrived: Instant) -> Record {
        let json = "x".repeat(100);
        Record { partition: Partition::new("t", number), offset, json, arrived }
    }

    fn queue(offsets: &[(i32, i64)], now: Instant) -> Queue {
        let mut queue = Queue::default();
        for (number, offset) in offsets {
            queue.records.push(record(*number, *offset, now));
        }
        queue
    }

    fn offsets(batch: &[Record]) -> Vec<(i32, i64)> {
        batch.iter().map(|it| (it.partition.number, it.offset)).collect()
    }

    #[test]
    fn batch_waits_for_size_or_window() {
        let now = Instant::now();
        let mut queue = queue(&[(0, 1), (1, 1)], now);

        assert!(queue.take(LIMITS, 0, now + Duration::from_millis(499)).is_none());
        assert_eq!(queue.next_at(LIMITS.window), Some(now + LIMITS.window));
        let late = queue.take(LIMITS, 0, now + LIMITS.window).unwrap();
        assert_eq!(offsets(&late), [(0, 1), (1, 1)]);
        for offset in 2..6 {
            queue.records.push(record(0, offset, now));
        }
        assert_eq!(offsets(&queue.take(LIMITS, 0, now).unwrap()), [(0, 2), (0, 3), (0, 4)]);
        assert!(queue.take(LIMITS, 0, now).is_none());
    }

    #[test]
    fn batch_stays_within_payload_limit() {
        let now = Instant::now();
        let mut queue = queue(&[(0, 1), (0, 2), (0, 3)], now);
        let limits = Limits { bytes: 10 + 101 + 101 + "\"t-0\":[],".len(), ..LIMITS };

        assert_eq!(queue.take(limits, 10, now).unwrap().len(), 2);
        assert!(queue.take(limits, 10, now).is_none(), "the third waits for its window");
    }

    #[test]
    fn oversized_record_is_its_own_batch() {
        let now = Instant::now();
        let mut queue = queue(&[(0, 1), (0, 2)], now);
        let limits = Limits { bytes: 50, ..LIMITS };

        assert_eq!(offsets(&queue.take(limits, 10, now).unwrap()), [(0, 1)]);
        assert_eq!(offsets(&queue.take(limits, 10, now).unwrap()), [(0, 2)]);
    }

    #[test]
    fn requeued_partition_comes_first_after_growing_backoff() {
        let mut now = Instant::now();
        let mut queue = queue(&[(0, 1), (1, 1), (0, 2), (1, 2), (1, 3), (0, 3)], now);

        let mut pauses = Vec::new();
        for _ in 0..10 {
            let batch = queue.take(LIMITS, 0, now).unwrap();
            let back: Vec<_> = batch.into_iter().filter(|it| it.partition.number == 0).collect();
            assert_eq!(offsets(&back)[..2], [(0, 1), (0, 2)]);
            queue.requeue(back, now);
            pauses.push(queue.backoffs[&Partition::new("t", 0)].until - now);
            if let Some(others) = queue.take(LIMITS, 0, now + LIMITS.window.min(INITIAL_PAUSE / 2))
            {
                assert!(others.iter().all(|it| it.partition.number == 1));
            }
            now += pauses[pauses.len() - 1];
        }

        assert_eq!(
            (pauses[0], pauses[1], pauses[9]),
            (INITIAL_PAUSE, INITIAL_PAUSE * 2, MAX_PAUSE)
        );
        queue.delivered(&Partition::new("t", 0));
        let rest = queue.take(LIMITS, 0, now).unwrap();
        assert_eq!(offsets(&rest), [(0, 1), (0, 2), (0, 3)]);
    }

    #[test]
    fn revoked_partition_is_dropped() {
        let now = Instant::now();
        let mut queue = queue(&[(0, 1), (1, 1), (0, 2)], now);

        queue.forget(&Partition::new("t", 0));

        assert_eq!(offsets(&queue.take(LIMITS, 0, now + LIMITS.window).unwrap()), [(1, 1)]);
        assert!(queue.records.is_empty());
    }

    #[test]
    fn partition_matches_its_full_name_only() {
        let partition = Partition::new("a-1", 2);

        assert_eq!(partition.to_string(), "a-1-2");
        for other in ["a-1", "a-1-20", "a-1-02", "b-1-2", "a-12", ""] {
            assert_ne!(partition.to_string(), other);
        }
    }
}
