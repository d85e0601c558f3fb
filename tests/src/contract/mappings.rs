//! Checks event source mappings: their defaults lose records or block shards, so each must set its
//! own values.
//!
//! See <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>.

use serde_json::Value;

use super::kafka;
use super::template::{Function, Template, list, strings, target, text};

/// Event source mapping of a function.
pub(super) struct Mapping {
    /// Name in faults: `Function.Event`.
    pub(super) name: String,
    /// Properties of the mapping.
    pub(super) properties: Value,
}

/// Returns the mappings of a function of one type: `Kinesis` or `SQS`.
pub(super) fn of(function: &Function, kind: &str) -> Vec<Mapping> {
    let events = function.properties["Events"].as_object();
    events
        .into_iter()
        .flatten()
        .filter(|(_, event)| event["Type"] == kind)
        .map(|(name, event)| Mapping {
            name: format!("{}.{name}", function.id),
            properties: event["Properties"].clone(),
        })
        .collect()
}

/// Checks that every mapping is inside its function, where the other checks see it. Kafka mappings
/// are exempt: an event of a function cannot have a condition.
#[must_use]
pub fn are_events_of_their_functions(template: &Template) -> Vec<String> {
    template
        .of_type("AWS::Lambda::EventSourceMapping")
        .filter(|(_, mapping)| !kafka::is_one(&mapping["Properties"]))
        .map(|(id, _)| format!("{id}: write it as an event of its function"))
        .collect()
}

/// Checks that no bad record blocks a shard, and nothing that Lambda gives up on is lost.
#[must_use]
pub fn of_streams_are_bounded(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        for mapping in of(&function, "Kinesis") {
            faults.extend(unbounded(template, &mapping));
        }
    }
    faults
}

fn unbounded(template: &Template, mapping: &Mapping) -> Vec<String> {
    let Mapping { name, properties } = mapping;
    let in_range = |property: &str, least, max| {
        template.number(&properties[property]).is_some_and(|it| (least..=max).contains(&it))
    };
    let responses = strings(&properties["FunctionResponseTypes"]);
    let failures = &properties["DestinationConfig"]["OnFailure"];
    let parked = target(&failures["Destination"]);
    let demands = [
        (in_range("BatchSize", 1, 10_000), "a BatchSize of 1 to 10,000"),
        (in_range("MaximumBatchingWindowInSeconds", 0, 300), "MaximumBatchingWindowInSeconds"),
        (properties["BisectBatchOnFunctionError"] == true, "BisectBatchOnFunctionError true"),
        (
            in_range("MaximumRetryAttempts", 0, 10_000),
            "a bound in MaximumRetryAttempts: absent and -1 are for ever",
        ),
        (
            in_range("MaximumRecordAgeInSeconds", 60, 604_800),
            "a bound in MaximumRecordAgeInSeconds: absent and -1 are for ever",
        ),
        (
            properties["StartingPosition"] == "TRIM_HORIZON",
            "StartingPosition TRIM_HORIZON: LATEST misses records while the mapping is made",
        ),
        (
            responses == ["ReportBatchItemFailures"],
            "FunctionResponseTypes [ReportBatchItemFailures], without which the answer is ignored",
        ),
        (
            failures["Type"] == "S3"
                && parked.is_some_and(|id| template.is_a(id, "AWS::S3::Bucket")),
            "OnFailure to a bucket (Type S3): to a queue or topic it keeps no payload",
        ),
        (
            strings(&properties["MetricsConfig"]["Metrics"]).contains(&"EventCount"),
            "MetricsConfig EventCount, which alone counts dropped and parked records",
        ),
    ];
    let mut faults: Vec<_> = demands
        .iter()
        .filter(|(met, _)| !met)
        .map(|(_, what)| format!("{name}: lacks {what}"))
        .collect();
    faults.extend(outlived_by_its_stream(template, mapping));
    faults
}

