//! The `tributary` command.

mod books;
mod config;
mod configuration;
mod init;
mod lines;
mod offline;
mod output;
mod pace;
mod progress;
mod quarantine;
mod redrive;
mod replay;
mod rows;
mod rules;
mod run;
mod simulate;
mod stack;
mod stop;
mod summary;
mod table;
mod tap;
mod target;
mod units;
mod windows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::eprint_line;

/// Turns rows and readings into validated, enriched streams.
#[derive(Parser)]
#[command(name = "tributary", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes the schema of a new dataset from a sample of its rows
    Init(init::Arguments),
    /// Runs files through the whole pipeline in this process, without AWS
    Run(run::Arguments),
    /// Generates a feed of any dataset from a seed
    Simulate(simulate::Arguments),
    /// Sends the rows of files as a live feed, paced by their times or at a rate
    Replay(replay::Arguments),
    /// Shows the records of a stream as they arrive
    Tap(tap::Arguments),
    /// Shows the stored windows of a group, newest first
    Windows(windows::Arguments),
    /// Lists, shows and replays bad rows
    Quarantine(quarantine::Arguments),
    /// Reconciles the batch counts of all functions of a stack
    Books(books::Arguments),
    /// Checks alert rules, runs their examples, and backtests them on a file
    Rules(rules::Arguments),
    /// Checks a configuration as a whole
    Config(config::Arguments),
    /// Redrives what Lambda, Firehose and SQS set aside; a dry run unless --yes
    Redrive(redrive::Arguments),
}

/// Runs the subcommand and returns its exit code: 0 when the counts reconcile or everything was
/// delivered, 1 when not, 2 for bad arguments and for inputs or outputs that cannot be read or
/// written.
fn main() -> ExitCode {
    let Arguments { verb } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            eprint_line(&format!("tributary: {}", one_line(&error.to_string())));
            return ExitCode::from(2);
        }
        // The user asked for the help or the version.
        Err(error) => error.exit(),
    };
    let result = match verb {
        Verb::Init(arguments) => init::run(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Simulate(arguments) => simulate::run(&arguments),
        Verb::Replay(arguments) => replay::run(&arguments),
        Verb::Tap(arguments) => tap::run(&arguments),
        Verb::Windows(arguments) => windows::run(&arguments),
        Verb::Quarantine(arguments) => quarantine::run(&arguments),
        Verb::Books(arguments) => books::run(&arguments),
        Verb::Rules(arguments) => rules::run(&arguments),
        Verb::Config(arguments) => config::run(&arguments),
        Verb::Redrive(arguments) => redrive::run(&arguments),
    };
    match result {
        Ok(code) => code,
        // The reader of our output has closed the pipe, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprint_line(&format!("tributary: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Returns the argument error as one line, without the usage.
fn one_line(error: &str) -> String {
    let lines = error.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let is_hint = |line: &str| line.starts_with("For more information");
    let text: Vec<_> = lines.filter(|line| !line.is_empty() && !is_hint(line)).collect();
    text.join(" ").trim_start_matches("error: ").to_owned()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
