//! What becomes of an item: the raw record made of it, or what is wrong with it.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tributary_aws::kinesis::StreamRecord;
use tributary_datasets::Dataset;
use tributary_datasets::ingest::partition_key;
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::id::Id;
use tributary_model::raw::RawRecordWriter;
use tributary_model::time::millis;
use tributary_pipeline::transform::Transformer;
use tributary_rows::object_fault;

use crate::body::Item;

/// What may stand in a source as it is: a `#` or `&` of a key would end it too early.
const UNESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/');

/// Who sends to which dataset, and under which key.
#[derive(Clone)]
pub struct Sender {
    /// The dataset of every item.
    pub dataset: &'static dyn Dataset,
    /// Who signed the request.
    pub principal: String,
    /// The header `X-Client-Id`: which of those who sign with one principal.
    pub client: Option<String>,
    /// The header `Idempotency-Key`.
    pub key: Option<String>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("dataset", &self.dataset.name())
            .field("principal", &self.principal)
            .field("client", &self.client)
            .field("key", &self.key)
            .finish()
    }
}

/// An item that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The id of its record.
    pub record_id: String,
    /// The record itself.
    pub record: StreamRecord,
}

/// Makes records of the items of one request.
pub struct ItemValidator<'s> {
    sender: &'s Sender,
    transformer: &'s Transformer,
    writer: RawRecordWriter,
    /// `http:<dataset>/<client or principal>#`
    uri: String,
    now: Timestamp,
    received_at: String,
    max_record_bytes: usize,
}

impl<'s> ItemValidator<'s> {
    /// A judge for items of `sender`, received at `now`, whose records may have `max_record_bytes`
    /// with their partition key.
    #[must_use]
    pub fn new(
        sender: &'s Sender,
        transformer: &'s Transformer,
        now: Timestamp,
        max_record_bytes: usize,
    ) -> Self {
        let dataset = sender.dataset.name();
        let client = sender.client.as_deref().unwrap_or(&sender.principal);
        Self {
            sender,
            transformer,
            writer: RawRecordWriter::new(dataset),
            uri: format!("http:{dataset}/{}#", utf8_percent_encode(client, UNESCAPED)),
            now,
            received_at: millis(now),
            max_record_bytes,
        }
    }

    /// The record of the item at `index` of its request, counted from 0.
    ///
    /// The item is read as `transform` will read it, with the same time of receipt: what it rejects
    /// here it would reject there, and here the sender still listens.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] where the item can never become an event.
    pub fn validate(&self, index: usize, item: &Item<'_>) -> Result<Accepted, Rejection> {
        if item.bytes.len() > self.max_record_bytes {
            return Err(self.too_large(item.bytes.len()));
        }
        let text = str::from_utf8(item.bytes).map_err(|error| {
            let message = format!("byte {} of the item is not UTF-8", error.valid_up_to());
            Rejection::row(Code::NotUtf8, message)
        })?;
        if let Some(at) = text.bytes().position(|byte| byte == 0) {
            let message = format!("byte {at} of the item is NUL");
            return Err(Rejection::row(Code::NulByte, message));
        }
        if let Some(fault) = object_fault(text) {
            return Err(Rejection::row(Code::InvalidJson, fault));
        }
        self.transformer.payload(self.sender.dataset, text, Some(self.now))?;

        let payload = on_one_line(text);
        let record_id = self.record_id(index, &payload);
        let source = self.source(index, &record_id);
        let data = self.writer.write(&record_id, &source, &self.received_at, |out| {
            out.extend_from_slice(&payload);
        });
        let key = partition_key(self.sender.dataset, text);
        let record = StreamRecord::new(key.as_deref().unwrap_or(&record_id), data);
        if record.size() > self.max_record_bytes {
            return Err(self.too_large(record.size()));
        }
        Ok(Accepted { record_id, record })
    }

    /// The same request again has the same ids: by the sender's key and the item's place, or by what
    /// the item is.
    fn record_id(&self, index: usize, payload: &[u8]) -> String {
        let Sender { dataset, principal, client, key } = self.sender;
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

    /// `http:<dataset>/<client or principal>#<key or hash>&item=<index>`
    fn source(&self, index: usize, record_id: &str) -> String {
        match &self.sender.key {
            Some(key) => {
                format!("{}{}&item={index}", self.uri, utf8_percent_encode(key, UNESCAPED))
            }
            None => format!("{}{record_id}&item={index}", self.uri),
        }
    }

    fn too_large(&self, bytes: usize) -> Rejection {
        let message = format!("the record would have {bytes} bytes of {}", self.max_record_bytes);
        Rejection::row(Code::RowTooLarge, message)
    }
}

/// The raw layer has one record on a line, and so no line ends inside of one. In JSON they can only
/// stand between tokens, where they mean nothing.
fn on_one_line(text: &str) -> Vec<u8> {
    text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
}
