//! Interval, metric, window and rule to begin with.

use super::fields::{AttributeField, MeasureField, Schema};
use super::naming;
use super::plan::{Line, list, quoted};
use super::roles::Roles;
use super::sample::Sample;

/// Plain lengths of an interval, in seconds.
const INTERVALS: [i64; 24] = [
    1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800,
    14_400, 21_600, 28_800, 43_200, 86_400, 604_800,
];

/// Plain sizes of a window, in seconds.
const SIZES: [i64; 12] =
    [60, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800];

/// Intervals that a window holds.
const INTERVALS_PER_WINDOW: i64 = 5;

/// Size of a window where readings have no interval.
const SIZE_WITHOUT_INTERVAL: i64 = 3_600;

const HOUR: i64 = 3_600;

/// Retention of windows, in hours.
const MIN_RETENTION: i64 = 720;

/// Maximum bytes of the id of a rule.
const MAX_RULE_ID: usize = 100;

/// Maximum values of an attribute that is a dimension of a metric.
const MAX_DIMENSION: usize = 20;

/// Adds the entries that are not the schema. Returns the id of the rule.
pub(super) fn add(
    name: &str,
    sample: &Sample,
    roles: &Roles<'_>,
    schema: &mut Schema,
) -> Option<String> {
    let interval = if roles.key.is_unique { None } else { interval(sample, roles) };
    if let Some(seconds) = interval {
        let length = length(seconds);
        let why = "the usual distance between two readings of an entity";
        schema.plan.interval = Some(Line::new("interval", quoted(&length), why));
        schema.assume("", "interval", format!("{length}: {why}"));
    }
    let dimension = dimension(roles, schema);
    add_metric(name, dimension.as_deref(), schema);
    add_window(name, interval, dimension.as_deref(), roles, schema);
    add_rule(name, roles, schema)
}

/// Returns the median distance of the readings of one entity as a plain length; `None` if fewer
/// than three in five are near it.
fn interval(sample: &Sample, roles: &Roles<'_>) -> Option<i64> {
    let times = roles.times()?;
    let mut readings: Vec<(Vec<Option<&str>>, i64)> = Vec::new();
    for row in 0..sample.rows {
        let entity = roles.key.entity.iter().map(|at| roles.profiles[*at].column.cells[row].text());
        let instant = times.instants[row].map(jiff::Timestamp::as_second);
        readings.extend(instant.map(|second| (entity.collect(), second)));
    }
    readings.sort();
    readings.dedup();
    let pairs = readings.iter().zip(readings.iter().skip(1));
    let same = pairs.filter(|(one, other)| one.0 == other.0);
    let mut distances: Vec<_> = same.map(|(one, other)| other.1 - one.1).collect();
    distances.sort_unstable();
    let median = *distances.get(distances.len() / 2)?;
    let is_near = |one: i64, other: i64| (one - other).abs() * 10 <= other;
    let near = distances.iter().filter(|distance| is_near(**distance, median)).count();
    if near * 5 < distances.len() * 3 {
        return None;
    }
    INTERVALS.into_iter().find(|plain| is_near(median, *plain))
}

