//! The whole of Tributary in memory, with every kind of fault injected: the core of `make sim`.

mod alerts;
mod feed;
mod functions;
mod input;
mod metrics;
mod oracle;
mod plan;
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
        let is_done = world.run().await;
        let mut verdict = Verdict::of(&world)?;
        if !is_done {
            verdict.faults.push(
                "did not come to an end, stalled, or does not process a new record".to_owned(),
            );
        }
        let functions = world.functions.all();
        let redelivered =
            world.streams.iter().map(|mapping| mapping.redelivered.get()).sum::<u64>();
        Ok(Outcome {
            records: world.lock().rows.len() as u64,
            invocations: functions.iter().map(|function| function.invocations()).sum(),
            redelivered: redelivered
                + world.messages.redelivered.get()
                + world.topics.redelivered.get(),
            windows: world.windows.items().len() as u64,
            revisions: verdict.revisions,
            late: verdict.late,
            parked: world.streams.iter().map(|mapping| mapping.parked.get()).sum(),
            faults: world.faults.counts(),
            seconds: clock::elapsed().as_secs(),
            verdict,
            awaits: functions.iter().map(|function| (function.name, function.awaits())).collect(),
        })
    })
}
