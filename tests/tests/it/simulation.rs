//! Simulations of the whole system with faults. `make sim` runs many more seeds.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use system_tests::simulation::{Outcome, Plan, run};
use tributary_aws::producer::Order;
use tributary_testkit::Fault;

fn outcome(plan: Plan) -> Outcome {
    run(plan).unwrap()
}

#[test]
fn nothing_is_lost_or_doubled_whatever_fails() {
    let mut struck: BTreeMap<Fault, u64> = BTreeMap::new();
    for seed in 1..=25 {
        let outcome = outcome(Plan::of(seed));
        assert!(outcome.verdict.is_good(), "seed {seed}: {:#?}", outcome.verdict);
        for (fault, count) in outcome.faults {
            *struck.entry(fault).or_default() += count;
        }
    }
    let never: Vec<_> =
        Fault::ALL.map(|it| it.0).into_iter().filter(|it| !struck.contains_key(it)).collect();
    assert!(never.is_empty(), "these faults never happened: {never:?}");
}

#[test]
fn same_seed_is_the_same_simulation() {
    let reported = |seed| {
        let outcome = outcome(Plan::of(seed));
        (outcome.records, outcome.invocations, outcome.redelivered, outcome.seconds, outcome.faults)
    };

    assert_eq!(reported(3), reported(3));
    assert_ne!(reported(3), reported(4));
}

#[test]
fn function_may_be_killed_at_any_await() {
    let plan = |seed, kill| {
        let plan = Plan::without_faults(seed);
        let (objects, requests, produced, processes) = (2, 1, 1, 1);
        let plan = Plan { objects, requests, produced, processes, ..plan };
        Plan { rows: 3, bad: 0.3, takeover: false, kill, ..plan }
    };
    // The first seed with enough input to make every function await.
    let is_busy = |outcome: &Outcome| outcome.awaits.values().all(|awaits| *awaits >= 2);
    let calm = (1..200).map(|seed| (seed, outcome(plan(seed, None))));
    let (seed, calm) = calm.into_iter().find(|(_, outcome)| is_busy(outcome)).unwrap();
    assert!(calm.verdict.is_good(), "{:#?}", calm.verdict);
    // The first invocations are small; later ones do more.
    let kills: Vec<_> = calm
        .awaits
        .iter()
        .flat_map(|(function, awaits)| (0..*awaits).map(move |at| (*function, at)))
        .flat_map(|(function, at)| [1, 2].map(|invocation| (function, invocation, at)))
        .collect();
    assert!(kills.len() > 100, "{}", kills.len());
    in_parallel(&kills, |kill| {
        let verdict = outcome(plan(seed, Some(*kill))).verdict;
        assert!(verdict.is_good(), "function, invocation, await {kill:?}: {verdict:#?}");
    });
}

/// The oracle compares every window with a reference computed from all events but the late ones.
#[test]
fn windows_equal_the_reference_over_fifty_seeds() {
    let seeds: Vec<_> = (1_001..=1_050).collect();
    let sums = Mutex::new([0; 6]);
    in_parallel(&seeds, |seed| {
        let mut plan = Plan { disorder: 0.3, bad: 0.0, rows: 20, objects: 2, ..Plan::of(*seed) };
        plan.rates.insert(Fault::Reshard, 0.05);
        plan.rates.insert(Fault::Kill, 0.1);
        plan.rates.insert(Fault::DuplicateBatch, 0.1);
        let outcome = outcome(plan);
        assert!(outcome.verdict.is_good(), "seed {seed}: {:#?}", outcome.verdict);
        let fault = |fault| outcome.faults.get(&fault).copied().unwrap_or_default();
        let Outcome { windows, revisions, late, .. } = outcome;
        let [reshards, kills] = [Fault::Reshard, Fault::Kill].map(fault);
        let figures = [windows, revisions, late, outcome.redelivered, reshards, kills];
        let mut sums = sums.lock().unwrap();
        sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    });
    let sums = sums.into_inner().unwrap();
    assert!(sums.into_iter().all(|sum| sum > 20), "windows, revisions, late, …: {sums:?}");
}

/// Applies a function to each item, on every core.
fn in_parallel<T: Sync>(of: &[T], each: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(one) = of.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(one);
                }
            });
        }
    });
}

#[test]
fn nothing_repeats_without_faults() {
    let outcome = outcome(Plan { aggregates: false, ..Plan::without_faults(5) });

    assert!(outcome.verdict.is_good(), "{:#?}", outcome.verdict);
    assert_eq!((outcome.redelivered, outcome.parked), (0, 0));
    assert!(outcome.records > 20 && outcome.faults.is_empty());
}

#[test]
fn records_of_a_key_stay_in_order() {
    let often = |fault| (fault, 0.3);
    let rates = [Fault::PartialFailure, Fault::TimeOutAfter, Fault::ShortAnswer, Fault::Kill];
    for seed in 1..=10 {
        let plan = Plan { rates: rates.map(often).into(), aggregates: false, ..Plan::of(seed) };

        let outcome = outcome(Plan { order: Order::PerKey, ..plan });

        assert!(outcome.verdict.is_good(), "seed {seed}: {:#?}", outcome.verdict);
    }
}
