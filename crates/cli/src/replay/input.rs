//! Input of rows: files, objects of S3, standard input.

use std::cell::OnceCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::runtime::{self, Runtime};
use tributary_aws::clients;
use tributary_aws::error::CallError;
use tributary_aws::s3::{ObjectName, ObjectStore as _, Piece, ReadError, S3};
use tributary_datasets::ingest::SourceName;

use crate::output::is_stdout;
use crate::pace::delays;

/// Size of the first range, which holds any header, and of the following ranges, each large enough
/// to be worth a request.
const FIRST_RANGE: u64 = 256 * 1024;
const RANGE: u64 = 8 * 1024 * 1024;

/// Time limit for retrying a range, beyond the SDK's own retries.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Location that can be read from its start.
pub(super) enum Place {
    Stdin,
    File(PathBuf),
    Object(Object),
}

/// Object. From the first read on, one version of it.
#[derive(Clone)]
pub(super) struct Object {
    name: ObjectName,
    store: Rc<Store>,
}

/// Blocking S3 client. AWS configuration is loaded on the first read.
struct Store {
    runtime: Runtime,
    s3: OnceCell<S3>,
}

impl Place {
    /// Returns the place of each argument.
    pub(super) fn all(files: &[PathBuf]) -> Result<Vec<Self>> {
        let store = Rc::new(Store::new()?);
        let place = |file: &PathBuf| {
            if is_stdout(file) {
                return Ok(Self::Stdin);
            }
            let Some(url) = file.to_str().filter(|text| text.starts_with("s3://")) else {
                return Ok(Self::File(file.clone()));
            };
            Ok(Self::Object(Object { name: object_name(url)?, store: Rc::clone(&store) }))
        };
        files.iter().map(place).collect()
    }

    /// Returns the source name for the rows of this place.
    pub(super) fn source(&self) -> SourceName {
        match self {
            Self::Stdin => SourceName::file("stdin"),
            Self::File(path) => SourceName::file(&path.to_string_lossy()),
            Self::Object(Object { name, .. }) => {
                let (version_id, etag) = (name.version_id.as_deref(), name.etag.as_deref());
                SourceName::s3(&name.bucket, &name.key, version_id, etag)
            }
        }
    }

    /// Returns the first `bytes` bytes at most. An object is pinned to the version of this read.
    pub(super) fn head(&mut self, bytes: u64) -> Result<Vec<u8>> {
        match self {
            Self::Stdin => Ok(Vec::new()),
            Self::File(path) => {
                let mut head = Vec::new();
                File::open(path)?.take(bytes).read_to_end(&mut head)?;
                Ok(head)
            }
            Self::Object(object) => Ok(object.read(0..bytes)?.bytes),
        }
    }

    /// Returns the name of an object, with its version once it was read.
    pub(super) fn object(&mut self) -> Option<&mut ObjectName> {
        match self {
            Self::Object(Object { name, .. }) => Some(name),
            Self::Stdin | Self::File(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("stdin"),
            Self::File(path) => path.display().fmt(f),
            Self::Object(Object { name, .. }) => write!(f, "s3://{}/{}", name.bucket, name.key),
        }
    }
}

/// Parses `s3://BUCKET/KEY`, with `?versionId=V` for one version. Any other `?` belongs to the key.
fn object_name(url: &str) -> Result<ObjectName> {
    let rest = url.strip_prefix("s3://").unwrap_or(url);
    let (rest, version_id) = match rest.rsplit_once("?versionId=") {
        Some((rest, version)) if !version.is_empty() => (rest, Some(version.to_owned())),
        _ => (rest, None),
    };
    match rest.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
            let (bucket, key) = (bucket.to_owned(), key.to_owned());
            Ok(ObjectName { bucket, key, version_id, etag: None })
        }
        _ => bail!("{url:?} is no object: write s3://BUCKET/KEY"),
    }
}

