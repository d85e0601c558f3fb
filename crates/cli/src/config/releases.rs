//! `tributary config push`, `show` and `rollback`: which configuration the functions of a stack use.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use tributary_aws::bucket::Bucket;
use tributary_aws::clients::{self, SdkConfig};
use tributary_config::{
    Bundle, Configuration, MAX_VERSION_BYTES, RELEASES_KEY, Release, Releases, validate,
    version_key,
};

use crate::configuration::read_folder;
use crate::output::print_line;
use crate::stack::{Stack, with_aws};
use crate::summary::Format;
use crate::table;

#[derive(clap::Args)]
pub(super) struct Push {
    /// Stack whose functions take the configuration over
    #[arg(long, value_name = "NAME")]
    stack: String,

    /// Folder of the configuration
    #[arg(long, value_name = "DIR", default_value = "config")]
    config: PathBuf,

    /// Format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(clap::Args)]
pub(super) struct OfStack {
    /// Stack whose functions use the configuration
    #[arg(long, value_name = "NAME")]
    stack: String,

    /// Format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Result of a push or a rollback.
#[derive(Serialize)]
struct Changed {
    /// Version in use from now on.
    version: String,
    /// Version that was in use.
    before: String,
    /// Files that differ: `added`, `changed` or `removed`.
    files: BTreeMap<String, &'static str>,
    /// Time in which the functions take the version over.
    refresh_seconds: Option<u64>,
}

/// Result of `show`.
#[derive(Serialize)]
struct Shown<'r> {
    /// Version in use.
    in_use: String,
    /// Releases, newest first.
    releases: &'r [Release],
    datasets: Vec<String>,
}

/// Bucket of the configurations of a stack, with the releases as they were read.
pub(crate) struct Store {
    stack: Stack,
    bucket: Bucket,
    pub releases: Releases,
    /// Entity tag of the list; `None` if there is none yet.
    etag: Option<String>,
}

/// Checks a configuration, and puts it into use.
pub(super) fn push(arguments: &Push) -> Result<()> {
    let bundle = read_folder(&arguments.config)?;
    let configuration = valid(&bundle)?;
    let files = bundle.to_json();
    if files.len() as u64 > MAX_VERSION_BYTES {
        bail!("the files have {} bytes; functions read {MAX_VERSION_BYTES}", files.len());
    }
    let changed = with_aws(async |aws| {
        let mut store = Store::of(aws, &arguments.stack).await?;
        if let Some(first) = store.releases.changed_keys(&configuration).first() {
            bail!("{first}");
        }
        let (before, version) = (store.in_use(), bundle.version().to_string());
        let files_before = store.files(&before).await?;
        if before != version {
            store.bucket.put(&version_key(&version), files).await?;
            let pushed_at = format!("{:.0}", Timestamp::now());
            store.releases.push(Release { version: version.clone(), pushed_at }, &configuration);
            store.save().await?;
        }
        Ok(store.changed(version, before, &files_before, &bundle))
    })?;
    changed.print(arguments.format)
}

/// Puts the configuration before the one in use into use again.
pub(super) fn roll_back(arguments: &OfStack) -> Result<()> {
    let changed = with_aws(async |aws| {
        let mut store = Store::of(aws, &arguments.stack).await?;
        let before = store.in_use();
        if store.releases.roll_back().is_none() {
            bail!("the functions of {} use what is compiled in: none was pushed", arguments.stack);
        }
        let version = store.in_use();
        let (files_before, files) = (store.files(&before).await?, store.files(&version).await?);
        store.save().await?;
        Ok(store.changed(version, before, &files_before, &files))
    })?;
    changed.print(arguments.format)
}

/// Prints the releases.
pub(super) fn show(arguments: &OfStack) -> Result<()> {
    let (store, bundle) = with_aws(async |aws| {
        let store = Store::of(aws, &arguments.stack).await?;
        let bundle = store.files(&store.in_use()).await?;
        Ok((store, bundle))
    })?;
    let shown = Shown {
        in_use: store.in_use(),
        releases: &store.releases.releases,
        datasets: bundle.folder("datasets", "toml").into_keys().collect(),
    };
    Ok(print_line(&arguments.format.text(&shown, || shown.table())?)?)
}

/// Loads a configuration without errors.
fn valid(bundle: &Bundle) -> Result<Configuration> {
    let errors = validate(bundle);
    if let Some(first) = errors.first() {
        match errors.len() - 1 {
            0 => bail!("{first}"),
            more => bail!("{first}, and {more} more: `tributary config check` lists all"),
        }
    }
    Ok(Configuration::load(bundle)?)
}

impl Store {
    /// Reads the releases of the stack `name`.
    pub(super) async fn of(aws: &SdkConfig, name: &str) -> Result<Self> {
        Self::open(aws, Stack::read(aws, name).await?).await
    }

