//! HTTP target for lines: `ingest-http`, or a service that answers like it.
//!
//! Lines are gathered into requests of one dataset, and each line is in exactly one request.
//! Requests are sent concurrently, so the order of records is not kept.

mod address;
mod answer;
mod client;
mod delivery;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

pub(crate) use self::address::Address;
use self::client::Client;
use self::delivery::Delivery;
use super::lanes::Lanes;
use super::tally::Tally;
use super::{Item, SendResult, Target};

/// Maximum items of a request: four calls to the stream, so that the answer arrives soon.
const MAX_ITEMS: usize = 2_000;

/// Maximum bytes of a request, unless a single item is longer. The function accepts 6 MB of base64.
const MAX_BYTES: usize = 1 << 20;

/// Maximum bytes of an item: 6 MB of base64 with some margin, more than any function accepts.
const MAX_ITEM_BYTES: usize = 4 << 20;

/// Maximum time that a record waits for others to share its request.
const LINGER: Duration = Duration::from_millis(100);

/// Posts lines.
pub(crate) struct HttpTarget {
    batch: Batch,
    since: Instant,
    taken: u64,
    lanes: Lanes<Batch>,
}

/// Lines of one request.
struct Batch {
    dataset: String,
    /// Number of the first record in the feed, from 1.
    first: u64,
    body: Vec<u8>,
    /// End offset of each line, including its newline.
    ends: Vec<usize>,
}

impl Batch {
    fn new() -> Self {
        let body = Vec::with_capacity(MAX_BYTES);
        Self { dataset: String::new(), first: 0, body, ends: Vec::with_capacity(MAX_ITEMS) }
    }
}

impl HttpTarget {
    /// Opens the address with `connections` requests in flight. Region and credentials of the
    /// signatures come from the environment.
    pub(crate) fn open(
        address: Address,
        connections: usize,
        gzip: bool,
        unsigned: bool,
    ) -> Result<Self> {
        let lanes = Lanes::start(1, move |lanes, tally| async move {
            let client = Client::connect(address, gzip, unsigned).await.map(Arc::new);
            for lane in lanes {
                deliver(&client, lane, connections, &tally).await;
            }
        })?;
        Ok(Self { batch: Batch::new(), since: Instant::now(), taken: 0, lanes })
    }

    /// Hands the gathered lines to the lane, and waits until a connection is free.
    fn send_batch(&mut self) -> Result<()> {
        if self.batch.ends.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Batch::new());
        let records = batch.ends.len();
        self.lanes.send(0, batch, records)
    }
}

impl Target for HttpTarget {
    fn send(&mut self, item: &Item<'_>) -> Result<SendResult> {
        let bytes = item.payload.len() + 1;
        if bytes > MAX_ITEM_BYTES {
            return Ok(SendResult::TooLarge(bytes));
        }
        let full = self.batch.ends.len() == MAX_ITEMS || self.batch.body.len() + bytes > MAX_BYTES;
        if full || self.batch.dataset != item.dataset {
            self.send_batch()?;
        }
        self.taken += 1;
        let batch = &mut self.batch;
        if batch.ends.is_empty() {
            item.dataset.clone_into(&mut batch.dataset);
            batch.first = self.taken;
            self.since = Instant::now();
        }
        batch.body.extend_from_slice(item.payload);
        batch.body.push(b'\n');
        batch.ends.push(batch.body.len());
        Ok(SendResult::Accepted)
    }

    fn flush_if_idle(&mut self, pause: Duration) -> Result<()> {
        if pause >= LINGER || self.since.elapsed() >= LINGER {
            self.send_batch()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.send_batch()?;
        self.lanes.flush()
    }

    fn tally(&self) -> &Arc<Tally> {
        &self.lanes.tally
    }
}

/// Delivers the batches of a lane until its sender is dropped, up to `connections` concurrently.
async fn deliver(
    client: &Result<Arc<Client>, String>,
    mut lane: Receiver<Batch>,
    connections: usize,
    tally: &Arc<Tally>,
) {
    let mut calls = JoinSet::new();
    while let Some(batch) = lane.recv().await {
        let records = batch.ends.len();
        let client = match client {
            Ok(client) => Arc::clone(client),
            Err(error) => {
                tally.done(records, Some(Err(error.clone())));
                continue;
            }
        };
        while calls.len() >= connections {
            calls.join_next().await;
        }
        let tally = Arc::clone(tally);
        calls.spawn(async move {
            let result = if tally.has_failed() {
                None
            } else {
                Some(Delivery::of(client, batch).run(&tally).await)
            };
            tally.done(records, result);
        });
    }
    while calls.join_next().await.is_some() {}
}
