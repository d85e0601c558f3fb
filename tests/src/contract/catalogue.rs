//! Checks that the tables of the catalogue match the records on the wire.
//!
//! See <https://docs.aws.amazon.com/athena/latest/ug/partition-projection.html>.

use std::collections::BTreeSet;

use serde_json::Value;

use super::template::{Template, list, target, text};

/// Checks that the columns of table `name` are exactly the fields of `record`, with types that hold
/// its values; `record` has every optional field.
#[must_use]
pub fn columns_are_the_fields(template: &Template, name: &str, record: &Value) -> Vec<String> {
    let Some((id, input)) = table(template, name) else {
        return vec![format!("the catalogue has no table {name}")];
    };
    let columns: Vec<(&str, &str)> = list(&input["StorageDescriptor"]["Columns"])
        .into_iter()
        .map(|it| {
            (it["Name"].as_str().unwrap_or_default(), it["Type"].as_str().unwrap_or_default())
        })
        .collect();
    members_fit(&columns, record, "").into_iter().map(|fault| format!("{id}: {fault}")).collect()
}

/// Checks that the partitions of table `name` are projected, `dt` first, on the prefix that a
/// delivery stream writes to.
#[must_use]
pub fn partitions_are_projected(template: &Template, name: &str) -> Vec<String> {
    let Some((id, input)) = table(template, name) else {
        return vec![format!("the catalogue has no table {name}")];
    };
    let parameters = &input["Parameters"];
    let keys: Vec<_> = list(&input["PartitionKeys"]).iter().map(|key| text(&key["Name"])).collect();
    let location = text(&parameters["storage.location.template"]["Fn::Sub"]);
    let mut faults = Vec::new();

    if parameters["projection.enabled"] != "true" {
        faults.push(format!("{id}: lacks projection.enabled \"true\""));
    }
    if keys.first().is_none_or(|key| key != "dt") {
        faults.push(format!("{id}: its first partition key is not dt"));
    }
    if parameters["projection.dt.format"] != "yyyy-MM-dd" {
        faults.push(format!("{id}: lacks projection.dt.format yyyy-MM-dd"));
    }
    for key in keys {
        for part in ["type", "range"] {
            if parameters[format!("projection.{key}.{part}")].is_null() {
                faults.push(format!("{id}: lacks projection.{key}.{part}"));
            }
        }
        if !location.contains(&format!("{key}=${{!{key}}}/")) {
            faults.push(format!("{id}: its storage.location.template does not place {key}"));
        }
    }
    if !deliveries(template).contains(&without_values(&location)) {
        faults.push(format!("{id}: no delivery stream writes to {location}"));
    }
    faults
}

/// Checks that no JSON row stops a query: the `OpenX` `SerDe` fails on a map with a doubled key, and
/// with it every query over the partition.
///
/// See <https://docs.aws.amazon.com/athena/latest/ug/openx-json-serde.html>.
#[must_use]
pub fn malformed_rows_are_ignored(template: &Template) -> Vec<String> {
    let input = |table: &'_ Value| table["Properties"]["TableInput"]["StorageDescriptor"].clone();
    template
        .of_type("AWS::Glue::Table")
        .map(|(id, table)| (id, input(table)["SerdeInfo"].clone()))
        .filter(|(_, serde)| text(&serde["SerializationLibrary"]).contains("openx"))
        .filter(|(_, serde)| serde["Parameters"]["ignore.malformed.json"] != "true")
        .map(|(id, _)| format!("{id}: lacks ignore.malformed.json \"true\""))
        .collect()
}

/// Returns the prefixes that delivery streams write to, without partition values:
/// `s3://${Bucket}/events/dt=/`.
fn deliveries(template: &Template) -> BTreeSet<String> {
    template
        .of_type("AWS::KinesisFirehose::DeliveryStream")
        .map(|(_, delivery)| {
            let to = &delivery["Properties"]["ExtendedS3DestinationConfiguration"];
            let bucket = target(&to["BucketARN"]).unwrap_or_default();
            without_values(&format!("s3://${{{bucket}}}/{}", text(&to["Prefix"])))
        })
        .collect()
}

/// Removes the values of its partitions from a path: `dt=${!dt}/` and `dt=!{timestamp:yyyy}/`
/// become `dt=/`.
fn without_values(path: &str) -> String {
    let part = |part: &str| match part.split_once('=') {
        Some((key, _)) => format!("{key}="),
        None => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn table<'a>(template: &'a Template, name: &str) -> Option<(&'a str, &'a Value)> {
    template
        .of_type("AWS::Glue::Table")
        .map(|(id, table)| (id, &table["Properties"]["TableInput"]))
        .find(|(_, input)| input["Name"] == name)
}

/// Returns the reasons why a column of this type cannot hold a value; `path` is the dotted path of
/// the value.
fn fits(kind: &str, value: &Value, path: &str) -> Vec<String> {
    let inside = |outer: &str| kind.strip_prefix(outer)?.strip_prefix('<')?.strip_suffix('>');
    let fits = if let Some(inner) = inside("struct") {
        let members: Vec<_> =
            split(inner).iter().map(|it| it.split_once(':').unwrap_or((it, ""))).collect();
        return members_fit(&members, value, &format!("{path}."));
    } else if let (Some(inner), Some(fields)) = (inside("map"), value.as_object()) {
        match split(inner).as_slice() {
            ["string", kind] => {
                return fields
                    .iter()
                    .flat_map(|(key, it)| fits(kind, it, &format!("{path}.{key}")))
                    .collect();
            }
            _ => false,
        }
    } else if let (Some(inner), Some(items)) = (inside("array"), value.as_array()) {
        return items.iter().flat_map(|it| fits(inner, it, &format!("{path}[]"))).collect();
    } else {
        match kind {
            "string" => value.is_string(),
            "double" => value.is_number(),
            "int" | "bigint" => value.is_i64(),
            "boolean" => value.is_boolean(),
            _ => false,
        }
    };
    if fits { Vec::new() } else { vec![format!("{path} of type {kind:?} cannot hold {value}")] }
}

/// Returns the differences between the fields of an object and the members of a struct.
fn members_fit(members: &[(&str, &str)], value: &Value, prefix: &str) -> Vec<String> {
    let Some(fields) = value.as_object() else {
        return vec![format!("{prefix} should hold an object, not {value}")];
    };
    let mut faults = Vec::new();
    for (name, value) in fields {
        match members.iter().find(|(member, _)| member == name) {
            Some((_, kind)) => faults.extend(fits(kind, value, &format!("{prefix}{name}"))),
            None => faults.push(format!("lacks a column for the field {prefix}{name}")),
        }
        // The OpenX SerDe lowercases keys, and the column would stay empty.
        if name.chars().any(char::is_uppercase) {
            faults.push(format!("the field {prefix}{name} is not in lower case"));
        }
    }
    for (member, _) in members {
        if !fields.contains_key(*member) {
            faults.push(format!("the column {prefix}{member} is no field"));
        }
    }
    faults
}

/// Splits `a:int,b:map<string,int>` at the commas outside all brackets.
fn split(inner: &str) -> Vec<&str> {
    let mut depth = 0;
    inner
        .split(|it| {
            depth += i32::from(it == '<') - i32::from(it == '>');
            it == ',' && depth == 0
        })
        .collect()
}
