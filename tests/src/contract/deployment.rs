//! Checks that one template serves AWS and the local stack, with the settings and outputs of both.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use toml::Table;

use super::template::{Template, list, text};

/// Outputs that a user needs next.
pub const OUTPUTS: &[&str] = &[
    "SourceBucketName",
    "RawBucketName",
    "AnalyticsBucketName",
    "IngestQueueUrl",
    "IngestDeadLetterQueueUrl",
    "RawStreamName",
    "EventsStreamName",
    "QuarantineDeliveryStreamName",
    "RawDeliveryStreamName",
    "EventsDeliveryStreamName",
    "EventsRedeliveryStreamName",
    "AlertsTopicArn",
    "CriticalAlertsTopicArn",
    "WarningAlertsTopicArn",
    "AlertClaimsTableName",
    "WindowsTableName",
    "OpsTopicArn",
    "GlueDatabaseName",
    "AthenaWorkGroupName",
    "MetricsNamespace",
    "DashboardUrl",
    "IngestS3FunctionName",
    "IngestHttpUrl",
    "IngestHttpFunctionName",
    "IngestKafkaFunctionName",
    "TransformFunctionName",
    "MetricsFunctionName",
    "AlertsFunctionName",
    "WindowsFunctionName",
];

/// Resource types that the local AWS does not support; each would fail the whole stack.
const UNKNOWN_LOCALLY: &[&str] = &[
    "AWS::Athena::NamedQuery",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::Glue::TableOptimizer",
    "AWS::Grafana::Workspace",
    "AWS::Kinesis::StreamConsumer",
];

/// Environments of `samconfig.toml`.
const ENVIRONMENTS: &[&str] = &["default", "local", "prod"];

/// Checks that each output exists and has a description.
#[must_use]
pub fn outputs_are_described(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for name in OUTPUTS {
        if template.0["Outputs"][*name]["Value"].is_null() {
            faults.push(format!("the output {name} is missing"));
        }
    }
    for (name, output) in template.0["Outputs"].as_object().into_iter().flatten() {
        if output["Description"].as_str().is_none_or(str::is_empty) {
            faults.push(format!("the output {name} lacks a Description"));
        }
    }
    faults
}

/// Checks that the name of the stack is checked before a bucket is made, and that bucket names end
/// in both parts of the stack's id that differ between stacks: the last one repeats.
#[must_use]
pub fn bucket_names_are_unique(template: &Template) -> Vec<String> {
    let part = |at: usize| {
        let parts = json!([2, { "Fn::Split": ["/", { "Ref": "AWS::StackId" }] }]);
        json!({ "Fn::Select": [at, { "Fn::Split": ["-", { "Fn::Select": parts }] }] })
    };
    let suffix = json!({ "A": part(0), "B": part(1) });
    let mut faults = Vec::new();
    for (id, bucket) in template.of_type("AWS::S3::Bucket") {
        let name = &bucket["Properties"]["BucketName"]["Fn::Sub"];
        if !text(&name[0]).ends_with("-${A}${B}") || name[1] != suffix {
            faults.push(format!("{id}: its name does not end in the stack's own part of its id"));
        }
        if !list(&bucket["DependsOn"]).iter().any(|it| *it == "StackNameCheck") {
            faults.push(format!("{id}: does not wait for the check of the stack's name"));
        }
    }
    let pattern = &template.resource("StackNameCheck")["Properties"]["AllowedPattern"];
    if *pattern != "^[a-z][a-z0-9-]{0,39}$" {
        faults.push("StackNameCheck: lacks the pattern of a stack's name".to_owned());
    }
    faults
}

/// Checks that the local stack has no resource that the local AWS does not support.
#[must_use]
pub fn runs_locally(template: &Template, config: &Table) -> Vec<String> {
    let parameters = overrides(config, "local", "deploy").unwrap_or_default();
    let made = |resource: &Value| match resource["Condition"].as_str() {
        Some(name) => template.holds(&template.0["Conditions"][name], &parameters) != Some(false),
        None => true,
    };
    template
        .resources()
        .filter(|(_, it)| UNKNOWN_LOCALLY.contains(&text(&it["Type"]).as_str()) && made(it))
        .map(|(id, it)| {
            format!(
                "{id}: lacks a Condition that is false locally, where {} is unknown",
                it["Type"]
            )
        })
        .collect()
}

