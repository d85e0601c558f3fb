//! Metrics log: one structured line per batch, which CloudWatch also reads as metrics (EMF).
//!
//! Format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tributary_model::bad_row::Code;
use tributary_model::counts::BatchCounts;
use tributary_rules::alert::AlertCounts;

/// Metrics log of one function: writes one structured line per batch.
#[derive(Clone)]
pub struct MetricsLog {
    function: &'static str,
    namespace: String,
    /// Version of the configuration in use.
    config: Option<String>,
    /// Names of the function's own counts that are metrics too.
    metrics: &'static [&'static str],
    write: Arc<dyn Fn(&Value) + Send + Sync>,
}

/// Kind of fault of an event: a bad optional field, which the event lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Dataset of the event.
    pub dataset: String,
    /// Field of the event.
    pub field: String,
    /// Code, as of a bad row.
    pub code: String,
}

/// Windows of one dataset in one invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowMetrics {
    /// Window events that the stream accepted.
    pub emitted: u64,
    /// Time since the watermark rose; `None` if no reading arrived that can change a window.
    pub watermark_age: Option<SignedDuration>,
}

impl MetricsLog {
    /// Creates the log of `function`, with metrics in the CloudWatch namespace `namespace`.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "standard output is where Lambda reads EMF")]
    pub fn new(function: &'static str, namespace: String) -> Self {
        let write = Arc::new(|line: &Value| println!("{line}"));
        Self { function, namespace, config: None, metrics: &[], write }
    }

    /// Publishes these fields among the function's own of the batch line as metrics.
    #[must_use]
    pub fn with_metrics(self, metrics: &'static [&'static str]) -> Self {
        Self { metrics, ..self }
    }

    /// Writes this version of the configuration into the line of each batch.
    #[must_use]
    pub fn with_config(self, version: String) -> Self {
        Self { config: Some(version), ..self }
    }

    /// Writes lines with `write` instead of to standard output.
    #[must_use]
    pub fn with_writer(self, write: impl Fn(&Value) + Send + Sync + 'static) -> Self {
        Self { write: Arc::new(write), ..self }
    }

    /// Writes the line of the batch, and one more line for each code of its bad rows.
    ///
    /// `extra` holds fields of this function alone. They are logged, and are metrics where
    /// [`MetricsLog::with_metrics`] names them.
    pub fn write_batch(
        &self,
        counts: &BatchCounts,
        codes: &BTreeMap<Code, u64>,
        took: Duration,
        extra: Value,
        now: Timestamp,
    ) {
        let counts = json!(counts);
        let mut names = names_of(&counts);
        let own = self.metrics.iter().filter(|name| extra.get(name).is_some());
        names.extend(own.map(|&name| name.to_owned()));
        let mut line = self.line(&[&["function"]], names, now);
        merge(&mut line, counts);
        merge(&mut line, extra);
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if let Some(version) = &self.config {
            merge(&mut line, json!({ "config": version }));
        }
        self.finish(line, json!({"message": "batch", "duration_ms": duration_ms}));
        self.write_codes("bad rows", "quarantined", &[&["function", "code"]], codes, now);
    }

    /// Writes one line for each code of the rows rejected at ingest.
    ///
    /// The producer received the rejection in the response, so batch counts leave these rows out.
    /// The metric `rejected` has the dimension sets `function`, and `function` with `code`.
    pub fn write_rejected(&self, codes: &BTreeMap<Code, u64>, now: Timestamp) {
        let dimensions: [&[&str]; 2] = [&["function"], &["function", "code"]];
        self.write_codes("rejected", "rejected", &dimensions, codes, now);
    }

    /// Writes one line with the alert counts of each rule that matched.
    ///
    /// The metrics have the dimension `function`; `alerts_matched` also has `rule`.
    pub fn write_alert_counts(&self, counts: &BTreeMap<String, AlertCounts>, now: Timestamp) {
        for (rule, counts) in counts {
            let counts = json!(counts);
            let mut line = self.line(&[&["function"]], names_of(&counts), now);
            let by_rule = self.line(&[&["function", "rule"]], vec!["alerts_matched".into()], now);
            if let Some(directives) = line["_aws"]["CloudWatchMetrics"].as_array_mut() {
                directives.push(by_rule["_aws"]["CloudWatchMetrics"][0].clone());
            }
            merge(&mut line, counts);
            self.finish(line, json!({"message": "alerts", "rule": rule}));
        }
    }

    /// Writes one line for each kind of fault of events, with its count as the metric `faults`.
    ///
    /// The metric has the dimension sets `function`, and `function`, `dataset`, `field` and `code`.
    pub fn write_faults(&self, faults: &BTreeMap<Fault, u64>, now: Timestamp) {
        let dimensions: [&[&str]; 2] = [&["function"], &["function", "dataset", "field", "code"]];
        for (Fault { dataset, field, code }, count) in faults {
            let line = self.line(&dimensions, vec!["faults".to_owned()], now);
            let fields = json!({"message": "faults", "dataset": dataset, "field": field,
                "code": code, "faults": count});
            self.finish(line, fields);
        }
    }

    /// Writes one line for each dataset with windows emitted, or with the age of its watermark.
    ///
    /// The metrics have the dimension sets `function`, and `function` with `dataset`.
    pub fn write_windows(&self, datasets: &BTreeMap<&str, WindowMetrics>, now: Timestamp) {
        let dimensions: [&[&str]; 2] = [&["function"], &["function", "dataset"]];
        for (dataset, WindowMetrics { emitted, watermark_age }) in datasets {
            if *emitted == 0 && watermark_age.is_none() {
                continue;
            }
            let mut line = self.line(&dimensions, vec!["windows_emitted".to_owned()], now);
            if let Some(age) = watermark_age {
                let metric = json!({"Name": "watermark_age_s", "Unit": "Seconds"});
                if let Some(metrics) =
                    line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array_mut()
                {
                    metrics.push(metric);
                }
                merge(&mut line, json!({ "watermark_age_s": age.as_secs() }));
            }
            let fields = json!({"message": "windows", "dataset": dataset,
                "windows_emitted": emitted});
            self.finish(line, fields);
        }
    }

    /// Writes a line that adds 1 to the metric `name`: without dimensions, so that one alarm
    /// watches all functions, and with the dimension `function`.
    pub fn write_count(&self, message: &str, name: &str, now: Timestamp) {
        self.write_total(message, name, 1, now);
    }

    /// Writes a line that adds `count` to the metric `name`, as [`write_count`](Self::write_count).
    pub fn write_total(&self, message: &str, name: &str, count: u64, now: Timestamp) {
        let line = self.line(&[&[], &["function"]], vec![name.to_owned()], now);
        self.finish(line, json!({"message": message, (name): count}));
    }

    /// Writes one line for each code, with its count as the metric `name`.
    fn write_codes(
        &self,
        message: &str,
        name: &str,
        dimensions: &[&[&str]],
        codes: &BTreeMap<Code, u64>,
        now: Timestamp,
    ) {
        for (code, count) in codes {
            let line = self.line(dimensions, vec![name.to_owned()], now);
            self.finish(line, json!({"message": message, "code": code, (name): count}));
        }
    }

    /// Writes `line` with these last fields.
    fn finish(&self, mut line: Value, fields: Value) {
        merge(&mut line, fields);
        (self.write)(&line);
    }

    fn line(&self, dimensions: &[&[&str]], metrics: Vec<String>, now: Timestamp) -> Value {
        let metrics: Vec<_> =
            metrics.into_iter().map(|name| json!({"Name": name, "Unit": "Count"})).collect();
        json!({
            "_aws": {
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": self.namespace,
                    "Dimensions": dimensions,
                    "Metrics": metrics,
                }],
            },
            "level": "INFO",
            "function": self.function,
        })
    }
}

