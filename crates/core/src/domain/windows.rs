//! What the windows of a spec can hold: derived from what the readings can hold that they are made of.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fields, Numbers, Texts};
use crate::config::PipelineConfig;
use crate::datasets;
use crate::event::Kind;

/// The most values of a field that are counted one by one.
const MOST_COUNTED: usize = 100;

/// The most that a score of an anomaly is, either way.
const MOST_Z: f64 = 1e4;

/// The kinds of anomalies.
const KINDS: [&str; 4] = ["spike", "level_shift", "drift", "stuck"];

/// What of a window spec decides the fields of its windows.
struct Shape {
    id: &'static str,
    dataset: &'static str,
    key: &'static [&'static str],
    measures: &'static [&'static str],
    quantiles: &'static [f64],
    rate: &'static [&'static str],
    count_by: &'static [&'static str],
    /// Measures of the window in which anomalies are looked for.
    anomaly: &'static [&'static str],
}

/// The specs of `pipeline.toml`.
const SHIPPED: [Shape; 7] = [
    Shape {
        id: "telemetry-1m",
        dataset: "telemetry",
        key: &["entity"],
        measures: &["temperature_c", "humidity_pct"],
        quantiles: &[],
        rate: &[],
        count_by: &[],
        anomaly: &["temperature_c_mean", "humidity_pct_mean"],
    },
    Shape {
        id: "telemetry-5m",
        dataset: "telemetry",
        key: &["entity"],
        measures: &["temperature_c", "humidity_pct"],
        quantiles: &[],
        rate: &[],
        count_by: &[],
        anomaly: &[],
    },
    Shape {
        id: "flood-15m",
        dataset: "flood",
        key: &["entity"],
        measures: &["water_level_m"],
        quantiles: &[],
        rate: &["water_level_m"],
        count_by: &[],
        anomaly: &[],
    },
    Shape {
        id: "accidents-5s",
        dataset: "accidents",
        key: &["state"],
        measures: &["temperature_c"],
        quantiles: &[],
        rate: &[],
        count_by: &["severity"],
        anomaly: &[],
    },
    Shape {
        id: "accidents-1h",
        dataset: "accidents",
        key: &["state"],
        measures: &["temperature_c"],
        quantiles: &[],
        rate: &[],
        count_by: &["severity"],
        anomaly: &[],
    },
    Shape {
        id: "covid-1d",
        dataset: "covid",
        key: &["state"],
        measures: &["cases", "deaths"],
        quantiles: &[],
        rate: &[],
        count_by: &[],
        anomaly: &[],
    },
    Shape {
        id: "covid-7d",
        dataset: "covid",
        key: &["entity"],
        measures: &["cases", "deaths"],
        quantiles: &[],
        rate: &[],
        count_by: &[],
        anomaly: &[],
    },
];

/// The fields of the windows of each spec.
#[derive(Clone, Debug)]
pub struct Windows(BTreeMap<String, Fields>);

impl Windows {
    /// Those of a configuration.
    #[must_use]
    pub fn of(pipeline: &PipelineConfig) -> Self {
        let fields = |shape: &Shape| {
            let readings = Fields::of_dataset(datasets::by_name(shape.dataset)?, pipeline);
            Some((shape.id.to_owned(), shape.fields(&readings)))
        };
        Self(SHIPPED.iter().filter_map(fields).collect())
    }

    /// The fields of the windows of a spec.
    #[must_use]
    pub fn get(&self, spec: &str) -> Option<&Fields> {
        self.0.get(spec)
    }

    /// The ids of the specs that are of `dataset`, for messages.
    #[must_use]
    pub fn names(&self, dataset: &str) -> String {
        let of_it = self.0.iter().filter(|(_, fields)| fields.dataset == dataset);
        of_it.map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl Shape {
    fn fields(&self, readings: &Fields) -> Fields {
        let mut measures =
            BTreeMap::from([("count".to_owned(), Numbers::whole(1.0, f64::INFINITY))]);
        for &name in self.measures {
            let Some(numbers) = readings.measure(name) else { continue };
            let (low, high) = numbers.hull().unwrap_or_default();
            let mut put = |suffix: &str, numbers: Numbers| {
                measures.insert(format!("{name}_{suffix}"), numbers);
            };
            put("mean", Numbers::between(low, high));
            for suffix in ["min", "max", "first", "last"] {
                put(suffix, numbers.clone());
            }
            put("sum", sum(low, high));
            put("std", Numbers::between(0.0, high - low));
            for quantile in self.quantiles {
                put(&format!("p{}", 100.0 * quantile), Numbers::between(low, high));
            }
            if self.rate.contains(&name) {
                put("per_h", Numbers::any());
            }
        }
        for &name in self.anomaly {
            measures.insert(format!("{name}_z"), Numbers::between(-MOST_Z, MOST_Z));
        }
        let mut counted = Vec::new();
        for name in self.count_by {
            match values(readings, name) {
                Some(values) => measures.extend(values.into_iter().map(|value| {
                    (format!("count_{name}_{value}"), Numbers::whole(0.0, f64::INFINITY))
                })),
                None => counted.push(format!("count_{name}_")),
            }
        }
        let mut tags = BTreeSet::from(["approximate".to_owned()]);
        if !self.anomaly.is_empty() {
            tags.insert("anomaly".to_owned());
            tags.extend(self.anomaly.iter().map(|measure| format!("anomaly:{measure}")));
            tags.extend(KINDS.iter().map(|kind| format!("anomaly_kind:{kind}")));
        }
        let attribute = |name: &&str| {
            let texts = readings.attributes.get(*name).cloned().unwrap_or_else(Texts::any);
            ((*name).to_owned(), texts.or(&Texts::one_of(["unknown"])))
        };
        Fields {
            dataset: readings.dataset.clone(),
            kind: Kind::Window,
            spec: Some(self.id.to_owned()),
            measures,
            counted,
            attributes: self.key.iter().map(attribute).collect(),
            tags,
            has_location: false,
        }
    }
}

/// What a sum of one or more can be.
fn sum(low: f64, high: f64) -> Numbers {
    let low = if low >= 0.0 { low } else { f64::NEG_INFINITY };
    let high = if high <= 0.0 { high } else { f64::INFINITY };
    Numbers::between(low, high)
}

/// The values that are counted, where they are a closed list.
fn values(readings: &Fields, name: &str) -> Option<Vec<String>> {
    if let Some(numbers) = readings.measure(name) {
        let listed = numbers.listed(MOST_COUNTED)?;
        return Some(listed.iter().map(ToString::to_string).collect());
    }
    match readings.attributes.get(name)? {
        Texts::OneOf(texts) => Some(texts.iter().cloned().chain(["unknown".to_owned()]).collect()),
        Texts::AllBut(_) => None,
    }
}
