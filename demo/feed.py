"""Feeds: the input of a run and the identities of its rows, computed without the code under measurement."""

import csv
import io
import json
import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from . import place, rows

DATASET = "accidents"
CLI = place.BIN / "tributary"
FIXTURES = ("valid.csv", "valid.jsonl", "bad-rows.csv", "bad-rows.jsonl", "faults.csv", "faults.jsonl")
MADE_UP_ROWS = 240
# Every fault that devices have, often enough to occur within some hundred rows.
FAULTS = ("--late-rate", "0.05", "--duplicate-rate", "0.05", "--dropout-rate", "0.05", "--spike-rate", "0.02")
SIMULATED = {
    # The river whose gauges are in config/lookups/stations.csv, during a storm that raises it through the stages.
    "flood": ("--storm-rate", "0.3", "--seed", "2"),
    "telemetry": (),
    "covid": (),
}
# Number of devices, and seconds between two readings of one.
DEVICES = {"flood": (6, 900), "telemetry": (20, 10)}
_OBJECT = re.compile(r"s3://[^/]+/(.*)\?\w+=[^#]*#(?:.*&)?offset=(\d+)")


@dataclass
class Feed:
    """One feed with its input; `books` explains identities.

    `bad` has the rows that must be rejected or quarantined, with the code of each; None if that is not known.
    `alerts` has the number of alerts of each rule about one reading, if known beforehand. Items that were rejected in
    the answer to the sender are in `rejected` and `rejected_codes` after sending.
    """

    name: str
    dataset: str
    what: str
    rows: Counter
    bad: dict | None = None
    alerts: dict | None = None
    rejected: Counter = field(default_factory=Counter)
    rejected_codes: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    verb = "send"

    @property
    def row_count(self):
        return sum(self.rows.values())

    def identify(self, document):
        """Returns the identity of the row of a raw record or of a bad row at ingest; None for another feed's."""
        raise NotImplementedError

    def send(self, running):
        """Sends the whole input; returns a summary to print."""
        raise NotImplementedError

    def files(self):
        """Returns the whole input as files: name and bytes of each."""
        raise NotImplementedError

    def settle(self, found, seen):
        """Returns the line, the ids of the events and the problems of a feed with books of its own; None without."""
        return None

    def contradictions(self, raw):
        """Returns answers to the sender that were wrong; `raw` has the record ids found, with their rows."""
        return []


@dataclass(frozen=True)
class Object:
    """A file to upload, with the offsets of its rows as counted here.

    `bad` has the codes of its bad rows by offset, `alerts` the number of alerts by rule; None if not known.
    """

    name: str
    body: bytes
    offsets: list
    bad: dict | None = None
    alerts: dict | None = None

    def line(self, offset):
        """Returns the line of a row of JSON Lines."""
        return self.body[offset:].split(b"\n", 1)[0]


class Files(Feed):
    """Files that are put into the source bucket, as by a user."""

    verb = "upload"

    def __init__(self, dataset, objects):
        known = all(one.bad is not None for one in objects)
        super().__init__(
            name=dataset,
            dataset=dataset,
            what=objects[0].name if len(objects) == 1 else f"{len(objects)} files",
            rows=Counter((one.name, offset) for one in objects for offset in one.offsets),
            bad={(one.name, offset): code for one in objects for offset, code in one.bad.items()} if known else None,
            alerts=objects[0].alerts if len(objects) == 1 else None,
        )
        self.objects = objects

    def identify(self, document):
        found = _OBJECT.match(document.source)
        if found and found[1].startswith(f"{self.dataset}/"):
            return found[1].partition("/")[2], int(found[2])
        return None

    def files(self):
        return [(one.name, one.body) for one in self.objects]

    def send(self, running):
        """Uploads below the dataset's folder, from which ingest takes the dataset."""
        bucket = running.outputs["SourceBucketName"]
        for one in self.objects:
            running.client("s3").put_object(Bucket=bucket, Key=f"{self.dataset}/{one.name}", Body=one.body)
        last = self.objects[0].name if len(self.objects) == 1 else ""
        return f"s3://{bucket}/{self.dataset}/{last}"


