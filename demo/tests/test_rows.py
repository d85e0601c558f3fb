"""Row counts of the fixtures and of files made here."""

import gzip
import json
import unittest

from demo import place, rows

ACCIDENTS = place.ROOT / "fixtures" / "datasets" / "accidents"
REFUSED_BUT_READABLE = {"duplicate-column.csv": 6, "missing-required-column.csv": 6, "unknown-columns.csv": 2}


def offsets(text, name="x.csv"):
    return [row.offset for row in rows.read(name, text.encode()).rows]


class Fixtures(unittest.TestCase):
    def test_each_file_has_its_expected_rows(self):
        expected = json.loads((ACCIDENTS / "files" / "expected.json").read_text())
        for name, summary in expected.items():
            if "refused" in summary:
                continue
            with self.subTest(name):
                found = rows.read(name, (ACCIDENTS / "files" / name).read_bytes())
                self.assertEqual(len(found.rows), summary["rows"])

    def test_demo_file_has_its_expected_bad_rows(self):
        expected = json.loads((ACCIDENTS / "demo.expected.json").read_text())
        found = [row.offset for row in rows.read("demo.csv", (ACCIDENTS / "demo.csv").read_bytes()).rows]

        self.assertEqual(len(found), expected["rows"])
        self.assertLessEqual({bad["offset"] for bad in expected["bad_by_line"]}, set(found))
        self.assertEqual(found[expected["bad_by_line"][0]["row"] - 1], expected["bad_by_line"][0]["offset"])

    def test_file_to_be_rejected_is_counted(self):
        for name, count in REFUSED_BUT_READABLE.items():
            with self.subTest(name):
                self.assertEqual(len(rows.read(name, (ACCIDENTS / "files" / name).read_bytes()).rows), count)


class Csv(unittest.TestCase):
    def test_quoted_field_may_hold_any_text(self):
        self.assertEqual(offsets('a,b\n1,"x\ny, ""z"""\n2,w\n'), [4, 19])

    def test_crlf_bom_and_missing_newline_change_nothing(self):
        self.assertEqual(len(offsets("\ufeffa,b\r\n1,2\r\n\r\n3,4")), 2)

    def test_broken_row_is_one_line(self):
        self.assertEqual(offsets('a,b\n1,"x\n2,y\n3,"z"\n'), [4, 9, 13])
        self.assertEqual(offsets('a,b\n1,x"y\n2,y\n'), [4, 10])

    def test_broken_row_over_two_lines_is_two(self):
        self.assertEqual(offsets('a,b\n1,"x\ny",3\n2,w\n'), [4, 9, 14])

    def test_first_rows_keep_bytes_and_header(self):
        found = rows.read("x.csv", b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n2,w\r\n')

        self.assertEqual(found.first(1), b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n')
        self.assertEqual(found.first(9), b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n2,w\r\n')

    def test_blank_lines_are_no_rows(self):
        for text in ("", "\n\n", "a,b\n", "\r\na,b\r\n\r\n"):
            self.assertEqual(offsets(text), [])


class OtherForms(unittest.TestCase):
    def test_each_json_line_is_a_row(self):
        self.assertEqual(offsets('{"a":1}\n\n{broken\n{"a":2}', "x.jsonl"), [0, 9, 17])

    def test_gzip_members_are_read_one_after_another(self):
        content = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n")

        self.assertEqual(len(rows.read("x.csv.gz", content).rows), 2)

    def test_damaged_gzip_keeps_its_whole_lines(self):
        whole = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * 7919) for n in range(2000))
        found = rows.read("x.csv.gz", gzip.compress(whole)[:-2000])

        self.assertTrue(found.damage)
        self.assertEqual(found.rows[-1].offset, len(found.data))
        self.assertTrue(whole.startswith(found.data))


if __name__ == "__main__":
    unittest.main()
