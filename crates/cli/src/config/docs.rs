//! `tributary config docs`: tables of schemas, for the pages that explain feeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tributary_datasets::Dataset;
use tributary_datasets::pages::{new_page, updated_page};

use crate::configuration::{ConfigArguments, named};
use crate::output::print_line;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Datasets [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    configuration: ConfigArguments,

    /// Folder of pages, NAME.md: the text between `<!-- schema of NAME -->` and `<!-- end -->` is
    /// replaced, and a page that does not exist is created
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let datasets = arguments.configuration.load()?.datasets;
    let chosen: Vec<Arc<Dataset>> = if arguments.names.is_empty() {
        datasets.iter().cloned().collect()
    } else {
        arguments.names.iter().map(|name| named(&datasets, name)).collect::<Result<_>>()?
    };
    for dataset in &chosen {
        match &arguments.write {
            Some(folder) => write(dataset, &folder.join(format!("{}.md", dataset.name())))?,
            None => print_line(new_page(dataset).trim_end())?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the tables of a schema into its page, and prints the name of a page that changed.
fn write(dataset: &Dataset, path: &Path) -> Result<()> {
    let shown = path.display();
    let old = if path.exists() {
        Some(fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?)
    } else {
        None
    };
    let new = match &old {
        None => new_page(dataset),
        Some(page) => updated_page(dataset, page).with_context(|| {
            let name = dataset.name();
            format!("{shown} has no lines <!-- schema of {name} --> and <!-- end -->")
        })?,
    };
    if old.as_ref() == Some(&new) {
        return Ok(());
    }
    fs::write(path, new).with_context(|| format!("{shown} cannot be written"))?;
    Ok(print_line(&shown.to_string())?)
}
