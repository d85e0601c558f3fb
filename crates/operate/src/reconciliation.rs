//! Whether the books of all functions together balance: what each took in against what became of it,
//! what was put on a stream against what its consumers took.

use std::ops::AddAssign;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use tributary_model::counts::BatchCounts;

/// A stream, who puts records on it and who takes them.
struct Stream {
    name: &'static str,
    producers: &'static [&'static str],
    consumers: &'static [&'static str],
}

const STREAMS: [Stream; 2] = [
    Stream {
        name: "RAW",
        producers: &["ingest-s3", "ingest-http", "ingest-kafka"],
        consumers: &["transform"],
    },
    Stream {
        name: "EVENTS",
        producers: &["transform"],
        consumers: &["metrics", "alerts", "windows"],
    },
];

/// The time that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct TimeRange {
    /// From then on.
    pub since: Timestamp,
    /// Up to, and without, then.
    pub until: Timestamp,
    /// How long a record may be under way from one function to the next.
    pub slack: SignedDuration,
}

/// The books of a function, batch by batch or minute by minute.
#[derive(Clone, Debug, Default)]
pub struct FunctionSeries {
    /// The name in books: `transform`.
    pub name: String,
    /// Counts, and when they were made.
    pub points: Vec<(Timestamp, BatchCounts)>,
}

/// What an event source mapping counts itself.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MappingCounts {
    /// Events that were read from the source.
    pub polled: u64,
    /// Events that a filter of the mapping left out.
    pub filtered_out: u64,
    /// Events that the function was invoked with, those of a retry once more.
    pub invoked: u64,
    /// Events of invocations that failed, in whole or in part.
    pub failed: u64,
    /// Events that were given up and are nowhere.
    pub dropped: u64,
    /// Events that were given up and are at the on-failure destination.
    pub parked: u64,
}

/// The counts of one mapping.
#[derive(Clone, Debug, Default)]
pub struct MappingSeries {
    /// The function that it invokes, by its name in books.
    pub function: String,
    /// The source: the end of its ARN.
    pub source: String,
    /// Counts, and when they were made.
    pub points: Vec<(Timestamp, MappingCounts)>,
}

/// What the books come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// Each function, within the window.
    pub functions: Vec<FunctionTotal>,
    /// Each stream and consumer.
    pub streams: Vec<StreamTotal>,
    /// Each mapping, within the window.
    pub mappings: Vec<MappingTotal>,
    /// What does not balance.
    pub faults: Vec<String>,
    /// What is odd, and loses nothing.
    pub notes: Vec<String>,
}

/// A function within the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FunctionTotal {
    /// The function.
    pub function: String,
    /// Its books.
    #[serde(flatten)]
    pub counts: BatchCounts,
}

/// What one consumer took of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamTotal {
    /// The stream.
    pub stream: &'static str,
    /// Who took records.
    pub consumer: &'static str,
    /// Records that functions put on it within the window.
    pub put: u64,
    /// Of these, those of the end of the window, which may be under way.
    pub under_way: u64,
    /// Records that the consumer took within the window and will not be given again.
    pub taken: u64,
}

/// A mapping within the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappingTotal {
    /// The function that it invokes.
    pub function: String,
    /// The source.
    pub source: String,
    /// Its counts.
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

/// The sum of what was counted from `since` up to `until`.
fn total<C: Copy + Default + AddAssign>(
    points: &[(Timestamp, C)],
    since: Timestamp,
    until: Timestamp,
) -> C {
    let mut sum = C::default();
    for (at, counts) in points {
        if (since..until).contains(at) {
            sum += *counts;
        }
    }
    sum
}

impl Reconciliation {
    /// Settles the books of a window. They should reach back to the slack before it.
    ///
    /// Exact is what each function says of its own batches, and that nothing was dropped or parked. What
    /// one function put and another one took needs the slack: of the records that were put up to the slack
    /// before the end, each must have been taken by the end. That more are taken than were put is no
    /// fault: records are delivered at least once, and others may put some.
    #[must_use]
    pub fn of(functions: &[FunctionSeries], mappings: &[MappingSeries], window: TimeRange) -> Self {
        let mut reconciliation = Self::default();
        for FunctionSeries { name, points } in functions {
            let counts = total(points, window.since, window.until);
            if !counts.is_balanced() {
                let (before, after) = (counts.received, counts.accounted());
                reconciliation
                    .faults
                    .push(format!("{name}: {before} in, and {after} are accounted for"));
            }
            if counts.undelivered > 0 {
                let count = counts.undelivered;
                reconciliation.notes.push(format!("{name}: {count} undelivered, which come again"));
            }
            reconciliation.functions.push(FunctionTotal { function: name.clone(), counts });
        }
        for stream in &STREAMS {
            for consumer in stream.consumers {
                reconciliation.stream(stream, consumer, functions, window);
            }
        }
        for mapping in mappings {
            reconciliation.mapping(mapping, functions, window);
        }
        reconciliation
    }

    /// Whether nothing is wrong.
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
        let due = put(since, until.checked_sub(slack).unwrap_or(since).max(since));
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
        functions: &[FunctionSeries],
        window: TimeRange,
    ) {
        let TimeRange { since, until, slack } = window;
        let MappingSeries { function, source, points } = mapping;
        let counts = total(points, since, until);
        let name = format!("{function} of {source}");
        if counts.dropped > 0 {
            self.faults
                .push(format!("{name}: {} events dropped: they are nowhere", counts.dropped));
        }
        if counts.parked > 0 {
            let parked = counts.parked;
            self.faults.push(format!(
                "{name}: {parked} events parked: `tributary redrive` brings them back"
            ));
        }
        let early = total(points, since, until.checked_sub(slack).unwrap_or(since).max(since));
        let (polled, wanted) = (early.polled, early.polled.saturating_sub(early.filtered_out));
        if counts.invoked < wanted {
            let invoked = counts.invoked;
            self.faults.push(format!(
                "{name}: {polled} events polled, and {function} invoked with {invoked}"
            ));
        }
        // A message of the queue is no record, and a record may hold several.
        let takes_records =
            STREAMS.iter().any(|stream| stream.consumers.contains(&function.as_str()));
        let series = functions.iter().find(|it| it.name == *function);
        if let (true, Some(series)) = (takes_records, series) {
            let received = total(&series.points, since, until).received;
            if received + counts.failed < early.invoked {
                let invoked = early.invoked;
                self.faults.push(format!(
                    "{name}: invoked with {invoked} events, and its books have {received}, {} failed",
                    counts.failed
                ));
            }
        }
        let (function, source) = (function.clone(), source.clone());
        self.mappings.push(MappingTotal { function, source, counts });
    }
}

/// The books of one batch, as a function logs them: its name, when, and the counts. `None` for any other
/// line of a log.
#[must_use]
pub fn parse_batch_line(line: &str) -> Option<(String, Timestamp, BatchCounts)> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "_aws")]
        aws: Aws,
        function: String,
        #[serde(flatten)]
        counts: BatchCounts,
    }
    #[derive(Deserialize)]
    struct Aws {
        #[serde(rename = "Timestamp")]
        timestamp: i64,
    }
    let Line { aws, function, counts } = serde_json::from_str(line).ok()?;
    Some((function, Timestamp::from_millisecond(aws.timestamp).ok()?, counts))
}

#[cfg(test)]
mod tests;
