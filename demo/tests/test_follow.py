"""When a run is called over, and what is printed meanwhile."""

import io
import unittest
from unittest import mock

from demo import books, follow
from demo.books import Seen
from demo.tests.given import a_feed, event, raw


class Clock:
    """A clock that sleeping moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Watcher:
    """Finds one more event at each of the given moments."""

    def __init__(self, clock, moments):
        self.clock = clock
        self.moments = list(moments)
        self.seen = Seen()
        self.stack = mock.Mock()
        self.stack.alive.return_value = True

    def poll(self):
        while self.moments and self.moments[0] <= self.clock():
            number = len(self.seen.events)
            self.moments.pop(0)
            self.seen.add_raw(raw(number, number, f"A-{number}"))
            self.seen.add_event(event(f"A-{number}"))

    def progress(self):
        return self.seen.progress()

    def line(self):
        return f"events {len(self.seen.events)}"


def books_of(rows):
    return lambda seen: books.settle([a_feed(range(rows))], seen, 0, {})


def run(moments, rows, waiting=0):
    clock, out = Clock(), io.StringIO()
    watcher = Watcher(clock, moments)
    with mock.patch("demo.probe.queue_depth", return_value=waiting):
        complete = follow.until_quiet(watcher, books_of(rows), out, clock, clock.sleep)
    return complete, clock.now, out.getvalue()


class UntilQuiet(unittest.TestCase):
    def test_a_run_with_every_row_accounted_for_ends_soon(self):
        complete, took, _ = run([0, 1, 2], rows=3)

        self.assertTrue(complete)
        self.assertLess(took, 5)

    def test_a_pause_shorter_than_quiet_does_not_end_it(self):
        complete, _, _ = run([0, follow.QUIET_SECONDS - 2], rows=2)

        self.assertTrue(complete)

    def test_a_row_that_never_comes_ends_it_when_it_is_quiet(self):
        complete, took, _ = run([0, 1], rows=3)

        self.assertFalse(complete)
        self.assertLess(took, follow.QUIET_SECONDS + 5)

    def test_a_message_that_waits_to_be_delivered_again_keeps_it_going(self):
        complete, _, _ = run([0, follow.QUIET_SECONDS + 60], rows=2, waiting=1)

        self.assertTrue(complete)

    def test_not_for_ever_though(self):
        complete, took, _ = run([0], rows=2, waiting=1)

        self.assertFalse(complete)
        self.assertLess(took, follow.STUCK_SECONDS + 5)

    def test_without_a_terminal_there_are_plain_lines_and_the_last_is_the_end(self):
        _, _, text = run([0, 1, 2, 3], rows=4)

        self.assertNotIn("\x1b", text)
        self.assertEqual(text.splitlines()[-1], "  events 4")

    def test_a_stack_that_died_ends_it_at_once(self):
        clock = Clock()
        watcher = Watcher(clock, [])
        watcher.stack.alive.return_value = False

        with self.assertRaisesRegex(RuntimeError, "MiniStack ended"):
            follow.until_quiet(watcher, books_of(1), io.StringIO(), clock, clock.sleep)


class OnATerminal(unittest.TestCase):
    def test_one_line_is_written_over(self):
        out = io.StringIO()
        out.isatty = lambda: True
        live = follow.Live(out, Clock())

        live.show("a")
        live.show("b")
        live.end("c")

        self.assertEqual(out.getvalue().count("\n"), 1)
        self.assertTrue(out.getvalue().endswith("c\n"))


if __name__ == "__main__":
    unittest.main()
