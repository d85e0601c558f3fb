//! Checks that everything that stops, fails or lags reaches the ops topic.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::template::{Template, list, names, target, text};
use super::{kafka, mappings};

/// Topic for alarms about the pipeline itself.
pub const OPS_TOPIC: &str = "OpsTopic";

/// Checks that every alarm notifies the ops topic and has a description.
#[must_use]
pub fn notify_ops_topic(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, alarm) in alarms(template) {
        let properties = &alarm["Properties"];
        if !list(&properties["AlarmActions"]).iter().any(|it| target(it) == Some(OPS_TOPIC)) {
            faults.push(format!("{id}: its AlarmActions do not name {OPS_TOPIC}"));
        }
        if properties["ActionsEnabled"] == false {
            faults.push(format!("{id}: its actions are not enabled"));
        }
        if properties["AlarmDescription"].is_null() {
            faults.push(format!("{id}: lacks an AlarmDescription"));
        }
    }
    faults
}

/// Checks that every function has alarms for errors, throttles and missing invocations, and one for
/// its iterator age if it reads a stream.
#[must_use]
pub fn watch_every_function(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        let id = &function.id;
        let about = |name: &str| watching(template, "AWS/Lambda", name, "FunctionName", id);

        for name in ["Errors", "Throttles"] {
            if !about(name).into_iter().any(rises) {
                faults.push(format!("{id}: no alarm for {name}"));
            }
        }
        if !about("Invocations").into_iter().any(is_for_no_data) {
            faults.push(format!(
                "{id}: no alarm for no invocations: below a threshold, missing data breaching"
            ));
        }
        if kafka::of(template, &function).next().is_some()
            && !about("OffsetLag").into_iter().any(rises)
        {
            faults.push(format!("{id}: no alarm for OffsetLag"));
        }
        for (mapping, _) in kafka::of(template, &function) {
            let parked = "OnFailureDestinationDeliveredEventCount";
            let dimension = "EventSourceMappingUUID";
            if watching(template, "AWS/Lambda", parked, dimension, mapping).is_empty() {
                faults.push(format!("{mapping}: no alarm for what Lambda gives up on"));
            }
        }
        let streams = mappings::of(&function, "Kinesis");
        if !streams.is_empty() && !about("IteratorAge").into_iter().any(rises) {
            faults.push(format!("{id}: no alarm for IteratorAge"));
        }
        for mapping in streams {
            let stream = target(&mapping.properties["Stream"]).unwrap_or_default();
            let retention = &template.resource(stream)["Properties"]["RetentionPeriodHours"];
            let retention = target(retention).unwrap_or_default();
            // A fixed age would be wrong for any other retention.
            if !about("IteratorAge").into_iter().any(|alarm| names(alarm).contains(retention)) {
                faults.push(format!("{id}: no IteratorAge alarm in terms of {retention}"));
            }
        }
    }
    faults
}

/// Checks that every queue has an alarm, and every dead-letter queue one for its first message.
#[must_use]
pub fn watch_every_queue(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, queue) in template.of_type("AWS::SQS::Queue") {
        let about = |name: &str| watching(template, "AWS/SQS", name, "QueueName", id);
        let waits = |name: &str| about(name).into_iter().any(rises);
        if !waits("ApproximateAgeOfOldestMessage") && !waits("ApproximateNumberOfMessagesVisible") {
            faults.push(format!("{id}: no alarm for what waits in it"));
        }
        let redrive = &queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"];
        let Some(dead_letters) = target(redrive) else { continue };
        let depth = "ApproximateNumberOfMessagesVisible";
        let first = watching(template, "AWS/SQS", depth, "QueueName", dead_letters)
            .into_iter()
            .any(|alarm| {
                let threshold = template.number(&alarm["Threshold"]);
                match text(&alarm["ComparisonOperator"]).as_str() {
                    "GreaterThanThreshold" => threshold == Some(0),
                    "GreaterThanOrEqualToThreshold" => threshold == Some(1),
                    _ => false,
                }
            });
        if !first {
            faults.push(format!("{dead_letters}: no alarm for the first message in it"));
        }
    }
    faults
}

/// Checks that every table has an alarm for throttled writes.
#[must_use]
pub fn watch_every_table(template: &Template) -> Vec<String> {
    let watched = |id| watching(template, "AWS/DynamoDB", "WriteThrottleEvents", "TableName", id);
    template
        .of_type("AWS::DynamoDB::Table")
        .filter(|(id, _)| !watched(id).into_iter().any(rises))
        .map(|(id, _)| format!("{id}: no alarm for WriteThrottleEvents"))
        .collect()
}

