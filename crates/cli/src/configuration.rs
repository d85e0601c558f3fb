//! The configuration that a command decides with: compiled in, or of a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tributary_config::{Bundle, Configuration, validate};
use tributary_datasets::{Dataset, Datasets};

#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ConfigArguments {
    /// Folder of the configuration, laid out like `config/` [default: the compiled-in one]
    #[arg(long = "config", value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl ConfigArguments {
    /// Loads the configuration. That of a folder is validated as a whole.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or is wrong; the message names file, line and column.
    pub(crate) fn load(&self) -> Result<Configuration> {
        let bundle = self.bundle()?;
        if self.folder.is_some() {
            let errors = validate(&bundle);
            if let Some(first) = errors.first() {
                match errors.len() - 1 {
                    0 => bail!("{first}"),
                    more => bail!("{first}, and {more} more: `tributary config check` lists all"),
                }
            }
        }
        Ok(Configuration::load(&bundle)?)
    }

    /// Loads the configuration without a check of names, for commands that report those themselves.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or has another shape.
    pub(crate) fn load_unchecked(&self) -> Result<Configuration> {
        Ok(Configuration::load(&self.bundle()?)?)
    }

    /// Reads the files of the configuration.
    pub(crate) fn bundle(&self) -> Result<Bundle> {
        self.folder.as_deref().map_or_else(|| Ok(Bundle::shipped()), read_folder)
    }

    /// Returns the name of a file of the configuration, for messages.
    pub(crate) fn path_of(&self, file: &str) -> String {
        self.folder.as_deref().unwrap_or(Path::new("config")).join(file).display().to_string()
    }
}

/// Reads the files of a folder that is laid out like `config/`.
pub(crate) fn read_folder(folder: &Path) -> Result<Bundle> {
    let bundle = read_files(folder)?;
    if bundle.folder("datasets", "toml").is_empty() {
        bail!("{} is no configuration: it has no datasets/*.toml", folder.display());
    }
    Ok(bundle)
}

/// Reads the files of a folder, as far as it has some.
///
/// # Errors
///
/// Fails if a file cannot be read.
pub(crate) fn read_files(folder: &Path) -> Result<Bundle> {
    let mut files = Vec::new();
    for file in ["pipeline.toml", "alerts.toml"] {
        if folder.join(file).exists() {
            files.push(file.to_owned());
        }
    }
    for (inner, extension) in [("datasets", "toml"), ("lookups", "csv")] {
        let path = folder.join(inner);
        if !path.is_dir() {
            continue;
        }
        let unreadable = || format!("{} cannot be read", path.display());
        for entry in fs::read_dir(&path).with_context(unreadable)? {
            let name = entry.with_context(unreadable)?.file_name();
            if Path::new(&name).extension().is_some_and(|it| it == extension) {
                files.push(format!("{inner}/{}", name.to_string_lossy()));
            }
        }
    }
    let read = |file: String| {
        let path = folder.join(&file);
        let text = fs::read_to_string(&path);
        Ok((file, text.with_context(|| format!("{} cannot be read", path.display()))?))
    };
    files.into_iter().map(read).collect()
}

/// Returns the dataset of a name.
///
/// # Errors
///
/// Fails if there is none; the message names all.
pub(crate) fn named(datasets: &Datasets, name: &str) -> Result<Arc<Dataset>> {
    datasets
        .by_name(name)
        .cloned()
        .with_context(|| format!("{name:?} is no dataset; there are {}", datasets.names()))
}
