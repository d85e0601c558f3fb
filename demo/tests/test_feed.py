"""Input of feeds, and the identities of its rows."""

import base64
import json
import unittest
from collections import Counter
from types import SimpleNamespace

from demo import aggregates, devices, feed, kafka, place, probe

KPL = place.ROOT / "fixtures" / "kpl"


def document(source):
    return SimpleNamespace(source=source)


class Objects(unittest.TestCase):
    def test_row_is_identified_by_file_and_offset(self):
        one = feed.files("flood", place.ROOT / "fixtures" / "datasets" / "flood" / "valid.csv")

        self.assertEqual(one.identify(document("s3://b/flood/a b?.csv?versionId=v#offset=12&row=1")), ("a b?.csv", 12))
        for other in ("s3://b/covid/x.csv?versionId=v#offset=12&row=1", "http:flood/c#k&item=1", "sqs:1"):
            self.assertIsNone(one.identify(document(other)))

    def test_every_bad_row_has_its_code(self):
        for dataset in ("covid", "flood", "telemetry"):
            by_name = {one.name: one for one in feed.fixtures(dataset)}

            with self.subTest(dataset):
                self.assertEqual(len(by_name["bad-rows.csv"].bad), len(by_name["bad-rows.csv"].offsets))
                self.assertEqual(by_name["valid.jsonl"].bad, {})

    def test_first_rows_have_only_their_bad_rows(self):
        whole, part = feed.files("accidents"), feed.files("accidents", first=20)

        self.assertEqual((whole.row_count, len(whole.bad)), (300, 18))
        self.assertEqual((part.row_count, len(part.bad)), (20, 1))
        self.assertIsNone(feed.files("accidents", place.ROOT / "fixtures" / "datasets" / "accidents" / "valid.csv").bad)

    def test_made_up_rows_as_csv_keep_every_field(self):
        text = feed.as_csv(b'{"date":"d","fips":"1"}\n{"date":"e","deaths":"2"}\n')

        self.assertEqual(text, b"date,fips,deaths\nd,1,\ne,,2\n")


class Devices(unittest.TestCase):
    def setUp(self):
        self.one = devices.Devices(90)
        self.request = self.one.requests[0]

    def answer(self, changes=()):
        entries = [
            {"item": at, "status": "rejected", "code": code} if code else {"item": at, "status": "accepted", "record_id": f"r{at}"}
            for at, (_, code) in enumerate(self.request)]
        for at, entry in changes:
            entries[at] = {"item": at, **entry}
        return {"items": entries}

    def raw(self):
        return {f"r{at}": ("batch-0", at) for at, (_, code) in enumerate(self.request) if not code}

    def test_readings_are_deterministic_with_bad_ones(self):
        self.assertEqual(devices.items(90), devices.items(90))
        self.assertEqual(self.one.row_count, 90 + len(self.one.bad))
        self.assertGreater(len(self.one.bad), 8)
        self.assertGreater(max(Counter(line for line, _ in devices.items(90)).values()), 1)

    def test_item_is_identified_by_request_and_position(self):
        for signed in ("", "&principal=1:user/a", "&principal=1:assumed-role/a&session=s"):
            source = f"http:telemetry/demo-gateway#batch-0&item=7{signed}"
            self.assertEqual(self.one.identify(document(source)), ("batch-0", 7))
        self.assertIsNone(self.one.identify(document("http:telemetry/other#batch-0&item=7")))

    def test_a_good_answer_contradicts_nothing(self):
        self.one.note(0, self.request, 207, self.answer())
        self.one.note(0, self.request, 207, self.answer())

        self.assertEqual(self.one.contradictions(self.raw()), [])
        self.assertEqual(self.one.rejected_codes.items(), {row: code for row, code in self.one.bad.items() if row[0] == "batch-0"}.items())

    def test_wrong_status_and_record_id_are_reported(self):
        self.one.note(0, self.request, 202, self.answer())
        self.one.note(0, self.request, 207, self.answer([(1, {"status": "accepted", "record_id": "x"})]))

        found = self.one.contradictions(self.raw())
        self.assertEqual(len(found), 2)
        self.assertIn("due are 207", found[0])
        self.assertIn("another record_id", found[1])

    def test_missing_and_unanswered_items_are_reported(self):
        self.one.note(0, self.request, 207, self.answer())
        raw = self.raw()
        del raw["r1"]
        raw["other"] = ("batch-0", 999)

        found = self.one.contradictions(raw)
        self.assertIn("1 accepted items", found[0])
        self.assertIn("1 items were stored", found[1])


class Topic(unittest.TestCase):
    def test_record_is_identified_by_its_content(self):
        self.assertEqual(kafka.content(b'{"a":1.50,"b":[true]}'), kafka.content(b' {"b": [true], "a": 1.50}'))
        self.assertNotEqual(kafka.content(b'{"a":1.5}'), kafka.content(b'{"a":1.50}'))
        self.assertNotEqual(kafka.content(b'{"a'), kafka.content(b'{"b'))

    def test_output_has_the_identity_of_its_input(self):
        line = b'{"sensor_id":"s","water_level":1.250}'
        topic = kafka.Topic.__new__(kafka.Topic)
        record = SimpleNamespace(source="kafka:flood-2#offset=7", payload=probe.lines(line)[0])
        bad = SimpleNamespace(source="kafka:flood-2#offset=8", payload_base64=base64.b64encode(b"\xff").decode())

        self.assertEqual(topic.identify(record), ("flood", kafka.content(line)))
        self.assertEqual(topic.identify(bad), ("flood", kafka.content(b"\xff")))
        self.assertIsNone(topic.identify(SimpleNamespace(source="kafka:other-0#offset=1", payload={})))

    def test_only_bad_objects_become_records(self):
        fixture = next(one for one in feed.fixtures("flood") if one.name == "bad-rows.jsonl")
        found = kafka.bad_objects(fixture)

        self.assertEqual(len(found), len(fixture.bad) - 2)
        self.assertNotIn("invalid_json", found.values())


class Aggregates(unittest.TestCase):
    def test_aggregate_of_another_library_is_split(self):
        for path in sorted(KPL.glob("*.bin")):
            expected = json.loads(path.with_suffix(".json").read_text())

            with self.subTest(path.name):
                found = aggregates.records(path.read_bytes())
                self.assertEqual(
                    found, [(one["partition_key"], base64.b64decode(one["data_base64"])) for one in expected])

    def test_damaged_aggregate_is_reported(self):
        whole = (KPL / "one-record.bin").read_bytes()

        for damaged in (whole[:-1], whole[:6] + b"?" + whole[7:], whole[:4]):
            with self.assertRaises(ValueError):
                aggregates.records(damaged)

    def test_layer_keeps_the_digits_of_numbers(self):
        self.assertEqual(len(probe.lines((KPL / "one-key-for-all.bin").read_bytes())), len(json.loads((KPL / "one-key-for-all.json").read_text())))
        self.assertEqual(probe.lines(b'{"t":1762344000.123456789}\n\n{"t":1}'), [{"t": "1762344000.123456789"}, {"t": 1}])


if __name__ == "__main__":
    unittest.main()
