//! Window updater: reads, changes, closes and writes windows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tracing::error;
use tributary_anomaly::Baseline;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::put::BatchPut;
use tributary_aws::windows::{Item, ItemKey, MAX_KEYS, OPERATION, Range, WindowStore, Written};
use tributary_model::time::period;
use tributary_windows::seen::RecordPosition;
use tributary_windows::{Phase, Spec, Window};

use crate::clocks::SpecLimits;
use crate::handler::Windows;
use crate::readings::{BatchReadings, WindowReadings};

/// Number of windows that are written concurrently.
pub(crate) const CONCURRENCY: usize = 32;

/// Number of preceding windows that are searched for the latest baseline.
///
/// One is not enough: a window that was opened after its end may still be open, without baseline.
const BASELINE_LOOKBACK: usize = 3;

/// Changes to the windows by one invocation.
pub(crate) struct WindowUpdater<'a, S, L, E, Q> {
    /// Store, stream and specs.
    pub function: &'a Windows<S, L, E, Q>,
    /// Instant by which work stops.
    pub deadline: Deadline,
    /// Counts of the invocation so far.
    pub counts: RefCell<WindowCounts>,
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
#[derive(Debug, Default)]
pub(crate) struct WindowCounts {
    /// Opened windows.
    pub opened: usize,
    /// Windows closed for the first time.
    pub closed: usize,
    /// Windows that got a further revision.
    pub revised: usize,
    /// Window events that the stream accepted, by spec.
    pub emitted: BTreeMap<usize, u64>,
    /// Readings that their windows already contained.
    pub duplicates: usize,
    /// Readings that their windows already contained with other values.
    pub conflicting: usize,
    /// Writes rejected because another invocation had changed the window.
    pub conflicts: usize,
}

impl WindowCounts {
    /// Adds `known` readings that their window already contained, `conflicting` with other values.
    fn add_known(&mut self, known: usize, conflicting: usize) {
        self.duplicates += known - conflicting;
        self.conflicting += conflicting;
    }
}

/// Result of applying a batch to its windows.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Positions of readings that could not be stored.
    pub undelivered: Vec<usize>,
    /// Positions of readings whose window the store rejects for what it contains, with its reasons.
    pub rejected: BTreeMap<usize, String>,
    /// Windows with a revision that is still to be emitted.
    pub pending: Vec<StoredWindow>,
    /// Last error of the store or the stream.
    pub last_error: Option<String>,
}

/// Readings of a batch for one window, and the stored item of that window.
type PendingWrite<'a> = ((&'a ItemKey, &'a WindowReadings), Option<Item>);

/// Stored item of a key, or the refusal of the key by the store.
pub(crate) type Found = Result<Option<Item>, CallError>;