def load(path, first=None):
    """Reads a file; with `first`, the header and that many rows of it, decompressed."""
    content = path.read_bytes()
    whole = rows.read(path.name, content)
    bad, alerts = _of_demo_file(path)
    if first is None or first >= len(whole.rows):
        return Object(path.name, content, [row.offset for row in whole.rows], bad, alerts)
    name = path.name.removesuffix(".gz")
    part = whole.first(first)
    offsets = [row.offset for row in rows.read(name, part).rows]
    return Object(name, part, offsets, bad and {at: code for at, code in bad.items() if at in offsets})


def _of_demo_file(path):
    """Returns the bad rows and the alerts of the demo's own file; None of each for another."""
    if path.resolve() != place.DEFAULT_DATA:
        return None, None
    expected = json.loads(path.with_name("demo.expected.json").read_text())
    return {row["offset"]: row["code"] for row in expected["bad_by_line"]}, {"severe-accident": expected["severity4"]}


def files(dataset, data=None, first=None):
    """Returns the feed of a dataset that arrives as files: `data`, or the fixtures and generated rows."""
    if data is None and dataset == DATASET:
        data = place.DEFAULT_DATA
    if data is not None:
        return Files(dataset, [load(data, first)])
    return Files(dataset, [*fixtures(dataset), made_up(dataset, first or MADE_UP_ROWS)])


def fixtures(dataset):
    """Returns the good, bad and faulty rows of fixtures/datasets, with the code of each bad one."""
    folder = place.ROOT / "fixtures" / "datasets" / dataset
    expected = json.loads((folder / "bad-rows.expected.json").read_text())
    found = []
    for name in filter(lambda name: (folder / name).exists(), FIXTURES):
        one = load(folder / name)
        codes = [row["code"] for row in expected.get(name, [])]
        bad = dict(zip(one.offsets, codes, strict=True)) if codes else {}
        found.append(Object(name, one.body, one.offsets, bad))
    return found


def made_up(dataset, count):
    """Returns rows of `tributary simulate`, all of them good; `covid` as the CSV that its source publishes.

    Readings of devices end now: rules with `within` raise no alert of older ones.
    """
    name, body = f"{dataset}.jsonl", simulate(dataset, count, *_start(dataset, count))
    if dataset == "covid":
        name, body = f"{dataset}.csv", as_csv(body)
    return Object(name, body, [row.offset for row in rows.read(name, body).rows], {})


def _start(dataset, count):
    """Returns the options for a feed of devices that ends now."""
    if dataset not in DEVICES:
        return ()
    devices, interval = DEVICES[dataset]
    return "--start", (datetime.now(UTC) - timedelta(seconds=interval * count / devices)).strftime("%Y-%m-%dT%H:%M:%SZ")


def simulate(dataset, count, *more):
    """Generates `count` rows as JSON Lines, unless `more` sends them elsewhere."""
    options = SIMULATED[dataset]
    if dataset in DEVICES:
        devices, interval = DEVICES[dataset]
        options = ("--devices", devices, "--interval", f"{interval}s", *options)
    return tributary("simulate", dataset, "--count", count, *options, *FAULTS, *more)


def tributary(*arguments, env=None):
    """Runs the tributary command; returns its standard output."""
    if not CLI.exists():
        raise FileNotFoundError(f"{place.relative(CLI)} is not there: `make cli` builds it")
    done = subprocess.run([CLI, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, check=False, env=env)
    if done.returncode:
        raise RuntimeError(f"tributary {arguments[0]} {arguments[1]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def as_csv(body):
    """Converts JSON Lines to a CSV with the fields of all rows, in order of appearance."""
    documents = [json.loads(line) for line in body.splitlines()]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for one in documents for name in one)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(documents)
    return out.getvalue().encode()


def shorten_redelivery(stack, row_count):
    """Shortens the visibility timeout, so that the message of a killed function is redelivered within seconds.

    In the cloud it is six times the function's timeout, as AWS recommends: half an hour, too long for a laptop. It is
    not shorter than reading the object takes, or the object would be read twice.
    """
    seconds = max(20, row_count // 50)
    stack.client("sqs").set_queue_attributes(
        QueueUrl=stack.outputs["IngestQueueUrl"], Attributes={"VisibilityTimeout": str(seconds)})
    return seconds
