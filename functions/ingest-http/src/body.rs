//! Body of a request: decodes Lambda's payload into items, within limits that hold for any input.

use std::borrow::Cow;
use std::fmt;
use std::io::{ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tributary_model::bad_row::shown;

use crate::answer::Refusal;

/// Maximum number of bytes of a body as sent. Lambda itself accepts 6 MB, including base64 and
/// headers.
///
/// See <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
pub const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// Maximum number of bytes of a decompressed body.
pub const MAX_INFLATED_BYTES: usize = 32 * 1024 * 1024;

/// Maximum number of items of a request. Each has an entry in the answer, which Lambda limits to 6
/// MB too.
pub const MAX_ITEMS: usize = 10_000;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Format of the items in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object, or an array of objects.
    Json,
    /// One JSON object per line.
    Lines,
}

/// Compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// No compression.
    Plain,
    /// Gzip, with one or more members.
    Gzip,
}

/// Item of a body, as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Bytes of the item, without surrounding whitespace. Items of an array are known to be JSON.
    pub bytes: &'a [u8],
    /// Line in the body from 1, counting blank lines; `None` if items are not lines.
    pub line: Option<usize>,
}

impl Format {
    /// Parses a `Content-Type`. JSON is UTF-8, so a `charset` cannot name anything else.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] for any other type, or none.
    pub fn of_content_type(value: Option<&str>) -> Result<Self, Refusal> {
        let text = value.unwrap_or_default();
        let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
        let is_utf8 = parameters
            .split(';')
            .filter_map(|parameter| parameter.trim().split_once('='))
            .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
            .all(|(_, charset)| charset.trim_matches('"').eq_ignore_ascii_case("utf-8"));
        match kind.trim().to_ascii_lowercase().as_str() {
            JSON if is_utf8 => Ok(Self::Json),
            LINES if is_utf8 => Ok(Self::Lines),
            _ => {
                let got = value.map_or_else(|| "missing".to_owned(), shown);
                let message =
                    format!("content-type is {got} and should be {JSON} or {LINES}, in utf-8");
                let refusal = Refusal::new(415, "unsupported_media_type", message);
                Err(refusal.with("accept-post", "application/json, application/x-ndjson"))
            }
        }
    }
}

impl Encoding {
    /// Parses a `Content-Encoding`.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] for any encoding except gzip.
    pub fn of_content_encoding(value: Option<&str>) -> Result<Self, Refusal> {
        match value.unwrap_or("identity").to_ascii_lowercase().as_str() {
            "identity" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            other => {
                let message = format!("content-encoding is {} and should be gzip", shown(other));
                let refusal = Refusal::new(415, "unsupported_encoding", message);
                Err(refusal.with("accept-encoding", "gzip, identity"))
            }
        }
    }
}

/// Decodes a body from base64 and decompresses it.
///
/// # Errors
///
/// Returns a [`Refusal`] for a body that is damaged, or too large before or after decompression.
pub fn bytes(body: &str, is_base64: bool, encoding: Encoding) -> Result<Cow<'_, [u8]>, Refusal> {
    let sent = if is_base64 {
        let decoded = base64_simd::STANDARD.decode_to_vec(body);
        Cow::Owned(
            decoded
                .map_err(|_| bad("broken_base64", "the body is not the base64 it is said to be"))?,
        )
    } else {
        Cow::Borrowed(body.as_bytes())
    };
    if sent.len() > MAX_BODY_BYTES {
        let message = format!("the body has {} bytes of {MAX_BODY_BYTES}", sent.len());
        return Err(Refusal::new(413, "body_too_large", message));
    }
    match encoding {
        Encoding::Plain => Ok(sent),
        Encoding::Gzip if is_base64 => inflate(&sent).map(Cow::Owned),
        // Compressed bytes that were read as text are damaged.
        Encoding::Gzip => Err(bad(
            "corrupt_gzip",
            format!("the body came as text; gzip keeps its bytes under content-type {LINES}"),
        )),
    }
}

fn inflate(gzip: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut inflated = Vec::new();
    let max = MAX_INFLATED_BYTES as u64;
    match MultiGzDecoder::new(gzip).take(max + 1).read_to_end(&mut inflated) {
        Ok(_) if inflated.len() > MAX_INFLATED_BYTES => {
            let message = format!("the body inflates to more than {MAX_INFLATED_BYTES} bytes");
            Err(Refusal::new(413, "body_too_large", message))
        }
        Ok(_) => Ok(inflated),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(bad("truncated_gzip", "the gzip stream ends too early"))
        }
        Err(_) => Err(bad("corrupt_gzip", "the body is no gzip stream, or a damaged one")),
    }
}

