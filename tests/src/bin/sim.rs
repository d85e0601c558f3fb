//! `make sim`: runs many simulations, one for each seed, and prints their totals.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::ops::Range;
use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use serde_json::json;
use system_tests::simulation::{Outcome, Plan, run};
use tributary_testkit::Fault;

/// Runs Tributary in memory with every kind of fault injected
#[derive(Parser)]
struct Arguments {
    /// Number of seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,

    /// First seed
    #[arg(long, default_value_t = 1)]
    from: u64,

    /// Run one seed only, and print all that is wrong with it
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,

    /// Stop at the first seed that fails
    #[arg(long)]
    until_failure: bool,

    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

/// Totals over all simulations.
#[derive(Default)]
struct Figures {
    seeds: u64,
    records: u64,
    invocations: u64,
    redelivered: u64,
    parked: u64,
    windows: u64,
    revisions: u64,
    late: u64,
    late_by_absence: u64,
    throttled: u64,
    removed: u64,
    simulated_seconds: u64,
    losses: u64,
    doubles: u64,
    faults: BTreeMap<Fault, u64>,
    /// Seeds that failed, with the faults of each.
    failed: BTreeMap<u64, Vec<String>>,
}

impl Figures {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.records += outcome.records;
        self.invocations += outcome.invocations;
        self.redelivered += outcome.redelivered;
        self.parked += outcome.parked;
        self.windows += outcome.windows;
        self.revisions += outcome.revisions;
        self.late += outcome.late;
        self.late_by_absence += outcome.late_by_absence;
        self.throttled += outcome.throttled;
        self.removed += outcome.removed;
        self.simulated_seconds += outcome.seconds;
        self.losses += outcome.verdict.losses.len() as u64;
        self.doubles += outcome.verdict.doubles.len() as u64;
        for (fault, count) in outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        if !outcome.verdict.is_good() {
            let verdict = outcome.verdict;
            let lines = |kind: &str, what: Vec<String>| -> Vec<String> {
                what.into_iter().map(|line| format!("{kind}: {line}")).collect()
            };
            let mut wrong = lines("lost", verdict.losses);
            wrong.extend(lines("double", verdict.doubles));
            wrong.extend(lines("wrong", verdict.faults));
            self.failed.insert(seed, wrong);
        }
    }
}

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = writeln!(stderr(), "seed {0} panicked; again: make sim SEED={0}", SEED.get());
        usual(info);
    }));
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from + arguments.seeds,
    };
    let begun = Instant::now();
    let figures = simulate(seeds, arguments.until_failure);
    let seconds = begun.elapsed().as_secs_f64();
    let shown = if arguments.seed.is_some() { usize::MAX } else { 3 };
    let reported = if arguments.json {
        writeln!(stdout(), "{}", as_json(&figures, seconds))
    } else {
        show(&figures, seconds, shown)
    };
    match reported {
        Ok(()) if figures.failed.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Runs the seeds on every core.
fn simulate(seeds: Range<u64>, until_failure: bool) -> Figures {
    let figures = Mutex::new(Figures::default());
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    SEED.set(seed);
                    let outcome = run(Plan::of(seed)).unwrap_or_else(|error| {
                        let mut outcome = Outcome::default();
                        outcome.verdict.faults.push(error.to_string());
                        outcome
                    });
                    if let Ok(mut figures) = figures.lock() {
                        figures.add(seed, outcome);
                        if until_failure && !figures.failed.is_empty() {
                            next.store(seeds.end, Ordering::Relaxed);
                        }
                        progress(&figures, seeds.end - seeds.start);
                    }
                }
            });
        }
    });
    figures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn progress(figures: &Figures, all: u64) {
    if figures.seeds.is_multiple_of(50) && figures.seeds < all {
        let end = if stderr().is_terminal() { '\r' } else { '\n' };
        let failed = figures.failed.len();
        let _ = write!(stderr(), "{} of {all} seeds, {failed} failed{end}", figures.seeds);
    }
}

fn as_json(figures: &Figures, seconds: f64) -> serde_json::Value {
    let faults: BTreeMap<_, _> = figures.faults.iter().map(|(it, n)| (it.to_string(), n)).collect();
    json!({
        "seeds": figures.seeds, "records": figures.records, "invocations": figures.invocations,
        "redelivered": figures.redelivered, "parked": figures.parked, "faults": faults,
        "windows": figures.windows, "revisions": figures.revisions, "late": figures.late,
        "late_by_absence": figures.late_by_absence, "throttled": figures.throttled,
        "removed": figures.removed,
        "simulated_seconds": figures.simulated_seconds, "seconds": seconds,
        "losses": figures.losses, "doubles": figures.doubles, "failed": figures.failed,
    })
}

/// Prints the figures, and the first `shown` lines of each failure.
fn show(figures: &Figures, seconds: f64, shown: usize) -> std::io::Result<()> {
    let mut out = stdout().lock();
    for (seed, wrong) in figures.failed.iter().take(10) {
        writeln!(out, "seed {seed} failed; again: make sim SEED={seed}")?;
        for line in wrong.iter().take(shown) {
            writeln!(out, "  {line}")?;
        }
    }
    let hours = figures.simulated_seconds / 3_600;
    for (name, count) in [
        ("seeds", figures.seeds),
        ("records", figures.records),
        ("invocations", figures.invocations),
        ("redelivered", figures.redelivered),
        ("given up, brought back", figures.parked),
        ("windows", figures.windows),
        ("revisions of them", figures.revisions),
        ("removed windows", figures.removed),
        ("readings too late", figures.late),
        ("late by absence", figures.late_by_absence),
        ("throttled invocations", figures.throttled),
        ("simulated hours", hours),
    ] {
        writeln!(out, "{name:<24}{count:>10}")?;
    }
    writeln!(out, "faults")?;
    for (fault, count) in &figures.faults {
        writeln!(out, "  {fault:<22}{count:>10}")?;
    }
    writeln!(out, "losses{:>28}", figures.losses)?;
    writeln!(out, "doubles{:>27}", figures.doubles)?;
    writeln!(out, "failed seeds{:>22}", figures.failed.len())?;
    writeln!(out, "{seconds:.1} s")
}
