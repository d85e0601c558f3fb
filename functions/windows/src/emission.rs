//! Emission of pending revisions to the stream.

use std::pin::pin;

use futures_util::{StreamExt, stream};
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::producer::{Delivery, Outbound};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine::BadRows;
use tributary_aws::windows::WindowStore;
use tributary_model::bad_row::{Code, Origin, Rejection};

use crate::handler::Windows;
use crate::round::Round;
use crate::updater::{CONCURRENCY, StoredWindow, WindowUpdater};

impl<S, L, E, Q> WindowUpdater<'_, S, L, E, Q>
where
    S: WindowStore,
    E: BatchPut<Entry = StreamRecord>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    fn record(&self, stored: &StoredWindow) -> StreamRecord {
        let event = stored.window.event(&self.function.specs[stored.spec], &stored.key.group);
        StreamRecord::new(&event.entity, event.to_json())
    }

    /// Emits one pending revision, without a mark.
    pub(crate) async fn emit_one(&self, stored: &StoredWindow) -> Result<(), CallError> {
        let sent = self.send(std::slice::from_ref(stored)).await?;
        if sent.undelivered.is_empty() {
            return Ok(());
        }
        let message = sent.last_error.unwrap_or_default();
        Err(CallError::retryable(E::OPERATION, "undelivered", message))
    }

    /// Sends pending revisions to the stream. One that the stream rejects for what it contains goes
    /// to quarantine instead.
    async fn send(&self, pending: &[StoredWindow]) -> Result<Delivery, SetupError> {
        let Windows { events, quarantine, specs, .. } = self.function;
        let entry = |(position, stored)| Outbound { position, entry: self.record(stored) };
        let outbound: Vec<_> = pending.iter().enumerate().map(entry).collect();
        // The other half is for the marks: without them the same revisions would be sent again.
        let mut sent = events.send(&outbound, self.deadline.half_way()).await?;
        let is_there = |position: &usize| {
            sent.undelivered.binary_search(position).is_err()
                && !sent.rejected.contains_key(position)
        };
        for (_, stored) in pending.iter().enumerate().filter(|(position, _)| is_there(position)) {
            *self.counts.borrow_mut().emitted.entry(stored.spec).or_default() += 1;
        }

        let mut bad_rows = BadRows::default();
        for (position, reason) in sent.take_rejected() {
            let StoredWindow { spec, key, window, .. } = &pending[position];
            let (spec, data) = (&specs[*spec], &outbound[position].entry.data);
            let source = format!("window:{}/{}/{}", key.spec, key.group, key.start);
            let origin = Origin {
                dataset: Some(&spec.dataset),
                source: source.into(),
                record_id: window.event(spec, &key.group).event_id,
                ..Origin::default()
            };
            let rejection = Rejection::row(Code::Refused, reason);
            bad_rows.push(position, &rejection, &origin, Some(data), self.now());
        }
        sent.extend(bad_rows.deliver(quarantine, self.deadline).await?);
        Ok(sent)
    }

    /// Emits pending revisions to the stream, then marks them as emitted.
    ///
    /// In this order, a revision whose function is killed in between is emitted twice rather than
    /// never. Returns true if all were emitted and marked; the next invocation finds the rest.
    pub(crate) async fn emit(&self, pending: Vec<StoredWindow>) -> Result<bool, SetupError> {
        let sent = self.send(&pending).await?;
        let is_there = |position: &usize| sent.undelivered.binary_search(position).is_err();
        let there = pending.into_iter().enumerate().filter(|(position, _)| is_there(position));
        let marks = there.map(async |(_, mut stored)| {
            stored.window.mark_emitted();
            // On a conflict another invocation has marked it, and maybe changed more.
            self.write(&mut stored).await
        });
        let mut marked = pin!(stream::iter(marks).buffered(CONCURRENCY));
        let mut round = Round::default();
        round.add("emission", Ok(sent.undelivered.is_empty()));
        while let Some(marked) = marked.next().await {
            round.add("emission", marked.map(|_| true));
        }
        round.finish()
    }
}
