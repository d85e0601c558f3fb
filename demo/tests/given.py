"""Test data: a feed of one file with a few rows, and the output of a run over it."""

from demo.books import Seen
from demo.feed import Files, Object

OFFSETS = [100, 200, 300, 400]
ALERTS_DUE = {"severe": 1}


def a_feed(offsets=OFFSETS, bad=None, dataset="accidents"):
    return Files(dataset, [Object("x.csv", b"", list(offsets), bad)])


def source(offset, number, dataset="accidents"):
    return f"s3://bucket/{dataset}/x.csv?versionId=v#offset={offset}&row={number}"


def raw(number, offset, key):
    return {"dataset": "accidents", "record_id": f"r{number}", "payload": {"ID": key}, "source": source(offset, number)}


def bad(number, offset, at_ingest=False):
    row = {"code": "out_of_range", "record_id": f"r{number}", "source": source(offset, number)}
    return row if at_ingest else {**row, "sequence_number": "1"}


def event(key, severity=2.0):
    return {
        "kind": "reading", "dataset": "accidents", "event_id": f"e-{key}", "event_time": "2026-01-01T00:00:00Z",
        "attributes": {"id": key}, "measures": {"severity": severity},
    }


def alert(key):
    return {"alert_id": f"alert-{key}", "rule": "severe", "title": "t", "event": {"event_id": f"e-{key}"}}


def a_good_run():
    """Returns the output for four rows: one bad at ingest, one bad later, two events, one of them severe."""
    seen = Seen()
    seen.add_bad(bad(1, 100, at_ingest=True))
    for number, offset, key in ((2, 200, "A-2"), (3, 300, "A-3"), (4, 400, "A-4")):
        seen.add_raw(raw(number, offset, key))
    seen.add_bad(bad(2, 200))
    seen.add_event(event("A-3"))
    seen.add_event(event("A-4", 4.0))
    seen.add_alert(alert("A-4"))
    return seen
