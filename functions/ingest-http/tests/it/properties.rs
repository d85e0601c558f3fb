//! Properties of any request: each item has one status, and the accepted items are the stored ones.

use std::time::Duration;

use fn_ingest_http::handler::IngestHttp;
use proptest::prelude::*;
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_pipeline::sender::Senders;
use tributary_testkit::{Answer, MemorySink};

const STREAM: Limits = Limits { entries: 3, bytes: 5 << 20, entry_bytes: 1 << 20 };

/// Generates an item as text: mostly an accident, sometimes an invalid one, sometimes no object at
/// all.
fn item() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => (0..5_u32, 0..50_u32).prop_map(|(severity, id)| json!({
            "ID": format!("A-{id}"), "Severity": severity, "Start_Time": "2020-04-13 06:02:25",
            "Start_Lat": 29.72, "Start_Lng": -95.33, "State": "TX",
        }).to_string()),
        1 => Just("{\"ID\":\"A-1\"}".to_owned()),
        1 => Just("7".to_owned()),
    ]
}

fn script() -> impl Strategy<Value = Vec<Answer>> {
    let answer = prop_oneof![
        Just(Answer::Take),
        Just(Answer::Throttle),
        proptest::collection::vec(0..3_usize, 0..3).prop_map(Answer::Fail),
    ];
    proptest::collection::vec(answer, 0..6)
}

/// Sends a request with this body; returns the answer and the ids that were stored.
fn sent(body: &[u8], kind: &str, script: Vec<Answer>) -> (u16, Value, Vec<String>) {
    let ingest = IngestHttp {
        raw: Producer::new(MemorySink::scripted(STREAM, StreamRecord::size, script)),
        transformer: Configuration::shipped().unwrap().transformer().unwrap(),
        senders: Senders::default(),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("ingest-http", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00Z".parse().unwrap(),
    };
    let payload = json!({
        "rawPath": "/v1/accidents", "headers": { "content-type": kind },
        "requestContext": { "http": { "method": "POST" } },
        "body": base64_simd::STANDARD.encode_to_string(body), "isBase64Encoded": true,
    });
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let answer = runtime.block_on(async {
        let deadline = Deadline::after(Duration::from_secs(2));
        ingest.handle(&payload.to_string(), deadline).await.unwrap()
    });
    let stored = ingest.raw.target().stored().into_iter().map(|record| {
        let record: Value = serde_json::from_slice(&record.data).unwrap();
        record["record_id"].as_str().unwrap().to_owned()
    });
    (answer.status_code, serde_json::from_str(&answer.body).unwrap(), stored.collect())
}

proptest! {
    #[test]
    fn each_item_has_one_status_accepted_is_stored(
        items in proptest::collection::vec(item(), 1..12),
        script in script(),
        as_lines in any::<bool>(),
    ) {
        let (body, kind) = if as_lines {
            (items.join("\n"), "application/x-ndjson")
        } else {
            (format!("[{}]", items.join(",")), "application/json")
        };

        let (status, body, stored) = sent(body.as_bytes(), kind, script);

        let entries = body["items"].as_array().unwrap();
        prop_assert_eq!(entries.len(), items.len());
        let with = |status: &str| entries.iter().filter(|it| it["status"] == status).count();
        let (accepted, rejected, again) = (with("accepted"), with("rejected"), with("send_again"));
        prop_assert_eq!(accepted + rejected + again, items.len());
        prop_assert_eq!(&body["accepted"], accepted);
        prop_assert_eq!(&body["rejected"], rejected);
        let expected = match (accepted, rejected, again) {
            (_, _, 1..) => 503,
            (_, 0, _) => 202,
            (0, _, _) => 422,
            _ => 207,
        };
        prop_assert_eq!(status, expected);
        for entry in entries.iter().filter(|it| it["status"] == "accepted") {
            prop_assert!(stored.iter().any(|id| entry["record_id"] == id.as_str()));
        }
    }

    #[test]
    fn any_bytes_are_answered(body in proptest::collection::vec(any::<u8>(), 0..200), as_lines in any::<bool>()) {
        let kind = if as_lines { "application/x-ndjson" } else { "application/json" };

        let (status, body, stored) = sent(&body, kind, Vec::new());

        prop_assert!(matches!(status, 400 | 422), "{} {}", status, body);
        prop_assert!(stored.is_empty());
    }
}
