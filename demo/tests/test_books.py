"""The books, over runs that went well and runs that did not."""

import unittest

from demo.books import Seen, is_complete, settle

OFFSETS = [100, 200, 300, 400]


def raw(number, offset, key):
    return {
        "dataset": "accidents", "record_id": f"r{number}", "payload": {"ID": key},
        "source": f"s3://bucket/accidents/x.csv?versionId=v#offset={offset}&row={number}",
    }


def bad(number, offset, at_ingest=False):
    row = {
        "code": "out_of_range", "record_id": f"r{number}",
        "source": f"s3://bucket/accidents/x.csv?versionId=v#offset={offset}&row={number}",
    }
    return row if at_ingest else {**row, "sequence_number": "1"}


def event(key, severity=2.0):
    return {
        "kind": "reading", "dataset": "accidents", "event_id": f"e-{key}",
        "attributes": {"id": key}, "measures": {"severity": severity},
    }


def alert(key):
    return {"rule": "severe-accident", "event": {"event_id": f"e-{key}"}}


def a_good_run():
    """Four rows: one bad at ingest, one bad later, two events, one of them severe."""
    seen = Seen()
    seen.add_bad(bad(1, 100, at_ingest=True))
    for number, offset, key in ((2, 200, "A-2"), (3, 300, "A-3"), (4, 400, "A-4")):
        seen.add_raw(raw(number, offset, key))
    seen.add_bad(bad(2, 200))
    seen.add_event(event("A-3"))
    seen.add_event(event("A-4", 4.0))
    seen.add_alert(alert("A-4"))
    return seen


class Balanced(unittest.TestCase):
    def test_every_row_ends_as_one_thing(self):
        books = settle(OFFSETS, a_good_run(), 0)

        self.assertEqual(books.problems, [])
        self.assertEqual(
            (books.rows, books.raw_records, books.events, books.quarantined, books.quarantined_at_ingest),
            (4, 3, 2, 2, 1))
        self.assertEqual((books.filtered, books.lost, books.alerts, books.severe), (0, 0, 1, 1))

    def test_a_second_delivery_changes_nothing(self):
        seen = a_good_run()
        seen.add_raw(raw(3, 300, "A-3"))
        seen.add_bad(bad(2, 200))
        seen.add_event(event("A-4", 4.0))
        seen.add_alert(alert("A-4"))

        self.assertEqual(settle(OFFSETS, seen, 0), settle(OFFSETS, a_good_run(), 0))

    def test_rows_with_the_same_key_are_one_event_and_counted_apart(self):
        seen = a_good_run()
        seen.add_raw(raw(5, 500, "A-3"))

        books = settle([*OFFSETS, 500], seen, 0)

        self.assertEqual((books.events, books.duplicates, books.problems), (2, 1, []))

    def test_what_was_filtered_is_not_lost(self):
        seen = a_good_run()
        seen.add_raw(raw(5, 500, "A-5"))

        books = settle([*OFFSETS, 500], seen, 1)

        self.assertEqual((books.filtered, books.lost, books.problems), (1, 0, []))

    def test_an_object_refused_whole_counts_as_one_row(self):
        seen = Seen()
        seen.add_bad({"code": "missing_column", "record_id": "o", "source": "s3://bucket/accidents/x.csv?versionId=v#offset=0&row=0"})

        books = settle(OFFSETS, seen, 0)

        self.assertEqual((books.rows, books.quarantined, books.lost), (1, 1, 0))
        self.assertEqual((books.refused, books.problems), ("missing_column", []))
        self.assertTrue(is_complete(OFFSETS, seen))

    def test_a_window_is_no_row(self):
        seen = a_good_run()
        seen.add_event({**event("A-9"), "kind": "window"})

        self.assertEqual(settle(OFFSETS, seen, 0).events, 2)


class Unbalanced(unittest.TestCase):
    def test_a_row_that_ingest_never_passed_on_is_lost(self):
        books = settle([*OFFSETS, 500], a_good_run(), 0)

        self.assertEqual((books.lost, books.lost_offsets), (1, [500]))
        self.assertIn("1 of 5 rows are lost", books.problems)

    def test_a_record_that_became_nothing_is_lost(self):
        seen = a_good_run()
        del seen.events["e-A-3"]

        books = settle(OFFSETS, seen, 0)

        self.assertEqual((books.lost, books.lost_records), (1, ["r3"]))

    def test_more_missing_than_filtered_is_lost(self):
        seen = a_good_run()
        seen.add_raw(raw(5, 500, "A-5"))
        seen.add_raw(raw(6, 600, "A-6"))

        books = settle([*OFFSETS, 500, 600], seen, 1)

        self.assertEqual((books.filtered, books.lost), (1, 1))

    def test_a_loss_is_not_hidden_by_a_row_too_many(self):
        seen = a_good_run()
        seen.add_raw(raw(7, 777, "A-7"))
        seen.add_event(event("A-7"))

        books = settle([*OFFSETS, 500], seen, 0)

        self.assertEqual(books.rows, books.events + books.quarantined)
        self.assertEqual(books.lost, 1)
        self.assertTrue(any("offsets" in problem for problem in books.problems))

    def test_a_record_in_quarantine_that_is_an_event_too(self):
        seen = a_good_run()
        seen.add_bad(bad(3, 300))

        self.assertTrue(any("an event too" in problem for problem in settle(OFFSETS, seen, 0).problems))

    def test_a_missing_alert(self):
        seen = a_good_run()
        seen.alerts.clear()

        self.assertTrue(any("alerts" in problem for problem in settle(OFFSETS, seen, 0).problems))


class Complete(unittest.TestCase):
    def test_only_when_every_row_and_every_alert_is_there(self):
        seen = a_good_run()
        self.assertTrue(is_complete(OFFSETS, seen))
        self.assertFalse(is_complete([*OFFSETS, 500], seen))

        seen.alerts.clear()
        self.assertFalse(is_complete(OFFSETS, seen))


if __name__ == "__main__":
    unittest.main()
