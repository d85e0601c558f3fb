//! `tributary quarantine`: lists, shows and replays bad rows.

mod filter;
mod headers;
mod index;
mod late;
mod layer;
mod outcome;
mod replay;
mod show;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use tributary_aws::clients::SdkConfig;
use tributary_operate::quarantine::QuarantinedRow;

use self::filter::{Place, RowFilter};
use self::index::{Index, Listing};
use self::show::Decoded;
use crate::output::{eprint_line, print_line};
use crate::stack::with_aws;
use crate::summary::Format;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Counts the rows in quarantine by dataset, code and field
    List(List),
    /// Shows bad rows, decoded
    Show(Show),
    /// Sends bad rows to RAW again, repaired or not; a dry run unless --yes
    Replay(Box<replay::Arguments>),
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    filter: RowFilter,

    /// Format of the counts
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(clap::Args)]
struct Show {
    /// Record ids, like --record-id
    #[arg(value_name = "RECORD_ID")]
    ids: Vec<String>,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    filter: RowFilter,

    /// Maximum number of rows
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,

    /// Format of the rows; json is one object per line
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs the subcommand. Exit codes: 0 when done, 1 when rows are left over, 2 for bad arguments and
/// for data that cannot be read or written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    with_aws(async |config| match &arguments.verb {
        Verb::List(arguments) => arguments.run(config).await,
        Verb::Show(arguments) => arguments.run(config).await,
        Verb::Replay(arguments) => replay::run(arguments, config).await,
    })
}

impl List {
    async fn run(&self, config: &SdkConfig) -> Result<ExitCode> {
        self.filter.check()?;
        let (layer, _) = self.place.open(config).await?;
        let listing = Listing::of(&Index::read(&layer, &self.filter).await?);
        print_line(&self.format.text(&listing, || listing.table())?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(&self, config: &SdkConfig) -> Result<ExitCode> {
        let mut filter = self.filter.clone();
        filter.check()?;
        filter.record_ids.extend(self.ids.iter().cloned());
        let (layer, _) = self.place.open(config).await?;
        let index = Index::read(&layer, &filter).await?;
        let (mut selected, more) = index.select(self.limit, index.wanted());
        let mut fetch = layer.fetch(selected.objects.clone());
        while let Some((key, bytes)) = fetch.next().await? {
            for line in selected.lines(&key, &bytes) {
                let row = QuarantinedRow::from_json(&line)?;
                let state = index.marks.state(&row.record_id, row.rejected_at);
                let decoded = Decoded::of(&row, state, None);
                print_line(&match self.format {
                    Format::Table => decoded.text()?,
                    Format::Json => serde_json::to_string(&decoded)?,
                })?;
            }
        }
        if more > 0 {
            eprint_line(&format!("tributary: {more} more rows; --limit shows more of them"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
