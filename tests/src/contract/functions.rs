//! Checks that each function crate is one function of the template, with its own role and log
//! group.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::template::{Function, Template, list, names, strings, target};

/// Checks that each crate of `functions/` is exactly one function, and each function one of them.
#[must_use]
pub fn are_the_crates(template: &Template, crates: &[String]) -> Vec<String> {
    let functions = template.functions();
    let mut faults = Vec::new();
    for name in crates {
        let ids: Vec<_> =
            functions.iter().filter(|it| it.binary == *name).map(|it| it.id.as_str()).collect();
        match ids.as_slice() {
            [] => faults.push(format!("functions/{name}: no function has it as its Binary")),
            [_] => {}
            several => {
                faults
                    .push(format!("functions/{name}: is the Binary of {}", several.join(" and ")));
            }
        }
    }
    for Function { id, binary, .. } in &functions {
        if !crates.contains(binary) {
            faults.push(format!("{id}: its Binary {binary:?} is no crate of functions/"));
        }
    }
    faults
}

/// Checks that each function sets its build method, name, runtime, architecture, tracing, timeout
/// and memory.
#[must_use]
pub fn are_complete(template: &Template) -> Vec<String> {
    template.functions().iter().flat_map(|function| incomplete(template, function)).collect()
}

fn incomplete(template: &Template, function: &Function) -> Vec<String> {
    let Function { id, binary, resource, properties } = function;
    let in_range = |name: &str, least, max| {
        template.number(&properties[name]).is_some_and(|it| (least..=max).contains(&it))
    };
    let name = json!({ "Fn::Sub": format!("${{AWS::StackName}}-{binary}") });
    let demands = [
        (resource["Metadata"]["BuildMethod"] == "rust-cargolambda", "BuildMethod rust-cargolambda"),
        (properties["FunctionName"] == name, "a FunctionName of the stack name and the binary"),
        (properties["Runtime"] == "provided.al2023", "Runtime provided.al2023"),
        (
            properties["Architectures"] == json!([{ "Ref": "Architecture" }]),
            "Architectures from the parameter Architecture",
        ),
        (properties["Tracing"] == "Active", "Tracing Active"),
        (in_range("Timeout", 1, 900), "a Timeout of 1 to 900 s"),
        (in_range("MemorySize", 128, 10_240), "a MemorySize of 128 to 10,240 MB"),
    ];
    demands.iter().filter(|(met, _)| !met).map(|(_, what)| format!("{id}: lacks {what}")).collect()
}

/// Checks that each function has an explicit role that Lambda may assume and nothing else uses.
#[must_use]
pub fn have_roles_of_their_own(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for Function { id, properties, .. } in template.functions() {
        let Some(role) = target(&properties["Role"]) else {
            faults.push(format!("{id}: lacks an explicit Role"));
            continue;
        };
        if !template.is_a(role, "AWS::IAM::Role") {
            faults.push(format!("{id}: its Role {role} is no role of the template"));
        }
        for (other, resource) in template.resources() {
            if other != id
                && resource["Type"] != "AWS::IAM::Policy"
                && !template.are_alternatives(&id, other)
                && names(&resource["Properties"]).contains(role)
            {
                faults.push(format!("{id}: shares its Role {role} with {other}"));
            }
        }
        let trust = &template.resource(role)["Properties"]["AssumeRolePolicyDocument"]["Statement"];
        if !trusts_lambda_alone(trust) {
            faults.push(format!("{role}: is to trust lambda.amazonaws.com and nobody else"));
        }
        // SAM ignores these without a warning when a function has its own role.
        if !properties["Policies"].is_null() {
            faults.push(format!("{id}: has Policies, which a function with a Role does not get"));
        }
    }
    faults
}

fn trusts_lambda_alone(statements: &Value) -> bool {
    let statements = list(statements);
    !statements.is_empty()
        && statements
            .iter()
            .all(|it| strings(&it["Principal"]["Service"]) == ["lambda.amazonaws.com"])
}

/// Properties in which alternative functions may differ.
const OWN_PROPERTIES: &[&str] = &["CodeUri", "Environment", "FunctionName", "VpcConfig"];

/// Checks that alternative functions, of which a stack has one, differ only in binary and store.
#[must_use]
pub fn alternatives_are_alike(template: &Template) -> Vec<String> {
    let functions = template.functions();
    let mut faults = Vec::new();
    for (at, one) in functions.iter().enumerate() {
        let others = functions[at + 1..].iter();
        for other in others.filter(|other| template.are_alternatives(&one.id, &other.id)) {
            let fields = |function: &Function| {
                let fields = function.properties.as_object();
                fields.into_iter().flatten().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()
            };
            for name in fields(one).union(&fields(other)) {
                let is_own = OWN_PROPERTIES.contains(&name.as_str());
                if !is_own && one.properties[name] != other.properties[name] {
                    faults.push(format!("{}: property {name} differs from {}", other.id, one.id));
                }
            }
        }
    }
    faults
}

/// Checks that every function URL requires a signed request.
#[must_use]
pub fn urls_ask_for_a_signature(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for Function { id, properties, .. } in template.functions() {
        let config = &properties["FunctionUrlConfig"];
        if !config.is_null() && config["AuthType"] != "AWS_IAM" {
            faults.push(format!("{id}: its FunctionUrlConfig lacks AuthType AWS_IAM"));
        }
    }
    for (id, permission) in template.of_type("AWS::Lambda::Permission") {
        if permission["Properties"]["Principal"] == "*" {
            faults.push(format!("{id}: lets anybody in"));
        }
    }
    for (id, _) in template.of_type("AWS::Lambda::Url") {
        faults.push(format!("{id}: write it as the FunctionUrlConfig of its function"));
    }
    faults
}

/// Checks that each function writes to its own log group, and that its lines expire.
#[must_use]
pub fn have_log_groups_with_retention(template: &Template) -> Vec<String> {
    let functions = template.functions();
    let mut faults = Vec::new();
    for Function { id, properties, .. } in &functions {
        let Some(group) = target(&properties["LoggingConfig"]["LogGroup"]) else {
            faults.push(format!("{id}: its LoggingConfig names no LogGroup of the template"));
            continue;
        };
        if !template.is_a(group, "AWS::Logs::LogGroup") {
            faults.push(format!("{id}: its LogGroup {group} is no log group of the template"));
        }
        if template.resource(group)["Properties"]["RetentionInDays"].is_null() {
            faults.push(format!("{group}: lacks RetentionInDays"));
        }
        for other in &functions {
            if other.id != *id
                && !template.are_alternatives(id, &other.id)
                && target(&other.properties["LoggingConfig"]["LogGroup"]) == Some(group)
            {
                faults.push(format!("{id}: shares its LogGroup {group} with {}", other.id));
            }
        }
    }
    faults
}