/// Checks that the on-call page has a row with a first step for every alarm, and names no alarm
/// that does not exist.
///
/// `<function>` in a name stands for each function, `<delivery>` for each delivery stream.
#[must_use]
pub fn are_on_the_night_page(template: &Template, page: &str) -> Vec<String> {
    let heading = "## Which alarm, which command";
    let (_, section) = page.split_once(heading).unwrap_or_default();
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let functions: Vec<_> = template.functions().into_iter().map(|it| it.binary).collect();
    let mut named = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| `-")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let alarms = cells[0].split('`').skip(1).step_by(2);
        let looks = cells.get(2).is_some_and(|look| !look.trim().is_empty());
        named.extend(alarms.map(|name| (name, looks)));
    }
    let suffixes: Vec<_> = alarms(template).map(|(_, alarm)| suffix(alarm)).collect();
    let is = |name: &str, suffix: &str| match name.split_once("<function>") {
        Some((before, after)) => {
            functions.iter().any(|it| suffix == format!("{before}{it}{after}"))
        }
        None => match name.split_once("<delivery>") {
            Some((before, after)) => suffix.starts_with(before) && suffix.ends_with(after),
            None => name == suffix,
        },
    };

    let mut faults = Vec::new();
    for suffix in &suffixes {
        match named.iter().find(|(name, _)| is(name, suffix)) {
            None => faults.push(format!("{suffix}: is not on the night page")),
            Some((_, false)) => faults.push(format!("{suffix}: nothing to look at")),
            Some(_) => {}
        }
    }
    let unknown = named.iter().filter(|(name, _)| !suffixes.iter().any(|it| is(name, it)));
    faults.extend(unknown.map(|(name, _)| format!("{name}: no alarm is called so")));
    faults
}

/// Returns the numbers of alarms, and of metrics they watch, in a stack with these parameters. Each
/// of both has a price.
#[must_use]
pub fn count(template: &Template, parameters: &BTreeMap<String, String>) -> (usize, usize) {
    let is_there = |alarm: &&Value| {
        let condition = &alarm["Condition"];
        condition.is_null()
            || template.holds(&json!({ "Condition": condition }), parameters) == Some(true)
    };
    let there: Vec<_> = alarms(template).map(|(_, alarm)| alarm).filter(is_there).collect();
    let metrics = |alarm: &&Value| {
        let metrics = list(&alarm["Properties"]["Metrics"]);
        metrics.into_iter().filter(|it| !it["MetricStat"].is_null()).count().max(1)
    };
    (there.len(), there.iter().map(metrics).sum())
}

/// Returns the name of an alarm without the name of its stack.
fn suffix(alarm: &Value) -> String {
    let name = text(&alarm["Properties"]["AlarmName"]["Fn::Sub"]);
    name.trim_start_matches("${AWS::StackName}").to_owned()
}

/// Returns the properties of the alarms on a metric of the resource `id`, alone or in an
/// expression.
fn watching<'a>(
    template: &'a Template,
    namespace: &str,
    name: &str,
    dimension: &str,
    id: &str,
) -> Vec<&'a Value> {
    let is_about = |properties: &&Value| {
        list(&properties["Metrics"])
            .into_iter()
            .map(|it| &it["MetricStat"]["Metric"])
            .chain([*properties])
            .filter(|metric| metric["Namespace"] == namespace && metric["MetricName"] == name)
            .flat_map(|metric| list(&metric["Dimensions"]))
            .filter(|it| it["Name"] == dimension)
            .flat_map(|it| list(&it["Value"]))
            .any(|value| target(value) == Some(id))
    };
    alarms(template).map(|(_, alarm)| &alarm["Properties"]).filter(is_about).collect()
}

fn alarms(template: &Template) -> impl Iterator<Item = (&str, &Value)> {
    template.of_type("AWS::CloudWatch::Alarm")
}

fn rises(alarm: &Value) -> bool {
    text(&alarm["ComparisonOperator"]).starts_with("GreaterThan")
}

/// Returns true if an alarm counts missing data as a breach.
fn is_for_no_data(alarm: &Value) -> bool {
    text(&alarm["ComparisonOperator"]).starts_with("LessThan")
        && alarm["TreatMissingData"] == "breaching"
        && alarm["Metrics"].is_null()
}
