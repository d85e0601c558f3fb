//! Which bad rows: where quarantine is, and what they must be.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tributary_aws::bucket::Bucket;
use tributary_aws::clients::{self, SdkConfig};
use tributary_datasets as datasets;
use tributary_model::bad_row::Code;
use tributary_operate::quarantine::QuarantinedRow;

use super::layer::Layer;
use crate::stack::Stack;
use crate::units;

/// Where quarantine is.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Place {
    /// The stack, whose outputs name the bucket and the stream
    #[arg(long, value_name = "NAME", required_unless_present = "bucket")]
    stack: Option<String>,

    /// The bucket of the quarantine, in place of what the stack says
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,

    /// The prefix of the quarantine in its bucket
    #[arg(long, value_name = "PREFIX", default_value = "quarantine/")]
    prefix: String,
}

/// Which rows of it. Of several conditions all must hold, of several values one.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct RowFilter {
    /// Only rows with this code; can be given more than once
    #[arg(long = "code", value_name = "CODE", value_parser = code)]
    codes: Vec<Code>,

    /// Only rows of this dataset
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    /// Only rows with this field at fault
    #[arg(long, value_name = "NAME")]
    field: Option<String>,

    /// Only rows rejected since then: a time, or a span such as 2h before now
    #[arg(long, value_name = "WHEN", value_parser = units::moment, allow_hyphen_values = true)]
    pub since: Option<Timestamp>,

    /// Only rows rejected before then: a time, or a span such as 2h before now
    #[arg(long, value_name = "WHEN", value_parser = units::moment, allow_hyphen_values = true)]
    pub until: Option<Timestamp>,

    /// Only the row with this record id; can be given more than once
    #[arg(long = "record-id", value_name = "ID")]
    pub record_ids: Vec<String>,

    /// Only rows whose source is like this, such as `s3://*/accidents/*`
    #[arg(long, value_name = "GLOB")]
    source: Option<String>,
}

impl Place {
    /// The layer, and the stack where it was asked for.
    pub(super) async fn open(&self, config: &SdkConfig) -> Result<(Layer, Option<Stack>)> {
        let stack = match &self.stack {
            Some(name) => Some(Stack::read(config, name).await?),
            None => None,
        };
        let bucket = match (&self.bucket, &stack) {
            (Some(bucket), _) => bucket.clone(),
            (None, Some(stack)) => stack.output("RawBucketName")?.to_owned(),
            (None, None) => None.context("--stack or --bucket says where quarantine is")?,
        };
        let bucket = Bucket::new(clients::s3(config), bucket);
        Ok((Layer::new(bucket, &self.prefix), stack))
    }
}

impl RowFilter {
    /// Whether a row is one of them.
    pub(super) fn takes(&self, row: &QuarantinedRow<'_>) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
        };
        (self.codes.is_empty() || self.codes.iter().any(|code| code.as_str() == row.code))
            && is(&self.dataset, row.dataset.as_deref())
            && is(&self.field, row.field.as_deref())
            && self.since.is_none_or(|since| row.rejected_at >= since)
            && self.until.is_none_or(|until| row.rejected_at < until)
            && (self.record_ids.is_empty() || self.record_ids.iter().any(|id| *id == row.record_id))
            && self.source.as_deref().is_none_or(|glob| is_like(&row.source, glob))
    }

    /// Whether there can be any.
    ///
    /// # Errors
    ///
    /// When it ends before it begins.
    pub(super) fn check(&self) -> Result<()> {
        units::check_order(self.since, self.until)
    }

    /// What is likely a mistake where no row is of any of these datasets: a dataset that there is not.
    pub(super) fn unknown_dataset(&self, found: &BTreeSet<&str>) -> Option<&str> {
        let dataset = self.dataset.as_deref()?;
        let is_known = datasets::by_name(dataset).is_some() || found.contains(dataset);
        (!is_known).then_some(dataset)
    }

    /// The record ids that were asked for and are not among `found`.
    pub(super) fn missing<'w>(&'w self, found: &BTreeSet<&str>) -> Vec<&'w str> {
        let ids = self.record_ids.iter().map(String::as_str);
        ids.filter(|id| !found.contains(id)).collect()
    }
}

/// Reads a code.
fn code(text: &str) -> Result<Code, String> {
    Code::ALL.into_iter().find(|code| code.as_str() == text).ok_or_else(|| {
        format!("there is no code {text:?}; there are {}", Code::ALL.map(Code::as_str).join(", "))
    })
}

/// Whether `text` is like `glob`, in which a `*` stands for any text.
fn is_like(text: &str, glob: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (text, glob) in [
            ("s3://b/accidents/a.csv?versionId=v#offset=1&row=2", "s3://*/accidents/*"),
            ("kafka:flood-0#offset=1", "kafka:*"),
            ("abab", "a*b"),
            ("ab", "*"),
            ("", ""),
            ("a", "a*"),
            ("aXbXc", "a*b*c"),
        ] {
            assert!(is_like(text, glob), "{text} {glob}");
        }
        for (text, glob) in
            [("ab", "a"), ("ab", "b*"), ("aba", "a*b"), ("a", "a*a"), ("", "a"), ("ac", "a*b*c")]
        {
            assert!(!is_like(text, glob), "{text} {glob}");
        }
    }
}
