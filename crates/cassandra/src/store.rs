//! Implementation of the store.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use jiff::{SignedDuration, Timestamp};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::PagingState;
use scylla::response::query_result::QueryRowsResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlTimestamp, CqlValue, CqlVarint, Row};
use tokio::sync::Mutex;
use tributary_aws::error::CallError;
use tributary_aws::windows::{Item, ItemKey, Range, WindowStore, Written};
use tributary_windows::clock::{Clock, Shard};

use crate::connect::Cluster;
use crate::failure;
use crate::statements::Statements;
use crate::value::{millis, nanos, time, time_of_nanos};

/// Number of open windows that are confirmed concurrently.
const AT_ONCE: usize = 50;

/// Maximum time to live that Cassandra accepts: 20 years.
/// <https://cassandra.apache.org/doc/latest/cassandra/developing/cql/dml.html#writetime-and-ttl-function>
const MAX_SECONDS: i64 = 20 * 365 * 24 * 3600;

/// Number of lanes over which writes are spread. A transaction covers a whole partition: two
/// concurrent ones on one group would contend and retry until one of them runs out of time.
const LANES: usize = 64;

/// Age given to the write that adds a shard, so that anything the shard itself wrote since is newer
/// and wins. Longer than a batch takes from reading a clock to writing to it.
const ADDED_BEFORE: SignedDuration = SignedDuration::from_hours(1);

/// Retention of a shard's last-seen time: longer than the rest of its row.
const AWAKE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Store of windows in the tables of `config/cassandra.cql`.
///
/// - A window is written by a lightweight transaction on its version.
/// - A window that is due for processing is written to `open_windows` first, under its next
///   version, so that none is missed if the write fails. A reader drops a row there whose version
///   was passed. A row whose version was never written stays and does no harm.
/// - Watermarks and shards need no transaction: of two writes, the one with the later time wins.
///   The time of a write is the watermark itself; for a shard that is only added, it is set back.
#[derive(Clone)]
pub struct CassandraWindows {
    session: Arc<Session>,
    statements: Arc<Statements>,
    keyspace: String,
    clock: fn() -> Timestamp,
    /// Locks that serialize the writes to a group.
    lanes: Arc<[Mutex<()>; LANES]>,
}

/// Row of `open_windows`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hint {
    due: CqlTimestamp,
    key: String,
    start: CqlTimestamp,
    version: i64,
}

/// State of a hint, according to the `windows` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Due for processing.
    Due,
    /// Passed: the window has a later version.
    Passed,
    /// Ahead: the window does not have this version yet, or never will.
    Ahead,
}

impl Hint {
    fn evaluate(&self, found: Option<(i64, Option<CqlTimestamp>)>) -> Verdict {
        match found {
            Some((version, due)) if version == self.version && due == Some(self.due) => {
                Verdict::Due
            }
            Some((version, _)) if version >= self.version => Verdict::Passed,
            _ => Verdict::Ahead,
        }
    }
}

impl CassandraWindows {
    /// Connects to a cluster and prepares the statements. `clock` tells when rows expire.
    ///
    /// # Errors
    ///
    /// Returns a setup error if the cluster rejects the role or lacks a table, and a retryable
    /// error if no node answers.
    pub async fn connect(cluster: &Cluster, clock: fn() -> Timestamp) -> Result<Self, CallError> {
        let session = cluster.connect().await?;
        let statements = Statements::prepare(&session, &cluster.keyspace).await?;
        Ok(Self {
            session: Arc::new(session),
            statements: Arc::new(statements),
            keyspace: cluster.keyspace.clone(),
            clock,
            lanes: Arc::new(std::array::from_fn(|_| Mutex::default())),
        })
    }

    fn unreadable(&self, what: &impl ToString) -> CallError {
        failure::of_answer(&self.keyspace, what)
    }

    async fn run(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), CallError> {
        let done = self.session.execute_unpaged(statement, values).await;
        done.map(|_| ()).map_err(|error| failure::of_call(&self.keyspace, &error))
    }

    /// Reads one page of rows, and the state for the next page.
    async fn page(
        &self,
        statement: &PreparedStatement,
        values: &impl SerializeRow,
        from: PagingState,
    ) -> Result<(QueryRowsResult, Option<PagingState>), CallError> {
        let answer = self.session.execute_single_page(statement, values, from).await;
        let (rows, next) = answer.map_err(|error| failure::of_call(&self.keyspace, &error))?;
        let rows = rows.into_rows_result().map_err(|error| self.unreadable(&error))?;
        let next = match next.into_paging_control_flow() {
            ControlFlow::Continue(next) => Some(next),
            ControlFlow::Break(()) => None,
        };
        Ok((rows, next))
    }

