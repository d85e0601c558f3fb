//! Batch counts from CloudWatch metrics, and the counts of event source mappings.

use std::collections::BTreeMap;

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
pub(super) type Count<C> = (&'static str, fn(&mut C) -> &mut u64);

pub(super) const COUNTS: [Count<BatchCounts>; 6] = [
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
pub(super) const MAPPING: [Count<MappingCounts>; 6] = [
    ("PolledEventCount", |it| &mut it.polled),
    ("FilteredOutEventCount", |it| &mut it.filtered_out),
    ("InvokedEventCount", |it| &mut it.invoked),
    ("FailedInvokeEventCount", |it| &mut it.failed),
    ("DroppedEventCount", |it| &mut it.dropped),
    ("OnFailureDestinationDeliveredEventCount", |it| &mut it.parked),
];

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
    let of_functions =
        names.iter().flat_map(|(name, _)| series(&COUNTS, namespace, ("function", name)));
    let of_mappings = mappings
        .iter()
        .flat_map(|(uuid, _)| series(&MAPPING, "AWS/Lambda", ("EventSourceMappingUUID", uuid)));
    let all = of_functions.chain(of_mappings);
    let client = Client::new(config);
    let values = values(&client, all, window, period(window.since, Timestamp::now())).await?;

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

/// Returns the metrics `counts` of one function or mapping.
fn series<C>(
    counts: &[Count<C>],
    namespace: &str,
    (name, value): (&str, &str),
) -> impl Iterator<Item = Metric> {
    let metric = Metric::builder()
        .namespace(namespace)
        .dimensions(Dimension::builder().name(name).value(value).build());
    counts.iter().map(move |(name, _)| metric.clone().metric_name(*name).build())
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
            let series = MappingSeries { function: name.clone(), source, points: Vec::new() };
            found.push((uuid, series));
        }
    }
    Ok(found)
}

/// Reads the sums of each metric per period.
async fn values(
    client: &Client,
    series: impl IntoIterator<Item = Metric>,
    window: TimeRange,
    period: SignedDuration,
) -> Result<Vec<Vec<(Timestamp, f64)>>> {
    let first = window.since.checked_sub(window.slack).unwrap_or(window.since);
    let first = super::floor(first, period)?;
    let queries: Vec<_> =
        series.into_iter().enumerate().map(|(id, metric)| query(id, metric, period)).collect();
    let mut values = vec![Vec::new(); queries.len()];
    for part in queries.chunks(MAX_QUERIES) {
        let request = client
            .get_metric_data()
            .set_metric_data_queries(Some(part.to_vec()))
            .start_time(DateTime::from_secs(first.as_second()))
            .end_time(DateTime::from_secs(window.until.as_second()));
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| anyhow!("the metrics cannot be read: {}", why(&error)))?;
            for result in page.metric_data_results.unwrap_or_default() {
                let number = result.id.as_deref().and_then(|id| id.strip_prefix('s')?.parse().ok());
                let found = number.and_then(|number: usize| values.get_mut(number));
                let Some(found) = found else { continue };
                let times = result.timestamps.unwrap_or_default();
                let points = times.iter().zip(result.values.unwrap_or_default());
                found.extend(points.filter_map(|(time, value)| {
                    Some((Timestamp::from_second(time.secs()).ok()?, value))
                }));
            }
        }
    }
    Ok(values)
}

fn query(number: usize, metric: Metric, period: SignedDuration) -> MetricDataQuery {
    let seconds = i32::try_from(period.as_secs()).unwrap_or(60);
    let stat = MetricStat::builder().metric(metric).period(seconds).stat("Sum").build();
    MetricDataQuery::builder().id(format!("s{number}")).metric_stat(stat).build()
}

