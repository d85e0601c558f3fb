"""Settles the books: where each row of the input ended, from what was found and not from counts.

Pure: no AWS, no clock. Every row must have ended as exactly one of an event, a bad row in
quarantine, or a filtered record. Nothing here is derived by subtracting from the number of rows: a
row is lost when its own position, or its own record, is found nowhere.
"""

from collections import Counter
from dataclasses import dataclass, field

from .feed import offset_of

# The column that is a dataset's natural key, and the attribute of the event that keeps it: the only
# thing that a raw record and its event share, since an event does not carry the record's id.
NATURAL_KEYS = {"accidents": ("ID", "id")}
ALERTING_SEVERITY = 4

# What a bad row at ingest says when it stands for the whole object.
REFUSALS = {
    "duplicate_column", "empty_object", "gzip_ratio", "header_too_large", "missing_column", "object_changed",
    "object_missing", "unknown_dataset",
}


@dataclass
class Seen:
    """What was found so far, each thing once whatever the number of its deliveries."""

    raw: dict = field(default_factory=dict)
    bad: dict = field(default_factory=dict)
    events: dict = field(default_factory=dict)
    alerts: set = field(default_factory=set)
    raw_deliveries: int = 0
    event_deliveries: int = 0
    bad_deliveries: int = 0
    alert_messages: int = 0

    def add_raw(self, record):
        column = NATURAL_KEYS.get(record["dataset"], (None, None))[0]
        self.raw[record["record_id"]] = (offset_of(record["source"]), record["payload"].get(column))
        self.raw_deliveries += 1

    def add_bad(self, row):
        self.bad[row["record_id"]] = BadRow(
            row["code"], offset_of(row["source"]), "sequence_number" not in row)
        self.bad_deliveries += 1

    def add_event(self, event):
        if event.get("kind") != "reading":
            return
        attribute = NATURAL_KEYS.get(event["dataset"], (None, None))[1]
        self.events[event["event_id"]] = (
            event["attributes"].get(attribute), event["measures"].get("severity"))
        self.event_deliveries += 1

    def add_alert(self, alert):
        self.alerts.add((alert["rule"], alert["event"]["event_id"]))
        self.alert_messages += 1

    @property
    def refusal(self):
        """The code with which the object was refused before any row of it was read, or None."""
        at_ingest = (row.code for row in self.bad.values() if row.at_ingest)
        return next((code for code in at_ingest if code in REFUSALS and not self.raw), None)

    @property
    def severe(self):
        """Events that the first rule is about."""
        return sum(1 for _, severity in self.events.values() if (severity or 0) >= ALERTING_SEVERITY)

    def progress(self):
        """Changes whenever anything new was found."""
        return (self.raw_deliveries, self.bad_deliveries, self.event_deliveries, self.alert_messages)


@dataclass(frozen=True)
class BadRow:
    code: str
    offset: int | None
    at_ingest: bool


@dataclass
class Books:
    rows: int
    raw_records: int
    events: int
    duplicates: int
    quarantined: int
    quarantined_at_ingest: int
    filtered: int
    lost: int
    alerts: int
    severe: int
    refused: str | None
    lost_offsets: list
    lost_records: list
    problems: list


def settle(offsets, seen, filtered_in_logs):
    """The books of a run over the rows that begin at `offsets`.

    `filtered_in_logs` is what `transform` says it filtered. A filtered record leaves no trace but
    that, so records that ended nowhere are taken as filtered up to that number and as lost beyond it.
    """
    at_ingest = {key: row for key, row in seen.bad.items() if row.at_ingest}
    # An object that is refused whole is one bad row, and counts as one row.
    refused = seen.refusal
    rows = 1 if refused else len(offsets)

    found = {offset for offset, _ in seen.raw.values()} | {row.offset for row in at_ingest.values()}
    never_ingested = [] if refused else sorted(set(offsets) - found)
    strange = [] if refused else sorted(found - set(offsets) - {None})

    passed = {key: natural for key, (_, natural) in seen.raw.items() if key not in seen.bad}
    of_events = {natural for natural, _ in seen.events.values()}
    nowhere = sorted(key for key, natural in passed.items() if natural not in of_events)
    filtered = min(len(nowhere), filtered_in_logs)
    arrived = [natural for natural in passed.values() if natural in of_events]
    duplicates = len(arrived) - len(set(arrived))
    twice = _ended_twice(seen, of_events)
    unknown = of_events - {natural for _, natural in seen.raw.values()}

    books = Books(
        rows=rows,
        raw_records=len(seen.raw),
        events=len(seen.events),
        duplicates=duplicates,
        quarantined=len(seen.bad),
        quarantined_at_ingest=len(at_ingest),
        filtered=filtered,
        lost=len(never_ingested) + len(nowhere) - filtered,
        alerts=len(seen.alerts),
        severe=seen.severe,
        refused=refused,
        lost_offsets=never_ingested,
        lost_records=nowhere[filtered:],
        problems=[],
    )
    books.problems = _problems(books, strange, twice, unknown)
    return books


def _ended_twice(seen, of_events):
    """Records that are in quarantine and whose row is an event too."""
    uses = Counter(natural for _, natural in seen.raw.values())
    return [
        key
        for key, (_, natural) in seen.raw.items()
        if key in seen.bad and natural in of_events and natural is not None and uses[natural] == 1
    ]


def _problems(books, strange, twice, unknown):
    ended = books.events + books.duplicates + books.quarantined + books.filtered
    checks = [
        (books.lost == 0, f"{books.lost} of {books.rows} rows are lost"),
        (books.rows == ended, f"{books.rows} rows went in and {ended} came out"),
        (
            books.rows == books.raw_records + books.quarantined_at_ingest,
            f"{books.rows} rows, but {books.raw_records} raw records and {books.quarantined_at_ingest} bad rows at ingest",
        ),
        (not strange, f"ingest found rows at offsets where this driver finds none: {strange[:5]}"),
        (not twice, f"{len(twice)} records are in quarantine and an event too: {twice[:5]}"),
        (not unknown, f"{len(unknown)} events come from no raw record"),
        (
            books.alerts == books.severe,
            f"{books.severe} events of severity {ALERTING_SEVERITY} or more, but {books.alerts} alerts",
        ),
    ]
    return [text for holds, text in checks if not holds]


def is_complete(offsets, seen):
    """Whether each row has ended somewhere already, so that there is no need to wait for quiet.

    A filtered record ends without a trace: a run with one is over when it is quiet.
    """
    if seen.refusal:
        return True
    at_ingest = sum(1 for row in seen.bad.values() if row.at_ingest)
    of_events = {natural for natural, _ in seen.events.values()}
    return (
        len(seen.raw) + at_ingest >= len(offsets)
        and all(key in seen.bad or natural in of_events for key, (_, natural) in seen.raw.items())
        and len(seen.alerts) >= seen.severe
    )