fn names_of(counts: &Value) -> Vec<String> {
    counts.as_object().into_iter().flat_map(Map::keys).cloned().collect()
}

fn merge(line: &mut Value, fields: Value) {
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines that `write` writes to the log of `function`.
    fn lines(function: &'static str, write: impl FnOnce(&MetricsLog)) -> Vec<Value> {
        let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let written = lines.clone();
        let metrics_log = MetricsLog::new(function, "Tributary/dev".into());
        write(&metrics_log.with_writer(move |line| written.lock().unwrap().push(line.clone())));
        lines.lock().unwrap().clone()
    }

    #[test]
    fn single_occurrence_counts_one() {
        let lines = lines("alerts", |log| {
            log.write_count("config", "config_refused", Timestamp::UNIX_EPOCH);
        });

        let line = &lines[0];
        assert_eq!((&line["message"], &line["config_refused"]), (&json!("config"), &json!(1)));
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(metrics["Metrics"], json!([{"Name": "config_refused", "Unit": "Count"}]));
        assert_eq!(metrics["Dimensions"], json!([[], ["function"]]));
    }

    #[test]
    fn batch_line_is_log_and_metric() {
        let counts =
            BatchCounts { received: 3, delivered: 2, quarantined: 1, ..BatchCounts::default() };
        let codes = BTreeMap::from([(Code::OutOfRange, 1)]);
        let took = Duration::from_millis(12);

        let lines = lines("transform", |log| {
            log.write_batch(&counts, &codes, took, json!({"retried": 0}), Timestamp::UNIX_EPOCH);
        });

        insta::assert_json_snapshot!(lines);
    }

    #[test]
    fn faults_count_by_dataset_field_and_code() {
        let [dataset, field, code] =
            ["telemetry", "humidity_pct", "out_of_range"].map(str::to_owned);
        let faults = BTreeMap::from([(Fault { dataset, field, code }, 2)]);

        let lines = lines("transform", |log| log.write_faults(&faults, Timestamp::UNIX_EPOCH));

        insta::assert_json_snapshot!(lines);
    }

    #[test]
    fn windows_count_by_dataset_with_watermark_age() {
        let stalled =
            WindowMetrics { emitted: 0, watermark_age: Some(SignedDuration::from_mins(31)) };
        let emitting = WindowMetrics { emitted: 3, watermark_age: None };
        let datasets =
            [("telemetry", stalled), ("flood", emitting), ("covid", WindowMetrics::default())];

        let lines = lines("windows", |log| {
            log.write_windows(&datasets.into(), Timestamp::UNIX_EPOCH);
        });

        insta::assert_json_snapshot!(lines);
    }

    #[test]
    fn alert_counts_have_function_and_rule_dimensions() {
        let counts = AlertCounts { matched: 12, sent: 4, digested: 8, ..AlertCounts::default() };
        let counts = BTreeMap::from([("severe-accident".to_owned(), counts)]);

        let lines = lines("alerts", |log| log.write_alert_counts(&counts, Timestamp::UNIX_EPOCH));

        insta::assert_json_snapshot!(lines);
    }

    #[test]
    fn rejected_rows_count_by_function_and_code() {
        let codes = BTreeMap::from([(Code::OutOfRange, 2)]);

        let lines = lines("ingest-http", |log| log.write_rejected(&codes, Timestamp::UNIX_EPOCH));

        insta::assert_json_snapshot!(lines);
    }
}
