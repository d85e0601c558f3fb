//! Files that test the new dataset: good rows, bad rows, examples of the rule.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use tributary_datasets::Dataset;
use tributary_datasets::infer::Inferred;
use tributary_rows::Format;

use super::sample::SampledFile;
use super::trial::{Trial, rejection};

/// Maximum good rows of a fixture.
const MAX_GOOD_ROWS: usize = 20;

/// Files by path beside the configuration, with their contents.
pub(super) type Files = Vec<(String, String)>;

fn folder(name: &str) -> String {
    format!("fixtures/datasets/{name}")
}

fn extension(file: &SampledFile) -> &'static str {
    if file.sniffed.format == Format::Csv { "csv" } else { "jsonl" }
}

/// Returns the path of the good rows of dataset `name`.
pub(super) fn good_rows(name: &str, file: &SampledFile) -> String {
    format!("{}/valid.{}", folder(name), extension(file))
}

/// Returns the fixtures of dataset `name`.
pub(super) fn files(
    name: &str,
    inferred: &Inferred,
    file: &SampledFile,
    trial: &Trial,
) -> Result<Files> {
    let folder = folder(name);
    let extension = extension(file);
    let dataset = Dataset::compile(name, &inferred.text(), &std::collections::BTreeMap::new())?;
    let mut good: Vec<_> = trial.good.iter().take(MAX_GOOD_ROWS).collect();
    // Tests expect that each rule fires on some row.
    let alerting = trial.fires.as_ref().map(|event| &event["event_id"]);
    let is_firing = |(_, event): &&(usize, Value)| Some(&event["event_id"]) == alerting;
    good.extend(trial.good.iter().skip(MAX_GOOD_ROWS).find(is_firing));
    let events: Vec<_> = good.iter().map(|(row, event)| expected(*row, event)).collect();
    let (bad, bad_expected) = bad_rows(inferred, file, trial, &dataset)?;
    let (faults, faults_expected) = faulty_row(inferred, file, trial, &dataset)?;
    let bad_name = format!("bad-rows.{extension}");
    let faults_name = format!("faults.{extension}");
    let mut files = vec![
        (good_rows(name, file), rows(file, good.iter().map(|(row, _)| *row))),
        (format!("{folder}/valid.expected.json"), lines(&events)),
        (format!("{folder}/{bad_name}"), bad),
        (format!("{folder}/bad-rows.expected.json"), pretty(&json!({ bad_name: bad_expected }))?),
    ];
    let faults_of = if faults.is_empty() {
        json!({})
    } else {
        files.push((format!("{folder}/{faults_name}"), faults));
        json!({ faults_name: faults_expected })
    };
    files.push((format!("{folder}/faults.expected.json"), pretty(&faults_of)?));
    if let Some(rule) = &inferred.rule {
        let folder = format!("fixtures/rules/shipped/{rule}");
        for (file, event) in
            [("fires-on-sample.json", &trial.fires), ("silent-on-sample.json", &trial.silent)]
        {
            let event = event.as_ref().context("the rule has no example")?;
            files.push((format!("{folder}/{file}"), pretty(event)?));
        }
    }
    Ok(files)
}

/// Returns the parts of an event that an expectation covers.
fn expected(row: usize, event: &Value) -> Value {
    let point = |at: &Value| json!([at["lat"], at["lon"]]);
    json!({
        "why": format!("row {} of the sample", row + 1),
        "entity": event["entity"], "event_time": event["event_time"],
        "measures": event["measures"], "attributes": event["attributes"], "tags": event["tags"],
        "location": event.get("location").map_or(Value::Null, point),
    })
}

/// Returns a list with one value a line.
fn lines(values: &[Value]) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("  {value}")).collect();
    format!("[\n{}\n]\n", values.join(",\n"))
}

fn pretty(value: &Value) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Returns rows of the sample in its dialect and in UTF-8, with the header.
pub(super) fn rows(file: &SampledFile, rows: impl IntoIterator<Item = usize>) -> String {
    let mut text = header(file);
    for row in rows {
        text.push_str(&file.texts[row]);
        text.push('\n');
    }
    text
}

