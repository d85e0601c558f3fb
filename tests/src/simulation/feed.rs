//! Input of the deployment: objects, requests, records of topics, and foreign records in the
//! streams.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::put::EntryResult;
use tributary_datagen::FeedKind;
use tributary_datasets::ingest::SourceName;
use tributary_model::config_error::ConfigError;
use tributary_model::id::Id;
use tributary_pipeline::sender::{SenderSpec, Senders};
use tributary_rows::Position;
use tributary_testkit::mapping::kafka::KafkaEntry;
use tributary_testkit::service::{SimStream, Store};
use tributary_testkit::{Fault, clock};

use super::input::{FEEDS, Row, Rows, json_lines};
use super::plan::Plan;
use super::takeover;
use super::world::{World, configuration};

const BUCKET: &str = "source";
const ACCOUNT: &str = "111122223333";

/// Principal that may send rows of every dataset.
pub(super) const FLEET: &str = "fleet";

/// Principal that may send rows of devices with its name.
const STRANGER: &str = "stranger";

const SECOND: Duration = Duration::from_secs(1);

impl World {
    /// Sends all input: objects, requests, topics, and foreign records in the streams.
    pub(super) async fn feed(self: Rc<Self>) {
        let mut rows = Rows::new(self.plan.seed, self.plan.bad, self.plan.disorder);
        self.queue
            .push(json!({"Service": "Amazon S3", "Event": "s3:TestEvent"}).to_string(), SECOND);
        self.notify_of_other_event();
        let Plan { objects, requests, produced, .. } = self.plan;
        let steps = objects.max(requests).max(produced);
        for step in 0..steps {
            let size = 1 + rows.below(self.plan.rows);
            if step < objects {
                let items = rows.take(size);
                self.push_config(&items);
                self.put_object(step, &items, &mut rows);
            }
            if step < requests {
                let items = rows.take(size);
                self.push_config(&items);
                let key = rows.chance(0.5).then_some(step);
                self.lock().unanswered += 1;
                spawn_local(self.clone().send(items.clone(), key, FLEET));
                if self.plan.strangers {
                    let items = [vec![own_row_of_stranger(step)], items].concat();
                    self.lock().unanswered += 1;
                    spawn_local(self.clone().send(items, key, STRANGER));
                }
            }
            if step < produced {
                let items = rows.take(size);
                self.push_config(&items);
                self.produce(&items, &mut rows);
            }
            for stream in [&self.raw, &self.events] {
                if self.faults.occurs(Fault::Poison) {
                    self.poison(stream, step, &mut rows);
                }
            }
            sleep(SECOND * rows.below(20) as u32).await;
        }
    }

    /// Puts the configuration with the late dataset into use, before its first rows are sent.
    fn push_config(&self, rows: &[Row]) {
        let is_late = rows.iter().any(|row| row.dataset == takeover::LATE_DATASET);
        if self.plan.takeover && is_late {
            takeover::push(&self.config, &takeover::whole());
        }
    }

