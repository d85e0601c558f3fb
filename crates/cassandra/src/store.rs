//! Implementation of the store.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use jiff::{SignedDuration, Timestamp};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::PagingState;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlTimestamp, CqlValue, CqlVarint, Row};
use tokio::sync::Mutex;
use tributary_aws::clients::SdkConfig;
use tributary_aws::error::CallError;
use tributary_aws::windows::{Item, ItemKey, Range, WindowStore, Written};
use tributary_windows::clock::{Clock, Mark, Rise, Shard};

use crate::config::ClusterConfig;
use crate::failure;
use crate::statements::{self, Statement};
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
#[derive(Clone, Debug)]
pub struct CassandraWindows {
    session: Arc<Session>,
    statements: Arc<[PreparedStatement]>,
    keyspace: String,
    /// Locks that serialize the writes to a group.
    lanes: Arc<[Mutex<()>; LANES]>,
}

/// Row of `open_windows`.
#[derive(Clone, Debug, scylla::DeserializeRow)]
struct Hint {
    due: CqlTimestamp,
    key: String,
    start: CqlTimestamp,
    version: i64,
}

/// Row of `windows`: start, version, due, expiry and body.
type Found =
    (CqlTimestamp, Option<i64>, Option<CqlTimestamp>, Option<CqlTimestamp>, Option<String>);

impl ClusterConfig {
    /// Connects to the cluster and prepares the statements.
    ///
    /// # Errors
    ///
    /// Returns a setup error if region or credentials are missing, or if the cluster rejects the
    /// role or lacks a table. Returns a retryable error if no node answers.
    pub async fn open(&self, sdk: &SdkConfig) -> Result<CassandraWindows, CallError> {
        let (session, keyspace) = (self.connect(sdk).await?, self.keyspace());
        Ok(CassandraWindows {
            statements: statements::prepare(&session, keyspace).await?.into(),
            session: Arc::new(session),
            keyspace: keyspace.to_owned(),
            lanes: Arc::new(std::array::from_fn(|_| Mutex::default())),
        })
    }
}

impl CassandraWindows {
    fn unreadable(&self, what: &impl ToString) -> CallError {
        failure::of_request(&self.keyspace, "client", what.to_string())
    }

    async fn run(&self, statement: Statement, values: impl SerializeRow) -> Result<(), CallError> {
        let statement = &self.statements[statement as usize];
        let done = self.session.execute_unpaged(statement, values).await;
        done.map(drop).map_err(|error| failure::of_call(&self.keyspace, &error))
    }

    /// Reads one page of rows, and the state for the next page.
    async fn page<R: for<'f, 'm> DeserializeRow<'f, 'm>>(
        &self,
        statement: Statement,
        values: &impl SerializeRow,
        from: PagingState,
    ) -> Result<(Vec<R>, Option<PagingState>), CallError> {
        let statement = &self.statements[statement as usize];
        let answer = self.session.execute_single_page(statement, values, from).await;
        let (page, next) = answer.map_err(|error| failure::of_call(&self.keyspace, &error))?;
        let page = page.into_rows_result().map_err(|error| self.unreadable(&error))?;
        let rows = page.rows::<R>().map_err(|error| self.unreadable(&error))?;
        let rows = rows.collect::<Result<_, _>>().map_err(|error| self.unreadable(&error))?;
        Ok((rows, next.into_paging_control_flow().continue_value()))
    }

    /// Reads all rows of a statement.
    async fn rows<R: for<'f, 'm> DeserializeRow<'f, 'm>>(
        &self,
        statement: Statement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, CallError> {
        let (mut all, mut from) = (Vec::new(), Some(PagingState::start()));
        while let Some(state) = from {
            let (rows, next) = self.page(statement, &values, state).await?;
            all.extend(rows);
            from = next;
        }
        Ok(all)
    }

    /// Returns the seconds until `expires_at`, at least 1: 0 would mean no expiry.
    fn ttl(expires_at: Timestamp) -> i32 {
        let seconds = expires_at.duration_since(Timestamp::now()).as_secs();
        i32::try_from(seconds.clamp(1, MAX_SECONDS)).unwrap_or(i32::MAX)
    }

    fn lane_of(&self, spec: &str, group: &str) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        (spec, group).hash(&mut hasher);
        &self.lanes[(hasher.finish() % LANES as u64) as usize]
    }

