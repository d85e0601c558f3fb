//! Table of the batch counts and the reconciliation.

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use tributary_operate::reconciliation::{Reconciliation, TimeRange};

use super::{Arguments, From};

pub(super) fn table(
    reconciliation: &Reconciliation,
    arguments: &Arguments,
    window: TimeRange,
) -> String {
    let from = match arguments.from {
        From::Metrics => "metrics",
        From::Logs => "logs",
    };
    let TimeRange { since, until, slack } = window;
    let name = &arguments.stack;
    let mut parts = vec![format!(" The books of {name}, {since:.0} to {until:.0}, from {from}")];

    let head = ["function", "in", "out", "quarantined", "filtered", "late", "undelivered"];
    let rows = reconciliation.functions.iter().map(|it| {
        let counts = it.counts;
        let counts = [
            counts.received,
            counts.delivered,
            counts.quarantined,
            counts.filtered,
            counts.late,
            counts.undelivered,
        ];
        (vec![it.function.clone()], counts.to_vec())
    });
    parts.extend(part(&head, rows));

    let head = ["stream", "to", "put", "under way", "taken"];
    let rows = reconciliation.streams.iter().map(|it| {
        let names = vec![it.stream.to_owned(), it.consumer.to_owned()];
        (names, vec![it.put, it.under_way, it.taken])
    });
    parts.extend(part(&head, rows));

    let head = ["mapping of", "to", "polled", "filtered", "invoked", "failed", "dropped", "parked"];
    let rows = reconciliation.mappings.iter().map(|it| {
        let (names, counts) = (vec![it.source.clone(), it.function.clone()], it.counts);
        let [polled, filtered] = [counts.polled, counts.filtered_out];
        let [invoked, failed] = [counts.invoked, counts.failed];
        (names, vec![polled, filtered, invoked, failed, counts.dropped, counts.parked])
    });
    parts.extend(part(&head, rows));

    if !reconciliation.notes.is_empty() {
        parts.push(format!(" note: {}", reconciliation.notes.join("\n note: ")));
    }
    let slack = slack.as_secs();
    parts.push(if reconciliation.is_balanced() {
        format!(" The books balance; what is put in the last {slack} s may be under way.")
    } else {
        format!(" THE BOOKS DO NOT BALANCE:\n   {}", reconciliation.faults.join("\n   "))
    });
    let parts: Vec<_> = parts.iter().map(|part| part.trim_end()).collect();
    parts.join("\n\n")
}

/// Returns a table with names aligned left and counts aligned right, or `None` without rows.
fn part(head: &[&str], rows: impl Iterator<Item = (Vec<String>, Vec<u64>)>) -> Option<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.to_vec());
    let mut names = 0;
    for (texts, counts) in rows {
        names = texts.len();
        let counts = counts.iter().map(|count| HumanCount(*count).to_string());
        table.add_row(texts.into_iter().chain(counts));
    }
    if table.is_empty() {
        return None;
    }
    for column in names..head.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Some(table.trim_fmt())
}
