"""The report: its checks and its layout."""

import json
import tempfile
import unittest
from dataclasses import asdict
from pathlib import Path

from demo import configuration, probe, report, show
from demo.books import Line
from demo.probe import Series


CUTS = {"accidents by severity,state": 2.0, "accidents by county,state": 2.0, "accidents by city,state": 2.0}


def a_line(feed="accidents", **counts):
    return {**asdict(Line(feed, "accidents", rows=4, raw_records=3, events=2, quarantined=2, quarantined_at_ingest=1)), **counts}


def a_report(**changes):
    values = {
        "rows": 4, "raw_records": 3, "events": 2, "quarantined": 2, "quarantined_at_ingest": 1, "rejected": 0, "filtered": 0,
        "duplicates": 0, "lost": 0, "alerts": 1, "metrics": 2, "raw_objects": 3, "analytics_rows": 2,
        "input": "x.csv", "feeds": [a_line()], "alerts_expected": 1, "refused": {}, "bad_rows_by_code": {"out_of_range": 2},
        "with_faults": 1, "faults": {"accidents humidity_pct:out_of_range": 1},
        "datasets": {"accidents": {"events": 2, "by": "severity", "values": {"2": 1, "4": 1}}}, "metric_sums": CUTS,
        "top_metrics": report.top_metrics([Series("accidents", {"severity": "2", "state": "CA"}, 1.0, 1.0)]),
        "layers": {"raw": {"objects": 3, "bytes": 12_345}}, "deliveries": {},
        "failures": {}, "functions": {"transform": probe.add_batches([{name: 1 for name in probe.BATCH_COUNTS}])},
    }
    return report.Report(**{**values, **changes})


class Layer:
    def __init__(self, objects):
        self.objects, self.prefix, self.bucket = objects, "errors/", "bucket"


def check(objects=0, dead_letters=0, **changes):
    one = a_report(**changes)
    report._check_the_ends(one, configuration.SHIPPED, {"raw errors": Layer(objects)}, dead_letters)
    return one


class Ends(unittest.TestCase):
    def test_a_good_run_has_no_problem(self):
        self.assertEqual(check().problems, [])

    def test_each_imbalance_is_reported(self):
        for changes in (
            {"datasets": {"accidents": {"events": 1}}}, {"datasets": {}},
            {"datasets": {"accidents": {"events": 2}, "flood": {"events": 1}}},
            {"metric_sums": {**CUTS, "accidents by severity,state": 1.0}}, {"objects": 1}, {"dead_letters": 1},
        ):
            with self.subTest(changes):
                self.assertEqual(len(check(**changes).problems), 1)

    def test_every_metric_that_counts_is_checked(self):
        self.assertEqual(len(check(metric_sums={}).problems), 3)

    def test_duplicate_keys_are_one_event_in_athena(self):
        one = check(feeds=[a_line(duplicates=1)], metric_sums={name: 3.0 for name in CUTS})

        self.assertEqual((one.notes, one.problems), ([], []))

    def test_double_counting_is_a_note(self):
        one = check(metric_sums={**CUTS, "accidents by severity,state": 3.0})

        self.assertEqual((len(one.notes), one.problems), (1, []))


class Metrics(unittest.TestCase):
    SERIES = [
        Series("accidents", {"severity": "2", "state": "CA"}, 5.0, 5.0),
        Series("accidents", {"severity": "4", "state": "CA"}, 1.0, 1.0),
        Series("accidents", {"state": "CA", "city": "Gary"}, 6.0, 6.0),
        Series("temperature_c", {"dataset": "accidents", "state": "CA"}, 60.0, 6.0),
    ]

    def test_dimension_sets_are_summed_separately(self):
        sums = report.metric_sums(self.SERIES)

        self.assertEqual(sums["accidents by severity,state"], 6.0)
        self.assertEqual(sums["accidents by city,state"], 6.0)

    def test_largest_series_come_first(self):
        top = report.top_metrics(self.SERIES)

        self.assertEqual(top["accidents by severity,state"][0]["dimensions"]["severity"], "2")
        self.assertEqual(top["temperature_c by dataset,state"][0]["mean"], 10.0)


def shown(one):
    lines = []
    show.show(one, [{"rule": "severe-accident", "title": "Severe accident in CA/Alameda"}], lines.append)
    return "\n".join(lines)


class Shown(unittest.TestCase):
    def test_every_part_is_shown_in_short_lines(self):
        text = shown(a_report())

        for title in ("The books", "severity 2", "from Athena", "Metrics", "Objects per layer", "Batches", "Alerts"):
            self.assertIn(title, text)
        self.assertLess(max(len(line) for line in text.splitlines()), 120)

    def test_each_feed_has_a_line(self):
        lines = shown(a_report(feeds=[a_line(), a_line("http", rejected=1)])).splitlines()

        table = [line for line in lines if line.startswith(("  feed", "  accidents  ", "  http", "  total"))][:4]
        self.assertEqual([line.split()[0] for line in table], ["feed", "accidents", "http", "total"])
        self.assertEqual(len({len(line) for line in table}), 1)

    def test_most_frequent_values_are_shown(self):
        values = {f"{number:02}": number for number in range(1, 20)}
        text = shown(a_report(datasets={"covid": {"events": 190, "by": "state", "values": values}}))

        self.assertIn("state 19", text)
        self.assertIn("and 13 more", text)
        self.assertNotIn("state 01", text)

    def test_the_last_line_says_whether_it_balances(self):
        lines = []
        show.show_end(a_report(balanced=True), lines.append)
        self.assertIn("The books balance: 4 rows = 2 events + 2 quarantined + 0 filtered", lines[-1])

        lines.clear()
        show.show_end(a_report(problems=["1 rows are lost"]), lines.append)
        self.assertEqual(lines[-1], "does not balance: 1 rows are lost")

    def test_the_file_holds_every_field(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "demo" / "report.json"
            report.write(a_report(), path)
            written = json.loads(path.read_text())

        self.assertLessEqual(
            {
                "rows", "raw_records", "events", "quarantined", "quarantined_at_ingest", "filtered", "lost",
                "alerts", "metrics", "raw_objects", "analytics_rows", "feeds", "datasets",
            },
            set(written))


class Failures(unittest.TestCase):
    def test_failures_are_counted_by_function(self):
        log = "".join(
            f"WARNING [lambda] ESM: Lambda t-alerts failed processing Kinesis batch from s/0 (errorType=X errorMessage={m})\n"
            for m in ("first", "second (a)"))

        self.assertEqual(probe.failures(log)["t-alerts"]["count"], 2)
        self.assertTrue(probe.failures(log)["t-alerts"]["last"].startswith("second (a"))


class BatchLines(unittest.TestCase):
    def test_only_batch_lines_count(self):
        line = {"_aws": {}, "function": "transform", "in": 3, "out": 2, "quarantined": 1}
        by_code = {"_aws": {}, "function": "transform", "code": "out_of_range", "quarantined": 1}

        self.assertEqual(probe.batch_line(json.dumps(line))["quarantined"], 1)
        for other in (json.dumps(by_code), "START RequestId: 1", "[1]", json.dumps({"in": 3})):
            self.assertIsNone(probe.batch_line(other))


if __name__ == "__main__":
    unittest.main()
