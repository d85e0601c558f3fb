//! Parsed request: dataset, sender and body.
//!
//! `aws_lambda_events` rejects the whole payload for a header that HTTP would not allow, and
//! requires a time. These types are lenient.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tributary_datasets::{Dataset, Datasets};
use tributary_model::bad_row::shown;
use tributary_model::pairs::Pairs;

use crate::answer::Refusal;
use crate::body::{Encoding, Format};
use crate::item::Sender;

/// Maximum length of an `Idempotency-Key` or `X-Client-Id`, in characters.
pub const MAX_NAME_CHARS: usize = 255;

/// Error of a request for a dataset that the configuration lacks.
pub(crate) const UNKNOWN_DATASET: &str = "unknown_dataset";

/// Payload that Lambda sends for a request to a function URL, format 2.0.
///
/// See <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload<'a> {
    #[serde(borrow)]
    raw_path: Cow<'a, str>,
    #[serde(default)]
    headers: Pairs<String, String>,
    #[serde(borrow)]
    request_context: RequestContext<'a>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: Option<String>,
    /// Milliseconds of the Unix epoch.
    #[serde(default)]
    time_epoch: i64,
    #[serde(borrow)]
    http: Http<'a>,
    authorizer: Option<Authorizer>,
}

#[derive(Debug, Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct Authorizer {
    iam: Option<Iam>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iam {
    user_arn: Option<String>,
}

/// Request whose path, method and headers are valid.
pub struct Request<'a> {
    /// Sender of the request, with its idempotency key.
    pub sender: Sender,
    /// Format of the items in the body.
    pub format: Format,
    /// Compression of the body.
    pub encoding: Encoding,
    /// Body as Lambda passes it.
    pub body: &'a str,
    /// True if the body is base64.
    pub is_base64: bool,
}

