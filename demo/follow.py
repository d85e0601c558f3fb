"""Follows a run until it is over: plain lines in a log, one updated line on a terminal."""

import json
import shutil
import sys
import time

from . import books, probe

POLL_SECONDS = 0.5
PLAIN_SECONDS = 2.0
# Wait after every row is accounted for, for late arrivals: a second delivery, a last metric.
SETTLE_SECONDS = 1.5
# Time without any change after which a run with missing rows is called quiet. It is longer than the slowest step,
# converting a chunk of 500 events to Parquet one by one.
QUIET_SECONDS = 30.0
# Maximum wait while the queue still holds a message.
STUCK_SECONDS = 600.0


class Watcher:
    """Collects everything that a run stores."""

    def __init__(self, stack, alerts):
        self.stack = stack
        self.seen = books.Seen()
        self.raw = probe.Layer(stack, "RawBucketName", "raw/")
        self.quarantine = probe.Layer(stack, "RawBucketName", "quarantine/")
        self.analytics = probe.Layer(stack, "AnalyticsBucketName", "events/", parse=False)
        self.events = probe.StreamReader(stack, "EventsStreamName")
        self.alerts = alerts

    def poll(self):
        """Reads what is new."""
        for record in self.raw.new_documents():
            self.seen.add_raw(record)
        for row in self.quarantine.new_documents():
            self.seen.add_bad(row)
        for event in self.events.new_documents():
            self.seen.add_event(event)
        for _, message, _ in self.alerts.new_messages():
            self.seen.add_alert(json.loads(message))
        self.analytics.new_documents()

    def progress(self):
        return (*self.seen.progress(), self.analytics.objects)

    def line(self):
        seen = self.seen
        return (
            f"raw {len(seen.raw):>6}   quarantined {len(seen.bad):>5}   events {len(seen.events):>6}"
            f"   analytics {self.analytics.objects:>6}   alerts {len(seen.alerts):>5}"
        )


def until_quiet(watcher, settle, out=sys.stdout, clock=time.monotonic, sleep=time.sleep):
    """Follows the run to its end; returns whether every row was accounted for by then.

    `settle` reconciles what was found so far. A filtered record leaves no trace: a run with one is over when it is
    quiet.
    """
    live = Live(out, clock)
    last, changed = None, clock()
    while True:
        watcher.poll()
        if not watcher.stack.alive():
            live.end()
            raise RuntimeError(f"MiniStack ended during the run; see {watcher.stack.log}")
        progress, now = watcher.progress(), clock()
        if progress != last:
            last, changed = progress, now
        live.show(watcher.line())
        still = now - changed
        complete = settle(watcher.seen).complete
        if complete and still >= SETTLE_SECONDS:
            break
        if still >= QUIET_SECONDS:
            waiting = probe.queue_depth(watcher.stack, "IngestQueueUrl")
            if not waiting or still >= STUCK_SECONDS:
                break
        sleep(POLL_SECONDS)
    live.end(watcher.line())
    return complete


class Live:
    """A line that is updated in place on a terminal, and printed every few seconds elsewhere."""

    def __init__(self, out, clock):
        self.out = out
        self.clock = clock
        self.terminal = out.isatty()
        self.shown_at = None
        self.shown = None

    def show(self, text):
        now = self.clock()
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self.out.write(f"\r\x1b[2K{('  ' + text)[:width]}")
            self.out.flush()
        elif text != self.shown and (self.shown_at is None or now - self.shown_at >= PLAIN_SECONDS):
            self.shown_at, self.shown = now, text
            print(f"  {text}", file=self.out, flush=True)

    def end(self, text=None):
        """Prints the last line and keeps it."""
        if self.terminal:
            if text:
                self.show(text)
            self.out.write("\n")
            self.out.flush()
        elif text and text != self.shown:
            print(f"  {text}", file=self.out, flush=True)
