"""Payloads that are sent, the objects they need, and the comparison of answers."""

import json
import tempfile
import unittest
from pathlib import Path

from demo import place, replay


class Cases(unittest.TestCase):
    def test_every_payload_has_its_expected_answer(self):
        cases = replay.find_cases(replay.EVENTS)

        self.assertEqual({case[0] for case in cases}, set(place.FUNCTIONS.values()))
        for function, name, _, expected in cases:
            with self.subTest(f"{function}/{name}"):
                self.assertTrue(expected.exists())

    def test_one_function_or_one_case_can_be_chosen(self):
        some = replay.find_cases(replay.EVENTS, "transform")
        self.assertEqual({case[0] for case in some}, {"transform"})

        function, name = some[0][:2]
        self.assertEqual([case[:2] for case in replay.find_cases(replay.EVENTS, f"{function}/{name}")], [(function, name)])

    def test_named_objects_are_fixtures(self):
        for fixture in replay.OBJECTS.values():
            self.assertTrue((place.ROOT / fixture).exists(), fixture)


class Buckets(unittest.TestCase):
    def test_notifications_and_continuations_name_buckets(self):
        notice = {"Records": [{"s3": {"bucket": {"name": "one"}, "object": {"key": "k"}}}]}
        bodies = [notice, {"tributary": "continuation", "bucket": "two"}, {"Event": "s3:TestEvent", "Bucket": "x"}]
        payload = {"Records": [{"body": json.dumps(body)} for body in bodies] + [{"body": "no json"}, {}]}

        self.assertEqual(replay.buckets_of(payload), {"one", "two"})


class Judge(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.expected = Path(folder.name) / "x.expected.json"
        self.expected.write_text('{"batchItemFailures": []}')

    def test_spacing_of_an_answer_is_ignored(self):
        self.assertIsNone(replay.judge(0, '{"batchItemFailures":[]}\n', "", self.expected))

    def test_wrong_value_or_exit_code_fails(self):
        self.assertIn("expected", replay.judge(0, '{"batchItemFailures":[{}]}', "", self.expected))
        self.assertIn("no JSON", replay.judge(0, "oops", "", self.expected))
        self.assertEqual(replay.judge(1, "", "refused\n", self.expected), "refused")


if __name__ == "__main__":
    unittest.main()
