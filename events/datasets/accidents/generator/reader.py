"""A second opinion: the smallest reader and judge that follow the rules, to check the fixtures with.

It reads a whole file at once and is slow on purpose; it shares no code and no shape with the Rust
reader, and make.py refuses to write a fixture whose expectations it does not confirm.

The rule for broken rows: a row that is not well formed costs its own physical line, and reading goes
on at the next line.
"""

import json
import math
import re
import zlib
from datetime import datetime

from .clock import STANDARD_HOURS
from .places import PLACES
from .rows import HEADERS, POI, TWILIGHT

STATES = {p.state for p in PLACES}
KNOWN = {name for header in HEADERS.values() for name in header}
REQUIRED = ("ID", "Severity", "Start_Time", "Start_Lat", "Start_Lng", "State")
RANGES = {
    "Start_Lat": (-90, 90), "End_Lat": (-90, 90), "Start_Lng": (-180, 180), "End_Lng": (-180, 180),
    "Distance(mi)": (0, math.inf), "Temperature(F)": (-459.67, math.inf), "Wind_Chill(F)": (-459.67, math.inf),
    "Humidity(%)": (0, 100), "Pressure(in)": (0, math.inf), "Visibility(mi)": (0, math.inf),
    "Wind_Speed(mph)": (0, math.inf), "Precipitation(in)": (0, math.inf),
}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})?\Z")


class Refused(Exception):
    """The object is refused whole; the text is the code."""


def record_at(data, start):
    """One RFC 4180 record: (cells, where the next begins), or None where the quoting is broken."""
    cells, cell, at, size = [], bytearray(), start, len(data)
    while True:
        if at < size and data[at] == 0x22:
            at += 1
            while True:
                close = data.find(b'"', at)
                if close < 0:
                    return None
                cell += data[at:close]
                at = close + 1
                if data[at:at + 1] != b'"':
                    break
                cell += b'"'
                at += 1
            if at < size and data[at:at + 1] not in (b",", b"\n") and data[at:at + 2] != b"\r\n":
                return None
        else:
            end = at
            while end < size and data[end] not in b',\n"':
                end += 1
            if data[end:end + 1] == b'"':
                return None
            cell += data[at:end]
            if data[end:end + 1] != b"," and cell.endswith(b"\r"):
                del cell[-1]
            at = end
        cells.append(bytes(cell))
        cell = bytearray()
        if data[at:at + 1] == b",":
            at += 1
            continue
        if data[at:at + 2] == b"\r\n":
            at += 1
        return cells, min(at + 1, size)


def rows_of_csv(data):
    """Yields (offset, line, row or code); raises Refused. `line` counts from 1, header included."""
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    header = None
    while at < len(data):
        newline = data.find(b"\n", at)
        next_line = len(data) if newline < 0 else newline + 1
        if data[at:next_line].strip(b"\r\n") == b"":
            at = next_line
            continue
        line_number = data.count(b"\n", 0, at) + 1
        parsed = record_at(data, at)
        if header is None:
            header = [cell.decode() for cell in parsed[0]]
            if not {"ID", "Start_Time"} <= set(header):
                raise Refused("unknown_dataset")
            if len(set(header)) != len(header):
                raise Refused("duplicate_column")
            if not set(REQUIRED) <= set(header):
                raise Refused("missing_column")
            at = parsed[1]
            continue
        bad = None
        if parsed is None:
            bad = "broken_quoting"
        elif len(parsed[0]) != len(header):
            bad = "wrong_column_count"
        elif b"\0" in data[at:parsed[1]]:
            bad = "nul_byte"
        else:
            try:
                row = dict(zip(header, (cell.decode() for cell in parsed[0])))
            except UnicodeDecodeError:
                bad = "not_utf8"
        yield at, line_number, bad or row
        at = next_line if bad else parsed[1]
    if header is None:
        raise Refused("empty_object")


def rows_of_jsonl(data):
    at = 0
    for number, text in enumerate(data.split(b"\n"), 1):
        if text.strip():
            try:
                row = json.loads(text)
                yield at, number, {k: str(v) for k, v in row.items() if v is not None}
            except ValueError:
                yield at, number, "invalid_json"
        at += len(text) + 1


def judge(row):
    """None for a good row, else (code, column) of its first fault."""
    for column in REQUIRED:
        if not row.get(column):
            return "missing_field", column
    times = {}
    for column, text in row.items():
        if not text or column not in KNOWN:
            continue
        if column == "Severity" or column in RANGES:
            if not NUMBER.match(text) or not math.isfinite(float(text)):
                return "invalid_number", column
            if column == "Severity":
                if float(text) != int(float(text)):
                    return "invalid_number", column
                if not 1 <= float(text) <= 4:
                    return "out_of_range", column
            elif not RANGES[column][0] <= float(text) <= RANGES[column][1]:
                return "out_of_range", column
        elif column in ("Start_Time", "End_Time", "Weather_Timestamp"):
            try:
                if not TIME.match(text):
                    raise ValueError(text)
                times[column] = datetime.strptime(text[:19], "%Y-%m-%d %H:%M:%S")
            except ValueError:
                return "invalid_time", column
        elif (
            (column == "State" and text not in STATES)
            or (column == "Timezone" and text not in STANDARD_HOURS)
            or (column in POI and text not in ("True", "False"))
            or (column in TWILIGHT and text not in ("Day", "Night"))
        ):
            return "unknown_value", column
    if "End_Time" in times and times["End_Time"] < times["Start_Time"]:
        return "out_of_range", "End_Time"
    return None


def gunzip(data, limit=1 << 20):
    """(bytes before any damage, None | code): members one after another, like `gzip -d`."""
    out, rest = bytearray(), data
    while rest:
        inflate = zlib.decompressobj(31)
        fed = 0
        try:
            while fed < len(rest) and not inflate.eof:
                out += inflate.decompress(rest[fed:fed + 1])  # a byte at a time: all that comes before the damage
                fed += 1
                if len(out) > limit:
                    raise Refused("gzip_ratio")
        except zlib.error:
            return bytes(out), "corrupt_gzip"
        if not inflate.eof:
            return bytes(out), "truncated_gzip"
        rest = rest[fed:]
    return bytes(out), None


def read(name, data):
    """All rows of a fixture: [(offset, line, row | code, fault | None)]."""
    damage = None
    if name.endswith(".gz"):
        data, damage = gunzip(data)
        if damage:
            whole = data.rfind(b"\n") + 1
            data, lost = data[:whole], len(data[:whole])
    rows = rows_of_jsonl(data) if ".jsonl" in name else rows_of_csv(data)
    found = []
    for offset, number, row in rows:
        fault = (row, None) if isinstance(row, str) else judge(row)
        found.append((offset, number, row, fault))
    if damage:
        found.append((lost, data.count(b"\n") + 1, damage, (damage, None)))
    return found


def summary(name, data):
    """What expected.json says of a whole file."""
    try:
        found = read(name, data)
    except Refused as refused:
        return {"refused": str(refused)}
    codes = {}
    for _, _, _, fault in found:
        if fault:
            codes[fault[0]] = codes.get(fault[0], 0) + 1
    bad = sum(codes.values())
    return {"rows": len(found), "good": len(found) - bad, "bad": bad, "codes": dict(sorted(codes.items()))}
