//! Window updater: reads, changes and writes windows, and emits their revisions to the stream.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use tracing::error;
use tributary_anomaly::Baseline;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::retry::Retry;
use tributary_aws::windows::{Item, ItemKey, MAX_KEYS, OPERATION, Range, WindowStore, Written};
use tributary_model::json::to_json;
use tributary_windows::seen::RecordPosition;
use tributary_windows::{Phase, Spec, Window};

use crate::readings::{BatchReadings, WindowReadings};

/// Number of windows that are written concurrently.
const CONCURRENCY: usize = 32;

/// Number of preceding windows that are searched for the latest baseline.
///
/// One is not enough: a window that was opened after its end may still be open, without baseline.
const BASELINE_LOOKBACK: usize = 3;

/// Store and stream of one invocation.
pub(crate) struct WindowUpdater<'a, S, E> {
    /// Store of the windows.
    pub store: &'a S,
    /// Producer of window events.
    pub events: &'a Producer<E>,
    /// Retry policy of calls to the store.
    pub retry: Retry,
    /// Window specs.
    pub specs: &'a [Spec],
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
    /// Instant by which work stops.
    pub deadline: Deadline,
}

/// Window and its version in the store.
#[derive(Clone, Debug)]
pub(crate) struct StoredWindow {
    /// Index of the spec.
    pub spec: usize,
    /// Key of the item.
    pub key: ItemKey,
    /// Version in the store; 0 before the first write.
    pub version: u64,
    /// Decoded window.
    pub window: Window,
}

/// Window counts of one invocation, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WindowCounts {
    /// Opened windows.
    pub opened: usize,
    /// Windows closed for the first time.
    pub closed: usize,
    /// Windows that got a further revision.
    pub revised: usize,
    /// Window events that the stream accepted.
    pub emitted: usize,
    /// Readings that their windows already contained.
    pub duplicates: usize,
    /// Writes rejected because another invocation had changed the window.
    pub conflicts: usize,
}

/// Result of applying a batch to its windows.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Positions of readings that could not be stored.
    pub undelivered: Vec<usize>,
    /// Windows with a revision that is still to be emitted.
    pub pending: Vec<StoredWindow>,
    /// Last error of the store or the stream.
    pub last_error: Option<String>,
}

/// Readings of a batch for one window, and the stored item of that window.
type PendingWrite<'a> = ((&'a ItemKey, &'a WindowReadings), Option<Item>);

