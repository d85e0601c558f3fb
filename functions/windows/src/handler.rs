//! Batch orchestration: the core aggregates, a store keeps, the stream tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::{info, warn};
use tributary_aws::batch::{Disposition, Dispositions};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::delivery::QuarantineBarrier;
use tributary_aws::error::{CallError, InvocationError};
use tributary_aws::events;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::{BatchResponse, KinesisPayload, KinesisRecord, is_scheduled};
use tributary_aws::producer::Producer;
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine::BadRows;
use tributary_aws::retry::Retry;
use tributary_aws::tail::Reader;
use tributary_aws::windows::{ItemKey, OPERATION, ShardList, WindowStore};
use tributary_config::{PIPELINE, PipelineConfig};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_windows::Spec;
use tributary_windows::clock::{
    Clock, ClockStatus, clock_name, idle_timeout_by_clock, lateness_horizon_by_clock,
};
use tributary_windows::seen::RecordPosition;

use crate::clocks::ShardProgress;
use crate::closing::passes_an_end;
use crate::config::Settings;
use crate::readings::BatchReadings;
use crate::updater::{WindowCounts, WindowUpdater, stored_window};

/// The time that closing windows must have to be begun after a batch.
const CLOSING_TIME: Duration = Duration::from_secs(3);

/// The function, over any store and sinks.
pub struct Windows<S, L, E, Q> {
    /// Where windows are kept.
    pub store: S,
    /// The shards of the stream of events.
    pub shards: L,
    /// Where windows are told.
    pub events: Producer<E>,
    /// Where what is too late goes, and records that are no events.
    pub quarantine: Producer<Q>,
    /// Which windows there are.
    pub specs: Vec<Spec>,
    /// Where the books go.
    pub metrics_log: MetricsLog,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// How calls to the store are made again.
    pub retry: Retry,
}

/// The readings of a batch that are too late.
#[derive(Default)]
struct LateReadings {
    /// For which window, by position.
    of_windows: BTreeSet<(ItemKey, usize)>,
    /// By position, what is to be said of it.
    messages: BTreeMap<usize, String>,
}

