//! CSV headers of the objects that bad rows came from. Each object is read once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::s3::{ObjectName, ObjectStore as _, S3};
use tributary_datasets::Datasets;
use tributary_datasets::ingest::{Feed, Step};
use tributary_operate::quarantine::{CsvHeader, NotReplayable, ObjectPosition};
use tributary_rows::Limits;

/// Bytes per read, until the header is complete.
const RANGE: u64 = 256 * 1024;

/// Headers by object. `None` for JSON, which has none.
#[derive(Debug)]
pub(super) struct Headers {
    s3: S3,
    datasets: Datasets,
    known: HashMap<ObjectName, Result<Option<CsvHeader>, NotReplayable>>,
}

impl Headers {
    pub(super) fn new(config: &SdkConfig, datasets: &Datasets) -> Self {
        let (s3, datasets) = (S3::new(clients::s3(config)), datasets.clone());
        Self { s3, datasets, known: HashMap::new() }
    }

    /// Returns the header of the object version that a row came from.
    pub(super) async fn of(
        &mut self,
        place: &ObjectPosition<'_>,
    ) -> Result<Option<&CsvHeader>, NotReplayable> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let object = ObjectName {
            bucket: place.bucket.to_owned(),
            key: place.key.to_owned(),
            version_id: owned(place.version_id),
            etag: owned(place.etag),
        };
        let header = match self.known.entry(object) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let header = read(&self.s3, &self.datasets, new.key()).await.map_err(|why| {
                    let (bucket, key) = (place.bucket, place.key);
                    let message =
                        format!("the header of s3://{bucket}/{key} cannot be read: {why}");
                    NotReplayable::new("no_header", message)
                });
                new.insert(header)
            }
        };
        match header {
            Ok(header) => Ok(header.as_ref()),
            Err(unable) => Err(unable.clone()),
        }
    }
}

/// Reads an object up to its header, as ingest does.
async fn read(
    s3: &S3,
    datasets: &Datasets,
    object: &ObjectName,
) -> Result<Option<CsvHeader>, String> {
    let dataset = datasets.by_key(&object.key).cloned();
    let mut feed = Feed::new(datasets, dataset, Limits::default()).named(&object.key);
    let mut offset = 0;
    loop {
        match feed.step() {
            Ok(Step::NeedInput) => {
                let piece = s3.read(object, offset..offset + RANGE).await;
                let piece = piece.map_err(|error| error.to_string())?;
                offset += piece.bytes.len() as u64;
                if piece.bytes.is_empty() {
                    feed.finish();
                } else {
                    feed.push(&piece.bytes);
                }
            }
            Ok(_) => {
                let header = feed.header().ok_or("it has none")?;
                let columns = || header.columns().to_vec();
                let csv = |delimiter| CsvHeader { delimiter, columns: columns() };
                return Ok(header.delimiter().map(csv));
            }
            Err(refused) => return Err(refused.rejection.message),
        }
    }
}