/// Looks up the shard and sequence number of a record by its position in the batch.
pub(crate) type Places<'a> = &'a (dyn Fn(usize) -> Option<RecordPosition<'a>> + Sync);

impl<S: WindowStore, E: BatchPut<Entry = StreamRecord>> WindowUpdater<'_, S, E> {
    /// Reads the windows with these keys, in the same order.
    pub(crate) async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        let read = |keys| self.retry.call(self.deadline, move || self.store.read(keys));
        let found = join_all(keys.chunks(MAX_KEYS).map(read)).await;
        let found: Result<Vec<_>, _> = found.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Adds the readings of a batch to their windows, with one write per window.
    ///
    /// A reading that its window already contains adds nothing.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the store or the stream can never work.
    pub(crate) async fn apply(
        &self,
        readings: &BatchReadings,
        places: Places<'_>,
        watermarks: &BTreeMap<usize, Timestamp>,
        window_counts: &mut WindowCounts,
    ) -> Result<Applied, SetupError> {
        let mut applied = Applied::default();
        let windows: Vec<_> = readings.windows.iter().collect();
        for some in windows.chunks(MAX_KEYS) {
            let keys: Vec<_> = some.iter().map(|(key, _)| (*key).clone()).collect();
            let found = match self.read(&keys).await {
                Ok(found) => found,
                Err(CallError::Setup(error)) => return Err(error),
                Err(error) => {
                    applied.last_error = Some(error.to_string());
                    let positions = some.iter().flat_map(|it| readings.positions(it.1));
                    applied.undelivered.extend(positions);
                    continue;
                }
            };
            let found = some.iter().copied().zip(found);
            let mut chains = self.chains(found, watermarks).into_iter().peekable();
            while chains.peek().is_some() {
                let group = chains.by_ref().take(CONCURRENCY);
                let chains = group.map(|chain| async {
                    let mut done = Vec::with_capacity(chain.len());
                    for ((key, window_readings), item) in chain {
                        let watermark = watermarks.get(&window_readings.spec).copied();
                        let one =
                            self.apply_one(key, window_readings, item, readings, places, watermark);
                        done.push((window_readings, one.await));
                    }
                    done
                });
                for (window_readings, done) in join_all(chains).await.into_iter().flatten() {
                    match done {
                        Ok(one) => {
                            window_counts.add(one.window_counts);
                            applied.pending.extend(one.pending);
                        }
                        Err(CallError::Setup(error)) => return Err(error),
                        Err(error) => {
                            applied.last_error = Some(error.to_string());
                            applied.undelivered.extend(readings.positions(window_readings));
                        }
                    }
                }
            }
        }
        Ok(applied)
    }

    /// Groups windows into chains that are written sequentially.
    ///
    /// Windows of one group that close now form a chain in order of time, because each is evaluated
    /// against the baseline of the one before it. Every other window is a chain of its own.
    fn chains<'a>(
        &self,
        found: impl Iterator<Item = PendingWrite<'a>>,
        watermarks: &BTreeMap<usize, Timestamp>,
    ) -> Vec<Vec<PendingWrite<'a>>> {
        let is_evaluated = |window_readings: &WindowReadings| {
            let spec = &self.specs[window_readings.spec];
            let until = watermarks.get(&window_readings.spec).map(|it| spec.closes_until(*it));
            spec.detector.is_some() && until.is_some_and(|until| window_readings.span.end <= until)
        };
        let mut chains: Vec<Vec<PendingWrite<'_>>> = Vec::new();
        for (of, item) in found {
            let follows = |chain: &&mut Vec<PendingWrite<'_>>| {
                let same = |last: &ItemKey| (&last.spec, &last.group) == (&of.0.spec, &of.0.group);
                chain.last().is_some_and(|((last, _), _)| same(last)) && is_evaluated(of.1)
            };
            match chains.last_mut().filter(follows) {
                Some(chain) => chain.push((of, item)),
                None => chains.push(vec![(of, item)]),
            }
        }
        chains
    }

    async fn apply_one(
        &self,
        key: &ItemKey,
        window_readings: &WindowReadings,
        mut found: Option<Item>,
        readings: &BatchReadings,
        places: Places<'_>,
        watermark: Option<Timestamp>,
    ) -> Result<AppliedWindow, CallError> {
        let spec = &self.specs[window_readings.spec];
        let mut one = AppliedWindow::default();
        loop {
            let mut stored = match &found {
                Some(item) => stored_window(window_readings.spec, item)?,
                None => StoredWindow::new(window_readings, key),
            };
            if stored.window.phase() == Phase::Pending {
                // Emit the pending revision before readings change the window.
                self.emit_one(&stored, &mut one.window_counts).await?;
                stored.window.mark_emitted();
            }
            let now = (self.clock)();
            let samples = window_readings.samples.iter().map(|&index| {
                let (position, sample) = &readings.samples[index];
                (sample, places(*position))
            });
            let added = stored.window.apply(spec, samples, now);
            if added == 0 {
                one.window_counts.duplicates += window_readings.samples.len();
                return Ok(one);
            }
            let is_over =
                watermark.is_some_and(|it| window_readings.span.end <= spec.closes_until(it));
            let is_closed = is_over && stored.window.close(now);
            if stored.window.phase() == Phase::Pending && spec.detector.is_some() {
                let before = self.baseline(&stored).await?;
                stored.window.evaluate(spec, &before);
            }
            match self.write(&mut stored).await? {
                Written::Conflict => {
                    one.window_counts.conflicts += 1;
                    found = self.read(std::slice::from_ref(key)).await?.pop().flatten();
                }
                Written::Stored => {
                    one.window_counts.duplicates += window_readings.samples.len() - added;
                    one.window_counts.opened += usize::from(stored.version == 1);
                    one.window_counts.closed += usize::from(is_closed);
                    if stored.window.phase() == Phase::Pending {
                        one.window_counts.revised += usize::from(!is_closed);
                        one.pending = Some(stored);
                    }
                    return Ok(one);
                }
            }
        }
    }

    /// Returns the baseline of a group before a window.
    pub(crate) async fn baseline(&self, stored: &StoredWindow) -> Result<Baseline, CallError> {
        let ItemKey { spec, group, start } = &stored.key;
        let range = Range { from: Timestamp::MIN, until: *start, limit: BASELINE_LOOKBACK };
        let range = || self.store.range(spec, group, range);
        let found = self.retry.call(self.deadline, range).await?;
        for item in &found {
            let before = stored_window(stored.spec, item)?.window;
            if !before.baseline().is_empty() {
                return Ok(before.baseline().clone());
            }
        }
        Ok(Baseline::default())
    }

    /// Writes a window if the store still has the version that was read.
    pub(crate) async fn write(&self, stored: &mut StoredWindow) -> Result<Written, CallError> {
        let is_closed = stored.window.phase() == Phase::Closed;
        let retention = self.specs[stored.spec].retention;
        let expires_at = (self.clock)().checked_add(retention).unwrap_or(Timestamp::MAX);
        let item = Item {
            key: stored.key.clone(),
            version: stored.version + 1,
            due: stored.window.due(),
            expires_at: is_closed.then_some(expires_at),
            body: stored.window.to_json(),
        };
        let item = &item;
        let written = self.retry.call(self.deadline, move || self.store.write(item)).await?;
        if written == Written::Stored {
            stored.version += 1;
        }
        Ok(written)
    }

    fn record(&self, stored: &StoredWindow) -> StreamRecord {
        let event = stored.window.event(&self.specs[stored.spec], &stored.key.group);
        StreamRecord::new(&event.entity, to_json(&event).into_bytes())
    }

    async fn emit_one(
        &self,
        stored: &StoredWindow,
        window_counts: &mut WindowCounts,
    ) -> Result<(), CallError> {
        let outbound = [Outbound { position: 0, entry: self.record(stored) }];
        let sent = self.events.send(&outbound, self.deadline).await?;
        if sent.undelivered.is_empty() {
            window_counts.emitted += 1;
            return Ok(());
        }
        let message = sent.last_error.unwrap_or_default();
        Err(CallError::Retryable { operation: E::OPERATION, code: "undelivered".into(), message })
    }

    /// Emits pending revisions to the stream, then marks them as emitted.
    ///
    /// In this order, a revision whose function is killed in between is emitted twice rather than
    /// never. Returns true if all were emitted and marked; the next invocation finds the rest.
    pub(crate) async fn emit(
        &self,
        pending: Vec<StoredWindow>,
        window_counts: &mut WindowCounts,
    ) -> Result<bool, SetupError> {
        let entry = |(position, stored)| Outbound { position, entry: self.record(stored) };
        let outbound: Vec<_> = pending.iter().enumerate().map(entry).collect();
        let sent = self.events.send(&outbound, self.deadline).await?;
        window_counts.emitted += outbound.len() - sent.undelivered.len();

        let is_there = |position: &usize| sent.undelivered.binary_search(position).is_err();
        let mut there = pending.into_iter().enumerate().filter(|(position, _)| is_there(position));
        let mut is_whole = sent.undelivered.is_empty();
        loop {
            let group: Vec<_> =
                there.by_ref().take(CONCURRENCY).map(|(_, stored)| stored).collect();
            if group.is_empty() {
                return Ok(is_whole);
            }
            let mark = async |mut stored: StoredWindow| {
                stored.window.mark_emitted();
                // On a conflict another invocation has marked it, and maybe changed more.
                self.write(&mut stored).await
            };
            for marked in join_all(group.into_iter().map(mark)).await {
                match marked {
                    Ok(_) => {}
                    Err(CallError::Setup(error)) => return Err(error),
                    Err(CallError::Retryable { .. }) => is_whole = false,
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct AppliedWindow {
    pending: Option<StoredWindow>,
    window_counts: WindowCounts,
}

impl WindowCounts {
    fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.revised += other.revised;
        self.emitted += other.emitted;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
    }
}

impl StoredWindow {
    /// Opens a window that the store does not have yet.
    fn new(window_readings: &WindowReadings, key: &ItemKey) -> Self {
        let window = Window::open(window_readings.span);
        Self { spec: window_readings.spec, key: key.clone(), version: 0, window }
    }
}

/// Decodes the window of an item. An item that cannot be decoded fails its own window only.
pub(crate) fn stored_window(spec: usize, item: &Item) -> Result<StoredWindow, CallError> {
    let window = Window::from_json(&item.body).map_err(|error| {
        let ItemKey { spec, group, start } = &item.key;
        let message = format!("the window {spec} of {group} at {start}: {error}");
        error!(message, "a window in the store cannot be read");
        CallError::Retryable { operation: OPERATION, code: "unreadable".to_owned(), message }
    })?;
    Ok(StoredWindow { spec, key: item.key.clone(), version: item.version, window })
}
