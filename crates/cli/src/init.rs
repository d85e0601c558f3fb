//! `tributary init`: a schema from a sample.

pub(crate) use self::commands::quoted;

mod commands;
mod fixture;
mod report;
mod sample;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use tributary_config::Bundle;
use tributary_datasets::infer::{Hints, Inferred, infer};

use self::fixture::Files;
use self::report::Report;
use self::sample::SampledFile;
use self::trial::Trial;
use crate::configuration;
use crate::output::{is_stdout, print_summary};
use crate::summary::Format;

/// Longest name of a dataset.
const MAX_NAME: usize = 64;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Sample: CSV or JSON files of one dataset, plain or gzip; up to 10,000 rows or 8 MiB of each
    /// are read; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Name of the dataset [default: name of the first file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Folder of the configuration, which gets datasets/NAME.toml; fixtures go beside it if it is
    /// called config, and into it otherwise
    #[arg(long, value_name = "DIR", default_value = "config")]
    config: PathBuf,

    /// Columns whose values name the entity, where init finds none
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    key: Vec<String>,

    /// Column of the event time, where init finds none or another one
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,

    /// Format of the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Writes the schema and its fixtures. Nothing is written unless the schema compiles and reads its
/// sample, and no file is overwritten.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (Some(first), folder) = (arguments.files.first(), arguments.config.as_path()) else {
        bail!("there is no file");
    };
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => name_of(first)?,
    };
    let shown = sample::name_of(first);
    let file = sample::read(&arguments.files)?;
    let hints = Hints { time: arguments.time.clone(), key: arguments.key.clone() };
    let mut inferred =
        infer(&name, &file.sample, &hints).with_context(|| sample_of(&file, &shown))?;
    let others = others(folder, &name)?;
    check_selected(&name, &inferred, &others, &shown, &file)?;
    let trial = trial::run(&name, &mut inferred, &file, &others)?;
    add_checks(&mut inferred, &file, &trial);

    let path = folder.join(format!("datasets/{name}.toml"));
    let text = inferred.text();
    let (written, kept) = if existing(&path, &text)? {
        (Vec::new(), vec![path.display().to_string()])
    } else {
        let fixtures = fixture::files(&name, &inferred, &file, &trial)?;
        write(&path, &text, &beside(folder), &fixtures)?
    };
    let commands = commands::next(arguments, &name, &file, inferred.rule.is_some());
    let report = Report {
        dataset: &name,
        file: &path.display().to_string(),
        rows: file.payloads.len(),
        events: trial.events,
        bad_rows: trial.bad + file.broken,
        written: &written,
        kept: &kept,
        assumptions: &inferred.assumptions,
        checks: &inferred.checks,
        commands: &commands,
    };
    print_summary(&arguments.format.text(&report, || report.table())?, false)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the file for an error, with what of it was not read.
fn sample_of(file: &SampledFile, shown: &str) -> String {
    match &file.first_broken {
        Some(why) if file.payloads.is_empty() => why.clone(),
        _ if file.sniffed.preamble_lines > 0 => {
            format!("{shown}, behind {} skipped lines", file.sniffed.preamble_lines)
        }
        _ => shown.to_owned(),
    }
}

/// Checks that the columns of the sample select the new dataset among all.
///
/// # Errors
///
/// Another dataset has the same columns, or more of them.
fn check_selected(
    name: &str,
    inferred: &Inferred,
    others: &Bundle,
    shown: &str,
    file: &SampledFile,
) -> Result<()> {
    let Some(known) = trial::known_dataset(others, shown, file)? else { return Ok(()) };
    let all = others.clone().with(&format!("datasets/{name}.toml"), &inferred.text_with(&[]));
    // Datasets that require the same columns do not load together.
    let selected = trial::known_dataset(&all, shown, file).ok().flatten();
    if selected.as_deref() != Some(name) {
        bail!("{shown} is already of dataset {known:?}, whose columns it has");
    }
    Ok(())
}

/// Returns the name of a file as the name of a dataset.
fn name_of(file: &Path) -> Result<String> {
    if is_stdout(file) {
        bail!("--name names the dataset of standard input");
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let plain = |letter: char| match letter {
        'a'..='z' | '0'..='9' | '-' => letter,
        _ => '_',
    };
    let name: String = stem.chars().map(plain).take(MAX_NAME).collect();
    let name = name.trim_matches(['_', '-']);
    if !name.starts_with(|it: char| it.is_ascii_lowercase()) {
        bail!("{} is no name of a dataset: --name NAME gives one", file.display());
    }
    Ok(name.to_owned())
}

/// Returns the configuration without the new dataset; empty if the folder does not exist.
fn others(folder: &Path, name: &str) -> Result<Bundle> {
    let own = format!("datasets/{name}.toml");
    let bundle = configuration::read_files(folder)?;
    let files = bundle.files().filter(|(path, _)| *path != own);
    Ok(files.map(|(path, text)| (path.to_owned(), text.to_owned())).collect())
}

fn add_checks(inferred: &mut Inferred, file: &SampledFile, trial: &Trial) {
    let mut check = |text: String| inferred.checks.push(text);
    if let Some(why) = &file.first_broken {
        check(format!(
            "{} rows of the sample cannot be read: bad rows, such as {why}",
            file.broken
        ));
    }
    if let Some(why) = &trial.first_bad {
        check(format!("{} rows of the sample are bad rows, such as {why}", trial.bad));
    }
    if trial.with_faults > 0 {
        check(format!("{} events of the sample lack a bad field", trial.with_faults));
    }
    file.checks.iter().cloned().for_each(&mut check);
}

/// Returns `true` if the schema exists as it would be written.
///
/// # Errors
///
/// It exists and differs.
fn existing(path: &Path, text: &str) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let there = fs::read_to_string(path);
    if there.with_context(|| format!("{} cannot be read", path.display()))? != text {
        bail!("{} exists and differs; remove it or give --name", path.display());
    }
    Ok(true)
}

/// Returns the folder of the fixtures: beside `config/`, or in a folder of another name.
fn beside(folder: &Path) -> PathBuf {
    if folder.file_name().is_some_and(|name| name == "config") {
        folder.parent().unwrap_or(Path::new("")).to_owned()
    } else {
        folder.to_owned()
    }
}

/// Writes the schema and the fixtures that do not exist. Returns the files written, and those left.
fn write(
    schema: &Path,
    text: &str,
    fixtures: &Path,
    files: &Files,
) -> Result<(Vec<String>, Vec<String>)> {
    let files = files.iter().map(|(path, text)| (fixtures.join(path), text.as_str()));
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    // The schema comes last: without it, a run that failed halfway starts again.
    for (path, text) in files.chain([(schema.to_owned(), text)]) {
        let shown = path.display().to_string();
        if path.exists() {
            kept.push(shown);
            continue;
        }
        let cannot = || format!("{shown} cannot be written");
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).with_context(cannot)?;
        fs::write(&path, text).with_context(cannot)?;
        written.push(shown);
    }
    Ok((written, kept))
}
