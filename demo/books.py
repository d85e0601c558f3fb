"""Reconciles a run: finds the result of each input row from what the stack stored, not from its counts.

Pure: no AWS, no clock. Every row must end as exactly one of an event, a row with the natural key of another, a bad row
in quarantine, a filtered record, or an item that was rejected in the answer to its sender. Nothing is derived by
subtracting from the number of rows: a row is lost when its own position, or its own record, is found nowhere.

The identity of a row is a pair: the source (an object, a request, a topic) and the position in it (an offset, a number,
the content). A feed knows the identities of its rows, and reads the identity of a stored record from its `source`.
"""

from collections import Counter
from dataclasses import dataclass, field, fields

from . import datasets

# Codes of a bad row at ingest that stands for the whole object.
REFUSALS = {
    "duplicate_column", "empty_object", "gzip_ratio", "header_too_large", "missing_column", "object_changed",
    "object_missing", "unknown_dataset",
}
SHOWN = 5


@dataclass(frozen=True)
class RawRecord:
    dataset: str
    source: str
    payload: object
    natural: tuple | None


@dataclass(frozen=True)
class BadRow:
    code: str
    source: str
    at_ingest: bool
    payload_base64: str | None = None


@dataclass
class Seen:
    """Everything found so far, each item once however often it was delivered."""

    raw: dict = field(default_factory=dict)
    bad: dict = field(default_factory=dict)
    events: dict = field(default_factory=dict)
    alerts: dict = field(default_factory=dict)
    late: list = field(default_factory=list)
    windows: set = field(default_factory=set)
    raw_deliveries: int = 0
    event_deliveries: int = 0
    bad_deliveries: int = 0
    alert_messages: int = 0

    def add_raw(self, record):
        natural = datasets.row_key(record["dataset"], record["payload"])
        self.raw[record["record_id"]] = RawRecord(record["dataset"], record["source"], record["payload"], natural)
        self.raw_deliveries += 1

    def add_bad(self, row):
        if row["code"] == "late":
            # A late reading is an event; it only missed a window.
            self.late.append(row)
            return
        self.bad[row["record_id"]] = BadRow(
            row["code"], row["source"], "sequence_number" not in row, row.get("payload_base64"))
        self.bad_deliveries += 1

    def add_event(self, event):
        if event.get("kind") != "reading":
            self.windows.add(event["event_id"])
            return
        self.events[event["event_id"]] = event
        self.event_deliveries += 1

    def add_alert(self, message):
        """Adds the alert of a message, or all alerts of a digest."""
        named = [(key["key"], alert_id) for key in message.get("keys", []) for alert_id in key["alert_ids"]]
        for key, alert_id in named:
            self.alerts[message["rule"], alert_id] = {"rule": message["rule"], "title": f"{key}, in a digest"}
        if not named:
            self.alerts[message["rule"], message["alert_id"]] = message
        self.alert_messages += 1

    def progress(self):
        """Returns a value that changes whenever something new was found."""
        return (self.raw_deliveries, self.bad_deliveries, self.event_deliveries, self.alert_messages)


@dataclass
class Line:
    """Reconciliation of one feed."""

    feed: str
    dataset: str
    rows: int = 0
    raw_records: int = 0
    events: int = 0
    duplicates: int = 0
    quarantined: int = 0
    quarantined_at_ingest: int = 0
    rejected: int = 0
    filtered: int = 0
    lost: int = 0

    @property
    def ended(self):
        return self.events + self.duplicates + self.quarantined + self.rejected + self.filtered


COUNTS = tuple(one.name for one in fields(Line) if one.type is int)


@dataclass
class Books:
    lines: list
    total: Line
    alerts: int
    alerts_expected: int
    refused: dict
    lost_rows: list
    lost_records: list
    problems: list

    @property
    def complete(self):
        """True once each row and each alert has been found: no need to wait for quiet."""
        return self.total.lost == 0 and self.alerts >= self.alerts_expected


def settle(feeds, seen, filtered_in_logs, alerts_due):
    """Reconciles a run over the input of `feeds`.

    `filtered_in_logs` is the number of records that `transform` logged as filtered. A filtered record leaves no other
    trace, so up to that number of records without a result count as filtered, and the others as lost.
    `alerts_due` has the number of alerts by rule; alerts of other rules are counted as they arrived.
    """
    event_of, problems = _events_by_key(seen)
    owned, strangers = _by_feed(feeds, seen)
    problems += some("records or bad rows are of no feed of this run", strangers)
    lines, refused, lost_rows, lost_records, claimed = [], {}, [], [], set()
    for feed in feeds:
        found = owned[feed.name]
        own = feed.settle(found, seen)
        if own:
            line, ids, about = own
            refused |= found.refused
            claimed |= ids
            problems += about + _line_problems(line) + _wrong_codes(feed, found)
            lines.append(line)
            continue
        line = Line(feed.name, feed.dataset, rejected=sum(feed.rejected.values()))
        refused |= found.refused
        expected = found.expected_of(feed)
        line.rows = sum(expected.values())
        line.raw_records, line.quarantined_at_ingest = len(found.raw), len(found.at_ingest)

        present = found.identities + feed.rejected
        missing, strange = list((expected - present).elements()), list((present - expected).elements())
        problems += some(f"rows were found that {feed.name} did not put in", strange)

        passed = {key: seen.raw[key] for key in found.raw if key not in seen.bad}
        arrived = [event_of[record.natural] for record in passed.values() if record.natural in event_of]
        nowhere = sorted(key for key, record in passed.items() if record.natural not in event_of)
        line.events = len(set(arrived) - claimed)
        line.duplicates = len(arrived) - line.events
        claimed |= set(arrived)
        line.quarantined = sum(1 for key in found.raw if key in seen.bad) + len(found.at_ingest)
        line.filtered = min(len(nowhere), filtered_in_logs)
        filtered_in_logs -= line.filtered
        line.lost = len(missing) + len(nowhere) - line.filtered
        lost_rows += missing
        lost_records += nowhere[line.filtered:]
        problems += _line_problems(line) + _wrong_codes(feed, found) + feed.contradictions(found.raw)
        lines.append(line)
    problems += some("events come from no raw record", sorted(set(seen.events) - claimed))
    problems += some("records are in quarantine and an event too", _ended_twice(seen, event_of))
    total = Line("total", "", **{name: sum(getattr(line, name) for line in lines) for name in COUNTS})
    alerts, expected_alerts, about_alerts = _alerts(seen, alerts_due)
    return Books(
        lines, total, alerts, expected_alerts, refused, lost_rows, lost_records, problems + about_alerts)


