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
use tributary_rules::check::Checked;

use crate::configuration::ConfigArguments;

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

/// Rules to work on: those of a file, or all of the configuration.
struct Chosen {
    configuration: Configuration,
    /// Name for messages.
    name: String,
    /// Result of the check of each file with rules, by its name.
    checked: Vec<(String, Checked)>,
    /// The rules, unless one is wrong.
    rules: Option<Rules>,
}

/// Reads and checks the rules of `file`; without a file, all rules of the configuration.
fn choose(file: Option<&Path>, arguments: &ConfigArguments) -> Result<Chosen> {
    let configuration = arguments.load_unchecked()?;
    let (name, checked, alerts) = match file {
        None => {
            let checked = configuration.checked_rules(&arguments.bundle()?);
            let named = checked.into_iter().map(|(file, it)| (arguments.path_of(&file), it));
            (arguments.path_of(ALERTS_FILE), named.collect(), configuration.alerts.clone())
        }
        Some(file) => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("{name} cannot be read"))?;
            let checked = vec![(name.clone(), configuration.check_rules(&text))];
            (name, checked, AlertsConfig::from_toml(&text).unwrap_or_default())
        }
    };
    let is_usable = checked.iter().all(|(_, checked): &(String, Checked)| checked.is_usable());
    let rules = is_usable.then(|| configuration.rules_of(&alerts)).transpose()?;
    Ok(Chosen { configuration, name, checked, rules })
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
