"""Exercises an operator's work on rejected rows and unreadable objects, on a stack of its own.

The demo's file is ingested; its bad rows are listed, repaired as by hand, replayed, and found in EVENTS, each of them
once; a second replay adds nothing. `ingest-s3` is broken until an object is among the dead letters, then repaired, and
the object is redriven. The counts are reconciled before and after. Everything uses the `tributary` command, whose exit
codes are checked.
"""

import csv
import json
import subprocess
import time
from collections import Counter
from contextlib import contextmanager

from . import books, expected, feed, follow, place, probe, run

DEAD_SECONDS = 120
ARRIVAL_SECONDS = 60
COMMA = "Start_Lat"
# An object without bad rows, to be read while the function is broken.
LOST = place.ROOT / "fixtures" / "datasets" / "flood" / "valid.csv"


class Unexpected(RuntimeError):
    """A step had another result than it must."""


class Operator:
    """Runs the command against one stack, and prints its output."""

    def __init__(self, running):
        self.running = running
        self.events = probe.StreamReader(running, "EventsStreamName")
        self.seen = Counter()

    def tributary(self, *arguments, ends=0):
        """Runs one command; returns its standard output. `ends` is the expected exit code."""
        command = [str(feed.CLI), *map(str, arguments), "--stack", self.running.name]
        done = subprocess.run(
            command, env=self.running.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        print(f"\n$ tributary {' '.join(command[1:])}\n{done.stdout.rstrip()}", flush=True)
        if done.returncode != ends:
            raise Unexpected(f"exit code {done.returncode} in place of {ends}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def records_of(self, wanted, count):
        """Counts the copies of each event in EVENTS that `wanted` selects, once there are `count` of them or time is
        up.
        """
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while True:
            for event in self.events.new_documents():
                if event.get("kind") == "reading":
                    self.seen[event["dataset"], event["attributes"].get("id"), event["event_id"]] += 1
            found = {key: times for key, times in self.seen.items() if wanted(key)}
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.5)


def operate():
    """Runs the verb; returns its exit code."""
    running = run.start_and_deploy(place.DEMO_HOME, {})
    try:
        through(running)
    finally:
        with run.undisturbed():
            running.stop()
    return 0


def through(running):
    """Runs all steps on a running, empty stack."""
    operator = Operator(running)
    given = feed.files(feed.DATASET)
    known = json.loads(place.DEFAULT_DATA.with_name("demo.expected.json").read_text())
    ids = {f"A-{9_100_000 + row['row']}" for row in known["bad_by_line"]}
    _send(running, given)
    operator.tributary("books", "--from", "logs", "--slack", "5s")

    operator.tributary("quarantine", "list", "--since", "1h")
    operator.tributary("quarantine", "show", "--since", "1h", "--field", COMMA, "--limit", 1)
    comma = ("--field", COMMA, "--set", f'{COMMA}=payload["{COMMA}"].replace(",", ".")')
    # A dry run reports rows that stay bad: one is not a number with a decimal point either.
    operator.tributary("quarantine", "replay", "--since", "1h", *comma, ends=1)
    operator.tributary("quarantine", "replay", "--since", "1h", *comma, "--yes", ends=1)
    left, mended = running.home / "left-out.jsonl", running.home / "mended.jsonl"
    operator.tributary("quarantine", "replay", "--since", "1h", "--left-out", left, ends=1)
    count = by_hand(left, mended, known)
    by_file = ("quarantine", "replay", "--since", "1h", "--mended", mended)
    operator.tributary(*by_file)
    operator.tributary(*by_file, "--yes")
    operator.tributary(*by_file, "--yes")
    found = operator.records_of(lambda key: key[1] in ids, len(ids))
    if len(found) != len(ids) or set(found.values()) != {1}:
        raise Unexpected(f"of {len(ids)} bad rows {len(found)} are in EVENTS, so often: {sorted(found.values())}")
    print(f"\nAll {len(ids)} bad rows are in EVENTS, each once; {count} of them were mended by hand")

    rows = len(LOST.read_text().splitlines()) - 1
    with broken(running, "IngestS3"):
        running.client("s3").put_object(
            Bucket=running.outputs["SourceBucketName"], Key="flood/while-broken.csv", Body=LOST.read_bytes())
        _wait_for_a_dead_letter(running)
    operator.tributary("redrive", ends=1)
    operator.tributary("redrive", "--only", "dead-letters", "--yes")
    found = operator.records_of(lambda key: key[0] == "flood", rows)
    if len(found) != rows:
        raise Unexpected(f"of {rows} rows of the dead letter {len(found)} are in EVENTS")
    print(f"\nAll {rows} rows of the object that could not be read are in EVENTS")
    operator.tributary("redrive")
    operator.tributary("books", "--from", "logs", "--slack", "5s")


def _send(running, given):
    """Sends the file and waits until each row has a result."""
    watcher = follow.Watcher(running, probe.TopicQueue(running, f"{running.name}-operate-probe", "AlertsTopicArn"))
    due = expected.alerts([given]).due
    print(given.send(running))
    if not follow.until_quiet(watcher, lambda seen: books.settle([given], seen, 0, due)):
        raise Unexpected("rows are unaccounted for")


def by_hand(left, mended, known):
    """Repairs bad rows as by hand: good values for bad ones, and a good row for an unreadable one, each under the
    number it had from the generator. Returns how many there are.
    """
    with (place.DEFAULT_DATA.parent / "valid.csv").open(newline="") as file:
        good = {name: cell for name, cell in next(csv.DictReader(file)).items() if cell}
    numbers = {row["offset"]: row["row"] for row in known["bad_by_line"]}
    lines = []
    for line in left.read_text().splitlines():
        row = json.loads(line)
        payload, field = row.get("payload"), row.get("field")
        if payload is None or field is None:
            payload = dict(good)
        for name in ("Start_Time", "End_Time") if field in ("Start_Time", "End_Time") else filter(None, [field]):
            payload[name] = good[name]
        offset = int(row["source"].partition("#offset=")[2].partition("&")[0])
        row["payload"] = {**payload, "ID": f"A-{9_100_000 + numbers[offset]}"}
        row.pop("row", None)
        lines.append(json.dumps(row) + "\n")
    mended.write_text("".join(lines))
    return len(lines)


@contextmanager
def broken(running, logical_id):
    """Removes the function's variables for the duration of the block; its messages are redelivered immediately."""
    functions, name = running.client("lambda"), running.function_name(logical_id)
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    queue = {"QueueUrl": running.outputs["IngestQueueUrl"]}
    running.client("sqs").set_queue_attributes(**queue, Attributes={"VisibilityTimeout": "2"})
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": {}})
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        feed.shorten_redelivery(running, 0)


def _wait_for_a_dead_letter(running):
    deadline = time.monotonic() + DEAD_SECONDS
    while not probe.queue_depth(running, "IngestDeadLetterQueueUrl"):
        if time.monotonic() > deadline:
            raise Unexpected(f"no dead letter within {DEAD_SECONDS} s")
        time.sleep(0.5)