/// Returns a length of time as configuration writes it.
fn length(seconds: i64) -> String {
    match seconds {
        _ if seconds % HOUR == 0 => format!("{}h", seconds / HOUR),
        _ if seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// Returns the attribute with few values that a metric is best counted by.
fn dimension(roles: &Roles<'_>, schema: &Schema) -> Option<String> {
    let is_free = |it: &&AttributeField| !roles.is_key(it.column);
    let lists = schema.attributes.iter().filter(is_free).filter(|it| it.list.is_some());
    let list = lists.max_by_key(|it| it.list.as_ref().map(Vec::len));
    let values = |it: &AttributeField| roles.profiles[it.column].counts.len();
    let is_small = |it: &&AttributeField| {
        let repeats = values(it) * 3 <= roles.profiles[it.column].filled;
        (2..=MAX_DIMENSION).contains(&values(it))
            && repeats
            && roles.profiles[it.column].times().is_none()
    };
    let small = || schema.attributes.iter().filter(is_small).max_by_key(|it| values(it));
    list.or_else(small).map(|it| it.name.clone())
}

fn add_metric(name: &str, dimension: Option<&str>, schema: &mut Schema) {
    let by = dimension.unwrap_or("dataset");
    schema.plan.metric = vec![
        Line::new("name", quoted(name), format!("events by {by}")),
        Line::new("dimensions", list([by]), "each value is a series with a monthly price"),
    ];
    schema.assume("", "metrics", format!("number of events by {by}"));
}

fn add_window(
    name: &str,
    interval: Option<i64>,
    dimension: Option<&str>,
    roles: &Roles<'_>,
    schema: &mut Schema,
) {
    let key = match (roles.key.is_unique, dimension) {
        (false, _) => "entity",
        (true, Some(dimension)) => dimension,
        (true, None) => return,
    };
    let wanted = interval.map(|seconds| seconds * INTERVALS_PER_WINDOW);
    let size = match wanted {
        None => SIZE_WITHOUT_INTERVAL,
        Some(wanted) => SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(604_800),
    };
    let lateness = (size * 2).max(HOUR);
    let delay = if size < HOUR { 5 } else { 60 };
    let retention = MIN_RETENTION.max(lateness / HOUR);
    let measures = schema.measures.iter().filter(|it| !it.is_coordinate).take(2);
    let measures: Vec<_> = measures.map(|it| it.name.clone()).collect();
    let id = format!("{}-{}", name.replace('_', "-"), length(size));
    let why = match interval {
        Some(_) => "at least five intervals",
        None => "the readings of an entity have no regular distance",
    };
    let line =
        |key: &str, seconds: i64, comment: &str| Line::new(key, quoted(&length(seconds)), comment);
    schema.plan.window = vec![
        Line::new("id", quoted(&id), ""),
        Line::new("key", list([key]), ""),
        line("size", size, why),
        line("delay", delay, "a window closes this long after its end"),
        line("allowed_lateness", lateness, "after that, a reading is late"),
        Line::new("retention", quoted(&format!("{retention}h")), ""),
        Line::new("measures", list(&measures), "the first two"),
    ];
    schema.assume("", "windows", format!("{id} by {key}: {why}"));
}

fn add_rule(name: &str, roles: &Roles<'_>, schema: &mut Schema) -> Option<String> {
    let of_measure = |it: &MeasureField| {
        let rows = (0..it.values.len()).filter(|row| roles.is_event(*row));
        let values: Vec<_> = rows.filter_map(|row| it.values[row]).collect();
        Some((it.name.clone(), threshold(values)?))
    };
    let mut plain = schema.measures.iter().filter(|it| !it.is_elapsed && !it.is_coordinate);
    let plain = plain.find_map(of_measure);
    let measure = plain.or_else(|| schema.measures.iter().find_map(of_measure));
    let (id, when, title, why) = if let Some((measure, level)) = measure {
        let id = rule_id(format!("{name}-high-{}", measure.replace('_', "-")));
        let title = format!("{{entity}}: {measure} is {{measures.{measure}}}");
        let why = "above 99 in 100 values of the sample, below the highest";
        (id, format!("event.measures.{measure} > {level:?}"), title, why)
    } else {
        let (attribute, value) = rarest(schema)?;
        let id = format!("{name}-{}-{}", attribute.replace('_', "-"), naming::snake(&value));
        let id = rule_id(id);
        let title = format!("{{entity}}: {attribute} is {{attributes.{attribute}}}");
        let when = format!("event.attributes.{attribute} == {}", serde_json::Value::from(value));
        (id, when, title, "the rarest value of the sample")
    };
    // An alert of a table without repeating entities is about the row.
    let key = if roles.key.is_unique { "{event_id}" } else { "{entity}" };
    schema.plan.rule = vec![
        Line::new("id", quoted(&id), "an example: replace it by what somebody has to know"),
        Line::new("severity", quoted("info"), ""),
        Line::new("when", quoted(&when), why),
        Line::new("title", quoted(&title), ""),
        Line::new("key", quoted(key), ""),
        Line::new("cooldown", quoted("1h"), ""),
    ];
    schema.assume("", "rules", format!("{id}: {when}"));
    Some(id)
}

/// Returns an id that is short enough for a rule. All its characters are ASCII.
fn rule_id(mut id: String) -> String {
    id.truncate(MAX_RULE_ID);
    id.truncate(id.trim_end_matches(['-', '_']).len());
    id
}

/// Returns the value of a closed list that the fewest rows have.
fn rarest(schema: &Schema) -> Option<(String, String)> {
    let lists = schema.attributes.iter().filter_map(|it| Some((it, it.list.as_ref()?)));
    let values = lists.flat_map(|(it, list)| list.iter().map(move |value| (it, value)));
    let (attribute, (value, _)) = values.min_by_key(|(_, (_, count))| *count)?;
    Some((attribute.name.clone(), value.clone()))
}

/// Returns a plain number at or above the 99th percentile and below the highest value.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a rank among few values"
)]
fn threshold(values: Vec<f64>) -> Option<f64> {
    let mut sorted = values;
    sorted.sort_by(f64::total_cmp);
    let highest = *sorted.last()?;
    let rank = (sorted.len() as f64 * 0.99).ceil() as usize;
    let percentile = sorted[rank.max(1) - 1];
    let below = || sorted.iter().rev().find(|value| **value < highest).copied();
    let low = if percentile < highest { percentile } else { below()? };
    for digits in -12..=9 {
        let step = 10_f64.powi(-digits);
        let level = (low / step).ceil() * step;
        // The product is not exact: 0.1 * 3 has 17 digits.
        let level = format!("{level:.*}", usize::try_from(digits).unwrap_or(0)).parse().ok()?;
        if (low..highest).contains(&level) {
            return Some(level);
        }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threshold_is_plain_and_below_highest() {
        let of = |values: &[f64]| threshold(values.to_vec());
        assert_eq!(of(&[1.0, 2.0, 17.23, 31.87]), Some(20.0));
        assert_eq!(of(&[0.11, 0.12]), Some(0.11));
        assert_eq!(of(&[-7.5, -3.25]), Some(-7.0));
        assert_eq!(of(&[5.0, 5.0]), None);
        let many: Vec<_> = (0..1_000).map(f64::from).collect();
        assert_eq!(of(&many), Some(990.0));
    }

    #[test]
    fn length_has_one_unit() {
        assert_eq!([90, 900, 3_600, 604_800].map(length), ["90s", "15m", "1h", "168h"]);
    }
}
