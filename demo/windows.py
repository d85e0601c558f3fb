"""Windows of a run: read back from the table, and compared with a reference over the readings that were found.

The reference shares nothing with the code under measurement but the specs of the configuration.
"""

import base64
import json
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timezone

from . import configuration

# Maximum time for the function to reach the last readings of a run.
PATIENCE_SECONDS = 90
SHOWN_GROUPS = 3
SHOWN_WINDOWS = 4
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Kept:
    """A window of the table; `means` by measure."""

    spec: str
    group: str
    start: str
    phase: str
    revision: int
    count: int
    means: dict

    @property
    def key(self):
        return self.spec, self.group, self.start




def read(stack):
    """Returns every window of the table."""
    found = []
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["WindowsTableName"])
    for item in (item for page in pages for item in page["Items"]):
        spec, _, group = item["pk"]["S"].partition("#")
        if spec != "clock":
            found.append(kept(spec, group, item["sk"]["S"], json.loads(item["body"]["S"])))
    return found


def kept(spec, group, start, body):
    measures = body["aggregate"]["measures"]
    means = {name: sum(one["sum"]) / one["n"] for name, one in measures.items()}
    return Kept(spec, group, start, body["phase"], body["revision"], body["aggregate"]["count"], means)


def reference(events, late, windows):
    """Computes counts and means by window, for specs by event time, of all events but the late ones."""
    too_late = {(base64_event(row)["event_id"], row["message"]) for row in late}
    values = defaultdict(lambda: defaultdict(list))
    for spec in windows:
        if spec.get("time", "event") != "event":
            continue
        size, slide = seconds(spec["size"]), seconds(spec.get("slide", spec["size"]))
        for event in events:
            if event["dataset"] != spec["dataset"]:
                continue
            parts = (event["entity"] if name == "entity" else event["attributes"].get(name, "unknown") for name in spec["key"])
            group = "/".join(parts)
            for start in starts(datetime.fromisoformat(event["event_time"]).timestamp(), size, slide):
                said = f" {spec['id']} from {start}"
                if any(event["event_id"] == event_id and said in message for event_id, message in too_late):
                    continue
                of_window = values[spec["id"], group, start]
                of_window[""].append(1)
                for name in spec["measures"]:
                    if name in event["measures"]:
                        of_window[name].append(float(event["measures"][name]))
    return {
        key: (len(found[""]), {name: sum(some) / len(some) for name, some in found.items() if name})
        for key, found in values.items()}


def starts(at, size, slide):
    """Returns the starts of the windows that a time is in."""
    last = int(at // slide * slide)
    found = range(last, int(at) - size, -slide)
    return [datetime.fromtimestamp(start, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") for start in found]


def base64_event(row):
    return json.loads(base64.b64decode(row["payload_base64"]))


def seconds(text):
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[text[-1]]


def differences(found, wanted, by_arrival):
    """Returns unexpected, missing and wrong windows of the table. `by_arrival` are the specs that are not checked."""
    held = {one.key: one for one in found if one.spec not in by_arrival}
    wrong = [f"{' '.join(key)} is missing" for key in sorted(wanted.keys() - held.keys())]
    wrong += [f"{' '.join(key)} is of no reading" for key in sorted(held.keys() - wanted.keys())]
    for key in sorted(wanted.keys() & held.keys()):
        count, means = wanted[key]
        one = held[key]
        alike = one.count == count and one.means.keys() == means.keys() and all(
            abs(one.means[name] - mean) <= TOLERANCE * max(1.0, abs(mean)) for name, mean in means.items())
        if not alike:
            wrong.append(f"{' '.join(key)} has {one.count} readings, {one.means}, and should have {count}, {means}")
    return wrong


def settle(stack, seen, poll, config=configuration.SHIPPED, clock=time.monotonic, sleep=time.sleep):
    """Waits until the windows match what was found; returns them, and the differences left at the end."""
    windows = config.entries("windows")
    by_arrival = {spec["id"] for spec in windows if spec.get("time", "event") != "event"}
    until = clock() + PATIENCE_SECONDS
    while True:
        poll()
        found = read(stack)
        wrong = differences(found, reference(seen.events.values(), seen.late, windows), by_arrival)
        if not wrong or clock() >= until:
            return found, wrong
        sleep(1.0)


def summary(found):
    """Returns, by spec, the number of windows, groups, windows in each phase, revisions and readings."""
    by_spec = {}
    for one in sorted(found, key=lambda one: one.spec):
        line = by_spec.setdefault(one.spec, {"windows": 0, "groups": set(), "closed": 0, "revised": 0, "readings": 0})
        line["windows"] += 1
        line["groups"].add(one.group)
        line["closed"] += one.phase != "open"
        line["revised"] += one.revision > 0
        line["readings"] += one.count
    return {spec: {**line, "groups": len(line["groups"])} for spec, line in by_spec.items()}


def newest(stack, found):
    """Returns, for the first specs of the run, some groups with the means of their newest windows: one query each."""
    shown = []
    for spec in list(summary(found))[:2]:
        groups = sorted({one.group for one in found if one.spec == spec})
        for group in groups[:SHOWN_GROUPS]:
            answer = stack.client("dynamodb").query(
                TableName=stack.outputs["WindowsTableName"], ScanIndexForward=False, Limit=SHOWN_WINDOWS,
                KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": f"{spec}#{group}"}})
            windows = [kept(spec, group, item["sk"]["S"], json.loads(item["body"]["S"])) for item in answer["Items"]]
            measure = next(iter(windows[0].means), None) if windows else None
            if measure:
                shown.append({
                    "spec": spec, "group": group, "measure": f"{measure}_mean",
                    "values": [[one.start, round(one.means[measure], 2)] for one in windows if measure in one.means]})
    return shown
