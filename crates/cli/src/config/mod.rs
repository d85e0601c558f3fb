//! `tributary config`: the configuration as a whole.

mod docs;
mod releases;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;
use tributary_config::{Configuration, validate};

pub(crate) use self::releases::{Store, short};
use crate::configuration::ConfigArguments;
use crate::output::print_line;
use crate::stack::with_aws;
use crate::summary::Format;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Checks every file: schemas, lookups, filters, ranges, metrics, windows and rules
    Check(Check),
    /// Checks a configuration, and puts it into use in the functions of a stack, without a build
    Push(releases::Push),
    /// Shows which configuration the functions of a stack use, and those before it
    Show(releases::OfStack),
    /// Puts the configuration before the one in use into use again
    Rollback(releases::OfStack),
    /// Prints the tables of schemas as Markdown, or writes them into pages
    Docs(docs::Arguments),
}

#[derive(clap::Args)]
struct Check {
    #[command(flatten)]
    configuration: ConfigArguments,

    /// Stack whose events and windows the configuration must fit: natural keys stay as they are
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,

    /// Format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Result of a check.
#[derive(Serialize)]
struct Summary {
    /// Hash of all files.
    version: String,
    datasets: Vec<String>,
    metrics: usize,
    windows: usize,
    rules: usize,
    /// Errors, each with file, line and column.
    errors: Vec<String>,
}

/// Runs the subcommand. Exit codes: 0 if the configuration is valid, 1 if not, 2 for other errors.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.verb {
        Verb::Check(arguments) => return check(arguments),
        Verb::Docs(arguments) => return docs::run(arguments),
        Verb::Push(arguments) => releases::push(arguments)?,
        Verb::Show(arguments) => releases::show(arguments)?,
        Verb::Rollback(arguments) => releases::roll_back(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(arguments: &Check) -> Result<ExitCode> {
    let bundle = arguments.configuration.bundle()?;
    let mut errors: Vec<_> = validate(&bundle).iter().map(ToString::to_string).collect();
    let loaded = Configuration::load(&bundle).ok();
    if let (Some(stack), Some(configuration)) = (&arguments.stack, &loaded) {
        let store = with_aws(async |aws| Store::of(aws, stack).await)?;
        errors.extend(store.releases.changed_keys(configuration));
    }
    let count = |count: fn(&Configuration) -> usize| loaded.as_ref().map_or(0, count);
    let names = loaded.iter().flat_map(|it| it.datasets.iter());
    let summary = Summary {
        version: bundle.version().to_string(),
        datasets: names.map(|dataset| dataset.name().to_owned()).collect(),
        metrics: count(|it| it.pipeline.metrics.len()),
        windows: count(|it| it.pipeline.windows.len()),
        rules: count(|it| it.alerts.rules.len()),
        errors,
    };
    print_line(&arguments.format.text(&summary, || summary.table())?)?;
    Ok(if summary.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Summary {
    fn table(&self) -> String {
        let mut lines: Vec<_> = self.errors.iter().map(|error| format!(" {error}")).collect();
        if !lines.is_empty() {
            lines.push(String::new());
        }
        if self.datasets.is_empty() {
            lines.pop();
            return lines.join("\n");
        }
        let Self { metrics, windows, rules, errors, .. } = self;
        let errors = match errors.len() {
            0 => "no errors".to_owned(),
            1 => "1 error".to_owned(),
            count => format!("{count} errors"),
        };
        lines.push(format!(
            " datasets {}: {metrics} metrics, {windows} windows, {rules} rules, {errors}",
            self.datasets.join(", ")
        ));
        lines.join("\n")
    }
}
