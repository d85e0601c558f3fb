//! Behaviour that every store of windows shares. Each test uses its own specs, groups and clocks,
//! so that all of them may run on one store.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tributary_aws::windows::{BUCKETS, Item, ItemKey, MAX_KEYS, Range, WindowStore, Written};
use tributary_windows::clock::{Clock, Mark, Rise, Shard};

/// 10:00 of an arbitrary day; windows begin at whole seconds.
const TEN: Timestamp = Timestamp::constant(1_795_168_800, 0);

/// Time limit for the index to catch up.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs all tests sequentially.
pub(crate) async fn behaves(store: &impl WindowStore) {
    what_nobody_wrote_is_not_there(store).await;
    a_window_is_read_as_it_was_written(store).await;
    a_write_over_another_version_is_a_conflict_and_changes_nothing(store).await;
    of_many_who_add_to_a_window_none_is_lost(store).await;
    a_range_is_of_one_group_and_newest_first(store).await;
    what_is_due_is_found_earliest_first_until_it_is_not(store).await;
    a_write_that_lost_leaves_nothing_to_look_at(store).await;
    a_watermark_never_goes_back(store).await;
    a_shard_is_added_once_and_put_over_what_is_there(store).await;
    a_shard_is_woken_where_it_is_and_stays_what_it_was(store).await;
}

pub(crate) fn key(spec: &str, group: &str, minute: i64) -> ItemKey {
    let start = TEN + SignedDuration::from_mins(minute);
    ItemKey { spec: spec.to_owned(), group: group.to_owned(), start }
}

pub(crate) fn item(key: ItemKey, version: u64, body: &str) -> Item {
    let due = Some(key.start + SignedDuration::from_mins(1));
    Item { key, version, due, expires_at: None, body: body.to_owned() }
}

/// Returns an expiry in a month.
fn later() -> Timestamp {
    let second = (Timestamp::now() + SignedDuration::from_hours(30 * 24)).as_second();
    Timestamp::from_second(second).unwrap()
}

async fn read(store: &impl WindowStore, key: &ItemKey) -> Option<Item> {
    store.read(std::slice::from_ref(key)).await.unwrap().pop().unwrap()
}

/// Asserts the due windows, once the index has caught up to `expected`.
pub(crate) async fn assert_due(
    store: &impl WindowStore,
    key: &ItemKey,
    until: Timestamp,
    limit: usize,
    expected: &[ItemKey],
) {
    let mut waited = Duration::ZERO;
    loop {
        let due = store.due(&key.spec, key.bucket(), until, limit).await.unwrap();
        if due == expected {
            return;
        }
        assert!(waited < TIMEOUT, "{due:?}\nin place of\n{expected:?}");
        let pause = Duration::from_millis(200);
        tokio::time::sleep(pause).await;
        waited += pause;
    }
}

async fn what_nobody_wrote_is_not_there(store: &impl WindowStore) {
    let nowhere = key("nowhere", "nobody", 0);
    let range = Range { from: Timestamp::MIN, until: Timestamp::MAX, limit: 10 };
    // Some stores do not support the earliest and latest times.
    let range = Range { from: TEN - SignedDuration::from_hours(1), until: TEN, ..range };

    assert_eq!(store.read(&[nowhere.clone(), nowhere.clone()]).await.unwrap(), [None, None]);
    assert_eq!(store.read(&[]).await.unwrap(), []);
    assert_eq!(store.range("nowhere", "nobody", range).await.unwrap(), []);
    assert_eq!(store.clock("nowhere").await.unwrap(), Clock::default());
    for bucket in 0..BUCKETS {
        assert_eq!(store.due("nowhere", bucket, TEN, 10).await.unwrap(), []);
    }
}