#[cfg(test)]
mod tests {
    use aws_smithy_cbor::data::Type;
    use aws_smithy_cbor::{Decoder, Encoder};
    use serde_json::{Value, json};
    use tributary_testkit::FakeHttp;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_168_800 + second).unwrap()
    }

    /// Values of one metric: id, and seconds with values.
    type Points<'a> = (&'a str, &'a [(i64, f64)]);

    /// Returns the CBOR of a page of results.
    fn page(results: &[Points<'_>], next_token: Option<&str>) -> Vec<u8> {
        let mut page = Encoder::new(Vec::new());
        page.begin_map().str("MetricDataResults").array(results.len());
        for (id, points) in results {
            page.map(3).str("Id").str(id).str("Timestamps").array(points.len());
            for (second, _) in *points {
                page.timestamp(&DateTime::from_secs(at(*second).as_second()));
            }
            page.str("Values").array(points.len());
            for (_, value) in *points {
                page.double(*value);
            }
        }
        if let Some(token) = next_token {
            page.str("NextToken").str(token);
        }
        page.end();
        page.into_writer()
    }

    /// Decodes the next CBOR value; a timestamp becomes its seconds.
    fn decode(from: &mut Decoder<'_>) -> Value {
        match from.datatype().unwrap() {
            Type::String => from.string().unwrap().into(),
            Type::Tag => from.timestamp().unwrap().secs().into(),
            Type::Array => {
                let length = from.list().unwrap().unwrap();
                (0..length).map(|_| decode(from)).collect()
            }
            Type::MapIndef => {
                assert_eq!(from.map().unwrap(), None);
                let mut fields = serde_json::Map::new();
                while from.datatype().unwrap() != Type::Break {
                    fields.insert(from.string().unwrap(), decode(from));
                }
                from.skip().unwrap();
                fields.into()
            }
            _ => from.long().unwrap().into(),
        }
    }

    #[tokio::test]
    async fn metric_pages_merge_into_counts_per_minute() {
        let first = [("s0", &[(60, 10.0), (0, 3.0)][..]), ("s1", &[(60, 9.0), (0, 3.0)])];
        let second = [("s2", &[(60, 1.0)][..]), ("s0", &[(120, 1.0)])];
        let http = FakeHttp::new([(200, page(&first, Some("more"))), (200, page(&second, None))]);
        let client = Client::new(&http.sdk_config());
        let series = series(&COUNTS, "Tributary/dev", ("function", "transform"));
        let window =
            TimeRange { since: at(0), until: at(3_600), slack: SignedDuration::from_secs(300) };

        let values = values(&client, series, window, SignedDuration::from_mins(1)).await.unwrap();

        let counts = |received, delivered, quarantined| BatchCounts {
            received,
            delivered,
            quarantined,
            ..BatchCounts::default()
        };
        let expected =
            vec![(at(0), counts(3, 3, 0)), (at(60), counts(10, 9, 1)), (at(120), counts(1, 0, 0))];
        assert_eq!(points(&COUNTS, &values), expected);
        let metrics = ["in", "out", "quarantined", "filtered", "late", "undelivered"];
        let query = |(number, metric)| {
            let dimensions = json!([{"Name": "function", "Value": "transform"}]);
            let metric = json!({
                "Namespace": "Tributary/dev",
                "MetricName": metric,
                "Dimensions": dimensions,
            });
            let stat = json!({"Metric": metric, "Period": 60, "Stat": "Sum"});
            json!({"Id": format!("s{number}"), "MetricStat": stat})
        };
        let request = json!({
            "MetricDataQueries": metrics.into_iter().enumerate().map(query).collect::<Value>(),
            "StartTime": at(-300).as_second(),
            "EndTime": at(3_600).as_second(),
        });
        let mut next = request.clone();
        next["NextToken"] = "more".into();
        let requests = http.requests();
        assert!(requests.iter().all(|it| it.operation.ends_with("/operation/GetMetricData")));
        let sent: Vec<_> = requests.iter().map(|it| decode(&mut Decoder::new(&it.body))).collect();
        assert_eq!(sent, [request, next]);
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