/// Checks that the local build skips exactly the functions that the local stack does not have.
#[must_use]
pub fn builds_locally(template: &Template, config: &Table) -> Vec<String> {
    let parameters = overrides(config, "local", "deploy").unwrap_or_default();
    let build = config.get("local").and_then(|it| it.get("build")?.get("parameters"));
    let left_out: Vec<_> = build
        .and_then(|it| it.get("exclude")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
        .collect();
    let mut faults = Vec::new();
    for function in template.functions() {
        let condition = function.resource["Condition"].as_str();
        let exists = condition.is_none_or(|name| {
            template.holds(&template.0["Conditions"][name], &parameters) != Some(false)
        });
        match (exists, left_out.contains(&function.id.as_str())) {
            (true, true) => faults.push(format!("{}: is left out of the local build", function.id)),
            (false, false) => {
                faults.push(format!("{}: is built locally, where no stack has it", function.id));
            }
            _ => {}
        }
    }
    let unknown = left_out.iter().filter(|id| !template.is_a(id, "AWS::Serverless::Function"));
    faults.extend(unknown.map(|id| format!("samconfig.toml: exclude names no function {id}")));
    faults
}

/// Checks that `samconfig.toml` has its environments and sets only parameters of the template, to
/// values they accept.
#[must_use]
pub fn settings_are_parameters(template: &Template, config: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    for name in ENVIRONMENTS {
        if config.get(*name).and_then(|it| it.get("deploy")).is_none() {
            faults.push(format!("samconfig.toml: lacks the environment {name}"));
        }
    }
    for (environment, commands) in config {
        for command in commands.as_table().into_iter().flat_map(Table::keys) {
            let place = format!("samconfig.toml: {environment}.{command}");
            match overrides(config, environment, command) {
                Ok(set) => faults.extend(
                    set.iter()
                        .filter_map(|(name, value)| refused(template, name, value))
                        .map(|fault| format!("{place}: {fault}")),
                ),
                Err(fault) => faults.push(format!("{place}: {fault}")),
            }
        }
    }
    faults
}

fn refused(template: &Template, name: &str, value: &str) -> Option<String> {
    let parameter = &template.0["Parameters"][name];
    if parameter.is_null() {
        return Some(format!("the template has no parameter {name}"));
    }
    let allowed = parameter["AllowedValues"].as_array();
    if allowed.is_some_and(|allowed| allowed.iter().all(|it| text(it) != value)) {
        return Some(format!("{name} cannot be {value}"));
    }
    if parameter["Type"] == "Number" {
        let Ok(number) = value.parse::<i64>() else {
            return Some(format!("{name} is a number, not {value}"));
        };
        let (least, max) = (parameter["MinValue"].as_i64(), parameter["MaxValue"].as_i64());
        if least.is_some_and(|least| number < least) || max.is_some_and(|max| number > max) {
            return Some(format!("{name} cannot be {value}"));
        }
    }
    None
}

/// Returns the parameters that an environment sets for a command: `A=1 B=2`, or a list of such.
fn overrides(
    config: &Table,
    environment: &str,
    command: &str,
) -> Result<BTreeMap<String, String>, String> {
    let parameters = config.get(environment).and_then(|it| it.get(command)?.get("parameters"));
    let pairs: Vec<&str> = match parameters.and_then(|it| it.get("parameter_overrides")) {
        None => Vec::new(),
        Some(toml::Value::String(line)) => line.split_whitespace().collect(),
        Some(toml::Value::Array(pairs)) => pairs.iter().filter_map(toml::Value::as_str).collect(),
        Some(_) => return Err("parameter_overrides is neither a line nor a list".into()),
    };
    pairs
        .into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.trim_matches('"').to_owned())),
            None => Err(format!("{pair} is no Name=value")),
        })
        .collect()
}
