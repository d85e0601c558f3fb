//! Fields of the windows of a spec, derived from the fields of its readings.

use std::collections::{BTreeMap, BTreeSet};

use crate::WindowSpec;
use crate::aggregate::{MAX_VALUES, percent};
use tributary_anomaly::{AnomalyKind, MAX_Z};
use tributary_model::domain::{Fields, NumberSet, Schemas, TextSet};

/// Fields of the windows of each spec.
#[derive(Clone, Debug)]
pub struct WindowFields(BTreeMap<String, Fields>);

impl WindowFields {
    /// Derives the fields from the specs and their datasets. A spec of an unknown dataset has none.
    #[must_use]
    pub fn of(specs: &[WindowSpec], schemas: &Schemas) -> Self {
        let fields = |spec: &WindowSpec| {
            let readings = schemas.get(&spec.dataset)?;
            Some((spec.id.clone(), window_fields(spec, readings)))
        };
        Self(specs.iter().filter_map(fields).collect())
    }

    /// Returns the fields of the windows of a spec.
    #[must_use]
    pub fn get(&self, spec: &str) -> Option<&Fields> {
        self.0.get(spec)
    }

    /// Returns the ids of the specs of `dataset`, comma-separated, for error messages.
    #[must_use]
    pub fn names(&self, dataset: &str) -> String {
        let of_it = self.0.iter().filter(|(_, fields)| fields.dataset == dataset);
        of_it.map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn window_fields(spec: &WindowSpec, readings: &Fields) -> Fields {
    // A value that never occurred has no count field, so the minimum is 1.
    let count = || NumberSet::whole(1.0, f64::INFINITY);
    let mut measures = BTreeMap::from([("count".to_owned(), count())]);
    for name in &spec.measures {
        let Some(numbers) = readings.measure(name) else { continue };
        let (low, high) = numbers.hull().unwrap_or_default();
        let mut put = |suffix: &str, numbers: NumberSet| {
            measures.insert(format!("{name}_{suffix}"), numbers);
        };
        put("mean", NumberSet::between(low, high));
        for suffix in ["min", "max", "first", "last"] {
            put(suffix, numbers.clone());
        }
        put("sum", sum(low, high));
        put("std", NumberSet::between(0.0, high - low));
        for quantile in &spec.quantiles {
            put(&format!("p{}", percent(*quantile)), NumberSet::between(low, high));
        }
        if spec.rate.contains(name) {
            put("per_h", NumberSet::any());
        }
    }
    let mut counted = Vec::new();
    for name in &spec.count_by {
        match values(readings, name) {
            Some(values) => {
                let named = |value| (format!("count_{name}_{value}"), count());
                measures.extend(values.into_iter().map(named));
            }
            None => counted.push(format!("count_{name}_")),
        }
    }
    let mut tags = BTreeSet::from(["approximate".to_owned()]);
    if let Some(anomaly) = &spec.anomaly {
        tags.insert("anomaly".to_owned());
        tags.extend(AnomalyKind::ALL.map(|kind| format!("anomaly_kind:{}", kind.as_str())));
        for measure in &anomaly.measures {
            measures.insert(format!("{measure}_z"), NumberSet::between(-MAX_Z, MAX_Z));
            tags.insert(format!("anomaly:{measure}"));
        }
    }
    // The group is one attribute, named after the parts of the key.
    let group = match &spec.key[..] {
        [name] => {
            readings.attributes.get(name).map(|texts| texts.or(&TextSet::one_of(["unknown"])))
        }
        _ => None,
    };
    let attributes = BTreeMap::from([(spec.key.join("/"), group.unwrap_or_else(TextSet::any))]);
    Fields {
        dataset: readings.dataset.clone(),
        spec: Some(spec.id.clone()),
        measures,
        counted,
        attributes,
        tags,
        has_location: false,
        interval: readings.interval,
        usual_readings: usual_readings(spec, readings),
    }
}

/// Returns the number of readings of a window at the usual interval of its dataset; `None` if that
/// is not declared, or a group has several entities.
fn usual_readings(spec: &WindowSpec, readings: &Fields) -> Option<u32> {
    let is_of_entity = spec.key.iter().any(|name| name == "entity");
    let interval = readings.interval.filter(|_| is_of_entity)?.as_millis();
    let readings = (spec.size.0.as_millis() + interval - 1).checked_div(interval)?;
    Some(u32::try_from(readings).unwrap_or(u32::MAX))
}

/// Returns the range of a sum of one or more numbers between `low` and `high`.
fn sum(low: f64, high: f64) -> NumberSet {
    let low = if low >= 0.0 { low } else { f64::NEG_INFINITY };
    let high = if high <= 0.0 { high } else { f64::INFINITY };
    NumberSet::between(low, high)
}

/// Returns the values of a `count_by` field if they form a closed list of which each is counted
/// separately.
fn values(readings: &Fields, name: &str) -> Option<Vec<String>> {
    if let Some(numbers) = readings.measure(name) {
        let listed = numbers.listed(MAX_VALUES)?;
        return Some(listed.iter().map(ToString::to_string).collect());
    }
    match readings.attributes.get(name)? {
        TextSet::OneOf(texts) if texts.len() < MAX_VALUES => {
            Some(texts.iter().cloned().chain(["unknown".to_owned()]).collect())
        }
        TextSet::OneOf(_) | TextSet::AllExcept(_) => None,
    }
}