/// Splits a body into items, at least one.
///
/// An invalid line is an invalid item. An invalid JSON array has no items, because their ends are
/// unknown.
///
/// # Errors
///
/// Returns a [`Refusal`] if there is no item, or more than [`MAX_ITEMS`].
pub fn items(body: &[u8], format: Format) -> Result<Vec<Item<'_>>, Refusal> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let (items, count) = match format {
        Format::Lines => lines(body),
        Format::Json => elements(body)?,
    };
    if count > MAX_ITEMS {
        let message = format!("the body has {count} items of {MAX_ITEMS}");
        return Err(Refusal::new(413, "too_many_items", message));
    }
    if items.is_empty() { Err(empty()) } else { Ok(items) }
}

/// Returns the first items, at most [`MAX_ITEMS`], and the number of all items.
fn lines(body: &[u8]) -> (Vec<Item<'_>>, usize) {
    let lines = body.split(|&byte| byte == b'\n').enumerate();
    let trimmed = lines.map(|(at, line)| Item { bytes: line.trim_ascii(), line: Some(at + 1) });
    let mut items = trimmed.filter(|item| !item.bytes.is_empty());
    let kept = items.by_ref().take(MAX_ITEMS).collect::<Vec<_>>();
    let count = kept.len() + items.count();
    (kept, count)
}

/// Works as [`lines`], for one object or an array.
fn elements(body: &[u8]) -> Result<(Vec<Item<'_>>, usize), Refusal> {
    let text = str::from_utf8(body).map_err(|error| {
        let message = format!("byte {} of the body is not UTF-8", error.valid_up_to());
        bad("not_utf8", message)
    })?;
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => {
            let mut json = serde_json::Deserializer::from_str(text);
            let array = json.deserialize_seq(Elements);
            array.and_then(|array| json.end().map(|()| array)).map_err(|it| not_json(&it))
        }
        Some(b'{') => {
            let object: &RawValue = serde_json::from_str(text).map_err(|it| not_json(&it))?;
            Ok((vec![Item { bytes: object.get().as_bytes(), line: None }], 1))
        }
        None => Err(empty()),
        Some(_) => Err(bad("invalid_json", "the body is neither a JSON object nor an array")),
    }
}

/// Visitor of an array, whose elements beyond [`MAX_ITEMS`] are only counted.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<Item<'de>>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut count) = (Vec::new(), 0);
        while let Some(element) = array.next_element::<&RawValue>()? {
            if count < MAX_ITEMS {
                items.push(Item { bytes: element.get().as_bytes(), line: None });
            }
            count += 1;
        }
        Ok((items, count))
    }
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let what = if error.is_eof() { "is JSON that ends too early" } else { "is not JSON" };
    let (line, column) = (error.line(), error.column());
    bad("invalid_json", format!("the body {what}, at line {line} column {column}"))
}

fn empty() -> Refusal {
    bad("empty_body", "there is no item in the body")
}