def some(text, found):
    return [f"{len(found)} {text}: {', '.join(str(one) for one in found[:SHOWN])}"] if found else []


def _events_by_key(seen):
    """Returns the event of each natural key, and a problem if a key has two events."""
    found, twice = {}, []
    for event_id, event in seen.events.items():
        for key in datasets.event_keys(event):
            if found.setdefault(key, event_id) != event_id:
                twice.append(key)
    return found, some("natural keys have two events", twice)


@dataclass
class Found:
    """Records and bad rows found of one feed: record ids, each with the identity of its row."""

    raw: dict = field(default_factory=dict)
    at_ingest: dict = field(default_factory=dict)
    codes: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)

    @property
    def identities(self):
        return Counter([*self.raw.values(), *self.at_ingest.values()])

    def expected_of(self, feed):
        """Returns the rows that must be found. An object rejected as a whole is one bad row and counts as one row."""
        if not self.refused:
            return feed.rows
        kept = Counter({row: count for row, count in feed.rows.items() if row[0] not in self.refused})
        return kept + Counter(row for row in self.at_ingest.values() if row[0] in self.refused)


def _by_feed(feeds, seen):
    """Groups what was found by feed, and returns the ids that belong to no feed."""
    owned, strangers = {feed.name: Found() for feed in feeds}, []

    def owner(document):
        for feed in feeds:
            identity = feed.identify(document)
            if identity is not None:
                return owned[feed.name], identity
        return None, None

    for record_id, record in seen.raw.items():
        found, identity = owner(record)
        if found is None:
            strangers.append(record_id)
            continue
        found.raw[record_id] = identity
        if record_id in seen.bad:
            found.codes[identity] = seen.bad[record_id].code
    for record_id, row in seen.bad.items():
        if row.at_ingest:
            found, identity = owner(row)
            if found is None:
                strangers.append(record_id)
                continue
            found.at_ingest[record_id] = identity
            found.codes[identity] = row.code
        elif record_id not in seen.raw:
            strangers.append(record_id)
    for found in owned.values():
        places = {place for place, _ in found.raw.values()}
        found.refused = {
            identity[0]: found.codes[identity] for identity in found.at_ingest.values()
            if found.codes[identity] in REFUSALS and identity[0] not in places}
    return owned, strangers


def _line_problems(line):
    checks = [
        (line.lost == 0, f"{line.lost} of {line.rows} rows of {line.feed} are lost"),
        (line.rows == line.ended, f"{line.feed}: {line.rows} rows went in and {line.ended} came out"),
        (
            line.rows == line.raw_records + line.quarantined_at_ingest + line.rejected,
            f"{line.feed}: {line.rows} rows, but {line.raw_records} raw records, {line.quarantined_at_ingest} bad rows"
            f" at ingest and {line.rejected} rejected",
        ),
    ]
    return [text for holds, text in checks if not holds]


def _wrong_codes(feed, found):
    """Returns the rows with another code than the feed expects, if the feed knows its bad rows."""
    if feed.bad is None:
        return []
    told = found.codes | feed.rejected_codes
    wrong = [
        f"{place} {at} is {told.get((place, at), 'no bad row')} and should be {feed.bad.get((place, at), 'none')}"
        for place, at in {**feed.bad, **told} if feed.bad.get((place, at)) != told.get((place, at))]
    return some(f"rows of {feed.name} are not as bad as they should be", wrong)


def _ended_twice(seen, event_of):
    """Returns the records that are in quarantine although their row is an event."""
    uses = Counter(record.natural for record in seen.raw.values())
    return [
        key for key, record in seen.raw.items()
        if key in seen.bad and record.natural in event_of and uses[record.natural] == 1
    ]


def _alerts(seen, due):
    """Returns the numbers of alerts found and expected, each counted once, and the problems with them."""
    came = Counter(rule for rule, _ in seen.alerts)
    told = [alert["event"]["event_id"] for alert in seen.alerts.values() if "event" in alert]
    problems = some("alerts are about no event", sorted(event_id for event_id in told if event_id not in seen.events and event_id not in seen.windows))
    problems += [f"{count} alerts of {rule} are due, and {came[rule]} came" for rule, count in due.items() if came[rule] != count]
    return came.total(), sum({**came, **due}.values()), problems
