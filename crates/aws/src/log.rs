//! The one line a batch: a structured log record that CloudWatch also reads as metrics (EMF).
//!
//! Format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tributary_model::bad_row::Code;
use tributary_model::counts::BatchCounts;
use tributary_rules::alert::AlertCounts;

/// Who speaks: the function, and the namespace of its metrics.
#[derive(Clone)]
pub struct MetricsLog {
    function: &'static str,
    namespace: String,
    write: Arc<dyn Fn(&Value) + Send + Sync>,
}

impl MetricsLog {
    /// The journal of `function`, whose counts go to the CloudWatch namespace `namespace`.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "standard output is where Lambda reads EMF")]
    pub fn new(function: &'static str, namespace: String) -> Self {
        Self { function, namespace, write: Arc::new(|line| println!("{line}")) }
    }

    /// The same, whose lines go to `write` and not to standard output.
    #[must_use]
    pub fn with_writer(self, write: impl Fn(&Value) + Send + Sync + 'static) -> Self {
        Self { write: Arc::new(write), ..self }
    }

    /// Writes the batch's line, and one more for each code of its bad rows, to standard output.
    ///
    /// `extra` are fields of this function alone; they are logged and are no metrics.
    pub fn write_batch(
        &self,
        counts: &BatchCounts,
        codes: &BTreeMap<Code, u64>,
        took: Duration,
        extra: Value,
        now: Timestamp,
    ) {
        self.lines(counts, codes, took, extra, now).iter().for_each(|line| (self.write)(line));
    }

    /// Writes one line for each code of what was refused at the door: rows whose sender was told, so
    /// that they are in no book. The metric `rejected` has the dimension `function`, and also `code`.
    pub fn write_rejected(&self, codes: &BTreeMap<Code, u64>, now: Timestamp) {
        self.rejected_lines(codes, now).iter().for_each(|line| (self.write)(line));
    }

    /// Writes one line for each rule that matched, with the books of its alerts. The metrics have the
    /// dimension `function`; `alerts_matched` also has `rule`.
    pub fn write_alert_counts(&self, counts: &BTreeMap<String, AlertCounts>, now: Timestamp) {
        self.alerts_lines(counts, now).iter().for_each(|line| (self.write)(line));
    }

    /// Writes a line with the metric `name`, which counts one, with the dimension `function`.
    pub fn write_count(&self, message: &str, name: &str, now: Timestamp) {
        let mut line = self.line(&[&["function"]], vec![name.to_owned()], now);
        line["message"] = json!(message);
        line[name] = json!(1);
        (self.write)(&line);
    }

    fn alerts_lines(&self, counts: &BTreeMap<String, AlertCounts>, now: Timestamp) -> Vec<Value> {
        let line = |(rule, counts): (&String, &AlertCounts)| {
            let counts = json!(counts);
            let mut line = self.line(&[&["function"]], names_of(&counts), now);
            let by_rule = self.line(&[&["function", "rule"]], vec!["alerts_matched".into()], now);
            if let Some(directives) = line["_aws"]["CloudWatchMetrics"].as_array_mut() {
                directives.push(by_rule["_aws"]["CloudWatchMetrics"][0].clone());
            }
            merge(&mut line, counts);
            line["message"] = json!("alerts");
            line["rule"] = json!(rule);
            line
        };
        counts.iter().map(line).collect()
    }

    fn rejected_lines(&self, codes: &BTreeMap<Code, u64>, now: Timestamp) -> Vec<Value> {
        let line = |(code, count): (&Code, &u64)| {
            let dimensions: [&[&str]; 2] = [&["function"], &["function", "code"]];
            let mut line = self.line(&dimensions, vec!["rejected".to_owned()], now);
            line["message"] = json!("rejected");
            line["code"] = json!(code);
            line["rejected"] = json!(count);
            line
        };
        codes.iter().map(line).collect()
    }

    fn lines(
        &self,
        counts: &BatchCounts,
        codes: &BTreeMap<Code, u64>,
        took: Duration,
        extra: Value,
        now: Timestamp,
    ) -> Vec<Value> {
        let counts = json!(counts);
        let mut line = self.line(&[&["function"]], names_of(&counts), now);
        merge(&mut line, counts);
        merge(&mut line, extra);
        line["message"] = json!("batch");
        line["duration_ms"] = json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));

        let mut lines = vec![line];
        for (code, count) in codes {
            let name = "quarantined".to_owned();
            let mut line = self.line(&[&["function", "code"]], vec![name], now);
            line["message"] = json!("bad rows");
            line["code"] = json!(code);
            line["quarantined"] = json!(count);
            lines.push(line);
        }
        lines
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

    #[test]
    fn what_happened_once_counts_one() {
        let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let written = lines.clone();
        let metrics_log = MetricsLog::new("alerts", "Tributary/test".into());
        let metrics_log =
            metrics_log.with_writer(move |line| written.lock().unwrap().push(line.clone()));

        metrics_log.write_count("rules", "rules_refused", Timestamp::UNIX_EPOCH);

        let line = lines.lock().unwrap().remove(0);
        assert_eq!((&line["message"], &line["rules_refused"]), (&json!("rules"), &json!(1)));
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(metrics["Metrics"], json!([{"Name": "rules_refused", "Unit": "Count"}]));
        assert_eq!(metrics["Dimensions"], json!([["function"]]));
    }

    #[test]
    fn a_line_is_a_log_record_and_a_metric() {
        let metrics_log = MetricsLog::new("transform", "Tributary/dev".into());
        let counts =
            BatchCounts { received: 3, delivered: 2, quarantined: 1, ..BatchCounts::default() };
        let codes = BTreeMap::from([(Code::OutOfRange, 1)]);
        let took = Duration::from_millis(12);

        let lines =
            metrics_log.lines(&counts, &codes, took, json!({"retried": 0}), Timestamp::UNIX_EPOCH);

        insta::assert_json_snapshot!(lines);
    }

    #[test]
    fn the_books_of_alerts_count_by_function_and_their_matches_by_rule_too() {
        let metrics_log = MetricsLog::new("alerts", "Tributary/dev".into());
        let counts = AlertCounts { matched: 12, sent: 4, digested: 8, ..AlertCounts::default() };
        let counts = BTreeMap::from([("severe-accident".to_owned(), counts)]);

        let lines = metrics_log.alerts_lines(&counts, Timestamp::UNIX_EPOCH);

        insta::assert_json_snapshot!(lines);
    }

    #[test]
    fn what_was_rejected_counts_by_function_and_by_code() {
        let metrics_log = MetricsLog::new("ingest-http", "Tributary/dev".into());
        let codes = BTreeMap::from([(Code::OutOfRange, 2)]);

        let lines = metrics_log.rejected_lines(&codes, Timestamp::UNIX_EPOCH);

        insta::assert_json_snapshot!(lines);
    }
}
