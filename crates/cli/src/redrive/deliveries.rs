//! Records that Firehose could not deliver: each goes to the layer it is missing from, and nowhere
//! else.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use tributary_aws::bucket::{Bucket, Entry};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::parked::UndeliveredRecord;
use tributary_aws::producer::{Outbound, Producer};
use tributary_model::event::Event;
use tributary_model::id::Id;

use super::Redrive;
use crate::lines::{Unreadable, lines};
use crate::progress::Progress;

/// Time limit for one object, after which the redrive leaves it in place.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Delivery whose failed records are below `errors/<name>/`.
#[derive(Clone, Copy)]
struct Delivery {
    name: &'static str,
    bucket: &'static str,
    /// Prefix of the layer's day, if the records go there as the lines of an object. Otherwise they
    /// go through a delivery stream with the format conversion that failed.
    day: Option<&'static str>,
    is_gzip: bool,
}

const DELIVERIES: [Delivery; 3] = [
    Delivery {
        name: "raw",
        bucket: "RawBucketName",
        day: Some("raw/dt=%Y-%m-%d/hour=%H/"),
        is_gzip: true,
    },
    Delivery {
        name: "quarantine",
        bucket: "RawBucketName",
        day: Some("quarantine/dt=%Y-%m-%d/"),
        is_gzip: false,
    },
    Delivery { name: "events", bucket: "AnalyticsBucketName", day: None, is_gzip: false },
];

impl Redrive<'_> {
    /// Redrives the error prefixes of all deliveries.
    pub(super) async fn deliveries(&mut self) -> Result<()> {
        for delivery in DELIVERIES {
            let bucket = self.bucket(delivery.bucket)?;
            let prefix = format!("errors/{}/", delivery.name);
            let (objects, done) = self.objects(&bucket, &prefix).await?;
            let mut progress = Progress::of_steps(objects.len() as u64, "objects");
            for entry in objects {
                if self.stop.is_wanted() {
                    break;
                }
                progress.step();
                let object = bucket.get(&entry.key).await?;
                let is_done = done.contains(&entry.key);
                self.undelivered(delivery, &bucket, &entry, object, is_done).await?;
            }
        }
        Ok(())
    }

    /// Redrives the records of one object, and archives the object once all of them are in their
    /// layer.
    async fn undelivered(
        &mut self,
        delivery: Delivery,
        bucket: &Bucket,
        entry: &Entry,
        object: Vec<u8>,
        is_done: bool,
    ) -> Result<()> {
        let mut unreadable = Unreadable::default();
        let mut records = Vec::new();
        lines(&entry.key, &object, &mut unreadable, |line| {
            records.push(UndeliveredRecord::from_json(line)?);
            Ok(())
        });
        let line = self.outcome.line("deliveries", delivery.name);
        line.waiting += 1;
        line.records += records.len() as u64;
        if !self.arguments.yes {
            return Ok(());
        }
        let sent = match delivery.day {
            _ if is_done => Ok(()),
            _ if unreadable.count > 0 => Err(format!("{} lines are unreadable", unreadable.count)),
            None => self.convert(entry, &records).await?,
            Some(day) => {
                let key = key(day, entry, &records);
                bucket.put(&key, body(&records, delivery.is_gzip)?).await?;
                Ok(())
            }
        };
        self.settle(("deliveries", delivery.name), bucket, (&entry.key, object), sent).await
    }

    /// Sends events to the delivery stream that writes only to the analytics layer. A record that
    /// is not an event can never be converted; `metrics` and `alerts` have already quarantined it.
    async fn convert(
        &mut self,
        entry: &Entry,
        records: &[UndeliveredRecord],
    ) -> Result<Result<(), String>> {
        let name = self.stack.output("EventsRedeliveryStreamName")?.to_owned();
        let stream = DeliveryStream::new(clients::firehose(self.config), name);
        let is_event = |record: &&UndeliveredRecord| Event::from_json(&record.data).is_ok();
        let events = records.iter().filter(is_event).map(line).enumerate();
        let events: Vec<_> =
            events.map(|(position, line)| Outbound { position, entry: line.concat() }).collect();
        let not_events = records.len() - events.len();
        if not_events > 0 {
            let why = format!("{not_events} of its records are no events; quarantine has them");
            self.outcome.report(&entry.key, &why);
        }
        let sent = Producer::new(stream).send(&events, Deadline::after(TIMEOUT)).await?;
        Ok(match sent.undelivered.len() {
            0 => Ok(()),
            count => {
                let why = sent.last_error.unwrap_or_default();
                Err(format!("{count} of {} records were not delivered: {why}", events.len()))
            }
        })
    }
}

/// Returns the key of the object in the layer. It is the same for the same source object, so that a
/// second redrive overwrites the first.
fn key(day: &str, entry: &Entry, records: &[UndeliveredRecord]) -> String {
    let arrived = records.iter().find_map(|record| record.arrived_at_ms);
    let arrived = arrived.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let time = arrived.or(entry.written_at).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{}redriven-{}", time.strftime(day), Id::of_text(&[&entry.key]))
}

/// Returns a record and the end of its line.
fn line(record: &UndeliveredRecord) -> [&[u8]; 2] {
    [record.data.trim_ascii_end(), b"\n"]
}

/// Joins the records into lines.
fn body(records: &[UndeliveredRecord], is_gzip: bool) -> Result<Vec<u8>> {
    let text = records.iter().flat_map(line).collect::<Vec<_>>().concat();
    if !is_gzip {
        return Ok(text);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text)?;
    Ok(encoder.finish()?)
}
