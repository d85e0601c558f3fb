//! S3 objects, read range by range.

use std::future::Future;
use std::ops::Range;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error;

use crate::error::CallError;

/// Which object: one version of it, where the bucket keeps versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The version, where it is known.
    pub version_id: Option<String>,
    /// The entity tag that the object must still have, where it is known.
    pub etag: Option<String>,
}

/// One range of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The bytes: fewer than asked at the object's end, none beyond it.
    pub bytes: Vec<u8>,
    /// The length of the whole object.
    pub object_bytes: u64,
    /// The version that was read, where the bucket keeps versions.
    pub version_id: Option<String>,
    /// The entity tag of what was read.
    pub etag: Option<String>,
}

/// Why a range could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// There is no such object, or no such version of it.
    #[error("the object does not exist")]
    Missing,
    /// The object no longer has the entity tag that was asked for.
    #[error("the object was overwritten while it was read")]
    Changed,
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A store of objects.
pub trait ObjectStore: Send + Sync {
    /// Reads the bytes `range` of an object.
    ///
    /// # Errors
    ///
    /// A [`ReadError`] that says whether to try again.
    fn read(
        &self,
        object: &ObjectName,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Piece, ReadError>> + Send;
}

/// The store that is S3.
#[derive(Clone, Debug)]
pub struct S3(Client);

impl S3 {
    /// S3 through `client`.
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
            Err(error) => return read_error(object, &range, &error),
        };

        let (version_id, etag) = (answer.version_id.clone(), answer.e_tag.clone());
        let object_bytes = object_bytes(answer.content_range(), answer.content_length());
        let bytes = answer.body.collect().await.map_err(|error| CallError::Retryable {
            operation: "s3:GetObject",
            code: "response".into(),
            message: error.to_string(),
        })?;
        Ok(Piece { bytes: bytes.to_vec(), object_bytes, version_id, etag })
    }
}

/// `bytes 0-9/100` says 100; an answer without it holds the whole object.
fn object_bytes(content_range: Option<&str>, content_length: Option<i64>) -> u64 {
    let total = content_range.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
    total.unwrap_or_else(|| u64::try_from(content_length.unwrap_or(0)).unwrap_or(0))
}

/// A range that begins at or beyond the end is no fault: it holds nothing.
fn read_error<E>(
    object: &ObjectName,
    range: &Range<u64>,
    error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
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
        // A version that is a delete marker.
        (Some(405), _) => Err(ReadError::Missing),
        _ => {
            let resource = format!("s3://{}/{}", object.bucket, object.key);
            Err(CallError::from_sdk("s3:GetObject", &resource, error).into())
        }
    }
}
