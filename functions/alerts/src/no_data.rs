//! Rules with `absent`: entities that a batch shows, and due no-data alerts by key and cooldown.

use std::collections::{BTreeMap, HashMap};

use tributary_rules::Rule;
use tributary_rules::alert::Alert;
use tributary_rules::no_data::{CooldownPeriod, WatchedEntity};

use crate::admission::Candidate;

/// Entity that a rule watches, and that a batch has a reading of.
#[derive(Clone, Debug)]
pub(crate) struct SeenEntity<'r> {
    /// Position of its first event in the batch.
    pub(crate) position: usize,
    pub(crate) rule: &'r Rule,
    /// As of its last event.
    pub(crate) watched: WatchedEntity,
}

impl SeenEntity<'_> {
    pub(crate) fn candidate(&self) -> Candidate<'_> {
        let Self { position, rule, watched } = self;
        let (entity, received_at) = (&watched.entity, watched.last_seen);
        Candidate { position: *position, rule, entity, received_at }
    }
}

/// Watched entities that a batch shows, by item.
#[derive(Debug, Default)]
pub(crate) struct SeenEntities<'r>(HashMap<String, SeenEntity<'r>>);

impl<'r> SeenEntities<'r> {
    /// Adds a reading; the latest one of an entity counts.
    pub(crate) fn add(&mut self, position: usize, rule: &'r Rule, watched: WatchedEntity) {
        match self.0.get_mut(&watched.item) {
            Some(known) if known.watched.last_seen < watched.last_seen => known.watched = watched,
            Some(_) => {}
            None => {
                self.0.insert(watched.item.clone(), SeenEntity { position, rule, watched });
            }
        }
    }

    /// Returns those for which `is_new` holds, in the order of their events.
    pub(crate) fn sorted(self, is_new: impl Fn(&SeenEntity<'r>) -> bool) -> Vec<SeenEntity<'r>> {
        let mut entities: Vec<_> = self.0.into_values().filter(is_new).collect();
        entities.sort_by(|one, other| {
            (one.position, &one.watched.item).cmp(&(other.position, &other.watched.item))
        });
        entities
    }
}

/// Due no-data alerts that are one alert: they share the key and the cooldown they are due in.
#[derive(Debug)]
pub(crate) struct Group<'r> {
    pub(crate) rule: &'r Rule,
    /// Alert of the entity without data for longest.
    pub(crate) alert: Alert,
    /// Period that counts them, and in which one is sent.
    pub(crate) cooldown_period: Option<CooldownPeriod>,
    pub(crate) entities: Vec<WatchedEntity>,
}

/// Groups due entities by alert, those without data for longest first.
pub(crate) fn groups(mut due: Vec<(&Rule, WatchedEntity)>) -> Vec<Group<'_>> {
    due.sort_by(|(_, one), (_, other)| {
        (one.last_seen, &one.item).cmp(&(other.last_seen, &other.item))
    });
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (rule, watched) in due {
        let alert = rule.no_data_alert(&watched);
        let cooldown_period = rule.cooldown_period(&watched);
        let name = cooldown_period.as_ref().map(|period| period.mark.item.clone());
        let place = places.entry(name.unwrap_or_else(|| alert.alert_id.to_string()));
        let place = *place.or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.alert.merge(&alert);
                group.entities.push(watched);
            }
            None => groups.push(Group { rule, alert, cooldown_period, entities: vec![watched] }),
        }
    }
    groups
}