    /// Reads the releases of a stack. Those of a new stack have the keys of the compiled-in
    /// configuration, which its functions begin with.
    pub(crate) async fn open(aws: &SdkConfig, stack: Stack) -> Result<Self> {
        let bucket = Bucket::new(clients::s3(aws), stack.output("ConfigBucketName")?.to_owned());
        let found = bucket.find(RELEASES_KEY).await?;
        let (mut releases, etag) = match found {
            None => (Releases::default(), None),
            Some((json, etag)) => {
                let releases = Releases::from_json(&json);
                (releases.with_context(|| format!("{RELEASES_KEY} is no list"))?, Some(etag))
            }
        };
        for (key, text) in Configuration::shipped()?.keys() {
            releases.keys.entry(key).or_insert(text);
        }
        Ok(Self { stack, bucket, releases, etag })
    }

    /// Returns the version in use.
    pub(crate) fn in_use(&self) -> String {
        let shipped = || Bundle::shipped().version().to_string();
        self.releases.in_use().map_or_else(shipped, str::to_owned)
    }

    async fn files(&self, version: &str) -> Result<Bundle> {
        if Bundle::shipped().version().to_string() == version {
            return Ok(Bundle::shipped());
        }
        let unreadable = || format!("the files of version {version} cannot be read");
        let json = self.bucket.get(&version_key(version)).await.with_context(unreadable)?;
        Bundle::from_json(&json).with_context(unreadable)
    }

    async fn save(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.releases)?;
        if !self.bucket.replace(RELEASES_KEY, json, self.etag.as_deref()).await? {
            bail!("somebody else has changed the releases meanwhile: look at `config show`");
        }
        Ok(())
    }

    fn changed(
        &self,
        version: String,
        before: String,
        files_before: &Bundle,
        files: &Bundle,
    ) -> Changed {
        let old: BTreeMap<_, _> = files_before.files().collect();
        let new: BTreeMap<_, _> = files.files().collect();
        let kept = new.iter().filter_map(|(path, text)| match old.get(path) {
            None => Some(((*path).to_owned(), "added")),
            Some(before) if before != text => Some(((*path).to_owned(), "changed")),
            Some(_) => None,
        });
        let removed = old.keys().filter(|path| !new.contains_key(*path));
        let removed = removed.map(|path| ((*path).to_owned(), "removed"));
        let refresh_seconds = self.stack.parameter("ConfigRefreshSeconds").parse().ok();
        Changed { version, before, files: kept.chain(removed).collect(), refresh_seconds }
    }
}

/// Returns the start of a version, for people.
pub(crate) fn short(version: &str) -> &str {
    version.get(..12).unwrap_or(version)
}

impl Changed {
    fn print(&self, format: Format) -> Result<()> {
        Ok(print_line(&format.text(self, || self.table())?)?)
    }

    fn table(&self) -> String {
        let version = short(&self.version);
        if self.version == self.before {
            return format!(" {version} is in use already: nothing changed.");
        }
        let mut text =
            format!(" {version} is in use now; before, it was {}.\n", short(&self.before));
        for (path, what) in &self.files {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "   {what:7} {path}");
        }
        let _ = match self.refresh_seconds {
            Some(seconds) => write!(text, " The functions take it over within {seconds} s."),
            None => write!(text, " The functions take it over at their next look."),
        };
        text
    }
}

impl Shown<'_> {
    fn table(&self) -> String {
        let datasets = self.datasets.join(", ");
        let mut text = format!(" in use: {}, datasets {datasets}", short(&self.in_use));
        if self.releases.is_empty() {
            text.push_str("\n It is the compiled-in one: none was pushed.");
            return text;
        }
        let mut table = table::table(["version", "pushed at"], 0..0);
        table.add_rows(self.releases.iter().map(|it| [short(&it.version), &it.pushed_at]));
        format!("{text}\n\n{}", table.trim_fmt())
    }
}
