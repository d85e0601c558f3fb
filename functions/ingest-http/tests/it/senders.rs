//! Requests of principals that the configuration binds to datasets and entities.

use serde_json::{Value, json};
use tributary_config::{Bundle, Configuration, PIPELINE_FILE};

use crate::requests::{answer, ingest};

/// Returns a request with readings of some sensors, signed by a session of the role `Fleet`.
fn request(dataset: &str, sensors: &[&str], client: Option<&str>) -> String {
    let arn = "arn:aws:sts::1:assumed-role/Fleet/sensor-1";
    let reading = |sensor: &&str| json!({"sensor_id": sensor, "timestamp": "2026-11-20T09:59:00Z", "humidity": 40});
    let items: Vec<_> = sensors.iter().map(reading).collect();
    let mut headers = json!({"content-type": "application/json"});
    if let Some(client) = client {
        headers["x-client-id"] = json!(client);
    }
    let context = json!({
        "http": {"method": "POST"}, "authorizer": {"iam": {"userArn": arn}},
    });
    json!({
        "rawPath": format!("/v1/{dataset}"), "headers": headers, "requestContext": context,
        "body": json!(items).to_string(),
    })
    .to_string()
}

#[tokio::test(start_paused = true)]
async fn sender_is_bound_to_dataset_and_entities() {
    let senders = "[[senders]]\nprincipal = \"1:assumed-role/Fleet\"\n\
                   datasets = [\"telemetry\"]\nentities = [\"{session}\"]\n";
    let bundle = Bundle::shipped().with(PIPELINE_FILE, senders);
    let mut ingest = ingest([]);
    ingest.senders = Configuration::load(&bundle).unwrap().senders().unwrap();

    let (answer_to_flood, body) = answer(&ingest, &request("flood", &["sensor-1"], None)).await;
    assert_eq!(answer_to_flood.status_code, 403);
    assert_eq!(body["error"], "not_permitted");

    let sensors = ["sensor-1", "sensor-2"];
    let (_, body) = answer(&ingest, &request("telemetry", &sensors, None)).await;
    assert_eq!(body["items"][0]["status"], "accepted");
    assert_eq!(body["items"][1]["code"], "not_permitted");
    assert_eq!(ingest.raw.target().stored().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn source_names_who_signed() {
    let ingest = ingest([]);
    for (client, expected) in [
        (None, "&item=0&session=sensor-1"),
        (Some("gateway"), "&item=0&principal=1:assumed-role/Fleet&session=sensor-1"),
    ] {
        answer(&ingest, &request("telemetry", &["sensor-1"], client)).await;
        let stored = ingest.raw.target().stored();
        let record: Value = serde_json::from_slice(&stored.last().unwrap().data).unwrap();
        let source = record["source"].as_str().unwrap();
        assert!(source.ends_with(expected), "{source}");
    }
}
