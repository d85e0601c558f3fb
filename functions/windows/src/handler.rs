//! The life of a batch of events: added to windows in a store, which are closed and emitted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tracing::{info, warn};
use tributary_aws::batch::{Disposition, KinesisBatch};
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, InvocationError};
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::{MetricsLog, WindowMetrics};
use tributary_aws::payload::{BatchResponse, is_scheduled};
use tributary_aws::producer::{Delivery, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine;
use tributary_aws::retry::Retry;
use tributary_aws::tail::Reader;
use tributary_aws::takeover::{InUse, KnownDatasets, Stale};
use tributary_aws::windows::{ItemKey, OPERATION, ShardList, WindowStore};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_windows::Spec;
use tributary_windows::clock::{Clock, ClockStatus, clock_name};
use tributary_windows::seen::RecordPosition;

use crate::clocks::{ClockLengths, ShardProgress, SpecLimits};
use crate::config::Settings;
use crate::readings::{BatchReadings, WindowReadings};
use crate::round::Round;
use crate::updater::{WindowUpdater, passes_an_end, stored_window};

/// Minimum time left after a batch for closing windows to start.
const CLOSING_TIME: Duration = Duration::from_secs(3);

/// `windows`, generic over its store and sinks.
pub struct Windows<S, L, E, Q> {
    /// Store of the windows.
    pub store: S,
    /// Shards of the events stream.
    pub shards: L,
    /// Producer of window events.
    pub events: Producer<E>,
    /// Producer of bad rows: late readings, and records that are no events.
    pub quarantine: Producer<Q>,
    /// Specs of the windows.
    pub specs: Vec<Spec>,
    /// Datasets of the configuration in use.
    pub known: KnownDatasets,
    /// Metrics log.
    pub metrics_log: MetricsLog,
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
    /// Retries of calls to the store.
    pub retry: Retry,
}

/// Late readings of a batch.
#[derive(Default)]
struct LateReadings {
    /// Windows that they are late for, with their positions.
    of_windows: BTreeSet<(ItemKey, usize)>,
    /// By position, the message of the bad row.
    messages: BTreeMap<usize, String>,
}

impl<S> Windows<S, Reader, Stream, DeliveryStream> {
    /// Connects the function to its streams on AWS, and to `store` for its windows.
    ///
    /// # Errors
    ///
    /// Fails when the function cannot be built of the configuration.
    pub fn connect(
        store: S,
        settings: &Settings,
        in_use: &InUse,
        sdk: &SdkConfig,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            events: settings.events.producer(sdk),
            shards: Reader::new(clients::kinesis(sdk), settings.events.name.clone()),
            store,
            quarantine: quarantine::connect(settings.quarantine_delivery_stream.clone(), sdk),
            specs: in_use.configuration.window_specs()?,
            known: in_use.known.clone(),
            metrics_log: in_use.metrics_log("windows", &settings.metrics_namespace),
            clock: Timestamp::now,
            retry: Retry::new(OPERATION),
        })
    }
}

