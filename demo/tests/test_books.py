"""Reconciliation of good and of bad runs."""

import unittest
from collections import Counter

from demo import books
from demo.books import Seen
from demo.feed import Feed
from demo.tests.given import ALERTS_DUE, OFFSETS, a_feed, a_good_run, alert, bad, event, raw


def settle(seen, offsets=OFFSETS, filtered=0, codes=None, due=ALERTS_DUE):
    return books.settle([a_feed(offsets, codes)], seen, filtered, due)


class Balanced(unittest.TestCase):
    def test_every_row_has_one_result(self):
        settled = settle(a_good_run())
        total = settled.total

        self.assertEqual(settled.problems, [])
        self.assertTrue(settled.complete)
        self.assertEqual(
            (total.rows, total.raw_records, total.events, total.quarantined, total.quarantined_at_ingest), (4, 3, 2, 2, 1))
        self.assertEqual((total.filtered, total.lost, settled.alerts, settled.alerts_expected), (0, 0, 1, 1))

    def test_a_second_delivery_changes_nothing(self):
        seen = a_good_run()
        seen.add_raw(raw(3, 300, "A-3"))
        seen.add_bad(bad(2, 200))
        seen.add_event(event("A-4", 4.0))
        seen.add_alert(alert("A-4"))

        self.assertEqual(settle(seen), settle(a_good_run()))

    def test_alert_in_a_digest_is_found(self):
        seen = a_good_run()
        (told,) = seen.alerts.values()
        seen.alerts.clear()
        digest = {"rule": "severe", "alerts": 1, "keys": [{"key": "e-A-4", "events": 1, "alert_ids": [told["alert_id"]]}]}
        seen.add_alert(digest)

        settled = settle(seen)

        self.assertEqual((settled.problems, settled.alerts, settled.alerts_expected), ([], 1, 1))

    def test_rows_with_one_key_are_one_event(self):
        seen = a_good_run()
        seen.add_raw(raw(5, 500, "A-3"))

        settled = settle(seen, [*OFFSETS, 500])

        self.assertEqual((settled.total.events, settled.total.duplicates, settled.problems), (2, 1, []))

    def test_filtered_records_are_not_lost(self):
        seen = a_good_run()
        seen.add_raw(raw(5, 500, "A-5"))

        settled = settle(seen, [*OFFSETS, 500], filtered=1)

        self.assertEqual((settled.total.filtered, settled.total.lost, settled.problems), (1, 0, []))

    def test_rejected_object_counts_as_one_row(self):
        seen = Seen()
        seen.add_bad({**bad(0, 0, at_ingest=True), "code": "missing_column"})

        settled = settle(seen, due={"severe": 0})

        self.assertEqual((settled.total.rows, settled.total.quarantined, settled.total.lost), (1, 1, 0))
        self.assertEqual((settled.refused, settled.problems), ({"x.csv": "missing_column"}, []))
        self.assertTrue(settled.complete)

    def test_window_is_no_row(self):
        seen = a_good_run()
        seen.add_event({**event("A-9"), "kind": "window"})

        self.assertEqual(settle(seen).total.events, 2)


