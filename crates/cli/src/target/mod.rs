//! Where a feed goes: standard output, a file, a stream, a topic, an address.

mod http;
mod kafka;
mod kinesis;
mod lanes;
mod lines;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use tributary_datasets::ingest::SourceName;
use tributary_model::id::Id;
use tributary_rows::Position;

use http::{Address, HttpTarget};
use kafka::KafkaTarget;
use kinesis::KinesisTarget;
use lines::LinesTarget;

/// A place for records.
pub(crate) trait Target {
    /// Takes one record. It may be kept for a while, and so may the caller be.
    fn send(&mut self, item: &Item<'_>) -> Result<SendResult>;

    /// There will be a pause: what is kept should go out, unless the pause is short and it has not
    /// been kept for long.
    fn flush_if_idle(&mut self, pause: Duration) -> Result<()>;

    /// Waits until everything has gone out, or is known not to.
    fn flush(&mut self) -> Result<()>;

    /// Settles so that what has gone out survives a crash, for a checkpoint to build on. For a file,
    /// the bytes that it has then.
    fn sync(&mut self) -> Result<Option<u64>>;

    /// How it went so far.
    fn status(&self) -> Status;

    /// What another thread sees of it while the caller waits for it.
    fn health_probe(&self) -> HealthProbe {
        Box::new(TargetHealth::default)
    }

    /// Records that will never be taken, by code.
    fn rejected(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    /// What went wrong last, if anything did.
    fn last_error(&self) -> Option<String> {
        None
    }
}

/// Looks at a target from any thread.
pub(crate) type HealthProbe = Box<dyn Fn() -> TargetHealth + Send>;

/// How a target is doing right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetHealth {
    /// Records whose end is known: taken, or never to be. `None` where none is waited for.
    pub completed: Option<u64>,
    /// Of these, the ones that will never be taken.
    pub rejected: u64,
    /// Records that are not known to have got there.
    pub undelivered: u64,
    /// Why the target takes nothing, as long as it does not.
    pub stall_reason: Option<String>,
}

impl TargetHealth {
    /// Of so many records that were sent, those whose end is not known yet.
    pub(crate) fn waiting(&self, records: u64) -> u64 {
        let completed = self.completed.unwrap_or(records);
        records.saturating_sub(completed + self.undelivered)
    }
}

/// Whether a record was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendResult {
    Accepted,
    /// It will never be: it would have so many bytes.
    TooLarge(usize),
}

/// One record for a target.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub dataset: &'static str,
    /// The value of the dataset's partition column; may be empty.
    pub key: &'a str,
    /// One JSON object on one line.
    pub payload: &'a [u8],
    pub origin: Origin<'a>,
}

/// Where a record is from.
#[derive(Debug)]
pub(crate) enum Origin<'a> {
    /// A simulation of this seed, and the number of the record in it.
    Simulation { seed: u64, number: u64 },
    /// A row of a file.
    Row(&'a SourceName, Position),
}

impl Item<'_> {
    /// Deterministic, so that a second delivery has the same id: from the position in a file, from
    /// the content of what a made-up device sends.
    fn record_id(&self) -> String {
        match &self.origin {
            Origin::Row(source, position) => source.record_id(*position),
            Origin::Simulation { .. } => Id::of([self.dataset.as_bytes(), self.payload]),
        }
        .to_string()
    }

    /// For a person.
    fn source(&self) -> Cow<'static, str> {
        match &self.origin {
            Origin::Row(source, position) => source.at(*position).into(),
            Origin::Simulation { seed, number } => {
                format!("simulate:{}?seed={seed}#record={number}", self.dataset).into()
            }
        }
    }
}

/// How a target is doing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    /// Records that are not known to have got there. The feed ends with the first of them.
    pub undelivered: u64,
    /// Records that were sent again.
    pub retried: u64,
    /// Records that will never be taken. They were told, and the feed goes on.
    pub rejected: u64,
    /// How long the caller has waited for it.
    pub waited: Duration,
}

/// Where a feed goes, by its name, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct To {
    /// Where records go: stdout, `file:PATH`, `kinesis:STREAM` as the AWS environment says,
    /// `kafka:HOST:PORT/TOPIC`, or the URL of ingest-http
    #[arg(long = "to", value_name = "TARGET", default_value = "stdout", value_parser = name)]
    pub name: TargetName,

    /// Calls to a stream or a URL that are in flight at once; in a stream a key always has the same
    #[arg(long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,

    /// To a URL: compresses each request
    #[arg(long)]
    gzip: bool,

    /// To a URL: does not sign requests with the credentials of the AWS environment
    #[arg(long)]
    unsigned: bool,
}

/// A target by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetName {
    Stdout,
    File(PathBuf),
    Kinesis(String),
    Http(Address),
    Kafka(kafka::Address),
}

impl To {
    /// Opens it. A file is begun anew, or after its first `keep` bytes.
    pub(crate) fn open(&self, keep: Option<u64>) -> Result<Box<dyn Target>> {
        if (self.gzip || self.unsigned) && !matches!(self.name, TargetName::Http(_)) {
            bail!("--gzip and --unsigned are for a URL, not for {}", self.name);
        }
        Ok(match &self.name {
            TargetName::Stdout => Box::new(LinesTarget::stdout()),
            TargetName::File(path) => Box::new(LinesTarget::file(path, keep)?),
            TargetName::Kinesis(stream) => {
                Box::new(KinesisTarget::open(stream, usize::from(self.connections))?)
            }
            TargetName::Http(address) => {
                let connections = usize::from(self.connections);
                Box::new(HttpTarget::open(address.clone(), connections, self.gzip, self.unsigned)?)
            }
            TargetName::Kafka(topic) => Box::new(KafkaTarget::open(topic)?),
        })
    }
}

impl TargetName {
    /// The file that it is; `-` for standard output.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Stdout => Some(Path::new("-")),
            Self::File(path) => Some(path),
            Self::Kinesis(_) | Self::Http(_) | Self::Kafka(_) => None,
        }
    }

    /// Whether records need their partition keys.
    pub(crate) fn wants_keys(&self) -> bool {
        matches!(self, Self::Kinesis(_) | Self::Kafka(_))
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Kinesis(stream) => write!(f, "kinesis:{stream}"),
            Self::Http(address) => address.fmt(f),
            Self::Kafka(topic) => write!(f, "kafka:{topic}"),
        }
    }
}

/// Reads a target's name.
fn name(text: &str) -> Result<TargetName, String> {
    match text.split_once(':') {
        None if text == "stdout" || text == "-" => Ok(TargetName::Stdout),
        Some(("file", path)) if !path.is_empty() => Ok(TargetName::File(path.into())),
        Some(("kinesis", stream)) if !stream.is_empty() => {
            Ok(TargetName::Kinesis(stream.to_owned()))
        }
        Some(("http" | "https", _)) => Address::parse(text).map(TargetName::Http),
        Some(("kafka", topic)) => topic.parse().map(TargetName::Kafka),
        _ => Err(format!(
            "{text:?} is no target; there are stdout, file:PATH, kinesis:STREAM, \
             kafka:HOST:PORT/TOPIC and http:URL"
        )),
    }
}
