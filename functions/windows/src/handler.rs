//! Batch orchestration: the core aggregates, a store keeps, the stream tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::{info, warn};
use tributary_aws::batch::{Fate, Fates};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::delivery::Safe;
use tributary_aws::error::{CallError, InvocationError};
use tributary_aws::events;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::insist::Insistence;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::Journal;
use tributary_aws::payload::{BatchResponse, KinesisPayload, KinesisRecord, is_scheduled};
use tributary_aws::producer::Producer;
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine::BadRows;
use tributary_aws::tail::Reader;
use tributary_aws::windows::{ItemKey, OPERATION, ShardList, WindowStore};
use tributary_config::{PIPELINE, PipelineConfig};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_windows::Spec;
use tributary_windows::clock::{Clock, Standing, idle_by_clock, name_of, reach_by_clock};
use tributary_windows::seen::Place;

use crate::arrivals::Arrivals;
use crate::clocks::Moved;
use crate::closing::passes_an_end;
use crate::config::Settings;
use crate::keeper::{Keeper, Tally, kept_of};

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
    pub journal: Journal,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// How calls to the store are made again.
    pub insistence: Insistence,
}

/// The readings of a batch that are too late.
#[derive(Default)]
struct Late {
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
            journal: Journal::new("windows", settings.metrics_namespace),
            clock: Timestamp::now,
            insistence: Insistence::new(OPERATION),
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
            self.round(deadline).await?;
            return Ok(BatchResponse::default());
        }
        self.batch(payload, deadline).await
    }

    fn keeper(&self, deadline: Deadline) -> Keeper<'_, S, E> {
        Keeper {
            store: &self.store,
            events: &self.events,
            insistence: self.insistence,
            specs: &self.specs,
            clock: self.clock,
            deadline,
        }
    }

    async fn batch(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let started = Instant::now();
        let payload = KinesisPayload::from_json(payload)?;
        let records = &payload.records;
        let mut arrivals = Arrivals::default();
        let first = self.read(records, &BTreeMap::new(), Some(&mut arrivals));
        let shard = records.first().map_or("", KinesisRecord::shard_id);
        let mut tally = Tally::default();

        let keeper = self.keeper(deadline);
        let judged = self.judge(&keeper, records, shard, &arrivals, &first.0).await;
        let (mut clocks, late) = match judged {
            Ok(judged) => judged,
            Err(CallError::SetUp(error)) => return Err(error.into()),
            Err(error) => {
                // Without a watermark nothing can be said of any reading.
                warn!(%error, "no watermarks: the batch comes again");
                let settled = first.0.settle([0]);
                let (took, now) = (started.elapsed(), (self.clock)());
                self.journal.batch(&settled.books, &settled.codes, took, json!({}), now);
                return Ok(first.0.response(&settled, records));
            }
        };
        let (fates, bad_rows) =
            if late.messages.is_empty() { first } else { self.read(records, &late.messages, None) };
        let safe = Safe::deliver(&fates, &bad_rows, &self.quarantine, deadline).await?;
        arrivals.keep(safe.end, &late.of_windows);
        let places = |position| {
            let record = records.get(fates.record_of(position))?;
            Some(Place { shard: record.shard_id(), number: record.sequence_number() })
        };
        let watermarks = self.watermarks(&clocks);
        let applied = keeper.apply(&arrivals, &places, &watermarks, &mut tally).await?;
        let settled = safe.settle(&fates, &applied.undelivered, applied.last_error.as_deref());

        let end = settled.first_undelivered.unwrap_or(usize::MAX);
        let closing = async {
            let is_told = keeper.emit(applied.pending, &mut tally).await?;
            self.advance(&keeper, shard, &arrivals, end, &mut clocks, &mut tally)
                .await
                .map(|is_whole| is_told && is_whole)
        };
        match closing.await {
            Ok(true) => {}
            Ok(false) => warn!("windows are left to be told: the schedule finds them"),
            Err(CallError::SetUp(error)) => return Err(error.into()),
            Err(error) => warn!(%error, "windows are left to be closed: the schedule finds them"),
        }

        let extra = json!({
            "retried": safe.quarantined.retried,
            "windows_opened": tally.opened,
            "windows_closed": tally.closed,
            "windows_revised": tally.revised,
            "windows_emitted": tally.emitted,
            "duplicates": tally.duplicates,
            "conflicts": tally.conflicts,
        });
        let now = (self.clock)();
        self.journal.batch(&settled.books, &settled.codes, started.elapsed(), extra, now);
        Ok(fates.response(&settled, records))
    }

    /// Reads the events of a batch: readings for windows go into `arrivals`, what is `late` becomes a
    /// bad row, what no window takes is filtered.
    fn read(
        &self,
        records: &[KinesisRecord<'_>],
        late: &BTreeMap<usize, String>,
        mut arrivals: Option<&mut Arrivals>,
    ) -> (Fates, BadRows) {
        events::read(records, (self.clock)(), |place, event| {
            if let Some(message) = late.get(&place.position) {
                return Err(Rejection::row(Code::Late, message));
            }
            let is_taken = match &mut arrivals {
                Some(arrivals) => arrivals.add(place.position, event, &self.specs),
                None => self.specs.iter().any(|spec| spec.takes(event)),
            };
            Ok(if is_taken { Fate::Out } else { Fate::Filtered })
        })
    }

    /// Loads the clocks of a batch, and finds the readings that are too late by them.
    ///
    /// A reading that is late and in its window already was in time when it came first.
    async fn judge(
        &self,
        keeper: &Keeper<'_, S, E>,
        records: &[KinesisRecord<'_>],
        shard: &str,
        arrivals: &Arrivals,
        fates: &Fates,
    ) -> Result<(BTreeMap<String, Clock>, Late), CallError> {
        let mut clocks = keeper.clocks(arrivals.clocks.keys()).await?;
        let (idle, reach) = (idle_by_clock(&self.specs), reach_by_clock(&self.specs));
        for (name, clock) in &mut clocks {
            let times = arrivals.clocks[name].iter().map(|(_, time)| *time);
            let Moved { is_of_use, .. } = Moved::by(times, clock, reach[name]);
            keeper.greet(name, clock, shard, is_of_use, idle[name], &self.shards).await?;
        }
        let watermarks = self.watermarks(&clocks);
        let is_late = |spec: usize, span| {
            watermarks.get(&spec).is_some_and(|it| self.specs[spec].is_late(span, *it))
        };
        let over = arrivals.windows.iter().filter(|(_, window)| is_late(window.spec, window.span));
        let over: Vec<_> = over.collect();
        let keys: Vec<_> = over.iter().map(|(key, _)| (*key).clone()).collect();
        let mut late = Late::default();
        for ((key, arrived), item) in over.into_iter().zip(keeper.read(&keys).await?) {
            let window = item.map(|item| kept_of(arrived.spec, &item)).transpose()?;
            for &index in &arrived.samples {
                let (position, sample) = &arrivals.samples[index];
                let record = records.get(fates.record_of(*position));
                let place =
                    record.map(|it| Place { shard: it.shard_id(), number: it.sequence_number() });
                if window.as_ref().is_some_and(|it| it.window.contains(sample.id, place)) {
                    continue;
                }
                late.of_windows.insert((key.clone(), *position));
                let watermark = watermarks.get(&arrived.spec).map(Timestamp::to_string);
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
        let watermark = |(number, spec)| Some((number, clocks.get(&name_of(spec))?.watermark?));
        self.specs.iter().enumerate().filter_map(watermark).collect()
    }

    /// Moves the watermarks by the readings before `end`, and closes what they pass.
    async fn advance(
        &self,
        keeper: &Keeper<'_, S, E>,
        shard: &str,
        arrivals: &Arrivals,
        end: usize,
        clocks: &mut BTreeMap<String, Clock>,
        tally: &mut Tally,
    ) -> Result<bool, CallError> {
        let (idle, reach) = (idle_by_clock(&self.specs), reach_by_clock(&self.specs));
        let mut is_whole = true;
        for (name, moves) in &arrivals.clocks {
            let Some(clock) = clocks.get_mut(name) else { continue };
            let done = moves.iter().take_while(|(position, _)| *position < end);
            let moved = Moved::by(done.map(|(_, time)| *time), clock, reach[name]);
            let before = clock.watermark;
            keeper.advance(name, clock, shard, moved, idle[name]).await?;
            let Some(after) = clock.watermark else { continue };
            for (number, spec) in self.specs.iter().enumerate() {
                if name_of(spec) != *name || !passes_an_end(spec, before, after) {
                    continue;
                }
                if keeper.deadline.remaining() < CLOSING_TIME {
                    return Ok(false);
                }
                is_whole &= keeper.close_due(number, spec.closes_until(after), tally).await?;
            }
        }
        Ok(is_whole)
    }

    /// What the schedule is for: watermarks that move because a shard is idle, windows that nobody
    /// closes because all are, and revisions whose function ended before it could tell them.
    async fn round(&self, deadline: Deadline) -> Result<(), InvocationError> {
        let keeper = self.keeper(deadline);
        let idle = idle_by_clock(&self.specs);
        let mut clocks = keeper.clocks(idle.keys()).await?;
        let mut tally = Tally::default();
        let mut is_whole = true;
        for (name, clock) in &mut clocks {
            let standing = keeper.raise(name, clock, idle[name]).await?;
            for (number, spec) in self.specs.iter().enumerate() {
                if name_of(spec) != *name {
                    continue;
                }
                let by_watermark = clock.watermark.map(|it| spec.closes_until(it));
                // Nothing moves the watermark while all are idle; what is over by the wall is over.
                let by_wall = match standing {
                    Standing::Idle => Some(before((self.clock)(), idle[name])),
                    Standing::At(_) | Standing::Waiting => None,
                };
                let until = by_watermark.max(by_wall).unwrap_or(Timestamp::UNIX_EPOCH);
                is_whole &= keeper.close_due(number, until, &mut tally).await?;
            }
        }
        let (closed, emitted) = (tally.closed, tally.emitted);
        info!(windows.closed = closed, windows.emitted = emitted, is_whole, "a round of closing");
        if is_whole {
            Ok(())
        } else {
            let message = "windows are left to be told".to_owned();
            let code = "undelivered".to_owned();
            Err(CallError::Plumbing { operation: OPERATION, code, message }.into())
        }
    }
}

fn before(time: Timestamp, length: SignedDuration) -> Timestamp {
    time.checked_sub(length).unwrap_or(Timestamp::MIN)
}
