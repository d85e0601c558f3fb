"""Repair of bad rows."""

import json
import tempfile
import unittest
from pathlib import Path

from demo import operate

EXPECTED = {"bad_by_line": [{"offset": 10, "row": 1}, {"offset": 20, "row": 2}, {"offset": 30, "row": 3}]}


class ByHand(unittest.TestCase):
    def mended(self, *rows):
        with tempfile.TemporaryDirectory() as folder:
            left, mended = Path(folder) / "left", Path(folder) / "mended"
            left.write_text("".join(json.dumps(row) + "\n" for row in rows))
            self.assertEqual(operate.by_hand(left, mended, EXPECTED), len(rows))
            return [json.loads(line) for line in mended.read_text().splitlines()]

    def test_bad_value_is_replaced_and_others_stay(self):
        row = {"source": "s3://b/k#offset=10&row=1", "field": "State", "payload": {"ID": "x", "State": "ZZ", "City": "Gary"}}

        payload = self.mended(row)[0]["payload"]

        self.assertEqual((payload["ID"], payload["City"]), ("A-9100001", "Gary"))
        self.assertNotEqual(payload["State"], "ZZ")

    def test_row_with_reversed_times_gets_both(self):
        row = {"source": "k#offset=20&row=2", "field": "End_Time", "payload": {"Start_Time": "2030", "End_Time": "2020"}}

        payload = self.mended(row)[0]["payload"]

        self.assertLess(payload["Start_Time"], payload["End_Time"])

    def test_unreadable_row_is_replaced_under_its_number(self):
        row = {"source": "k#offset=30&row=3", "field": "Description", "row": "\u0000"}

        mended = self.mended(row)[0]

        self.assertNotIn("row", mended)
        self.assertEqual(mended["payload"]["ID"], "A-9100003")


if __name__ == "__main__":
    unittest.main()
