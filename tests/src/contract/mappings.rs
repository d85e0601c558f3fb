//! Checks event source mappings: their defaults lose records or block shards, so each must set its
//! own values.
//!
//! See <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>.

use serde_json::Value;

use super::kafka;
use super::template::{Function, Template, strings, target};

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

/// Returns a fault unless a batch is parked before its stream expires it, at the minimum retention
/// that a stack can have.
fn outlived_by_its_stream(template: &Template, mapping: &Mapping) -> Option<String> {
    let Mapping { name, properties } = mapping;
    let Some(stream) = target(&properties["Stream"]) else {
        return Some(format!("{name}: its Stream is none of the template"));
    };
    let retention = &template.resource(stream)["Properties"]["RetentionPeriodHours"];
    let parameter = retention["Ref"].as_str().unwrap_or_default();
    let least = &template.0["Parameters"][parameter]["MinValue"];
    let hours = template.number(if least.is_null() { retention } else { least })?;
    let age = template.number(&properties["MaximumRecordAgeInSeconds"])?;
    (age >= hours * 3_600).then(|| {
        format!("{name}: MaximumRecordAgeInSeconds {age} is past the {hours} h {stream} may keep a record")
    })
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