    /// Pushes a notification of an event that the function does not know.
    fn notify_of_other_event(&self) {
        let body = json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectRestore:Completed",
        "s3": {"bucket": {"name": BUCKET}, "object": {"key": "telemetry/restored.jsonl"}}}]})
        .to_string();
        self.lock().poison.insert(body.clone().into_bytes());
        self.queue.push(body, SECOND);
    }

    /// Puts an object and its S3 notification. There are few keys, so a later object is often a new
    /// version.
    fn put_object(self: &Rc<Self>, step: usize, rows: &[Row], chance: &mut Rows) {
        let Some(dataset) = rows.first().map(|row| row.dataset) else { return };
        let key = format!("{dataset}/file {}.jsonl", step % 2);
        let (bytes, offsets) = json_lines(rows);
        let version = self.source.put(&key, bytes);
        let (version_id, etag) = (format!("v{version}"), format!("etag-v{version}"));
        let name = SourceName::s3(BUCKET, &key, Some(&version_id), Some(&etag));
        let is_deleted = self.faults.occurs(Fault::ObjectDeleted);
        let mut accepted = self.lock();
        for (number, (offset, row)) in offsets.into_iter().enumerate() {
            let position = Position { offset, row: number as u64 + 1 };
            let id = name.record_id(position).to_string();
            if is_deleted {
                let object = format!("s3://{BUCKET}/{key}?versionId={version_id}");
                accepted.deleted.insert(id.clone(), object);
            }
            let sequence = format!("{key} {version_id}");
            accepted.sequences.entry(sequence).or_default().push(id.clone());
            accepted.rows.insert(id, row);
        }
        drop(accepted);
        let notification = json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3",
        "eventName": if step.is_multiple_of(2) { "ObjectCreated:Put" } else { "s3:ObjectCreated:Put" },
        "s3": {"bucket": {"name": BUCKET}, "object": {
            "key": key.replace(' ', "+"), "versionId": version_id, "eTag": etag,
            "sequencer": format!("{step:016}"),
        }}}]})
        .to_string();
        if is_deleted {
            let (world, wait) = (self.clone(), SECOND * chance.below(10) as u32);
            spawn_local(async move {
                sleep(wait).await;
                world.source.delete(&key, version);
            });
        }
        let late = self.faults.occurs(Fault::LateNotification);
        let delay = if late { SECOND * (30 + chance.below(600) as u32) } else { SECOND };
        if self.faults.occurs(Fault::DuplicateNotification) {
            self.queue.push(notification.clone(), delay + SECOND * chance.below(90) as u32);
        }
        self.queue.push(notification, delay);
    }

    /// Produces rows to the partitions of their dataset's topic, with tombstones between them.
    fn produce(&self, rows: &[Row], chance: &mut Rows) {
        for row in rows {
            let partition = chance.below(3) as u32;
            let key = match chance.below(3) {
                0 => None,
                1 => Some(vec![0xff, 0xfe]),
                _ => Some(format!("device-{}", chance.below(5)).into_bytes()),
            };
            if chance.chance(0.05) {
                let tombstone = KafkaEntry { key: key.clone(), ..KafkaEntry::default() };
                self.topics.produce(row.dataset, partition, tombstone);
            }
            let value = Some(row.line.clone());
            let entry = KafkaEntry { key, value, ..KafkaEntry::default() };
            let offset = self.topics.produce(row.dataset, partition, entry).to_string();
            let place = ["kafka", row.dataset, &partition.to_string(), &offset];
            let id = Id::of_text(&place).to_string();
            let mut accepted = self.lock();
            let sequence = format!("{}-{partition}", row.dataset);
            accepted.sequences.entry(sequence).or_default().push(id.clone());
            accepted.rows.insert(id, row.clone());
        }
    }

    /// Sends items as a device does: it retries until it has an answer.
    pub(super) async fn send(
        self: Rc<Self>,
        items: Vec<Row>,
        key: Option<usize>,
        sender: &'static str,
    ) {
        let request = request(&items, key, sender);
        // A stranger may send its own row only: whatever else of it is stored is unexpected.
        let permitted = if sender == STRANGER { 1 } else { items.len() };
        let items = &items[..permitted];
        let mut wait = SECOND;
        loop {
            let answer = self.functions.ingest_http.invoke(request.clone()).await;
            let answer: Value =
                answer.ok().and_then(|it| serde_json::from_str(&it).ok()).unwrap_or_default();
            let body = answer["body"].as_str().unwrap_or_default();
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            self.note_accepted(items, &body);
            if matches!(answer["statusCode"].as_u64(), Some(200..=299 | 400..=499)) {
                break;
            }
            sleep(wait).await;
            wait = (2 * wait).min(60 * SECOND);
        }
        self.lock().unanswered -= 1;
    }

    fn note_accepted(&self, items: &[Row], body: &Value) {
        let mut accepted = self.lock();
        for entry in body["items"].as_array().into_iter().flatten() {
            let item = entry["item"].as_u64().and_then(|n| items.get(n as usize));
            let id = entry["record_id"].as_str().filter(|_| entry["status"] == "accepted");
            if let (Some(row), Some(id)) = (item, id) {
                accepted.rows.insert(id.to_owned(), row.clone());
            }
        }
    }

    /// Writes a record that no function of ours wrote.
    fn poison(&self, stream: &Arc<SimStream>, step: usize, chance: &mut Rows) {
        let name = if Arc::ptr_eq(stream, &self.raw) { "raw" } else { "events" };
        let data = match chance.below(4) {
            0 => format!("poison {name} {step}").into_bytes(),
            1 => format!("{{\"poison\":\"{name} {step}\"}}").into_bytes(),
            2 => vec![0, 159, 146, step as u8, name.len() as u8],
            // The magic number of an aggregate without an aggregate.
            _ => [&[0xf3, 0x89, 0x9a, 0xc2], name.as_bytes(), &step.to_be_bytes()].concat(),
        };
        if stream.take(&StreamRecord::new("poison", data.clone())) == EntryResult::Stored {
            self.lock().poison.insert(data);
        }
    }
}

/// Returns a row of a device that the stranger may send rows of.
fn own_row_of_stranger(step: usize) -> Row {
    let row = json!({
        "sensor_id": format!("stranger-{step}"), "humidity": 40,
        "timestamp": clock::now().to_string(),
    });
    Row { dataset: "telemetry", line: row.to_string().into_bytes() }
}

/// Returns the senders of a simulation with a stranger.
pub(super) fn senders() -> Result<Senders, ConfigError> {
    let sender = |name: &str, datasets: &[&str], entities| SenderSpec {
        principal: format!("{ACCOUNT}:user/{name}"),
        datasets: datasets.iter().map(|it| (*it).to_owned()).collect(),
        entities,
    };
    let of_fleet = sender(FLEET, &FEEDS.map(FeedKind::name), None);
    let of_stranger = sender(STRANGER, &["telemetry"], Some(vec!["stranger-*".to_owned()]));
    Senders::compile(&[of_fleet, of_stranger], &configuration()?.schemas())
}

/// Returns a request as a function URL passes it on. Without a key, an item is identified by its
/// content.
fn request(items: &[Row], key: Option<usize>, sender: &str) -> String {
    let dataset = items.last().map_or("telemetry", |row| row.dataset);
    let lines: Vec<_> = items.iter().map(|row| row.line.clone()).collect();
    let mut headers = json!({"content-type": "application/x-ndjson"});
    if let Some(key) = key {
        headers["idempotency-key"] = json!(format!("request-{key}"));
    }
    let iam = json!({"userArn": format!("arn:aws:iam::{ACCOUNT}:user/{sender}")});
    json!({
        "version": "2.0",
        "rawPath": format!("/v1/{dataset}"),
        "headers": headers,
        "requestContext": {
            "http": {"method": "POST"}, "authorizer": {"iam": iam},
            "timeEpoch": clock::now().as_millisecond(),
        },
        "body": base64_simd::STANDARD.encode_to_string(lines.join(&b'\n')),
        "isBase64Encoded": true,
    })
    .to_string()
}
