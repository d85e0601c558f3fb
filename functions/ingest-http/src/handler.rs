//! Request orchestration: the items are judged, the good ones go to the stream, the sender is told.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;
use tracing::warn;
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::Journal;
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_config::{PIPELINE, PipelineConfig};
use tributary_model::bad_row::Code;
use tributary_model::books::Books;
use tributary_model::config_error::ConfigError;
use tributary_pipeline::transform::Transformer;

use crate::answer::{Counts, Entry, Fate, HttpAnswer, Refusal};
use crate::body;
use crate::config::Config;
use crate::item::{Judge, Sender};
use crate::request::Payload;

/// The function, over any sink.
pub struct IngestHttp<R> {
    /// Where raw records go.
    pub raw: Producer<R>,
    /// What judges an item, as in `transform`.
    pub transformer: Transformer,
    /// Where the books go.
    pub journal: Journal,
    /// The time of day.
    pub clock: fn() -> Timestamp,
}

impl IngestHttp<Stream> {
    /// The function over AWS.
    ///
    /// # Errors
    ///
    /// When the compiled-in `pipeline.toml` is wrong.
    pub fn connect(config: Config, sdk: &clients::SdkConfig) -> Result<Self, ConfigError> {
        let raw = Stream::new(clients::kinesis(sdk), config.raw_stream, config.max_record_bytes);
        Ok(Self {
            raw: Producer::new(raw).in_order(config.record_order),
            transformer: PipelineConfig::from_toml(PIPELINE)?.transformer()?,
            journal: Journal::new("ingest-http", config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

/// What a request came to.
#[derive(Default)]
struct Totals {
    counts: Counts,
    codes: BTreeMap<Code, u64>,
    retried: usize,
}

/// The items of a request as they were judged.
struct Judged {
    sender: Sender,
    /// Each item is accepted or rejected so far.
    entries: Vec<Entry>,
    records: Vec<Outbound<StreamRecord>>,
}

impl<R: BatchPut<Entry = StreamRecord>> IngestHttp<R> {
    /// Processes one request.
    ///
    /// An item that can never become an event is told and goes nowhere: its sender has it. What the
    /// stream did not take by the deadline is told as to be sent again, and nothing is kept here.
    /// Nothing is delivered again by Lambda: whoever sends retries.
    ///
    /// # Errors
    ///
    /// When the payload is no request, or the stream says that it can never work: the sender then
    /// gets a 502, and may send the same request again.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<HttpAnswer, InvocationError> {
        let started = Instant::now();
        let payload = Payload::from_json(payload)?;
        let mut totals = Totals::default();
        let mut error = None;
        let answer = match self.judge(&payload) {
            Ok(judged) => self.deliver(judged, deadline, &mut totals).await?,
            Err(refusal) => {
                error = Some(refusal.error);
                refusal.answer()
            }
        };

        let Counts { accepted, rejected, send_again } = totals.counts;
        let (accepted, send_again) = (accepted as u64, send_again as u64);
        let books = Books {
            received: accepted + send_again,
            delivered: accepted,
            undelivered: send_again,
            ..Books::default()
        };
        let extra = json!({
            "status": answer.status_code,
            "error": error,
            "rejected": rejected,
            "retried": totals.retried,
        });
        let now = (self.clock)();
        self.journal.batch(&books, &BTreeMap::new(), started.elapsed(), extra, now);
        self.journal.rejected(&totals.codes, now);
        Ok(answer)
    }

    fn judge(&self, payload: &Payload<'_>) -> Result<Judged, Refusal> {
        let request = payload.request()?;
        let bytes = body::bytes(request.body, request.is_base64, request.encoding)?;
        let items = body::items(&bytes, request.format)?;

        let most = self.raw.target().limits().entry_bytes;
        let judge = Judge::new(&request.sender, &self.transformer, (self.clock)(), most);
        let mut entries = Vec::with_capacity(items.len());
        let mut records = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            let fate = match judge.judge(position, item) {
                Ok(accepted) => {
                    records.push(Outbound { position, entry: accepted.record });
                    Fate::Accepted(accepted.record_id)
                }
                Err(rejection) => Fate::Rejected(rejection),
            };
            entries.push(Entry { line: item.line, fate });
        }
        drop(judge);
        Ok(Judged { sender: request.sender, entries, records })
    }

    async fn deliver(
        &self,
        judged: Judged,
        deadline: Deadline,
        totals: &mut Totals,
    ) -> Result<HttpAnswer, InvocationError> {
        let Judged { sender, mut entries, records } = judged;
        let delivery = self.raw.send(&records, deadline).await?;
        for &position in &delivery.undelivered {
            if let Some(Entry { fate, .. }) = entries.get_mut(position)
                && let Fate::Accepted(record_id) = fate
            {
                *fate = Fate::SendAgain(std::mem::take(record_id));
            }
        }
        totals.counts = Counts::of(&entries);
        totals.retried = delivery.retried;
        for entry in &entries {
            if let Fate::Rejected(rejection) = &entry.fate {
                *totals.codes.entry(rejection.code).or_default() += 1;
            }
        }
        if totals.counts.send_again > 0 {
            let error = delivery.last_error.as_deref();
            warn!(
                batch.undelivered = totals.counts.send_again,
                error, "the stream did not take all items"
            );
        }
        Ok(HttpAnswer::of_items(&entries, sender.key.is_some()))
    }
}
