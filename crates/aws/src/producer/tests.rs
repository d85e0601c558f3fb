use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::*;

/// Answer of a scripted call, from the indexes of the entries it received.
type Reply = fn(&[usize]) -> Answer;

type Answer = Result<Vec<EntryResult>, CallError>;

/// Target with scripted answers, whose entries are their own positions.
struct Scripted {
    limits: Limits,
    replies: Mutex<VecDeque<Reply>>,
    calls: Mutex<Vec<Vec<usize>>>,
}

impl BatchPut for Scripted {
    type Entry = usize;

    const OPERATION: &'static str = "test:Put";

    fn limits(&self) -> Limits {
        self.limits
    }

    fn size(&self, _: &usize) -> usize {
        10
    }

    /// Groups entries by their last digit.
    fn key<'e>(&self, entry: &'e usize) -> Option<&'e str> {
        ["0", "1", "2"].get(entry % 10).copied()
    }

    async fn put(&self, entries: &[&usize]) -> Result<Vec<EntryResult>, CallError> {
        let entries: Vec<_> = entries.iter().map(|entry| **entry).collect();
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or(all_stored);
        self.calls.lock().unwrap().push(entries.clone());
        assert!(!entries.is_empty(), "a call without entries");
        if std::ptr::fn_addr_eq(reply, hang as Reply) {
            std::future::pending::<()>().await;
        }
        reply(&entries)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a reply among replies that fail")]
fn all_stored(entries: &[usize]) -> Answer {
    Ok(vec![EntryResult::Stored; entries.len()])
}

#[expect(clippy::unnecessary_wraps, reason = "a reply among replies that fail")]
fn odd_fail(entries: &[usize]) -> Answer {
    let verdict = |entry: &usize| match entry % 2 {
        0 => EntryResult::Stored,
        _ => EntryResult::Failed("ProvisionedThroughputExceededException".into()),
    };
    Ok(entries.iter().map(verdict).collect())
}

fn second_refused(entries: &[usize]) -> Answer {
    let mut verdicts = all_stored(entries)?;
    verdicts[1] = EntryResult::Rejected("InvalidParameter".into());
    Ok(verdicts)
}

/// Refuses a call with entry 5 or 6 for what it contains.
fn five_and_six_refused(entries: &[usize]) -> Answer {
    if entries.iter().any(|entry| [5, 6].contains(entry)) {
        return Err(CallError::refused("test:Put", "raw", "ValidationException", "bad value"));
    }
    all_stored(entries)
}

fn throttled(_: &[usize]) -> Answer {
    let (code, message) = ("ThrottlingException".to_owned(), "rate exceeded".to_owned());
    Err(CallError::Retryable { operation: "test:Put", code, message })
}

#[expect(clippy::unnecessary_wraps, reason = "a reply among replies that fail")]
fn too_short(entries: &[usize]) -> Answer {
    Ok(vec![EntryResult::Stored; entries.len() - 1])
}

#[expect(clippy::unnecessary_wraps, reason = "a reply among replies that fail")]
fn too_long(entries: &[usize]) -> Answer {
    Ok(vec![EntryResult::Stored; entries.len() + 1])
}

fn denied(_: &[usize]) -> Answer {
    Err(CallError::Setup(SetupError {
        operation: "test:Put",
        resource: "raw".into(),
        code: "AccessDeniedException".into(),
        message: "no".into(),
    }))
}

/// Hangs without an answer.
fn hang(_: &[usize]) -> Answer {
    unreachable!("told apart by its address")
}

struct Sent {
    result: Result<Delivery, SetupError>,
    calls: Vec<Vec<usize>>,
}

async fn send(count: usize, limits: (usize, usize), replies: &[Reply], time: Duration) -> Sent {
    send_in(Order::Throughput, count, limits, replies, time).await
}

async fn send_in(
    order: Order,
    count: usize,
    limits: (usize, usize),
    replies: &[Reply],
    time: Duration,
) -> Sent {
    let limits = Limits { entries: limits.0, bytes: limits.1, entry_bytes: 100 };
    let replies = Mutex::new(replies.iter().copied().collect());
    let producer = Producer::new(Scripted { limits, replies, calls: Mutex::default() });
    let producer = producer.with_order(order);
    let outbound: Vec<_> = (0..count).map(|n| Outbound { position: n, entry: n }).collect();
    let result = producer.send(&outbound, Deadline::after(time)).await;
    Sent { result, calls: producer.target().calls.lock().unwrap().clone() }
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn entries_are_chunked_by_count_and_bytes() {
    let by_count = send(5, (2, 1_000), &[], MINUTE).await;
    assert_eq!(by_count.calls, [vec![0, 1], vec![2, 3], vec![4]]);

    let by_bytes = send(5, (500, 30), &[], MINUTE).await;
    assert_eq!(by_bytes.calls, [vec![0, 1, 2], vec![3, 4]]);

    let larger_than_a_call = send(2, (500, 5), &[], MINUTE).await;
    assert_eq!(larger_than_a_call.calls, [vec![0], vec![1]]);
}

#[tokio::test(start_paused = true)]
async fn nothing_to_send_is_no_call() {
    let sent = send(0, (2, 1_000), &[], MINUTE).await;

    assert_eq!(sent.result, Ok(Delivery::default()));
    assert!(sent.calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_failed_entries_are_sent_again() {
    let sent = send(4, (500, 1_000), &[odd_fail], MINUTE).await;

    assert_eq!(sent.calls, [vec![0, 1, 2, 3], vec![1, 3]]);
    let delivery = sent.result.unwrap();
    assert_eq!((delivery.undelivered, delivery.retried), (vec![], 2));
}

#[tokio::test(start_paused = true)]
async fn throttled_call_is_retried() {
    let sent = send(3, (500, 1_000), &[throttled, throttled], MINUTE).await;

    assert_eq!(sent.calls, vec![vec![0, 1, 2]; 3]);
    assert!(sent.result.unwrap().undelivered.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_length_counts_as_unknown() {
    for reply in [too_short as Reply, too_long] {
        let sent = send(3, (500, 1_000), &[reply], MINUTE).await;

        assert_eq!(sent.calls, vec![vec![0, 1, 2]; 2]);
        assert!(sent.result.unwrap().undelivered.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn unanswered_call_is_retried_until_the_deadline() {
    let sent = send(2, (500, 1_000), &[hang], MINUTE).await;

    assert_eq!(sent.calls.len(), 2);
    assert!(sent.result.unwrap().undelivered.is_empty());
}

#[tokio::test(start_paused = true)]
async fn near_deadline_remaining_entries_are_not_attempted() {
    let throttled = vec![throttled as Reply; 1_000];
    let started = tokio::time::Instant::now();

    let sent = send(5, (2, 1_000), &throttled, Duration::from_secs(3)).await;

    assert!(started.elapsed() <= Duration::from_secs(3));
    assert!(sent.calls.len() > 3, "{} calls", sent.calls.len());
    assert!(sent.calls.iter().all(|call| *call == [0, 1]));
    let delivery = sent.result.unwrap();
    assert_eq!(delivery.undelivered, [0, 1, 2, 3, 4]);
    assert!(delivery.last_error.unwrap().contains("ThrottlingException"));
}

#[tokio::test(start_paused = true)]
async fn without_any_time_nothing_is_attempted() {
    let sent = send(3, (500, 1_000), &[], Duration::ZERO).await;

    assert!(sent.calls.is_empty());
    assert_eq!(sent.result.unwrap().undelivered, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn incomplete_chunk_does_not_stop_others() {
    for order in [Order::Throughput, Order::PerKey] {
        let odd_fail = vec![odd_fail as Reply; 1_000];

        let sent = send_in(order, 6, (3, 1_000), &odd_fail, Duration::from_secs(2)).await;

        assert_eq!(sent.calls[..3], [vec![0, 1, 2], vec![3, 4, 5], vec![1, 3, 5]], "{order:?}");
        assert_eq!(sent.result.unwrap().undelivered, [1, 3, 5]);
    }
}

#[tokio::test(start_paused = true)]
async fn per_key_entries_of_later_chunks_wait() {
    let sent = send_in(Order::PerKey, 14, (8, 1_000), &[odd_fail], MINUTE).await;

    assert_eq!(sent.calls[1..], [vec![8, 9, 10, 12, 13], vec![1, 3, 5, 7], vec![11]]);
    assert!(sent.result.unwrap().undelivered.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rejected_entry_costs_only_itself() {
    let sent = send(4, (2, 1_000), &[second_refused], MINUTE).await;

    assert_eq!(sent.calls, [[0, 1], [2, 3]]);
    let mut delivery = sent.result.unwrap();
    assert_eq!(delivery.undelivered, [1]);
    let reason = "test:Put: InvalidParameter".to_owned();
    assert_eq!(delivery.take_rejected(), BTreeMap::from([(1, reason)]));
    assert!(delivery.undelivered.is_empty());
}

#[tokio::test(start_paused = true)]
async fn refused_call_is_halved_to_its_entries() {
    let replies = vec![five_and_six_refused as Reply; 100];
    for order in [Order::Throughput, Order::PerKey] {
        let sent = send_in(order, 600, (500, 10_000), &replies, MINUTE).await;

        let delivery = sent.result.unwrap();
        assert_eq!(delivery.undelivered, [5, 6], "{order:?}");
        let reasons: Vec<_> = delivery.rejected.values().collect();
        assert_eq!(reasons, ["test:Put on raw: ValidationException: bad value"; 2]);
        if order == Order::Throughput {
            assert!(sent.calls.len() < 30, "{} calls", sent.calls.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_leave_half_the_time() {
    let refuse: Reply =
        |_| Err(CallError::refused("test:Put", "raw", "ValidationException", "bad value"));
    let replies: Vec<_> = (0..100).flat_map(|_| [refuse, throttled as Reply]).collect();
    let started = tokio::time::Instant::now();

    let sent = send(100, (500, 10_000), &replies, Duration::from_secs(10)).await;

    assert!(started.elapsed() <= Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(sent.result.unwrap().undelivered.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn refused_only_entry_is_rejected_at_once() {
    let refuse: Reply =
        |_| Err(CallError::refused("test:Put", "raw", "ValidationException", "bad value"));

    let sent = send(1, (2, 1_000), &[refuse], MINUTE).await;

    assert_eq!(sent.calls, [[0]]);
    assert_eq!(sent.result.unwrap().undelivered, [0]);
}

#[tokio::test(start_paused = true)]
async fn broken_set_up_is_an_error_at_once() {
    let sent = send(2, (500, 1_000), &[denied], MINUTE).await;

    assert_eq!(sent.calls.len(), 1);
    let error = sent.result.unwrap_err().to_string();
    assert_eq!(error, "test:Put on raw: AccessDeniedException: no");
}

#[tokio::test(start_paused = true)]
async fn per_key_call_has_one_entry_per_key() {
    // 0, 10 and 20 share a key, as do 1, 11 and 21; 3 and the other entries that end in 3 have
    // none.
    let sent = send_in(Order::PerKey, 22, (500, 1_000), &[], MINUTE).await;

    let first: Vec<_> = (0..10).chain(13..20).collect();
    assert_eq!(sent.calls, [first, vec![10, 11, 12], vec![20, 21]]);
    assert!(sent.result.unwrap().undelivered.is_empty());
}

#[tokio::test(start_paused = true)]
async fn per_key_failed_entry_precedes_waiting_ones() {
    let sent = send_in(Order::PerKey, 12, (500, 1_000), &[odd_fail, throttled], MINUTE).await;

    assert_eq!(sent.calls[1], [1, 3, 5, 7, 9, 10], "11 waits for 1");
    assert_eq!(sent.calls[2..], [vec![1, 3, 5, 7, 9, 10], vec![11]]);
    assert_eq!(sent.result.unwrap().retried, 5 + 6);
}

#[tokio::test(start_paused = true)]
async fn per_key_entries_follow_a_rejected_one() {
    let sent = send_in(Order::PerKey, 12, (500, 1_000), &[second_refused], MINUTE).await;

    assert_eq!(sent.calls[1..], [vec![10, 11]]);
    assert_eq!(sent.result.unwrap().undelivered, [1]);
}
