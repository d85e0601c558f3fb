//! Reconciliation of the batch counts of all functions.
//!
//! Compares the records that each function received with their dispositions, and the records put on
//! a stream with those its consumers took.

use std::ops::AddAssign;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use tributary_model::counts::BatchCounts;

/// Stream with its producers and consumers.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Name in the report.
    pub name: &'static str,
    /// Functions that put records.
    pub producers: &'static [&'static str],
    /// Functions that take records.
    pub consumers: &'static [&'static str],
}

/// Time range of a reconciliation.
#[derive(Clone, Copy, Debug)]
pub struct TimeRange {
    /// Start, inclusive.
    pub since: Timestamp,
    /// End, exclusive.
    pub until: Timestamp,
    /// Maximum transit time of a record from one function to the next.
    pub slack: SignedDuration,
}

/// Batch counts of a function, by batch or by minute.
#[derive(Clone, Debug, Default)]
pub struct FunctionSeries {
    /// Name of the function, as in [`Stream`].
    pub name: String,
    /// Counts with their times.
    pub points: Vec<(Timestamp, BatchCounts)>,
}

/// Counts of an event source mapping, kept by the mapping itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MappingCounts {
    /// Events read from the source.
    pub polled: u64,
    /// Events that the mapping's filter dropped.
    pub filtered_out: u64,
    /// Events with which the function was invoked, counted again on each retry.
    pub invoked: u64,
    /// Events of invocations that failed, in whole or in part.
    pub failed: u64,
    /// Events given up without an on-failure destination: they are lost.
    pub dropped: u64,
    /// Events given up and sent to the on-failure destination.
    pub parked: u64,
}

/// Counts of one mapping over time.
#[derive(Clone, Debug, Default)]
pub struct MappingSeries {
    /// Name in batch counts of the function that the mapping invokes.
    pub function: String,
    /// Source: the last part of its ARN.
    pub source: String,
    /// Counts with their times.
    pub points: Vec<(Timestamp, MappingCounts)>,
}

/// Result of a reconciliation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// Totals of each function within the time range.
    pub functions: Vec<FunctionTotal>,
    /// Totals of each stream and consumer.
    pub streams: Vec<StreamTotal>,
    /// Totals of each mapping within the time range.
    pub mappings: Vec<MappingTotal>,
    /// Counts that do not reconcile.
    pub faults: Vec<String>,
    /// Observations that are unusual but lose no records.
    pub notes: Vec<String>,
}

/// Totals of a function within the time range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FunctionTotal {
    /// Name of the function.
    pub function: String,
    /// Sum of its batch counts.
    #[serde(flatten)]
    pub counts: BatchCounts,
}

/// Totals of one consumer of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamTotal {
    /// Name of the stream.
    pub stream: &'static str,
    /// Function that took the records.
    pub consumer: &'static str,
    /// Records that functions put on the stream within the time range.
    pub put: u64,
    /// Records put within the last `slack` of the time range, which may still be in transit.
    pub under_way: u64,
    /// Records that the consumer took within the time range and that Lambda will not redeliver.
    pub taken: u64,
}

/// Totals of a mapping within the time range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappingTotal {
    /// Function that the mapping invokes.
    pub function: String,
    /// Source of the mapping.
    pub source: String,
    /// Sum of its counts.
    #[serde(flatten)]
    pub counts: MappingCounts,
}

impl AddAssign for MappingCounts {
    fn add_assign(&mut self, other: Self) {
        self.polled += other.polled;
        self.filtered_out += other.filtered_out;
        self.invoked += other.invoked;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.parked += other.parked;
    }
}

impl TimeRange {
    /// Returns the end of the time in which records are put that must have been taken by `until`.
    fn due(&self) -> Timestamp {
        self.until.checked_sub(self.slack).unwrap_or(self.since).max(self.since)
    }
}

/// Sums the counts from `since` (inclusive) to `until` (exclusive).
fn total<C>(points: &[(Timestamp, C)], since: Timestamp, until: Timestamp) -> C
where
    C: Copy + Default + AddAssign,
{
    let mut sum = C::default();
    for (_, counts) in points.iter().filter(|(at, _)| (since..until).contains(at)) {
        sum += *counts;
    }
    sum
}

