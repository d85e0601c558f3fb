//! Simulated S3: a versioned bucket, and reads through a fault injector.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use tributary_aws::s3::{ObjectName, ObjectStore, Piece, ReadError};

use crate::fault::Faults;
use crate::injector::FaultInjector;
use crate::lock;
use crate::objects::piece;

/// Versions of an object; `None` for a permanently deleted one.
type Versions = Vec<Option<Arc<[u8]>>>;

/// Simulated versioned bucket.
#[derive(Debug, Default)]
pub struct SimBucket(Mutex<BTreeMap<String, Versions>>);

impl SimBucket {
    /// Puts an object and returns its version, from 0.
    pub fn put(&self, key: &str, bytes: impl Into<Arc<[u8]>>) -> usize {
        let mut objects = lock(&self.0);
        let versions = objects.entry(key.to_owned()).or_default();
        versions.push(Some(bytes.into()));
        versions.len() - 1
    }

    /// Deletes a version permanently.
    pub fn delete(&self, key: &str, version: usize) {
        if let Some(slot) = lock(&self.0).get_mut(key).and_then(|it| it.get_mut(version)) {
            *slot = None;
        }
    }

    /// Returns the latest version of each object whose key starts with `prefix`, in key order.
    pub fn list(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let objects = lock(&self.0);
        let newest = |(key, versions): (&String, &Versions)| {
            Some((key.clone(), versions.last()?.as_deref()?.to_vec()))
        };
        objects.iter().filter(|(key, _)| key.starts_with(prefix)).filter_map(newest).collect()
    }

    fn get(&self, object: &ObjectName) -> Option<(Arc<[u8]>, String)> {
        let objects = lock(&self.0);
        let versions = objects.get(&object.key)?;
        let version = match &object.version_id {
            Some(id) => id.strip_prefix('v')?.parse().ok()?,
            None => versions.len().checked_sub(1)?,
        };
        Some((versions.get(version)?.clone()?, format!("v{version}")))
    }
}

/// A bucket behind a fault injector.
#[derive(Debug)]
pub struct SimObjects {
    bucket: Arc<SimBucket>,
    injector: FaultInjector,
}

impl SimObjects {
    /// Creates a reader for `bucket` with these faults.
    #[must_use]
    pub fn new(bucket: Arc<SimBucket>, faults: Faults) -> Self {
        Self { bucket, injector: FaultInjector { operation: "s3:GetObject", faults } }
    }
}

impl ObjectStore for SimObjects {
    async fn read(&self, object: &ObjectName, range: Range<u64>) -> Result<Piece, ReadError> {
        let found = self.injector.call(|| self.bucket.get(object)).await?;
        let (bytes, version) = found.ok_or(ReadError::Missing)?;
        let etag = format!("etag-{version}");
        piece(object, &bytes, range, Some(version), etag)
    }
}
