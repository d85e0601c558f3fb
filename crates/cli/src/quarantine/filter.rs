//! Location of the quarantine, and filters on its rows.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tributary_aws::bucket::Bucket;
use tributary_aws::clients::{self, SdkConfig};
use tributary_datasets::Datasets;
use tributary_model::bad_row::Code;
use tributary_operate::quarantine::QuarantinedRow;

use super::layer::Layer;
use crate::configuration::ConfigArguments;
use crate::stack::Stack;
use crate::units;

/// Location of the quarantine.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Place {
    /// Stack, whose outputs name the bucket and the stream
    #[arg(long, value_name = "NAME", required_unless_present = "bucket")]
    stack: Option<String>,

    /// Bucket of the quarantine, overrides the stack's
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,

    /// Prefix of the quarantine in its bucket
    #[arg(long, value_name = "PREFIX", default_value = "quarantine/")]
    prefix: String,
}

/// Filter on rows. All conditions must hold; of a condition with several values, one must match.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct RowFilter {
    /// Only rows with this code; can be repeated
    #[arg(long = "code", value_name = "CODE", value_parser = code)]
    codes: Vec<Code>,

    /// Only rows of this dataset
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    /// Only rows with a fault in this field
    #[arg(long, value_name = "NAME")]
    field: Option<String>,

    /// Only rows rejected at or after: a time, or a duration before now such as 2h
    #[arg(long, value_name = "WHEN", value_parser = units::moment, allow_hyphen_values = true)]
    pub since: Option<Timestamp>,

    /// Only rows rejected before: a time, or a duration before now such as 2h
    #[arg(long, value_name = "WHEN", value_parser = units::moment, allow_hyphen_values = true)]
    pub until: Option<Timestamp>,

    #[command(flatten)]
    pub configuration: ConfigArguments,

    /// Only the row with this record id; can be repeated
    #[arg(long = "record-id", value_name = "ID")]
    pub record_ids: Vec<String>,

    /// Only rows whose source matches, such as `s3://*/accidents/*`
    #[arg(long, value_name = "GLOB")]
    source: Option<String>,
}

impl Place {
    /// Opens the layer, and reads the stack if one was given.
    pub(super) async fn open(&self, config: &SdkConfig) -> Result<(Layer, Option<Stack>)> {
        let stack = match &self.stack {
            Some(name) => Some(Stack::read(config, name).await?),
            None => None,
        };
        let bucket = match (&self.bucket, &stack) {
            (Some(bucket), _) => bucket.clone(),
            (None, Some(stack)) => stack.output("RawBucketName")?.to_owned(),
            (None, None) => {
                None.context("the quarantine bucket is unknown: expected --stack or --bucket")?
            }
        };
        let bucket = Bucket::new(clients::s3(config), bucket);
        Ok((Layer::new(bucket, &self.prefix), stack))
    }
}

impl RowFilter {
    /// Returns whether a row matches the filter.
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

    /// Checks that the time range is not empty.
    ///
    /// # Errors
    ///
    /// Fails if `--since` is not before `--until`.
    pub(super) fn check(&self) -> Result<()> {
        units::check_order(self.since, self.until)
    }

    /// Returns the filter's dataset if it neither exists nor occurs in `found`: likely a typing
    /// mistake.
    pub(super) fn unknown_dataset(
        &self,
        datasets: &Datasets,
        found: &BTreeSet<&str>,
    ) -> Option<&str> {
        let dataset = self.dataset.as_deref()?;
        let is_known = datasets.by_name(dataset).is_some() || found.contains(dataset);
        (!is_known).then_some(dataset)
    }

    /// Returns the requested record ids that are not in `found`.
    pub(super) fn missing<'w>(&'w self, found: &BTreeSet<&str>) -> Vec<&'w str> {
        let ids = self.record_ids.iter().map(String::as_str);
        ids.filter(|id| !found.contains(id)).collect()
    }
}

/// Parses a code.
fn code(text: &str) -> Result<Code, String> {
    let found = Code::ALL.into_iter().find(|(_, name)| *name == text);
    found.map(|(code, _)| code).ok_or_else(|| {
        let names = Code::ALL.map(|(_, name)| name).join(", ");
        format!("there is no code {text:?}; there are {names}")
    })
}

/// Returns whether `text` matches `glob`, in which `*` stands for any text.
fn is_like<'t>(text: &'t str, glob: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else { return text == glob };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = text.strip_prefix(first).and_then(|text| text.strip_suffix(last));
    let after = |text: &'t str, part| text.split_once(part).map(|(_, after)| after);
    inner.and_then(|text| middle.split('*').try_fold(text, after)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_text() {
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
