//! Closes windows that the watermark has passed, emits them, and marks them as emitted.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use jiff::Timestamp;
use tributary_aws::error::CallError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::put::BatchPut;
use tributary_aws::windows::{BUCKETS, Item, ItemKey, WindowStore, Written};
use tributary_model::time::period;
use tributary_windows::{Phase, Spec};

use crate::updater::{StoredWindow, WindowCounts, WindowUpdater, stored_window};

/// Number of due windows that one query returns.
const PAGE: usize = 100;

impl<S: WindowStore, E: BatchPut<Entry = StreamRecord>> WindowUpdater<'_, S, E> {
    /// Closes the windows of a spec that end at or before `until`, and emits the pending revisions.
    ///
    /// Returns true if all of them were emitted and marked; the next invocation finds the rest.
    pub(crate) async fn close_due(
        &self,
        spec: usize,
        until: Timestamp,
        window_counts: &mut WindowCounts,
    ) -> Result<bool, CallError> {
        let mut is_whole = true;
        for bucket in 0..BUCKETS {
            is_whole &= self.close_bucket(spec, bucket, until, window_counts).await?;
        }
        Ok(is_whole)
    }

    async fn close_bucket(
        &self,
        spec: usize,
        bucket: u8,
        until: Timestamp,
        window_counts: &mut WindowCounts,
    ) -> Result<bool, CallError> {
        let (mut looked_at, mut stale) = (BTreeSet::new(), 0);
        let mut is_whole = true;
        loop {
            let (id, limit) = (&self.specs[spec].id, PAGE + stale);
            let due = || self.store.due(id, bucket, until, limit);
            let mut keys = self.retry.call(self.deadline, due).await?;
            let is_full = keys.len() >= limit;
            // The index lags: it may still list windows just closed, so the limit grows by as many.
            let found = keys.len();
            keys.retain(|key| looked_at.insert(key.clone()));
            stale = found - keys.len();
            if keys.is_empty() && !is_full {
                return Ok(is_whole);
            }
            let mut pending = Vec::new();
            for stored in self.close(spec, &keys, until).await {
                match stored {
                    Ok(Some((stored, is_closed))) => {
                        window_counts.closed += usize::from(is_closed);
                        pending.push(stored);
                    }
                    Ok(None) => {}
                    Err(CallError::Retryable { .. }) => is_whole = false,
                    Err(error) => return Err(error),
                }
            }
            is_whole &= self.emit(pending, window_counts).await?;
            if !is_full {
                return Ok(is_whole);
            }
        }
    }

    /// Closes these windows, and returns those with a pending revision.
    ///
    /// The flag is true for a window that this call closed.
    async fn close(
        &self,
        spec: usize,
        keys: &[ItemKey],
        until: Timestamp,
    ) -> Vec<Result<Option<(StoredWindow, bool)>, CallError>> {
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
    ) -> Result<Option<(StoredWindow, bool)>, CallError> {
        let mut stored = stored_window(spec, item)?;
        if stored.window.phase() == Phase::Open && stored.window.span().end <= until {
            stored.window.close((self.clock)());
            let spec_of = &self.specs[spec];
            if spec_of.detector.is_some() {
                let before = self.baseline(&stored).await?;
                stored.window.evaluate(spec_of, &before);
            }
            if self.write(&mut stored).await? == Written::Stored {
                return Ok(Some((stored, true)));
            }
            // Another invocation wrote the window first, or an earlier try of this write succeeded.
            let found = self.read(std::slice::from_ref(&stored.key)).await?.pop().flatten();
            let Some(item) = found else { return Ok(None) };
            stored = stored_window(spec, &item)?;
        }
        Ok((stored.window.phase() == Phase::Pending).then_some((stored, false)))
    }
}

/// Returns true if the watermark passed the end of a window on its way from `before` to `after`.
///
/// If not, no window is due and the query can be skipped.
pub(crate) fn passes_an_end(spec: &Spec, before: Option<Timestamp>, after: Timestamp) -> bool {
    // A window ends `size` after its start, and starts are multiples of `slide`.
    let start = |time| spec.closes_until(time).checked_sub(spec.size).unwrap_or(Timestamp::MIN);
    let end = |time| period(start(time), spec.slide.as_secs());
    before.is_none_or(|before| end(before) < end(after))
}
