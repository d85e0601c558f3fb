"""Windows of `tributary run` equal those of an engine that shares no code with it."""

import json
import random
import subprocess
import tempfile
import unittest
from datetime import datetime
from pathlib import Path

from tools import windows_sql

ROOT = Path(__file__).resolve().parents[2]
# `cargo test --workspace`, which `make test` runs first, builds it.
TRIBUTARY = ROOT / "target" / "bin" / "tributary"

# Faults of a feed: late, duplicate and lost records.
ROUGH = ["--late-rate", "0.2", "--duplicate-rate", "0.15", "--dropout-rate", "0.05", "--seed", "11"]
FEEDS = {
    "telemetry": ["--devices", "7", "--duration", "3h", "--shift-rate", "4"],
    "flood": ["--devices", "12", "--duration", "4d", "--interval", "5m", "--storm-rate", "1"],
    "accidents": ["--count", "6000"],
    "covid": ["--duration", "60d"],
}
TOLERANCE = 1e-9


def tributary(*arguments):
    if not TRIBUTARY.exists():
        raise AssertionError(f"{TRIBUTARY} is not there: `make cli` builds it")
    return subprocess.run([TRIBUTARY, *arguments], check=True, capture_output=True, text=True).stdout


def second(text):
    return int(datetime.fromisoformat(text).timestamp())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def differences(ours, theirs, has_scores):
    """Returns the differences between the windows of a spec, in words."""
    faults = [f"only one has the window {window}" for window in sorted(ours.keys() ^ theirs.keys())]
    for window in ours.keys() & theirs.keys():
        mine, other = ours[window], theirs[window]
        names = {name for name in mine if not (has_scores and name.endswith("_z"))}
        faults += [f"{window}: only one has {name}" for name in sorted(names ^ other.keys())]
        for name in names & other.keys():
            value, expected = mine[name], other[name]
            low, high = expected if isinstance(expected, tuple) else (expected, expected)
            room = TOLERANCE * max(abs(low), abs(high), 1.0)
            if not low - room <= value <= high + room:
                faults.append(f"{window}: {name} is {value!r} and {expected!r}")
    return faults


class Windows(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="tributary-windows-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.outputs = {feed: cls.run_feed(feed, options) for feed, options in FEEDS.items()}

    @classmethod
    def run_feed(cls, feed, options):
        """Returns the events and the windows of a feed with unordered lines."""
        folder = Path(cls.folder.name)
        rows = tributary("simulate", feed, *options, *ROUGH).splitlines(keepends=True)
        random.Random(7).shuffle(rows)
        file, events, windows = (folder / f"{feed}.{name}" for name in ("ndjson", "events", "windows"))
        file.write_text("".join(rows))
        report = json.loads(tributary("run", str(file), "--dataset", feed, "--events", str(events), "--windows", str(windows),
                                      "--format", "json"))
        assert report["windows"] == len(lines(windows)), report
        assert report["events"] > 1000, report
        return events, windows

    def test_windows_are_those_of_duckdb(self):
        specs = windows_sql.specs()
        self.assertEqual({spec["dataset"] for spec in specs.values()}, set(FEEDS))
        for feed, (events, windows) in self.outputs.items():
            connection = windows_sql.events(events)
            told = lines(windows)
            for name, spec in specs.items():
                if spec["dataset"] != feed:
                    continue
                with self.subTest(spec=name):
                    ours = {(it["entity"], second(it["window"]["start"])): it["measures"]
                            for it in told if it["window"]["spec"] == name}
                    theirs = windows_sql.windows(connection, spec)
                    self.assertGreater(len(ours), 60)
                    faults = differences(ours, theirs, "anomaly" in spec)
                    self.assertEqual(faults[:10], [], f"{len(faults)} differences in {len(ours)} windows of {name}")

    def test_each_window_is_emitted_once(self):
        for feed, (_, windows) in self.outputs.items():
            with self.subTest(feed=feed):
                told = [(it["window"]["spec"], it["entity"], second(it["window"]["start"])) for it in lines(windows)]
                self.assertEqual(told, sorted(set(told)))
                self.assertTrue(all(it["window"]["revision"] == 0 and it["kind"] == "window" for it in lines(windows)))

    def test_duplicate_reading_counts_once(self):
        events, _ = self.outputs["telemetry"]
        ids = [it["event_id"] for it in lines(events)]
        self.assertGreater(len(ids), len(set(ids)))

    def test_wrong_window_is_reported(self):
        right = {("a", 0): {"count": 2, "m_mean": 1.5}}
        self.assertEqual(differences(right, right, False), [])
        self.assertEqual(len(differences({("a", 0): {"count": 2, "m_mean": 1.5 + 1e-8}}, right, False)), 1)
        self.assertEqual(len(differences({("a", 0): {"count": 2}}, right, False)), 1)
        self.assertEqual(len(differences({}, right, False)), 1)

    def test_overlapping_windows_share_readings(self):
        connection = windows_sql.events(self.outputs["telemetry"][0])
        spec = windows_sql.specs()["telemetry-1m"]
        once, twice = (sum(it["count"] for it in windows_sql.windows(connection, spec | {"slide": hop}).values()) for hop in ("60s", "30s"))
        self.assertEqual(twice, 2 * once)


if __name__ == "__main__":
    unittest.main()