    fn rows_of<R>(&self, page: &QueryRowsResult) -> Result<Vec<R>, CallError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let rows = page.rows::<R>().map_err(|error| self.unreadable(&error))?;
        rows.collect::<Result<_, _>>().map_err(|error| self.unreadable(&error))
    }

    /// Reads all rows of a statement.
    async fn rows<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, CallError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let (mut all, mut from) = (Vec::new(), Some(PagingState::start()));
        while let Some(state) = from {
            let (page, next) = self.page(statement, &values, state).await?;
            all.extend(self.rows_of(&page)?);
            from = next;
        }
        Ok(all)
    }

    /// Returns whether a lightweight transaction was applied. The other columns of its answer
    /// depend on that.
    fn is_applied(&self, row: Option<&Row>) -> Result<bool, CallError> {
        let first = row.and_then(|row| row.columns.first());
        match first {
            Some(Some(CqlValue::Boolean(applied))) => Ok(*applied),
            _ => {
                Err(self
                    .unreadable(&"a lightweight transaction that does not say if it was applied"))
            }
        }
    }

    /// Returns the seconds until `expires_at`, at least 1: 0 would mean no expiry.
    fn ttl(&self, expires_at: Timestamp) -> i32 {
        let seconds = expires_at.duration_since((self.clock)()).as_secs();
        i32::try_from(seconds.clamp(1, MAX_SECONDS)).unwrap_or(i32::MAX)
    }

    fn lane_of(&self, spec: &str, group: &str) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        (spec, group).hash(&mut hasher);
        &self.lanes[(hasher.finish() % LANES as u64) as usize]
    }

    async fn one(&self, key: &ItemKey) -> Result<Option<Item>, CallError> {
        type Found = (Option<i64>, Option<CqlTimestamp>, Option<CqlTimestamp>, Option<String>);
        let values = (&key.spec, &key.group, millis(key.start));
        let found: Vec<Found> = self.rows(&self.statements.read, values).await?;
        let Some((version, due, expires_at, body)) = found.into_iter().next() else {
            return Ok(None);
        };
        self.item(key.clone(), version, due, expires_at, body)
    }

    fn item(
        &self,
        key: ItemKey,
        version: Option<i64>,
        due: Option<CqlTimestamp>,
        expires_at: Option<CqlTimestamp>,
        body: Option<String>,
    ) -> Result<Option<Item>, CallError> {
        // Columns expire together, so a row without them is no window.
        let (Some(version), Some(body)) = (version, body) else { return Ok(None) };
        let Ok(version) = u64::try_from(version) else {
            let ItemKey { spec, group, start } = &key;
            return Err(self
                .unreadable(&format!("the window {spec} {group} {start} has version {version}")));
        };
        let (due, expires_at) = (due.and_then(time), expires_at.and_then(time));
        Ok(Some(Item { key, version, due, expires_at, body }))
    }

    /// Resolves these hints to windows, in order, and drops the passed ones.
    async fn confirmed(
        &self,
        spec: &str,
        bucket: i8,
        hints: &[Hint],
    ) -> Result<Vec<ItemKey>, CallError> {
        let statements = &self.statements;
        let verdict = async |hint: &Hint| {
            let values = (spec, &hint.key, hint.start);
            let found: Vec<(Option<i64>, Option<CqlTimestamp>)> =
                self.rows(&statements.confirm, values).await?;
            let found = found.first().and_then(|(version, due)| Some(((*version)?, *due)));
            Ok::<_, CallError>(hint.evaluate(found))
        };
        let verdicts = try_join_all(hints.iter().map(verdict)).await?;
        let evaluated = || hints.iter().zip(&verdicts);
        let passed = evaluated().filter(|(_, verdict)| **verdict == Verdict::Passed);
        let drop = |(hint, _): (&Hint, _)| {
            let Hint { due, key, start, version } = hint.clone();
            self.run(&statements.forget, (spec, bucket, due, key, start, version))
        };
        // A row that stays is found and dropped again later.
        join_all(passed.map(drop)).await;
        let due = evaluated().filter(|(_, verdict)| **verdict == Verdict::Due);
        let key = |(hint, _): (&Hint, _)| {
            let start = time(hint.start)?;
            Some(ItemKey { spec: spec.to_owned(), group: hint.key.clone(), start })
        };
        Ok(due.filter_map(key).collect())
    }
}

impl std::fmt::Debug for CassandraWindows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CassandraWindows")
            .field("keyspace", &self.keyspace)
            .finish_non_exhaustive()
    }
}

