//! Batch counts from CloudWatch metrics, and the counts of event source mappings.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, anyhow};
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use jiff::{SignedDuration, Timestamp};
use tributary_aws::clients::SdkConfig;
use tributary_model::counts::BatchCounts;
use tributary_operate::reconciliation::{FunctionSeries, MappingCounts, MappingSeries, TimeRange};

use crate::stack::{Stack, why};

/// Maximum number of queries per `GetMetricData` call.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>
const MAX_QUERIES: usize = 500;

/// Metric name and the field that holds its value.
type Count<C> = (&'static str, fn(&mut C) -> &mut u64);

const COUNTS: [Count<BatchCounts>; 6] = [
    ("in", |it| &mut it.received),
    ("out", |it| &mut it.delivered),
    ("quarantined", |it| &mut it.quarantined),
    ("filtered", |it| &mut it.filtered),
    ("late", |it| &mut it.late),
    ("undelivered", |it| &mut it.undelivered),
];

/// Metrics of an event source mapping.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics>
const MAPPING: [Count<MappingCounts>; 6] = [
    ("PolledEventCount", |it| &mut it.polled),
    ("FilteredOutEventCount", |it| &mut it.filtered_out),
    ("InvokedEventCount", |it| &mut it.invoked),
    ("FailedInvokeEventCount", |it| &mut it.failed),
    ("DroppedEventCount", |it| &mut it.dropped),
    ("OnFailureDestinationDeliveredEventCount", |it| &mut it.parked),
];

/// Metric to query.
struct Series {
    namespace: String,
    metric: &'static str,
    dimension: (&'static str, String),
}

/// Returns the shortest period that CloudWatch still stores for metrics as old as `since`.
pub(super) fn period(since: Timestamp, now: Timestamp) -> SignedDuration {
    let hours = now.duration_since(since).as_hours();
    match hours {
        ..360 => SignedDuration::from_mins(1),
        360..1_512 => SignedDuration::from_mins(5),
        _ => SignedDuration::from_hours(1),
    }
}

/// Reads the counts of all functions and mappings.
pub(super) async fn read(
    config: &SdkConfig,
    stack: &Stack,
    window: TimeRange,
) -> Result<(Vec<FunctionSeries>, Vec<MappingSeries>)> {
    let namespace = stack.output("MetricsNamespace")?;
    let (names, mappings) = (stack.functions(), mappings(config, stack).await?);
    let of_functions = names.iter().flat_map(|(name, _)| {
        let series = |(metric, _): &Count<BatchCounts>| Series {
            namespace: namespace.to_owned(),
            metric,
            dimension: ("function", name.clone()),
        };
        COUNTS.each_ref().map(series)
    });
    let of_mappings = mappings.iter().flat_map(|(uuid, _)| {
        let series = |(metric, _): &Count<MappingCounts>| Series {
            namespace: "AWS/Lambda".to_owned(),
            metric,
            dimension: ("EventSourceMappingUUID", uuid.clone()),
        };
        MAPPING.each_ref().map(series)
    });
    let series: Vec<_> = of_functions.chain(of_mappings).collect();
    let client = Client::new(config);
    let values = values(&client, &series, window, period(window.since, Timestamp::now())).await?;

    let (of_functions, of_mappings) = values.split_at(names.len() * COUNTS.len());
    let functions = names.into_iter().zip(of_functions.chunks(COUNTS.len()));
    let functions = functions
        .map(|((name, _), values)| FunctionSeries { name, points: points(&COUNTS, values) })
        .collect();
    let mappings = mappings.into_iter().zip(of_mappings.chunks(MAPPING.len()));
    let mappings = mappings
        .map(|((_, counts), values)| MappingSeries { points: points(&MAPPING, values), ..counts })
        .collect();
    Ok((functions, mappings))
}

/// Merges the values of several metrics by time.
fn points<C: Copy + Default>(
    counts: &[Count<C>],
    values: &[Vec<(Timestamp, f64)>],
) -> Vec<(Timestamp, C)> {
    let mut points: BTreeMap<Timestamp, C> = BTreeMap::new();
    for ((_, field), values) in counts.iter().zip(values) {
        for (at, value) in values {
            *field(points.entry(*at).or_default()) += whole(*value);
        }
    }
    points.into_iter().collect()
}

#[expect(clippy::cast_sign_loss, reason = "a count")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// Lists the event source mappings of all functions, with their ids.
async fn mappings(config: &SdkConfig, stack: &Stack) -> Result<Vec<(String, MappingSeries)>> {
    let client = aws_sdk_lambda::Client::new(config);
    let mut found = Vec::new();
    for (name, function) in stack.functions() {
        let request = client.list_event_source_mappings().function_name(&function);
        let mut pages = request.into_paginator().items().send();
        while let Some(mapping) = pages.next().await {
            let mapping = mapping.map_err(|error| {
                anyhow!("the mappings of {function} cannot be listed: {}", why(&error))
            })?;
            let Some(uuid) = mapping.uuid else { continue };
            // A mapping of self-managed Kafka has topics in place of an ARN.
            let topics = mapping.topics.unwrap_or_default();
            let arn = mapping.event_source_arn.unwrap_or_default();
            let source = match topics.first() {
                Some(topic) => topic.clone(),
                None => arn.rsplit([':', '/']).next().unwrap_or_default().to_owned(),
            };
            found
                .push((uuid, MappingSeries { function: name.clone(), source, points: Vec::new() }));
        }
    }
    Ok(found)
}

/// Reads the sums of each metric per period.
async fn values(
    client: &Client,
    series: &[Series],
    window: TimeRange,
    period: SignedDuration,
) -> Result<Vec<Vec<(Timestamp, f64)>>> {
    let first = window.since.checked_sub(window.slack).unwrap_or(window.since);
    let first = super::floor(first, period)?;
    let mut values = vec![Vec::new(); series.len()];
    for (chunk, part) in series.chunks(MAX_QUERIES).enumerate() {
        let queries = part.iter().enumerate().map(|(number, series)| query(number, series, period));
        let request = client
            .get_metric_data()
            .set_metric_data_queries(Some(queries.collect()))
            .start_time(DateTime::from_secs(first.as_second()))
            .end_time(DateTime::from_secs(window.until.as_second()));
        let mut pages = request.into_paginator().send();
        let numbers: HashMap<_, _> = (0..part.len()).map(|number| (id(number), number)).collect();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| anyhow!("the metrics cannot be read: {}", why(&error)))?;
            for result in page.metric_data_results.unwrap_or_default() {
                let number = result.id.as_ref().and_then(|id| numbers.get(id));
                let Some(number) = number else { continue };
                let times = result.timestamps.unwrap_or_default();
                let points = times.iter().zip(result.values.unwrap_or_default());
                let points = points.filter_map(|(time, value)| {
                    Some((Timestamp::from_second(time.secs()).ok()?, value))
                });
                values[chunk * MAX_QUERIES + number].extend(points);
            }
        }
    }
    Ok(values)
}

