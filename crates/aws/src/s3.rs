//! Ranged reads of S3 objects.

use std::future::Future;
use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, ByteStreamError};
use thiserror::Error;

use crate::error::CallError;

/// Name of the operation in messages.
pub(crate) const GET_OBJECT: &str = "s3:GetObject";

/// Name of an object: one version of it, if the bucket keeps versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// Bucket of the object.
    pub bucket: String,
    /// Decoded key.
    pub key: String,
    /// Version, if known.
    pub version_id: Option<String>,
    /// Entity tag that the object must still have, if known.
    pub etag: Option<String>,
}

/// Range read from an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the range: fewer than requested at the object's end, none beyond it.
    pub bytes: Vec<u8>,
    /// Length of the whole object.
    pub object_bytes: u64,
    /// Version that was read, if the bucket keeps versions.
    pub version_id: Option<String>,
    /// Entity tag of the version that was read.
    pub etag: Option<String>,
}

/// Reason that a range could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Missing object or version.
    #[error("the object does not exist")]
    Missing,
    /// Object whose entity tag differs from the requested one.
    #[error("the object was overwritten while it was read")]
    Changed,
    /// Failed call.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Store of objects.
pub trait ObjectStore: Send + Sync {
    /// Reads the bytes `range` of an object.
    ///
    /// # Errors
    ///
    /// Returns a [`ReadError`], which tells whether a retry can help.
    fn read(
        &self,
        object: &ObjectName,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Piece, ReadError>> + Send;
}

/// Object store over S3.
#[derive(Clone, Debug)]
pub struct S3(Client);

impl S3 {
    /// Creates a store that reads through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl ObjectStore for S3 {
    async fn read(&self, object: &ObjectName, range: Range<u64>) -> Result<Piece, ReadError> {
        let answer = self
            .0
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_version_id(object.version_id.clone())
            .set_if_match(object.etag.clone())
            .range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return read_error(object, &range, error),
        };

        let (version_id, etag) = (answer.version_id.clone(), answer.e_tag.clone());
        let object_bytes = object_bytes(answer.content_range(), answer.content_length());
        Ok(Piece { bytes: read_body(answer.body).await?, object_bytes, version_id, etag })
    }
}

/// Reads the body of an answer to its end.
pub(crate) async fn read_body(body: ByteStream) -> Result<Vec<u8>, CallError> {
    let bytes = body.collect().await;
    let broken =
        |error: ByteStreamError| CallError::retryable(GET_OBJECT, "response", error.to_string());
    Ok(bytes.map_err(broken)?.to_vec())
}

/// Returns the length of the whole object: 100 for `bytes 0-9/100`. An answer without a range holds
/// the whole object.
fn object_bytes(content_range: Option<&str>, content_length: Option<i64>) -> u64 {
    let total = content_range.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
    total.unwrap_or_else(|| u64::try_from(content_length.unwrap_or(0)).unwrap_or(0))
}

/// Maps an SDK error. A range that begins at or beyond the object's end is no error: it is empty.
fn read_error<E>(
    object: &ObjectName,
    range: &Range<u64>,
    error: SdkError<E, HttpResponse>,
) -> Result<Piece, ReadError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    match (status, error.as_service_error().and_then(ProvideErrorMetadata::code)) {
        (Some(416), _) => Ok(Piece { object_bytes: range.start, ..Piece::default() }),
        (Some(412), _) => Err(ReadError::Changed),
        (_, Some("NoSuchKey" | "NoSuchVersion" | "NoSuchBucket")) | (Some(404), _) => {
            Err(ReadError::Missing)
        }
        // The version is a delete marker.
        (Some(405), _) => Err(ReadError::Missing),
        _ => {
            let resource = format!("s3://{}/{}", object.bucket, object.key);
            Err(CallError::from_sdk(GET_OBJECT, &resource)(error).into())
        }
    }
}
