//! `make bench-anomaly`: precision, recall and F1 by kind of fault, beside two plain rules.

use std::time::Instant;

use clap::Parser;
use tributary_benches::anomaly::{Extent, compare, table};

/// Precision and recall of anomaly detection on simulated telemetry with labelled faults
#[derive(Parser)]
struct Arguments {
    /// Number of seeds
    #[arg(long, default_value_t = 5)]
    seeds: u64,

    /// First seed
    #[arg(long, default_value_t = 1)]
    from: u64,

    /// Devices per seed and kind of fault
    #[arg(long, default_value_t = 10)]
    devices: u32,

    /// Days of one-minute windows per device; the first one only trains the detector
    #[arg(long, default_value_t = 5)]
    days: u16,
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn main() {
    let Arguments { seeds, from, devices, days } = Arguments::parse();
    let started = Instant::now();
    let rows = compare(&Extent { seeds: from..from.saturating_add(seeds), devices, days });
    println!("{}", table(&rows));
    println!(
        "\n{seeds} seeds from {from}, {devices} devices, {days} days for each fault, {:.0} s",
        started.elapsed().as_secs_f64()
    );
}