impl<S> Windows<S, Reader, Stream, DeliveryStream> {
    /// Connects the function to its streams on AWS, and to `store` for its windows.
    ///
    /// # Errors
    ///
    /// Fails when the compiled-in `pipeline.toml` is wrong.
    pub fn connect(
        store: S,
        settings: Settings,
        sdk: &clients::SdkConfig,
    ) -> Result<Self, ConfigError> {
        let pipeline = PipelineConfig::from_toml(PIPELINE)?;
        let stream = || settings.events_stream.clone();
        let events = Stream::new(clients::kinesis(sdk), stream(), settings.max_record_bytes);
        let quarantine =
            DeliveryStream::new(clients::firehose(sdk), settings.quarantine_delivery_stream);
        Ok(Self {
            shards: Reader::new(clients::kinesis(sdk), stream()),
            store,
            events: Producer::new(events),
            quarantine: Producer::new(quarantine),
            specs: pipeline.window_specs()?,
            metrics_log: MetricsLog::new("windows", settings.metrics_namespace),
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
    /// Processes one batch of events, or looks for what is to be closed when the schedule calls.
    ///
    /// A reading is done when it is in its windows in the store: those of a window are one conditional
    /// write, and what comes again adds nothing. What is too late is a bad row, and counts as `late`.
    /// The earliest reading that is not in the store is reported. Windows that are over are closed,
    /// told on the stream and then noted as told; where that fails nothing is reported, because the
    /// store knows what is due and whoever looks next finds it.
    ///
    /// # Errors
    ///
    /// When the payload is neither, when a service says that it can never work, and when the schedule's
    /// round met broken plumbing: Lambda then makes the invocation again.
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

    fn updater(&self, deadline: Deadline) -> WindowUpdater<'_, S, E> {
        WindowUpdater {
            store: &self.store,
            events: &self.events,
            retry: self.retry,
            specs: &self.specs,
            clock: self.clock,
            deadline,
        }
    }

    async fn handle_batch(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let started = Instant::now();
        let payload = KinesisPayload::from_json(payload)?;
        let records = &payload.records;
        let mut readings = BatchReadings::default();
        let first = self.read(records, &BTreeMap::new(), Some(&mut readings));
        let shard = records.first().map_or("", KinesisRecord::shard_id);
        let mut window_counts = WindowCounts::default();

        let updater = self.updater(deadline);
        let evaluated = self.find_late(&updater, records, shard, &readings, &first.0).await;
        let (mut clocks, late) = match evaluated {
            Ok(evaluated) => evaluated,
            Err(CallError::Setup(error)) => return Err(error.into()),
            Err(error) => {
                // Without a watermark nothing can be said of any reading.
                warn!(%error, "no watermarks: the batch comes again");
                let outcome = first.0.outcome([0]);
                let (took, now) = (started.elapsed(), (self.clock)());
                self.metrics_log.write_batch(&outcome.counts, &outcome.codes, took, json!({}), now);
                return Ok(first.0.response(&outcome, records));
            }
        };
        let (dispositions, bad_rows) =
            if late.messages.is_empty() { first } else { self.read(records, &late.messages, None) };
        let barrier =
            QuarantineBarrier::deliver(&dispositions, &bad_rows, &self.quarantine, deadline)
                .await?;
        readings.retain(barrier.end, &late.of_windows);
        let places = |position| {
            let record = records.get(dispositions.record_of(position))?;
            Some(RecordPosition { shard: record.shard_id(), number: record.sequence_number() })
        };
        let watermarks = self.watermarks(&clocks);
        let applied = updater.apply(&readings, &places, &watermarks, &mut window_counts).await?;
        let outcome =
            barrier.outcome(&dispositions, &applied.undelivered, applied.last_error.as_deref());

        let end = outcome.first_undelivered.unwrap_or(usize::MAX);
        let closing = async {
            let is_emitted = updater.emit(applied.pending, &mut window_counts).await?;
            self.advance(&updater, shard, &readings, end, &mut clocks, &mut window_counts)
                .await
                .map(|is_whole| is_emitted && is_whole)
        };
        match closing.await {
            Ok(true) => {}
            Ok(false) => warn!("windows are left to be told: the schedule finds them"),
            Err(CallError::Setup(error)) => return Err(error.into()),
            Err(error) => warn!(%error, "windows are left to be closed: the schedule finds them"),
        }

        let extra = json!({
            "retried": barrier.quarantined.retried,
            "windows_opened": window_counts.opened,
            "windows_closed": window_counts.closed,
            "windows_revised": window_counts.revised,
            "windows_emitted": window_counts.emitted,
            "duplicates": window_counts.duplicates,
            "conflicts": window_counts.conflicts,
        });
        let now = (self.clock)();
        self.metrics_log.write_batch(
            &outcome.counts,
            &outcome.codes,
            started.elapsed(),
            extra,
            now,
        );
        Ok(dispositions.response(&outcome, records))
    }

    /// Reads the events of a batch: readings for windows go into `arrivals`, what is `late` becomes a
    /// bad row, what no window takes is filtered.
    fn read(
        &self,
        records: &[KinesisRecord<'_>],
        late: &BTreeMap<usize, String>,
        mut readings: Option<&mut BatchReadings>,
    ) -> (Dispositions, BadRows) {
        events::read(records, (self.clock)(), |place, event| {
            if let Some(message) = late.get(&place.position) {
                return Err(Rejection::row(Code::Late, message));
            }
            let is_taken = match &mut readings {
                Some(readings) => readings.add(place.position, event, &self.specs),
                None => self.specs.iter().any(|spec| spec.takes(event)),
            };
            Ok(if is_taken { Disposition::Delivered } else { Disposition::Filtered })
        })
    }

    /// Loads the clocks of a batch, and finds the readings that are too late by them.
    ///
    /// A reading that is late and in its window already was in time when it came first.
    async fn find_late(
        &self,
        updater: &WindowUpdater<'_, S, E>,
        records: &[KinesisRecord<'_>],
        shard: &str,
        readings: &BatchReadings,
        dispositions: &Dispositions,
    ) -> Result<(BTreeMap<String, Clock>, LateReadings), CallError> {
        let mut clocks = updater.clocks(readings.clocks.keys()).await?;
        let (idle, horizon) =
            (idle_timeout_by_clock(&self.specs), lateness_horizon_by_clock(&self.specs));
        for (name, clock) in &mut clocks {
            let times = readings.clocks[name].iter().map(|(_, time)| *time);
            let ShardProgress { is_in_time, .. } = ShardProgress::of(times, clock, horizon[name]);
            updater
                .register_shard(name, clock, shard, is_in_time, idle[name], &self.shards)
                .await?;
        }
        let watermarks = self.watermarks(&clocks);
        let is_late = |spec: usize, span| {
            watermarks.get(&spec).is_some_and(|it| self.specs[spec].is_late(span, *it))
        };
        let over = readings.windows.iter().filter(|(_, window)| is_late(window.spec, window.span));
        let over: Vec<_> = over.collect();
        let keys: Vec<_> = over.iter().map(|(key, _)| (*key).clone()).collect();
        let mut late = LateReadings::default();
        for ((key, window_readings), item) in over.into_iter().zip(updater.read(&keys).await?) {
            let window = item.map(|item| stored_window(window_readings.spec, &item)).transpose()?;
            for &index in &window_readings.samples {
                let (position, sample) = &readings.samples[index];
                let record = records.get(dispositions.record_of(*position));
                let place = record.map(|it| RecordPosition {
                    shard: it.shard_id(),
                    number: it.sequence_number(),
                });
                if window.as_ref().is_some_and(|it| it.window.contains(sample.id, place)) {
                    continue;
                }
                late.of_windows.insert((key.clone(), *position));
                let watermark = watermarks.get(&window_readings.spec).map(Timestamp::to_string);
                let message = late.messages.entry(*position).or_insert_with(|| {
                    let watermark = watermark.unwrap_or_default();
                    format!("too late: the watermark is at {watermark}, past the lateness of")
                });
                // Writing to a string cannot fail.
                let _ = write!(message, " {} from {}", key.spec, key.start);
            }
        }
        Ok((clocks, late))
    }

    /// The watermark of each spec that has one.
    fn watermarks(&self, clocks: &BTreeMap<String, Clock>) -> BTreeMap<usize, Timestamp> {
        let watermark = |(number, spec)| Some((number, clocks.get(&clock_name(spec))?.watermark?));
        self.specs.iter().enumerate().filter_map(watermark).collect()
    }

    /// Moves the watermarks by the readings before `end`, and closes what they pass.
    async fn advance(
        &self,
        updater: &WindowUpdater<'_, S, E>,
        shard: &str,
        readings: &BatchReadings,
        end: usize,
        clocks: &mut BTreeMap<String, Clock>,
        window_counts: &mut WindowCounts,
    ) -> Result<bool, CallError> {
        let (idle, horizon) =
            (idle_timeout_by_clock(&self.specs), lateness_horizon_by_clock(&self.specs));
        let mut is_whole = true;
        for (name, moves) in &readings.clocks {
            let Some(clock) = clocks.get_mut(name) else { continue };
            let done = moves.iter().take_while(|(position, _)| *position < end);
            let progress = ShardProgress::of(done.map(|(_, time)| *time), clock, horizon[name]);
            let before = clock.watermark;
            updater.advance(name, clock, shard, progress, idle[name]).await?;
            let Some(after) = clock.watermark else { continue };
            for (number, spec) in self.specs.iter().enumerate() {
                if clock_name(spec) != *name || !passes_an_end(spec, before, after) {
                    continue;
                }
                if updater.deadline.remaining() < CLOSING_TIME {
                    return Ok(false);
                }
                is_whole &=
                    updater.close_due(number, spec.closes_until(after), window_counts).await?;
            }
        }
        Ok(is_whole)
    }

    /// What the schedule is for: watermarks that move because a shard is idle, windows that nobody
    /// closes because all are, and revisions whose function ended before it could tell them.
    async fn run_scheduled(&self, deadline: Deadline) -> Result<(), InvocationError> {
        let updater = self.updater(deadline);
        let idle = idle_timeout_by_clock(&self.specs);
        let mut clocks = updater.clocks(idle.keys()).await?;
        let mut window_counts = WindowCounts::default();
        let mut is_whole = true;
        for (name, clock) in &mut clocks {
            let status = updater.raise_watermark(name, clock, idle[name]).await?;
            for (number, spec) in self.specs.iter().enumerate() {
                if clock_name(spec) != *name {
                    continue;
                }
                let by_watermark = clock.watermark.map(|it| spec.closes_until(it));
                // Nothing moves the watermark while all are idle; what is over by the wall is over.
                let by_processing_time = match status {
                    ClockStatus::Idle => Some(before((self.clock)(), idle[name])),
                    ClockStatus::At(_) | ClockStatus::Waiting => None,
                };
                let until = by_watermark.max(by_processing_time).unwrap_or(Timestamp::UNIX_EPOCH);
                is_whole &= updater.close_due(number, until, &mut window_counts).await?;
            }
        }
        let (closed, emitted) = (window_counts.closed, window_counts.emitted);
        info!(windows.closed = closed, windows.emitted = emitted, is_whole, "a round of closing");
        if is_whole {
            Ok(())
        } else {
            let message = "windows are left to be told".to_owned();
            let code = "undelivered".to_owned();
            Err(CallError::Retryable { operation: OPERATION, code, message }.into())
        }
    }
}

fn before(time: Timestamp, length: SignedDuration) -> Timestamp {
    time.checked_sub(length).unwrap_or(Timestamp::MIN)
}