async fn a_window_is_read_as_it_was_written(store: &impl WindowStore) {
    let groups = ["sensor-01", "OH/Montgomery", "a#b", "Zürich 🌊", "'; DROP TABLE windows"];
    let mut written = Vec::new();
    for (minute, group) in (0..).zip(groups) {
        let open = item(key("as-written", group, minute), 1, "{\"phase\":\"open\"}");
        assert_eq!(store.write(&open).await.unwrap(), Written::Stored);
        let closed = Item { due: None, expires_at: Some(later()), version: 2, ..open.clone() };
        if minute % 2 == 0 {
            assert_eq!(store.write(&closed).await.unwrap(), Written::Stored);
            written.push(closed);
        } else {
            written.push(open);
        }
    }
    let mut keys: Vec<_> = written.iter().rev().map(|item| item.key.clone()).collect();
    keys.insert(2, key("as-written", "sensor-01", 99));

    let mut found = store.read(&keys).await.unwrap();

    assert_eq!(found.remove(2), None);
    let found: Vec<_> = found.into_iter().rev().map(Option::unwrap).collect();
    assert_eq!(found, written);
    let many: Vec<_> =
        (0..).map(|minute| key("as-written", "many", minute)).take(MAX_KEYS).collect();
    assert_eq!(store.read(&many).await.unwrap(), vec![None; MAX_KEYS]);
}

async fn a_write_over_another_version_is_a_conflict_and_changes_nothing(store: &impl WindowStore) {
    let key = key("conflict", "sensor-01", 0);
    let of = |version, body: &str| item(key.clone(), version, body);

    assert_eq!(store.write(&of(2, "before the first")).await.unwrap(), Written::Conflict);
    assert_eq!(read(store, &key).await, None);
    assert_eq!(store.write(&of(1, "first")).await.unwrap(), Written::Stored);
    assert_eq!(store.write(&of(1, "the same again")).await.unwrap(), Written::Conflict);
    assert_eq!(store.write(&of(3, "too far")).await.unwrap(), Written::Conflict);
    assert_eq!(read(store, &key).await, Some(of(1, "first")));
    assert_eq!(store.write(&of(2, "second")).await.unwrap(), Written::Stored);
    assert_eq!(store.write(&of(2, "redelivered")).await.unwrap(), Written::Conflict);
    assert_eq!(read(store, &key).await, Some(of(2, "second")));
}

/// Adds `name` to the window as a function does: reads, writes, and reads again after a conflict.
pub(crate) async fn add(store: &impl WindowStore, key: &ItemKey, name: &str) {
    loop {
        let before = store.read(std::slice::from_ref(key)).await;
        let Ok(before) = before.map(|mut all| all.pop().unwrap()) else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (version, body) = before.map_or((0, String::new()), |it| (it.version, it.body));
        if body.split(' ').any(|it| it == name) {
            return;
        }
        let next = item(key.clone(), version + 1, format!("{body} {name}").trim_start());
        match store.write(&next).await {
            Ok(Written::Stored) => return,
            Ok(Written::Conflict) => {}
            // The write may be stored all the same; the next read shows it.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn of_many_who_add_to_a_window_none_is_lost(store: &impl WindowStore) {
    let key = key("contended", "sensor-01", 0);
    let adder = async |writer: usize| {
        for number in 0..5 {
            add(store, &key, &format!("{writer}-{number}")).await;
        }
    };

    join_all((0..4).map(adder)).await;

    let found = read(store, &key).await.unwrap();
    let mut names: Vec<_> = found.body.split(' ').collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), found.version), (20, 20));
}

async fn a_range_is_of_one_group_and_newest_first(store: &impl WindowStore) {
    for minute in [3, 0, 4, 1, 2] {
        for group in ["sensor-01", "sensor-02", "sensor-0"] {
            let written = store.write(&item(key("range", group, minute), 1, group)).await;
            assert_eq!(written.unwrap(), Written::Stored);
        }
    }
    let asked = async |group, from, until, limit| {
        let time = |minute| TEN + SignedDuration::from_mins(minute);
        let range = Range { from: time(from), until: time(until), limit };
        let found = store.range("range", group, range).await.unwrap();
        assert!(found.iter().all(|item| item.body == group && item.key.group == group));
        let minutes = found.iter().map(|item| item.key.start.duration_since(TEN).as_mins());
        minutes.collect::<Vec<_>>()
    };

    assert_eq!(asked("sensor-01", 0, 5, 100).await, [4, 3, 2, 1, 0]);
    assert_eq!(asked("sensor-01", 1, 4, 100).await, [3, 2, 1]);
    assert_eq!(asked("sensor-01", 0, 5, 2).await, [4, 3]);
    assert_eq!(asked("sensor-01", 5, 9, 100).await, [0; 0]);
    assert_eq!(asked("sensor-0", 2, 3, 1).await, [2]);
    assert_eq!(asked("sensor", 0, 5, 100).await, [0; 0]);
}

