"""Result of a run: collected and written to report.json; `show` prints it."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

from . import books, configuration, datasets, place, probe

TOP = 5
DATASETS_SQL = """\
SELECT dataset, count(DISTINCT event_id) AS events, count(*) AS rows_stored
FROM events WHERE kind = 'reading' GROUP BY 1 ORDER BY 1"""
BREAKDOWN_SQL = """\
SELECT try({column}) AS value, count(DISTINCT event_id) AS events
FROM events WHERE kind = 'reading' AND dataset = '{dataset}' GROUP BY 1 ORDER BY 1"""


@dataclass
class Report:
    """All measurements. The first fields are those of the reconciliation; see `books.Line` and `books.Books`."""

    rows: int
    raw_records: int
    events: int
    quarantined: int
    quarantined_at_ingest: int
    rejected: int
    filtered: int
    duplicates: int
    lost: int
    alerts: int
    metrics: int
    raw_objects: int
    analytics_rows: int
    input: str
    feeds: list
    datasets: dict
    alerts_expected: int
    refused: dict
    bad_rows_by_code: dict
    with_faults: int
    faults: dict
    metric_sums: dict
    top_metrics: dict
    layers: dict
    deliveries: dict
    functions: dict
    failures: dict
    seconds: dict = field(default_factory=dict)
    alerts_by_rule: dict = field(default_factory=dict)
    windows: dict = field(default_factory=dict)
    newest_windows: list = field(default_factory=list)
    late: int = 0
    kills: dict = field(default_factory=dict)
    alarm: dict = field(default_factory=dict)
    lost_rows: list = field(default_factory=list)
    lost_records: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    balanced: bool = False

    def add_windows(self, by_spec, newest, late, wrong):
        """Adds the windows of the table, and the problems with them."""
        self.windows, self.newest_windows, self.late = by_spec, newest, late
        self.problems += books.some("windows are not what their readings come to", wrong)
        self.balanced = not self.problems


def collect(stack, watcher, feeds, expected_alerts, config=configuration.SHIPPED):
    """Queries Athena, CloudWatch, the logs and the layers, and reconciles the run."""
    seen = watcher.seen
    functions = {
        name: probe.add_batches(probe.batch_lines(stack, key)) for key, name in place.FUNCTIONS.items()}
    settled = books.settle(feeds, seen, functions["transform"]["filtered"], expected_alerts.due)
    by_dataset, stored = ask_athena(stack, watcher.analytics)
    series = probe.metrics(stack)
    parked = probe.Layer(stack, "RawBucketName", "aws/lambda/", parse=False)
    failed = {
        "raw errors": probe.Layer(stack, "RawBucketName", "errors/", parse=False),
        "analytics errors": probe.Layer(stack, "AnalyticsBucketName", "errors/", parse=False),
        "parked batches": parked,
    }
    for layer in failed.values():
        layer.new_documents()
    layers = {"raw": watcher.raw, "quarantine": watcher.quarantine, "analytics": watcher.analytics, **failed}
    codes = Counter(row.code for row in seen.bad.values())
    codes.update(code for one in feeds for code in one.rejected_codes.values())
    report = Report(
        **{name: getattr(settled.total, name) for name in books.COUNTS},
        alerts=settled.alerts,
        metrics=len(series),
        raw_objects=watcher.raw.objects,
        analytics_rows=sum(one["events"] for one in by_dataset.values()),
        input=", ".join(one.what for one in feeds) if len(feeds) == 1 else f"{len(feeds)} feeds",
        feeds=[asdict(line) for line in settled.lines],
        datasets=by_dataset,
        alerts_expected=settled.alerts_expected,
        refused=settled.refused,
        with_faults=sum(1 for event in seen.events.values() if event.get("faults")),
        faults=_faults(seen.events.values()),
        bad_rows_by_code=dict(sorted(codes.items(), key=lambda code: (-code[1], code[0]))),
        metric_sums=metric_sums(series),
        top_metrics=top_metrics(series),
        layers={name: {"objects": layer.objects, "bytes": layer.bytes} for name, layer in layers.items()},
        deliveries={
            "raw": seen.raw_deliveries, "events": seen.event_deliveries, "quarantine": seen.bad_deliveries,
            "analytics": stored, "alerts": seen.alert_messages,
        },
        functions=functions,
        failures=probe.failures(stack.log.read_text(errors="replace")),
        lost_rows=settled.lost_rows[:20],
        lost_records=settled.lost_records[:20],
        notes=[note for one in feeds for note in one.notes] + expected_alerts.notes,
        problems=list(settled.problems),
        alerts_by_rule=dict(sorted(Counter(rule for rule, _ in seen.alerts).items())),
    )
    _check_the_ends(report, config, failed, probe.queue_depth(stack, "IngestDeadLetterQueueUrl"))
    report.balanced = not report.problems
    return report


def _faults(events):
    """Counts the faults of events, by dataset, field and code."""
    counts = Counter(f"{event['dataset']} {fault}" for event in events for fault in event.get("faults", []))
    return dict(sorted(counts.items(), key=lambda fault: (-fault[1], fault[0])))


def ask_athena(stack, layer):
    """Returns the distinct events of each dataset and of each value it is counted by, and the rows stored."""
    if not layer.objects:
        return {}, 0
    by_dataset, stored = {}, 0
    for name, events, rows_stored in probe.athena(stack, DATASETS_SQL):
        stored += int(rows_stored)
        by_dataset[name] = {"events": int(events)}
        if name in datasets.DATASETS:
            cut, column = datasets.DATASETS[name].breakdown
            values = probe.athena(stack, BREAKDOWN_SQL.format(column=column, dataset=name))
            by_dataset[name] |= {"by": cut, "values": {_whole(value): int(count) for value, count in values}}
    return by_dataset, stored


def _check_the_ends(report, config, failed, dead_letters):
    """Checks the layers, CloudWatch and the queues once the rows themselves are reconciled."""
    events, delivered = Counter(), Counter()
    for line in report.feeds:
        events[line["dataset"]] += line["events"]
        delivered[line["dataset"]] += line["events"] + line["duplicates"]
    for dataset in sorted({*events, *report.datasets}):
        in_athena = report.datasets.get(dataset, {}).get("events", 0)
        if in_athena != events[dataset]:
            report.problems.append(f"{events[dataset]} events of {dataset}, but Athena counts {in_athena}")
    for dataset, name, cut in count_metrics(config):
        counted = round(report.metric_sums.get(_metric_key(name, cut), 0))
        if counted < delivered[dataset]:
            report.problems.append(
                f"{delivered[dataset]} events of {dataset}, but the metric {_metric_key(name, cut)} counts {counted}")
        elif counted > delivered[dataset]:
            # Redelivered events are counted again: metrics are sums and have no ids.
            report.notes.append(
                f"{_metric_key(name, cut)} counts {counted} for {delivered[dataset]} events: some were delivered again")
    for name, layer in failed.items():
        if layer.objects:
            report.problems.append(f"{layer.objects} objects of {name} below {layer.prefix} in {layer.bucket}")
    if dead_letters:
        report.problems.append(f"{dead_letters} messages in the dead-letter queue of ingest")


def count_metrics(config=configuration.SHIPPED):
    """Returns the metrics that count events, each as (dataset, name, dimensions)."""
    specs = config.entries("metrics")
    return [(spec["dataset"], spec["name"], spec["dimensions"]) for spec in specs if "measure" not in spec]


def _whole(text):
    """Formats a value for a person: whole numbers without a point, and `none` for an absent value."""
    try:
        return f"{float(text):g}"
    except TypeError:
        return "none"
    except ValueError:
        return text


def _metric_key(name, dimensions):
    return f"{name} by {','.join(sorted(dimensions))}"


def metric_sums(series):
    """Returns the sum of each metric by its set of dimensions: the same events, counted in several ways."""
    sums = {}
    for one in series:
        key = _metric_key(one.name, one.dimensions)
        sums[key] = round(sums.get(key, 0.0) + one.total, 3)
    return dict(sorted(sums.items()))


def top_metrics(series, top=TOP):
    """Returns the largest series of each metric and set of dimensions."""
    groups = {}
    for one in series:
        groups.setdefault(_metric_key(one.name, one.dimensions), []).append(one)
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
