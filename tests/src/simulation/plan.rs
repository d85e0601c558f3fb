//! What a seed decides before anything happens: the deployment, the load, the rates of faults.

use std::collections::BTreeMap;
use std::time::Duration;

use tributary_aws::producer::Order;
use tributary_datagen::random::Sequence;
use tributary_testkit::Fault;
use tributary_testkit::mapping::kinesis::Settings;

/// The plan of one simulation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How often each fault happens.
    pub rates: BTreeMap<Fault, f64>,
    /// Share of rows that are bad.
    pub bad: f64,
    /// Objects that are put, requests that are sent, records that are produced to a topic.
    pub objects: usize,
    /// Requests that are sent.
    pub requests: usize,
    /// Batches of records that are produced to topics.
    pub produced: usize,
    /// Rows in each of them, at most.
    pub rows: usize,
    /// Shards that the streams begin with.
    pub shards: usize,
    /// Bytes of a plain object that one message stands for.
    pub segment_bytes: u64,
    /// Whether ingest from S3 puts small rows together.
    pub aggregates: bool,
    /// The time-out of every function, where it is not the template's: so little that retries within an
    /// invocation often do not help.
    pub timeout: Option<Duration>,
    /// Whether records of a key keep their order, whatever fails.
    pub order: Order,
    /// The settings of the mappings of streams.
    pub mapping: Settings,
    /// Share of readings that devices send late, and share that they send twice.
    pub disorder: f64,
    /// Kills the n-th invocation of a function at the await of this number, and nothing else: function,
    /// invocation from 1, await from 0.
    pub kill: Option<(&'static str, u64, usize)>,
}

impl Plan {
    /// The plan of a seed, with every kind of fault.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut chance = Sequence::new(seed, 0x91a);
        let mut pick = |of: &[usize]| of[(chance.bits() % of.len() as u64) as usize];
        // Most kinds are rare in most seeds, some are frequent in some.
        let mut rates = BTreeMap::new();
        for fault in Fault::ALL {
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
            kill: None,
        }
    }

    /// The same load, and nothing goes wrong.
    #[must_use]
    pub fn without_faults(seed: u64) -> Self {
        Self { rates: BTreeMap::new(), ..Self::of(seed) }
    }
}
