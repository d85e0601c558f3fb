//! Checks that roles grant exactly the actions in use, on the resources they are used on.

use std::collections::BTreeSet;

use serde_json::Value;

use super::template::{Template, list, names, strings, target, text};
use super::{kafka, mappings};

/// Statements that may name every resource, because their actions support no resource.
const WITHOUT_RESOURCE: &[(&str, &[&str])] = &[
    ("Trace", &["xray:PutTraceSegments", "xray:PutTelemetryRecords"]),
    // A condition on the namespace limits it instead.
    ("WriteMetrics", &["cloudwatch:PutMetricData"]),
    // A condition on the caller limits it.
    ("ReachTheBrokers", ENTER_A_VPC),
    ("ReachTheNodes", ENTER_A_VPC),
];

const ENTER_A_VPC: &[&str] = &[
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
];

/// Actions that Lambda calls on a source with the function's role.
///
/// See <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html>,
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html> and
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-msk-permissions.html>.
const READ_STREAM: &[&str] = &[
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
];
const SUBSCRIBE: &[&str] = &["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"];
const READ_QUEUE: &[&str] = &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
const READ_CLUSTER: &[&str] = &["kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"];
const PARK_FAILURES: &[&str] = &["s3:PutObject", "s3:ListBucket"];
const WRITE_LOG: &[&str] = &["logs:CreateLogStream", "logs:PutLogEvents"];

/// Checks that no role or policy has a statement that grants more than its name says.
#[must_use]
pub fn are_narrow(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, role) in template.of_type("AWS::IAM::Role") {
        let managed = list(&role["Properties"]["ManagedPolicyArns"]);
        let is_own =
            |it: &Value| target(it).is_some_and(|id| template.is_a(id, "AWS::IAM::ManagedPolicy"));
        if !managed.into_iter().all(is_own) {
            faults.push(format!("{id}: has a managed policy of AWS, which widens it at will"));
        }
    }
    for (id, statement) in all_statements(template) {
        let sid = statement["Sid"].as_str().unwrap_or("a statement without Sid");
        faults.extend(too_wide(sid, statement).map(|what| format!("{id}: {sid} {what}")));
    }
    faults
}

/// Checks that the page of permissions has every statement of every role and policy, and no other.
///
/// Its rows are `| role or policy | Sid | actions | resources |`; the resources end in the keys of
/// its condition: `, if StringEquals kms:ViaService`.
#[must_use]
pub fn are_on_the_page(template: &Template, page: &str) -> Vec<String> {
    let rows: BTreeSet<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let stated: BTreeSet<_> =
        all_statements(template).map(|(id, statement)| page_row(id, statement)).collect();
    let missing = stated.iter().filter(|row| !rows.contains(row.as_str()));
    let extra = rows.iter().filter(|row| !stated.contains(**row));
    let missing = missing.map(|row| format!("docs/PERMISSIONS.md lacks {row}"));
    missing.chain(extra.map(|row| format!("the template does not grant {row}"))).collect()
}

/// Returns the rows of the page of permissions.
#[must_use]
pub fn page_rows(template: &Template) -> Vec<String> {
    all_statements(template).map(|(id, statement)| page_row(id, statement)).collect()
}

fn page_row(id: &str, statement: &Value) -> String {
    let sid = text(&statement["Sid"]);
    let actions = strings(&statement["Action"]).join(", ");
    let resources: Vec<_> = list(&statement["Resource"]).into_iter().map(resource).collect();
    let operators =
        list(&statement["Condition"]).into_iter().filter_map(Value::as_object).flatten();
    let keys = operators.flat_map(|(operator, it)| {
        let keys = it.as_object().into_iter().flatten();
        keys.map(move |(key, _)| format!(", if {operator} {key}"))
    });
    let condition: String = keys.collect();
    format!("| `{id}` | {sid} | {actions} | {}{condition} |", resources.join(", "))
}

/// Returns a resource as a reader knows it: `RawBucket/aws/lambda/*`.
fn resource(value: &Value) -> String {
    let sub = if value["Fn::Sub"].is_array() { &value["Fn::Sub"][0] } else { &value["Fn::Sub"] };
    match (target(value), sub.as_str()) {
        (Some(id), _) => id.to_owned(),
        (None, Some(sub)) => sub
            .replace("${AWS::Partition}", "aws")
            .replace("${AWS::Region}", "…")
            .replace("${AWS::AccountId}", "…")
            .replace(".Arn}", "}")
            .replace(['$', '{', '}'], ""),
        _ => text(value).replace('*', "\\*"),
    }
}

