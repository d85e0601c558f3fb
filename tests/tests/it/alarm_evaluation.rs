//! Alarms of the expanded template over metric series: a fault raises its alarms, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use system_tests::contract::evaluation::{Series, can_change, raised};
use system_tests::contract::template::Template;

const CONSUMERS: [(&str, &str); 4] = [
    ("transform", "TransformRawRecords"),
    ("metrics", "MetricsEvents"),
    ("alerts", "AlertsEvents"),
    ("windows", "WindowsEvents"),
];

/// Namespace of the functions' own metrics.
const OWN: &str = "Tributary/s";
const DAY: i64 = 24 * 60;
/// Length of the series: a day, and an hour in which the state is read.
const END: i64 = DAY + 60;

/// Adds a value of a metric in each minute.
fn add(series: &mut Series, metric: [&str; 2], of: (&str, &str), value: f64) {
    series.add(0..END, metric, &[of], value);
}

/// Returns the metrics of a stack to which data flows, one record a second.
fn healthy() -> Series {
    let mut series = Series::default();
    for function in ["ingest-s3", "ingest-http", "transform", "metrics", "alerts", "windows"] {
        let resource = format!("s-{function}");
        for metric in ["Errors", "Throttles"] {
            add(&mut series, ["AWS/Lambda", metric], ("FunctionName", resource.as_str()), 0.0);
        }
        for (metric, value) in [("in", 60.0), ("undelivered", 0.0), ("quarantined", 0.0)] {
            add(&mut series, [OWN, metric], ("function", function), value);
        }
    }
    for (function, mapping) in CONSUMERS {
        let resource = format!("s-{function}");
        add(&mut series, ["AWS/Lambda", "IteratorAge"], ("FunctionName", resource.as_str()), 900.0);
        for (metric, value) in [("PolledEventCount", 60.0), ("DroppedEventCount", 0.0)] {
            add(&mut series, ["AWS/Lambda", metric], ("EventSourceMappingUUID", mapping), value);
        }
    }
    for stream in ["s-raw", "s-events"] {
        let of = ("StreamName", stream);
        add(&mut series, ["AWS/Kinesis", "IncomingRecords"], of, 60.0);
        add(&mut series, ["AWS/Kinesis", "WriteProvisionedThroughputExceeded"], of, 0.0);
        let of = ("DeliveryStreamName", stream);
        add(&mut series, ["AWS/Firehose", "DeliveryToS3.DataFreshness"], of, 310.0);
        add(&mut series, ["AWS/Firehose", "KinesisMillisBehindLatest"], of, 800.0);
    }
    add(&mut series, [OWN, "watermark_age_s"], ("function", "windows"), 40.0);
    add(&mut series, ["AWS/SQS", "ApproximateAgeOfOldestMessage"], ("QueueName", "s-ingest"), 2.0);
    series
}

fn parameters() -> BTreeMap<String, String> {
    [("HttpFeed".to_owned(), "on".to_owned())].into()
}

/// Asserts that these alarms, and no others, are raised at a minute.
#[track_caller]
fn raises(series: &Series, minute: i64, expected: &[&str]) {
    let found = raised(&Template::read().unwrap(), &parameters(), series, minute).unwrap();
    let expected: BTreeSet<_> = expected.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, expected, "in minute {minute}");
}

/// Adds a fault to a healthy stack from minute 100 to 200, and asserts which alarm it raises.
#[track_caller]
fn raises_during(metric: [&str; 2], of: &[(&str, &str)], value: f64, alarm: &str) {
    let mut series = healthy();
    series.add(100..200, metric, of, value);

    raises(&series, 100, &[]);
    raises(&series, 150, &[alarm]);
    raises(&series, 240, &[]);
}

#[test]
fn healthy_day_raises_nothing() {
    let series = healthy();
    for minute in (60..=END).step_by(45) {
        raises(&series, minute, &[]);
    }
}

