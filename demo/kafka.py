"""The feed `kafka`: records of a topic, and a poller that passes them to the deployed function.

MiniStack has no Kafka. The broker is a real one if Java and Maven are installed, else one inside the poller; the report
names it. The poller does what Lambda's event source mapping does.

A row is identified by its content: the broker assigns its offset only when it is sent.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

from . import feed, place

DATASET = "flood"
TOPIC = "flood"
GROUP = "demo"
# Other times than in the files of the same dataset, hence other events.
START = "2026-06-01"
BAD_ROWS = place.ROOT / "fixtures" / "datasets" / DATASET / "bad-rows.jsonl"
LOG = "poller.log"
POLLER = place.BIN / "kafka-bridge"
IDLE_SECONDS = 4
POLL_SECONDS = 180
BROKER_SECONDS = 300
SKIPPED = 77
_SOURCE = re.compile(rf"kafka:{TOPIC}-\d+#offset=\d+")


class Topic(feed.Feed):
    """Generated readings, and the bad rows of the fixtures that are JSON, on one topic."""

    verb = "consume"

    def __init__(self, count=None):
        self.count = count or feed.MADE_UP_ROWS
        self.made_up = feed.simulate(DATASET, self.count, "--start", START)
        bad = bad_objects(next(one for one in feed.fixtures(DATASET) if one.name == BAD_ROWS.name))
        super().__init__(
            name="kafka", dataset=DATASET, what="1 topic",
            rows=Counter([*((TOPIC, content(line)) for line in self.made_up.splitlines()), *bad]), bad=bad)

    def identify(self, document):
        if not _SOURCE.fullmatch(document.source):
            return None
        if hasattr(document, "payload"):
            return TOPIC, canonical(document.payload)
        return TOPIC, content(base64.b64decode(document.payload_base64 or ""))

    def files(self):
        return [(f"{DATASET}.jsonl", self.made_up), (BAD_ROWS.name, BAD_ROWS.read_bytes())]

    def send(self, running):
        broker = Broker(running.home / "kafka")
        bootstrap, why = broker.start()
        try:
            # The poller's own broker exists once the poller runs; on a real one the topic must be created first.
            if bootstrap:
                self._produce(bootstrap)
            with polling(running, bootstrap or "mock") as consuming:
                told = json.loads(consuming.stdout.readline() or b"{}")
                if not bootstrap and "bootstrap" in told:
                    self._produce(told["bootstrap"])
                summary = finish(consuming)
        finally:
            broker.stop()
        self.what = f"1 topic of a {'real' if bootstrap else 'mock'} broker"
        self.notes = [f"no real Kafka broker: {why}"] if why else []
        return f"{summary.get('records')} records in {summary.get('batches')} batches, {self.what}"

    def _produce(self, bootstrap):
        target = f"kafka:{bootstrap}/{TOPIC}"
        feed.simulate(DATASET, self.count, "--start", START, "--to", target)
        feed.tributary("replay", BAD_ROWS, "--dataset", DATASET, "--to", target)


def bad_objects(fixture):
    """Returns the bad rows that are JSON objects, by identity: others cannot be replayed and are no records."""
    named = {(TOPIC, content(fixture.line(offset))): code for offset, code in fixture.bad.items()}
    return {row: code for row, code in named.items() if row[1].startswith("{")}


def content(value):
    """Returns a name for a record's value that does not depend on the order or spelling of its JSON."""
    try:
        return canonical(json.loads(value, parse_float=str))
    except ValueError:
        return repr(value)


def canonical(document):
    return json.dumps(document, sort_keys=True, ensure_ascii=False)


class Broker:
    """A local Kafka broker, started by the tool that `make test-kafka` uses."""

    def __init__(self, home):
        self.home = home

    def start(self):
        """Starts an empty broker; returns its address, or None and the reason."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
        done = self._tool("start")
        if done.returncode == SKIPPED:
            return None, done.stdout.strip().removeprefix("skipped: ")
        if done.returncode:
            raise RuntimeError(f"Kafka does not start: {done.stderr.strip()}")
        return json.loads(done.stdout)["bootstrap"], None

    def stop(self):
        self._tool("stop")

    def _tool(self, verb):
        return subprocess.run(
            [sys.executable, "-m", "tools.kafka", verb, "--home", str(self.home)], cwd=place.ROOT, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=BROKER_SECONDS, check=False)


@contextmanager
def polling(running, brokers):
    """Polls the topic into the deployed function, in a process that ends with the block at the latest."""
    if not POLLER.exists():
        raise FileNotFoundError(f"{place.relative(POLLER)} is not there: `make build` builds it")
    command = [
        POLLER, "--brokers", brokers, "--topics", TOPIC, "--group", GROUP,
        "--function", running.function_name("IngestKafka"), "--until-idle", str(IDLE_SECONDS)]
    with (running.home / LOG).open("wb") as log, subprocess.Popen(
            command, env=running.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as started:
        try:
            yield started
        finally:
            started.kill()


def finish(consuming):
    """Waits until the poller has nothing left to do; returns its last line."""
    try:
        said, _ = consuming.communicate(timeout=POLL_SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"the poller was not done after {POLL_SECONDS} s; see {LOG}") from None
    if consuming.returncode:
        raise RuntimeError(f"the poller ended with {consuming.returncode}; see {LOG}")
    return json.loads(said.splitlines()[-1])