async fn what_is_due_is_found_earliest_first_until_it_is_not(store: &impl WindowStore) {
    // All windows are in the bucket of their group.
    let keys: Vec<_> = [2, 0, 1].map(|minute| key("due", "sensor-01", minute)).into();
    for key in &keys {
        assert_eq!(store.write(&item(key.clone(), 1, "open")).await.unwrap(), Written::Stored);
    }
    let [third, first, second] = &keys[..] else { unreachable!("three") };
    let all = [first.clone(), second.clone(), third.clone()];
    let end = TEN + SignedDuration::from_mins(3);

    assert_due(store, first, end, 10, &all).await;
    assert_due(store, first, end, 2, &all[..2]).await;
    assert_due(store, first, TEN + SignedDuration::from_mins(2), 10, &all[..2]).await;
    assert_due(store, first, TEN + SignedDuration::from_secs(119), 10, &all[..1]).await;
    let other = (first.bucket() + 1) % BUCKETS;
    assert_eq!(store.due("due", other, end, 10).await.unwrap(), []);

    // The due time stays the same, however often the window is written.
    for version in 2..6 {
        let more = item(second.clone(), version, "open");
        assert_eq!(store.write(&more).await.unwrap(), Written::Stored);
    }
    assert_due(store, first, end, 10, &all).await;
    // Pending: due immediately. Closed: not due. Closed with a late reading, pending again: due
    // immediately, once.
    let at = |key: &ItemKey, version, due| Item { due, ..item(key.clone(), version, "then") };
    let now = Some(Timestamp::UNIX_EPOCH);
    for (key, version, due) in
        [(third, 2, now), (first, 2, now), (first, 3, None), (second, 6, None)]
    {
        assert_eq!(store.write(&at(key, version, due)).await.unwrap(), Written::Stored);
    }
    assert_due(store, first, end, 10, std::slice::from_ref(third)).await;
    for (key, version, due) in [(first, 4, now), (third, 3, None)] {
        assert_eq!(store.write(&at(key, version, due)).await.unwrap(), Written::Stored);
    }
    assert_due(store, first, Timestamp::UNIX_EPOCH, 10, std::slice::from_ref(first)).await;
    assert_eq!(store.write(&at(first, 5, None)).await.unwrap(), Written::Stored);
    assert_due(store, first, end, 10, &[]).await;
}

async fn a_write_that_lost_leaves_nothing_to_look_at(store: &impl WindowStore) {
    let key = key("lost", "sensor-01", 0);
    assert_eq!(store.write(&item(key.clone(), 1, "open")).await.unwrap(), Written::Stored);
    let closed = Item { due: None, ..item(key.clone(), 2, "closed") };
    assert_eq!(store.write(&closed).await.unwrap(), Written::Stored);

    // Two writers that read the same version; one of them with another due time.
    let early = Item { due: Some(TEN), ..item(key.clone(), 2, "slower") };
    for slower in [item(key.clone(), 2, "slower"), early] {
        assert_eq!(store.write(&slower).await.unwrap(), Written::Conflict);
    }

    assert_due(store, &key, TEN + SignedDuration::from_hours(1), 10, &[]).await;
    assert_eq!(read(store, &key).await, Some(closed));
}

