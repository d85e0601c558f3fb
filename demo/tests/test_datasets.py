"""Natural keys: equal for a row and its event, however the row is written."""

import csv
import json
import unittest

from demo import datasets, place, probe, rows

FIXTURES = place.ROOT / "fixtures" / "datasets"
NOON = 1_762_344_000 * 10**9


class Instants(unittest.TestCase):
    def test_each_form_of_one_instant(self):
        for value in (
            "2025-11-05T12:00:00Z", "2025-11-05 12:00:00", "2025-11-05t12:00:00.000", "2025-11-05T13:30:00+01:30",
            "2025-11-05T04:00:00-08:00", 1_762_344_000, "1762344000.0", 1_762_344_000_000, 1_762_344_000_000_000, " 1762344000 ",
        ):
            with self.subTest(value):
                self.assertEqual(datasets.instant(value), NOON)

    def test_fraction_keeps_every_digit(self):
        self.assertEqual(datasets.instant("1762344000.123456789"), NOON + 123_456_789)
        self.assertEqual(datasets.instant("2025-11-05T12:00:00.123456789Z"), NOON + 123_456_789)
        self.assertEqual(datasets.instant("1969-12-31T23:59:59.5Z"), -500_000_000)

    def test_invalid_times(self):
        for value in (None, "", True, {}, "now", "2025-11-05", "2025-02-30T00:00:00Z", 0, 20251105, "2025-11-05T12:60:00Z"):
            with self.subTest(value):
                self.assertIsNone(datasets.instant(value))


class Keys(unittest.TestCase):
    def test_both_forms_of_a_fixture_have_equal_keys(self):
        for dataset in ("covid", "flood", "telemetry"):
            keys = [set(self.keys_of(dataset, name)) for name in ("valid.csv", "valid.jsonl")]

            with self.subTest(dataset):
                self.assertNotIn(None, keys[0] | keys[1])
                # A county without a code is identified by its state, by name or by abbreviation.
                self.assertEqual(keys[0], keys[1])

    def keys_of(self, dataset, name):
        text = (FIXTURES / dataset / name).read_text()
        found = probe.lines(text.encode()) if name.endswith("l") else list(csv.DictReader(text.splitlines()))
        return [datasets.row_key(dataset, payload) for payload in found]

    def test_a_row_has_the_key_of_its_event(self):
        for dataset, payload, attributes, event_time in (
            ("accidents", {"ID": " A-1 "}, {"id": "A-1"}, None),
            ("covid", {"date": "2030-01-01", "county": "x", "state": "y", "fips": 1001}, {"date": "2030-01-01", "fips": "01001"}, None),
            ("covid", {"date": "2030-01-01", "county": "Unknown", "state": "alaska"},
             {"date": "2030-01-01", "county": "Unknown", "state": "AK", "state_name": "Alaska"}, None),
            ("covid", {"date": "2030-01-01", "county": "Unknown", "state": "AK"},
             {"date": "2030-01-01", "county": "Unknown", "state": "AK", "state_name": "Alaska"}, None),
            ("flood", {"sensor_id": 7, "timestamp": 1_762_344_000}, {"sensor_id": "7"}, "2025-11-05T12:00:00Z"),
            ("telemetry", {"sensor_id": "", "device_id": "d", "timestamp": "2025-11-05 12:00:00.5"}, {"sensor_id": "d"},
             "2025-11-05T12:00:00.5Z"),
        ):
            event = {"dataset": dataset, "attributes": attributes, "event_time": event_time}

            with self.subTest(payload):
                self.assertIn(datasets.row_key(dataset, payload), datasets.event_keys(event))

    def test_bad_rows_never_fail(self):
        for dataset in ("covid", "flood", "telemetry"):
            content = (FIXTURES / dataset / "bad-rows.jsonl").read_bytes()
            for row in rows.read("bad-rows.jsonl", content).rows:
                try:
                    payload = json.loads(content[row.offset:row.end])
                except ValueError:
                    continue
                datasets.row_key(dataset, payload)

    def test_unknown_dataset_has_no_keys(self):
        self.assertIsNone(datasets.row_key("parking", {"ID": "1"}))
        self.assertEqual(datasets.event_keys({"dataset": "parking"}), [])


if __name__ == "__main__":
    unittest.main()
