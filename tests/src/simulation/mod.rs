//! The whole of Tributary in memory, with every kind of fault injected: the core of `make sim`.

mod alerts;
mod feed;
mod functions;
mod input;
mod lateness;
mod metrics;
mod oracle;
mod plan;
mod probes;
mod takeover;
mod windows;
mod world;

use std::collections::BTreeMap;

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tributary_testkit::{Fault, clock};

pub use oracle::Verdict;
pub use plan::Plan;
use world::World;

/// Result of one simulation.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Everything the oracle found wrong.
    pub verdict: Verdict,
    /// Number of rows accepted.
    pub records: u64,
    /// Number of invocations of functions.
    pub invocations: u64,
    /// Number of records and messages that were redelivered.
    pub redelivered: u64,
    /// Number of records that were parked and redriven.
    pub parked: u64,
    /// Number of stored windows.
    pub windows: u64,
    /// Number of revisions of windows emitted after the first emission.
    pub revisions: u64,
    /// Number of late readings.
    pub late: u64,
    /// Number of windows that late readings missed because their shard was idle or blocked.
    pub late_by_absence: u64,
    /// Number of invocations beyond the maximum concurrency.
    pub throttled: u64,
    /// Number of windows that were removed after their retention.
    pub removed: u64,
    /// Number of injected faults of each kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Duration in seconds of the simulated clock.
    pub seconds: u64,
    /// Maximum number of awaits in an invocation of each function.
    pub awaits: BTreeMap<&'static str, usize>,
}

/// Runs one simulation.
///
/// # Errors
///
/// When the runtime cannot be built, or the compiled-in configuration is wrong.
pub fn run(plan: Plan) -> Result<Outcome, Box<dyn std::error::Error>> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
    LocalSet::new().block_on(&runtime, async {
        let world = World::build(plan);
        let ended = world.run().await;
        let mut verdict = Verdict::of(&world)?;
        verdict.faults.extend(ended.err().map(str::to_owned));
        let functions = world.functions.all();
        let redelivered =
            world.streams.iter().map(|mapping| mapping.redelivered.get()).sum::<u64>();
        Ok(Outcome {
            records: world.lock().rows.len() as u64,
            invocations: functions.iter().map(|function| function.invocations()).sum(),
            redelivered: redelivered
                + world.messages.redelivered.get()
                + world.topics.redelivered.get(),
            windows: (world.windows.items().len() + world.windows.removed().len()) as u64,
            revisions: verdict.revisions,
            late: verdict.late,
            late_by_absence: verdict.late_by_absence,
            throttled: functions.iter().map(|function| function.throttled()).sum(),
            removed: world.windows.removed().len() as u64,
            parked: world.streams.iter().map(|mapping| mapping.parked.get()).sum(),
            faults: world.faults.counts(),
            seconds: clock::elapsed().as_secs(),
            verdict,
            awaits: functions.iter().map(|function| (function.name, function.awaits())).collect(),
        })
    })
}
