//! Reads what a run of the command printed.

use std::process::Output;

use serde_json::Value;

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns the JSON summary of a run that must have succeeded.
pub(crate) fn summary(output: &Output) -> Value {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{message}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the `ID` of each line of JSON.
pub(crate) fn ids(text: &str) -> Vec<String> {
    let id = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["ID"].as_str().unwrap().to_owned()
    };
    text.lines().map(id).collect()
}