async fn a_watermark_never_goes_back(store: &impl WindowStore) {
    let raised = async |time: Timestamp| {
        store.raise_watermark("telemetry/event", &rise(time)).await.unwrap();
        store.clock("telemetry/event").await.unwrap().watermark
    };
    let long_ago = Timestamp::from_second(-86_400 * 365 * 300).unwrap();
    let a_bit_later = TEN + SignedDuration::from_nanos(2_000);
    assert_eq!(raised(long_ago).await, Some(long_ago));
    assert_eq!(raised(TEN).await, Some(TEN));
    assert_eq!(raised(a_bit_later).await, Some(a_bit_later));
    assert_eq!(raised(TEN).await, Some(a_bit_later));
    assert_eq!(raised(long_ago).await, Some(a_bit_later));
    let to_the_nanosecond = TEN + SignedDuration::from_nanos(123_456_789);
    assert_eq!(raised(to_the_nanosecond).await, Some(to_the_nanosecond));
    assert_eq!(store.clock("flood/event").await.unwrap(), Clock::default());

    // Many concurrent writes in any order: the latest stays.
    let time = |step: i64| TEN + SignedDuration::from_mins(step * 7 % 31);
    let rises: Vec<_> = (0..31).map(|step| rise(time(step))).collect();
    join_all(rises.iter().map(|rise| store.raise_watermark("contended", rise)))
        .await
        .into_iter()
        .collect::<Result<Vec<()>, _>>()
        .unwrap();
    let latest = TEN + SignedDuration::from_mins(30);
    let clock = store.clock("contended").await.unwrap();
    assert_eq!(clock.watermark, Some(latest));
    assert_eq!((clock.raised_at, clock.mark), (Some(TEN), Some(rise(latest).mark)));
}

/// Returns the rise of a watermark to `to` at ten, whose mark is a minute earlier.
fn rise(to: Timestamp) -> Rise {
    let mark = Mark { watermark: Some(to - SignedDuration::from_mins(1)), at: TEN };
    Rise { to, at: TEN, mark }
}

async fn a_shard_is_woken_where_it_is_and_stays_what_it_was(store: &impl WindowStore) {
    let at = TEN + SignedDuration::from_millis(123);
    let id = "shardId-000000000000".to_owned();
    let asleep = Shard { id: id.clone(), watermark: Some(TEN), last_seen: at, is_closed: false };
    store.put_shard("woken", &asleep, later()).await.unwrap();

    let now = at + SignedDuration::from_hours(24);
    store.touch_shard("woken", &id, now).await.unwrap();
    store.touch_shard("woken", "shardId-000000000001", now).await.unwrap();

    let shards = store.clock("woken").await.unwrap().shards;
    assert_eq!(shards, [Shard { last_seen: now, ..asleep }]);
}

async fn a_shard_is_added_once_and_put_over_what_is_there(store: &impl WindowStore) {
    let shard = |id: &str, watermark, is_closed| Shard {
        id: id.to_owned(),
        watermark,
        last_seen: TEN + SignedDuration::from_millis(123),
        is_closed,
    };
    let found = async || {
        let mut shards = store.clock("shards").await.unwrap().shards;
        shards.sort_by(|one, other| one.id.cmp(&other.id));
        shards
    };
    let first = shard("shardId-000000000000", None, false);
    let second = shard("shardId-000000000001", Some(TEN), false);

    store.add_shard("shards", &first, later()).await.unwrap();
    store.put_shard("shards", &second, later()).await.unwrap();
    assert_eq!(found().await, [first.clone(), second.clone()]);

    // Adding an existing shard changes nothing. Putting it replaces it.
    store.add_shard("shards", &shard(&second.id, None, true), later()).await.unwrap();
    let moved = shard(&first.id, Some(TEN + SignedDuration::from_nanos(1)), true);
    store.put_shard("shards", &moved, later()).await.unwrap();
    assert_eq!(found().await, [moved.clone(), second.clone()]);
    store.add_shard("shards", &first, later()).await.unwrap();
    let back = shard(&second.id, Some(TEN - SignedDuration::from_hours(1)), false);
    store.put_shard("shards", &back, later()).await.unwrap();
    assert_eq!(found().await, [moved, back]);
    assert_eq!(store.clock("shards").await.unwrap().watermark, None);
}
