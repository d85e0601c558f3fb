//! Tasks of a queue message: objects from an S3 notification, or the rest of one.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tributary_aws::payload::object;
use tributary_aws::s3::ObjectName;
use tributary_datasets::{Dataset, Datasets};
use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::json::to_json;
use tributary_rows::Position;

/// Object to read, from its beginning or from the position where an earlier invocation stopped.
#[derive(Clone)]
pub struct Task {
    /// Object to read.
    pub object: ObjectName,
    /// Dataset, if the key or the earlier invocation determines it.
    pub dataset: Option<Arc<Dataset>>,
    /// Position to resume at; `None` starts at the beginning.
    pub start: Option<Position>,
}

/// Fields of an S3 notification that are read. S3 sends more.
///
/// See <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.
#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<NotificationRecord<'a>>,
}

#[derive(Deserialize)]
struct NotificationRecord<'a> {
    #[serde(rename = "eventName", borrow)]
    event_name: Cow<'a, str>,
    #[serde(borrow)]
    s3: NotificationEntity<'a>,
}

#[derive(Deserialize)]
struct NotificationEntity<'a> {
    #[serde(borrow)]
    bucket: NotificationBucket<'a>,
    #[serde(borrow)]
    object: NotificationObject<'a>,
}

#[derive(Deserialize)]
struct NotificationBucket<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct NotificationObject<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(rename = "versionId", borrow)]
    version_id: Option<Cow<'a, str>>,
}

/// Message that the function sends to itself: read the rest of this object.
#[derive(Debug, Serialize, Deserialize)]
struct Continuation<'a> {
    tributary: Cow<'a, str>,
    bucket: Cow<'a, str>,
    key: Cow<'a, str>,
    version_id: Option<Cow<'a, str>>,
    etag: Option<Cow<'a, str>>,
    dataset: Option<Cow<'a, str>>,
    /// Offset of the row's first byte in the decompressed object.
    offset: u64,
    /// Number of the row, from 1.
    row: u64,
}

const CONTINUATION: &str = "continuation";

/// Test event that S3 sends when a notification is set up.
const TEST_EVENT: &str = "s3:TestEvent";

/// Parses the body of a message into tasks. A [`Rejection`] stands for an object whose key cannot
/// be decoded, for an event of an unknown kind, and for a body that is neither a notification nor a
/// continuation.
///
/// The `s3:TestEvent` that S3 sends when a notification is set up has no tasks, and neither does
/// the removal of an object: [`ignored_event`] names them.
#[must_use]
pub fn tasks(body: &str, datasets: &Datasets) -> Vec<Result<Task, Rejection>> {
    if let Ok(rest) = object::<Continuation<'_>>(body)
        && rest.tributary == CONTINUATION
    {
        return vec![Ok(rest.into_task(datasets))];
    }
    if object::<TestEvent<'_>>(body).is_ok_and(|test| test.event == TEST_EVENT) {
        return Vec::new();
    }
    let Ok(notification) = object::<Notification<'_>>(body) else {
        let message = "the message is no S3 notification and no continuation";
        return vec![Err(Rejection::row(Code::InvalidJson, message))];
    };
    let task = |record: NotificationRecord<'_>| match EventKind::of(&record.event_name) {
        EventKind::Created => Some(record.s3.into_task(datasets)),
        EventKind::Removed => None,
        EventKind::Unknown => {
            let message = format!(
                "event {} of {}: expected ObjectCreated:* or ObjectRemoved:*",
                shown(&record.event_name),
                shown(&record.s3.object.key)
            );
            Some(Err(Rejection::row(Code::UnknownEvent, message)))
        }
    };
    notification.records.into_iter().filter_map(task).collect()
}

/// Returns the name of the event of a message without tasks.
#[must_use]
pub fn ignored_event(body: &str) -> String {
    let test = object::<TestEvent<'_>>(body).map(|test| test.event.into_owned());
    test.unwrap_or_else(|_| {
        let notification = object::<Notification<'_>>(body).ok();
        let first = notification.and_then(|it| it.records.into_iter().next());
        first.map_or_else(|| "none".to_owned(), |record| record.event_name.into_owned())
    })
}

/// Kind of an S3 event. Some services and emulators write the prefix `s3:` of the notification's
/// configuration into its messages.
enum EventKind {
    Created,
    Removed,
    Unknown,
}

impl EventKind {
    fn of(name: &str) -> Self {
        let name = name.strip_prefix("s3:").unwrap_or(name);
        match name.split_once(':').unwrap_or((name, "")).0 {
            "ObjectCreated" => Self::Created,
            "ObjectRemoved" => Self::Removed,
            _ => Self::Unknown,
        }
    }
}

impl NotificationEntity<'_> {
    fn into_task(self, datasets: &Datasets) -> Result<Task, Rejection> {
        let Self { bucket, object } = self;
        let key = decoded(&object.key)?;
        let dataset = datasets.by_key(&key).cloned();
        let version_id = object.version_id.filter(|id| !id.is_empty()).map(Cow::into_owned);
        // The notification's entity tag is not required: in a bucket without versions the object
        // may legitimately be newer than the notification, and both notifications then refer to the
        // new one.
        let bucket = bucket.name.into_owned();
        let object = ObjectName { bucket, key, version_id, etag: None };
        Ok(Task { object, dataset, start: None })
    }
}

/// Builds the body of a message for the rest of `task` from `position`.
#[must_use]
pub fn continuation(task: &Task, position: Position) -> String {
    to_json(&Continuation {
        tributary: Cow::Borrowed(CONTINUATION),
        bucket: Cow::Borrowed(&task.object.bucket),
        key: Cow::Borrowed(&task.object.key),
        version_id: task.object.version_id.as_deref().map(Cow::Borrowed),
        etag: task.object.etag.as_deref().map(Cow::Borrowed),
        dataset: task.dataset.as_ref().map(|dataset| Cow::Borrowed(dataset.name())),
        offset: position.offset,
        row: position.row,
    })
}