impl Payload<'_> {
    /// Parses path, method and headers. The body is not read yet.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] for a wrong path, method or header.
    pub fn request(&self, datasets: &Datasets) -> Result<Request<'_>, Refusal> {
        let dataset = Arc::clone(self.dataset(datasets)?);
        let method = self.request_context.http.method.as_ref();
        if method != "POST" {
            let message = format!("{} is not for items, POST is", shown(method));
            return Err(Refusal::new(405, "method_not_allowed", message).with("allow", "POST"));
        }
        let (principal, session) = self.principal();
        let sender = Sender {
            dataset,
            principal,
            session,
            client: self.name("x-client-id")?,
            key: self.name("idempotency-key")?,
        };
        Ok(Request {
            sender,
            format: Format::of_content_type(self.header("content-type"))?,
            encoding: Encoding::of_content_encoding(self.header("content-encoding"))?,
            body: self.body.as_deref().unwrap_or_default(),
            is_base64: self.is_base64_encoded,
        })
    }

    /// Returns the time of the request.
    #[must_use]
    pub fn sent(&self) -> Timestamp {
        let sent = Timestamp::from_millisecond(self.request_context.time_epoch);
        sent.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn dataset<'d>(&self, datasets: &'d Datasets) -> Result<&'d Arc<Dataset>, Refusal> {
        let path = percent_decode_str(&self.raw_path).decode_utf8_lossy();
        let name = path.strip_prefix("/v1/").filter(|name| !name.is_empty() && !name.contains('/'));
        let Some(name) = name else {
            let message = format!("nothing is at {}; items go to /v1/<dataset>", shown(&path));
            return Err(Refusal::new(404, "unknown_path", message));
        };
        datasets.by_name(name).ok_or_else(|| {
            let message = format!("{} is none of {}", shown(name), datasets.names());
            Refusal::new(404, UNKNOWN_DATASET, message)
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.trim();
        Some(found).filter(|value| !value.is_empty())
    }

    /// Returns a header that becomes part of ids and sources.
    fn name(&self, header: &str) -> Result<Option<String>, Refusal> {
        let Some(value) = self.header(header) else { return Ok(None) };
        let is_plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if is_plain && value.len() <= MAX_NAME_CHARS {
            return Ok(Some(value.to_owned()));
        }
        let message = format!("{header} is not 1 to {MAX_NAME_CHARS} printable ASCII characters");
        Err(Refusal::new(400, "invalid_header", message))
    }

    /// Returns the principal that signed the request, `111122223333:user/fleet`, and the session of
    /// an assumed role. Ids are made of the principal alone: the name of the session may change
    /// whenever its credentials are renewed.
    fn principal(&self) -> (String, Option<String>) {
        let context = &self.request_context;
        let iam = context.authorizer.as_ref().and_then(|authorizer| authorizer.iam.as_ref());
        let Some(arn) = iam.and_then(|iam| iam.user_arn.as_deref()) else {
            return (context.account_id.as_deref().unwrap_or("anonymous").to_owned(), None);
        };
        let mut parts = arn.splitn(6, ':').skip(4);
        let (Some(account), Some(name)) = (parts.next(), parts.next()) else {
            return (arn.to_owned(), None);
        };
        match name.strip_prefix("assumed-role/").and_then(|rest| rest.split_once('/')) {
            Some((role, session)) => {
                (format!("{account}:assumed-role/{role}"), Some(session.to_owned()))
            }
            None => (format!("{account}:{name}"), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use tributary_aws::payload::object;

    fn datasets() -> Datasets {
        tributary_config::Configuration::shipped().unwrap().datasets
    }

    use super::*;

    fn parsed(text: &str) -> Result<Payload<'_>, serde_json::Error> {
        object(text)
    }

    fn payload(method: &str, path: &str, headers: &str, arn: &str) -> String {
        format!(
            r#"{{"version":"2.0","rawPath":"{path}","headers":{headers},"body":"{{}}","requestContext":{{
            "http":{{"method":"{method}"}},"authorizer":{{"iam":{{"userArn":"{arn}"}}}}}}}}"#
        )
    }

    const JSON: &str = r#"{"content-type":"application/json"}"#;
    const USER: &str = "arn:aws:iam::111122223333:user/fleet";

    fn refusal(method: &str, path: &str, headers: &str) -> Refusal {
        let text = payload(method, path, headers, USER);
        parsed(&text).unwrap().request(&datasets()).err().unwrap()
    }

    fn refused(method: &str, path: &str, headers: &str) -> (u16, &'static str) {
        let refusal = refusal(method, path, headers);
        (refusal.status, refusal.error)
    }

    #[test]
    fn request_has_dataset_sender_and_key() {
        let headers = r#"{"Content-Type":"application/x-ndjson; charset=UTF-8",
            "idempotency-KEY":" k 1 ","x-client-id":"device-7","content-encoding":"gzip"}"#;
        let text = payload("POST", "/v1/accident%73", headers, USER);

        let payload = parsed(&text).unwrap();
        let request = payload.request(&datasets()).ok().unwrap();

        assert_eq!(request.sender.dataset.name(), "accidents");
        assert_eq!(request.sender.principal, "111122223333:user/fleet");
        assert_eq!(request.sender.client.as_deref(), Some("device-7"));
        assert_eq!(request.sender.key.as_deref(), Some("k 1"));
        assert_eq!((request.format, request.encoding), (Format::Lines, Encoding::Gzip));
    }

    #[test]
    fn principal_excludes_the_role_session() {
        for session in ["a", "b/c"] {
            let arn = format!("arn:aws-cn:sts::1:assumed-role/Fleet/{session}");
            let text = payload("POST", "/v1/accidents", JSON, &arn);

            let payload = parsed(&text).unwrap();

            let expected = ("1:assumed-role/Fleet".to_owned(), Some(session.to_owned()));
            assert_eq!(payload.principal(), expected);
        }
    }

    #[test]
    fn unsigned_request_falls_back_to_the_account() {
        let text = r#"{"rawPath":"/","requestContext":{"http":{"method":"GET"},"accountId":"1"}}"#;
        assert_eq!(parsed(text).unwrap().principal(), ("1".to_owned(), None));

        let text = r#"{"rawPath":"/","requestContext":{"http":{"method":"GET"}}}"#;
        assert_eq!(parsed(text).unwrap().principal(), ("anonymous".to_owned(), None));
    }

    #[test]
    fn unknown_paths_and_methods_have_distinct_statuses() {
        for path in
            ["/", "/v1", "/v1/", "/v2/accidents", "/v1/accidents/", "/v1/a/b", "/V1/accidents"]
        {
            assert_eq!(refused("POST", path, JSON), (404, "unknown_path"), "{path}");
        }
        for path in ["/v1/balloons", "/v1/Accidents", "/v1/%00%ff"] {
            assert_eq!(refused("GET", path, JSON), (404, "unknown_dataset"), "{path}");
        }
        let message = refusal("POST", "/v1/balloons", JSON).message;
        assert_eq!(message, format!("\"balloons\" is none of {}", datasets().names()));
        for method in ["GET", "PUT", "HEAD", "post"] {
            assert_eq!(refused(method, "/v1/accidents", JSON), (405, "method_not_allowed"));
        }
    }

    #[test]
    fn headers_invalid_in_ids_are_rejected() {
        let long = "k".repeat(MAX_NAME_CHARS + 1);
        for value in ["é", &long] {
            let headers =
                format!(r#"{{"content-type":"application/json","x-client-id":"{value}"}}"#);

            assert_eq!(refused("POST", "/v1/accidents", &headers), (400, "invalid_header"));
        }
    }

    #[test]
    fn invalid_payload_is_rejected() {
        for text in [
            "7",
            "{}",
            "[\"/\",{},[[\"POST\"]]]",
            r#"{"Records":[]}"#,
            r#"{"rawPath":"/","requestContext":{}}"#,
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