fn header(file: &SampledFile) -> String {
    match file.sniffed.delimiter {
        None => String::new(),
        Some(delimiter) => {
            let names = file.sniffed.columns.iter().map(String::as_str);
            format!("{}\n", csv_line(names, delimiter))
        }
    }
}

fn csv_line<'t>(fields: impl Iterator<Item = &'t str>, delimiter: u8) -> String {
    let delimiter = char::from(delimiter);
    let needs_quotes =
        |field: &str| field.contains([delimiter, '"', '\n', '\r']) || field.starts_with(' ');
    let quoted = |field: &'t str| {
        if needs_quotes(field) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.to_owned()
        }
    };
    let fields: Vec<_> = fields.map(quoted).collect();
    fields.join(&delimiter.to_string())
}

/// Returns a good row with another value in a column, as the file writes it and as JSON.
fn changed(file: &SampledFile, row: usize, column: &str, value: &str) -> Result<(String, String)> {
    let mut fields: Map<String, Value> = serde_json::from_str(&file.payloads[row])?;
    set(&mut fields, column, value);
    let Some(delimiter) = file.sniffed.delimiter else {
        let text = Value::Object(fields).to_string();
        return Ok((text.clone(), text));
    };
    let field = |column: &String| fields.get(column).and_then(Value::as_str).unwrap_or_default();
    let line = csv_line(file.sniffed.columns.iter().map(field), delimiter);
    fields.retain(|_, value| value != "");
    Ok((line, Value::Object(fields).to_string()))
}

/// Sets a column, which is a name or a path into nested objects.
fn set(fields: &mut Map<String, Value>, column: &str, value: &str) {
    let path = column.split_once('.').filter(|_| !fields.contains_key(column));
    if let Some((first, rest)) = path
        && let Some(Value::Object(inner)) = fields.get_mut(first)
    {
        return set(inner, rest, value);
    }
    fields.insert(column.to_owned(), value.into());
}

/// Returns a row for each way in which key and time can be bad, with the expected rejections.
fn bad_rows(
    inferred: &Inferred,
    file: &SampledFile,
    trial: &Trial,
    dataset: &Dataset,
) -> Result<(String, Vec<Value>)> {
    let (mut text, mut expected) = (header(file), Vec::new());
    let Some((row, _)) = trial.good.first() else { return Ok((text, expected)) };
    let empty_keys = inferred.key_columns.iter().map(|column| (column, "", format!("no {column}")));
    let time = &inferred.time_column;
    let times = [(time, "", format!("no {time}")), (time, "someday", format!("{time} is no time"))];
    for (column, value, why) in empty_keys.chain(times) {
        let (line, payload) = changed(file, *row, column, value)?;
        if let Some((code, field)) = rejection(dataset, &payload) {
            text.push_str(&line);
            text.push('\n');
            expected.push(json!({ "why": why, "field": field, "code": code }));
        }
    }
    Ok((text, expected))
}

/// Returns a row with a bad measure, and the expected faults.
fn faulty_row(
    inferred: &Inferred,
    file: &SampledFile,
    trial: &Trial,
    dataset: &Dataset,
) -> Result<(String, Vec<Value>)> {
    let found = trial.good.first().zip(inferred.measure.as_ref());
    let Some(((row, _), (column, measure))) = found else { return Ok(Default::default()) };
    let (line, payload) = changed(file, *row, column, "many")?;
    let faults = match dataset.event(&payload, None) {
        Ok(event) => event.faults.iter().map(|fault| fault.as_ref().to_owned()).collect::<Vec<_>>(),
        Err(_) => Vec::new(),
    };
    if faults.is_empty() {
        return Ok(Default::default());
    }
    let why = format!("{measure} is no number");
    Ok((format!("{}{line}\n", header(file)), vec![json!({ "why": why, "faults": faults })]))
}
