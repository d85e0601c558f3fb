//! Shared store tests, run against the in-memory store of the simulator and against a real
//! Cassandra that is killed in between.

use std::fmt::Debug;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use scylla::client::session_builder::SessionBuilder;
use serde_json::Value;
use tributary_aws::clients::SdkConfig;
use tributary_aws::error::CallError;
use tributary_aws::windows::{Item, ItemKey, Range, WindowStore, Written};
use tributary_cassandra::{CassandraWindows, ClusterConfig};
use tributary_testkit::Faults;
use tributary_testkit::service::SimWindows;

use crate::suite::{add, assert_due, behaves, item, key};

const SCHEMA: &str = include_str!("../../../../config/cassandra.cql");
const OF_KEYSPACES: &str = include_str!("../../../../config/keyspaces.cql");

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_behaves() {
    behaves(&SimWindows::new(Faults::none(1))).await;
}

#[test]
fn both_schemas_have_the_same_tables() {
    let tables = |cql: &str| -> Vec<String> {
        let table = |it: &str| it.split(" WITH ").next().unwrap().to_owned();
        statements(cql).iter().map(|it| table(it)).collect()
    };

    assert_eq!(tables(SCHEMA), tables(OF_KEYSPACES));
    assert_eq!(tables(SCHEMA).len(), 4);
}

fn statements(cql: &str) -> Vec<String> {
    let lines = cql.lines().filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.split(';').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// Node of `tools/cassandra.py`, in a folder of its own. Stops with the test.
struct Node {
    home: PathBuf,
    known: Value,
}

impl Node {
    /// Starts a node. Returns `None` and prints the reason if Cassandra is not available.
    fn start() -> Option<Self> {
        let name = format!("cassandra-{}", std::process::id());
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut node = Self { home, known: Value::Null };
        node.known = node.tool("start").map_err(|why| note(&why)).ok()?;
        Some(node)
    }

    fn tool(&self, verb: &str) -> Result<Value, String> {
        tool(&self.home, verb)
    }

    /// Runs the tool without blocking the other tasks.
    async fn tool_aside(&self, verb: &'static str) -> Value {
        let home = self.home.clone();
        tokio::task::spawn_blocking(move || tool(&home, verb)).await.unwrap().unwrap()
    }

    fn text(&self, name: &str) -> String {
        self.known[name].as_str().unwrap().to_owned()
    }

    fn cluster(&self, keyspace: &str, password: &str) -> ClusterConfig {
        ClusterConfig::Cassandra {
            keyspace: keyspace.to_owned(),
            nodes: vec![self.text("node")],
            datacenter: None,
            user: self.text("user"),
            password: password.to_owned(),
        }
    }

    /// Creates a keyspace with the tables of `config/cassandra.cql`.
    async fn make(&self, keyspace: &str) {
        let builder = SessionBuilder::new().known_node(self.text("node"));
        let session = builder.user(self.text("user"), self.text("password")).build().await.unwrap();
        let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
        let made = format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}");
        session.query_unpaged(made, &[]).await.unwrap();
        session.use_keyspace(keyspace, false).await.unwrap();
        for statement in statements(SCHEMA) {
            session.query_unpaged(statement, &[]).await.unwrap();
        }
    }
}

