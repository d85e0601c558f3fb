//! `tributary rules check`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;
use tributary_rules::check::{Finding, Level};
use tributary_rules::examples::Expectation;

use super::{Chosen, EXAMPLES};
use crate::configuration::ConfigArguments;
use crate::output::print_line;
use crate::summary::Format;
use crate::table::plain;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    configuration: ConfigArguments,

    /// File of rules [default: all rules of the configuration]
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
    findings: Vec<Found<'a>>,
}

/// Finding with its file.
#[derive(Serialize)]
struct Found<'a> {
    file: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut chosen = super::choose(arguments.file.as_deref(), &arguments.configuration)?;
    let folder = arguments.examples.as_deref().unwrap_or(Path::new(EXAMPLES));
    let has_examples = folder.is_dir();
    if has_examples {
        for (_, checked) in &mut chosen.checked {
            let counted =
                checked.rules.iter().map(|(rule, ..)| Ok((rule.clone(), count(folder, rule)?)));
            let counts: HashMap<_, _> = counted.collect::<Result<_>>()?;
            checked.require_examples(|rule| counts.get(rule).copied().unwrap_or_default());
        }
    } else if arguments.examples.is_some() {
        bail!("{} is no folder", folder.display());
    }
    report(&chosen, arguments.format)?;
    if !has_examples && arguments.format == Format::Table {
        print_line(&format!(" no {EXAMPLES} here: examples were not asked for"))?;
    }
    let is_usable = chosen.checked.iter().all(|(_, checked)| checked.is_usable());
    Ok(if is_usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
pub(super) fn report(chosen: &Chosen, format: Format) -> Result<()> {
    let checked = || chosen.checked.iter();
    let errors = checked().map(|(_, checked)| checked.errors().count()).sum();
    let findings = checked().flat_map(|(file, checked)| {
        checked.findings.iter().map(move |finding| Found { file, finding })
    });
    let findings: Vec<_> = findings.collect();
    let summary = Summary {
        file: &chosen.name,
        rules: checked().map(|(_, checked)| checked.rules.len()).sum(),
        errors,
        warnings: findings.len() - errors,
        findings,
    };
    print_line(&format.text(&summary, || summary.table())?)?;
    Ok(())
}

impl Summary<'_> {
    fn table(&self) -> String {
        let name = self.file;
        let mut table = plain();
        for Found { file, finding } in &self.findings {
            let place = format!("{file}:{}:{}", finding.line, finding.column);
            let level = if finding.level == Level::Error { "error" } else { "warning" };
            let rule = finding.rule.as_deref().unwrap_or("-");
            table.add_row([&place, level, rule, &finding.message]);
        }
        let lines = match self.findings.as_slice() {
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
