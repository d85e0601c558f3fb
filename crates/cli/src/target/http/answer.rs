//! Results of the items of a request, read from its answer.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tributary_model::bad_row::shown;

/// Meaning of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading<'a> {
    /// All items were accepted.
    Accepted,
    /// Each item has its own result.
    Items(Vec<Verdict<'a>>),
    /// No result is known for any item: all of them are sent again.
    Retry(String),
    /// The request as a whole was too large.
    TooLarge(String),
    /// Requests like this one are never accepted.
    Refused(String),
}

/// Result of one item, and the reason if it is permanently rejected.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Verdict<'a> {
    item: usize,
    pub status: Status,
    #[serde(borrow, default)]
    pub code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub field: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub message: Option<Cow<'a, str>>,
}

/// Status of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Accepted,
    SendAgain,
    Rejected,
}

/// Fields of an answer of `ingest-http` that matter here. Lambda's own answers have `Message`.
#[derive(Default, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "Message")]
    message: Option<Cow<'a, str>>,
    #[serde(default)]
    accepted: Option<usize>,
    #[serde(borrow, default)]
    items: Option<&'a RawValue>,
}

/// Reads the answer to a request of `count` items.
///
/// A target other than `ingest-http` may accept everything with any status from 200 to 206 and an
/// empty answer. If an answer lists items, each of them is read. An answer for a different number
/// of items cannot be trusted, and the request is retried.
pub(super) fn read(status: u16, body: &[u8], count: usize) -> Reading<'_> {
    let parsed: Body<'_> = serde_json::from_slice(body).unwrap_or_default();
    let says = || match (&parsed.error, &parsed.message) {
        (Some(error), Some(message)) => format!("{status} {error}: {message}"),
        (Some(text), None) | (None, Some(text)) => format!("{status}: {text}"),
        (None, None) if body.is_empty() => format!("{status}"),
        (None, None) => format!("{status}: {}", shown(&String::from_utf8_lossy(body))),
    };
    match (status, parsed.items) {
        (200..=206, _) if parsed.accepted == Some(count) => Reading::Accepted,
        (200..=206, None) if parsed.accepted.is_none() => Reading::Accepted,
        (200..=207, _) | (422 | 503, Some(_)) => {
            let verdicts = parsed.items.and_then(|items| verdicts(items.get(), count));
            verdicts.map_or_else(
                || Reading::Retry(format!("{status} without a result for each of {count} items")),
                Reading::Items,
            )
        }
        (408 | 425 | 429 | 500..=599, _) => Reading::Retry(says()),
        (413, _) => Reading::TooLarge(says()),
        _ => Reading::Refused(says()),
    }
}

/// Parses one result for each of `count` items in their order. Returns `None` if they do not match.
fn verdicts(items: &str, count: usize) -> Option<Vec<Verdict<'_>>> {
    let verdicts: Vec<Verdict<'_>> = serde_json::from_str(items).ok()?;
    let in_order = verdicts.iter().enumerate().all(|(index, verdict)| verdict.item == index);
    (verdicts.len() == count && in_order).then_some(verdicts)
}

/// Returns the delay in `Retry-After`, in seconds and at most 30 s. A date is ignored.
pub(super) fn pause(retry_after: Option<&str>) -> Option<Duration> {
    const MAX_SECONDS: u64 = 30;
    let seconds: u64 = retry_after?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_SECONDS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = r#"{"status":503,"error":"send_again","message":"some","accepted":1,"rejected":1,
        "send_again":[2],"items":[{"item":0,"status":"accepted","record_id":"a"},
        {"item":1,"line":2,"status":"rejected","code":"missing_field","field":"ID","message":"is empty"},
        {"item":2,"line":3,"status":"send_again","record_id":"b"}]}"#;

    #[test]
    fn each_item_has_its_result() {
        let verdict =
            |item, status| Verdict { item, status, code: None, field: None, message: None };
        let rejected = Verdict {
            code: Some("missing_field".into()),
            field: Some("ID".into()),
            message: Some("is empty".into()),
            ..verdict(1, Status::Rejected)
        };
        let expected = vec![verdict(0, Status::Accepted), rejected, verdict(2, Status::SendAgain)];

        assert_eq!(read(503, MIXED.as_bytes(), 3), Reading::Items(expected));
    }

    #[test]
    fn answer_for_other_items_is_retried() {
        let swapped = MIXED.replace("\"item\":0", "\"item\":1");
        let unknown = MIXED.replace("\"accepted\",", "\"lost\",");
        for (body, count) in [(MIXED, 4), (MIXED, 2), (swapped.as_str(), 3), (&unknown, 3)] {
            assert!(matches!(read(503, body.as_bytes(), count), Reading::Retry(_)), "{body}");
        }
        let short = r#"{"accepted":2,"rejected":0,"items":[]}"#;
        assert!(matches!(read(202, short.as_bytes(), 3), Reading::Retry(_)));
        assert!(matches!(read(202, br#"{"accepted":2}"#, 3), Reading::Retry(_)));
        assert!(matches!(read(207, b"", 3), Reading::Retry(_)));
    }

    #[test]
    fn full_acceptance_needs_no_item_list() {
        assert_eq!(read(202, br#"{"accepted":3,"items":[]}"#, 3), Reading::Accepted);
        for body in ["", "OK", "{}", "[1]"] {
            assert_eq!(read(200, body.as_bytes(), 3), Reading::Accepted, "{body}");
        }
    }

    #[test]
    fn status_decides_retry() {
        let kind = |status| match read(status, br#"{"Message":"no"}"#, 1) {
            Reading::Retry(why) => ("again", why),
            Reading::TooLarge(why) => ("too large", why),
            Reading::Refused(why) => ("refused", why),
            other => panic!("{other:?}"),
        };
        for (status, expected) in [
            (429, "again"),
            (500, "again"),
            (502, "again"),
            (503, "again"),
            (408, "again"),
            (413, "too large"),
            (301, "refused"),
            (400, "refused"),
            (403, "refused"),
            (404, "refused"),
            (415, "refused"),
            (422, "refused"),
        ] {
            assert_eq!(kind(status), (expected, format!("{status}: no")), "{status}");
        }
    }

    #[test]
    fn non_json_answer_is_quoted_short() {
        let page = "<html>".repeat(100);

        let Reading::Refused(why) = read(404, page.as_bytes(), 1) else { panic!() };

        assert!(why.starts_with("404: \"<html>") && why.len() < 100, "{why}");
    }

    #[test]
    fn retry_after_is_seconds_with_upper_limit() {
        assert_eq!(pause(Some(" 5 ")), Some(Duration::from_secs(5)));
        assert_eq!(pause(Some("86400")), Some(Duration::from_secs(30)));
        assert_eq!(pause(Some("Fri, 20 Nov 2026 10:00:00 GMT")), None);
        assert_eq!(pause(None), None);
    }
}
