//! `tributary windows`: stored windows of one group.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::ArgGroup;
use jiff::Timestamp;
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::env::Env;
use tributary_aws::windows::{Item, Range, WindowStore, WindowTable};
use tributary_cassandra::ClusterConfig;
use tributary_datasets::Datasets;
use tributary_windows::{Phase, Spec, Window};

use crate::configuration::{ConfigArguments, named};
use crate::output::print_line;
use crate::stack::{Stack, with_aws};
use crate::summary::Format;
use crate::table::table;
use crate::units::{self, Start};

/// Maximum number of windows per command: all of them are held in memory.
const MAX_WINDOWS: usize = 100_000;

#[derive(clap::Args)]
#[command(group = ArgGroup::new("store").required(true).args(["stack", "table", "cassandra", "keyspaces"]))]
pub(crate) struct Arguments {
    /// Dataset
    dataset: String,

    /// Group: a device, a state; the parts of a composite key joined by /
    key: String,

    #[command(flatten)]
    configuration: ConfigArguments,

    /// Window spec, by its id [default: the shortest windows of the dataset]
    #[arg(long, value_name = "ID")]
    spec: Option<String>,

    /// Earliest start of a window, inclusive: a date or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = units::start)]
    from: Option<Start>,

    /// Latest start of a window, exclusive: a date or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = units::start)]
    to: Option<Start>,

    /// Maximum number of windows, the newest ones
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Stack whose store is read
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,

    /// Without a stack: DynamoDB table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,

    /// Without a stack: Cassandra nodes; the role comes from `CASSANDRA_USER` and
    /// `CASSANDRA_PASSWORD`
    #[arg(long, value_name = "HOST:PORT,…")]
    cassandra: Option<String>,

    /// Without a stack: Amazon Keyspaces, with the region and credentials of the AWS environment
    #[arg(long)]
    keyspaces: bool,

    /// Keyspace in Cassandra or Keyspaces
    #[arg(long, value_name = "NAME", default_value = "tributary", conflicts_with_all = ["stack", "table"])]
    keyspace: String,

