//! Takeover of a configuration: which one a function is built of, and what it says of the others.

use std::future::pending;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::{Instant, advance};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::log::MetricsLog;
use tributary_aws::s3::{ObjectName, ObjectStore, Piece, ReadError};
use tributary_aws::takeover::{ConfigSource, InUse, KnownDatasets, Reloading, Stale};
use tributary_config::{Bundle, Configuration, RELEASES_KEY, Release, Releases, version_key};
use tributary_model::config_error::ConfigError;
use tributary_testkit::{MemoryObjects, clock};

/// Function that is a version and its datasets.
type Built = (String, KnownDatasets);

struct Test<'a, O> {
    function: Reloading<'a, Built, O>,
    lines: Arc<Mutex<Vec<Value>>>,
}

#[expect(clippy::unnecessary_wraps, reason = "as functions are built")]
fn build(in_use: &InUse) -> Result<Built, ConfigError> {
    Ok((in_use.version.clone(), in_use.known.clone()))
}

fn test<O: ObjectStore>(store: O) -> Test<'static, O> {
    test_with(store, build)
}

fn test_with<'a, O: ObjectStore>(
    store: O,
    build: impl Fn(&InUse) -> Result<Built, ConfigError> + 'a,
) -> Test<'a, O> {
    clock::begin();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let log = MetricsLog::new("transform", "Tributary/test".into())
        .with_writer(move |line| written.lock().unwrap().push(line.clone()));
    let source = ConfigSource { bucket: "b".into(), refresh: SignedDuration::from_mins(1) };
    Test { function: Reloading::new(source, store, log, clock::now, build), lines }
}

impl<O: ObjectStore> Test<'_, O> {
    async fn current(&self) -> Result<Arc<Built>, InvocationError> {
        self.function.current(Deadline::after(Duration::from_secs(50))).await
    }

    /// Returns the version in use after another minute.
    async fn version(&self) -> String {
        advance(Duration::from_mins(1)).await;
        self.current().await.unwrap().0.clone()
    }

    /// Returns the metrics that were counted since the last call.
    fn counted(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        let name = |line: &Value| {
            let metrics = &line["_aws"]["CloudWatchMetrics"][0];
            assert_eq!(metrics["Dimensions"], serde_json::json!([[], ["function"]]));
            metrics["Metrics"][0]["Name"].as_str().unwrap().to_owned()
        };
        lines.iter().map(name).collect()
    }
}

fn shipped() -> String {
    Bundle::shipped().version().to_string()
}

/// Returns a configuration with another dataset.
fn other(name: &str) -> Bundle {
    let flood = Bundle::shipped().text("datasets/flood.toml").replace("\"location\"", "\"site\"");
    Bundle::shipped().with(&format!("datasets/{name}.toml"), &flood)
}

fn releases(bundles: &[&Bundle]) -> Vec<u8> {
    let mut releases = Releases::default();
    for bundle in bundles {
        let (version, pushed_at) = (bundle.version().to_string(), String::new());
        releases.push(Release { version, pushed_at }, &Configuration::shipped().unwrap());
    }
    serde_json::to_vec(&releases).unwrap()
}

/// Returns a bucket with the files of these bundles, of which the last is in use.
fn bucket(bundles: &[&Bundle]) -> MemoryObjects {
    let objects = MemoryObjects::with(RELEASES_KEY, releases(bundles));
    for bundle in bundles {
        objects.put(&version_key(&bundle.version().to_string()), bundle.to_json());
    }
    objects
}

