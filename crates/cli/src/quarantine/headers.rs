//! CSV columns of the objects that bad rows came from. Each object is read once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::s3::{ObjectName, ObjectStore as _, S3};
use tributary_operate::quarantine::{NotReplayable, ObjectPosition};
use tributary_rows::{Format, Limits, Next, ObjectReader};

/// Bytes per read, until the header is complete.
const RANGE: u64 = 256 * 1024;

/// Columns by object. `None` for JSON Lines, which has no header.
#[derive(Debug)]
pub(super) struct Headers {
    s3: S3,
    known: HashMap<ObjectName, Result<Option<Vec<String>>, NotReplayable>>,
}

impl Headers {
    pub(super) fn new(config: &SdkConfig) -> Self {
        Self { s3: S3::new(clients::s3(config)), known: HashMap::new() }
    }

    /// Returns the columns of the object version that a row came from.
    pub(super) async fn of(
        &mut self,
        place: &ObjectPosition<'_>,
    ) -> Result<Option<&[String]>, NotReplayable> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let object = ObjectName {
            bucket: place.bucket.to_owned(),
            key: place.key.to_owned(),
            version_id: owned(place.version_id),
            etag: owned(place.etag),
        };
        let columns = match self.known.entry(object) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let columns = read(&self.s3, new.key()).await.map_err(|why| {
                    let (bucket, key) = (place.bucket, place.key);
                    let message =
                        format!("the header of s3://{bucket}/{key} cannot be read: {why}");
                    NotReplayable::new("no_header", message)
                });
                new.insert(columns)
            }
        };
        match columns {
            Ok(columns) => Ok(columns.as_deref()),
            Err(unable) => Err(unable.clone()),
        }
    }
}

async fn read(s3: &S3, object: &ObjectName) -> Result<Option<Vec<String>>, String> {
    let mut reader = ObjectReader::new(Limits::default());
    let mut offset = 0;
    loop {
        match reader.next() {
            Ok(Next::Header(header)) => {
                let is_csv = header.format() == Format::Csv;
                return Ok(is_csv.then(|| header.columns().to_vec()));
            }
            Ok(Next::NeedInput) => {
                let piece = s3.read(object, offset..offset + RANGE).await;
                let piece = piece.map_err(|error| error.to_string())?;
                offset += piece.bytes.len() as u64;
                if piece.bytes.is_empty() {
                    reader.finish();
                } else {
                    reader.push(&piece.bytes);
                }
            }
            Ok(Next::Row(_) | Next::Broken(_) | Next::End) => {
                return Err("it has none".to_owned());
            }
            Err(refusal) => return Err(refusal.message),
        }
    }
}
