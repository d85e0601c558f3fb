//! `tributary rules`: alert rules, tested like code.

mod backtest;
mod check;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use tributary_config::{ALERTS_FILE, AlertsConfig, Configuration};
use tributary_rules::Rules;

use crate::configuration::ConfigArguments;
use crate::summary::Format;

/// Default folder of the examples, relative to the working directory.
const EXAMPLES: &str = "fixtures/rules/shipped";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Checks that each rule compiles, refers to existing fields, can fire, and has examples
    Check(check::Arguments),
    /// Checks that each rule fires in its fires- examples and in no other
    Test(test::Arguments),
    /// Counts how often each rule would have fired over a file of rows or events, by day and by
    /// entity
    Backtest(backtest::Arguments),
}

/// Runs the subcommand. Exit codes: 0 when no rule is wrong, 1 when one is, 2 for read errors.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.verb {
        Verb::Check(arguments) => check::run(arguments),
        Verb::Test(arguments) => test::run(arguments),
        Verb::Backtest(arguments) => backtest::run(arguments),
    }
}

/// Reads a file of rules and returns its name and text; without a file, those of the configuration.
fn read(file: Option<&Path>, configuration: &ConfigArguments) -> Result<(String, String)> {
    let Some(file) = file else {
        let text = configuration.bundle()?.text(ALERTS_FILE).to_owned();
        return Ok((configuration.path_of(ALERTS_FILE), text));
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
    Ok((name, text))
}

/// Compiles the rules of a file. If any is wrong, prints the findings and returns `None`.
fn usable(
    configuration: &Configuration,
    name: &str,
    text: &str,
    format: Format,
) -> Result<Option<Rules>> {
    let checked = configuration.check_rules(text);
    if !checked.is_usable() {
        check::report(name, &checked, format)?;
        return Ok(None);
    }
    Ok(Some(configuration.rules_of(&AlertsConfig::from_toml(text)?)?))
}

/// Lists the example files of a rule, sorted; empty if the rule has no folder.
fn examples(folder: &Path, rule: &str) -> Result<Vec<PathBuf>> {
    let folder = folder.join(rule);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable = || format!("{} cannot be read", folder.display());
    let entries = std::fs::read_dir(&folder).with_context(unreadable)?;
    let paths = entries.map(|entry| Ok(entry.with_context(unreadable)?.path()));
    let mut files: Vec<_> = paths.collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}
