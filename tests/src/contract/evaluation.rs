//! Evaluates the alarms of the template over metric series, as `CloudWatch` does: statistics by
//! period, metric math, missing data.
//!
//! See
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html> and
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Value, json};

use super::math::Expression;
use super::template::{Template, list, text};

/// Periods beyond `EvaluationPeriods` from which `CloudWatch` takes real points first.
const EXTRA_PERIODS: i64 = 2;

/// Name of every stack here.
pub const STACK: &str = "s";

/// Metric values by minute, for each metric.
#[derive(Clone, Debug, Default)]
pub struct Series(BTreeMap<Metric, BTreeMap<i64, Vec<f64>>>);

/// Metric: namespace, name and dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
}

impl Metric {
    fn of(template: &Template, metric: &Value) -> Self {
        let dimensions = list(&metric["Dimensions"]).into_iter();
        let dimensions = dimensions.map(|it| (text(&it["Name"]), named(template, &it["Value"])));
        Self {
            namespace: named(template, &metric["Namespace"]),
            name: text(&metric["MetricName"]),
            dimensions: dimensions.collect(),
        }
    }
}

impl Series {
    /// Adds a value of a metric in each of these minutes.
    pub fn add(
        &mut self,
        minutes: Range<i64>,
        [namespace, name]: [&str; 2],
        dimensions: &[(&str, &str)],
        value: f64,
    ) {
        let owned = |(name, of): &(&str, &str)| ((*name).to_owned(), (*of).to_owned());
        let dimensions = dimensions.iter().map(owned).collect();
        let metric = Metric { namespace: namespace.into(), name: name.into(), dimensions };
        let values = self.0.entry(metric).or_default();
        for minute in minutes {
            values.entry(minute).or_default().push(value);
        }
    }

    /// Removes the values of the metrics of one resource in these minutes: of a name, or of all.
    pub fn remove(&mut self, minutes: &Range<i64>, name: Option<&str>, of: &str) {
        let is_it = |metric: &Metric| {
            name.is_none_or(|name| metric.name == name)
                && metric.dimensions.values().any(|it| it == of)
        };
        for (_, values) in self.0.iter_mut().filter(|(metric, _)| is_it(metric)) {
            values.retain(|minute, _| !minutes.contains(minute));
        }
    }

    /// Returns the statistic of a period of `minutes` that ends at `end`; `None` without data.
    fn statistic(&self, metric: &Metric, name: &str, end: i64, minutes: i64) -> Option<f64> {
        let values = self.0.get(metric)?.range(end - minutes..end).flat_map(|(_, it)| it.iter());
        let values: Vec<f64> = values.copied().collect();
        match name {
            _ if values.is_empty() => None,
            "Sum" => Some(values.iter().sum()),
            "Maximum" => values.into_iter().reduce(f64::max),
            "Minimum" => values.into_iter().reduce(f64::min),
            other => {
                debug_assert_eq!(other, "Average", "no alarm has this statistic");
                #[expect(clippy::cast_precision_loss, reason = "a handful of values")]
                Some(values.iter().sum::<f64>() / values.len() as f64)
            }
        }
    }
}

/// Returns the names of the alarms that are raised at a minute, in a stack with these parameters.
///
/// # Errors
///
/// When an expression of an alarm cannot be read.
pub fn raised(
    template: &Template,
    parameters: &BTreeMap<String, String>,
    series: &Series,
    minute: i64,
) -> Result<BTreeSet<String>, String> {
    let mut raised = BTreeSet::new();
    for (id, alarm) in template.of_type("AWS::CloudWatch::Alarm") {
        let properties = &alarm["Properties"];
        let fault = |error| format!("{id}: {error}");
        if template.has(alarm, parameters)
            && is_raised(template, properties, series, minute).map_err(fault)?
        {
            let name = named(template, &properties["AlarmName"]);
            raised.insert(name.trim_start_matches(&format!("{STACK}-")).to_owned());
        }
    }
    Ok(raised)
}

/// Returns true if an alarm can be raised, and false if it cannot: with its metrics at zero, far
/// above every threshold, or missing.
///
/// # Errors
///
/// When an expression of the alarm cannot be read.
pub fn can_change(template: &Template, alarm: &Value) -> Result<bool, String> {
    let points = Points::of(template, alarm)?;
    let metrics: Vec<_> = points.metrics.values().map(|(metric, _)| metric.clone()).collect();
    let states = [None, Some(0.0), Some(1e15)];
    let minutes = points.minutes * 10;
    let mut seen = BTreeSet::new();
    for code in 0..states.len().pow(u32::try_from(metrics.len()).unwrap_or(0)) {
        let mut series = Series::default();
        for (at, metric) in metrics.iter().enumerate() {
            let state = code / states.len().pow(u32::try_from(at).unwrap_or(0)) % states.len();
            if let Some(value) = states[state] {
                let values = (0..minutes).map(|minute| (minute, vec![value]));
                series.0.insert(metric.clone(), values.collect());
            }
        }
        seen.insert(is_raised(template, alarm, &series, minutes)?);
    }
    Ok(seen.len() == 2)
}

