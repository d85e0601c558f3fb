#!/usr/bin/env python3
"""Makes the fixtures of the `accidents` dataset, and larger files in the same format.

    python3 make.py                 write the committed fixtures again
    python3 make.py --check         exit 1 if a committed fixture is not what this program makes
    python3 make.py --rows 100000 [--seed 7] [--edition 2023|2021|2019] [--out FILE]
                                    that many good rows, to FILE or to stdout

Everything is drawn from a seed; no row, name or text comes from a data set. Only the standard
library is used. Each expectation is confirmed by the small reader in generator/reader.py, which
shares nothing with the Rust code.
"""

import argparse
import json
import sys
import zlib
from pathlib import Path

from generator import cases, reader
from generator.files import whole_files
from generator.rows import HEADER_2023, HEADERS, POI, Rng, head, line, make_row
from generator.valid import expectations, valid_rows

HERE = Path(__file__).resolve().parent
DEMO_ROWS, DEMO_SEVERE = 300, 15


def as_json(value):
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def as_json_list(items):
    """A list with one item a line: a change of one row is a change of one line."""
    return ("[\n" + ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in items) + "\n]\n").encode()


def csv(rows, header=HEADER_2023):
    return (head(header) + "".join(line(row, header) for row in rows)).encode()


def json_lines(rows):
    """20 rows as objects of text, then 4 with JSON's own numbers, booleans and null."""
    lines = [{column: row[column] for column in HEADER_2023} for row in rows[:20]]
    for at, row in enumerate(rows[20:24]):
        typed = {}
        for column in HEADER_2023:
            text = row[column]
            if column in POI:
                typed[column] = text == "True"
            elif column == "Severity":
                typed[column] = int(text)
            elif column in reader.RANGES and text:
                typed[column] = float(text)
            elif text:
                typed[column] = text
            elif at == 3:
                typed[column] = None
        lines.append(typed)
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in lines).encode()


def demo():
    """(demo.csv, demo.expected.json)"""
    rng = Rng(9100)
    whys = dict(cases.DEMO)
    # One bad row in each stretch of 12, none at its edge: no two are neighbours.
    places = {12 * at + 1 + rng.whole(0, 9): name for at, name in enumerate(rng.shuffled(whys))}
    good_at = [at for at in range(DEMO_ROWS) if at not in places]
    severe = {good_at[18 * n + 7] for n in range(DEMO_SEVERE)}
    text, broken = bytearray(head(HEADER_2023).encode()), []
    severities = {str(level): 0 for level in range(1, 5)}
    for at in range(DEMO_ROWS):
        number = 9100001 + at
        if at in places:
            raw, column, code, identity = cases.bad_line(rng, places[at], number)
            broken.append({
                "row": at + 1, "line": text.count(b"\n") + 1, "offset": len(text), "id": identity,
                "field": column, "code": code, "why": whys[places[at]],
            })
            text += raw
            continue
        level = "4" if at in severe else rng.weighted("123", (2, 80, 18))
        columns = {"Description": "Crash at the toll plaza.\nTwo booths closed, \"cash only\"."} if at == good_at[140] else {}
        severities[level] += 1
        text += line(make_row(rng, number, Severity=level, **columns), HEADER_2023).encode()

    codes = {}
    for row in broken:
        codes[row["code"]] = codes.get(row["code"], 0) + 1
    expected = {
        "rows": DEMO_ROWS, "good": DEMO_ROWS - len(broken), "bad": len(broken), "severity4": severities["4"],
        "severities": severities, "codes": dict(sorted(codes.items())), "bad_by_line": broken,
    }
    return bytes(text), expected


def bad_rows():
    """(bad-rows.csv, bad-rows.expected.json)"""
    rng = Rng(9400)
    text, expected = bytearray(head(HEADER_2023).encode()), []
    for name in cases.ALL:
        raw, column, code, identity = cases.bad_line(rng, name, name)
        expected.append({"id": identity, "field": column, "code": code})
        text += raw
    return bytes(text), expected


def confirm(name, data, expected):
    """Stops the program where the second opinion differs from what the generator meant."""
    found = reader.summary(name, data)
    want = {key: expected[key] for key in found if key in expected}
    if found != want:
        sys.exit(f"{name}: meant {want}, read {found}")


