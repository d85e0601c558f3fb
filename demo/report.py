"""What a run came to: collected, shown on a screen, written to report.json."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

from . import books, place, probe

TOP = 5
SEVERITY_SQL = """\
SELECT try(measures['severity']) AS severity, count(DISTINCT event_id) AS events
FROM events GROUP BY 1 ORDER BY 1"""
ROWS_SQL = "SELECT count(DISTINCT event_id) AS events, count(*) AS rows_stored FROM events"


@dataclass
class Report:
    """Everything that was measured. The first fields are the books; see `books.Books`."""

    rows: int
    raw_records: int
    events: int
    quarantined: int
    quarantined_at_ingest: int
    filtered: int
    duplicates: int
    lost: int
    alerts: int
    metrics: int
    raw_objects: int
    analytics_rows: int
    file: str
    severe: int
    refused: str | None
    bad_rows_by_code: dict
    events_by_severity: dict
    metric_sums: dict
    top_metrics: dict
    layers: dict
    deliveries: dict
    functions: dict
    failures: dict
    seconds: dict = field(default_factory=dict)
    kills: dict = field(default_factory=dict)
    alarm: dict = field(default_factory=dict)
    lost_offsets: list = field(default_factory=list)
    lost_records: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    balanced: bool = False


def collect(stack, watcher, given):
    """Asks Athena, CloudWatch, the logs and the layers, and settles the books."""
    seen = watcher.seen
    functions = {
        name: probe.add_batches(probe.batch_lines(stack, key)) for key, name in place.FUNCTIONS.items()}
    settled = books.settle(given.offsets, seen, functions["transform"]["filtered"])
    analytics_rows, stored, by_severity = ask_athena(stack, watcher.analytics)
    series = probe.metrics(stack)
    sums = metric_sums(series)
    parked = probe.Layer(stack, "RawBucketName", "aws/lambda/", parse=False)
    failed = {
        "raw errors": probe.Layer(stack, "RawBucketName", "errors/", parse=False),
        "analytics errors": probe.Layer(stack, "AnalyticsBucketName", "errors/", parse=False),
        "parked batches": parked,
    }
    for layer in failed.values():
        layer.new_documents()
    layers = {"raw": watcher.raw, "quarantine": watcher.quarantine, "analytics": watcher.analytics, **failed}
    report = Report(
        rows=settled.rows,
        raw_records=settled.raw_records,
        events=settled.events,
        quarantined=settled.quarantined,
        quarantined_at_ingest=settled.quarantined_at_ingest,
        filtered=settled.filtered,
        duplicates=settled.duplicates,
        lost=settled.lost,
        alerts=settled.alerts,
        metrics=len(series),
        raw_objects=watcher.raw.objects,
        analytics_rows=analytics_rows,
        file=given.name,
        severe=settled.severe,
        refused=settled.refused,
        bad_rows_by_code=dict(Counter(row.code for row in seen.bad.values()).most_common()),
        events_by_severity=by_severity,
        metric_sums=sums,
        top_metrics=top_metrics(series),
        layers={name: {"objects": layer.objects, "bytes": layer.bytes} for name, layer in layers.items()},
        deliveries={
            "raw": seen.raw_deliveries, "events": seen.event_deliveries, "quarantine": seen.bad_deliveries,
            "analytics": stored, "alerts": seen.alert_messages,
        },
        functions=functions,
        failures=probe.failures(stack.log.read_text(errors="replace")),
        lost_offsets=settled.lost_offsets[:20],
        lost_records=settled.lost_records[:20],
        problems=list(settled.problems),
    )
    _check_the_ends(report, failed, probe.queue_depth(stack, "IngestDeadLetterQueueUrl"))
    report.balanced = not report.problems
    return report


def ask_athena(stack, layer):
    """Distinct events, rows stored, and events per severity; zeros for a layer that holds no object."""
    if not layer.objects:
        return 0, 0, {}
    distinct, stored = (int(cell) for cell in probe.athena(stack, ROWS_SQL)[0])
    return distinct, stored, {_whole(value): int(count) for value, count in probe.athena(stack, SEVERITY_SQL)}


def _check_the_ends(report, failed, dead_letters):
    """What the layers, CloudWatch and the queues must show once the books themselves balance."""
    if report.analytics_rows != report.events:
        report.problems.append(f"{report.events} events, but Athena counts {report.analytics_rows}")
    counted, delivered = severity_count(report.metric_sums), report.events + report.duplicates
    if counted < delivered:
        report.problems.append(f"{delivered} events, but the metrics count {counted}")
    elif counted > delivered:
        # A batch that is delivered again is counted again: metrics are sums, they have no ids.
        report.notes.append(f"the metrics count {counted} accidents for {delivered} events: a batch was delivered again")
    for name, layer in failed.items():
        if layer.objects:
            report.problems.append(f"{layer.objects} objects of {name} below {layer.prefix} in {layer.bucket}")
    if dead_letters:
        report.problems.append(f"{dead_letters} messages in the dead-letter queue of ingest")


def _whole(text):
    try:
        return f"{float(text):g}"
    except (TypeError, ValueError):
        return str(text)


def _set_name(dimensions):
    return ",".join(sorted(dimensions))


def metric_sums(series):
    """Sum of each metric by the set of its dimensions: the same events, cut in several ways."""
    sums = {}
    for one in series:
        key = f"{one.name} by {_set_name(one.dimensions)}"
        sums[key] = round(sums.get(key, 0.0) + one.total, 3)
    return dict(sorted(sums.items()))


def severity_count(sums):
    """How many accidents the metric that is cut by severity holds."""
    counted = [total for key, total in sums.items() if key.startswith("accidents by ") and "severity" in key]
    return round(max(counted, default=0))


def top_metrics(series, top=TOP):
    """The largest series of each metric and set of dimensions."""
    groups = {}
    for one in series:
        groups.setdefault(f"{one.name} by {_set_name(one.dimensions)}", []).append(one)
    return {
        key: [
            {
                "dimensions": one.dimensions, "sum": round(one.total, 3), "samples": round(one.count),
                "mean": round(one.total / one.count, 2) if one.count else None,
            }
            for one in sorted(group, key=lambda one: (-one.count, sorted(one.dimensions.items())))[:top]
        ]
        for key, group in sorted(groups.items())
    }


def write(report, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(report), indent=2) + "\n")


# Showing


def show(report, alerts_shown, out=print):
    """The books and what came out at the other end, in a form that fits a screen."""
    for part in (_books, _severities, _metrics, _layers, _functions):
        part(report, out)
    _alerts(report, alerts_shown, out)


def _title(text, out):
    out(f"\n{text}")


def _books(report, out):
    _title("The books", out)
    if report.refused:
        out(f"  the object was refused whole: {report.refused}; it counts as one row")
    out(f"  {'rows in ' + report.file:<34}{report.rows:>8}")
    out(f"  {'raw records':<34}{report.raw_records:>8}   + {report.quarantined_at_ingest} quarantined at ingest")
    out(f"  {'events':<34}{report.events:>8}")
    out(f"  {'quarantined':<34}{report.quarantined:>8}")
    for code, count in report.bad_rows_by_code.items():
        out(f"    {code:<32}{count:>8}")
    out(f"  {'filtered':<34}{report.filtered:>8}")
    if report.duplicates:
        out(f"  {'rows with the key of another row':<34}{report.duplicates:>8}")
    out(f"  {'lost':<34}{report.lost:>8}")


def _severities(report, out):
    _title("Rows per severity, from Athena", out)
    for severity, count in report.events_by_severity.items():
        out(f"  {'severity ' + severity:<34}{count:>8}")
    out(f"  {'distinct events in the lake':<34}{report.analytics_rows:>8}")


def _metrics(report, out):
    _title(f"Metrics, read back from CloudWatch ({report.metrics} series)", out)
    for key, top in report.top_metrics.items():
        out(f"  {key}")
        for one in top[:3]:
            label = ", ".join(f"{value}" for _, value in sorted(one["dimensions"].items()))
            value = f"{one['sum']:g}" if key.startswith("accidents") else f"mean {one['mean']:g}"
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
    for alert in shown:
        out(f"  {alert['rule']}: {alert['title']}")
    if report.alerts > len(shown):
        out(f"  and {report.alerts - len(shown)} more")


def _size(count):
    for unit in ("B", "KB", "MB"):
        if count < 10_000:
            return f"{count} {unit}"
        count = round(count / 1000)
    return f"{count} GB"


def show_end(report, out=print):
    """The last lines: kills, the alarm, and whether everything balances."""
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
    if report.duplicates:
        parts.append((report.duplicates, "duplicates"))
    return " + ".join(f"{count} {name}" for count, name in parts)
