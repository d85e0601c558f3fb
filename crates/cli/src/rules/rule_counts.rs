//! Counts of firings by rule, day and entity.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use jiff::tz::TimeZone;
use serde::Serialize;
use tributary_model::id::Id;
use tributary_rules::evaluator::Firing;
use tributary_rules::{Rules, Severity};

/// Maximum number of days and of entities shown per rule in the table.
const MAX_SHOWN: usize = 5;

/// Firings of a rule, and the alerts that remain after its cooldown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Count {
    pub alerts: u64,
    pub fired: u64,
}

/// Counts of one rule.
#[derive(Serialize)]
pub(super) struct OfRule {
    rule: String,
    dataset: String,
    /// Set if the input had an event of the rule's dataset.
    #[serde(skip)]
    has_events: bool,
    severity: Severity,
    #[serde(flatten)]
    all: Count,
    /// Counts by UTC day.
    by_day: BTreeMap<String, Count>,
    by_entity: BTreeMap<String, Count>,
    #[serde(skip)]
    reported: BTreeSet<Id>,
}

/// Counts of all rules, in the order of their file.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct RuleCounts(Vec<OfRule>);

impl RuleCounts {
    pub(super) fn new(rules: &Rules) -> Self {
        let rules = rules.iter().map(|rule| OfRule {
            rule: rule.id().to_owned(),
            dataset: rule.dataset().to_owned(),
            has_events: false,
            severity: rule.severity(),
            all: Count::default(),
            by_day: BTreeMap::new(),
            by_entity: BTreeMap::new(),
            reported: BTreeSet::new(),
        });
        Self(rules.collect())
    }

    /// Marks the rules of `dataset` as having input.
    pub(super) fn record_dataset(&mut self, dataset: &str) {
        for of in self.0.iter_mut().filter(|of| of.dataset == dataset) {
            of.has_events = true;
        }
    }

    /// Counts one firing of a rule.
    pub(super) fn count(&mut self, firing: Firing<'_>) {
        let Some(of) = self.0.iter_mut().find(|of| of.rule == firing.rule.id()) else { return };
        let alerts = u64::from(of.reported.insert(firing.alert_id));
        let day = firing.at.to_zoned(TimeZone::UTC).date().to_string();
        let counts = [
            &mut of.all,
            of.by_day.entry(day).or_default(),
            of.by_entity.entry(firing.entity).or_default(),
        ];
        for count in counts {
            count.fired += 1;
            count.alerts += alerts;
        }
    }

    /// Returns a table of the rules for the datasets of the input, with their top days and
    /// entities.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["rule", "fired", "alerts", "days", "entities"]);
        for of in self.0.iter().filter(|of| of.has_events) {
            let (days, entities) = (of.by_day.len() as u64, of.by_entity.len() as u64);
            let counts = [of.all.fired, of.all.alerts, days, entities].map(shown);
            let [fired, alerts, days, entities] = &counts;
            table.add_row([&of.rule, fired, alerts, days, entities]);
            for by in [&of.by_day, &of.by_entity] {
                let mut top: Vec<_> = by.iter().collect();
                top.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
                for (name, count) in top.iter().take(MAX_SHOWN) {
                    let counts = [count.fired, count.alerts].map(shown);
                    table.add_row([&format!("  {name}"), &counts[0], &counts[1]]);
                }
                if let Some(more) = top.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
                    table.add_row([&format!("  and {more} more")]);
                }
            }
        }
        for column in 1..=4 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        super::aligned(&table)
    }
}

fn shown(count: u64) -> String {
    HumanCount(count).to_string()
}