#[test]
fn each_alarm_can_change() {
    let template = Template::read().unwrap();
    for (id, alarm) in template.of_type("AWS::CloudWatch::Alarm") {
        assert!(can_change(&template, &alarm["Properties"]).unwrap(), "{id}");
    }
}

#[test]
fn disabled_mapping_raises_stalled_then_iterator_age() {
    let mut series = healthy();
    let (off, caught_up) = (100..400, 400..430);
    for of in ["TransformRawRecords", "transform", "s-transform"] {
        series.remove(&off, None, of);
    }
    // Enabled again, it begins five hours back.
    let of = [("FunctionName", "s-transform")];
    series.add(caught_up, ["AWS/Lambda", "IteratorAge"], &of, 5.0 * 3_600_000.0);

    raises(&series, 120, &["transform-stalled"]);
    raises(&series, 399, &["transform-stalled"]);
    raises(&series, 420, &["transform-iterator-age", "windows-behind"]);
    raises(&series, 450, &[]);
}

#[test]
fn silent_feed_raises_silent_alarms_of_all() {
    let mut series = healthy();
    let quiet: Range<i64> = 30..END;
    for (function, mapping) in CONSUMERS {
        series.remove(&quiet, None, function);
        series.remove(&quiet, None, mapping);
    }
    for of in ["ingest-s3", "ingest-http", "s-raw", "s-events"] {
        series.remove(&quiet, None, of);
    }

    raises(&series, DAY, &[]);
    let silent = ["ingest-s3", "ingest-http", "transform", "metrics", "alerts", "windows"];
    let silent = silent.map(|function| format!("{function}-silent"));
    raises(&series, END - 1, &silent.each_ref().map(String::as_str));
}

#[test]
fn fault_raises_its_own_alarm() {
    let function = [("FunctionName", "s-alerts")];
    raises_during(["AWS/Lambda", "Errors"], &function, 2.0, "alerts-errors");
    raises_during(["AWS/Lambda", "Throttles"], &function, 2.0, "alerts-throttles");
    let failures = ["AWS/Lambda", "DestinationDeliveryFailures"];
    raises_during(failures, &function, 1.0, "alerts-destination");
    let parked = ["AWS/Lambda", "OnFailureDestinationDeliveredEventCount"];
    let mapping = [("EventSourceMappingUUID", "AlertsEvents")];
    raises_during(parked, &mapping, 1.0, "alerts-parked");
    let rule = [("RuleName", "WindowsSchedule")];
    raises_during(["AWS/Events", "FailedInvocations"], &rule, 1.0, "windows-schedule");
    raises_during([OWN, "undelivered"], &[("function", "transform")], 5.0, "transform-undelivered");
    raises_during([OWN, "config_refused"], &[], 1.0, "config-refused");

    let delivery = [("DeliveryStreamName", "s-events")];
    let behind = ["AWS/Firehose", "KinesisMillisBehindLatest"];
    raises_during(behind, &delivery, 3.0 * 3_600_000.0, "events-delivery-behind");
    let refused = ["AWS/Firehose", "ThrottledGetRecords"];
    raises_during(refused, &delivery, 3.0, "events-delivery-throttled");
    let late = ["AWS/Firehose", "DeliveryToS3.DataFreshness"];
    raises_during(late, &delivery, 3_600.0, "events-delivery-late");

    let topic = [("TopicName", "s-alerts")];
    raises_during(["AWS/SNS", "NumberOfNotificationsFailed"], &topic, 1.0, "alerts-not-sent");
    let stream = [("StreamName", "s-raw")];
    let writes = ["AWS/Kinesis", "WriteProvisionedThroughputExceeded"];
    raises_during(writes, &stream, 4.0, "raw-stream-write-throttled");
    let index = [("TableName", "s-windows"), ("GlobalSecondaryIndexName", "due")];
    let throttled = ["AWS/DynamoDB", "WriteThrottleEvents"];
    raises_during(throttled, &index, 4.0, "windows-table-index-throttled");
}
