//! Index of the quarantine by row, and its counts by kind. The latest line of a row wins.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail};
use indicatif::HumanCount;
use jiff::Timestamp;
use serde::Serialize;
use tributary_model::time::{as_millis, millis};
use tributary_operate::quarantine::QuarantinedRow;

use super::filter::RowFilter;
use super::layer::{Layer, Marks, State, bad_rows};
use crate::lines::Unreadable;
use crate::output::eprint_line;
use crate::progress::Progress;
use crate::table::{shown, table};

/// Rows of a quarantine.
#[derive(Debug)]
pub(super) struct Index {
    /// Latest line by record id.
    pub rows: HashMap<String, Seen>,
    /// Kinds in the order of their first rows.
    pub kinds: Vec<Kind>,
    /// Object keys.
    pub objects: Vec<String>,
    pub lines: u64,
    pub unreadable: u64,
    pub marks: Marks,
}

/// Latest line of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub rejected_at: Timestamp,
    /// Index into `objects`.
    pub object: usize,
    /// Index into `kinds`.
    pub kind: usize,
    pub is_wanted: bool,
}

/// Group of rows that is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) struct Kind {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Index {
    /// Reads the quarantine, limited to the days that can match the filter.
    pub(super) async fn read(layer: &Layer, filter: &RowFilter) -> Result<Self> {
        let mut unreadable = Unreadable::default();
        let marks = Marks::read(layer, filter.since, &mut unreadable).await?;
        let objects = layer.objects(filter.since, filter.until).await?;
        if objects.is_empty() {
            let nothing = layer.nothing(filter.since.or(filter.until).is_some());
            eprint_line(&format!("tributary: {nothing}"));
        }
        let mut index = Self {
            rows: HashMap::new(),
            kinds: Vec::new(),
            objects,
            lines: 0,
            unreadable: 0,
            marks,
        };
        let mut kinds = HashMap::new();
        let mut progress = Progress::of_steps(index.objects.len() as u64, "objects");
        let mut fetch = layer.fetch(index.objects.clone());
        let mut object = 0;
        while let Some((key, bytes)) = fetch.next().await? {
            bad_rows(&key, &bytes, &mut unreadable, |_, row| {
                index.lines += 1;
                let kind = Kind::of(row);
                let known = index.kinds.len();
                let kind = *kinds.entry(kind).or_insert_with_key(|kind| {
                    index.kinds.push(kind.clone());
                    known
                });
                let (rejected_at, is_wanted) = (row.rejected_at, filter.takes(row));
                let seen = Seen { rejected_at, object, kind, is_wanted };
                match index.rows.get_mut(row.record_id.as_ref()) {
                    Some(before) if before.rejected_at >= rejected_at => {}
                    Some(before) => *before = seen,
                    None => drop(index.rows.insert(row.record_id.clone().into_owned(), seen)),
                }
            });
            object += 1;
            progress.step();
        }
        drop(progress);
        index.unreadable = unreadable.count;
        let datasets = filter.configuration.load()?.datasets;
        let of: BTreeSet<_> = index.kinds.iter().filter_map(|it| it.dataset.as_deref()).collect();
        if let Some(name) = filter.unknown_dataset(&datasets, &of) {
            eprint_line(&format!(
                "tributary: {name:?} is no dataset, and no row is of it; there are {}",
                datasets.names()
            ));
        }
        let found: BTreeSet<_> = index.rows.keys().map(String::as_str).collect();
        let missing = filter.missing(&found);
        if !missing.is_empty() {
            bail!("there is no row {} in quarantine", missing.join(", "));
        }
        Ok(index)
    }

    /// Chooses the first `limit` of these rows, in the order of the objects. Returns also the number
    /// of the others.
    pub(super) fn select<'s>(
        &self,
        limit: usize,
        rows: impl Iterator<Item = (&'s str, &'s Seen, State)>,
    ) -> (Selected, usize) {
        let mut chosen: Vec<_> =
            rows.map(|(id, seen, _)| (seen.object, id, seen.rejected_at)).collect();
        chosen.sort_unstable();
        let more = chosen.len().saturating_sub(limit);
        chosen.truncate(limit);
        let objects: BTreeSet<_> = chosen.iter().map(|(object, ..)| *object).collect();
        let objects = objects.into_iter().map(|object| self.objects[object].clone()).collect();
        let rows = chosen.into_iter().map(|(_, id, time)| (id.to_owned(), time)).collect();
        (Selected { objects, rows }, more)
    }

    /// Returns the rows that match the filter, with their states.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&str, &Seen, State)> {
        let wanted = self.rows.iter().filter(|(_, seen)| seen.is_wanted);
        wanted.map(|(id, seen)| (id.as_str(), seen, self.marks.state(id, seen.rejected_at)))
    }
}

