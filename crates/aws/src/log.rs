//! Metrics log: one structured line per batch, which CloudWatch also reads as metrics (EMF).
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

/// Metrics log of one function: writes one structured line per batch.
#[derive(Clone)]
pub struct MetricsLog {
    function: &'static str,
    namespace: String,
    write: Arc<dyn Fn(&Value) + Send + Sync>,
}

impl MetricsLog {
    /// Creates the log of `function`, with metrics in the CloudWatch namespace `namespace`.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "standard output is where Lambda reads EMF")]
    pub fn new(function: &'static str, namespace: String) -> Self {
        Self { function, namespace, write: Arc::new(|line| println!("{line}")) }
    }

    /// Writes lines with `write` instead of to standard output.
    #[must_use]
    pub fn with_writer(self, write: impl Fn(&Value) + Send + Sync + 'static) -> Self {
        Self { write: Arc::new(write), ..self }
    }

    /// Writes the line of the batch, and one more line for each code of its bad rows.
    ///
    /// `extra` holds fields of this function alone. They are logged but are not metrics.
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

    /// Writes one line for each code of the rows rejected at ingest.
    ///
    /// The producer received the rejection in the response, so batch counts leave these rows out.
    /// The metric `rejected` has the dimension sets `function`, and `function` with `code`.
    pub fn write_rejected(&self, codes: &BTreeMap<Code, u64>, now: Timestamp) {
        self.rejected_lines(codes, now).iter().for_each(|line| (self.write)(line));
    }

    /// Writes one line with the alert counts of each rule that matched.
    ///
    /// The metrics have the dimension `function`; `alerts_matched` also has `rule`.
    pub fn write_alert_counts(&self, counts: &BTreeMap<String, AlertCounts>, now: Timestamp) {
        self.alerts_lines(counts, now).iter().for_each(|line| (self.write)(line));
    }

    /// Writes a line that adds 1 to the metric `name`, with the dimension `function`.
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
    fn single_occurrence_counts_one() {
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
    fn batch_line_is_log_and_metric() {
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
    fn alert_counts_have_function_and_rule_dimensions() {
        let metrics_log = MetricsLog::new("alerts", "Tributary/dev".into());
        let counts = AlertCounts { matched: 12, sent: 4, digested: 8, ..AlertCounts::default() };
        let counts = BTreeMap::from([("severe-accident".to_owned(), counts)]);

        let lines = metrics_log.alerts_lines(&counts, Timestamp::UNIX_EPOCH);

        insta::assert_json_snapshot!(lines);
    }

    #[test]
    fn rejected_rows_count_by_function_and_code() {
        let metrics_log = MetricsLog::new("ingest-http", "Tributary/dev".into());
        let codes = BTreeMap::from([(Code::OutOfRange, 2)]);

        let lines = metrics_log.rejected_lines(&codes, Timestamp::UNIX_EPOCH);

        insta::assert_json_snapshot!(lines);
    }
}
