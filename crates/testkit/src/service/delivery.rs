//! Simulated Amazon Data Firehose: buffers records into objects.
//!
//! Firehose inserts nothing between records: producers end each record with a newline. See
//! <https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html>.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tributary_aws::firehose;
use tributary_aws::put::{EntryResult, Limits};

use super::{SimBucket, Store};
use crate::{clock, lock};

/// Buffering hints of the template: a buffer is flushed when it reaches either.
const BUFFER_BYTES: usize = 5 * 1024 * 1024;
const BUFFER_TIME: Duration = Duration::from_mins(1);

/// Delivery stream to a bucket.
#[derive(Debug)]
pub struct SimDelivery {
    bucket: Arc<SimBucket>,
    prefix: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    since: Duration,
    objects: u64,
}

impl SimDelivery {
    /// Creates a delivery stream to `bucket`, with keys that start with `prefix`.
    #[must_use]
    pub fn new(bucket: Arc<SimBucket>, prefix: &'static str) -> Self {
        Self { bucket, prefix, state: Mutex::default() }
    }

    /// Writes the buffer to an object.
    fn flush(&self, state: &mut State) {
        if state.buffer.is_empty() {
            return;
        }
        let key = format!("{}{:08}", self.prefix, state.objects);
        state.objects += 1;
        let bytes = std::mem::take(&mut state.buffer);
        self.bucket.put(&key, bytes);
    }

    /// Flushes and returns the lines of all objects.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        self.flush(&mut lock(&self.state));
        let objects = self.bucket.list(self.prefix);
        let bytes: Vec<u8> = objects.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(<[u8]>::to_vec).collect()
    }
}

impl Store for SimDelivery {
    type Entry = Vec<u8>;

    const OPERATION: &'static str = "firehose:PutRecordBatch";

    fn limits(&self) -> Limits {
        firehose::LIMITS
    }

    fn size(&self, entry: &Vec<u8>) -> usize {
        entry.len()
    }

    fn take(&self, entry: &Vec<u8>) -> EntryResult {
        let now = clock::elapsed();
        let mut state = lock(&self.state);
        let is_old = now.saturating_sub(state.since) >= BUFFER_TIME;
        if is_old || state.buffer.len() + entry.len() > BUFFER_BYTES {
            self.flush(&mut state);
        }
        if state.buffer.is_empty() {
            state.since = now;
        }
        state.buffer.extend_from_slice(entry);
        EntryResult::Stored
    }
}
