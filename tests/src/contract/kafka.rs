//! Checks the Kafka mappings: each has a condition that is false by default, and none loses records
//! or blocks a partition.
//!
//! See <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>.

use serde_json::Value;

use super::template::{Function, Template, strings, target};

/// Returns the Kafka mappings of a function: `AWS::Lambda::EventSourceMapping`s, with their logical
/// ids.
pub(super) fn of<'t>(
    template: &'t Template,
    function: &Function,
) -> impl Iterator<Item = (&'t str, &'t Value)> {
    all(template).filter(|(_, it)| target(&it["FunctionName"]) == Some(function.id.as_str()))
}

/// Returns true for the properties of a mapping that reads Kafka.
pub(super) fn is_one(properties: &Value) -> bool {
    !properties["Topics"].is_null()
}

fn all(template: &Template) -> impl Iterator<Item = (&str, &Value)> {
    template
        .of_type("AWS::Lambda::EventSourceMapping")
        .map(|(id, resource)| (id, &resource["Properties"]))
        .filter(|(_, properties)| is_one(properties))
}

/// Checks that no Kafka mapping exists by default.
#[must_use]
pub fn mappings_are_off_by_default(template: &Template) -> Vec<String> {
    let is_off = |id: &str| {
        let condition = template.resource(id)["Condition"].as_str().unwrap_or_default();
        let condition = &template.0["Conditions"][condition];
        template.holds(condition, &std::collections::BTreeMap::new()) == Some(false)
    };
    let on = all(template).filter(|(id, _)| !is_off(id));
    on.map(|(id, _)| format!("{id}: lacks a Condition that is false by default")).collect()
}

/// Checks that no bad record blocks a partition, nothing that Lambda gives up on is lost, and no
/// two mappings share a consumer group.
#[must_use]
pub fn mappings_are_bounded(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    let mut groups = Vec::new();
    for (id, properties) in all(template) {
        faults.extend(lacking(template, id, properties));
        let group = consumer_group(&properties["SelfManagedKafkaEventSourceConfig"]);
        if group.is_null()
            || group != consumer_group(&properties["AmazonManagedKafkaEventSourceConfig"])
        {
            faults
                .push(format!("{id}: lacks a ConsumerGroupId that is the same for MSK and others"));
        }
        if groups.contains(&group) {
            faults.push(format!("{id}: shares its ConsumerGroupId, which Lambda refuses"));
        }
        groups.push(group);
    }
    faults
}

fn lacking(template: &Template, id: &str, properties: &Value) -> Vec<String> {
    let in_range = |value: &Value, least, max| {
        template.number(value).is_some_and(|it| (least..=max).contains(&it))
    };
    let pollers = &properties["ProvisionedPollerConfig"];
    let parked = target(&properties["DestinationConfig"]["OnFailure"]["Destination"]);
    let demands = [
        (
            in_range(&pollers["MinimumPollers"], 1, 200)
                && in_range(&pollers["MaximumPollers"], 1, 2_000),
            "a ProvisionedPollerConfig, without which the rest is ignored",
        ),
        (
            pollers.is_null() || !pollers["PollerGroupName"].is_null(),
            "a PollerGroupName, without which each topic pays for pollers of its own",
        ),
        (properties["Topics"].as_array().is_some_and(|it| it.len() == 1), "one topic, and no more"),
        (in_range(&properties["BatchSize"], 1, 10_000), "a BatchSize of 1 to 10,000"),
        (
            in_range(&properties["MaximumBatchingWindowInSeconds"], 0, 300),
            "MaximumBatchingWindowInSeconds",
        ),
        (properties["BisectBatchOnFunctionError"] == true, "BisectBatchOnFunctionError true"),
        (
            in_range(&properties["MaximumRetryAttempts"], 0, 10_000),
            "a bound in MaximumRetryAttempts: absent and -1 are ten, or for ever",
        ),
        (
            properties["MaximumRecordAgeInSeconds"] == -1,
            "MaximumRecordAgeInSeconds -1: with an age, what an old topic holds is never read",
        ),
        (
            template.sample(&properties["StartingPosition"]) == "TRIM_HORIZON",
            "StartingPosition TRIM_HORIZON by default",
        ),
        (
            strings(&properties["FunctionResponseTypes"]) == ["ReportBatchItemFailures"],
            "FunctionResponseTypes [ReportBatchItemFailures], without which the answer is ignored",
        ),
        (
            parked.is_some_and(|it| template.is_a(it, "AWS::S3::Bucket")),
            "OnFailure to a bucket: to a queue or topic it keeps no payload",
        ),
        (
            strings(&properties["MetricsConfig"]["Metrics"]).contains(&"EventCount"),
            "MetricsConfig EventCount, which alone counts dropped and parked records",
        ),
    ];
    let unmet = demands.iter().filter(|(met, _)| !met);
    unmet.map(|(_, what)| format!("{id}: lacks {what}")).collect()
}

/// Returns the consumer group of a configuration that a condition selects.
fn consumer_group(config: &Value) -> &Value {
    let branches = config["Fn::If"].as_array().into_iter().flatten().skip(1);
    let mut groups = branches.map(|it| &it["ConsumerGroupId"]).filter(|it| !it.is_null());
    groups.next().unwrap_or(&Value::Null)
}
