//! Checkpoint of a replay, in a file.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tributary_aws::s3::{ObjectName, ReadError};
use tributary_model::id::Id;

use super::input::Place;
use crate::target::TargetName;

/// Bytes at the start of a file that identify it.
const HEAD: u64 = 4096;

/// Position of the next row to send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Target of the rows.
    pub target: String,
    /// Bytes that the rows before this position occupy in the target, if it is a file.
    pub target_bytes: Option<u64>,
    /// Files of the replay.
    pub files: Vec<Source>,
    /// Number of completed passes over all files.
    pub loops: u64,
    /// Index of the current file, from 0; the number of files at the end.
    pub file: usize,
    /// Start of the next row: offset in bytes of decompressed input, and row number from 1.
    pub offset: u64,
    pub row: u64,
    /// Rows sent and rows that could not be read, over all runs.
    pub sent: u64,
    pub bad_rows: u64,
}

/// File and the identity of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub path: PathBuf,
    /// Length of the hashed start of the file, at most 4,096 bytes, and its hash.
    pub head_bytes: u64,
    pub head: String,
    /// Version and entity tag, if it is an object of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

impl Source {
    fn of(path: &Path, place: &mut Place, head_bytes: u64) -> Result<Self> {
        let head = place.head(head_bytes);
        let head = head.with_context(|| format!("{place} cannot be read"))?;
        let version = |name: &mut ObjectName| (name.version_id.clone(), name.etag.clone());
        let (version_id, etag) = place.object().map(version).unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            head_bytes: head.len() as u64,
            head: Id::of([head.as_slice()]).to_string(),
            version_id,
            etag,
        })
    }
}

impl Checkpoint {
    /// Creates the checkpoint of the start of a replay.
    pub(crate) fn new(
        files: &[PathBuf],
        places: &mut [Place],
        target: &TargetName,
    ) -> Result<Self> {
        let sources = files.iter().zip(places).map(|(path, place)| Source::of(path, place, HEAD));
        Ok(Self {
            target: target.to_string(),
            files: sources.collect::<Result<_>>()?,
            row: 1,
            ..Self::default()
        })
    }

    /// Loads the checkpoint at `path`, or creates that of the start if there is no such file. It
    /// must belong to this replay. Pins objects to the versions in the checkpoint.
    pub(crate) fn open(
        path: &Path,
        files: &[PathBuf],
        places: &mut [Place],
        target: &TargetName,
    ) -> Result<Self> {
        let name = path.display();
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Self::new(files, places, target);
            }
            Err(error) => bail!("{name} cannot be read: {error}"),
        };
        let checkpoint: Self = serde_json::from_slice(&text)
            .map_err(|error| anyhow::anyhow!("{name} is no checkpoint: {error}"))?;
        if checkpoint.target != target.to_string() {
            bail!("{name} is of a replay to {}", checkpoint.target);
        }
        if !checkpoint.files.iter().map(|it| &it.path).eq(files) {
            bail!("{name} is of other files");
        }
        for (source, place) in checkpoint.files.iter().zip(places) {
            if let Some(name) = place.object() {
                (name.version_id, name.etag) = (source.version_id.clone(), source.etag.clone());
            }
            // A file may have grown, but its start must be the same.
            let is_same = match Source::of(&source.path, place, source.head_bytes) {
                Ok(found) => found == *source,
                Err(error) if is_overwritten(&error) => false,
                Err(error) => return Err(error),
            };
            if !is_same {
                bail!("{} has changed since {name} was written", source.path.display());
            }
        }
        Ok(checkpoint)
    }

    /// Writes the checkpoint atomically: after a crash, the file holds the old checkpoint or this
    /// one.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let cannot = || format!("{} cannot be written", path.display());
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        let beside = beside(path);
        let mut file = File::create(&beside).with_context(cannot)?;
        file.write_all(&text).and_then(|()| file.sync_all()).with_context(cannot)?;
        fs::rename(&beside, path).with_context(cannot)
    }
}

/// Returns the path of the temporary file that replaces the checkpoint.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    beside.into()
}

fn is_overwritten(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ReadError::Changed))
}
