//! Plan of a simulation, derived from its seed: the deployment, the load, the fault rates.

use std::collections::BTreeMap;
use std::time::Duration;

use tributary_aws::producer::Order;
use tributary_datagen::random::Sequence;
use tributary_testkit::mapping::kinesis::Settings;
use tributary_testkit::{Fault, clock};

/// Plan of one simulation.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Plan {
    /// Seed of every random choice.
    pub seed: u64,
    /// Probability of each fault.
    pub rates: BTreeMap<Fault, f64>,
    /// Share of rows that are bad.
    pub bad: f64,
    /// Number of objects that are put.
    pub objects: usize,
    /// Number of requests that are sent.
    pub requests: usize,
    /// Number of batches of records that are produced to topics.
    pub produced: usize,
    /// Maximum number of rows in each object, request or batch.
    pub rows: usize,
    /// Number of shards of each stream at the start.
    pub shards: usize,
    /// Bytes of a plain object that one message covers.
    pub segment_bytes: u64,
    /// True if ingest from S3 aggregates small rows.
    pub aggregates: bool,
    /// Timeout of every function, if not that of the template: too short for most retries within an
    /// invocation.
    pub timeout: Option<Duration>,
    /// Order of the records of a key when some of them fail.
    pub order: Order,
    /// Settings of the stream mappings.
    pub mapping: Settings,
    /// Share of readings that devices send late, and share that they send twice.
    pub disorder: f64,
    /// True if the functions begin with a configuration that lacks a dataset, and take another one
    /// over while they run.
    pub takeover: bool,
    /// True if the stream of events refuses some events for what they contain.
    pub refusals: bool,
    /// Number of processes of each function, up to [`clock::PROCESSES`].
    pub processes: usize,
    /// Milliseconds by which the clock of each process of a function is ahead.
    pub skews: [i64; clock::PROCESSES],
    /// Maximum number of invocations of a function at a time.
    pub max_concurrency: usize,
    /// True if a second principal sends rows of devices that are not its own.
    pub strangers: bool,
    /// Kills one invocation at one await, and injects nothing else: (function, number of the
    /// invocation from 1, number of the await from 0).
    pub kill: Option<(&'static str, u64, usize)>,
}

impl Plan {
    /// Returns the plan of a seed, with every kind of fault.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut chance = Sequence::new(seed, 0x91a);
        let mut pick = |of: &[usize]| of[(chance.bits() % of.len() as u64) as usize];
        // Most faults are rare with most seeds; some are frequent with some.
        let mut rates = BTreeMap::new();
        for (fault, _) in Fault::ALL {
            let thousandths = match fault {
                Fault::Denied => pick(&[0, 0, 1, 5]),
                Fault::Kill => pick(&[0, 10, 50, 200]),
                Fault::Poison | Fault::ObjectDeleted => pick(&[0, 50, 200]),
                Fault::Reshard => pick(&[0, 5, 20]),
                _ => pick(&[0, 5, 20, 100, 250]),
            };
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            rates.insert(fault, thousandths as f64 / 1_000.0);
        }
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let bad = pick(&[0, 5, 20, 60]) as f64 / 100.0;
        // Hosts of Lambda agree within milliseconds.
        let skew = i64::try_from(pick(&[0, 0, 5, 2_000])).unwrap_or_default();
        let skews = [0, skew, -skew];
        let seconds = |n: usize| Duration::from_secs(n as u64);
        let order = pick(&[0, 1]);
        let timeout = pick(&[0, 3, 5, 10]);
        Self {
            seed,
            rates,
            bad,
            objects: pick(&[1, 2, 4]),
            requests: pick(&[0, 3, 8]),
            produced: pick(&[0, 3, 8]),
            rows: pick(&[5, 30, 60]),
            shards: pick(&[1, 2, 3]),
            segment_bytes: pick(&[1 << 10, 8 << 10, 16 << 20]) as u64,
            aggregates: pick(&[0, 0, 1]) == 1 && order == 0,
            timeout: (timeout > 0).then(|| seconds(timeout)),
            order: if order == 0 { Order::Throughput } else { Order::PerKey },
            mapping: Settings {
                batch_size: pick(&[3, 20, 100, 1_000]),
                batching_window: seconds(pick(&[0, 1, 5])),
                parallelization_factor: pick(&[1, 1, 2, 3]),
                bisect: true,
                max_retries: Some(pick(&[2, 100, 100]) as u32),
                max_age: Some(seconds(pick(&[120, 21_600, 21_600]))),
                reports_failures: true,
                filter: None,
            },
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            disorder: pick(&[1, 1, 10, 30]) as f64 / 100.0,
            takeover: pick(&[0, 0, 1]) == 1,
            refusals: pick(&[0, 1]) == 1,
            processes: clock::PROCESSES,
            skews,
            max_concurrency: pick(&[1, 2, usize::MAX, usize::MAX]),
            strangers: pick(&[0, 1]) == 1,
            kill: None,
        }
    }

    /// Returns the plan of a seed with the same load and no faults.
    #[must_use]
    pub fn without_faults(seed: u64) -> Self {
        Self { rates: BTreeMap::new(), max_concurrency: usize::MAX, ..Self::of(seed) }
    }
}
