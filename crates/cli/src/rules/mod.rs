//! `tributary rules`: alert rules, tested like code.

mod backtest;
mod check;
mod rule_counts;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use comfy_table::Table;
use tributary_config::{ALERTS, PIPELINE, PipelineConfig};

/// Where examples are, below the folder that a person is in.
const EXAMPLES: &str = "fixtures/rules/shipped";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Whether each rule compiles, names what its events have, can fire, and has examples
    Check(check::Arguments),
    /// Whether each rule fires in its examples that say so, and in no other
    Test(test::Arguments),
    /// How often each rule would have fired over a file of rows or events, by day and by entity
    Backtest(backtest::Arguments),
}

/// Exit codes: 0 when nothing is wrong, 1 when a rule is, 2 for what cannot be read.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.verb {
        Verb::Check(arguments) => check::run(arguments),
        Verb::Test(arguments) => test::run(arguments),
        Verb::Backtest(arguments) => backtest::run(arguments),
    }
}

/// The text of a file of rules and what it is called; those that are compiled in where none is named.
fn read(file: Option<&Path>) -> Result<(String, String)> {
    let Some(file) = file else { return Ok(("config/alerts.toml".to_owned(), ALERTS.to_owned())) };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
    Ok((name, text))
}

/// The windows and ranges that rules are held against: those that are compiled in.
fn pipeline() -> Result<PipelineConfig> {
    Ok(PipelineConfig::from_toml(PIPELINE)?)
}

/// The files of the examples of a rule, in order; none where there is no folder of them.
fn examples(folder: &Path, rule: &str) -> Result<Vec<PathBuf>> {
    let folder = folder.join(rule);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable = || format!("{} cannot be read", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(unreadable)? {
        files.push(entry.with_context(unreadable)?.path());
    }
    files.sort();
    Ok(files)
}

/// A table as text, without what is blank at the end of its lines.
fn aligned(table: &Table) -> String {
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
