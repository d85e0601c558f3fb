//! Metrics of the simulation, with limits on series that its feed exceeds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use serde_json::Value;
use tributary_config::Configuration;
use tributary_model::config_error::ConfigError;
use tributary_model::time::period;
use tributary_pipeline::metric::{Datum, MetricSpec};

use super::oracle::{Found, Verdict};
use super::world::World;

/// Maximum number of series of each metric and day.
const MAX_SERIES: usize = 3;

/// Name of a metric, names of its dimensions, and number of the day.
type MetricOfDay<'d> = (&'d str, Vec<&'d str>, i64);

/// Returns the metrics of a configuration, with lower limits.
pub(super) fn specs(configuration: &Configuration) -> Result<Vec<MetricSpec>, ConfigError> {
    let specs = configuration.metrics()?.into_iter();
    Ok(specs.map(|spec| MetricSpec { max_series: MAX_SERIES, ..spec }).collect())
}

/// Checks that metrics count each event at least once, and that the limits on series hold.
pub(super) fn evaluate(verdict: &mut Verdict, world: &World, found: &Found) {
    let data = world.metrics.data();
    let of_accidents = |event: &&Value| event["dataset"] == "accidents";
    let events = found.events.values().filter(of_accidents).count();
    let by_severity = data.iter().filter(|datum| {
        datum.name == "accidents" && datum.dimensions.iter().any(|it| it.0 == "severity")
    });
    let counted: f64 = by_severity.flat_map(|datum| &datum.counts).sum();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let events = events as f64;
    if counted < events {
        verdict.losses.push(format!("{events} accidents, but {counted} in the metrics"));
    }

    let limit = MAX_SERIES * (1 + batches_without_store(world));
    for ((name, dimensions, day), series) in series_of_days(&data) {
        let count = series.len();
        if count > limit {
            let of = format!("{name} by {dimensions:?} on day {day}");
            verdict.faults.push(format!("{count} series of {of}: expected {limit} at most"));
        }
    }
}

/// Returns the dimension values of the data by metric, dimension names and day, without `other`.
fn series_of_days(data: &[Datum]) -> BTreeMap<MetricOfDay<'_>, BTreeSet<Vec<&str>>> {
    let mut days: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for Datum { name, dimensions, time, .. } in data {
        let (names, values): (Vec<_>, Vec<_>) =
            dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
        if values.iter().any(|value| *value != "other") {
            days.entry((name.as_str(), names, period(*time, 86_400))).or_default().insert(values);
        }
    }
    days
}

/// Returns the maximum number of batches in which a limit held for that batch alone: those that
/// report it, and those that were killed or failed before they could.
fn batches_without_store(world: &World) -> usize {
    let log_lines = world.log_lines.lock().unwrap_or_else(PoisonError::into_inner);
    let of_metrics = |line: &&Value| line["function"] == "metrics" && line["message"] == "batch";
    let lines: Vec<_> = log_lines.iter().filter(of_metrics).collect();
    let reported = lines.iter().filter(|line| line["limit_errors"] != 0).count();
    let invocations = usize::try_from(world.functions.metrics.invocations()).unwrap_or(usize::MAX);
    reported + invocations.saturating_sub(lines.len())
}
