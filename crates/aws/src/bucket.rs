//! S3 access for an operator: lists a prefix, and reads, writes and removes whole objects.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use jiff::Timestamp;

use crate::error::CallError;
use crate::s3::{GET_OBJECT, read_body};

/// Returns true if a condition of a request does not hold, or another request came first.
fn is_conflict(answer: &HttpResponse) -> bool {
    matches!(answer.status().as_u16(), 409 | 412)
}

/// S3 bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

/// Listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key of the object.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Time of the last modification.
    pub written_at: Option<Timestamp>,
}

impl Bucket {
    /// Creates access to the bucket `name` through `client`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Returns the bucket's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lists the objects below `prefix` whose keys sort after `after`, in key order.
    ///
    /// # Errors
    ///
    /// Returns an error if the listing fails.
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Entry>, CallError> {
        let mut found = Vec::new();
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let mut pages = request.set_start_after(after.map(str::to_owned)).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(CallError::from_sdk("s3:ListObjectsV2", &self.url(prefix)))?;
            found.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                let written_at = object
                    .last_modified
                    .and_then(|time| Timestamp::from_nanosecond(time.as_nanos()).ok());
                let bytes = u64::try_from(object.size.unwrap_or(0)).unwrap_or(0);
                Some(Entry { key: object.key?, bytes, written_at })
            }));
        }
        // Some S3-compatible stores ignore `start-after` and list everything.
        found.retain(|entry| after.is_none_or(|after| entry.key.as_str() > after));
        Ok(found)
    }

    /// Reads a whole object.
    ///
    /// # Errors
    ///
    /// Returns an error if the object cannot be read.
    pub async fn get(&self, key: &str) -> Result<Vec<u8>, CallError> {
        let answer = self.client.get_object().bucket(&self.name).key(key).send().await;
        let answer = answer.map_err(CallError::from_sdk(GET_OBJECT, &self.url(key)))?;
        read_body(answer.body).await
    }

    /// Reads a whole object with its entity tag; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Returns an error if the object cannot be read.
    pub async fn find(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, CallError> {
        let answer = self.client.get_object().bucket(&self.name).key(key).send().await;
        let answer = match answer {
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            answer => answer.map_err(CallError::from_sdk(GET_OBJECT, &self.url(key)))?,
        };
        let etag = answer.e_tag.clone().unwrap_or_default();
        Ok(Some((read_body(answer.body).await?, etag)))
    }

    /// Writes an object if it still has this entity tag, or if it does not exist where there is
    /// none. Returns `false` if it has changed.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>.
    ///
    /// # Errors
    ///
    /// Returns an error if the object cannot be written.
    pub async fn replace(
        &self,
        key: &str,
        bytes: Vec<u8>,
        etag: Option<&str>,
    ) -> Result<bool, CallError> {
        let put = self.client.put_object().bucket(&self.name).key(key);
        let put = match etag {
            Some(etag) => put.if_match(etag),
            None => put.if_none_match("*"),
        };
        match put.body(ByteStream::from(bytes)).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.raw_response().is_some_and(is_conflict) => Ok(false),
            Err(error) => Err(CallError::from_sdk("s3:PutObject", &self.url(key))(error)),
        }
    }

    /// Writes an object.
    ///
    /// # Errors
    ///
    /// Returns an error if the object cannot be written.
    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), CallError> {
        let body = ByteStream::from(bytes);
        let put = self.client.put_object().bucket(&self.name).key(key).body(body).send().await;
        put.map(drop).map_err(CallError::from_sdk("s3:PutObject", &self.url(key)))
    }

    /// Removes an object. A versioned bucket keeps its bytes as an older version.
    ///
    /// # Errors
    ///
    /// Returns an error if the object cannot be removed.
    pub async fn remove(&self, key: &str) -> Result<(), CallError> {
        let removed = self.client.delete_object().bucket(&self.name).key(key).send().await;
        removed.map(drop).map_err(CallError::from_sdk("s3:DeleteObject", &self.url(key)))
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }
}
