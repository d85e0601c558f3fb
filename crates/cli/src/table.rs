//! Tables without borders.

use std::ops::Range;

use comfy_table::{CellAlignment, Row, Table, presets};
use indicatif::HumanCount;

/// Creates a table without a header.
pub(crate) fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// Creates a table whose columns `right` are aligned right.
pub(crate) fn table(header: impl Into<Row>, right: Range<usize>) -> Table {
    let mut table = plain();
    table.set_header(header);
    align_right(&mut table, right);
    table
}

/// Creates a table of names and counts.
pub(crate) fn counts<N: Into<String>>(rows: impl IntoIterator<Item = (N, u64)>) -> Table {
    let mut table = plain();
    table.add_rows(rows.into_iter().map(|(name, count)| [name.into(), shown(count)]));
    align_right(&mut table, 1..2);
    table
}

fn align_right(table: &mut Table, columns: Range<usize>) {
    for column in table.column_iter_mut().skip(columns.start).take(columns.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Formats a count for people: `1,234`.
pub(crate) fn shown(count: u64) -> String {
    HumanCount(count).to_string()
}
