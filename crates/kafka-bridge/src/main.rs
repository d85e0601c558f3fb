//! The `kafka-bridge` command: wires a poller to a Lambda function, and a cluster to it if asked.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use rdkafka::mocking::MockCluster;
use serde_json::json;
use tributary_kafka_bridge::batch::Limits;
use tributary_kafka_bridge::invoke::LambdaFunction;
use tributary_kafka_bridge::payload;
use tributary_kafka_bridge::poller::{Poller, Report, Settings};

/// Polls Kafka topics into a Lambda function as an event source mapping does. Prints two lines of
/// JSON to standard output: first the brokers' addresses, last the report.
#[derive(Parser)]
#[command(name = "kafka-bridge", version, about)]
struct Arguments {
    /// HOST:PORT, comma-separated; or mock, for a cluster within this process
    #[arg(long)]
    brokers: String,

    /// Topics, comma-separated; each has batches of its own
    #[arg(long, value_delimiter = ',', required = true)]
    topics: Vec<String>,

    /// Name of the consumer group
    #[arg(long)]
    group: String,

    /// Name or ARN of the function; region, credentials and endpoint are those of the environment
    #[arg(long)]
    function: String,

    /// Maximum number of records of a batch
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch_size: u32,

    /// Maximum time for gathering a batch, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500,
        value_parser = clap::value_parser!(u64).range(0..=300_000))]
    window: u64,

    /// Ends after so many seconds without a record, once records have arrived and all are delivered
    #[arg(long, value_name = "SECS")]
    until_idle: Option<u64>,

    /// Partitions of each topic of the mock cluster
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(i32).range(1..=64))]
    partitions: i32,
}

/// Runs the command. Exit code 0 if everything delivered is committed; 1 if not, or if the mock
/// cluster dropped records before they were read; 2 if the command cannot run at all.
#[expect(clippy::print_stderr, reason = "a command says on standard error why it failed")]
fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kafka-bridge: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("no signal can be listened for")?;

    let mock = (arguments.brokers == "mock").then(|| MockCluster::new(1)).transpose()?;
    if let Some(mock) = &mock {
        for topic in &arguments.topics {
            mock.create_topic(topic, arguments.partitions, 1)?;
        }
    }
    let (brokers, broker) = match &mock {
        Some(mock) => (mock.bootstrap_servers(), "mock"),
        None => (arguments.brokers.clone(), "given"),
    };
    print_json(&json!({"bootstrap": brokers, "broker": broker}))?;

    let limits = Limits {
        records: arguments.batch_size as usize,
        bytes: payload::MAX_BYTES,
        window: Duration::from_millis(arguments.window),
    };
    let settings = Settings {
        brokers,
        topics: arguments.topics.clone(),
        group: arguments.group.clone(),
        limits,
        until_idle: arguments.until_idle.map(Duration::from_secs),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let function = runtime.block_on(LambdaFunction::connect(&arguments.function));
    let report = Poller::new(settings, function, complain)?.run(&stop)?;
    print_json(&report)?;
    Ok(outcome(&report, mock.is_some()))
}

/// Prints one JSON object on a line and flushes it, for a reader that follows the output.
fn print_json(what: &impl serde::Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

#[expect(clippy::print_stderr, reason = "what is tried again is told")]
fn complain(why: &str) {
    eprintln!("kafka-bridge: {why}");
}

fn outcome(report: &Report, is_mock: bool) -> ExitCode {
    if report.uncommitted > 0 {
        complain("not everything that was delivered is committed: it will come again");
        return ExitCode::FAILURE;
    }
    // A mock cluster begins empty, so each committed offset stands for a record.
    let offsets: i64 = report.committed.values().sum();
    if is_mock && u64::try_from(offsets) != Ok(report.records) {
        complain(
            "the mock cluster dropped records before they were read: \
             it keeps 5 MiB and 100,000 records of a partition",
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