    async fn one(&self, key: &ItemKey) -> Result<Option<Item>, CallError> {
        let values = (&key.spec, &key.group, millis(key.start));
        let found = self.rows(Statement::Read, values).await?.into_iter().next();
        found.map_or(Ok(None), |found| self.item(&key.spec, &key.group, found))
    }

    fn item(&self, spec: &str, group: &str, found: Found) -> Result<Option<Item>, CallError> {
        // Columns expire together, so a row without them is no window.
        let (start, Some(version), due, expires_at, Some(body)) = found else { return Ok(None) };
        let Some(start) = time(start) else { return Ok(None) };
        let Ok(version) = u64::try_from(version) else {
            let what = format!("the window {spec} {group} {start} has version {version}");
            return Err(self.unreadable(&what));
        };
        let key = ItemKey { spec: spec.to_owned(), group: group.to_owned(), start };
        let (due, expires_at) = (due.and_then(time), expires_at.and_then(time));
        Ok(Some(Item { key, version, due, expires_at, body }))
    }

    /// Resolves these hints to windows that are due, in order, and drops the passed ones: those
    /// whose window has a later version.
    async fn confirmed(
        &self,
        spec: &str,
        bucket: i8,
        hints: &[Hint],
    ) -> Result<Vec<ItemKey>, CallError> {
        let read =
            async |hint: &Hint| self.rows(Statement::Confirm, (spec, &hint.key, hint.start)).await;
        let found: Vec<Vec<(Option<i64>, Option<CqlTimestamp>)>> =
            try_join_all(hints.iter().map(read)).await?;
        let (mut due, mut passed) = (Vec::new(), Vec::new());
        for (hint, found) in hints.iter().zip(found) {
            match found.first() {
                Some((Some(version), at)) if *version == hint.version && *at == Some(hint.due) => {
                    due.push(hint);
                }
                Some((Some(version), _)) if *version >= hint.version => passed.push(hint),
                // The window does not have this version yet, or never will.
                _ => {}
            }
        }
        let drop = async |hint: &Hint| {
            let Hint { due, key, start, version } = hint;
            self.run(Statement::Forget, (spec, bucket, due, key, start, version)).await
        };
        // A row that stays is found and dropped again later.
        join_all(passed.into_iter().map(drop)).await;
        let key = |hint: &Hint| {
            let start = time(hint.start)?;
            Some(ItemKey { spec: spec.to_owned(), group: hint.key.clone(), start })
        };
        Ok(due.into_iter().filter_map(key).collect())
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
            self.run(Statement::Open, (spec, bucket, due, group, start, version)).await?;
        }
        // In CQL, 0 means no expiry.
        let ttl = item.expires_at.map_or(0, Self::ttl);
        let before = (version > 1).then_some(version - 1);
        let expires_at = item.expires_at.map(millis);
        let values = (ttl, version, due, expires_at, &item.body, spec, group, start, before);
        let answer: Vec<Row> = {
            let _lane = self.lane_of(spec, group).lock().await;
            self.rows(Statement::Write, values).await?
        };
        // The other columns of the answer depend on the first one.
        let applied = answer.first().and_then(|row| row.columns.first());
        let Some(Some(CqlValue::Boolean(is_applied))) = applied else {
            let what = "a lightweight transaction that does not say if it was applied";
            return Err(self.unreadable(&what));
        };
        if !is_applied {
            return Ok(Written::Conflict);
        }
        if let (Some(due), Some(before)) = (due, before) {
            // A window that was due before now has two rows. Otherwise the row does not exist; one
            // that stays is dropped by the reader that finds it.
            let values = (spec, bucket, due, group, start, before);
            let _ = self.run(Statement::Forget, values).await;
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
        let bucket = bucket.cast_signed();
        let values = (spec, bucket, millis(until));
        let (mut due, mut from) = (Vec::new(), Some(PagingState::start()));
        while let Some(state) = from {
            let (hints, next) = self.page::<Hint>(Statement::Due, &values, state).await?;
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
        let Some(limit) = i32::try_from(range.limit).ok().filter(|it| *it > 0) else {
            return Ok(Vec::new());
        };
        let values = (spec, group, millis(range.from), millis(range.until), limit);
        let found = self.rows(Statement::Range, values).await?;
        let items = found.into_iter().map(|found| self.item(spec, group, found));
        items.filter_map(Result::transpose).collect()
    }

    async fn clock(&self, name: &str) -> Result<Clock, CallError> {
        type Found = (String, Option<CqlVarint>, Option<CqlTimestamp>, Option<bool>);
        type All =
            (Option<CqlVarint>, Option<CqlTimestamp>, Option<CqlVarint>, Option<CqlTimestamp>);
        let (shards, all) = futures_util::try_join!(
            self.rows::<Found>(Statement::Shards, (name,)),
            self.rows::<All>(Statement::Watermark, (name,)),
        )?;
        let shard = |(id, watermark, last_seen, is_closed): Found| {
            let watermark = watermark.as_ref().and_then(time_of_nanos);
            let (last_seen, is_closed) = (last_seen.and_then(time)?, is_closed?);
            Some(Shard { id, watermark, last_seen, is_closed })
        };
        let mut clock = Clock::default();
        clock.shards.extend(shards.into_iter().filter_map(shard));
        if let Some((watermark, raised_at, mark, mark_at)) = all.into_iter().next() {
            clock.watermark = watermark.as_ref().and_then(time_of_nanos);
            clock.raised_at = raised_at.and_then(time);
            let mark = mark.as_ref().and_then(time_of_nanos);
            clock.mark = mark_at.and_then(time).map(|at| Mark { watermark: mark, at });
        }
        Ok(clock)
    }

    async fn put_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        let Shard { id, watermark, last_seen, is_closed } = shard;
        let watermark = watermark.map(nanos);
        let values = (clock, id, watermark, millis(*last_seen), is_closed, Self::ttl(expires_at));
        self.run(Statement::PutShard, values).await
    }