impl Continuation<'_> {
    fn into_task(self, datasets: &Datasets) -> Task {
        let object = ObjectName {
            bucket: self.bucket.into_owned(),
            key: self.key.into_owned(),
            version_id: self.version_id.map(Cow::into_owned),
            etag: self.etag.map(Cow::into_owned),
        };
        let dataset = self.dataset.and_then(|name| datasets.by_name(&name)).cloned();
        let start = (self.offset > 0).then_some(Position { offset: self.offset, row: self.row });
        Task { object, dataset, start }
    }
}

#[derive(Deserialize)]
struct TestEvent<'a> {
    #[serde(rename = "Event", borrow)]
    event: Cow<'a, str>,
}

/// Decodes a key. S3 encodes keys as forms do: `+` is a space, and `%` begins a byte.
fn decoded(key: &str) -> Result<String, Rejection> {
    let key = key.replace('+', " ");
    let key = percent_decode_str(&key).decode_utf8();
    let key = key.map_err(|_| Rejection::row(Code::NotUtf8, "the object's key is not UTF-8"))?;
    Ok(key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datasets() -> Datasets {
        tributary_config::Configuration::shipped().unwrap().datasets
    }

    fn notification(key: &str) -> String {
        format!(
            r#"{{"Records":[{{"eventVersion":"2.1","eventName":"ObjectCreated:Put",
            "s3":{{"bucket":{{"name":"b"}},"object":{{"key":"{key}","versionId":"v1","eTag":"e"}}}}}}]}}"#
        )
    }

    /// Returns the tasks of a body whose keys can all be decoded.
    fn all(body: &str) -> Vec<Task> {
        tasks(body, &datasets()).into_iter().map(|task| task.ok().unwrap()).collect()
    }

    #[test]
    fn keys_are_decoded_and_name_the_dataset() {
        let tasks = all(&notification("accidents/a+b%2B%C3%BC.csv"));

        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0].object.key, "accidents/a b+ü.csv");
        assert_eq!(tasks[0].object.version_id.as_deref(), Some("v1"));
        assert_eq!(tasks[0].dataset.as_deref().map(Dataset::name), Some("accidents"));
    }

    #[test]
    fn undecodable_key_fails_its_object_only() {
        let record = |key: &str| {
            let body = notification(key);
            body[r#"{"Records":["#.len()..body.len() - "]}".len()].to_owned()
        };
        let keys = ["flood/a.csv", "flood/%FF.csv", "flood/b.csv"];
        let body = format!("{{\"Records\":[{}]}}", keys.map(record).join(","));

        let tasks = tasks(&body, &datasets());

        let key =
            |task: Result<Task, Rejection>| task.map(|it| it.object.key).map_err(|it| it.code);
        let keys: Vec<_> = tasks.into_iter().map(key).collect();
        assert_eq!(keys, [Ok("flood/a.csv".into()), Err(Code::NotUtf8), Ok("flood/b.csv".into())]);
    }

    #[test]
    fn another_folder_names_no_dataset() {
        let tasks = all(&notification("uploads/accidents.csv"));

        assert!(tasks[0].dataset.is_none());
    }

    #[test]
    fn continuation_round_trips() {
        let mut task = all(&notification("accidents/a%22.csv")).remove(0);
        task.object.etag = Some("\"e\"".into());
        let position = Position { offset: 1 << 40, row: 7_000_000 };

        let read = all(&continuation(&task, position));

        assert_eq!(read[0].object, task.object);
        assert_eq!(read[0].start, Some(position));
        assert_eq!(read[0].dataset.as_deref().map(Dataset::name), Some("accidents"));
    }

    #[test]
    fn test_event_has_no_tasks() {
        let body = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#;

        assert!(all(body).is_empty());
    }

    #[test]
    fn creations_are_read_with_and_without_prefix() {
        for event in [
            "ObjectCreated:Put",
            "ObjectCreated:CompleteMultipartUpload",
            "s3:ObjectCreated:Put",
            "s3:ObjectCreated:*",
        ] {
            let body = notification("flood/a.csv").replace("ObjectCreated:Put", event);
            assert_eq!(all(&body).len(), 1, "{event}");
        }
    }

    #[test]
    fn unknown_event_is_a_bad_row() {
        for event in ["ObjectRestore:Completed", "s3:ObjectRestore:Post", "ObjectCreate", ""] {
            let body = notification("flood/a.csv").replace("ObjectCreated:Put", event);
            let tasks = tasks(&body, &datasets());
            assert_eq!(tasks.len(), 1, "{event}");
            assert!(tasks[0].as_ref().is_err_and(|it| it.code == Code::UnknownEvent), "{event}");
        }
        for event in ["ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated"] {
            let body = notification("flood/a.csv").replace("ObjectCreated:Put", event);
            assert!(all(&body).is_empty(), "{event}");
            assert_eq!(ignored_event(&body), event);
        }
    }

    #[test]
    fn invalid_notification_is_a_bad_row() {
        for body in
            ["", "{}", "[]", r#"{"Records":[{"s3":{}}]}"#, "Records", "{\"Records\":7}", "[[]]"]
        {
            let tasks = tasks(body, &datasets());
            assert_eq!(tasks.len(), 1, "{body}");
            assert!(tasks[0].as_ref().is_err_and(|it| it.code == Code::InvalidJson), "{body}");
        }
    }
}
