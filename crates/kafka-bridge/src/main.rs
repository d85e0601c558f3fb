//! The `kafka-bridge` command: wires a poller to a Lambda function, and a cluster to it if asked.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use clap::Parser;
use rdkafka::mocking::MockCluster;
use serde_json::json;
use tributary_kafka_bridge::invoke::LambdaFunction;
use tributary_kafka_bridge::poller::{Poller, Report};
use tributary_kafka_bridge::settings::Settings;

/// Polls Kafka topics into a Lambda function as an event source mapping does. Prints two lines of
/// JSON to standard output: first the brokers' addresses, last the report.
#[derive(Parser)]
#[command(name = "kafka-bridge", version, about)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,

    /// Name or ARN of the function; region, credentials and endpoint are those of the environment
    #[arg(long)]
    function: String,

    /// Partitions of each topic of the mock cluster
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(i32).range(1..=64))]
    partitions: i32,
}

/// Runs the command. Exit code 0 if everything delivered is committed; 1 if not, or if the mock
/// cluster dropped records before they were read; 2 if the command cannot run at all.
#[expect(clippy::print_stderr, reason = "a command says on standard error why it failed")]
fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kafka-bridge: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { mut settings, function, partitions } = arguments;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("no signal can be listened for")?;

    let mock = (settings.brokers == "mock").then(|| MockCluster::new(1)).transpose()?;
    if let Some(mock) = &mock {
        for topic in &settings.topics {
            mock.create_topic(topic, partitions, 1)?;
        }
        settings.brokers = mock.bootstrap_servers();
    }
    let broker = if mock.is_some() { "mock" } else { "given" };
    print_json(&json!({"bootstrap": settings.brokers, "broker": broker}))?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let function = runtime.block_on(LambdaFunction::connect(&function));
    let invoke = async |payload| function.invoke(payload).await;
    let report = Poller::new(settings, invoke, complain)?.run(&stop)?;
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