impl<S, L, E, Q> Windows<S, L, E, Q>
where
    S: WindowStore,
    L: ShardList,
    E: BatchPut<Entry = StreamRecord>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// Processes one batch of events, or closes due windows when the schedule invokes it.
    ///
    /// A reading is delivered when the store has it in its windows. All readings of a window are
    /// one conditional write, and a redelivered one adds nothing. A late reading is a bad row and
    /// counts as `late`. The answer reports the earliest reading that is not in the store. Windows
    /// that the watermark has passed are closed, emitted and then marked as emitted. A failure of
    /// these steps is not reported: the store lists what is due, and the next invocation finds it.
    ///
    /// # Errors
    ///
    /// Fails when the payload is neither, when a service can never work, and when a scheduled run
    /// meets a retryable error. Lambda then retries the invocation.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        if is_scheduled(payload) {
            self.run_scheduled(deadline).await?;
            return Ok(BatchResponse::default());
        }
        self.handle_batch(payload, deadline).await
    }

    fn updater(&self, deadline: Deadline) -> WindowUpdater<'_, S, L, E, Q> {
        WindowUpdater { function: self, deadline, counts: RefCell::default() }
    }

    /// Processes a batch: late readings are bad rows, the others go into their windows, and what
    /// the watermarks pass is closed.
    async fn handle_batch(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let mut batch = KinesisBatch::parse(payload)?;
        let mut readings = self.read(&mut batch)?;
        let updater = self.updater(deadline);
        let (mut clocks, late) = match self.find_late(&updater, &batch, &readings).await {
            Ok(found) => found,
            Err(CallError::Setup(error)) => return Err(error.into()),
            Err(error) => {
                // Without a watermark no reading can be told late or in time.
                warn!(%error, "no watermarks: Lambda redelivers the batch");
                let outcome = batch.dispositions.outcome([0]);
                return Ok(batch.finish(&outcome, json!({}), &self.metrics_log, (self.clock)()));
            }
        };
        self.reject_late(&mut batch, &late)?;
        let barrier = batch.quarantine(&self.quarantine, deadline).await?;
        readings.retain(barrier.end, &late.of_windows);
        let limits = self.limits(&clocks);
        let applied = {
            // A position says nothing about records that come out of their order.
            let places =
                |position| if batch.revises_windows { None } else { place(&batch, position) };
            updater.apply(&readings, &places, &limits).await?
        };
        let now = (self.clock)();
        let mut refused = Delivery { rejected: applied.rejected, ..Delivery::default() };
        batch
            .quarantine_rejected(&mut refused, &self.quarantine, deadline, now, |record, it| {
                record.reject_event(it)
            })
            .await?;
        let undelivered = [applied.undelivered, refused.undelivered].concat();

        let error = applied.last_error.as_deref();
        let outcome = barrier.outcome(&batch.dispositions, &undelivered, error);

        let end = outcome.first_undelivered.unwrap_or(usize::MAX);
        let closing = async {
            let is_emitted = updater.emit(applied.pending).await?;
            if batch.revises_windows {
                return Ok(is_emitted);
            }
            let shard = batch.shard_id();
            let is_whole = self.advance(&updater, shard, &readings, end, &mut clocks).await?;
            Ok(is_emitted && is_whole)
        };
        match closing.await {
            Ok(true) => {}
            Ok(false) => warn!("some windows are not emitted: the next scheduled run emits them"),
            Err(CallError::Setup(error)) => return Err(error.into()),
            Err(error) => {
                warn!(%error, "some windows are not closed: the next scheduled run closes them");
            }
        }

        let counts = updater.counts.take();
        if batch.revises_windows {
            clocks.clear();
        }
        self.write_windows(&counts.emitted, &clocks, &readings);
        let extra = json!({
            "retried": barrier.quarantined.retried,
            "windows_opened": counts.opened,
            "windows_closed": counts.closed,
            "windows_revised": counts.revised,
            "windows_emitted": counts.emitted.values().sum::<u64>(),
            "duplicates": counts.duplicates,
            "conflicting_readings": counts.conflicting,
            "conflicts": counts.conflicts,
        });
        Ok(batch.finish(&outcome, extra, &self.metrics_log, (self.clock)()))
    }

    /// Reads the events of a batch, and returns the readings for windows. Events that no window
    /// takes are filtered.
    fn read(&self, batch: &mut KinesisBatch<'_>) -> Result<BatchReadings, Stale> {
        let mut readings = BatchReadings::default();
        batch.read_events((self.clock)(), &self.known, |context, event| {
            Ok(disposition(readings.add(context.position, event, &self.specs)))
        })?;
        Ok(readings)
    }

    /// Classifies the batch again, with the `late` readings as bad rows.
    fn reject_late(&self, batch: &mut KinesisBatch<'_>, late: &LateReadings) -> Result<(), Stale> {
        if late.messages.is_empty() {
            return Ok(());
        }
        batch.read_events((self.clock)(), &self.known, |context, event| {
            match late.messages.get(&context.position) {
                Some(message) => Err(Rejection::row(Code::Late, message)),
                None => Ok(disposition(self.specs.iter().any(|spec| spec.takes(event)))),
            }
        })
    }

    /// Loads the clocks of a batch, and finds the readings that are late by them.
    ///
    /// An operator who asks for revisions has no late readings but those of removed windows, and
    /// moves no clock. A late reading that is in its window already was in time when it was first
    /// delivered. A
    /// reading whose window may have been removed from the store is late too: a new window would
    /// repeat the revisions of the removed one, under the same ids.
    async fn find_late(
        &self,
        updater: &WindowUpdater<'_, S, L, E, Q>,
        batch: &KinesisBatch<'_>,
        readings: &BatchReadings,
    ) -> Result<(BTreeMap<String, Clock>, LateReadings), CallError> {
        let clocks = if batch.revises_windows {
            updater.clocks(readings.clocks.keys()).await?
        } else {
            self.load_clocks(updater, batch.shard_id(), readings).await?
        };
        let limits = self.limits(&clocks);
        let is_late = |spec: usize, span, it: &SpecLimits| {
            !batch.revises_windows && self.specs[spec].is_late(span, it.watermark)
        };
        let is_over = |window: &WindowReadings| {
            let limits = limits.get(&window.spec);
            limits.is_some_and(|it| {
                is_late(window.spec, window.span, it) || it.may_be_removed(window.span)
            })
        };
        let over = readings.windows.iter().filter(|(_, window)| is_over(window));
        let over: Vec<_> = over.collect();
        let keys: Vec<_> = over.iter().map(|(key, _)| (*key).clone()).collect();
        let mut late = LateReadings::default();
        for ((key, window_readings), found) in over.into_iter().zip(updater.read(&keys).await?) {
            let Some(limits) = limits.get(&window_readings.spec) else { continue };
            let is_late = is_late(window_readings.spec, window_readings.span, limits);
            // An item that cannot be read or decoded fails its own window, when that is written.
            let Ok(item) = found else { continue };
            if !is_late && item.is_some() {
                continue;
            }
            let decoded = |item| stored_window(window_readings.spec, &item);
            let Ok(window) = item.map(decoded).transpose() else { continue };
            for &index in &window_readings.samples {
                let (position, sample) = &readings.samples[index];
                let place = place(batch, *position).filter(|_| !batch.revises_windows);
                if window.as_ref().is_some_and(|it| it.window.contains(sample.id, place)) {
                    continue;
                }
                late.of_windows.insert((key.clone(), *position));
                let message = late.messages.entry(*position).or_insert_with(|| {
                    let watermark = limits.watermark;
                    format!("too late: the watermark is at {watermark}, past the lateness of")
                });
                let removed = if is_late { "" } else { " (whose retention is over)" };
                // Writing to a string cannot fail.
                let _ = write!(message, " {} from {}{removed}", key.spec, key.start);
            }
        }
        Ok((clocks, late))
    }

    /// Loads the clocks of the readings, and registers the shard of the batch with each.
    async fn load_clocks(
        &self,
        updater: &WindowUpdater<'_, S, L, E, Q>,
        shard: &str,
        readings: &BatchReadings,
    ) -> Result<BTreeMap<String, Clock>, CallError> {
        let mut clocks = updater.clocks(readings.clocks.keys()).await?;
        let lengths = ClockLengths::by_clock(&self.specs);
        for (name, clock) in &mut clocks {
            let ClockLengths { idle, horizon, .. } = lengths[name];
            let times = readings.clocks[name].iter().map(|(_, time)| *time);
            let ShardProgress { is_moving, .. } = ShardProgress::of(times, clock, shard, horizon);
            updater.register_shard(name, clock, shard, is_moving, idle).await?;
        }
        Ok(clocks)
    }

    /// Returns the limits of each spec whose clock has a watermark.
    fn limits(&self, clocks: &BTreeMap<String, Clock>) -> BTreeMap<usize, SpecLimits> {
        let now = (self.clock)();
        let limits = |(number, spec)| {
            let clock = clocks.get(&clock_name(spec))?;
            Some((number, SpecLimits::of(spec, clock, now)?))
        };
        self.specs.iter().enumerate().filter_map(limits).collect()
    }

    /// Advances the watermarks by the readings before `end`, and closes the windows that they pass.
    ///
    /// Returns true if all of these were emitted and marked.
    async fn advance(
        &self,
        updater: &WindowUpdater<'_, S, L, E, Q>,
        shard: &str,
        readings: &BatchReadings,
        end: usize,
        clocks: &mut BTreeMap<String, Clock>,
    ) -> Result<bool, CallError> {
        let lengths = ClockLengths::by_clock(&self.specs);
        let mut round = Round::default();
        for (name, moves) in &readings.clocks {
            let (Some(clock), lengths) = (clocks.get_mut(name), lengths[name]) else { continue };
            let done = moves.iter().take_while(|(position, _)| *position < end);
            let times = done.map(|(_, time)| *time);
            let progress = ShardProgress::of(times, clock, shard, lengths.horizon);
            let before = clock.watermark;
            let advanced = updater.advance(name, clock, shard, progress, lengths).await;
            round.add(name, advanced.map(|()| true));
            let Some(after) = clock.watermark else { continue };
            for (number, spec) in self.specs.iter().enumerate() {
                if clock_name(spec) != *name || !passes_an_end(spec, before, after) {
                    continue;
                }
                if updater.deadline.remaining() < CLOSING_TIME {
                    return Ok(false);
                }
                let closed =
                    updater.close_due(number, spec.closes_until(after), clock, lengths).await;
                round.add(&spec.id, closed);
            }
        }
        Ok(round.finish()?)
    }

    /// Closes due windows without a batch: those of watermarks that an idle shard no longer holds
    /// back, those of clocks whose shards are all idle, and revisions whose function ended before
    /// it could emit them.
    ///
    /// Each clock has an equal share of the time that is left, and its error ends its own part of
    /// the round only.
    async fn run_scheduled(&self, deadline: Deadline) -> Result<(), InvocationError> {
        let lengths = ClockLengths::by_clock(&self.specs);
        let (mut round, mut closed, mut emitted) = (Round::default(), 0, BTreeMap::new());
        // Each run begins with another clock: the last one has all the time that the others leave.
        let minute = usize::try_from((self.clock)().as_second() / 60).unwrap_or_default();
        let in_turn = lengths.iter().cycle().skip(minute % lengths.len().max(1));
        for (done, (name, length)) in in_turn.take(lengths.len()).enumerate() {
            let updater = self.updater(deadline.share(lengths.len() - done));
            round.add(name, self.close_clock(&updater, name, *length).await);
            let counts = updater.counts.take();
            closed += counts.closed;
            emitted.extend(counts.emitted);
        }
        self.write_windows(&emitted, &BTreeMap::new(), &BatchReadings::default());
        let emitted: u64 = emitted.values().sum();
        let result = round.finish();
        let is_whole = result == Ok(true);
        info!(windows.closed = closed, windows.emitted = emitted, is_whole, "scheduled run");
        if result? {
            return Ok(());
        }
        let message = "some windows are not emitted";
        Err(CallError::retryable(OPERATION, "undelivered", message).into())
    }

    /// Closes the due windows of one clock. Returns true if all of them were emitted and marked.
    async fn close_clock(
        &self,
        updater: &WindowUpdater<'_, S, L, E, Q>,
        name: &String,
        lengths: ClockLengths,
    ) -> Result<bool, CallError> {
        let mut clock = updater.clocks([name].into_iter()).await?.remove(name).unwrap_or_default();
        let status = updater.raise_watermark(name, &mut clock, lengths).await?;
        let mut round = Round::default();
        for (number, spec) in self.specs.iter().enumerate() {
            if clock_name(spec) != *name {
                continue;
            }
            let by_watermark = clock.watermark.map(|it| spec.closes_until(it));
            // While all shards are idle nothing advances the watermark: processing time decides.
            let is_idle = status == ClockStatus::Idle;
            let idle_end = (self.clock)().checked_sub(lengths.idle).ok();
            let by_processing_time = idle_end.filter(|_| is_idle);
            let until = by_watermark.max(by_processing_time).unwrap_or(Timestamp::UNIX_EPOCH);
            round.add(&spec.id, updater.close_due(number, until, &mut clock, lengths).await);
        }
        Ok(round.finish()?)
    }
}