fn bad(error: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(400, error, message)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> String {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes).unwrap();
        base64(&gzip.finish().unwrap())
    }

    fn base64(bytes: &[u8]) -> String {
        base64_simd::STANDARD.encode_to_string(bytes)
    }

    fn reported<T: fmt::Debug>(result: Result<T, Refusal>) -> (u16, &'static str, String) {
        let refusal = result.unwrap_err();
        (refusal.status, refusal.error, refusal.message)
    }

    fn kind<T: fmt::Debug>(result: Result<T, Refusal>) -> (u16, &'static str) {
        let (status, error, _) = reported(result);
        (status, error)
    }

    fn texts(body: &str, format: Format) -> Vec<(&str, Option<usize>)> {
        let items = items(body.as_bytes(), format).unwrap();
        items.iter().map(|item| (str::from_utf8(item.bytes).unwrap(), item.line)).collect()
    }

    #[test]
    fn content_types_are_read_as_http_writes_them() {
        let cases = [
            ("application/json", Format::Json),
            ("Application/JSON ; charset=\"UTF-8\"", Format::Json),
            ("application/x-ndjson", Format::Lines),
            ("application/x-ndjson;v=1;charset=utf-8", Format::Lines),
        ];
        for (value, format) in cases {
            assert_eq!(Format::of_content_type(Some(value)), Ok(format), "{value}");
        }
        let others = ["text/csv", "application/json;charset=latin1", "application/jsonx", ";"];
        for value in others.map(Some).into_iter().chain([None]) {
            assert_eq!(kind(Format::of_content_type(value)), (415, "unsupported_media_type"));
        }
        assert_eq!(Encoding::of_content_encoding(Some("GZIP")), Ok(Encoding::Gzip));
        for value in ["br", "gzip, gzip", "deflate"] {
            let encoding = Encoding::of_content_encoding(Some(value));
            assert_eq!(kind(encoding), (415, "unsupported_encoding"));
        }
    }

    #[test]
    fn body_is_decoded_from_base64_and_gzip() {
        let members = base64(&[gzip_bytes(b"{\"a\""), gzip_bytes(b":1}")].concat());

        assert_eq!(bytes("e30=", true, Encoding::Plain).unwrap(), b"{}".as_slice());
        assert_eq!(bytes(&gzip(b"{}"), true, Encoding::Gzip).unwrap(), b"{}".as_slice());
        assert_eq!(bytes(&members, true, Encoding::Gzip).unwrap(), b"{\"a\":1}".as_slice());
    }

    fn gzip_bytes(bytes: &[u8]) -> Vec<u8> {
        base64_simd::STANDARD.decode_to_vec(gzip(bytes)).unwrap()
    }

    #[test]
    fn damaged_bodies_have_distinct_errors() {
        let whole = gzip_bytes(b"{\"a\":1}");
        let mut wrong_sum = whole.clone();
        let sum = wrong_sum.len() - 8;
        wrong_sum[sum] ^= 1;
        let cut = base64(&whole[..whole.len() - 3]);

        assert_eq!(kind(bytes("{}", true, Encoding::Plain)), (400, "broken_base64"));
        assert_eq!(kind(bytes(&cut, true, Encoding::Gzip)), (400, "truncated_gzip"));
        assert_eq!(kind(bytes(&base64(&wrong_sum), true, Encoding::Gzip)), (400, "corrupt_gzip"));
        let plain = base64(b"{\"a\":\"is not compressed\"}");
        assert_eq!(kind(bytes(&plain, true, Encoding::Gzip)), (400, "corrupt_gzip"));
        assert_eq!(kind(bytes("{}", false, Encoding::Gzip)), (400, "corrupt_gzip"));
    }

    #[test]
    fn a_body_is_bounded_before_and_after_inflating() {
        let max = "x".repeat(MAX_BODY_BYTES);
        assert_eq!(bytes(&max, false, Encoding::Plain).unwrap().len(), MAX_BODY_BYTES);
        let more = base64(&vec![b'x'; MAX_BODY_BYTES + 1]);
        assert_eq!(kind(bytes(&more, true, Encoding::Plain)), (413, "body_too_large"));

        let max = gzip(&vec![b' '; MAX_INFLATED_BYTES]);
        assert_eq!(bytes(&max, true, Encoding::Gzip).unwrap().len(), MAX_INFLATED_BYTES);
        let bomb = gzip(&vec![b' '; MAX_INFLATED_BYTES + 1]);
        assert!(bomb.len() < 64 * 1024, "a thousandth of what it becomes");
        assert_eq!(kind(bytes(&bomb, true, Encoding::Gzip)), (413, "body_too_large"));
    }

    #[test]
    fn object_is_one_item_array_is_many() {
        assert_eq!(texts(" {\"a\": [1]}\n", Format::Json), [("{\"a\": [1]}", None)]);
        assert_eq!(
            texts("\u{feff}[{\"a\":1}, 7 ,\n[{}]]", Format::Json),
            [("{\"a\":1}", None), ("7", None), ("[{}]", None)]
        );
    }

    #[test]
    fn nonblank_lines_are_numbered_items() {
        assert_eq!(
            texts("{\"a\":1}\r\n\n \t\nno json\n{}", Format::Lines),
            [("{\"a\":1}", Some(1)), ("no json", Some(4)), ("{}", Some(5))]
        );
    }

    #[test]
    fn empty_body_is_rejected_with_error_position() {
        let empty = (400, "empty_body", "there is no item in the body".to_owned());
        for body in ["", " \r\n ", "[]", "\u{feff}"] {
            assert_eq!(reported(items(body.as_bytes(), Format::Json)), empty, "{body:?}");
        }
        assert_eq!(reported(items(b"\n\n", Format::Lines)), empty);

        let cases = [
            ("[{\"a\":1},\n{\"a\":]", "the body is not JSON, at line 2 column 6"),
            ("[{\"a\":1}", "the body is JSON that ends too early, at line 1 column 8"),
            ("{\"a\":1}{\"a\":2}", "the body is not JSON, at line 1 column 8"),
            ("\"text\"", "the body is neither a JSON object nor an array"),
            ("ID,Severity", "the body is neither a JSON object nor an array"),
        ];
        for (body, message) in cases {
            let reported = reported(items(body.as_bytes(), Format::Json));
            assert_eq!(reported, (400, "invalid_json", message.to_owned()));
        }
        assert_eq!(kind(items(b"[\"\xff\"]", Format::Json)), (400, "not_utf8"));
    }

    #[test]
    fn too_many_items_are_rejected() {
        let array = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!(texts(&array(MAX_ITEMS), Format::Json).len(), MAX_ITEMS);
        let told_of = reported(items(array(MAX_ITEMS + 1).as_bytes(), Format::Json));
        assert_eq!(told_of.2, "the body has 10001 items of 10000");
        assert_eq!(told_of.0, 413);

        let lines = "0\n".repeat(MAX_ITEMS + 2);
        assert_eq!(kind(items(lines.as_bytes(), Format::Lines)), (413, "too_many_items"));
    }
}
