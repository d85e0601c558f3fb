//! Index of the quarantine by row. The latest line of a row wins.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, bail};
use jiff::Timestamp;
use tributary_datasets as datasets;
use tributary_operate::quarantine::QuarantinedRow;

use super::filter::RowFilter;
use super::layer::{Layer, bad_rows};
use super::marks::{Marks, State};
use crate::lines::Unreadable;
use crate::output::eprint_line;
use crate::progress::Steps;

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Kind {
    pub dataset: Option<String>,
    pub code: String,
    pub field: Option<String>,
}

impl Index {
    /// Reads the quarantine, limited to the days that can match the filter.
    pub(super) async fn read(layer: &Layer, filter: &RowFilter) -> Result<Self> {
        let mut unreadable = Unreadable::default();
        let marks = Marks::read(layer, filter.since, &mut unreadable).await?;
        let objects = layer.objects(filter.since, filter.until).await?;
        let objects: Vec<_> = objects.into_iter().map(|entry| entry.key).collect();
        if objects.is_empty() {
            eprint_line(&format!(
                "tributary: {}",
                layer.nothing(filter.since.or(filter.until).is_some())
            ));
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
        let mut progress = Steps::new(index.objects.len() as u64, "objects");
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
            progress.advance(1);
        }
        progress.finish();
        index.unreadable = unreadable.count;
        let of: BTreeSet<_> = index.kinds.iter().filter_map(|it| it.dataset.as_deref()).collect();
        if let Some(name) = filter.unknown_dataset(&of) {
            eprint_line(&format!(
                "tributary: {name:?} is no dataset, and no row is of it; there are {}",
                datasets::names()
            ));
        }
        let found: BTreeSet<_> = index.rows.keys().map(String::as_str).collect();
        let missing = filter.missing(&found);
        if !missing.is_empty() {
            bail!("there is no row {} in quarantine", missing.join(", "));
        }
        Ok(index)
    }

    /// Returns the rows that match the filter, with their states.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&str, &Seen, State)> {
        let wanted = self.rows.iter().filter(|(_, seen)| seen.is_wanted);
        wanted.map(|(id, seen)| (id.as_str(), seen, self.marks.state(id, seen.rejected_at)))
    }
}

impl Kind {
    fn of(row: &QuarantinedRow<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            dataset: owned(row.dataset.as_deref()),
            code: row.code.clone().into_owned(),
            field: owned(row.field.as_deref()),
        }
    }
}
