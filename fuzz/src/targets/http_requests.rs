//! Request to `ingest-http`, as Lambda passes it on.

use fn_ingest_http::answer::HttpAnswer;
use fn_ingest_http::handler::IngestHttp;
use serde_json::Value;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::producer::Producer;
use tributary_aws::takeover::KnownDatasets;
use tributary_model::pairs::Pairs;
use tributary_pipeline::sender::Senders;
use tributary_pipeline::transform::read_raw;
use tributary_testkit::Answer;

use super::judged::outcome_of;
use crate::bench::{CapturedLog, Records, invoke, now, stream, transformer};
use crate::{Target, seeds};

pub(super) const TARGET: Target =
    Target { name: "http-requests", check, seeds: seeds::http_requests };

/// Maximum length of an answer to Lambda.
///
/// See <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;

thread_local! {
    static LOG: CapturedLog = CapturedLog::default();
    static INGEST: IngestHttp<Records> = IngestHttp {
        raw: Producer::new(stream()).with_jitter_seed(0),
        transformer: transformer(),
        senders: Senders::default(),
        known: KnownDatasets::default(),
        metrics_log: LOG.with(|log| log.metrics_log("ingest-http")),
        clock: now,
    };
}

fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Some(answered) = asked(text, []) else { return };
    assert_eq!(Some(&answered), asked(text, []).as_ref(), "a repeated request has the same ids");
    if let Some(text) = rewritten(text) {
        assert_eq!(Some(answered), asked(&text, []), "a rewritten request is the same");
    }
}

/// Rewrites a payload with other blanks and escapes; `None` if a name occurs twice.
fn rewritten(text: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Headers {
        #[serde(default)]
        headers: Pairs<String, String>,
    }
    let Headers { headers } = serde_json::from_str(text).ok()?;
    let value: Value = serde_json::from_str(text).ok()?;
    let is_same = value["headers"].as_object().map_or(0, serde_json::Map::len) == headers.len();
    is_same.then(|| value.to_string())
}

/// Answer to a request, with the record ids and payloads that were stored.
#[derive(Debug, PartialEq)]
pub(super) struct Answered {
    pub status: u16,
    pub body: Value,
    pub stored: Vec<(String, String)>,
}

impl Answered {
    pub(super) fn items(&self) -> &[Value] {
        self.body["items"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// Sends a request to a stream that follows `script`, and asserts that the answer is as documented;
/// returns `None` if the text is no request.
pub(super) fn asked(text: &str, script: impl IntoIterator<Item = Answer>) -> Option<Answered> {
    let (answer, stored) = INGEST.with(|ingest| {
        ingest.raw.target().restart(script);
        let answer = invoke(|deadline| ingest.handle(text, deadline));
        (answer, ingest.raw.target().restart([]))
    });
    let Ok(answer) = answer else {
        LOG.with(CapturedLog::forget);
        assert!(stored.is_empty());
        return None;
    };
    let counts = LOG.with(CapturedLog::counts);
    let body = body_of(&answer);

    let stored: Vec<_> = stored.iter().map(stored_record).collect();
    let entries = body["items"].as_array().cloned().unwrap_or_default();
    let with = |status: &str| entries.iter().filter(|it| it["status"] == status).count();
    let (accepted, rejected, again) = (with("accepted"), with("rejected"), with("send_again"));
    assert_eq!(accepted + rejected + again, entries.len(), "each item has one status");
    let expected: &[u16] = match (entries.len(), accepted, rejected, again) {
        (0, ..) => &[400, 404, 405, 413, 415],
        (_, _, _, 1..) => &[503],
        (_, _, 0, _) => &[202],
        (_, 0, _, _) => &[422],
        _ => &[207],
    };
    assert!(expected.contains(&answer.status_code), "{} {body}", answer.status_code);
    assert_eq!(answer.headers.contains_key("retry-after"), answer.status_code == 503);
    assert_eq!((counts.delivered, counts.undelivered), (accepted as u64, again as u64));
    assert!(stored.len() >= accepted, "accepted items are stored");
    Some(Answered { status: answer.status_code, body, stored })
}

fn body_of(answer: &HttpAnswer) -> Value {
    assert!(serde_json::to_string(answer).unwrap().len() <= MAX_ANSWER_BYTES);
    assert_eq!(answer.headers["content-type"], "application/json");
    let is_header = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    assert!(answer.headers.values().all(|value| is_header(value)));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["status"], answer.status_code);
    assert!(!body["message"].as_str().unwrap().is_empty());
    body
}

/// Asserts that `transform` makes an event of an accepted record, and returns its id and payload.
fn stored_record(record: &StreamRecord) -> (String, String) {
    assert!(!record.data.contains(&b'\n') && !record.data.contains(&b'\r'), "one line");
    assert!(!record.partition_key.is_empty() && record.partition_key.chars().count() <= 256);
    let raw = read_raw(&record.data).unwrap();
    outcome_of(&record.data).unwrap();
    (raw.record_id.into_owned(), raw.payload.get().to_owned())
}
