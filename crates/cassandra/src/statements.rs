//! Prepared statements for the tables of `config/cassandra.cql`.

use futures_util::future::try_join_all;
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use tributary_aws::error::CallError;

use crate::failure;

/// Page size in rows.
const PAGE: i32 = 200;

/// Prepared statements of [`crate::CassandraWindows`].
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    /// Parameters: `spec, key, start`.
    pub(crate) read: PreparedStatement,
    /// Confirms an open window. Parameters: `spec, key, start`.
    pub(crate) confirm: PreparedStatement,
    /// Parameters: `spec, key, from, until, limit`.
    pub(crate) range: PreparedStatement,
    /// Parameters: `ttl, version, due, expires_at, body, spec, key, start, version before`.
    pub(crate) write: PreparedStatement,
    /// Parameters: `spec, bucket, due, key, start, version`.
    pub(crate) open: PreparedStatement,
    /// Parameters: `spec, bucket, due, key, start, version`.
    pub(crate) forget: PreparedStatement,
    /// Parameters: `spec, bucket, until`.
    pub(crate) due: PreparedStatement,
    /// Parameter: `clock`.
    pub(crate) shards: PreparedStatement,
    /// Parameter: `clock`.
    pub(crate) watermark: PreparedStatement,
    /// Parameters: `clock, shard, watermark, seen_at, is_over, ttl`.
    pub(crate) put_shard: PreparedStatement,
    /// Parameters: `clock, shard, watermark, seen_at, is_over, time of the write, ttl`.
    pub(crate) add_shard: PreparedStatement,
    /// Parameters: `ttl, seen_at, clock, shard`. On a missing shard it leaves a row that is no
    /// shard, because `is_over` is missing.
    pub(crate) touch_shard: PreparedStatement,
    /// Parameters: `time of the write, watermark, clock`.
    pub(crate) raise_watermark: PreparedStatement,
}

impl Statements {
    /// Prepares the statements for the tables of a keyspace.
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

/// Statement texts, in the order of the fields.
///
/// Windows are only ever updated, even the first time. An `INSERT` would leave a row marker that
/// outlives the columns that expire.
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
