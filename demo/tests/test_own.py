"""A file of a dataset that the functions do not have."""

import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from demo import books, configuration, own, run

SOURCE = "s3://b/air/air.csv?versionId=v#offset={}&row=1"


def command(*arguments, **_):
    """Acts as `tributary run` of five rows: three events, of which two are one, a bad row and a filtered one."""
    given = dict(zip(arguments, arguments[1:], strict=False))
    Path(given["--events"]).write_text("".join(f'{{"event_id":"{name}"}}\n' for name in "aab"))
    if "--bad-rows" in given:
        bad = {"source": "air.csv#offset=40&row=4", "code": "missing_field"}
        Path(given["--bad-rows"]).write_text(json.dumps(bad) + "\n")
    return json.dumps({"rows": 5, "filtered": 1}).encode()


def an_own_file():
    with mock.patch("demo.feed.tributary", command):
        return own.Own("air", Path("air.csv"), configuration.Configuration(Path("nowhere")))


def what_arrived(raw=(10, 20, 30, 40, 50), events="ab", code="missing_field"):
    seen = books.Seen()
    for offset in raw:
        seen.add_raw({"record_id": str(offset), "dataset": "air", "source": SOURCE.format(offset), "payload": {}})
    seen.add_bad({"record_id": "40", "code": code, "source": SOURCE.format(40), "sequence_number": "1"})
    for event_id in events:
        seen.add_event({"kind": "reading", "event_id": event_id, "dataset": "air"})
    return seen


def settled(**changes):
    return books.settle([an_own_file()], what_arrived(**changes), 0, {})


class Settling(unittest.TestCase):
    def test_rows_that_run_foresaw_balance(self):
        found = settled()

        line = found.lines[0]
        self.assertEqual(found.problems, [])
        self.assertEqual((line.rows, line.events, line.duplicates, line.quarantined, line.filtered, line.lost), (5, 2, 1, 1, 1, 0))

    def test_missing_row_and_missing_event_are_lost(self):
        self.assertEqual(settled(raw=(10, 20, 30, 40)).total.lost, 1)
        self.assertEqual(settled(events="a").total.lost, 1)

    def test_event_that_run_does_not_make_is_a_problem(self):
        self.assertTrue(any("does not make" in text for text in settled(events="abc").problems))

    def test_other_code_is_a_problem(self):
        self.assertTrue(any("should be missing_field" in text for text in settled(code="late_night").problems))


class Choosing(unittest.TestCase):
    def test_file_of_known_dataset_needs_no_schema(self):
        with mock.patch("demo.own.dataset_of", return_value="flood"), mock.patch("demo.feed.files") as files:
            run.feeds_of(None, Path("x.csv"))
        self.assertEqual(files.call_args.args[0], "flood")

    def test_file_of_unknown_dataset_is_prepared(self):
        with mock.patch("demo.own.dataset_of", return_value=None), mock.patch("demo.own.prepare") as prepare:
            run.feeds_of(None, Path("x.csv"))
        prepare.assert_called_once_with(Path("x.csv"), None)

    def test_configuration_without_file_is_refused(self):
        with self.assertRaises(ValueError):
            run.feeds_of(None, None, None, Path("mine"))


class Entries(unittest.TestCase):
    def test_entries_of_datasets_name_their_dataset(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "datasets").mkdir()
            (folder / "pipeline.toml").write_text('[[metrics]]\ndataset = "a"\nname = "x"\n')
            (folder / "datasets" / "b.toml").write_text('[[metrics]]\nname = "y"\n[[rules]]\nid = "z"\n')
            config = configuration.Configuration(folder)

            self.assertEqual([one["dataset"] for one in config.entries("metrics")], ["a", "b"])
            self.assertEqual(config.entries("rules"), [{"dataset": "b", "id": "z"}])


if __name__ == "__main__":
    unittest.main()
