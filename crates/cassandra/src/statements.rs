//! Prepared statements for the tables of `config/cassandra.cql`.

use futures_util::future::try_join_all;
use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use tributary_aws::error::CallError;

use crate::failure;

/// Page size in rows.
const PAGE: i32 = 200;

/// Statement of [`crate::CassandraWindows`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Statement {
    /// Parameters: `spec, key, start`.
    Read,
    /// Confirms an open window. Parameters: `spec, key, start`.
    Confirm,
    /// Parameters: `spec, key, from, until, limit`.
    Range,
    /// Parameters: `ttl, version, due, expires_at, body, spec, key, start, version before`.
    Write,
    /// Parameters: `spec, bucket, due, key, start, version`.
    Open,
    /// Parameters: `spec, bucket, due, key, start, version`.
    Forget,
    /// Parameters: `spec, bucket, until`.
    Due,
    /// Parameter: `clock`.
    Shards,
    /// Parameter: `clock`.
    Watermark,
    /// Parameters: `clock, shard, watermark, seen_at, is_over, ttl`.
    PutShard,
    /// Parameters: `clock, shard, watermark, seen_at, is_over, time of the write, ttl`.
    AddShard,
    /// Parameters: `ttl, seen_at, clock, shard`. On a missing shard it leaves a row that is no
    /// shard, because `is_over` is missing.
    TouchShard,
    /// Parameters: `time of the write, watermark, raised_at, mark, mark_at, clock`.
    RaiseWatermark,
}

/// Prepares the statements for the tables of a keyspace, in the order of [`Statement`].
pub(crate) async fn prepare(
    session: &Session,
    keyspace: &str,
) -> Result<Vec<PreparedStatement>, CallError> {
    let quoted = format!("\"{}\"", keyspace.replace('"', "\"\""));
    let texts = TEXTS.map(|text| text.replace("KEYSPACE", &quoted));
    let prepared = try_join_all(texts.iter().map(|text| session.prepare(text.as_str()))).await;
    let mut prepared = prepared.map_err(|error| failure::of_call(keyspace, &error.into()))?;
    for statement in &mut prepared {
        statement.set_page_size(PAGE);
    }
    Ok(prepared)
}

/// Statement texts, in the order of [`Statement`].
///
/// Windows are only ever updated, even the first time. An `INSERT` would leave a row marker that
/// outlives the columns that expire.
const TEXTS: [&str; 13] = [
    "SELECT start, version, due, expires_at, body FROM KEYSPACE.windows
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
    "SELECT watermark, raised_at, mark, mark_at FROM KEYSPACE.watermarks WHERE clock = ?",
    "INSERT INTO KEYSPACE.shards (clock, shard, watermark, seen_at, is_over)
     VALUES (?, ?, ?, ?, ?) USING TTL ?",
    "INSERT INTO KEYSPACE.shards (clock, shard, watermark, seen_at, is_over)
     VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
    "UPDATE KEYSPACE.shards USING TTL ? SET seen_at = ? WHERE clock = ? AND shard = ?",
    "UPDATE KEYSPACE.watermarks USING TIMESTAMP ?
     SET watermark = ?, raised_at = ?, mark = ?, mark_at = ? WHERE clock = ?",
];