fn is_raised(
    template: &Template,
    alarm: &Value,
    series: &Series,
    minute: i64,
) -> Result<bool, String> {
    let number = |value: &Value| template.number(value);
    let periods = number(&alarm["EvaluationPeriods"]).ok_or("no EvaluationPeriods")?;
    let needed = number(&alarm["DatapointsToAlarm"]).unwrap_or(periods);
    let threshold: f64 =
        template.sample(&alarm["Threshold"]).parse().map_err(|_| "Threshold is no number")?;
    let is_breach = |point: f64| match text(&alarm["ComparisonOperator"]).as_str() {
        "GreaterThanOrEqualToThreshold" => point >= threshold,
        "GreaterThanThreshold" => point > threshold,
        "LessThanThreshold" => point < threshold,
        _ => point <= threshold,
    };
    let points = Points::of(template, alarm)?;
    let minutes = points.minutes;
    let newest_first = (0..periods + EXTRA_PERIODS)
        .map(|back| points.at(series, minute - back * minutes))
        .collect::<Result<Vec<_>, _>>()?;
    let usize_of = |it: i64| usize::try_from(it).unwrap_or_default();
    let real: Vec<f64> = newest_first.into_iter().flatten().take(usize_of(periods)).collect();
    let missing = usize_of(periods).saturating_sub(real.len());
    let of_missing = if alarm["TreatMissingData"] == "breaching" { missing } else { 0 };
    let breaches = real.into_iter().filter(|point| is_breach(*point)).count() + of_missing;
    Ok(breaches >= usize_of(needed))
}

/// Points of an alarm: the statistic of one metric, or an expression over several.
struct Points {
    /// Period, in minutes.
    minutes: i64,
    /// Metrics and their statistics, by id.
    metrics: BTreeMap<String, (Metric, String)>,
    expression: Expression,
}

impl Points {
    fn of(template: &Template, alarm: &Value) -> Result<Self, String> {
        let minutes = |period: &Value| {
            template.number(period).map(|seconds| seconds / 60).ok_or("a metric has no Period")
        };
        let queries = list(&alarm["Metrics"]);
        if queries.is_empty() {
            let metric = (Metric::of(template, alarm), text(&alarm["Statistic"]));
            return Ok(Self {
                minutes: minutes(&alarm["Period"])?,
                metrics: BTreeMap::from([("metric".to_owned(), metric)]),
                expression: Expression::parse("metric")?,
            });
        }
        let mut periods = BTreeSet::new();
        let mut metrics = BTreeMap::new();
        let mut expression = Err("no expression".to_owned());
        for query in queries {
            let stat = &query["MetricStat"];
            if stat.is_null() {
                expression = Expression::parse(&named(template, &query["Expression"]));
                continue;
            }
            periods.insert(minutes(&stat["Period"])?);
            let metric = (Metric::of(template, &stat["Metric"]), text(&stat["Stat"]));
            metrics.insert(text(&query["Id"]), metric);
        }
        let minutes = periods.pop_first().filter(|_| periods.is_empty());
        let minutes = minutes.ok_or("its metrics differ in their Period")?;
        Ok(Self { minutes, metrics, expression: expression? })
    }

    /// Returns the point of the period that ends at `end`; `None` if it is missing.
    fn at(&self, series: &Series, end: i64) -> Result<Option<f64>, String> {
        self.expression.value(&|id| {
            let (metric, statistic) =
                self.metrics.get(id).ok_or_else(|| format!("no metric {id}"))?;
            Ok(series.statistic(metric, statistic, end, self.minutes))
        })
    }
}

/// Returns the name that a value has in the stack [`STACK`]: of a resource its own name, or else
/// its logical id.
fn named(template: &Template, value: &Value) -> String {
    if let Some(branches) = value["Fn::If"].as_array() {
        let condition = json!({ "Condition": branches[0] });
        let holds = template.holds(&condition, &BTreeMap::new()) == Some(true);
        return named(template, &branches[if holds { 1 } else { 2 }]);
    }
    if value["Fn::GetAtt"].is_array() {
        return named(template, &json!({ "Ref": value["Fn::GetAtt"][0] }));
    }
    if let Some(id) = value["Ref"].as_str() {
        let properties = &template.resource(id)["Properties"];
        let own = ["FunctionName", "Name", "QueueName", "TopicName", "TableName"];
        let own = own.iter().chain(&["DeliveryStreamName"]).map(|name| &properties[*name]);
        return match own.into_iter().find(|it| !it.is_null()) {
            Some(name) => named(template, name),
            None => template.sample(value),
        };
    }
    let mut name = template.sample(value).replace("${AWS::StackName}", STACK);
    for (parameter, declared) in template.0["Parameters"].as_object().into_iter().flatten() {
        name = name.replace(&format!("${{{parameter}}}"), &text(&declared["Default"]));
    }
    name
}
