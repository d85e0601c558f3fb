//! Body of a request. The first byte of an input selects the dataset, the format (lines or not) and
//! whether the request has a key; the rest is the body.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use fn_ingest_http::body::{self, Encoding, Format, Item, MAX_ITEMS};
use serde::de::IgnoredAny;
use serde_json::json;

use super::http_requests::{Answered, asked};
use crate::bench::{CONFIGURATION, failing, picked, swollen};
use crate::{Target, seeds};

pub(super) const TARGET: Target = Target { name: "http-bodies", check, seeds: seeds::http_bodies };

fn check(input: &[u8]) {
    let (choice, body) = input.split_first().map_or((0, input), |(first, rest)| (*first, rest));
    let body = swollen(body);
    let format = if choice & 4 == 0 { Format::Json } else { Format::Lines };

    every_byte_is_in_an_item_or_between_two(&body, format);
    let sent = base64_simd::STANDARD.encode_to_string(&body);
    assert_eq!(body::bytes(&sent, true, Encoding::Plain).unwrap(), body);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&body).unwrap();
    let compressed = base64_simd::STANDARD.encode_to_string(encoder.finish().unwrap());
    assert_eq!(body::bytes(&compressed, true, Encoding::Gzip).unwrap(), body);
    if let Err(refusal) = body::bytes(&sent, true, Encoding::Gzip) {
        assert!(["truncated_gzip", "corrupt_gzip", "body_too_large"].contains(&refusal.error));
    }

    let request = request(choice, format, &sent);
    let whole = asked(&request, []).unwrap();
    each_item_has_its_entry(&body, format, &whole);
    what_is_not_stored_is_to_be_sent_again(&request, &whole, picked(input, 3));
}

fn every_byte_is_in_an_item_or_between_two(body: &[u8], format: Format) {
    let items = match body::items(body, format) {
        Ok(items) => items,
        Err(refusal) => {
            let known = ["invalid_json", "not_utf8", "empty_body", "too_many_items"];
            assert!(known.contains(&refusal.error), "{}", refusal.error);
            assert!(format == Format::Json || refusal.error != "invalid_json");
            return;
        }
    };
    assert!((1..=MAX_ITEMS).contains(&items.len()));
    assert!(items.is_sorted_by(|a, b| a.line.is_none() || a.line < b.line));
    let mut at = if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    for Item { bytes, line } in items {
        let offset = bytes.as_ptr().addr() - body.as_ptr().addr();
        let between = &body[at..offset];
        at = offset + bytes.len();
        assert!(is_between(between, format), "lost: {:?}", String::from_utf8_lossy(between));
        assert_eq!(bytes.trim_ascii(), bytes);
        if let Some(line) = line {
            let lines = body[..offset].split(|&byte| byte == b'\n').count();
            assert_eq!(line, lines);
        } else {
            serde_json::from_slice::<IgnoredAny>(bytes).unwrap();
        }
    }
    assert!(is_between(&body[at..], format), "lost: from {at}");
}

fn is_between(bytes: &[u8], format: Format) -> bool {
    let also: &[u8] = if format == Format::Json { b"[]," } else { b"" };
    bytes.iter().all(|byte| byte.is_ascii_whitespace() || also.contains(byte))
}

fn request(choice: u8, format: Format, body: &str) -> String {
    let dataset = CONFIGURATION.datasets.iter().nth(usize::from(choice & 3)).unwrap().name();
    let kind = match format {
        Format::Json => "application/json",
        Format::Lines => "application/x-ndjson",
    };
    let mut headers = json!({ "content-type": kind });
    if choice & 8 != 0 {
        headers["idempotency-key"] = "k".into();
    }
    json!({
        "rawPath": format!("/v1/{dataset}"), "headers": headers, "body": body,
        "isBase64Encoded": true, "requestContext": {"accountId": "1", "http": {"method": "POST"}},
    })
    .to_string()
}

fn each_item_has_its_entry(body: &[u8], format: Format, answered: &Answered) {
    let Ok(items) = body::items(body, format) else {
        assert!(answered.stored.is_empty() && answered.status >= 400);
        return;
    };
    let entries = answered.items();
    assert_eq!(entries.len(), items.len(), "each item has its entry");
    let mut stored = answered.stored.iter();
    for (entry, item) in entries.iter().zip(items) {
        if entry["status"] == "accepted" {
            let (_, payload) = stored.next().unwrap();
            let kept = item.bytes.iter().filter(|byte| !matches!(byte, b'\n' | b'\r'));
            assert!(kept.eq(payload.as_bytes()), "what is accepted is what was sent");
        } else {
            assert_eq!(entry["status"], "rejected");
        }
    }
    assert!(stored.next().is_none());
}

/// Asserts the answer when some entries of each call fail repeatedly.
fn what_is_not_stored_is_to_be_sent_again(request: &str, whole: &Answered, index: usize) {
    let answered = asked(request, failing(index)).unwrap();

    let stored: Vec<_> = answered.stored.iter().map(|(id, _)| id.as_str()).collect();
    let with = |answered: &Answered, status: &str| {
        answered.items().iter().filter(|it| it["status"] == status).count()
    };
    for entry in answered.items().iter().filter(|it| it["status"] == "accepted") {
        assert!(stored.contains(&entry["record_id"].as_str().unwrap()));
    }
    assert_eq!(with(&answered, "rejected"), with(whole, "rejected"), "faults reject nothing");
    let again = with(&answered, "send_again");
    assert_eq!(answered.status == 503, again > 0);
    assert_eq!(again + with(&answered, "accepted"), with(whole, "accepted"));
    let listed = answered.body["send_again"].as_array().map_or(0, Vec::len);
    assert_eq!(listed, again);
}
