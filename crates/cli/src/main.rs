//! The `tributary` command.

mod output;
mod progress;
mod report;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

/// Exit codes: 0 when the books balance, 1 when they do not, 2 for what cannot be read or written.
#[expect(clippy::print_stderr, reason = "a command says on standard error why it failed")]
fn main() -> ExitCode {
    let Arguments { verb } = Arguments::parse();
    let result = match verb {
        Verb::Run(arguments) => run::run(&arguments),
    };
    match result {
        Ok(code) => code,
        // The reader of our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tributary: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
