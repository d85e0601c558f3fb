"""A real Apache Kafka for tests: one KRaft node on 127.0.0.1, without containers.

    python -m tools.kafka start|kill|stop|status --home DIR

Each verb prints one JSON object. It needs `java` (17 or later) and `mvn`, which downloads the dependencies of
tools/kafka/pom.xml once into target/kafka, with the user's own settings. If Kafka cannot be had, the exit code is 77
and a line says "skipped: why".
"""

import base64
import shutil
import socket
import struct
import subprocess
import sys
import uuid

from . import server
from .server import ROOT, Broken, free_ports

POM = ROOT / "tools" / "kafka" / "pom.xml"
JARS = ROOT / "target" / "kafka"

# A broker for tests: small and quick to start.
JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
       "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]


class Broker(server.Server):
    """One node; `bootstrap` is its address."""

    NAME, FILE = "Kafka", "broker.json"

    def __init__(self, home, partitions=4):
        super().__init__(home)
        self.partitions = partitions

    def command(self, known):
        return [*self._java(), "kafka.Kafka", str(self.home / "server.properties")]

    def answers(self, known):
        return answers(known["bootstrap"])

    def _java(self):
        return [server.java(self.NAME), *JVM, "-cp", f"{server.jars(self.NAME, POM, JARS)}/*"]

    def prepare(self):
        """Writes the configuration and formats the storage; the ports stay those of the first start."""
        java = self._java()
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
            # One node cannot have three replicas, and a test need not wait for more members of its group.
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
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Broken(f"the storage was not formatted: {(done.stdout + done.stderr).strip()[-500:]}")
        return {"bootstrap": f"127.0.0.1:{broker}"}


def answers(bootstrap):
    """Returns whether a Kafka broker answers: asks for its versions, as every client does first."""
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
    """Runs the command; returns its exit code."""
    parser = server.parser("tools.kafka", "A real Kafka broker on this machine.")
    parser.add_argument("--partitions", type=int, default=4, help="of a topic that is made on demand (4)")
    given = parser.parse_args(arguments)
    return server.run("tools.kafka", Broker(given.home, given.partitions), given.verb)


if __name__ == "__main__":
    sys.exit(main())
