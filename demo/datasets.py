"""Natural keys and counts of the datasets, computed without the code under measurement.

An event does not have the `record_id` of its raw record. Both have the dataset's natural key: it is read from the row
as received and, separately, from the event. The key of a row is None if it cannot be read: such a row can only be a bad
one.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Callable

# Unix time by magnitude: the first and the last second of 2000 to 2099, and the nanoseconds of each unit.
FIRST_SECOND, AFTER_LAST_SECOND = 946_684_800, 4_102_444_800
UNITS = (10**9, 10**6, 10**3, 1)
EPOCH = datetime(1970, 1, 1)
_NUMBER = re.compile(r"(\d+)(?:\.\d+)?")
_CALENDAR = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))?", re.ASCII)


@dataclass(frozen=True)
class Dataset:
    """Natural key of a dataset, and the columns by which its events are counted in Athena.

    `row_key` takes a payload; `event_keys` takes an event and yields each spelling that the key of its row may have.
    """

    row_key: Callable
    event_keys: Callable
    breakdown: tuple


def instant(value):
    """Parses a time in any form that devices write, in nanoseconds since 1970; None if it is none."""
    text = cell(value)
    if text is None:
        return None
    number = _NUMBER.fullmatch(text)
    if number:
        whole = int(number[1])
        for nanos in UNITS:
            per_second = 10**9 // nanos
            if FIRST_SECOND * per_second <= whole < AFTER_LAST_SECOND * per_second:
                return int(Decimal(text) * nanos)
        return None
    parts = _CALENDAR.fullmatch(text)
    return _of_calendar(*parts.groups()) if parts else None


def _of_calendar(year, month, day, hour, minute, second, fraction, sign, hours, minutes):
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    since = local - EPOCH + (ahead if sign == "-" else -ahead)
    return (since.days * 86_400 + since.seconds) * 10**9 + int((fraction or "").ljust(9, "0"))


def cell(value):
    """Returns a value as the trimmed text of a field; None if it is empty, absent, or not a single value."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value).strip() or None


def _key(*parts):
    return None if None in parts else parts


def _accidents_row(payload):
    return _key(cell(payload.get("ID")))


def _accidents_event(event):
    return (_key(event["attributes"]["id"]),)


def _reading_row(*names):
    def key(payload):
        name = next(filter(None, (cell(payload.get(name)) for name in names)), None)
        return _key(name, instant(payload.get("timestamp")))

    return key


def _reading_event(event):
    return (_key(event["attributes"]["sensor_id"], instant(event["event_time"])),)


def _covid_row(payload):
    day, fips, county, state = (cell(payload.get(name)) for name in ("date", "fips", "county", "state"))
    try:
        date.fromisoformat(day or "")
    except ValueError:
        return None
    if fips:
        # A code of four digits has lost its leading zero; one with a fraction has gained that.
        return _key(day, fips.removesuffix(".0").zfill(5))
    return _key(day, county, state and state.casefold())


def _covid_event(event):
    kept = event["attributes"]
    if "fips" in kept:
        return (_key(kept["date"], kept["fips"]),)
    return tuple(_key(kept["date"], kept["county"], kept[name].casefold()) for name in ("state", "state_name"))


DATASETS = {
    "accidents": Dataset(_accidents_row, _accidents_event, ("severity", "measures['severity']")),
    "covid": Dataset(_covid_row, _covid_event, ("state", "attributes['state']")),
    "flood": Dataset(_reading_row("sensor_id"), _reading_event, ("stage", "attributes['stage']")),
    "telemetry": Dataset(
        _reading_row("sensor_id", "device_id"), _reading_event, ("status", "attributes['status']")),
}


def row_key(dataset, payload):
    """Returns the natural key of a raw record's payload, with its dataset; None if it has none."""
    known = DATASETS.get(dataset)
    found = known.row_key(payload) if known and isinstance(payload, dict) else None
    return found and (dataset, *found)


def event_keys(event):
    """Returns each spelling of the natural key of an event, with its dataset."""
    known = DATASETS.get(event["dataset"])
    return [(event["dataset"], *key) for key in known.event_keys(event) if key] if known else []
