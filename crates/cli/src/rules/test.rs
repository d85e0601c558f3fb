//! `tributary rules test`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tributary_rules::Rules;
use tributary_rules::examples::{Examples, Expectation};

use super::{Chosen, EXAMPLES, check};
use crate::configuration::ConfigArguments;
use crate::output::print_line;
use crate::summary::Format;
use crate::table;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    configuration: ConfigArguments,

    /// File of rules [default: all rules of the configuration]
    file: Option<PathBuf>,

    /// Folder of the examples, with a folder per rule
    #[arg(long, value_name = "DIR", default_value = EXAMPLES)]
    examples: PathBuf,

    /// Format of the results
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Result of the examples of one rule.
#[derive(Serialize)]
struct Tested {
    rule: String,
    /// Examples in which the rule fires, as expected.
    fires: usize,
    /// Examples in which the rule does not fire, as expected.
    silent: usize,
    /// Set if there is an example of each kind and all results are as expected.
    passed: bool,
    faults: Vec<Fault>,
}

/// Failure of one example, or a missing kind of example.
#[derive(Serialize)]
struct Fault {
    file: String,
    message: String,
}

#[derive(Serialize)]
struct Summary<'a> {
    file: &'a str,
    passed: bool,
    rules: &'a [Tested],
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let chosen = super::choose(arguments.file.as_deref(), &arguments.configuration)?;
    let Chosen { configuration, name, rules: Some(rules), .. } = &chosen else {
        check::report(&chosen, arguments.format)?;
        return Ok(ExitCode::FAILURE);
    };
    let (schemas, windows) = (configuration.schemas(), configuration.window_fields());
    let specs = configuration.window_specs()?;
    let examples = Examples::new(&schemas, &windows, &specs);
    let mut all = Vec::new();
    for rule in rules.iter() {
        all.push(tested(&arguments.examples, &examples, rules, &rule.spec.id)?);
    }
    let passed = all.iter().all(|tested| tested.passed);
    let summary = Summary { file: name, passed, rules: &all };
    print_line(&arguments.format.text(&summary, || table(name, &all))?)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tested(folder: &Path, examples: &Examples<'_>, rules: &Rules, rule: &str) -> Result<Tested> {
    let mut tested =
        Tested { rule: rule.to_owned(), fires: 0, silent: 0, passed: false, faults: Vec::new() };
    for file in super::examples(folder, rule)? {
        let path = file.display().to_string();
        let mut fault = |message: &str| {
            tested.faults.push(Fault { file: path.clone(), message: message.to_owned() });
        };
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(shows) = Expectation::of_name(name) else {
            fault("its name begins with neither fires- nor silent-");
            continue;
        };
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("{path} cannot be read"))?;
        match (examples.fires(rules, rule, &text), shows) {
            (Ok(true), Expectation::Fires) => tested.fires += 1,
            (Ok(false), Expectation::DoesNotFire) => tested.silent += 1,
            (Ok(true), Expectation::DoesNotFire) => fault("the rule fires"),
            (Ok(false), Expectation::Fires) => fault("the rule does not fire"),
            (Err(message), _) => fault(&message),
        }
    }
    let lacks = match (tested.fires, tested.silent) {
        (0, 0) => "no example in which it fires, and none in which it does not",
        (0, _) => "no example in which it fires",
        (_, 0) => "no example in which it does not fire",
        _ => "",
    };
    if !lacks.is_empty() {
        let file = folder.join(rule).display().to_string();
        tested.faults.push(Fault { file, message: lacks.to_owned() });
    }
    tested.passed = tested.faults.is_empty();
    Ok(tested)
}

fn table(name: &str, all: &[Tested]) -> String {
    let mut table = table::table(["rule", "fires", "silent", ""], 1..3);
    for tested in all {
        let verdict = if tested.passed { "ok" } else { "FAILED" };
        let counts = [tested.fires.to_string(), tested.silent.to_string()];
        table.add_row([&tested.rule, &counts[0], &counts[1], verdict]);
        for fault in &tested.faults {
            table.add_row(["", "", "", &format!("{}: {}", fault.file, fault.message)]);
        }
    }
    let failed = all.iter().filter(|tested| !tested.passed).count();
    let verdict = if failed == 0 { "all pass".to_owned() } else { format!("{failed} FAILED") };
    format!("{}\n\n {name}: {} rules, {verdict}", table.trim_fmt(), all.len())
}
