//! Targets of a feed: standard output, a file, a stream, a topic, a URL.

mod http;
mod kafka;
mod kinesis;
mod lanes;
mod lines;
mod tally;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tributary_datasets::ingest::SourceName;
use tributary_model::id::Id;
use tributary_rows::Position;

use self::http::{Address, HttpTarget};
use self::kafka::KafkaTarget;
use self::kinesis::KinesisTarget;
use self::lines::LinesTarget;
pub(crate) use self::tally::{Status, Tally, TargetHealth};

/// Destination of records.
pub(crate) trait Target {
    /// Sends one record. The target may buffer it, and may block the caller.
    fn send(&mut self, item: &Item<'_>) -> Result<SendResult>;

    /// Flushes the buffer before a pause, unless the pause is short and the buffered records are
    /// recent.
    fn flush_if_idle(&mut self, pause: Duration) -> Result<()>;

    /// Waits until every record is delivered or known to be undelivered.
    fn flush(&mut self) -> Result<()>;

    /// Waits until the records sent so far would survive a crash, so that a checkpoint can refer to
    /// them. Returns the length in bytes if the target is a file.
    fn sync(&mut self) -> Result<Option<u64>> {
        self.flush().map(|()| None)
    }

    /// Returns the counts so far, which another thread can read while the caller waits.
    fn tally(&self) -> &Arc<Tally>;
}

/// Result of sending a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendResult {
    Accepted,
    /// Not accepted: the record would have this many bytes.
    TooLarge(usize),
    /// Not accepted, and counted as undelivered: the feed ends here.
    Failed,
}

/// Record to send.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub dataset: &'a str,
    /// Value of the dataset's partition column; may be empty.
    pub key: &'a str,
    /// One JSON object on one line.
    pub payload: &'a [u8],
    pub origin: Origin<'a>,
}

/// Origin of a record.
#[derive(Debug)]
pub(crate) enum Origin<'a> {
    /// Simulation with its seed, and the number of the record in it.
    Simulation { seed: u64, number: u64 },
    /// Row of a file.
    Row(&'a SourceName, Position),
}

impl Item<'_> {
    /// Returns a deterministic id, so that a second delivery has the same one. It is derived from
    /// the position in a file, or from the content of a simulated record.
    fn record_id(&self) -> String {
        match &self.origin {
            Origin::Row(source, position) => source.record_id(*position),
            Origin::Simulation { .. } => Id::of([self.dataset.as_bytes(), self.payload]),
        }
        .to_string()
    }

    /// Returns the source of the record as text.
    fn source(&self) -> Cow<'static, str> {
        match &self.origin {
            Origin::Row(source, position) => source.at(*position).into(),
            Origin::Simulation { seed, number } => {
                format!("simulate:{}?seed={seed}#record={number}", self.dataset).into()
            }
        }
    }
}

/// Target of a feed and its options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct To {
    /// Target of the records: stdout, `file:PATH`, `kinesis:STREAM` in the AWS environment,
    /// `kafka:HOST:PORT/TOPIC`, or the URL of ingest-http
    #[arg(long = "to", value_name = "TARGET", default_value = "stdout", value_parser = name)]
    pub name: TargetName,

    /// Concurrent calls to a stream or a URL; records of one key of a stream share a connection
    #[arg(long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,

    /// Compresses each request, if the target is a URL
    #[arg(long)]
    gzip: bool,

    /// Does not sign requests with the credentials of the AWS environment, if the target is a URL
    #[arg(long)]
    unsigned: bool,
}

/// Target by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetName {
    Stdout,
    File(PathBuf),
    Kinesis(String),
    Http(Address),
    Kafka(kafka::Address),
}

impl To {
    /// Opens the target. A file is truncated, to its first `keep` bytes if given.
    pub(crate) fn open(&self, keep: Option<u64>) -> Result<Box<dyn Target>> {
        if (self.gzip || self.unsigned) && !matches!(self.name, TargetName::Http(_)) {
            bail!("--gzip and --unsigned are for a URL, not for {}", self.name);
        }
        let connections = usize::from(self.connections);
        Ok(match &self.name {
            TargetName::Stdout => Box::new(LinesTarget::stdout()),
            TargetName::File(path) => Box::new(LinesTarget::file(path, keep)?),
            TargetName::Kinesis(stream) => Box::new(KinesisTarget::open(stream, connections)?),
            TargetName::Http(address) => {
                Box::new(HttpTarget::open(address.clone(), connections, self.gzip, self.unsigned)?)
            }
            TargetName::Kafka(topic) => Box::new(KafkaTarget::open(topic)?),
        })
    }
}

impl TargetName {
    /// Returns the file that the target writes, if any; `-` for standard output.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Stdout => Some(Path::new("-")),
            Self::File(path) => Some(path),
            Self::Kinesis(_) | Self::Http(_) | Self::Kafka(_) => None,
        }
    }

    /// Returns whether records need their partition keys.
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

/// Parses the name of a target.
fn name(text: &str) -> Result<TargetName, String> {
    match text.split_once(':') {
        None if text == "stdout" || text == "-" => Ok(TargetName::Stdout),
        Some(("file", path)) if !path.is_empty() => Ok(TargetName::File(path.into())),
        Some(("kinesis", stream)) if !stream.is_empty() => {
            Ok(TargetName::Kinesis(stream.to_owned()))
        }
        Some(("http" | "https", _)) => Address::parse(text).map(TargetName::Http),
        Some(("kafka", topic)) => kafka::Address::parse(topic).map(TargetName::Kafka),
        _ => Err(format!(
            "{text:?} is no target; there are stdout, file:PATH, kinesis:STREAM, \
             kafka:HOST:PORT/TOPIC and http:URL"
        )),
    }
}
