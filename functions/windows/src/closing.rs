//! Windows that end: closed, and emitted.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use jiff::Timestamp;
use tributary_aws::error::CallError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::put::BatchPut;
use tributary_aws::windows::{BUCKETS, Item, ItemKey, ShardList, WindowStore, Written};
use tributary_windows::Phase;
use tributary_windows::clock::Clock;

use crate::clocks::ClockLengths;
use crate::round::Round;
use crate::updater::{StoredWindow, WindowUpdater, stored_window};

/// Number of due windows that one query returns.
const PAGE: usize = 100;

impl<S, L, E, Q> WindowUpdater<'_, S, L, E, Q>
where
    S: WindowStore,
    L: ShardList,
    E: BatchPut<Entry = StreamRecord>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// Closes the windows of a spec that end at or before `until`, and emits the pending revisions.
    ///
    /// The watermark passes their starts first. Returns true if all of them were emitted and marked;
    /// the next invocation finds the rest. The error of a window, or of a bucket, ends no other.
    pub(crate) async fn close_due(
        &self,
        spec: usize,
        until: Timestamp,
        clock: &mut Clock,
        lengths: ClockLengths,
    ) -> Result<bool, CallError> {
        let (mut round, id) = (Round::default(), &self.function.specs[spec].id);
        for bucket in 0..BUCKETS {
            let (mut looked_at, mut stale) = (BTreeSet::new(), 0);
            loop {
                let limit = PAGE + stale;
                let mut keys = match self.call(|store| store.due(id, bucket, until, limit)).await {
                    Ok(keys) => keys,
                    Err(error) => {
                        round.add(id, Err(error));
                        break;
                    }
                };
                // The index lags: it may still list windows just closed, so the limit grows by as
                // many.
                let found = keys.len();
                keys.retain(|key| looked_at.insert(key.clone()));
                stale = found - keys.len();
                if let Err(error) = self.pass(spec, clock, &keys, lengths).await {
                    round.add(id, Err(error));
                    break;
                }
                let mut pending = Vec::new();
                for stored in self.close(spec, &keys, until).await {
                    match stored {
                        Ok(stored) => pending.extend(stored),
                        Err(error) => round.add(id, Err(error)),
                    }
                }
                round.add(id, self.emit(pending).await.map_err(CallError::from));
                if found < limit {
                    break;
                }
            }
        }
        Ok(round.finish()?)
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
        let mut refused = Vec::new();
        for found in found {
            match found {
                Ok(None) => {}
                Ok(Some(item)) => groups.entry(item.key.group.clone()).or_default().push(item),
                Err(error) => refused.push(Err(error)),
            }
        }
        let of_group = async |mut items: Vec<Item>| {
            items.sort_by_key(|item| item.key.start);
            let mut closed = Vec::new();
            for item in &items {
                closed.push(self.close_one(spec, item, until).await);
            }
            closed
        };
        let closed = join_all(groups.into_values().map(of_group)).await;
        closed.into_iter().flatten().chain(refused).collect()
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
            let Some(item) = self.read_one(&stored.key).await? else { return Ok(None) };
            stored = stored_window(spec, &item)?;
        }
        Ok((stored.window.phase() == Phase::Pending).then_some(stored))
    }
}