    async fn add_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        let Shard { id, watermark, last_seen, is_closed } = shard;
        let (watermark, ttl) = (watermark.map(nanos), Self::ttl(expires_at));
        let written_at = (Timestamp::now() - ADDED_BEFORE).as_microsecond();
        let values = (clock, id, watermark, millis(*last_seen), is_closed, written_at, ttl);
        self.run(Statement::AddShard, values).await
    }

    async fn touch_shard(
        &self,
        clock: &str,
        id: &str,
        last_seen: Timestamp,
    ) -> Result<(), CallError> {
        let expires_at = last_seen.checked_add(AWAKE).unwrap_or(Timestamp::MAX);
        let values = (Self::ttl(expires_at), millis(last_seen), clock, id);
        self.run(Statement::TouchShard, values).await
    }

    async fn raise_watermark(&self, clock: &str, rise: &Rise) -> Result<(), CallError> {
        let Rise { to, at, mark } = rise;
        // Of two writes within a microsecond, the greater value wins.
        let (watermark, marked) = (nanos(*to), mark.watermark.map(nanos));
        let (raised_at, mark_at) = (millis(*at), millis(mark.at));
        let values = (to.as_microsecond(), watermark, raised_at, marked, mark_at, clock);
        self.run(Statement::RaiseWatermark, values).await
    }
}