/// Returns a fault unless the age of a record that Lambda still sends follows the retention of its
/// stream.
fn outlived_by_its_stream(template: &Template, mapping: &Mapping) -> Option<String> {
    let Mapping { name, properties } = mapping;
    let Some(stream) = list(&properties["Stream"]).into_iter().filter_map(target).next_back()
    else {
        return Some(format!("{name}: its Stream is none of the template"));
    };
    let hours = template.number(&template.resource(stream)["Properties"]["RetentionPeriodHours"]);
    let age = template.number(&properties["MaximumRecordAgeInSeconds"]).filter(|age| *age >= 60)?;
    is_fit(hours?, age).err().map(|fault| format!("{name}: MaximumRecordAgeInSeconds {fault}"))
}

/// Checks that each retention that a stack can have has a record age: an hour less, and at most the
/// week that Lambda accepts.
#[must_use]
pub fn record_ages_follow_retention(template: &Template) -> Vec<String> {
    let hours = &template.0["Parameters"]["StreamRetentionHours"]["AllowedValues"];
    let ages = &template.0["Mappings"]["RecordAge"];
    let fault = |hours: &Value| {
        let age = ages[text(hours)]["Seconds"].as_i64();
        let hours = text(hours);
        let fit = is_fit(hours.parse().unwrap_or_default(), age.unwrap_or_default());
        fit.err().map(|fault| format!("RecordAge.{hours}: {fault}"))
    };
    list(hours).into_iter().filter_map(fault).collect()
}

/// See <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>.
fn is_fit(retention_hours: i64, age: i64) -> Result<(), String> {
    let expected = ((retention_hours - 1) * 3_600).min(604_800);
    if age == expected {
        return Ok(());
    }
    Err(format!("is {age}, for a retention of {retention_hours} h it should be {expected}"))
}

/// Checks that a failed message is redelivered alone, in time and not forever.
#[must_use]
pub fn of_queues_redrive(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        for Mapping { name, properties } in of(&function, "SQS") {
            if strings(&properties["FunctionResponseTypes"]) != ["ReportBatchItemFailures"] {
                faults
                    .push(format!("{name}: lacks FunctionResponseTypes [ReportBatchItemFailures]"));
            }
            if template.number(&properties["BatchSize"]).is_none() {
                faults.push(format!("{name}: lacks a BatchSize"));
            }
            match target(&properties["Queue"]) {
                Some(queue) if template.is_a(queue, "AWS::SQS::Queue") => {
                    faults.extend(unfit_queue(template, queue, &function, &properties));
                }
                _ => faults.push(format!("{name}: its Queue is none of the template")),
            }
        }
    }
    faults
}

fn unfit_queue(
    template: &Template,
    queue: &str,
    function: &Function,
    mapping: &Value,
) -> Vec<String> {
    let properties = &template.resource(queue)["Properties"];
    let redrive = &properties["RedrivePolicy"];
    let mut faults = Vec::new();

    let dead_letters = target(&redrive["deadLetterTargetArn"]);
    if !dead_letters.is_some_and(|id| id != queue && template.is_a(id, "AWS::SQS::Queue")) {
        faults.push(format!("{queue}: lacks a RedrivePolicy to a dead-letter queue"));
    }
    // A throttled delivery counts as a receipt, so AWS recommends at least five.
    if template.number(&redrive["maxReceiveCount"]).is_none_or(|count| count < 5) {
        faults.push(format!("{queue}: lacks a maxReceiveCount of 5 or more"));
    }
    let window = template.number(&mapping["MaximumBatchingWindowInSeconds"]).unwrap_or(0);
    let timeout = template.number(&function.properties["Timeout"]).unwrap_or(900);
    let least = 6 * timeout + window;
    let visibility = template.number(&properties["VisibilityTimeout"]).unwrap_or(30);
    if visibility < least {
        faults.push(format!(
            "{queue}: its VisibilityTimeout of {visibility} s is below six times the {timeout} s of {}",
            function.id
        ));
    }
    faults
}
