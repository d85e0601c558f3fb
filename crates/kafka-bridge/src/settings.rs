//! Settings of a poller, as options of the command.

use std::time::Duration;

use clap::builder::TypedValueParser as _;
use clap::{Args, value_parser};

use crate::payload;

/// Settings of a poller.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// HOST:PORT, comma-separated; or mock, for a cluster within this process.
    #[arg(long)]
    pub brokers: String,
    /// Topics, comma-separated; each has batches of its own.
    #[arg(long, value_delimiter = ',', required = true)]
    pub topics: Vec<String>,
    /// Name of the consumer group.
    #[arg(long)]
    pub group: String,
    /// Limits that complete a batch.
    #[command(flatten)]
    pub limits: Limits,
    /// Ends after so many seconds without a record, once records have arrived and all are
    /// delivered.
    #[arg(long, value_name = "SECS",
        value_parser = value_parser!(u64).map(Duration::from_secs))]
    pub until_idle: Option<Duration>,
}

/// Limits that complete a batch.
#[derive(Clone, Copy, Debug, Args)]
pub struct Limits {
    /// Maximum number of records of a batch.
    #[arg(long = "batch-size", value_name = "N", default_value = "100",
        value_parser = value_parser!(u32).range(1..=10_000).map(|number| number as usize))]
    pub records: usize,
    /// Maximum number of bytes of a payload.
    #[arg(skip = payload::MAX_BYTES)]
    pub bytes: usize,
    /// Maximum time for gathering a batch, in milliseconds.
    #[arg(long, value_name = "MS", default_value = "500",
        value_parser = value_parser!(u64).range(0..=300_000).map(Duration::from_millis))]
    pub window: Duration,
}
