"""A real Apache Kafka on this machine, to test against: one KRaft node of 127.0.0.1, without containers.

    python -m tools.kafka start|kill|stop|status --home DIR

Each verb prints one JSON object. What is needed is `java` (17 or later) and `mvn`, which fetches what tools/kafka/pom.xml
names, once, into target/kafka, as the settings of whoever runs it say. Where it cannot be had, the exit code is 77 and
a line says "skipped: why".
"""

import argparse
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from pathlib import Path

from demo import process

ROOT = Path(__file__).resolve().parent.parent
POM = ROOT / "tools" / "kafka" / "pom.xml"
JARS = ROOT / "target" / "kafka"

SKIPPED = 77  # what test harnesses take for "not run"
JAVA_NEEDED = 17
START_SECONDS = 90
STOP_SECONDS = 30

# A broker for tests: small, and quick to start.
JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
       "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]

# What Maven says when it is the way to a repository, not the pom, that is wrong.
UNREACHABLE = re.compile(r"Could not (transfer|resolve|find artifact)|Unknown host|cannot access|Connection (refused|timed)")


class Skipped(Exception):
    """Kafka cannot be had here; says why."""


class Broken(Exception):
    """Kafka is here and does not work."""


def jars():
    """The folder with the broker's jars, fetched if this pom's are not there yet."""
    java()
    folder = JARS / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if not maven:
        raise Skipped("there is no mvn to fetch Kafka with")
    # A folder is complete or not there: fetched beside its place, then moved.
    fetched = JARS / f"fetching-{os.getpid()}"
    command = [maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        shutil.rmtree(fetched, ignore_errors=True)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        why = re.sub(r"\x1b\[[\d;]*m|\[ERROR\] *", "", said[0]) if said else f"mvn ended with {done.returncode}"
        raise (Skipped if any(map(UNREACHABLE.search, said)) else Broken)(f"Kafka was not fetched: {why}")
    try:
        fetched.rename(folder)
    except OSError:  # somebody else was faster
        shutil.rmtree(fetched, ignore_errors=True)
    return folder


def java():
    """The java to run it with."""
    found = shutil.which("java")
    if not found:
        raise Skipped("there is no java to run Kafka with")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if not version or int(version[1]) < JAVA_NEEDED:
        first = said.strip().splitlines()[:1]
        raise Skipped(f"Kafka needs java {JAVA_NEEDED}, this is {first[0] if first else 'none that tells its version'}")
    return found


class Broker:
    """One node, whose files are in `home`. It may be killed and started again: what it took stays."""

    def __init__(self, home, partitions=4):
        self.home = Path(home).resolve()
        self.partitions = partitions
        self.file = self.home / "broker.json"

    def status(self):
        """What is known of it: `running`, `bootstrap`, `pid`, `home`."""
        known = self._known()
        running = bool(known) and process.alive(known["process"])
        return {"running": running, "bootstrap": known and known["bootstrap"],
                "pid": known["process"]["pid"] if running else None, "home": str(self.home)}

    def start(self):
        """Starts it, for the first time or again, and waits until it answers."""
        known = self._known()
        if known and process.alive(known["process"]):
            return self.status()
        classes = f"{jars()}/*"
        self.home.mkdir(parents=True, exist_ok=True)
        if not known:
            known = self._prepare(classes)
        with (self.home / "broker.log").open("ab") as log:
            child = subprocess.Popen(
                [java(), *JVM, "-cp", classes, "kafka.Kafka", str(self.home / "server.properties")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.home)
        known["process"] = process.identity(child.pid)
        self.file.write_text(json.dumps(known))
        self._wait(child, known["bootstrap"])
        return self.status()

    def kill(self):
        """SIGKILL: the broker learns nothing of it."""
        self._signal(signal.SIGKILL)
        return self.status()

    def stop(self):
        """Asks it to end, waits, and kills it if it must. A broker that is not running is stopped."""
        known = self._known()
        if known:
            process.end(known["process"], grace=STOP_SECONDS)
        return self.status()

    def _known(self):
        try:
            return json.loads(self.file.read_text())
        except FileNotFoundError:
            return None

    def _signal(self, number):
        known = self._known()
        if not known or not process.alive(known["process"]):
            raise Broken(f"no broker runs in {self.home}")
        os.kill(known["process"]["pid"], number)
        deadline = time.monotonic() + STOP_SECONDS
        while process.alive(known["process"]):
            if time.monotonic() > deadline:
                raise Broken(f"the broker lives on after signal {number}")
            time.sleep(0.02)

    def _prepare(self, classes):
        """Configuration and empty storage; the ports stay those of the first start."""
        broker, controller = free_ports(2)
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
            "log.dirs": self.home / "data",
            "num.partitions": self.partitions,
            "auto.create.topics.enable": "true",
            # One node cannot have three replicas, and a test cannot wait for members that never come.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
        }
        file = self.home / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        shutil.rmtree(self.home / "data", ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a")
        command = [java(), *JVM, "-cp", classes, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Broken(f"the storage was not formatted: {(done.stdout + done.stderr).strip()[-500:]}")
        return {"bootstrap": f"127.0.0.1:{broker}"}

    def _wait(self, child, bootstrap):
        deadline = time.monotonic() + START_SECONDS
        while not answers(bootstrap):
            if child.poll() is not None or time.monotonic() > deadline:
                ended = f"ended with {child.returncode}" if child.returncode is not None else "does not answer"
                self.stop()
                log = (self.home / "broker.log").read_text(errors="replace").strip()
                raise Broken(f"the broker {ended}: {log[-800:]}")
            time.sleep(0.1)


def free_ports(count):
    """Ports of 127.0.0.1 that nobody listens at."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def answers(bootstrap):
    """Whether a Kafka broker is there: asks it for its versions, as every client does first."""
    host, _, port = bootstrap.rpartition(":")
    correlation = 7
    request = struct.pack(">hhih", 18, 0, correlation, -1)
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = b""
            while len(answer) < 10:
                more = connection.recv(10 - len(answer))
                if not more:
                    return False
                answer += more
    except OSError:
        return False
    _, answered, error = struct.unpack(">iih", answer)
    return answered == correlation and error == 0


def main(arguments=None):
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.kafka", description="A real Kafka broker on this machine.")
    parser.add_argument("verb", choices=["start", "kill", "stop", "status"])
    parser.add_argument("--home", required=True, help="where its files are")
    parser.add_argument("--partitions", type=int, default=4, help="of a topic that is made on demand (4)")
    given = parser.parse_args(arguments)
    broker = Broker(given.home, given.partitions)
    try:
        print(json.dumps(getattr(broker, given.verb)()))
    except Skipped as why:
        print(f"skipped: {why}")
        return SKIPPED
    except Broken as why:
        print(f"tools.kafka: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
