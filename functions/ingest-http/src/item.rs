//! Conversion of an item to its raw record, or to its rejection.

use std::sync::Arc;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tributary_aws::kinesis::{StreamRecord, too_large};
use tributary_datasets::Dataset;
use tributary_datasets::ingest::json_object;
use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::id::Id;
use tributary_model::raw::RawRecordWriter;
use tributary_model::time::millis;
use tributary_pipeline::sender::Permit;
use tributary_pipeline::transform::{Outcome, Transformer};

use crate::body::Item;

/// Characters that are escaped in a source: a `#` or `&` of a key would end it too early.
const UNESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

/// Sender of a request, with its dataset and key.
pub struct Sender {
    /// Dataset of every item.
    pub dataset: Arc<Dataset>,
    /// Principal that signed the request.
    pub principal: String,
    /// Session of the principal, if it is an assumed role.
    pub session: Option<String>,
    /// Header `X-Client-Id`, which distinguishes clients that sign with the same principal.
    pub client: Option<String>,
    /// Header `Idempotency-Key`.
    pub key: Option<String>,
}

/// Validator that converts the items of one request to records.
pub struct ItemValidator<'s> {
    sender: &'s Sender,
    transformer: &'s Transformer,
    permit: &'s Permit,
    writer: RawRecordWriter,
    /// `http:<dataset>/<client or principal>#`
    uri: String,
    /// `&principal=<principal>` if a client is named before it, and `&session=<session>`
    signed_by: String,
    now: Timestamp,
    received_at: String,
    max_record_bytes: usize,
}

impl<'s> ItemValidator<'s> {
    /// Creates a validator for items of `sender`, received at `now`. A record may have
    /// `max_record_bytes`, partition key included.
    #[must_use]
    pub fn new(
        sender: &'s Sender,
        transformer: &'s Transformer,
        permit: &'s Permit,
        now: Timestamp,
        max_record_bytes: usize,
    ) -> Self {
        let dataset = sender.dataset.name();
        let client = sender.client.as_deref().unwrap_or(&sender.principal);
        let principal = sender.client.as_ref().map(|_| ("principal", sender.principal.as_str()));
        let session = sender.session.as_deref().map(|session| ("session", session));
        let signed_by = [principal, session].into_iter().flatten();
        let part = |(name, text)| format!("&{name}={}", utf8_percent_encode(text, UNESCAPED));
        Self {
            sender,
            transformer,
            permit,
            writer: RawRecordWriter::new(dataset),
            signed_by: signed_by.map(part).collect(),
            uri: format!("http:{dataset}/{}#", utf8_percent_encode(client, UNESCAPED)),
            now,
            received_at: millis(now),
            max_record_bytes,
        }
    }

    /// Converts the item at `index` of its request, counted from 0, to its record. Returns the
    /// record's id as well.
    ///
    /// Reads the item as `transform` will, with the same time of receipt: `transform` would reject
    /// the same items, but here the sender still waits for the answer.
    ///
    /// # Errors
    ///
    /// Returns a [`Rejection`] if the item can never become an event.
    pub fn validate(
        &self,
        index: usize,
        item: &Item<'_>,
    ) -> Result<(String, StreamRecord), Rejection> {
        if item.bytes.len() > self.max_record_bytes {
            return Err(too_large(item.bytes.len(), self.max_record_bytes));
        }
        let text = json_object(item.bytes, "item")?;
        let outcome = self.transformer.payload(&self.sender.dataset, text, Some(self.now))?;
        if let Outcome::Event(event) = outcome
            && !self.permit.allows(&event.entity)
        {
            let entity = shown(&event.entity);
            let message = format!("{} may not send rows of {entity}", self.sender.principal);
            return Err(Rejection::row(Code::NotPermitted, message));
        }

        let payload = on_one_line(text);
        let record_id = self.record_id(index, &payload);
        let source = self.source(index, &record_id);
        let data = self.writer.write(&record_id, &source, &self.received_at, |out| {
            out.extend_from_slice(&payload);
        });
        let key = self.sender.dataset.partition_key(text);
        let record = StreamRecord::new(key.as_deref().unwrap_or(&record_id), data);
        Ok((record_id, record.within(self.max_record_bytes)?))
    }

    /// Returns the id of a record: made of the sender's key and the item's index, or of the item's
    /// content. The same request has the same ids when sent again.
    fn record_id(&self, index: usize, payload: &[u8]) -> String {
        let Sender { dataset, principal, client, key, .. } = self.sender;
        let client = client.as_deref().unwrap_or_default();
        let sender =
            ["http", dataset.name(), principal.as_str(), client].map(str::as_bytes).into_iter();
        let place = (index as u64).to_be_bytes();
        let id = match key {
            Some(key) => Id::of(sender.chain([b"key".as_slice(), key.as_bytes(), &place])),
            None => Id::of(sender.chain([b"content".as_slice(), payload])),
        };
        id.to_string()
    }

    /// Returns `http:<dataset>/<client or principal>#<key or hash>&item=<index>`, and who signed.
    fn source(&self, index: usize, record_id: &str) -> String {
        let key = self.sender.key.as_deref().unwrap_or(record_id);
        let (key, signed_by) = (utf8_percent_encode(key, UNESCAPED), &self.signed_by);
        format!("{}{key}&item={index}{signed_by}", self.uri)
    }
}

/// Removes line ends, because the raw layer has one record per line. In valid JSON they occur only
/// between tokens, where they mean nothing.
fn on_one_line(text: &str) -> Vec<u8> {
    text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
}