/// Looks up the shard and sequence number of a record by its position in the batch.
pub(crate) type Places<'a> = &'a (dyn Fn(usize) -> Option<RecordPosition<'a>> + Sync);

impl Applied {
    /// Records that the readings at these positions are not stored: undelivered, or rejected where
    /// the store refuses their window.
    fn fail(&mut self, error: &CallError, positions: impl Iterator<Item = usize>) {
        self.last_error = Some(error.to_string());
        match error {
            CallError::Refused { .. } => {
                self.rejected.extend(positions.map(|position| (position, error.to_string())));
            }
            _ => self.undelivered.extend(positions),
        }
    }
}

impl<S, L, E, Q> WindowUpdater<'_, S, L, E, Q>
where
    S: WindowStore,
    E: BatchPut<Entry = StreamRecord>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// Calls the store, and retries while there is time.
    pub(crate) async fn call<'s, T, F>(
        &'s self,
        attempt: impl Fn(&'s S) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let Windows { store, retry, .. } = self.function;
        retry.call(self.deadline, || attempt(store)).await
    }

    /// Returns the processing time.
    pub(crate) fn now(&self) -> Timestamp {
        (self.function.clock)()
    }

    /// Reads the windows with these keys, in the same order.
    pub(crate) async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Found>, CallError> {
        let chunks = keys.chunks(MAX_KEYS).map(|keys| self.read_chunk(keys));
        Ok(try_join_all(chunks).await?.into_iter().flatten().collect())
    }

    /// Reads one call's windows. A call that the store refuses is made again in halves, down to the
    /// key at fault.
    async fn read_chunk(&self, keys: &[ItemKey]) -> Result<Vec<Found>, CallError> {
        let (mut found, mut left) = (Vec::with_capacity(keys.len()), vec![keys]);
        while let Some(some) = left.pop() {
            match self.call(move |store| store.read(some)).await {
                Ok(items) => found.extend(items.into_iter().map(Ok)),
                Err(error @ CallError::Refused { .. }) if some.len() == 1 => found.push(Err(error)),
                Err(CallError::Refused { .. }) => {
                    let (first, second) = some.split_at(some.len() / 2);
                    left.extend([second, first]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Reads one window.
    pub(crate) async fn read_one(&self, key: &ItemKey) -> Found {
        self.read(std::slice::from_ref(key)).await?.pop().unwrap_or(Ok(None))
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
        limits: &BTreeMap<usize, SpecLimits>,
    ) -> Result<Applied, SetupError> {
        let mut applied = Applied::default();
        let windows: Vec<_> = readings.windows.iter().collect();
        for some in windows.chunks(MAX_KEYS) {
            let keys: Vec<_> = some.iter().map(|(key, _)| (*key).clone()).collect();
            let found = match self.read(&keys).await {
                Ok(found) => found,
                Err(CallError::Setup(error)) => return Err(error),
                Err(error) => {
                    applied.fail(&error, some.iter().flat_map(|it| readings.positions(it.1)));
                    continue;
                }
            };
            let mut read = Vec::with_capacity(found.len());
            for ((key, window_readings), found) in some.iter().copied().zip(found) {
                match found {
                    Ok(item) => read.push(((key, window_readings), item)),
                    Err(error) => applied.fail(&error, readings.positions(window_readings)),
                }
            }
            let found = read.into_iter();
            let chains = self.chains(found, limits).into_iter().map(async |chain| {
                let mut done = Vec::with_capacity(chain.len());
                for ((key, window_readings), item) in chain {
                    let limits = limits.get(&window_readings.spec).copied();
                    let one = self.apply_one(key, window_readings, item, readings, places, limits);
                    done.push((window_readings, one.await));
                }
                done
            });
            let mut chains = pin!(stream::iter(chains).buffered(CONCURRENCY));
            while let Some(chain) = chains.next().await {
                for (window_readings, done) in chain {
                    match done {
                        Ok(pending) => applied.pending.extend(pending),
                        Err(CallError::Setup(error)) => return Err(error),
                        Err(error) => applied.fail(&error, readings.positions(window_readings)),
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
        limits: &BTreeMap<usize, SpecLimits>,
    ) -> Vec<Vec<PendingWrite<'a>>> {
        let is_evaluated = |window_readings: &WindowReadings| {
            let spec = &self.function.specs[window_readings.spec];
            let limits = limits.get(&window_readings.spec);
            let until = limits.map(|it| spec.closes_until(it.watermark));
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

    /// Adds readings to one window, and returns it if it has a revision to emit.
    async fn apply_one(
        &self,
        key: &ItemKey,
        window_readings: &WindowReadings,
        mut found: Option<Item>,
        readings: &BatchReadings,
        places: Places<'_>,
        limits: Option<SpecLimits>,
    ) -> Result<Option<StoredWindow>, CallError> {
        let spec = &self.function.specs[window_readings.spec];
        loop {
            let mut stored = match &found {
                Some(item) => stored_window(window_readings.spec, item)?,
                None if limits.is_some_and(|it| it.may_be_removed(window_readings.span)) => {
                    // It was there when the batch was checked: redelivered, the reading is late.
                    return Err(CallError::retryable(OPERATION, "removed", "the window expired"));
                }
                None => {
                    let window = Window::open(window_readings.span);
                    let (spec, key) = (window_readings.spec, key.clone());
                    StoredWindow { spec, key, version: 0, window }
                }
            };
            if stored.window.phase() == Phase::Pending {
                // Emit the pending revision before readings change the window.
                self.emit_one(&stored).await?;
                stored.window.mark_emitted();
            }
            let now = self.now();
            let samples = window_readings.samples.iter().map(|&index| {
                let (position, sample) = &readings.samples[index];
                (sample, places(*position))
            });
            let added = stored.window.apply(spec, samples, now);
            let known = window_readings.samples.len() - added;
            let conflicting =
                if known == 0 { 0 } else { conflicting(&stored, readings, window_readings) };
            if added == 0 {
                self.counts.borrow_mut().add_known(known, conflicting);
                return Ok(None);
            }
            let is_over = limits
                .is_some_and(|it| window_readings.span.end <= spec.closes_until(it.watermark));
            let is_closed = is_over && stored.window.close(now);
            if stored.window.phase() == Phase::Pending && spec.detector.is_some() {
                let before = self.baseline(&stored).await?;
                stored.window.evaluate(spec, &before);
            }
            let written = self.write(&mut stored).await?;
            if written == Written::Conflict {
                self.counts.borrow_mut().conflicts += 1;
                found = self.read_one(key).await?;
                continue;
            }
            let is_pending = stored.window.phase() == Phase::Pending;
            let mut counts = self.counts.borrow_mut();
            counts.add_known(known, conflicting);
            counts.opened += usize::from(stored.version == 1);
            counts.closed += usize::from(is_closed);
            counts.revised += usize::from(is_pending && !is_closed);
            return Ok(is_pending.then_some(stored));
        }
    }

    /// Returns the baseline of a group before a window. An item that cannot be decoded, and a range
    /// that the store refuses, have none.
    pub(crate) async fn baseline(&self, stored: &StoredWindow) -> Result<Baseline, CallError> {
        let ItemKey { spec, group, start } = &stored.key;
        let range = Range { from: Timestamp::MIN, until: *start, limit: BASELINE_LOOKBACK };
        let found = match self.call(|store| store.range(spec, group, range)).await {
            Err(CallError::Refused { .. }) => Vec::new(),
            found => found?,
        };
        for item in &found {
            let Ok(StoredWindow { window: before, .. }) = stored_window(stored.spec, item) else {
                continue;
            };
            if !before.baseline().is_empty() {
                return Ok(before.baseline().clone());
            }
        }
        Ok(Baseline::default())
    }

    /// Writes a window if the store still has the version that was read.
    pub(crate) async fn write(&self, stored: &mut StoredWindow) -> Result<Written, CallError> {
        let retention = self.function.specs[stored.spec].retention.0;
        let expires_at = self.now().checked_add(retention).unwrap_or(Timestamp::MAX);
        // A window so far ahead is of a device with a wrong clock: no watermark may ever close it.
        let is_kept =
            stored.window.phase() != Phase::Closed && stored.window.span().end <= expires_at;
        let item = Item {
            key: stored.key.clone(),
            version: stored.version + 1,
            due: stored.window.due(),
            expires_at: (!is_kept).then_some(expires_at),
            body: stored.window.to_json(),
        };
        let item = &item;
        let written = self.call(move |store| store.write(item)).await?;
        if written == Written::Stored {
            stored.version += 1;
        }
        Ok(written)
    }
}

/// Returns the number of readings that their window contains with other values.
fn conflicting(
    stored: &StoredWindow,
    readings: &BatchReadings,
    window_readings: &WindowReadings,
) -> usize {
    let ids = window_readings.samples.iter().map(|&index| readings.samples[index].1.id);
    ids.filter(|id| stored.window.conflicts(*id)).count()
}

/// Returns true if the watermark passed the end of a window on its way from `before` to `after`.
///
/// If not, no window is due and the query can be skipped.
pub(crate) fn passes_an_end(spec: &Spec, before: Option<Timestamp>, after: Timestamp) -> bool {
    // A window ends `size` after its start, and starts are multiples of `slide`.
    let start = |time| spec.closes_until(time).checked_sub(spec.size.0).unwrap_or(Timestamp::MIN);
    let end = |time| period(start(time), spec.slide.as_secs());
    before.is_none_or(|before| end(before) < end(after))
}

/// Decodes the window of an item. An item that cannot be decoded fails its own window only.
pub(crate) fn stored_window(spec: usize, item: &Item) -> Result<StoredWindow, CallError> {
    let window = Window::from_json(&item.body).map_err(|error| {
        let ItemKey { spec, group, start } = &item.key;
        let message = format!("the window {spec} of {group} at {start}: {error}");
        error!(message, "a window in the store cannot be read");
        CallError::retryable(OPERATION, "unreadable", message)
    })?;
    Ok(StoredWindow { spec, key: item.key.clone(), version: item.version, window })
}
