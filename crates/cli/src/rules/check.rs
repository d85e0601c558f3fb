//! `tributary rules check`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;
use tributary_rules::check::{Checked, Finding, Level};
use tributary_rules::examples::Expectation;

use super::EXAMPLES;
use crate::configuration::ConfigArguments;
use crate::output::print_line;
use crate::summary::Format;
use crate::table::plain;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    configuration: ConfigArguments,

    /// File of rules [default: alerts.toml of the configuration]
    file: Option<PathBuf>,

    /// Folder of the examples, with a folder per rule [default: fixtures/rules/shipped if it
    /// exists]
    #[arg(long, value_name = "DIR")]
    examples: Option<PathBuf>,

    /// Format of the findings
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Result of a check, as JSON.
#[derive(Serialize)]
struct Summary<'a> {
    file: &'a str,
    rules: usize,
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (name, text) = super::read(arguments.file.as_deref(), &arguments.configuration)?;
    let mut checked = arguments.configuration.load()?.check_rules(&text);
    let folder = arguments.examples.as_deref().unwrap_or(Path::new(EXAMPLES));
    let has_examples = folder.is_dir();
    if has_examples {
        let counted =
            checked.rules.iter().map(|(rule, ..)| Ok((rule.clone(), count(folder, rule)?)));
        let counts: HashMap<_, _> = counted.collect::<Result<_>>()?;
        checked.require_examples(|rule| counts.get(rule).copied().unwrap_or_default());
    } else if arguments.examples.is_some() {
        bail!("{} is no folder", folder.display());
    }
    report(&name, &checked, arguments.format)?;
    if !has_examples && arguments.format == Format::Table {
        print_line(&format!(" no {EXAMPLES} here: examples were not asked for"))?;
    }
    Ok(if checked.is_usable() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Counts the examples in which a rule fires, and those in which it does not.
fn count(folder: &Path, rule: &str) -> Result<(usize, usize)> {
    let paths = super::examples(folder, rule)?;
    let names = paths.iter().filter_map(|file| file.file_name()?.to_str());
    let all: Vec<_> = names.filter_map(Expectation::of_name).collect();
    let fires = all.iter().filter(|shows| **shows == Expectation::Fires).count();
    Ok((fires, all.len() - fires))
}

/// Prints the findings of a check.
pub(super) fn report(name: &str, checked: &Checked, format: Format) -> Result<()> {
    let errors = checked.errors().count();
    let warnings = checked.findings.len() - errors;
    let rules = checked.rules.len();
    let findings = &checked.findings;
    let summary = Summary { file: name, rules, errors, warnings, findings };
    print_line(&format.text(&summary, || summary.table())?)?;
    Ok(())
}

impl Summary<'_> {
    fn table(&self) -> String {
        let name = self.file;
        let mut table = plain();
        for finding in self.findings {
            let place = format!("{name}:{}:{}", finding.line, finding.column);
            let level = if finding.level == Level::Error { "error" } else { "warning" };
            let rule = finding.rule.as_deref().unwrap_or("-");
            table.add_row([&place, level, rule, &finding.message]);
        }
        let lines = match self.findings {
            [] => String::new(),
            _ => format!("{}\n\n", table.trim_fmt()),
        };
        let counted = |count: usize, what: &str| match count {
            0 => format!("no {what}s"),
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        let counts = [(self.rules, "rule"), (self.errors, "error"), (self.warnings, "warning")];
        format!("{lines} {name}: {}", counts.map(|(count, what)| counted(count, what)).join(", "))
    }
}
