//! Windows read, changed and written, and what they say put onto the stream.

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

/// How many windows are written at once.
const CONCURRENCY: usize = 32;

/// Among how many windows before one, the latest that was judged is looked for: one that was opened
/// when it was over already may be open still.
const BASELINE_LOOKBACK: usize = 3;

/// The store and the stream, for one invocation.
pub(crate) struct WindowUpdater<'a, S, E> {
    /// Where windows are kept.
    pub store: &'a S,
    /// Where windows are told.
    pub events: &'a Producer<E>,
    /// How calls are made again.
    pub retry: Retry,
    /// The specs.
    pub specs: &'a [Spec],
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// When to stop.
    pub deadline: Deadline,
}

/// A window as it is in the store.
#[derive(Clone, Debug)]
pub(crate) struct StoredWindow {
    /// Which of the specs.
    pub spec: usize,
    /// Its key.
    pub key: ItemKey,
    /// The version in the store.
    pub version: u64,
    /// The window.
    pub window: Window,
}

/// What was done, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WindowCounts {
    /// Windows that were opened.
    pub opened: usize,
    /// Windows that were closed for the first time.
    pub closed: usize,
    /// Windows of which a further revision was fixed.
    pub revised: usize,
    /// Window events that the stream took.
    pub emitted: usize,
    /// Readings that were in their windows already.
    pub duplicates: usize,
    /// Writes that found the window changed by somebody else.
    pub conflicts: usize,
}

/// What became of the windows of a batch.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Positions of readings that are not in the store.
    pub undelivered: Vec<usize>,
    /// Windows with a revision that is still to be emitted.
    pub pending: Vec<StoredWindow>,
    /// What the store or the stream said last when it did not take something.
    pub last_error: Option<String>,
}

/// What a batch brings of a window, and that window as it is in the store.
type PendingWrite<'a> = ((&'a ItemKey, &'a WindowReadings), Option<Item>);

/// Where the records of a batch were, by position.
pub(crate) type Places<'a> = &'a (dyn Fn(usize) -> Option<RecordPosition<'a>> + Sync);

impl<S: WindowStore, E: BatchPut<Entry = StreamRecord>> WindowUpdater<'_, S, E> {
    /// The windows of these keys, in their order.
    pub(crate) async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        let read = |keys| self.retry.call(self.deadline, move || self.store.read(keys));
        let found = join_all(keys.chunks(MAX_KEYS).map(read)).await;
        let found: Result<Vec<_>, _> = found.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Adds what a batch brings to its windows, each in one write. What is there already adds nothing.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the store or the stream says that it can never work.
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

    /// Windows that are written one after the other. Those of one group that are over are judged at once,
    /// each by what was usual before it, so that they are in order of time; all others are alone.
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
                // Its revision is fixed: it goes out before anything is added.
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

    /// What was usual for a group before a window.
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

    /// Writes a window over the version it was read in.
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

    /// Puts pending revisions onto the stream, then notes that they are there: in this order, so that
    /// one whose function ends in between is told again rather than never. Whether all got there and
    /// were noted; what was not is found by whoever looks next.
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
                // In a conflict somebody else has noted it, and maybe more.
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
    /// A window that is in no store yet.
    fn new(window_readings: &WindowReadings, key: &ItemKey) -> Self {
        let window = Window::open(window_readings.span);
        Self { spec: window_readings.spec, key: key.clone(), version: 0, window }
    }
}

/// The window of an item. One that cannot be read is in nobody's way but its own.
pub(crate) fn stored_window(spec: usize, item: &Item) -> Result<StoredWindow, CallError> {
    let window = Window::from_json(&item.body).map_err(|error| {
        let ItemKey { spec, group, start } = &item.key;
        let message = format!("the window {spec} of {group} at {start}: {error}");
        error!(message, "a window in the store cannot be read");
        CallError::Retryable { operation: OPERATION, code: "unreadable".to_owned(), message }
    })?;
    Ok(StoredWindow { spec, key: item.key.clone(), version: item.version, window })
}
