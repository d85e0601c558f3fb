"""The feed `kafka`: records of a topic, and a poller that hands them to the deployed function.

MiniStack has no Kafka. The broker is a real one where Java and Maven are there, else one that the
poller carries in itself; the report says which. The poller does what Lambda's event source mapping does.

A row is known by its content: which offset it has is the broker's to say, after it was sent.
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
# Other times than those of the files of the same dataset: other events.
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
    """Made-up readings, and those bad rows of the fixtures that are JSON at all, on one topic."""

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
            # A broker of the poller's own is there once the poller is; on a real one the topic must be there first.
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
    """The bad rows that are JSON objects, by identity: the others cannot be replayed, and are no records."""
    named = {(TOPIC, content(fixture.line(offset))): code for offset, code in fixture.bad.items()}
    return {row: code for row, code in named.items() if row[1].startswith("{")}


def content(value):
    """A record's value as a name for it: the same for JSON that says the same, in whatever order."""
    try:
        return canonical(json.loads(value, parse_float=str))
    except ValueError:
        return repr(value)


def canonical(document):
    return json.dumps(document, sort_keys=True, ensure_ascii=False)


class Broker:
    """A Kafka of this machine, by the tool that `make test-kafka` has it from."""

    def __init__(self, home):
        self.home = home

    def start(self):
        """Starts an empty one; returns its address, or None and why there is none."""
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
    """A process that polls the topic into the deployed function; it ends with the block, if not before."""
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
    """Waits until the poller has nothing left to do; returns what it says of itself."""
    try:
        said, _ = consuming.communicate(timeout=POLL_SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"the poller was not done after {POLL_SECONDS} s; see {LOG}") from None
    if consuming.returncode:
        raise RuntimeError(f"the poller ended with {consuming.returncode}; see {LOG}")
    return json.loads(said.splitlines()[-1])