impl WindowStore for CassandraWindows {
    async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        try_join_all(keys.iter().map(|key| self.one(key))).await
    }

    async fn write(&self, item: &Item) -> Result<Written, CallError> {
        let Item { key: ItemKey { spec, group, start }, version, .. } = item;
        let (bucket, start) = (item.key.bucket().cast_signed(), millis(*start));
        let (version, due) = (version.cast_signed(), item.due.map(millis));
        if let Some(due) = due {
            self.run(&self.statements.open, (spec, bucket, due, group, start, version)).await?;
        }
        // In CQL, 0 means no expiry.
        let ttl = item.expires_at.map_or(0, |expires_at| self.ttl(expires_at));
        let before = (version > 1).then_some(version - 1);
        let expires_at = item.expires_at.map(millis);
        let values = (ttl, version, due, expires_at, &item.body, spec, group, start, before);
        let answer: Vec<Row> = {
            let _lane = self.lane_of(spec, group).lock().await;
            self.rows(&self.statements.write, values).await?
        };
        if !self.is_applied(answer.first())? {
            return Ok(Written::Conflict);
        }
        if let (Some(due), Some(before)) = (due, before) {
            // A window that was due before now has two rows. Otherwise the row does not exist; one
            // that stays is dropped by the reader that finds it.
            let values = (spec, bucket, due, group, start, before);
            let _ = self.run(&self.statements.forget, values).await;
        }
        Ok(Written::Stored)
    }

    async fn due(
        &self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ItemKey>, CallError> {
        type Found = (CqlTimestamp, String, CqlTimestamp, i64);
        let bucket = bucket.cast_signed();
        let values = (spec, bucket, millis(until));
        let (mut due, mut from) = (Vec::new(), Some(PagingState::start()));
        while let Some(state) = from {
            let (page, next) = self.page(&self.statements.due, &values, state).await?;
            let found: Vec<Found> = self.rows_of(&page)?;
            let hint = |(due, key, start, version)| Hint { due, key, start, version };
            let hints: Vec<_> = found.into_iter().map(hint).collect();
            for hints in hints.chunks(AT_ONCE) {
                if due.len() >= limit {
                    break;
                }
                due.extend(self.confirmed(spec, bucket, hints).await?);
            }
            from = next.filter(|_| due.len() < limit);
        }
        due.truncate(limit);
        Ok(due)
    }

    async fn range(&self, spec: &str, group: &str, range: Range) -> Result<Vec<Item>, CallError> {
        type Found =
            (CqlTimestamp, Option<i64>, Option<CqlTimestamp>, Option<CqlTimestamp>, Option<String>);
        let Some(limit) = i32::try_from(range.limit).ok().filter(|it| *it > 0) else {
            return Ok(Vec::new());
        };
        let values = (spec, group, millis(range.from), millis(range.until), limit);
        let found: Vec<Found> = self.rows(&self.statements.range, values).await?;
        let mut items = Vec::with_capacity(found.len());
        for (start, version, due, expires_at, body) in found {
            let Some(start) = time(start) else { continue };
            let key = ItemKey { spec: spec.to_owned(), group: group.to_owned(), start };
            items.extend(self.item(key, version, due, expires_at, body)?);
        }
        Ok(items)
    }

    async fn clock(&self, name: &str) -> Result<Clock, CallError> {
        type Found = (String, Option<CqlVarint>, Option<CqlTimestamp>, Option<bool>);
        let (shards, watermark) = futures_util::try_join!(
            self.rows::<Found>(&self.statements.shards, (name,)),
            self.rows::<(Option<CqlVarint>,)>(&self.statements.watermark, (name,)),
        )?;
        let shard = |(id, watermark, last_seen, is_closed): Found| {
            let watermark = watermark.as_ref().and_then(time_of_nanos);
            let (last_seen, is_closed) = (last_seen.and_then(time)?, is_closed?);
            Some(Shard { id, watermark, last_seen, is_closed })
        };
        let watermark = watermark.into_iter().next().and_then(|(it,)| time_of_nanos(&it?));
        Ok(Clock { shards: shards.into_iter().filter_map(shard).collect(), watermark })
    }

    async fn put_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        let Shard { id, watermark, last_seen, is_closed } = shard;
        let watermark = watermark.map(nanos);
        let values = (clock, id, watermark, millis(*last_seen), is_closed, self.ttl(expires_at));
        self.run(&self.statements.put_shard, values).await
    }

    async fn add_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        let Shard { id, watermark, last_seen, is_closed } = shard;
        let (watermark, ttl) = (watermark.map(nanos), self.ttl(expires_at));
        let written_at = (self.clock)() - ADDED_BEFORE;
        let written_at = written_at.as_microsecond();
        let values = (clock, id, watermark, millis(*last_seen), is_closed, written_at, ttl);
        self.run(&self.statements.add_shard, values).await
    }

    async fn touch_shard(
        &self,
        clock: &str,
        id: &str,
        last_seen: Timestamp,
    ) -> Result<(), CallError> {
        let expires_at = last_seen.checked_add(AWAKE).unwrap_or(Timestamp::MAX);
        let values = (self.ttl(expires_at), millis(last_seen), clock, id);
        self.run(&self.statements.touch_shard, values).await
    }

    async fn raise_watermark(&self, clock: &str, time: Timestamp) -> Result<(), CallError> {
        // Of two writes within a microsecond, the greater value wins.
        let values = (time.as_microsecond(), nanos(time), clock);
        self.run(&self.statements.raise_watermark, values).await
    }
}
