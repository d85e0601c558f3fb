"""A file of a dataset that the functions do not have: `tributary init` writes its schema, `config push` puts it into use.

What must come of the rows is what `tributary run` makes of the same file. So these books compare the pipeline with one
process on this machine; they do not check the engine itself, which both share.
"""

import json
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from . import books, configuration, datasets, feed, place

_OFFSET = re.compile(r"#(?:.*&)?offset=(\d+)")


def dataset_of(path, folder):
    """Returns the dataset of the events of a file; None if it is of none in the configuration of `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        events = Path(scratch, "events")
        try:
            feed.tributary("run", path, "--config", folder, "--events", events, "--format", "json")
        except RuntimeError as fault:
            if "tributary init" in str(fault):
                return None
            raise
        found = _lines(events)
    if not found:
        raise ValueError(f"{path} has no row that becomes an event: tributary run {path} says why")
    return found[0]["dataset"]


def prepare(path, folder=None):
    """Returns the feed of a file, with a schema of `init` in a scratch folder, or with that of `folder`."""
    if folder is None:
        folder = place.DEMO_HOME / "config"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(configuration.SHIPPED.folder, folder)
        told = json.loads(feed.tributary("init", path, "--config", folder, "--format", "json"))
        print(f"init: {place.relative(told['file'])}, from {told['rows']} rows")
        for check in told["checks"]:
            print(f"  check: {check}")
        dataset = told["dataset"]
    else:
        dataset = dataset_of(path, folder)
        if dataset is None:
            raise ValueError(f"{path} is of no dataset in {folder}")
    return Own(dataset, path, configuration.Configuration(folder))


class Own(feed.Feed):
    """A file whose dataset the functions learn while they run."""

    verb = "upload"

    def __init__(self, dataset, path, config):
        self.path, self.config = path, config
        with tempfile.TemporaryDirectory() as scratch:
            events, bad = Path(scratch, "events"), Path(scratch, "bad")
            summary = json.loads(feed.tributary(
                "run", path, "--dataset", dataset, "--config", config.folder,
                "--events", events, "--bad-rows", bad, "--format", "json"))
            self.event_ids = [event["event_id"] for event in _lines(events)]
            codes = {(path.name, self._offset(row)): row["code"] for row in _lines(bad)}
        self.filtered = summary["filtered"]
        # The offsets of good rows are not known beforehand, only how many there are.
        super().__init__(dataset, dataset, path.name, Counter({(path.name, None): summary["rows"]}), codes)

    @staticmethod
    def _offset(document):
        found = _OFFSET.search(document["source"])
        return int(found[1]) if found else None

    def identify(self, document):
        if f"/{self.dataset}/{self.path.name}" not in document.source:
            return None
        return self.path.name, self._offset({"source": document.source})

    def files(self):
        return [(self.path.name, self.path.read_bytes())]

    def send(self, running):
        bucket, key = running.outputs["SourceBucketName"], f"{self.dataset}/{self.path.name}"
        running.client("s3").put_object(Bucket=bucket, Key=key, Body=self.path.read_bytes())
        return f"s3://{bucket}/{key}"

    def push(self, running):
        """Puts the configuration into use; returns a summary to print."""
        told = json.loads(feed.tributary(
            "config", "push", "--stack", running.name, "--config", self.config.folder, "--format", "json",
            env=running.environment))
        return f"config {told['version'][:12]}, with datasets/{self.dataset}.toml"

    def breakdown(self):
        """Returns the column by which the events are counted in Athena: the first dimension of the dataset's metric."""
        metrics = [one for one in self.config.entries("metrics") if one["dataset"] == self.dataset]
        names = [name for one in metrics for name in one["dimensions"]]
        return names and (names[0], names[0] if names[0] == "entity" else f"attributes['{names[0]}']")

    def settle(self, found, seen):
        """Reconciles what was found with what `tributary run` makes of the file; returns the line and the problems."""
        wanted = set(self.event_ids)
        arrived = {key for key, event in seen.events.items() if event["dataset"] == self.dataset}
        passed = [key for key in found.raw if key not in seen.bad]
        missing_rows = max(0, self.row_count - sum(found.identities.values()))
        line = books.Line(self.name, self.dataset, rows=self.row_count)
        line.raw_records, line.quarantined_at_ingest = len(found.raw), len(found.at_ingest)
        line.quarantined = len(found.raw) - len(passed) + len(found.at_ingest)
        line.events, line.filtered = len(wanted & arrived), min(self.filtered, len(passed))
        line.lost = missing_rows + len(wanted - arrived)
        line.duplicates = max(0, len(passed) - len(wanted) - line.filtered)
        problems = books.some(f"events that tributary run does not make of {self.name}", sorted(arrived - wanted))
        return line, wanted & arrived, problems


def _lines(path):
    # Not splitlines: a text may hold a line separator of Unicode.
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def register(given):
    """Makes the report count the events of the dataset by its breakdown."""
    cut = given.breakdown()
    if cut:
        datasets.DATASETS[given.dataset] = datasets.Dataset(lambda _: None, lambda _: (), cut)
