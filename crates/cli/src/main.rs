//! The `tributary` command.

mod books;
mod distinct;
mod lines;
mod offline;
mod output;
mod pace;
mod progress;
mod quarantine;
mod redrive;
mod replay;
mod report;
mod rules;
mod run;
mod simulate;
mod stack;
mod stop;
mod summary;
mod tap;
mod target;
mod units;
mod windows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::eprint_line;

/// Rows and readings into validated, enriched streams.
#[derive(Parser)]
#[command(name = "tributary", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Takes files through the whole core in this process, with no AWS at all
    Run(run::Arguments),
    /// Makes up a feed from a seed: floods, weather stations, accidents, counts
    Simulate(simulate::Arguments),
    /// Sends the rows of files as a live feed, at the pace of their times or at a rate
    Replay(replay::Arguments),
    /// Shows the records of a stream as they come
    Tap(tap::Arguments),
    /// Shows the windows of a group from the store, newest first
    Windows(windows::Arguments),
    /// Lists, shows and replays bad rows
    Quarantine(quarantine::Arguments),
    /// Settles the books of all functions of a stack
    Books(books::Arguments),
    /// Checks alert rules, runs their examples, and asks them about a file
    Rules(rules::Arguments),
    /// Brings back what Lambda, Firehose and SQS gave up on; a dry run unless --yes
    Redrive(redrive::Arguments),
}

/// Exit codes: 0 when the books balance or all was delivered, 1 when not, 2 for what cannot be read,
/// written or asked for.
fn main() -> ExitCode {
    let Arguments { verb } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            eprint_line(&format!("tributary: {}", one_line(&error.to_string())));
            return ExitCode::from(2);
        }
        // Help and version, which were asked for.
        Err(error) => error.exit(),
    };
    let result = match verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Simulate(arguments) => simulate::run(&arguments),
        Verb::Replay(arguments) => replay::run(&arguments),
        Verb::Tap(arguments) => tap::run(&arguments),
        Verb::Windows(arguments) => windows::run(&arguments),
        Verb::Quarantine(arguments) => quarantine::run(&arguments),
        Verb::Books(arguments) => books::run(&arguments),
        Verb::Rules(arguments) => rules::run(&arguments),
        Verb::Redrive(arguments) => redrive::run(&arguments),
    };
    match result {
        Ok(code) => code,
        // The reader of our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprint_line(&format!("tributary: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// What is wrong with the arguments, without the usage.
fn one_line(error: &str) -> String {
    let lines = error.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let text: Vec<_> = lines.filter(|line| !line.is_empty() && !is_hint(line)).collect();
    text.join(" ").trim_start_matches("error: ").to_owned()
}

fn is_hint(line: &str) -> bool {
    line.starts_with("For more information")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
