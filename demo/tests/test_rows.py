"""The count of rows, against the fixtures and against files made here."""

import gzip
import json
import unittest

from demo import place, rows

ACCIDENTS = place.ROOT / "fixtures" / "datasets" / "accidents"
REFUSED_BUT_READABLE = {"duplicate-column.csv": 6, "missing-required-column.csv": 6, "unknown-columns.csv": 2}


def offsets(text, name="x.csv"):
    return [row.offset for row in rows.read(name, text.encode()).rows]


class Fixtures(unittest.TestCase):
    def test_each_file_has_the_rows_that_its_expectation_says(self):
        expected = json.loads((ACCIDENTS / "files" / "expected.json").read_text())
        for name, summary in expected.items():
            if "refused" in summary:
                continue
            with self.subTest(name):
                found = rows.read(name, (ACCIDENTS / "files" / name).read_bytes())
                self.assertEqual(len(found.rows), summary["rows"])

    def test_the_default_file_has_its_bad_rows_where_the_expectation_says(self):
        expected = json.loads((ACCIDENTS / "demo.expected.json").read_text())
        found = [row.offset for row in rows.read("demo.csv", (ACCIDENTS / "demo.csv").read_bytes()).rows]

        self.assertEqual(len(found), expected["rows"])
        self.assertLessEqual({bad["offset"] for bad in expected["bad_by_line"]}, set(found))
        self.assertEqual(found[expected["bad_by_line"][0]["row"] - 1], expected["bad_by_line"][0]["offset"])

    def test_a_file_that_will_be_refused_is_counted_all_the_same(self):
        for name, count in REFUSED_BUT_READABLE.items():
            with self.subTest(name):
                self.assertEqual(len(rows.read(name, (ACCIDENTS / "files" / name).read_bytes()).rows), count)


class Csv(unittest.TestCase):
    def test_a_quoted_cell_may_hold_line_ends_commas_and_quotes(self):
        self.assertEqual(offsets('a,b\n1,"x\ny, ""z"""\n2,w\n'), [4, 19])

    def test_crlf_bom_and_a_missing_last_line_end_change_nothing(self):
        self.assertEqual(len(offsets("\ufeffa,b\r\n1,2\r\n\r\n3,4")), 2)

    def test_a_broken_row_costs_its_own_line_and_no_other(self):
        self.assertEqual(offsets('a,b\n1,"x\n2,y\n3,"z"\n'), [4, 9, 13])
        self.assertEqual(offsets('a,b\n1,x"y\n2,y\n'), [4, 10])

    def test_a_row_over_two_lines_with_too_many_cells_is_two_broken_rows(self):
        self.assertEqual(offsets('a,b\n1,"x\ny",3\n2,w\n'), [4, 9, 14])

    def test_the_first_rows_keep_their_bytes_and_their_header(self):
        found = rows.read("x.csv", b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n2,w\r\n')

        self.assertEqual(found.first(1), b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n')
        self.assertEqual(found.first(9), b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n2,w\r\n')

    def test_nothing_and_blank_lines_are_no_rows(self):
        for text in ("", "\n\n", "a,b\n", "\r\na,b\r\n\r\n"):
            self.assertEqual(offsets(text), [])


class OtherForms(unittest.TestCase):
    def test_each_line_of_json_lines_that_is_not_blank_is_a_row(self):
        self.assertEqual(offsets('{"a":1}\n\n{broken\n{"a":2}', "x.jsonl"), [0, 9, 17])

    def test_gzip_members_are_read_one_after_another(self):
        content = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n")

        self.assertEqual(len(rows.read("x.csv.gz", content).rows), 2)

    def test_a_damaged_gzip_has_its_whole_lines_and_one_row_for_the_damage(self):
        whole = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * 7919) for n in range(2000))
        found = rows.read("x.csv.gz", gzip.compress(whole)[:-2000])

        self.assertTrue(found.damage)
        self.assertEqual(found.rows[-1].offset, len(found.data))
        self.assertTrue(whole.startswith(found.data))


if __name__ == "__main__":
    unittest.main()
