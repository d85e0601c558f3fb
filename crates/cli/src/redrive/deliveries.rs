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
use crate::progress::Steps;

/// Time limit for one object, after which the redrive leaves it in place.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Delivery whose failed records are below `errors/<name>/`.
#[derive(Clone, Copy)]
struct Delivery {
    name: &'static str,
    bucket: &'static str,
    into: Into,
}

/// Route of the records into their layer.
#[derive(Clone, Copy, PartialEq)]
enum Into {
    /// Through a delivery stream with the format conversion that failed.
    Conversion,
    /// As the lines of an object, compressed or not.
    Object { day: &'static str, is_gzip: bool },
}

const DELIVERIES: [Delivery; 3] = [
    Delivery {
        name: "raw",
        bucket: "RawBucketName",
        into: Into::Object { day: "raw/dt=%Y-%m-%d/hour=%H/", is_gzip: true },
    },
    Delivery {
        name: "quarantine",
        bucket: "RawBucketName",
        into: Into::Object { day: "quarantine/dt=%Y-%m-%d/", is_gzip: false },
    },
    Delivery { name: "events", bucket: "AnalyticsBucketName", into: Into::Conversion },
];

impl Redrive<'_> {
    /// Redrives the error prefixes of all deliveries.
    pub(super) async fn deliveries(&mut self) -> Result<()> {
        for delivery in DELIVERIES {
            let bucket = self.bucket(delivery.bucket)?;
            let prefix = format!("errors/{}/", delivery.name);
            let (objects, done) = self.objects(&bucket, &prefix).await?;
            let mut progress = Steps::new(objects.len() as u64, "objects");
            for entry in objects {
                if self.stop.is_wanted() {
                    break;
                }
                progress.advance(1);
                let object = bucket.get(&entry.key).await?;
                let is_done = done.contains(&entry.key);
                self.undelivered(delivery, &bucket, &entry, object, is_done).await?;
            }
            progress.finish();
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
        let sent = match delivery.into {
            _ if is_done => Ok(()),
            _ if unreadable.count > 0 => Err(format!("{} lines are unreadable", unreadable.count)),
            Into::Conversion => self.convert(entry, &records).await?,
            Into::Object { day, is_gzip } => {
                let key = key(day, entry, &records);
                bucket.put(&key, body(&records, is_gzip)?).await?;
                Ok(())
            }
        };
        match sent {
            Ok(()) => {
                self.archive(bucket, &entry.key, object).await?;
                self.outcome.line("deliveries", delivery.name).redriven += 1;
            }
            Err(why) => {
                self.outcome.line("deliveries", delivery.name).left += 1;
                self.outcome.report(&entry.key, &why);
            }
        }
        Ok(())
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
        let mut events = Vec::new();
        let mut not_events = 0;
        for record in records {
            if Event::from_json(&record.data).is_err() {
                not_events += 1;
                continue;
            }
            let mut line = record.data.trim_ascii_end().to_vec();
            line.push(b'\n');
            events.push(Outbound { position: events.len(), entry: line });
        }
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

/// Joins the records into lines.
fn body(records: &[UndeliveredRecord], is_gzip: bool) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for record in records {
        text.extend_from_slice(record.data.trim_ascii_end());
        text.push(b'\n');
    }
    if !is_gzip {
        return Ok(text);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text)?;
    Ok(encoder.finish()?)
}