fn too_wide(sid: &str, statement: &Value) -> Option<String> {
    if statement["Effect"] != "Allow" {
        return Some("does not allow; a role here only lists what is allowed".into());
    }
    if !statement["NotAction"].is_null() || !statement["NotResource"].is_null() {
        return Some("says what it does not mean; name actions and resources".into());
    }
    let actions = strings(&statement["Action"]);
    if let Some(action) = actions.iter().find(|action| action.contains('*')) {
        return Some(format!("allows {action}; name each action"));
    }
    if actions.is_empty() {
        return Some("allows no action".into());
    }
    let resources = list(&statement["Resource"]);
    if resources.is_empty() {
        return Some("names no resource".into());
    }
    if resources.iter().any(|it| *it == "*") {
        let known = WITHOUT_RESOURCE.iter().find(|(name, _)| *name == sid);
        if !known.is_some_and(|(_, known)| actions.iter().all(|action| known.contains(action))) {
            return Some("has Resource '*' and is none of the known exceptions".into());
        }
        if actions.contains(&"cloudwatch:PutMetricData")
            && !statement["Condition"].to_string().contains("cloudwatch:namespace")
        {
            return Some("lacks a condition on cloudwatch:namespace".into());
        }
        if actions.contains(&"ec2:DeleteNetworkInterface")
            && !statement["Condition"]["ArnNotEquals"].to_string().contains("SourceFunctionArn")
        {
            return Some("lacks a condition that keeps the function's own code from it".into());
        }
        return None;
    }
    let of_stack = |it: &Value| names(it).iter().any(|name| !name.starts_with("AWS::"));
    let wide = resources.into_iter().find(|it| it.to_string().contains('*') && !of_stack(it));
    wide.map(|resource| format!("names {resource}, which reaches beyond the stack"))
}

/// Checks that each role reaches the resources its function uses, reads from, parks in and logs to.
#[must_use]
pub fn grant_what_functions_use(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        let Some(role) = target(&function.properties["Role"]) else {
            continue; // The check of the functions says so.
        };
        let granted = granted(template, role);
        let mut demand = |actions: &[&str], resource: Option<&str>| {
            for action in actions {
                let wanted = ((*action).to_owned(), resource.unwrap_or_default().to_owned());
                if !granted.contains(&wanted) {
                    faults.push(format!("{role}: does not allow {action} on {}", wanted.1));
                }
            }
        };
        for mapping in mappings::of(&function, "Kinesis") {
            let failures = &mapping.properties["DestinationConfig"]["OnFailure"];
            for source in list(&mapping.properties["Stream"]) {
                let is_stream =
                    target(source).is_some_and(|id| template.is_a(id, "AWS::Kinesis::Stream"));
                demand(if is_stream { READ_STREAM } else { SUBSCRIBE }, target(source));
            }
            demand(PARK_FAILURES, target(&failures["Destination"]));
        }
        for mapping in mappings::of(&function, "SQS") {
            demand(READ_QUEUE, target(&mapping.properties["Queue"]));
        }
        for (_, mapping) in kafka::of(template, &function) {
            let failures = &mapping["DestinationConfig"]["OnFailure"];
            demand(READ_CLUSTER, list(&mapping["EventSourceArn"]).into_iter().find_map(target));
            demand(PARK_FAILURES, target(&failures["Destination"]));
        }
        demand(WRITE_LOG, target(&function.properties["LoggingConfig"]["LogGroup"]));

        for name in names(&function.properties["Environment"]) {
            let is_resource = !template.resource(&name).is_null();
            if is_resource && !granted.iter().any(|(_, resource)| *resource == name) {
                faults.push(format!(
                    "{role}: allows nothing on {name}, which {} is told of",
                    function.id
                ));
            }
        }
    }
    faults
}

/// Returns the actions that a role allows, each with its resources: by its own statements, by the
/// managed policies it has, and by the policies that name it.
fn granted(template: &Template, role: &str) -> BTreeSet<(String, String)> {
    let managed = list(&template.resource(role)["Properties"]["ManagedPolicyArns"]);
    let managed: BTreeSet<_> = managed.into_iter().filter_map(target).collect();
    let is_of_role = |id: &str| {
        let roles = list(&template.resource(id)["Properties"]["Roles"]);
        id == role || managed.contains(id) || roles.iter().any(|it| target(it) == Some(role))
    };
    let mut granted = BTreeSet::new();
    for (_, statement) in all_statements(template).filter(|(id, _)| is_of_role(id)) {
        for resource in names(&statement["Resource"]) {
            for action in strings(&statement["Action"]) {
                granted.insert((action.to_owned(), resource.clone()));
            }
        }
    }
    granted
}

/// Returns every statement of the template's roles and policies, with the logical id of its role or
/// policy.
fn all_statements(template: &Template) -> impl Iterator<Item = (&str, &Value)> {
    let kinds = ["AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"];
    kinds.into_iter().flat_map(|kind| template.of_type(kind)).flat_map(|(id, resource)| {
        let properties = &resource["Properties"];
        let documents = list(&properties["Policies"]).into_iter().map(|it| &it["PolicyDocument"]);
        let documents = documents.chain([&properties["PolicyDocument"]]);
        documents.flat_map(|it| list(&it["Statement"])).map(move |statement| (id, statement))
    })
}
