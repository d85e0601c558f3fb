//! Report of what was assumed, what to check, and what to run next.

use serde::Serialize;
use tributary_datasets::infer::Assumption;

use crate::table::plain;

/// Result of `tributary init`.
#[derive(Serialize)]
pub(super) struct Report<'r> {
    pub dataset: &'r str,
    /// Schema file.
    pub file: &'r str,
    /// Rows of the sample, and what became of them.
    pub rows: usize,
    pub events: usize,
    pub bad_rows: usize,
    /// Files that were written.
    pub written: &'r [String],
    /// Files that existed and were left as they are.
    pub kept: &'r [String],
    pub assumptions: &'r [Assumption],
    pub checks: &'r [String],
    /// Commands to run next.
    pub commands: &'r [String],
}

impl Report<'_> {
    /// Returns the report as text.
    pub(super) fn table(&self) -> String {
        let Self { file, rows, events, bad_rows, .. } = self;
        let mut printed = vec![format!(
            " {file}: {rows} rows of the sample, {events} events, {bad_rows} bad rows"
        )];
        let mut table = plain();
        for Assumption { column, field, why } in self.assumptions {
            let column = if column.is_empty() { "-" } else { column };
            table.add_row([column, "→", field, why]);
        }
        printed.push(format!("\n assumed\n{}", table.trim_fmt()));
        for (title, lines) in [
            ("check", self.checks),
            ("written", self.written),
            ("left as it was", self.kept),
            ("next", self.commands),
        ] {
            if !lines.is_empty() {
                printed.push(format!("\n {title}"));
                printed.extend(lines.iter().map(|line| format!("   {line}")));
            }
        }
        printed.join("\n")
    }
}