def confirm_bad(name, data, expected):
    """Each bad row is found where it was meant, for the reason that was meant, and no other is bad."""
    found = [(number, offset, fault) for offset, number, _, fault in reader.read(name, data) if fault]
    if [fault for _, _, fault in found] != [(bad["code"], bad["field"]) for bad in expected]:
        sys.exit(f"{name}: read {found}")
    for (number, offset, _), bad in zip(found, expected):
        if (number, offset) != (bad.get("line", number), bad.get("offset", offset)):
            sys.exit(f"{name}: {bad} read at line {number}, offset {offset}")


def committed():
    """{path: bytes} of every file that this program owns."""
    made = {}
    valid = valid_rows()
    rows = [row for _, row in valid]
    made["valid.csv"] = csv(rows)
    made["valid.expected.json"] = as_json_list(expectations(valid))
    made["valid.jsonl"] = json_lines(rows)
    rng = Rng(9001)
    made["shuffled-columns.csv"] = csv(rng.shuffled(rows), tuple(rng.shuffled(HEADER_2023)))
    for edition in (2019, 2021):
        rng, header = Rng(edition), HEADERS[edition]
        older = [make_row(rng, 9200001 + at + edition % 100 * 100, edition) for at in range(10)]
        made[f"older-{len(header)}-columns.csv"] = csv(older, header)
    for name, count in (("valid.csv", 60), ("valid.jsonl", 24), ("shuffled-columns.csv", 60),
                        ("older-47-columns.csv", 10), ("older-49-columns.csv", 10)):
        confirm(name, made[name], {"rows": count, "good": count, "bad": 0, "codes": {}})

    text, expected = demo()
    confirm("demo.csv", text, expected)
    confirm_bad("demo.csv", text, expected["bad_by_line"])
    made["demo.csv"] = text
    lines = [json.dumps(item, ensure_ascii=False) for item in expected.pop("bad_by_line")]
    start = json.dumps(expected, indent=2)[:-2]
    made["demo.expected.json"] = (start + ',\n  "bad_by_line": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n").encode()

    text, expected = bad_rows()
    confirm_bad("bad-rows.csv", text, expected)
    made["bad-rows.csv"], made["bad-rows.expected.json"] = text, as_json_list(expected)

    outcomes = {}
    for name, (data, expected) in whole_files().items():
        confirm(name, data, expected)
        made[f"files/{name}"] = data
        outcomes[name] = expected
    items = [f"  {json.dumps(name)}: {json.dumps(outcome)}" for name, outcome in sorted(outcomes.items())]
    made["files/expected.json"] = ("{\n" + ",\n".join(items) + "\n}\n").encode()
    return made


def same(name, made, found):
    """Byte for byte; a gzip that zlib wrote may differ between its builds, its content may not."""
    if made == found or found is None or not name.endswith(".csv.gz"):
        return made == found
    try:
        return reader.gunzip(made) == reader.gunzip(found) and reader.gunzip(made)[1] is None
    except (reader.Refused, zlib.error):
        return False


def check(made, here=HERE):
    """The names of files that are not what the program makes, or that it does not make."""
    wrong = []
    for name, data in made.items():
        path = here / name
        if not same(name, data, path.read_bytes() if path.exists() else None):
            wrong.append(name)
    kept = {path.relative_to(here).as_posix() for folder in (here, here / "files") for path in folder.iterdir() if path.is_file()}
    return wrong + sorted(kept - set(made) - {"make.py"})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--rows", type=int, help="make this many good rows instead of the fixtures")
    parser.add_argument("--seed", type=int, default=1, help="with --rows (default 1)")
    parser.add_argument("--edition", type=int, choices=sorted(HEADERS), default=2023, help="with --rows (default 2023)")
    parser.add_argument("--out", type=Path, help="with --rows: the file to write (default stdout)")
    options = parser.parse_args()

    if options.rows is not None:
        rng, header = Rng(options.seed), HEADERS[options.edition]
        out = options.out.open("w", encoding="utf-8", newline="") if options.out else open(1, "w", encoding="utf-8", newline="")
        with out:
            out.write(head(header))
            for at in range(options.rows):
                out.write(line(make_row(rng, 10_000_000 + at, options.edition), header))
        return
    made = committed()
    if options.check:
        wrong = check(made)
        for name in wrong:
            print(f"not what make.py makes: {name}", file=sys.stderr)
        sys.exit(1 if wrong else 0)
    for name, data in made.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main()
