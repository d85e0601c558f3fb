//! How often rules fired, by day and by entity.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use jiff::tz::TimeZone;
use serde::Serialize;
use tributary_model::id::Id;
use tributary_rules::evaluator::Firing;
use tributary_rules::{Rules, Severity};

/// How many days and entities of a rule a person is shown.
const MAX_SHOWN: usize = 5;

/// Times that a rule fired, and alerts that this makes with the cooldown applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Count {
    pub alerts: u64,
    pub fired: u64,
}

/// One rule.
#[derive(Serialize)]
pub(super) struct OfRule {
    rule: String,
    dataset: String,
    /// Whether there was an event of its dataset.
    #[serde(skip)]
    is_asked: bool,
    severity: Severity,
    #[serde(flatten)]
    all: Count,
    /// By day in UTC.
    by_day: BTreeMap<String, Count>,
    by_entity: BTreeMap<String, Count>,
    #[serde(skip)]
    reported: BTreeSet<Id>,
}

/// All rules, in the order of their file.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct RuleCounts(Vec<OfRule>);

impl RuleCounts {
    pub(super) fn new(rules: &Rules) -> Self {
        let rules = rules.iter().map(|rule| OfRule {
            rule: rule.id().to_owned(),
            dataset: rule.dataset().to_owned(),
            is_asked: false,
            severity: rule.severity(),
            all: Count::default(),
            by_day: BTreeMap::new(),
            by_entity: BTreeMap::new(),
            reported: BTreeSet::new(),
        });
        Self(rules.collect())
    }

    /// Notes that there was an event of `dataset`.
    pub(super) fn asked_about(&mut self, dataset: &str) {
        for of in self.0.iter_mut().filter(|of| of.dataset == dataset) {
            of.is_asked = true;
        }
    }

    /// Counts one time that a rule fired.
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

    /// For a person: each rule about what the file has, with the days and the entities that had most.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["rule", "fired", "alerts", "days", "entities"]);
        for of in self.0.iter().filter(|of| of.is_asked) {
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