class Unbalanced(unittest.TestCase):
    def problems(self, settled, *texts):
        for text in texts:
            self.assertTrue(any(text in problem for problem in settled.problems), (text, settled.problems))

    def test_row_without_raw_record_is_lost(self):
        settled = settle(a_good_run(), [*OFFSETS, 500])

        self.assertEqual((settled.total.lost, settled.lost_rows), (1, [("x.csv", 500)]))
        self.assertFalse(settled.complete)
        self.problems(settled, "1 of 5 rows of accidents are lost")

    def test_record_without_result_is_lost(self):
        seen = a_good_run()
        del seen.events["e-A-3"]

        settled = settle(seen)

        self.assertEqual((settled.total.lost, settled.lost_records), (1, ["r3"]))

    def test_more_missing_than_filtered_is_lost(self):
        seen = a_good_run()
        seen.add_raw(raw(5, 500, "A-5"))
        seen.add_raw(raw(6, 600, "A-6"))

        settled = settle(seen, [*OFFSETS, 500, 600], filtered=1)

        self.assertEqual((settled.total.filtered, settled.total.lost), (1, 1))

    def test_loss_is_not_hidden_by_extra_row(self):
        seen = a_good_run()
        seen.add_raw(raw(7, 777, "A-7"))
        seen.add_event(event("A-7"))

        settled = settle(seen, [*OFFSETS, 500])

        self.assertEqual(settled.total.rows, settled.total.ended)
        self.assertEqual(settled.total.lost, 1)
        self.problems(settled, "did not put in")

    def test_record_of_no_feed(self):
        seen = a_good_run()
        seen.add_raw({**raw(8, 100, "A-8"), "source": "s3://bucket/flood/y.csv?versionId=v#offset=1&row=1"})
        seen.add_bad(bad(9, 100))

        self.problems(settle(seen), "2 records or bad rows are of no feed")

    def test_quarantined_record_with_an_event(self):
        seen = a_good_run()
        seen.add_bad(bad(3, 300))

        self.problems(settle(seen), "an event too")

    def test_event_without_record_and_key_with_two(self):
        seen = a_good_run()
        seen.add_event(event("A-9"))
        seen.add_event({**event("A-3"), "event_id": "another"})

        self.problems(settle(seen), "come from no raw record", "have two events")

    def test_missing_and_extra_alert(self):
        seen = a_good_run()
        seen.alerts.clear()
        self.problems(settle(seen), "1 alerts of severe are due, and 0 came")
        self.assertFalse(settle(seen).complete)

        seen = a_good_run()
        seen.add_alert(alert("A-3"))
        self.problems(settle(seen), "1 alerts of severe are due, and 2 came")

    def test_bad_row_with_another_code(self):
        for codes in ({100: "invalid_time", 200: "out_of_range"}, {100: "out_of_range"}, {100: "out_of_range", 300: "x"}):
            with self.subTest(codes):
                self.problems(settle(a_good_run(), codes=codes), "not as bad as they should be")

        self.assertEqual(settle(a_good_run(), codes={100: "out_of_range", 200: "out_of_range"}).problems, [])


class Told(Feed):
    """A feed whose sender gets an answer for each item."""

    def identify(self, document):
        head, _, at = document.source.partition("=")
        return ("batch", int(at)) if head == "http:x#batch&item" else None

    def contradictions(self, raw):
        return ["one"] if raw else ["none"]


def told(rejected):
    items = [("batch", at) for at in range(3)]
    feed = Told("http", "accidents", "1 request", Counter(items), {("batch", 1): "invalid_time"})
    feed.rejected_codes = {("batch", at): "invalid_time" for at in rejected}
    feed.rejected = Counter(list(feed.rejected_codes))
    return feed


class SeveralFeeds(unittest.TestCase):
    def run_of(self, rejected):
        seen = a_good_run()
        for at, key in ((0, "A-20"), (2, "A-3")):
            seen.add_raw({**raw(at, 0, key), "record_id": f"h{at}", "source": f"http:x#batch&item={at}"})
        seen.add_event(event("A-20"))
        return books.settle([a_feed(), told(rejected)], seen, 0, ALERTS_DUE)

    def test_shared_key_counts_for_the_first_feed(self):
        settled = self.run_of(rejected=[1])
        first, second = settled.lines

        self.assertEqual((first.rows, first.events, first.duplicates, first.lost), (4, 2, 0, 0))
        self.assertEqual((second.rows, second.events, second.duplicates, second.rejected, second.lost), (3, 1, 1, 1, 0))
        self.assertEqual((settled.total.rows, settled.total.ended, settled.total.events), (7, 7, 3))

    def test_contradiction_of_a_sender_is_a_problem(self):
        self.assertEqual(self.run_of(rejected=[1]).problems, ["one"])

    def test_item_neither_stored_nor_rejected_is_lost(self):
        settled = self.run_of(rejected=[])

        self.assertEqual((settled.lines[1].lost, settled.lost_rows), (1, [("batch", 1)]))

    def test_item_stored_and_rejected_is_extra(self):
        settled = self.run_of(rejected=[1, 2])

        self.assertTrue(any("http did not put in: ('batch', 2)" in problem for problem in settled.problems), settled.problems)


if __name__ == "__main__":
    unittest.main()
