"""End of a run, and the lines printed until then."""

import io
import unittest
from unittest import mock

from demo import books, follow
from demo.books import Seen
from demo.tests.given import a_feed, event, raw


class Clock:
    """A clock that only sleeping advances."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Watcher:
    """A watcher that finds one more event at each of the given moments."""

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
    def test_complete_run_ends_soon(self):
        complete, took, _ = run([0, 1, 2], rows=3)

        self.assertTrue(complete)
        self.assertLess(took, 5)

    def test_short_pause_does_not_end_run(self):
        complete, _, _ = run([0, follow.QUIET_SECONDS - 2], rows=2)

        self.assertTrue(complete)

    def test_missing_row_ends_run_when_quiet(self):
        complete, took, _ = run([0, 1], rows=3)

        self.assertFalse(complete)
        self.assertLess(took, follow.QUIET_SECONDS + 5)

    def test_waiting_message_keeps_run_going(self):
        complete, _, _ = run([0, follow.QUIET_SECONDS + 60], rows=2, waiting=1)

        self.assertTrue(complete)

    def test_waiting_message_has_a_limit(self):
        complete, took, _ = run([0], rows=2, waiting=1)

        self.assertFalse(complete)
        self.assertLess(took, follow.STUCK_SECONDS + 5)

    def test_plain_lines_without_a_terminal(self):
        _, _, text = run([0, 1, 2, 3], rows=4)

        self.assertNotIn("\x1b", text)
        self.assertEqual(text.splitlines()[-1], "  events 4")

    def test_dead_stack_ends_run_immediately(self):
        clock = Clock()
        watcher = Watcher(clock, [])
        watcher.stack.alive.return_value = False

        with self.assertRaisesRegex(RuntimeError, "MiniStack ended"):
            follow.until_quiet(watcher, books_of(1), io.StringIO(), clock, clock.sleep)


class OnATerminal(unittest.TestCase):
    def test_terminal_line_is_overwritten(self):
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