fn tool(home: &Path, verb: &str) -> Result<Value, String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python)
        .args(["-m", "tools.cassandra", verb, "--home"])
        .arg(home)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(serde_json::from_str(&said).unwrap()),
        Some(77) => Err(said),
        code => {
            let reported = String::from_utf8_lossy(&output.stderr);
            assert_eq!(code, Some(0), "tools.cassandra {verb}: {said} {reported}");
            Err(said)
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A node that does not stop, or a folder that cannot be removed, must not fail the test.
        let _ = self.tool("stop");
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// Prints a line past the capture of the test's output.
fn note(line: &str) {
    let mut err = std::io::stderr();
    writeln!(err, "{line}").unwrap();
}

fn is_set_up<T: Debug>(answer: Result<T, CallError>, code: &str) {
    let said = format!("{answer:?}");
    assert!(matches!(answer, Err(CallError::Setup(error)) if error.code == code), "{code}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make test-cassandra: a real node, which needs java and a way to Maven Central"]
async fn a_real_cassandra_behaves_and_may_be_killed() {
    let Some(node) = Node::start() else { return };
    let started = Instant::now();
    let (password, sdk) = (node.text("password"), SdkConfig::builder().build());
    is_set_up(node.cluster("nowhere", &password).open(&sdk).await, "invalid");
    let refused = node.cluster("nowhere", "wrong").open(&sdk).await;
    is_set_up(refused, "bad_credentials");
    node.make("tributary").await;
    let cluster = node.cluster("tributary", &password);
    let store = cluster.open(&sdk).await.unwrap();

    behaves(&store).await;
    note(&format!("the behaviours took {:.1} s", started.elapsed().as_secs_f64()));
    what_expires_is_gone_and_may_begin_again(&store).await;
    what_was_announced_and_never_written_is_not_due(&node, &store).await;
    a_device_with_many_windows_is_read_page_by_page(&store).await;
    // Two functions, each with its own connection to the node.
    let other = cluster.open(&sdk).await.unwrap();
    a_node_that_is_killed_loses_nothing(&node, [&store, &other]).await;
    nobody_who_answers_is_plumbing(&node, &cluster, &store).await;
}

async fn what_expires_is_gone_and_may_begin_again(store: &CassandraWindows) {
    let key = key("expires", "sensor-01", 0);
    let soon = Timestamp::from_second(Timestamp::now().as_second() + 2).unwrap();
    let first = item(key.clone(), 1, "open");
    let closed = Item { due: None, expires_at: Some(soon), ..item(key.clone(), 2, "closed") };
    assert_eq!(store.write(&first).await.unwrap(), Written::Stored);
    assert_eq!(store.write(&closed).await.unwrap(), Written::Stored);
    let keys = [key.clone()];
    assert_eq!(store.read(&keys).await.unwrap(), [Some(closed)]);

    tokio::time::sleep(Duration::from_secs(3)).await;

    let all = Range { from: key.start, until: key.start + SignedDuration::from_mins(1), limit: 9 };
    assert_eq!(store.read(&keys).await.unwrap(), [None]);
    assert_eq!(store.range("expires", "sensor-01", all).await.unwrap(), []);
    assert_eq!(store.write(&first).await.unwrap(), Written::Stored);
    assert_eq!(store.read(&keys).await.unwrap(), [Some(first.clone())]);
    assert_due(store, &key, first.due.unwrap(), 9, &keys).await;
}

/// Simulates a writer that ends between the row of `open_windows` and the window itself.
async fn what_was_announced_and_never_written_is_not_due(node: &Node, store: &CassandraWindows) {
    let key = key("announced", "sensor-01", 0);
    let session = SessionBuilder::new()
        .known_node(node.text("node"))
        .user(node.text("user"), node.text("password"))
        .build()
        .await
        .unwrap();
    let announce = format!(
        "INSERT INTO tributary.open_windows (spec, bucket, due, key, start, version)
         VALUES ('announced', {}, {}, 'sensor-01', {}, 1)",
        key.bucket(),
        (key.start + SignedDuration::from_mins(1)).as_millisecond(),
        key.start.as_millisecond(),
    );
    session.query_unpaged(announce, &[]).await.unwrap();
    let end = key.start + SignedDuration::from_hours(1);
    assert_eq!(store.due("announced", key.bucket(), end, 9).await.unwrap(), []);

    // The redelivered write succeeds.
    assert_eq!(store.write(&item(key.clone(), 1, "open")).await.unwrap(), Written::Stored);
    assert_due(store, &key, end, 9, std::slice::from_ref(&key)).await;

    // Once the window has a later version, the row is dropped.
    let closed = Item { due: None, ..item(key.clone(), 2, "closed") };
    assert_eq!(store.write(&closed).await.unwrap(), Written::Stored);
    assert_due(store, &key, end, 9, &[]).await;
    let left = "SELECT version FROM tributary.open_windows WHERE spec = 'announced' AND bucket = ";
    let left = session.query_unpaged(format!("{left}{}", key.bucket()), &[]).await.unwrap();
    assert_eq!(left.into_rows_result().unwrap().rows_num(), 0);
}

async fn a_device_with_many_windows_is_read_page_by_page(store: &CassandraWindows) {
    const COUNT: i64 = 450;
    let keys: Vec<_> = (0..COUNT).map(|minute| key("many", "sensor-01", minute)).collect();
    for some in keys.chunks(50) {
        let write = async |key: &ItemKey| store.write(&item(key.clone(), 1, "x")).await;
        let written = join_all(some.iter().map(write)).await;
        assert!(written.into_iter().all(|it| it == Ok(Written::Stored)));
    }
    let end = keys[0].start + SignedDuration::from_mins(COUNT + 1);
    let range = Range { from: keys[0].start, until: end, limit: 10_000 };

    let found = store.range("many", "sensor-01", range).await.unwrap();

    let newest_first: Vec<ItemKey> = found.into_iter().map(|item| item.key).collect();
    assert!(newest_first.iter().eq(keys.iter().rev()), "{}", newest_first.len());
    assert_due(store, &keys[0], end, 1_000, &keys).await;
    assert_due(store, &keys[0], end, 333, &keys[..333]).await;
}

/// Writers that read and write again, as functions do, while the node is killed and restarted
/// twice.
async fn a_node_that_is_killed_loses_nothing(node: &Node, stores: [&CassandraWindows; 2]) {
    const WRITERS: usize = 4;
    const GROUPS: usize = 6;
    let (done, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let of = |group: usize| key("killed", &format!("sensor-{group:02}"), 0);
    let writer = async |writer: usize| {
        let (store, mut count) = (stores[writer % stores.len()], 0);
        while !done.load(Ordering::Relaxed) {
            let group = of((writer + count) % GROUPS);
            if store.read(std::slice::from_ref(&group)).await.is_err() {
                failed.fetch_add(1, Ordering::Relaxed);
            }
            add(store, &group, &format!("{writer}-{count}")).await;
            count += 1;
        }
        count
    };
    let breaker = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(node.tool_aside("kill").await["running"], false);
            assert!(stores[0].read(&[of(0)]).await.is_err(), "the node is away");
            let back = node.tool_aside("start").await;
            assert_eq!((&back["running"], &back["node"]), (&true.into(), &node.known["node"]));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        done.store(true, Ordering::Relaxed);
    };
    let started = Instant::now();

    let (counts, ()) = tokio::join!(join_all((0..WRITERS).map(writer)), breaker);

    let added: usize = counts.iter().sum();
    let (keys, store): (Vec<_>, _) = ((0..GROUPS).map(of).collect(), stores[0]);
    let found = store.read(&keys).await.unwrap();
    let bodies: Vec<_> = found.iter().flatten().map(|item| (item.version, &item.body)).collect();
    let mut names: Vec<_> = bodies.iter().flat_map(|(_, body)| body.split(' ')).collect();
    let versions: u64 = bodies.iter().map(|(version, _)| version).sum();
    assert_eq!((names.len() as u64, names.len()), (versions, added), "each is there once");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), added);
    for key in &keys {
        let due = store.due(&key.spec, key.bucket(), key.start + SignedDuration::from_mins(1), 99);
        assert!(due.await.unwrap().contains(key), "somebody will look at it");
    }
    let failed = failed.load(Ordering::Relaxed);
    note(&format!(
        "{added} additions by {WRITERS} writers in {:.1} s, the node killed twice; {failed} reads failed",
        started.elapsed().as_secs_f64()
    ));
}

async fn nobody_who_answers_is_plumbing(
    node: &Node,
    cluster: &ClusterConfig,
    store: &CassandraWindows,
) {
    assert_eq!(node.tool("kill").unwrap()["running"], false);

    let read = store.read(&[key("killed", "sensor-00", 0)]).await;
    let connected = cluster.open(&SdkConfig::builder().build()).await;

    for error in [read.map(|_| ()).unwrap_err(), connected.map(|_| ()).unwrap_err()] {
        assert!(matches!(error, CallError::Retryable { .. }), "{error:?}");
    }
}
