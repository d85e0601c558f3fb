"""Windows of config/pipeline.toml as SQL: a reference on an engine that shares no code with ours.

It reads the events that `tributary run --events` writes, as strings and numbers, and computes the measures of each
window, except the scores of the anomaly detector. Quantiles are estimates in ours: for them it returns the bounds of a
valid estimate.
"""

import re
import tomllib
from pathlib import Path

import duckdb

PIPELINE = Path(__file__).resolve().parent.parent / "config" / "pipeline.toml"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def specs(text=None):
    """Returns the window specs of a pipeline.toml, by id."""
    config = tomllib.loads(PIPELINE.read_text() if text is None else text)
    return {spec["id"]: spec for spec in config["windows"]}


def seconds(length):
    number, unit = re.fullmatch(r"(\d+)([smhd])", length).groups()
    return int(number) * UNITS[unit]


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def events(path):
    """Returns a connection with the table `events`: one row for each event, without duplicates."""
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    columns = ("{event_id: 'VARCHAR', kind: 'VARCHAR', dataset: 'VARCHAR', entity: 'VARCHAR', event_time: 'VARCHAR', "
               "received_at: 'VARCHAR', measures: 'MAP(VARCHAR, DOUBLE)', attributes: 'MAP(VARCHAR, VARCHAR)'}")
    connection.execute(f"""
        CREATE TABLE events AS
        SELECT *, epoch_ns(event_time::TIMESTAMP_NS) AS event_ns, epoch_ns(received_at::TIMESTAMP_NS) AS received_ns
        FROM read_json({literal(str(path))}, format = 'newline_delimited', columns = {columns})
        QUALIFY row_number() OVER (PARTITION BY event_id) = 1""")
    return connection


def windows(connection, spec):
    """Returns the windows of a spec: {(key, start in seconds): {measure: value}}, and with quantiles of a measure
    {"<m>_p50": (lowest, highest)}.
    """
    size = seconds(spec["size"])
    hop = seconds(spec.get("slide", spec["size"]))
    ns = "received_ns" if spec.get("time") == "received" else "event_ns"
    parts = ["entity" if name == "entity" else f"coalesce(attributes[{literal(name)}], 'unknown')" for name in spec["key"]]
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE placed AS
        SELECT *, {" || '/' || ".join(parts)} AS key, (({ns} // 1000000000) // {hop} - step) * {hop} AS start, {ns} AS ns
        FROM events, range({-(-size // hop)}) AS steps(step)
        WHERE kind = 'reading' AND dataset = {literal(spec["dataset"])}
          AND {ns} < ((({ns} // 1000000000) // {hop} - step) * {hop} + {size}) * 1000000000""")

    found = {}
    for key, start, count in connection.execute("SELECT key, start, count(*) FROM placed GROUP BY ALL").fetchall():
        found[key, start] = {"count": count}
    for measure in spec["measures"]:
        add_measure(connection, spec, measure, found)
    for field in spec.get("count_by", []):
        # A whole number is written without a decimal point.
        text = (f"coalesce(attributes[{literal(field)}], CASE WHEN measures[{literal(field)}] = floor(measures[{literal(field)}]) "
                f"THEN measures[{literal(field)}]::BIGINT::VARCHAR ELSE measures[{literal(field)}]::VARCHAR END)")
        rows = connection.execute(f"SELECT key, start, {text} AS value, count(*) FROM placed WHERE value IS NOT NULL GROUP BY ALL")
        for key, start, value, count in rows.fetchall():
            found[key, start][f"count_{field}_{value}"] = count
    return found


def add_measure(connection, spec, measure, found):
    names = ["mean", "min", "max", "sum", "std", "first", "last"]
    rows = connection.execute(f"""
        WITH valued AS (SELECT key, start, ns, event_id, measures[{literal(measure)}] AS value FROM placed)
        SELECT key, start, favg(value), min(value), max(value), fsum(value), stddev_pop(value),
               arg_min(value, (ns, event_id)), arg_max(value, (ns, event_id)), min(ns), max(ns), list_sort(list(value))
        FROM valued WHERE value IS NOT NULL GROUP BY key, start""")
    for key, start, *values, first_ns, last_ns, ordered in rows.fetchall():
        window = found[key, start]
        for name, value in zip(names, values, strict=True):
            window[f"{measure}_{name}"] = value
        if measure in spec.get("rate", []) and last_ns > first_ns:
            first, last = values[-2:]
            window[f"{measure}_per_h"] = (last - first) * 3600e9 / (last_ns - first_ns)
        for quantile in spec.get("quantiles", []):
            # An estimate lies between the values next to the exact position.
            place = quantile * (len(ordered) - 1)
            low, high = max(int(place) - 1, 0), min(int(place) + 2, len(ordered) - 1)
            window[f"{measure}_p{100 * quantile:g}"] = (ordered[low], ordered[high])
