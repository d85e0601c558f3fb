"""Counts the rows of a file without the code under measurement.

The rules are those of ingest. The header and blank lines are no rows. A row follows RFC 4180, so a quoted field may
hold line ends. A broken row (quotes that do not match, another number of fields than the header, a NUL, bytes that are
not UTF-8) is one physical line, and the next row begins at the next line. In JSON Lines each line that is not blank is
a row.

The method differs: a regular expression over the whole file in memory. It does not know the size limit of a row, or the
content of a damaged gzip.
"""

import re
import zlib
from dataclasses import dataclass

BOM = b"\xef\xbb\xbf"
_CELL = rb'(?:"(?:[^"]|"")*+"|[^",\n]*+)'
_ROW = re.compile(rb"%b(?:,%b)*+(?:\r?\n|\r?\Z)" % (_CELL, _CELL))
_CELLS = re.compile(_CELL)
_LINE = re.compile(rb"[^\n]*(?:\n|\Z)")


@dataclass(frozen=True)
class Row:
    """Position of a row: bytes from the start of the (decompressed) file."""

    offset: int
    end: int


@dataclass(frozen=True)
class File:
    """A source file split into rows. If its gzip is damaged, the damage itself is the last row."""

    data: bytes
    header: bytes
    rows: list
    damage: bool = False

    def first(self, count):
        """Returns the header and the first `count` rows, as bytes of the file."""
        body = b"".join(self.data[row.offset:row.end] for row in self.rows[:count])
        return self.header + body


def read(name, content):
    """Splits the bytes of a file; `name` tells gzip from plain and CSV from JSON Lines."""
    damage = False
    if content.startswith(b"\x1f\x8b"):
        content, damage = _gunzip(content)
    stem = name.removesuffix(".gz")
    split = _json_lines if stem.endswith((".jsonl", ".ndjson", ".json")) else _csv
    header, rows = split(content)
    if damage:
        rows.append(Row(len(content), len(content)))
    return File(content, header, rows, damage)


def _gunzip(content):
    """Returns the bytes of all members; of a damaged one, the whole lines before the damage."""
    out = bytearray()
    while content:
        member = zlib.decompressobj(31)
        try:
            plain = member.decompress(content)
        except zlib.error:
            plain = _before_the_damage(content)
        out += plain
        if not member.eof:
            return bytes(out[:out.rfind(b"\n") + 1]), True
        content = member.unused_data
    return bytes(out), False


def _before_the_damage(content):
    """Returns everything that a damaged member yields byte by byte: in one piece it yields nothing."""
    out, member = bytearray(), zlib.decompressobj(31)
    try:
        for at in range(len(content)):
            out += member.decompress(content[at:at + 1])
    except zlib.error:
        pass
    return bytes(out)


def _blank(line):
    return not line.strip(b"\r\n")


def _lines(data, at):
    while at < len(data):
        line = _LINE.match(data, at)
        yield line
        at = line.end()


def _json_lines(data):
    start = len(BOM) if data.startswith(BOM) else 0
    lines = (line for line in _lines(data, start) if line.group().strip())
    return b"", [Row(line.start(), line.end()) for line in lines]


def _csv(data):
    at = len(BOM) if data.startswith(BOM) else 0
    header, columns, rows = b"", None, []
    while at < len(data):
        line = _LINE.match(data, at)
        if _blank(line.group()):
            at = line.end()
            continue
        row = _ROW.match(data, at)
        if columns is None:
            end = (row or line).end()
            header, columns = data[:end], _count_cells(data[at:end])
        else:
            end = row.end() if row and _sound(row.group(), columns) else line.end()
            rows.append(Row(at, end))
        at = end
    return header, rows


def _count_cells(row):
    at, cells = 0, 1
    while True:
        at = _CELLS.match(row, at).end()
        if row[at:at + 1] != b",":
            return cells
        at, cells = at + 1, cells + 1


def _sound(row, columns):
    if b"\0" in row or _count_cells(row) != columns:
        return False
    try:
        row.decode()
    except UnicodeDecodeError:
        return False
    return True
