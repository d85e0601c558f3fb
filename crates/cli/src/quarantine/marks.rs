//! Which bad rows were replayed: lines in objects beside the quarantine.

use std::collections::HashMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tributary_model::id::Id;
use tributary_model::time::{as_millis, millis};

use super::layer::{Layer, day};
use crate::lines::{Unreadable, lines};

/// A replay of one bad row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub record_id: String,
    /// When the row was rejected that was replayed. One that is rejected later came back.
    #[serde(with = "as_millis")]
    pub rejected_at: Timestamp,
    pub code: String,
    #[serde(with = "as_millis")]
    pub replayed_at: Timestamp,
    /// Whether it was another row than the one in quarantine.
    pub mended: bool,
}

/// What became of a bad row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Waiting,
    Replayed,
    /// It was replayed, and rejected again.
    CameBack,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Replayed => "replayed",
            Self::CameBack => "came back",
        }
    }
}

/// The marks that are there.
#[derive(Debug)]
pub(super) struct Marks {
    layer: Layer,
    /// Of each record id the latest rejection that was replayed.
    by_record: HashMap<String, Timestamp>,
}

impl Marks {
    /// Reads the marks of rows that were rejected since `since`.
    pub(super) async fn read(
        quarantine: &Layer,
        since: Option<Timestamp>,
        unreadable: &mut Unreadable,
    ) -> Result<Self> {
        let mut marks = Self { layer: quarantine.beside("-replayed"), by_record: HashMap::new() };
        let objects = marks.layer.objects(since, None).await?;
        let mut objects = marks.layer.fetch(objects.into_iter().map(|entry| entry.key).collect());
        while let Some((key, bytes)) = objects.next().await? {
            lines(&key, &bytes, unreadable, |line| {
                let mark: Mark = serde_json::from_slice(line).map_err(|error| error.to_string())?;
                marks.add(&mark);
                Ok(())
            });
        }
        Ok(marks)
    }

    /// What became of the row that was rejected last at this time.
    pub(super) fn state(&self, record_id: &str, rejected_at: Timestamp) -> State {
        match self.by_record.get(record_id) {
            None => State::Waiting,
            Some(replayed) if *replayed < rejected_at => State::CameBack,
            Some(_) => State::Replayed,
        }
    }

    /// Writes marks, in an object of their own.
    pub(super) async fn write(&mut self, marks: &[Mark]) -> Result<()> {
        let (Some(first), mut lines) = (marks.first(), Vec::new()) else { return Ok(()) };
        for mark in marks {
            serde_json::to_writer(&mut lines, mark)?;
            lines.push(b'\n');
        }
        let id = Id::of([lines.as_slice()]);
        let at = first.replayed_at;
        let key = format!("{}dt={}/{}-{id}.jsonl", self.layer.prefix, day(at), millis(at));
        self.layer.bucket.put(&key, lines).await?;
        for mark in marks {
            self.add(mark);
        }
        Ok(())
    }

    fn add(&mut self, mark: &Mark) {
        let latest = self.by_record.entry(mark.record_id.clone()).or_insert(mark.rejected_at);
        *latest = (*latest).max(mark.rejected_at);
    }
}
