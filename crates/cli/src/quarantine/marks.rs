//! Marks of replayed bad rows: lines in objects beside the quarantine.

use std::collections::HashMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tributary_model::id::Id;
use tributary_model::time::{as_millis, millis};

use super::layer::{Layer, day};
use crate::lines::{Unreadable, lines};

/// Replay of one bad row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub record_id: String,
    /// Time of the rejection that was replayed. If the row is rejected later than that, it came
    /// back.
    #[serde(with = "as_millis")]
    pub rejected_at: Timestamp,
    pub code: String,
    #[serde(with = "as_millis")]
    pub replayed_at: Timestamp,
    /// Set if the replayed row differed from the one in quarantine.
    pub mended: bool,
}

/// State of a bad row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Waiting,
    Replayed,
    /// Replayed, and rejected again.
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

/// Marks read so far.
#[derive(Debug)]
pub(super) struct Marks {
    layer: Layer,
    /// Latest replayed rejection by record id.
    by_record: HashMap<String, Timestamp>,
}

impl Marks {
    /// Reads the marks of rows rejected since `since`.
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

    /// Returns the state of a row whose last rejection was at `rejected_at`.
    pub(super) fn state(&self, record_id: &str, rejected_at: Timestamp) -> State {
        match self.by_record.get(record_id) {
            None => State::Waiting,
            Some(replayed) if *replayed < rejected_at => State::CameBack,
            Some(_) => State::Replayed,
        }
    }

    /// Writes marks to a new object.
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