/// Rows chosen from an index.
pub(super) struct Selected {
    /// Keys of the objects that hold the rows, in order.
    pub objects: Vec<String>,
    /// Time of the rejection by record id.
    pub rows: HashMap<String, Timestamp>,
}

impl Selected {
    /// Returns the lines of the chosen rows in an object, each once. Unreadable lines were reported
    /// when the index was read.
    pub(super) fn lines(&mut self, key: &str, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        bad_rows(key, bytes, &mut Unreadable::silent(), |line, row| {
            if self.rows.get(row.record_id.as_ref()) == Some(&row.rejected_at) {
                self.rows.remove(row.record_id.as_ref());
                lines.push(line.to_vec());
            }
        });
        lines
    }
}

impl Kind {
    fn of(row: &QuarantinedRow<'_>) -> Self {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let (dataset, field) = (owned(&row.dataset), owned(&row.field));
        Self { dataset, code: row.code.clone().into_owned(), field }
    }
}

/// Counts of the quarantine.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    #[serde(flatten)]
    all: Counts,
    /// Lines and objects read, and lines that are not bad rows.
    lines: u64,
    objects: usize,
    unreadable: u64,
    kinds: Vec<Counted>,
}

/// Counts of rows that match the filter, each counted once, by state.
#[derive(Debug, Default, Serialize)]
struct Counts {
    rows: u64,
    waiting: u64,
    replayed: u64,
    came_back: u64,
}

/// Counts of one kind.
#[derive(Debug, Serialize)]
struct Counted {
    #[serde(flatten)]
    kind: Kind,
    #[serde(flatten)]
    counts: Counts,
    #[serde(with = "as_millis")]
    first_rejected_at: Timestamp,
    #[serde(with = "as_millis")]
    last_rejected_at: Timestamp,
}

impl Counts {
    fn add(&mut self, state: State) {
        self.rows += 1;
        match state {
            State::Waiting => self.waiting += 1,
            State::Replayed => self.replayed += 1,
            State::CameBack => self.came_back += 1,
        }
    }
}

impl Listing {
    pub(super) fn of(index: &Index) -> Self {
        let mut all = Counts::default();
        let mut kinds: BTreeMap<&Kind, Counted> = BTreeMap::new();
        for (_, seen, state) in index.wanted() {
            let (kind, rejected_at) = (&index.kinds[seen.kind], seen.rejected_at);
            let counted = kinds.entry(kind).or_insert_with(|| Counted {
                kind: kind.clone(),
                counts: Counts::default(),
                first_rejected_at: rejected_at,
                last_rejected_at: rejected_at,
            });
            all.add(state);
            counted.counts.add(state);
            counted.first_rejected_at = counted.first_rejected_at.min(rejected_at);
            counted.last_rejected_at = counted.last_rejected_at.max(rejected_at);
        }
        let (lines, objects, unreadable) = (index.lines, index.objects.len(), index.unreadable);
        Self { all, lines, objects, unreadable, kinds: kinds.into_values().collect() }
    }

    /// Returns a table with one line per kind, and the total.
    pub(super) fn table(&self) -> String {
        let head = ["dataset", "code", "field", "rows", "waiting", "replayed", "came back"];
        let head = head.into_iter().chain(["first rejected", "last rejected"]);
        let mut table = table(head, 3..7);
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        for Counted { kind, counts, first_rejected_at, last_rejected_at } in &self.kinds {
            let names = [text(&kind.dataset), kind.code.clone(), text(&kind.field)];
            let counts = [counts.rows, counts.waiting, counts.replayed, counts.came_back];
            let times = [first_rejected_at, last_rejected_at].map(|time| millis(*time));
            table.add_row(names.into_iter().chain(counts.map(shown)).chain(times));
        }
        let (objects, lines) = (HumanCount(self.objects as u64), HumanCount(self.lines));
        let mut text = format!(
            " {} rows, {} of them waiting; {lines} lines in {objects} objects",
            shown(self.all.rows),
            shown(self.all.waiting + self.all.came_back),
        );
        if self.unreadable > 0 {
            text.extend([", ", &shown(self.unreadable), " lines unreadable"]);
        }
        if self.kinds.is_empty() { text } else { format!("{}\n\n{text}", table.trim_fmt()) }
    }
}
