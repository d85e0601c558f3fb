//! Window updater: reads, changes, closes and writes windows, and emits their revisions to the
//! stream.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tracing::error;
use tributary_anomaly::Baseline;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::producer::Outbound;
use tributary_aws::put::BatchPut;
use tributary_aws::windows::{
    BUCKETS, Item, ItemKey, MAX_KEYS, OPERATION, Range, WindowStore, Written,
};
use tributary_model::json::to_json;
use tributary_model::time::period;
use tributary_windows::seen::RecordPosition;
use tributary_windows::{Phase, Spec, Window};

use crate::clocks::SpecLimits;
use crate::handler::Windows;
use crate::readings::{BatchReadings, WindowReadings};

/// Number of windows that are written concurrently.
const CONCURRENCY: usize = 32;

/// Number of due windows that one query returns.
const PAGE: usize = 100;

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

impl<S, L, E, Q> WindowUpdater<'_, S, L, E, Q>
where
    S: WindowStore,
    E: BatchPut<Entry = StreamRecord>,
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
    pub(crate) async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        let read = |keys| self.call(move |store| store.read(keys));
        let found = try_join_all(keys.chunks(MAX_KEYS).map(read)).await?;
        Ok(found.into_iter().flatten().collect())
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
                    applied.last_error = Some(error.to_string());
                    let positions = some.iter().flat_map(|it| readings.positions(it.1));
                    applied.undelivered.extend(positions);
                    continue;
                }
            };
            let found = some.iter().copied().zip(found);
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
            let duplicates = window_readings.samples.len() - added;
            if added == 0 {
                self.counts.borrow_mut().duplicates += duplicates;
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
                found = self.read(std::slice::from_ref(key)).await?.pop().flatten();
                continue;
            }
            let is_pending = stored.window.phase() == Phase::Pending;
            let mut counts = self.counts.borrow_mut();
            counts.duplicates += duplicates;
            counts.opened += usize::from(stored.version == 1);
            counts.closed += usize::from(is_closed);
            counts.revised += usize::from(is_pending && !is_closed);
            return Ok(is_pending.then_some(stored));
        }
    }

    /// Returns the baseline of a group before a window.
    pub(crate) async fn baseline(&self, stored: &StoredWindow) -> Result<Baseline, CallError> {
        let ItemKey { spec, group, start } = &stored.key;
        let range = Range { from: Timestamp::MIN, until: *start, limit: BASELINE_LOOKBACK };
        let found = self.call(|store| store.range(spec, group, range)).await?;
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
        let retention = self.function.specs[stored.spec].retention.0;
        let expires_at = self.now().checked_add(retention).unwrap_or(Timestamp::MAX);
        let item = Item {
            key: stored.key.clone(),
            version: stored.version + 1,
            due: stored.window.due(),
            expires_at: is_closed.then_some(expires_at),
            body: stored.window.to_json(),
        };
        let item = &item;
        let written = self.call(move |store| store.write(item)).await?;
        if written == Written::Stored {
            stored.version += 1;
        }
        Ok(written)
    }

    fn record(&self, stored: &StoredWindow) -> StreamRecord {
        let event = stored.window.event(&self.function.specs[stored.spec], &stored.key.group);
        StreamRecord::new(&event.entity, to_json(&event).into_bytes())
    }

    async fn emit_one(&self, stored: &StoredWindow) -> Result<(), CallError> {
        let outbound = [Outbound { position: 0, entry: self.record(stored) }];
        let sent = self.function.events.send(&outbound, self.deadline).await?;
        if sent.undelivered.is_empty() {
            *self.counts.borrow_mut().emitted.entry(stored.spec).or_default() += 1;
            return Ok(());
        }
        let message = sent.last_error.unwrap_or_default();
        Err(CallError::retryable(E::OPERATION, "undelivered", message))
    }

    /// Emits pending revisions to the stream, then marks them as emitted.
    ///
    /// In this order, a revision whose function is killed in between is emitted twice rather than
    /// never. Returns true if all were emitted and marked; the next invocation finds the rest.
    pub(crate) async fn emit(&self, pending: Vec<StoredWindow>) -> Result<bool, SetupError> {
        let entry = |(position, stored)| Outbound { position, entry: self.record(stored) };
        let outbound: Vec<_> = pending.iter().enumerate().map(entry).collect();
        let sent = self.function.events.send(&outbound, self.deadline).await?;
        let is_there = |position: &usize| sent.undelivered.binary_search(position).is_err();
        for (_, stored) in pending.iter().enumerate().filter(|(position, _)| is_there(position)) {
            *self.counts.borrow_mut().emitted.entry(stored.spec).or_default() += 1;
        }
        let there = pending.into_iter().enumerate().filter(|(position, _)| is_there(position));
        let marks = there.map(async |(_, mut stored)| {
            stored.window.mark_emitted();
            // On a conflict another invocation has marked it, and maybe changed more.
            self.write(&mut stored).await
        });
        let mut marked = pin!(stream::iter(marks).buffered(CONCURRENCY));
        let mut is_whole = sent.undelivered.is_empty();
        while let Some(marked) = marked.next().await {
            match marked {
                Ok(_) => {}
                Err(CallError::Setup(error)) => return Err(error),
                Err(CallError::Retryable { .. }) => is_whole = false,
            }
        }
        Ok(is_whole)
    }

    /// Closes the windows of a spec that end at or before `until`, and emits the pending revisions.
    ///
    /// Returns true if all of them were emitted and marked; the next invocation finds the rest.
    pub(crate) async fn close_due(&self, spec: usize, until: Timestamp) -> Result<bool, CallError> {
        let mut is_whole = true;
        for bucket in 0..BUCKETS {
            let (mut looked_at, mut stale) = (BTreeSet::new(), 0);
            loop {
                let (id, limit) = (&self.function.specs[spec].id, PAGE + stale);
                let mut keys = self.call(|store| store.due(id, bucket, until, limit)).await?;
                // The index lags: it may still list windows just closed, so the limit grows by as
                // many.
                let found = keys.len();
                keys.retain(|key| looked_at.insert(key.clone()));
                stale = found - keys.len();
                let mut pending = Vec::new();
                for stored in self.close(spec, &keys, until).await {
                    match stored {
                        Ok(stored) => pending.extend(stored),
                        Err(CallError::Retryable { .. }) => is_whole = false,
                        Err(error) => return Err(error),
                    }
                }
                is_whole &= self.emit(pending).await?;
                if found < limit {
                    break;
                }
            }
        }
        Ok(is_whole)
    }

    /// Closes these windows, and returns those with a pending revision.
    async fn close(
        &self,
        spec: usize,
        keys: &[ItemKey],
        until: Timestamp,
    ) -> Vec<Result<Option<StoredWindow>, CallError>> {
        let found = match self.read(keys).await {
            Ok(found) => found,
            Err(error) => return vec![Err(error)],
        };
        // Windows of one group in order: the baseline of a window comes from the one before it.
        let mut groups: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for item in found.into_iter().flatten() {
            groups.entry(item.key.group.clone()).or_default().push(item);
        }
        let of_group = async |mut items: Vec<Item>| {
            items.sort_by_key(|item| item.key.start);
            let mut closed = Vec::new();
            for item in &items {
                closed.push(self.close_one(spec, item, until).await);
            }
            closed
        };
        join_all(groups.into_values().map(of_group)).await.into_iter().flatten().collect()
    }

    async fn close_one(
        &self,
        spec: usize,
        item: &Item,
        until: Timestamp,
    ) -> Result<Option<StoredWindow>, CallError> {
        let mut stored = stored_window(spec, item)?;
        if stored.window.phase() == Phase::Open && stored.window.span().end <= until {
            stored.window.close(self.now());
            let spec_of = &self.function.specs[spec];
            if spec_of.detector.is_some() {
                let before = self.baseline(&stored).await?;
                stored.window.evaluate(spec_of, &before);
            }
            if self.write(&mut stored).await? == Written::Stored {
                self.counts.borrow_mut().closed += 1;
                return Ok(Some(stored));
            }
            // Another invocation wrote the window first, or an earlier try of this write succeeded.
            let found = self.read(std::slice::from_ref(&stored.key)).await?.pop().flatten();
            let Some(item) = found else { return Ok(None) };
            stored = stored_window(spec, &item)?;
        }
        Ok((stored.window.phase() == Phase::Pending).then_some(stored))
    }
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