impl Store {
    fn new() -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { runtime: runtime.context("S3 cannot be read")?, s3: OnceCell::new() })
    }

    fn read(&self, object: &ObjectName, range: &Range<u64>) -> Result<Piece, ReadError> {
        let s3 =
            self.s3.get_or_init(|| S3::new(clients::s3(&self.runtime.block_on(clients::load()))));
        let until = Instant::now() + TIMEOUT;
        let mut delays = delays(Duration::from_millis(200), Duration::from_secs(5));
        self.runtime.block_on(async {
            loop {
                match s3.read(object, range.clone()).await {
                    Err(ReadError::Call(CallError::Retryable { .. })) if Instant::now() < until => {
                        tokio::time::sleep(delays.next().unwrap_or(TIMEOUT)).await;
                    }
                    result => return result,
                }
            }
        })
    }
}

impl Object {
    /// Reads a range, always of the same version.
    fn read(&mut self, range: Range<u64>) -> Result<Piece> {
        let piece = self.store.read(&self.name, &range)?;
        self.name.version_id = self.name.version_id.take().or_else(|| piece.version_id.clone());
        self.name.etag = self.name.etag.take().or_else(|| piece.etag.clone());
        Ok(piece)
    }
}

/// Open input: a file or an object, which are seekable, or standard input.
pub(super) enum Input {
    File(File),
    Stdin(io::StdinLock<'static>),
    Object(Ranges),
}

/// Object, read in ranges.
pub(super) struct Ranges {
    object: Object,
    /// Current range.
    piece: Cursor<Vec<u8>>,
    /// Start of the next range, and the length of the object.
    offset: u64,
    object_bytes: u64,
}

impl Input {
    /// Opens a place. Reads the first range of an object, which pins its version.
    pub(super) fn open(place: &mut Place) -> Result<Self> {
        Ok(match place {
            Place::Stdin => Self::Stdin(io::stdin().lock()),
            Place::File(path) => Self::File(File::open(path)?),
            Place::Object(object) => {
                let Piece { bytes, object_bytes, .. } = object.read(0..FIRST_RANGE)?;
                let (object, offset) = (object.clone(), bytes.len() as u64);
                Self::Object(Ranges { object, piece: Cursor::new(bytes), offset, object_bytes })
            }
        })
    }

    /// Moves to `offset`.
    pub(super) fn seek(&mut self, offset: u64) -> Result<()> {
        match self {
            Self::File(file) => {
                file.seek(SeekFrom::Start(offset))?;
            }
            // Standard input never has a checkpoint to resume from.
            Self::Stdin(_) => {}
            Self::Object(ranges) => {
                (ranges.offset, ranges.piece) = (offset, Cursor::default());
            }
        }
        Ok(())
    }
}

impl Read for Input {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(piece),
            Self::Stdin(stdin) => stdin.read(piece),
            Self::Object(ranges) => ranges.read(piece).map_err(io::Error::other),
        }
    }
}

impl Ranges {
    fn read(&mut self, piece: &mut [u8]) -> Result<usize> {
        let length = self.piece.read(piece)?;
        if length > 0 || self.offset >= self.object_bytes {
            return Ok(length);
        }
        let bytes = self.object.read(self.offset..self.offset + RANGE)?.bytes;
        if bytes.is_empty() {
            bail!("the object ends before its {} bytes", self.object_bytes);
        }
        self.offset += bytes.len() as u64;
        self.piece = Cursor::new(bytes);
        Ok(self.piece.read(piece)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_url_has_bucket_key_and_optional_version() {
        let parts = |url: &str| {
            let ObjectName { bucket, key, version_id, .. } = object_name(url).unwrap();
            (bucket, key, version_id)
        };
        let owned = |a: &str, b: &str, c: Option<&str>| (a.into(), b.into(), c.map(str::to_owned));

        assert_eq!(parts("s3://b/a/k.csv"), owned("b", "a/k.csv", None));
        assert_eq!(parts("s3://b//k?x=1"), owned("b", "/k?x=1", None));
        assert_eq!(parts("s3://b/k?versionId=v1"), owned("b", "k", Some("v1")));
        for url in ["s3://", "s3://b", "s3://b/", "s3:///k"] {
            assert!(object_name(url).is_err(), "{url}");
        }
    }
}
