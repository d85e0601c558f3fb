//! The books as a person sees them.

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use tributary_operate::balance::{Balance, Window};

use super::{Arguments, From};

pub(super) fn table(balance: &Balance, arguments: &Arguments, window: Window) -> String {
    let from = match arguments.from {
        From::Metrics => "metrics",
        From::Logs => "logs",
    };
    let Window { since, until, slack } = window;
    let name = &arguments.stack;
    let mut parts = vec![format!(" The books of {name}, {since:.0} to {until:.0}, from {from}")];

    let head = ["function", "in", "out", "quarantined", "filtered", "late", "undelivered"];
    let rows = balance.functions.iter().map(|it| {
        let books = it.books;
        let counts = [
            books.received,
            books.delivered,
            books.quarantined,
            books.filtered,
            books.late,
            books.undelivered,
        ];
        (vec![it.function.clone()], counts.to_vec())
    });
    parts.extend(part(&head, rows));

    let head = ["stream", "to", "put", "under way", "taken"];
    let rows = balance.streams.iter().map(|it| {
        let names = vec![it.stream.to_owned(), it.consumer.to_owned()];
        (names, vec![it.put, it.under_way, it.taken])
    });
    parts.extend(part(&head, rows));

    let head = ["mapping of", "to", "polled", "filtered", "invoked", "failed", "dropped", "parked"];
    let rows = balance.mappings.iter().map(|it| {
        let (names, counts) = (vec![it.source.clone(), it.function.clone()], it.counts);
        let [polled, filtered] = [counts.polled, counts.filtered_out];
        let [invoked, failed] = [counts.invoked, counts.failed];
        (names, vec![polled, filtered, invoked, failed, counts.dropped, counts.parked])
    });
    parts.extend(part(&head, rows));

    if !balance.notes.is_empty() {
        parts.push(format!(" note: {}", balance.notes.join("\n note: ")));
    }
    let slack = slack.as_secs();
    parts.push(if balance.is_even() {
        format!(" The books balance; what is put in the last {slack} s may be under way.")
    } else {
        format!(" THE BOOKS DO NOT BALANCE:\n   {}", balance.faults.join("\n   "))
    });
    let parts: Vec<_> = parts.iter().map(|part| part.trim_end()).collect();
    parts.join("\n\n")
}

/// Names to the left, counts to the right; nothing where there are no rows.
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
