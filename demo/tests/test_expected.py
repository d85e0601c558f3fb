"""Expected alerts, and their source."""

import unittest
from unittest import mock

from demo import books, devices, expected, feed, kafka, place
from demo.tests.given import a_feed, alert


class Due(unittest.TestCase):
    def test_demo_file_expects_its_severe_accidents(self):
        found = expected.alerts([feed.files("accidents")])

        self.assertEqual((found.due, found.notes), ({"severe-accident": 15}, []))

    def test_part_of_demo_file_expects_what_run_finds(self):
        with mock.patch("demo.feed.tributary", return_value=b'{"alerts_by_rule":{"severe-accident":2}}') as run:
            found = expected.alerts([feed.files("accidents", first=20)])

        self.assertEqual((found.due, run.call_args.args[:5]), (
            {"severe-accident": 2}, ("run", "--dataset", "accidents", "--config", place.ROOT / "config")))

    def test_feeds_of_one_dataset_are_run_together(self):
        def run(*arguments):
            self.assertEqual([path.read_bytes() for path in arguments[7:]], [b"a", b"a"])
            return b'{"alerts_by_rule":{}}'

        feeds = [a_feed(), a_feed()]
        for one in feeds:
            one.objects = [feed.Object("x.csv", b"a", [])]
        with mock.patch("demo.feed.tributary", run):
            self.assertEqual(expected.alerts(feeds).due, {"severe-accident": 0})

    def test_unbuilt_command_leaves_alerts_unchecked(self):
        with mock.patch("demo.feed.CLI", feed.place.TARGET / "nothing"):
            found = expected.alerts([a_feed()])

        self.assertEqual(found.due, {})
        self.assertIn("alerts of accidents are not checked", found.notes[0])

    def test_rules_that_depend_on_arrival_are_unchecked(self):
        with mock.patch("demo.feed.tributary", return_value=b'{"alerts_by_rule":{"high-temperature":3}}'):
            found = expected.alerts([a_feed(dataset="telemetry")])

        self.assertEqual(found.due, {})
        self.assertIn("high-temperature, device-status, sustained-heat, silent-sensor", found.notes[0])


class Files(unittest.TestCase):
    def test_every_feed_has_its_rows_as_files(self):
        topic = kafka.Topic.__new__(kafka.Topic)
        topic.made_up = b'{"a":1}\n'
        sent = devices.Devices(90)

        (name, body), _ = topic.files()
        self.assertEqual((name, body), ("flood.jsonl", b'{"a":1}\n'))
        ((name, body),) = sent.files()
        self.assertEqual(body.splitlines(), [line for request in sent.requests for line, _ in request])
        self.assertEqual(a_feed().files(), [("x.csv", b"")])


class Came(unittest.TestCase):
    def test_unchecked_alert_is_counted_as_it_arrived(self):
        seen = books.Seen()
        seen.add_alert({**alert("A-4"), "rule": "sustained-heat"})
        seen.windows.add("e-A-4")

        self.assertEqual(books._alerts(seen, {}), (1, 1, []))


if __name__ == "__main__":
    unittest.main()
