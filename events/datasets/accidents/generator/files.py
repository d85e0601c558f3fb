"""Whole-file cases: {file name: (bytes, what reading it must give)}."""

from . import gz
from .cases import bad_line
from .rows import HEADER_2023, Rng, head, line, make_row

GOOD = {"rows": 6, "good": 6, "bad": 0, "codes": {}}


def _one_bad(code, rows=6):
    return {"rows": rows, "good": rows - 1, "bad": 1, "codes": {code: 1}}


def _refused(code):
    return {"refused": code}


def whole_files():
    rng = Rng(9300)
    top = head(HEADER_2023).encode()
    rows = [make_row(rng, 9300001 + i, Description=f"Crash number {i + 1}, one lane closed.") for i in range(6)]
    plain = [line(row, HEADER_2023).encode() for row in rows]
    body = b"".join(plain)
    two_lines = line(dict(rows[1], Description="Crash on the ramp.\nExpect delays."), HEADER_2023).encode()
    unquoted = [line(dict(row, Description="Crash on the ramp."), HEADER_2023).encode() for row in rows]

    def with_bad(name, after=3, count=5, lines=plain):
        return top + b"".join(lines[:after]) + bad_line(rng, name, 9300090)[0] + b"".join(lines[after:count])

    def crlf(data):
        return data.replace(b"\n", b"\r\n")

    without = tuple(c for c in HEADER_2023 if c != "Severity")
    twice = HEADER_2023[:3] + ("Severity",) + HEADER_2023[3:]
    json_lines = [b'{"ID":"A-930010%d","Severity":"2","Start_Time":"2021-05-0%d 08:15:00","Start_Lat":"41.88",'
                  b'"Start_Lng":"-87.63","State":"IL","Timezone":"US/Central"}\n' % (i, i) for i in range(1, 6)]

    return {
        "empty.csv": (b"", _refused("empty_object")),
        "blank-lines-only.csv": (b"\n\r\n\n\n", _refused("empty_object")),
        "header-only.csv": (top, {"rows": 0, "good": 0, "bad": 0, "codes": {}}),
        "blank-lines.csv": (b"\n" + top + b"\n" + plain[0] + b"\n\n" + plain[1] + b"\r\n" + b"".join(plain[2:]) + b"\n\n", GOOD),
        "crlf.csv": (crlf(top + plain[0] + two_lines + b"".join(plain[2:])), GOOD),
        "bom.csv": (b"\xef\xbb\xbf" + top + body, GOOD),
        "bom-crlf.csv": (b"\xef\xbb\xbf" + crlf(top + body), GOOD),
        # A later row opens and closes quotes of its own; in the second file nothing does.
        "unclosed-quote-in-the-middle.csv": (with_bad("unclosed-quote"), _one_bad("broken_quoting")),
        "unclosed-quote-before-rows-without-quotes.csv": (with_bad("unclosed-quote", lines=unquoted), _one_bad("broken_quoting")),
        "unclosed-quote-at-the-end.csv": (with_bad("unclosed-quote", after=5), _one_bad("broken_quoting")),
        "broken-quoting.csv": (
            with_bad("text-after-a-closing-quote", after=2, count=4) + bad_line(rng, "quote-in-a-bare-cell", 9300091)[0] + plain[4],
            {"rows": 7, "good": 5, "bad": 2, "codes": {"broken_quoting": 2}},
        ),
        "wrong-column-count.csv": (
            with_bad("one-cell-too-few", after=1, count=2) + bad_line(rng, "one-cell-too-many", 9300092)[0] + plain[2]
            + bad_line(rng, "half-a-line", 9300093)[0] + plain[3],
            {"rows": 7, "good": 4, "bad": 3, "codes": {"wrong_column_count": 3}},
        ),
        "not-utf8.csv": (with_bad("latin-1"), _one_bad("not_utf8")),
        "nul.csv": (with_bad("nul"), _one_bad("nul_byte")),
        "missing-required-column.csv": (
            (head(without) + "".join(line(row, without) for row in rows)).encode(), _refused("missing_column")),
        "duplicate-column.csv": (
            (head(twice) + "".join(line(row, twice) for row in rows)).encode(), _refused("duplicate_column")),
        "unknown-columns.csv": (
            b"station,observed_at,level\nHarbour,2021-05-01 08:15:00,2.5\nMill,2021-05-01 08:15:00,0.7\n", _refused("unknown_dataset")),
        "no-final-newline.csv": ((top + body)[:-1], GOOD),
        "plain.csv.gz": (gz.member(top + body), GOOD),
        # The second member begins in the middle of a row.
        "two-members.csv.gz": (gz.member((top + body)[:-900]) + gz.member((top + body)[-900:]), GOOD),
        # What came before the damage is kept, the rest that is lost counts as one row.
        "truncated.csv.gz": (gz.truncated(top + b"".join(plain[:4]), plain[4]), _one_bad("truncated_gzip", 5)),
        "corrupt.csv.gz": (gz.corrupt(top + b"".join(plain[:4]), b"".join(plain[4:])), _one_bad("corrupt_gzip", 5)),
        "bomb.csv.gz": (gz.bomb(top, 40_000_000), _refused("gzip_ratio")),
        "broken-json-line.jsonl": (
            b"".join(json_lines[:2]) + b'{"ID":"A-9300199","Severity":"2",\n' + b"".join(json_lines[2:]), _one_bad("invalid_json")),
    }
