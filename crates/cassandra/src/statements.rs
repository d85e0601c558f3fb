//! What is said to the tables of `config/cassandra.cql`, prepared once.

use futures_util::future::try_join_all;
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use tributary_aws::error::CallError;

use crate::failure;

/// How many rows are asked for at a time.
const PAGE: i32 = 200;

/// The statements of [`crate::CassandraWindows`].
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    /// `spec, key, start`.
    pub(crate) read: PreparedStatement,
    /// `spec, key, start`: what an open window is confirmed by.
    pub(crate) confirm: PreparedStatement,
    /// `spec, key, from, until, limit`.
    pub(crate) range: PreparedStatement,
    /// `ttl, version, due, expires_at, body, spec, key, start, version before`.
    pub(crate) write: PreparedStatement,
    /// `spec, bucket, due, key, start, version`.
    pub(crate) open: PreparedStatement,
    /// `spec, bucket, due, key, start, version`.
    pub(crate) forget: PreparedStatement,
    /// `spec, bucket, until`.
    pub(crate) due: PreparedStatement,
    /// `clock`.
    pub(crate) shards: PreparedStatement,
    /// `clock`.
    pub(crate) watermark: PreparedStatement,
    /// `clock, shard, watermark, seen_at, is_over, ttl`.
    pub(crate) put_shard: PreparedStatement,
    /// `clock, shard, watermark, seen_at, is_over, time of the write, ttl`.
    pub(crate) add_shard: PreparedStatement,
    /// `ttl, seen_at, clock, shard`. Where there is no such shard, what it leaves is none: it does not say
    /// whether it is over.
    pub(crate) touch_shard: PreparedStatement,
    /// `time of the write, watermark, clock`.
    pub(crate) raise_watermark: PreparedStatement,
}

impl Statements {
    /// Prepares them, for the tables of a keyspace.
    pub(crate) async fn prepare(session: &Session, keyspace: &str) -> Result<Self, CallError> {
        let quoted = format!("\"{}\"", keyspace.replace('"', "\"\""));
        let texts = TEXTS.map(|text| text.replace("KEYSPACE", &quoted));
        let prepared = try_join_all(texts.iter().map(|text| session.prepare(text.as_str()))).await;
        let mut prepared = prepared.map_err(|error| failure::of_call(keyspace, &error.into()))?;
        for statement in &mut prepared {
            statement.set_page_size(PAGE);
        }
        let [
            read,
            confirm,
            range,
            write,
            open,
            forget,
            due,
            shards,
            watermark,
            put_shard,
            add_shard,
            touch_shard,
            raise_watermark,
        ] = <[PreparedStatement; TEXTS.len()]>::try_from(prepared)
            .map_err(|some| failure::of_answer(keyspace, &format!("{} statements", some.len())))?;
        let all = Self {
            read,
            confirm,
            range,
            write,
            open,
            forget,
            due,
            shards,
            watermark,
            put_shard,
            add_shard,
            touch_shard,
            raise_watermark,
        };
        Ok(all)
    }
}

/// In the order of the fields.
///
/// A window is only ever updated, also the first time: an `INSERT` leaves a mark that the row is there,
/// which would outlive columns that expire.
const TEXTS: [&str; 13] = [
    "SELECT version, due, expires_at, body FROM KEYSPACE.windows
     WHERE spec = ? AND key = ? AND start = ?",
    "SELECT version, due FROM KEYSPACE.windows WHERE spec = ? AND key = ? AND start = ?",
    "SELECT start, version, due, expires_at, body FROM KEYSPACE.windows
     WHERE spec = ? AND key = ? AND start >= ? AND start < ? ORDER BY start DESC LIMIT ?",
    "UPDATE KEYSPACE.windows USING TTL ? SET version = ?, due = ?, expires_at = ?, body = ?
     WHERE spec = ? AND key = ? AND start = ? IF version = ?",
    "INSERT INTO KEYSPACE.open_windows (spec, bucket, due, key, start, version)
     VALUES (?, ?, ?, ?, ?, ?)",
    "DELETE FROM KEYSPACE.open_windows
     WHERE spec = ? AND bucket = ? AND due = ? AND key = ? AND start = ? AND version = ?",
    "SELECT due, key, start, version FROM KEYSPACE.open_windows
     WHERE spec = ? AND bucket = ? AND due <= ? ORDER BY due ASC",
    "SELECT shard, watermark, seen_at, is_over FROM KEYSPACE.shards WHERE clock = ?",
    "SELECT watermark FROM KEYSPACE.watermarks WHERE clock = ?",
    "INSERT INTO KEYSPACE.shards (clock, shard, watermark, seen_at, is_over)
     VALUES (?, ?, ?, ?, ?) USING TTL ?",
    "INSERT INTO KEYSPACE.shards (clock, shard, watermark, seen_at, is_over)
     VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
    "UPDATE KEYSPACE.shards USING TTL ? SET seen_at = ? WHERE clock = ? AND shard = ?",
    "UPDATE KEYSPACE.watermarks USING TIMESTAMP ? SET watermark = ? WHERE clock = ?",
];
