//! The whole of Tributary in memory, with everything going wrong that can: what `make sim` runs.

mod alerts;
mod feed;
mod functions;
mod input;
mod oracle;
mod plan;
mod windows;
mod world;

use std::collections::BTreeMap;

use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tributary_testkit::{Fault, clock};

pub use oracle::Verdict;
pub use plan::Plan;
use world::World;

/// What one simulation came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is wrong; nothing, one hopes.
    pub verdict: Verdict,
    /// Rows that were accepted.
    pub records: u64,
    /// Invocations of functions.
    pub invocations: u64,
    /// Records and messages that were delivered again.
    pub redelivered: u64,
    /// Records that were given up and brought back.
    pub parked: u64,
    /// Windows that were kept.
    pub windows: u64,
    /// Revisions of them that were told after the first.
    pub revisions: u64,
    /// Readings that were too late for a window.
    pub late: u64,
    /// How often each fault happened.
    pub faults: BTreeMap<Fault, u64>,
    /// How long it took, on its own clock, in seconds.
    pub seconds: u64,
    /// The most awaits that an invocation of each function had.
    pub awaits: BTreeMap<&'static str, usize>,
}

/// Runs one simulation.
///
/// # Errors
///
/// When there can be no runtime, or the compiled-in configuration is wrong.
pub fn run(plan: Plan) -> Result<Outcome, Box<dyn std::error::Error>> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
    LocalSet::new().block_on(&runtime, async {
        let world = World::build(plan)?;
        let is_done = world.run().await;
        let mut verdict = Verdict::of(&world)?;
        if !is_done {
            verdict.faults.push("it did not come to an end, or takes nothing fresh".to_owned());
        }
        let functions = world.functions.all();
        let redelivered = world.streams.iter().map(|mapping| mapping.redelivered()).sum::<u64>();
        Ok(Outcome {
            records: world.lock().rows.len() as u64,
            invocations: functions.iter().map(|function| function.invocations()).sum(),
            redelivered: redelivered + world.messages.redelivered() + world.topics.redelivered(),
            windows: world.windows.items().len() as u64,
            revisions: verdict.revisions,
            late: verdict.late,
            parked: world.streams.iter().map(|mapping| mapping.parked()).sum(),
            faults: world.faults.counts(),
            seconds: clock::elapsed().as_secs(),
            verdict,
            awaits: functions.iter().map(|function| (function.name(), function.awaits())).collect(),
        })
    })
}
