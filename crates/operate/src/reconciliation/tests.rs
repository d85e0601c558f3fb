use proptest::prelude::*;

use super::*;

const STREAMS: [Stream; 2] = [
    Stream { name: "RAW", producers: &["ingest-s3"], consumers: &["transform"] },
    Stream { name: "EVENTS", producers: &["transform"], consumers: &["metrics", "alerts"] },
];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_168_800 + second).unwrap()
}

fn window() -> TimeRange {
    TimeRange { since: at(0), until: at(3_600), slack: SignedDuration::from_secs(300) }
}

fn counts(received: u64, delivered: u64, quarantined: u64) -> BatchCounts {
    BatchCounts { received, delivered, quarantined, ..BatchCounts::default() }
}

fn function(name: &str, points: &[(i64, BatchCounts)]) -> FunctionSeries {
    let points = points.iter().map(|(second, counts)| (at(*second), *counts)).collect();
    FunctionSeries { name: name.to_owned(), points }
}

/// Returns the counts of 300 rows through all functions, half an hour into the time range.
fn run() -> Vec<FunctionSeries> {
    vec![
        function("ingest-s3", &[(1_800, counts(300, 294, 6))]),
        function("transform", &[(1_805, counts(294, 276, 18))]),
        function("metrics", &[(1_810, counts(276, 276, 0))]),
        function("alerts", &[(1_811, counts(276, 276, 0))]),
    ]
}

fn faults(functions: &[FunctionSeries]) -> Vec<String> {
    Reconciliation::of(&STREAMS, functions, &[], window()).faults
}

#[test]
fn complete_run_reconciles_stream_by_stream() {
    let reconciliation = Reconciliation::of(&STREAMS, &run(), &[], window());

    assert!(reconciliation.is_balanced() && reconciliation.notes.is_empty(), "{reconciliation:?}");
    let stream =
        |stream, consumer, put| StreamTotal { stream, consumer, put, under_way: 0, taken: put };
    assert_eq!(
        reconciliation.streams,
        [
            stream("RAW", "transform", 294),
            stream("EVENTS", "metrics", 276),
            stream("EVENTS", "alerts", 276)
        ]
    );
    assert_eq!(reconciliation.functions[1].counts, counts(294, 276, 18));
}

#[test]
fn unbalanced_batch_is_a_fault() {
    let mut functions = run();
    functions[1].points[0].1.quarantined = 17;

    assert_eq!(faults(&functions), ["transform: 294 in, and 293 are accounted for"]);
}

#[test]
fn record_never_taken_is_fault_after_slack() {
    let mut functions = run();
    functions[3].points[0].1 = counts(275, 275, 0);
    assert_eq!(
        faults(&functions),
        ["EVENTS: 276 were put before the last 300 s, and alerts took 275: 1 are missing"]
    );

    for point in functions.iter_mut().flat_map(|it| &mut it.points) {
        point.0 = at(3_400);
    }
    let reconciliation = Reconciliation::of(&STREAMS, &functions, &[], window());
    assert!(reconciliation.is_balanced());
    assert_eq!(reconciliation.streams[2].under_way, 276);
}

#[test]
fn records_crossing_range_edges_are_no_fault() {
    let mut functions = run();
    for (place, second) in [(0, -10), (1, -5), (2, 1), (3, 2)] {
        functions[place].points[0].0 = at(second);
    }
    let before = Reconciliation::of(&STREAMS, &functions, &[], window());
    for (place, second) in [(0, 3_590), (1, 3_599), (2, 3_601), (3, 3_602)] {
        functions[place].points[0].0 = at(second);
    }
    let after = Reconciliation::of(&STREAMS, &functions, &[], window());

    assert!(before.is_balanced() && before.notes.is_empty(), "{before:?}");
    assert!(after.is_balanced() && after.notes.is_empty(), "{after:?}");
}

#[test]
fn redelivered_records_are_a_note() {
    let mut functions = run();
    let undelivered = BatchCounts { received: 276, undelivered: 276, ..BatchCounts::default() };
    functions[2].points.push((at(1_806), undelivered));
    functions[3].points.push((at(1_820), counts(10, 10, 0)));

    let reconciliation = Reconciliation::of(&STREAMS, &functions, &[], window());

    assert!(reconciliation.is_balanced());
    assert_eq!(
        reconciliation.notes,
        [
            "metrics: 276 undelivered, which come again",
            "EVENTS: alerts took 10 more than functions put: delivered again, replayed, or put by others"
        ]
    );
}

#[test]
fn records_dropped_by_mapping_are_a_fault() {
    let mapping = |counts| MappingSeries {
        function: "transform".to_owned(),
        source: "dev-raw".to_owned(),
        points: vec![(at(1_805), counts)],
    };
    let fine = MappingCounts { polled: 294, invoked: 300, failed: 6, ..MappingCounts::default() };
    let of = |counts| Reconciliation::of(&STREAMS, &run(), &[mapping(counts)], window()).faults;

    assert_eq!(of(fine), Vec::<String>::new());
    assert_eq!(
        of(MappingCounts { dropped: 3, ..fine }),
        ["transform of dev-raw: 3 events dropped: they are nowhere"]
    );
    assert_eq!(
        of(MappingCounts { parked: 3, ..fine }),
        ["transform of dev-raw: 3 events parked: `tributary redrive` brings them back"]
    );
    assert_eq!(
        of(MappingCounts { invoked: 290, ..fine }),
        ["transform of dev-raw: 294 events polled, and transform invoked with 290"]
    );
    assert_eq!(
        of(MappingCounts { invoked: 301, ..fine }),
        ["transform of dev-raw: invoked with 301 events, and its books have 294, 6 failed"]
    );
    assert_eq!(
        of(MappingCounts {
            polled: 300,
            filtered_out: 6,
            invoked: 294,
            ..MappingCounts::default()
        }),
        Vec::<String>::new()
    );
}

#[test]
fn queue_messages_are_not_compared_with_rows() {
    let mapping = MappingSeries {
        function: "ingest-s3".to_owned(),
        source: "dev-ingest".to_owned(),
        points: vec![(
            at(1_800),
            MappingCounts { polled: 400, invoked: 400, ..MappingCounts::default() },
        )],
    };

    assert!(Reconciliation::of(&STREAMS, &run(), &[mapping], window()).is_balanced());
}

proptest! {
    /// Records taken within the slack reconcile in any order and however late; a record of the time
    /// range that was never taken does not.
    #[test]
    fn lost_record_breaks_reconciliation(
        records in proptest::collection::vec((-600_i64..3_000, 0_i64..300), 1..60),
        lost in any::<proptest::sample::Index>(),
    ) {
        let of = |records: &[(i64, i64)], lost: Option<usize>| {
            let put: Vec<_> = records.iter().map(|(second, _)| (*second, counts(1, 1, 0))).collect();
            let taken = records.iter().enumerate().filter(|(index, _)| Some(*index) != lost);
            let taken: Vec<_> =
                taken.map(|(_, (second, later))| (second + later, counts(1, 1, 0))).collect();
            let functions = [function("ingest-s3", &put), function("transform", &taken)];
            Reconciliation::of(&STREAMS, &functions, &[], window())
        };

        let reconciliation = of(&records, None);
        prop_assert!(reconciliation.is_balanced() && reconciliation.notes.is_empty(), "{:?}", reconciliation);

        // Put and taken within the time range, so that no earlier record makes up for the lost one.
        let within: Vec<_> =
            records.iter().map(|(second, later)| (second.rem_euclid(3_000), *later)).collect();
        prop_assert!(!of(&within, Some(lost.index(within.len()))).is_balanced());
    }
}