#[tokio::test(start_paused = true)]
async fn compiled_in_configuration_is_used_without_release() {
    let test = test(MemoryObjects::default());
    assert_eq!(test.version().await, shipped());
    assert_eq!(test.version().await, shipped());
    assert_eq!(test.counted(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn pushed_configuration_is_taken_over_at_the_interval() {
    let (one, two) = (other("one"), other("two"));
    let objects = bucket(&[&one]);
    let test = test(&objects);
    assert_eq!(test.version().await, one.version().to_string());
    objects.put(&version_key(&two.version().to_string()), two.to_json());
    objects.put(RELEASES_KEY, releases(&[&one, &two]));

    advance(Duration::from_secs(59)).await;
    assert_eq!(test.current().await.unwrap().0, one.version().to_string());
    advance(Duration::from_secs(1)).await;
    assert_eq!(test.current().await.unwrap().0, two.version().to_string());
    objects.put(RELEASES_KEY, releases(&[&one]));
    assert_eq!(test.version().await, one.version().to_string(), "rolled back");
    objects.put(RELEASES_KEY, releases(&[]));
    assert_eq!(test.version().await, shipped(), "rolled back to the compiled-in one");
    assert_eq!(test.counted(), ["config_taken"; 3]);
}

#[tokio::test(start_paused = true)]
async fn unusable_configuration_is_refused_and_old_one_stays() {
    let (one, two) = (other("one"), other("two"));
    let wrong = one.clone().with("pipeline.toml", "[[metrics]]\nnaem = 1");
    let objects = bucket(&[&one]);
    let test = test(&objects);
    assert_eq!(test.version().await, one.version().to_string());

    let key = version_key(&two.version().to_string());
    let wrong_key = version_key(&wrong.version().to_string());
    let lists = [releases(&[&one, &two]), releases(&[&one, &wrong]), b"[]".to_vec()];
    for (name, list, key, files) in [
        ("no files", &lists[0], "none", Vec::new()),
        ("files of another version", &lists[0], key.as_str(), one.to_json()),
        ("no JSON", &lists[0], key.as_str(), b"{".to_vec()),
        ("invalid", &lists[1], wrong_key.as_str(), wrong.to_json()),
        ("no list", &lists[2], "none", Vec::new()),
    ] {
        objects.put(key, files);
        objects.put(RELEASES_KEY, list.clone());
        assert_eq!(test.version().await, one.version().to_string(), "{name}");
        assert_eq!(test.counted(), ["config_refused"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn start_takes_newest_usable_configuration() {
    let (one, two) = (other("one"), other("two"));
    let wrong = one.clone().with("alerts.toml", "rules = 1");
    let objects = bucket(&[&two, &one, &wrong]);
    let test = test(&objects);
    assert_eq!(test.version().await, one.version().to_string());
    assert_eq!(test.counted(), ["config_refused"]);
    assert_eq!(test.version().await, one.version().to_string());
    assert_eq!(test.counted(), ["config_refused"], "the alarm stays");
}

#[tokio::test(start_paused = true)]
async fn function_that_cannot_be_built_refuses() {
    let one = other("one");
    let is_kafka = |in_use: &InUse| {
        let names = in_use.configuration.datasets.names();
        if names.contains("one") { build(in_use) } else { Err(ConfigError::new("TOPICS", "one")) }
    };
    let objects = MemoryObjects::default();
    let test = test_with(&objects, is_kafka);
    let error = test.current().await.err().unwrap();
    assert_eq!((error.kind(), error.to_string().contains("TOPICS")), ("SetUp", true), "{error}");

    objects.put(&version_key(&one.version().to_string()), one.to_json());
    objects.put(RELEASES_KEY, releases(&[&one]));
    assert_eq!(test.version().await, one.version().to_string());
}

#[tokio::test(start_paused = true)]
async fn unreadable_bucket_fails_a_start_only() {
    let one = other("one");
    let test = test(bucket(&[&one]).failing(0..1));
    let error = test.current().await.err().unwrap();
    assert_eq!(error.kind(), "Plumbing", "{error}");
    assert_eq!(test.version().await, one.version().to_string());

    let test = self::test(bucket(&[&one]).failing(2..3));
    assert_eq!(test.version().await, one.version().to_string());
    assert_eq!(test.version().await, one.version().to_string());
    assert_eq!(test.counted(), ["config_unread"]);
}

/// Object store that answers while `answers` is above 0.
struct Silent {
    objects: MemoryObjects,
    answers: Mutex<usize>,
}

impl ObjectStore for Silent {
    async fn read(&self, object: &ObjectName, range: Range<u64>) -> Result<Piece, ReadError> {
        let left = self.answers.lock().unwrap().checked_sub(1);
        let Some(left) = left else { return pending().await };
        *self.answers.lock().unwrap() = left;
        self.objects.read(object, range).await
    }
}

#[tokio::test(start_paused = true)]
async fn silent_bucket_delays_batch_by_two_seconds() {
    let answers = Mutex::new(1);
    let test = test(Silent { objects: MemoryObjects::default(), answers });
    assert_eq!(test.version().await, shipped());
    let started = Instant::now();
    assert_eq!(test.version().await, shipped());
    assert_eq!(started.elapsed().as_secs(), 60 + 2);
    assert_eq!(test.counted(), ["config_unread"]);
    assert_eq!(test.current().await.unwrap().0, shipped(), "the next batch does not wait");
}

#[tokio::test(start_paused = true)]
async fn unknown_dataset_makes_reader_look_again() {
    let one = other("one");
    let objects = MemoryObjects::default();
    let test = test(&objects);
    let (_, known) = &*test.current().await.unwrap();
    let sent = clock::now();
    assert_eq!(known.check("flood", sent), Ok(()));

    advance(Duration::from_secs(10)).await;
    let sent = clock::now();
    objects.put(&version_key(&one.version().to_string()), one.to_json());
    objects.put(RELEASES_KEY, releases(&[&one]));
    let stale = known.check("one", sent).unwrap_err();
    assert_eq!(stale, Stale { dataset: "one".into(), sent });
    let deadline = Deadline::after(Duration::from_secs(50));
    let (version, known) = &*test.function.after(&stale, deadline).await.unwrap();
    assert_eq!((version, known.check("one", sent)), (&one.version().to_string(), Ok(())));
    assert_eq!(known.check("two", sent), Ok(()), "no release of that time has it");
    assert!(known.check("two", sent + SignedDuration::from_mins(1)).is_err());
}

#[tokio::test(start_paused = true)]
async fn record_of_unknown_dataset_waits_for_bucket() {
    let test = test(MemoryObjects::default().failing(1..2));
    let (_, known) = &*test.current().await.unwrap();
    let sent = clock::now() + SignedDuration::from_secs(10);
    let stale = known.check("one", sent).unwrap_err();
    let deadline = Deadline::after(Duration::from_secs(50));
    assert_eq!(test.function.after(&stale, deadline).await.err().unwrap().kind(), "Plumbing");
    assert!(known.check("one", sent).is_err());
    test.function.after(&stale, deadline).await.unwrap();
    assert_eq!(known.check("one", sent), Ok(()));
}

#[test]
fn without_bucket_no_dataset_is_stale() {
    assert_eq!(InUse::shipped().unwrap().known.check("one", Timestamp::MAX), Ok(()));
}
