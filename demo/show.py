"""Prints a report: short, aligned, the same for every feed."""

from . import books, probe

# Columns of the reconciliation, by the fields of `books.Line`.
COLUMNS = {
    "rows": "rows", "raw_records": "raw", "events": "events", "duplicates": "duplicates", "quarantined": "quarantined",
    "rejected": "rejected", "filtered": "filtered", "lost": "lost",
}
SHOWN_VALUES = 6


def show(report, alerts_shown, out=print):
    """Prints the reconciliation and the output of a run, in a form that fits a screen."""
    for part in (_books, _athena, _windows, _metrics, _layers, _functions):
        part(report, out)
    _alerts(report, alerts_shown, out)


def _title(text, out):
    out(f"\n{text}")


def _books(report, out):
    _title("The books", out)
    for place, code in report.refused.items():
        out(f"  {place} was refused whole: {code}; it counts as one row")
    if len(report.feeds) > 1:
        _table(report, out)
    else:
        _list(report, out)


def _table(report, out):
    out("  " + "feed".ljust(10) + "".join(f"{title:>{max(7, len(title) + 2)}}" for title in COLUMNS.values()))
    total = {name: getattr(report, name) for name in books.COUNTS}
    for line in [*report.feeds, {**total, "feed": "total"}]:
        counts = "".join(f"{line[name]:>{max(7, len(title) + 2)}}" for name, title in COLUMNS.items())
        out(f"  {line['feed']:<10}{counts}")
    _codes(report, out)
    _faults(report, out)


def _list(report, out):
    out(f"  {'rows in ' + report.input:<34}{report.rows:>8}")
    if report.rejected:
        out(f"  {'rejected, and the sender told':<34}{report.rejected:>8}")
    out(f"  {'raw records':<34}{report.raw_records:>8}   + {report.quarantined_at_ingest} quarantined at ingest")
    out(f"  {'events':<34}{report.events:>8}")
    _faults(report, out)
    if report.duplicates:
        out(f"  {'rows with the key of another row':<34}{report.duplicates:>8}")
    out(f"  {'quarantined':<34}{report.quarantined:>8}")
    _codes(report, out)
    out(f"  {'filtered':<34}{report.filtered:>8}")
    out(f"  {'lost':<34}{report.lost:>8}")


def _faults(report, out):
    if report.with_faults:
        out(f"    {'of which with faults':<32}{report.with_faults:>8}")
    for fault, count in report.faults.items():
        out(f"      {fault:<36}{count:>2}")


def _codes(report, out):
    for code, count in report.bad_rows_by_code.items():
        out(f"    {code:<32}{count:>8}")


def _athena(report, out):
    _title("Distinct events in the lake, from Athena", out)
    for dataset, found in report.datasets.items():
        out(f"  {dataset:<34}{found['events']:>8}")
        if len(report.datasets) == 1:
            _values(found, out)


def _values(found, out):
    """Returns the distribution of a dataset's events: all values in order if they are few, else the most frequent."""
    values = list(found.get("values", {}).items())
    if len(values) > SHOWN_VALUES:
        values = sorted(values, key=lambda value: -value[1])
    for value, count in values[:SHOWN_VALUES]:
        out(f"    {found['by'] + ' ' + value:<32}{count:>8}")
    if len(values) > SHOWN_VALUES:
        out(f"    and {len(values) - SHOWN_VALUES} more")


def _windows(report, out):
    if not report.windows:
        return
    _title("Windows, read back from the table", out)
    for spec, line in report.windows.items():
        out(
            f"  {spec:<16}{line['windows']:>6} windows of {line['groups']} groups, {line['closed']} closed,"
            f" {line['revised']} revised, {line['readings']} readings")
    if report.late:
        out(f"  {'readings too late, in quarantine':<34}{report.late:>8}")
    for one in report.newest_windows:
        values = "".join(f"   {start[11:16]} {value:g}" for start, value in one["values"])
        out(f"    {one['spec']} {one['group']} {one['measure']}, newest first{values}")


def _metrics(report, out):
    _title(f"Metrics, read back from CloudWatch ({report.metrics} series)", out)
    for key, top in report.top_metrics.items():
        if len(report.feeds) > 1:
            out(f"  {key:<34}{report.metric_sums[key]:>10g}")
            continue
        out(f"  {key}")
        for one in top[:3]:
            label = ", ".join(f"{value}" for _, value in sorted(one["dimensions"].items()))
            value = f"{one['sum']:g}" if one["sum"] == one["samples"] else f"mean {one['mean']:g}"
            out(f"    {label:<32}{value:>8}")


def _layers(report, out):
    _title("Objects per layer", out)
    for name, layer in report.layers.items():
        if layer["objects"] or name in ("raw", "quarantine", "analytics"):
            out(f"  {name:<34}{layer['objects']:>8}{_size(layer['bytes']):>12}")


def _functions(report, out):
    _title("Batches, by the functions' own logs", out)
    for name, counts in report.functions.items():
        said = "   ".join(f"{key} {counts[key]}" for key in probe.BATCH_COUNTS if counts[key] or key in ("in", "out"))
        out(f"  {name:<12}{counts['batches']:>4} batches   {said}")


def _alerts(report, shown, out):
    _title(f"Alerts, received through a queue on the alerts topic: {report.alerts}", out)
    for rule, count in report.alerts_by_rule.items():
        out(f"  {rule:<34}{count:>8}")
    for alert in shown:
        out(f"    {alert['rule']}: {alert['title']}")
    if report.alerts > len(shown):
        out(f"    and {report.alerts - len(shown)} more")


def _size(count):
    for unit in ("B", "KB", "MB"):
        if count < 10_000:
            return f"{count} {unit}"
        count = round(count / 1000)
    return f"{count} GB"


def show_end(report, out=print):
    """Prints the last lines: kills, the alarm, and whether everything balances."""
    if report.kills:
        killed = ", ".join(f"{name} {count}" for name, count in report.kills["by_function"].items())
        out(f"\nKilled in the run: {killed}; {report.kills['in_mid_run']} of them while a batch was being worked on")
    if report.alarm:
        out(f"\nThe alarm: {report.alarm['said']}")
    if not report.kills:
        for name, failure in report.failures.items():
            out(f"note: {name} failed {failure['count']} times, the last time with: {failure['last'][:300]}")
    for note in report.notes:
        out(f"note: {note}")
    for problem in report.problems:
        out(f"does not balance: {problem}")
    if report.balanced:
        out(f"\nThe books balance: {report.rows} rows = {_sum_of(report)}, nothing lost.")


def _sum_of(report):
    parts = [(report.events, "events"), (report.quarantined, "quarantined"), (report.filtered, "filtered")]
    parts += [(count, name) for count, name in ((report.duplicates, "duplicates"), (report.rejected, "rejected")) if count]
    return " + ".join(f"{count} {name}" for count, name in parts)