impl<S, L, E, Q> Windows<S, L, E, Q> {
    /// Writes the windows that each dataset emitted, and the age of its watermark if `readings` that
    /// can still change a window arrived.
    fn write_windows(
        &self,
        emitted: &BTreeMap<usize, u64>,
        clocks: &BTreeMap<String, Clock>,
        readings: &BatchReadings,
    ) {
        let (now, lengths) = ((self.clock)(), ClockLengths::by_clock(&self.specs));
        let mut metrics = BTreeMap::<&str, WindowMetrics>::new();
        for (number, spec) in self.specs.iter().enumerate() {
            let dataset = metrics.entry(spec.dataset.as_str()).or_default();
            dataset.emitted += emitted.get(&number).copied().unwrap_or(0);
            let name = clock_name(spec);
            let (Some(clock), Some(moves)) = (clocks.get(&name), readings.clocks.get(&name)) else {
                continue;
            };
            let times = moves.iter().map(|(_, time)| *time);
            let progress = ShardProgress::of(times, clock, "", lengths[&name].horizon);
            let age = clock.watermark_age(now).filter(|_| progress.is_in_time);
            dataset.watermark_age = dataset.watermark_age.max(age);
        }
        self.metrics_log.write_windows(&metrics, now);
    }
}

/// Position in the stream of the user record at `position`.
fn place<'b>(batch: &'b KinesisBatch<'_>, position: usize) -> Option<RecordPosition<'b>> {
    let record = batch.record_of(position)?;
    Some(RecordPosition { shard: record.shard_id(), number: record.sequence_number() })
}

fn disposition(is_taken: bool) -> Disposition {
    if is_taken { Disposition::Delivered } else { Disposition::Filtered }
}