    /// Format of the windows; json is one event per line
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints the windows. Exit codes: 0, with or without windows; 2 for read errors and bad arguments.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let configuration = arguments.configuration.load()?;
    let specs = configuration.window_specs()?;
    let spec = choose(&configuration.datasets, &specs, arguments)?;
    let range = range(arguments)?;
    with_aws(async |config| match place(arguments, config).await? {
        Place::Table(name) => {
            let table = WindowTable::new(clients::dynamodb(config), name);
            show(&table, spec, range, arguments).await
        }
        Place::Cluster(cluster) => show(&cluster.open(config).await?, spec, range, arguments).await,
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the requested spec, or the one with the shortest windows.
fn choose<'s>(datasets: &Datasets, specs: &'s [Spec], arguments: &Arguments) -> Result<&'s Spec> {
    let dataset = named(datasets, &arguments.dataset)?;
    let dataset = dataset.name();
    let mut specs: Vec<_> = specs.iter().filter(|spec| spec.dataset == dataset).collect();
    specs.sort_by_key(|spec| spec.size);
    let ids: Vec<_> = specs.iter().map(|spec| spec.id.as_str()).collect();
    let Some(wanted) = &arguments.spec else {
        return specs.first().copied().with_context(|| format!("{dataset} has no windows"));
    };
    let found = specs.iter().copied().find(|spec| spec.id == *wanted);
    found.with_context(|| {
        format!("{wanted:?} is no window spec of {dataset}; there are {}", ids.join(", "))
    })
}

fn range(arguments: &Arguments) -> Result<Range> {
    let from = arguments.from.map_or(Timestamp::MIN, Start::time);
    let until = arguments.to.map_or(Timestamp::MAX, Start::time);
    if from >= until {
        bail!("--from is not before --to");
    }
    if arguments.limit == 0 || arguments.limit > MAX_WINDOWS {
        bail!("--limit is 1 to {MAX_WINDOWS}");
    }
    Ok(Range { from, until, limit: arguments.limit })
}

/// Location of the windows.
enum Place {
    /// `DynamoDB` table.
    Table(String),
    /// Cassandra or Keyspaces.
    Cluster(ClusterConfig),
}

/// Returns the location that the arguments name, or that the stack was deployed with.
///
/// A role and its password come from the environment only.
async fn place(arguments: &Arguments, config: &SdkConfig) -> Result<Place> {
    let keyspace = arguments.keyspace.clone();
    if let Some(name) = &arguments.stack {
        let stack = Stack::read(config, name).await?;
        let keyspace = stack.parameter("CassandraKeyspace").to_owned();
        let datacenter = stack.parameter("CassandraDatacenter");
        return match stack.parameter("WindowStore") {
            "keyspaces" => Ok(Place::Cluster(ClusterConfig::Keyspaces { keyspace })),
            "cassandra" => cassandra(stack.parameter("CassandraNodes"), datacenter, keyspace),
            _ => Ok(Place::Table(stack.output("WindowsTableName")?.to_owned())),
        };
    }
    match (&arguments.table, &arguments.cassandra) {
        (Some(table), _) => Ok(Place::Table(table.clone())),
        (None, Some(nodes)) => cassandra(nodes, "", keyspace),
        (None, None) => Ok(Place::Cluster(ClusterConfig::Keyspaces { keyspace })),
    }
}

fn cassandra(nodes: &str, datacenter: &str, keyspace: String) -> Result<Place> {
    let lookup = |name: &str| std::env::var(name).ok();
    let mut env = Env::new(&lookup);
    let cluster = ClusterConfig::Cassandra {
        keyspace,
        nodes: nodes.split(',').map(|node| node.trim().to_owned()).collect(),
        datacenter: Some(datacenter.to_owned()).filter(|name| !name.is_empty()),
        user: env.text("CASSANDRA_USER"),
        password: env.text("CASSANDRA_PASSWORD"),
    };
    Ok(Place::Cluster(env.finish(cluster)?))
}

async fn show<S: WindowStore>(
    store: &S,
    spec: &Spec,
    range: Range,
    arguments: &Arguments,
) -> Result<()> {
    let group = arguments.key.as_str();
    let items = store.range(&spec.id, group, range).await.map_err(|error| anyhow!("{error}"))?;
    let window = |item: &Item| {
        Window::from_json(&item.body)
            .with_context(|| format!("the window of {} is none", item.key.start))
    };
    let windows: Vec<_> = items.iter().map(window).collect::<Result<_>>()?;
    match arguments.format {
        Format::Json => {
            for window in &windows {
                print_line(&serde_json::to_string(&window.event(spec, group))?)?;
            }
        }
        Format::Table => print_line(&as_table(spec, group, &windows))?,
    }
    Ok(())
}

/// Returns the table: one line per window, with the mean of each measure and the anomaly tags.
fn as_table(spec: &Spec, group: &str, windows: &[Window]) -> String {
    let means = || spec.measures.iter().map(|measure| format!("{measure}_mean"));
    let rates = || spec.rate.iter().map(|measure| format!("{measure}_per_h"));
    let names: Vec<_> = means().chain(rates()).collect();
    let head = ["start", "is", "count"].map(str::to_owned);
    let head = head.into_iter().chain(names.iter().cloned()).chain(["tags".to_owned()]);
    let mut table = table(head, 2..3 + names.len());
    for window in windows {
        let event = window.event(spec, group);
        let number = |name: &str| match event.measures.get(name) {
            Some(value) => format!("{value:.3}"),
            None => "-".to_owned(),
        };
        let is = match (window.phase(), window.revision()) {
            (Phase::Open, _) => "open".to_owned(),
            (_, 0) => "closed".to_owned(),
            (_, revision) => format!("revision {revision}"),
        };
        let count = event.measures.get("count").map_or(0.0, |count| *count);
        let mut row = vec![event.event_time.to_string(), is, format!("{count}")];
        row.extend(names.iter().map(|name| number(name)));
        let tags = event.tags.iter().filter(|tag| **tag != "anomaly");
        row.push(tags.map(AsRef::as_ref).collect::<Vec<_>>().join(" "));
        table.add_row(row);
    }
    let count = windows.len();
    let text = format!(" {count} windows of {} for {group}, newest first", spec.id);
    if windows.is_empty() { text } else { format!("{}\n\n{text}", table.trim_fmt()) }
}