fn id(number: usize) -> String {
    format!("s{number}")
}

fn query(number: usize, series: &Series, period: SignedDuration) -> MetricDataQuery {
    let (name, value) = &series.dimension;
    let metric = Metric::builder()
        .namespace(&series.namespace)
        .metric_name(series.metric)
        .dimensions(Dimension::builder().name(*name).value(value).build())
        .build();
    let seconds = i32::try_from(period.as_secs()).unwrap_or(60);
    let stat = MetricStat::builder().metric(metric).period(seconds).stat("Sum").build();
    MetricDataQuery::builder().id(id(number)).metric_stat(stat).build()
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
    use aws_sdk_cloudwatch::types::MetricDataResult;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_168_800 + second).unwrap()
    }

    fn result(id: &str, points: &[(i64, f64)]) -> MetricDataResult {
        let times = points.iter().map(|(second, _)| DateTime::from_secs(at(*second).as_second()));
        let values = points.iter().map(|(_, value)| *value);
        MetricDataResult::builder()
            .id(id)
            .set_timestamps(Some(times.collect()))
            .set_values(Some(values.collect()))
            .build()
    }

    #[tokio::test]
    async fn metric_pages_merge_into_counts_per_minute() {
        let first = mock!(Client::get_metric_data)
            .match_requests(|request| {
                let queries = request.metric_data_queries();
                let metric = queries[1].metric_stat().unwrap().metric().unwrap();
                let dimension = &metric.dimensions()[0];
                request.next_token().is_none()
                    && queries.len() == 6
                    && request.start_time().unwrap().secs() == at(-300).as_second()
                    && request.end_time().unwrap().secs() == at(3_600).as_second()
                    && metric.metric_name() == Some("out")
                    && (dimension.name(), dimension.value())
                        == (Some("function"), Some("transform"))
            })
            .then_output(|| {
                GetMetricDataOutput::builder()
                    .metric_data_results(result("s0", &[(60, 10.0), (0, 3.0)]))
                    .metric_data_results(result("s1", &[(60, 9.0), (0, 3.0)]))
                    .next_token("more")
                    .build()
            });
        let second = mock!(Client::get_metric_data)
            .match_requests(|request| request.next_token() == Some("more"))
            .then_output(|| {
                let results = [result("s2", &[(60, 1.0)]), result("s0", &[(120, 1.0)])];
                GetMetricDataOutput::builder().set_metric_data_results(Some(results.into())).build()
            });
        let client = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&first, &second]);
        let series = COUNTS.map(|(metric, _)| Series {
            namespace: "Tributary/dev".to_owned(),
            metric,
            dimension: ("function", "transform".to_owned()),
        });
        let window =
            TimeRange { since: at(0), until: at(3_600), slack: SignedDuration::from_secs(300) };

        let values = values(&client, &series, window, SignedDuration::from_mins(1)).await.unwrap();

        let counts = |received, delivered, quarantined| BatchCounts {
            received,
            delivered,
            quarantined,
            ..BatchCounts::default()
        };
        let expected =
            vec![(at(0), counts(3, 3, 0)), (at(60), counts(10, 9, 1)), (at(120), counts(1, 0, 0))];
        assert_eq!(points(&COUNTS, &values), expected);
    }

    #[test]
    fn older_metrics_use_longer_periods() {
        let now = at(0);
        let minutes = |days: i64| {
            let since = now.checked_sub(SignedDuration::from_hours(24 * days)).unwrap();
            period(since, now).as_mins()
        };
        assert_eq!(
            [minutes(0), minutes(14), minutes(15), minutes(62), minutes(63), minutes(400)],
            [1, 1, 5, 5, 60, 60]
        );
    }
}