impl Reconciliation {
    /// Reconciles the counts of a time range over `streams`. The series should start one `slack`
    /// before it.
    ///
    /// Two checks are exact: the counts of each function's batches, and that no event was dropped
    /// or parked. Comparing producers with consumers needs the slack: every record put earlier than
    /// `slack` before the end must have been taken by the end. Taking more records than were put is
    /// no fault: delivery is at least once, and other producers may put records.
    #[must_use]
    pub fn of(
        streams: &[Stream],
        functions: &[FunctionSeries],
        mappings: &[MappingSeries],
        window: TimeRange,
    ) -> Self {
        let mut reconciliation = Self::default();
        for FunctionSeries { name, points } in functions {
            let counts = total(points, window.since, window.until);
            if !counts.is_balanced() {
                let (before, after) = (counts.received, counts.accounted());
                let fault = format!("{name}: {before} in, and {after} are accounted for");
                reconciliation.faults.push(fault);
            }
            if let count @ 1.. = counts.undelivered {
                reconciliation.notes.push(format!("{name}: {count} undelivered, which come again"));
            }
            reconciliation.functions.push(FunctionTotal { function: name.clone(), counts });
        }
        for stream in streams {
            for consumer in stream.consumers {
                reconciliation.stream(stream, consumer, functions, window);
            }
        }
        for mapping in mappings {
            // A message of a queue is no record, and a record may hold several.
            let function = mapping.function.as_str();
            let takes_records = streams.iter().any(|it| it.consumers.contains(&function));
            reconciliation.mapping(mapping, takes_records, functions, window);
        }
        reconciliation
    }

    /// Returns true if there are no faults.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.faults.is_empty()
    }

    fn stream(
        &mut self,
        stream: &Stream,
        consumer: &'static str,
        functions: &[FunctionSeries],
        window: TimeRange,
    ) {
        let TimeRange { since, until, slack } = window;
        let Some(taking) = functions.iter().find(|it| it.name == consumer) else { return };
        let put = |since, until| -> u64 {
            let producers =
                functions.iter().filter(|it| stream.producers.contains(&it.name.as_str()));
            producers.map(|it| total(&it.points, since, until).delivered).sum()
        };
        let counts = total(&taking.points, since, until);
        let taken = counts.received.saturating_sub(counts.undelivered);
        let due = put(since, window.due());
        let all = put(since, until);
        let max = put(since.checked_sub(slack).unwrap_or(since), until);
        let name = stream.name;
        if taken < due {
            let missing = due - taken;
            self.faults.push(format!(
                "{name}: {due} were put before the last {} s, and {consumer} took {taken}: {missing} are missing",
                slack.as_secs()
            ));
        }
        if taken > max {
            let more = taken - max;
            self.notes.push(format!(
                "{name}: {consumer} took {more} more than functions put: delivered again, replayed, or put by others"
            ));
        }
        let under_way = all - due;
        self.streams.push(StreamTotal { stream: name, consumer, put: all, under_way, taken });
    }

    fn mapping(
        &mut self,
        mapping: &MappingSeries,
        takes_records: bool,
        functions: &[FunctionSeries],
        window: TimeRange,
    ) {
        let TimeRange { since, until, .. } = window;
        let MappingSeries { function, source, points } = mapping;
        let counts = total(points, since, until);
        let name = format!("{function} of {source}");
        let MappingCounts { invoked, failed, dropped, parked, .. } = counts;
        let mut fault = |fault: String| self.faults.push(format!("{name}: {fault}"));
        if dropped > 0 {
            fault(format!("{dropped} events dropped: they are nowhere"));
        }
        if parked > 0 {
            fault(format!("{parked} events parked: `tributary redrive` brings them back"));
        }
        let early = total(points, since, window.due());
        let (polled, wanted) = (early.polled, early.polled.saturating_sub(early.filtered_out));
        if invoked < wanted {
            fault(format!("{polled} events polled, and {function} invoked with {invoked}"));
        }
        let series = functions.iter().find(|it| it.name == *function);
        if let Some(series) = series.filter(|_| takes_records) {
            let received = total(&series.points, since, until).received;
            if received + failed < early.invoked {
                let invoked = early.invoked;
                fault(format!(
                    "invoked with {invoked} events, and its books have {received}, {failed} failed"
                ));
            }
        }
        let (function, source) = (function.clone(), source.clone());
        self.mappings.push(MappingTotal { function, source, counts });
    }
}

#[cfg(test)]
mod tests;
