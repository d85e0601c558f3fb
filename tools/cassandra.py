"""A real Apache Cassandra for tests: one node on 127.0.0.1, without containers.

    python -m tools.cassandra start|kill|stop|status --home DIR

Each verb prints one JSON object. It needs `java` (17 or later; Cassandra 5.0 supports 11 and 17) and `mvn`, which
downloads the dependencies of tools/cassandra/pom.xml once into target/cassandra, with the user's own settings. If
Cassandra cannot be had, the exit code is 77 and a line says "skipped: why".

It requires a password: `cassandra`, `cassandra`, the default of a new Cassandra.
"""

import json
import socket
import struct
import sys

from . import server
from .server import ROOT, free_ports

POM = ROOT / "tools" / "cassandra" / "pom.xml"
JARS = ROOT / "target" / "cassandra"
USER = PASSWORD = "cassandra"

# Packages that Cassandra needs opened: conf/jvm17-server.options of its own distribution.
EXPORTS = ["java.base/jdk.internal.misc", "java.base/java.lang.ref", "java.management.rmi/com.sun.jmx.remote.internal.rmi",
           "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.sql/java.sql", "jdk.unsupported/sun.misc"]
OPENS = ["java.base/java.io", "java.base/java.lang", "java.base/java.lang.module", "java.base/java.lang.reflect",
         "java.base/java.nio", "java.base/java.util", "java.base/jdk.internal.loader", "java.base/jdk.internal.math",
         "java.base/jdk.internal.module", "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect",
         "java.base/jdk.internal.util.jar", "java.base/sun.nio.ch", "jdk.management/com.sun.management.internal"]

# A node for tests: small, quick to start, and alone, so that it waits for no other.
JVM = ["-Xss256k", "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+PerfDisableSharedMem",
       "-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true", "-Dio.netty.tryReflectionSetAccessible=true",
       "-Dcassandra-foreground=yes", "-Dcassandra.ring_delay_ms=1", "-Dcassandra.skip_wait_for_gossip_to_settle=0",
       "-Dcassandra.superuser_setup_delay_ms=0",
       *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS), *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS)]

LOG = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""


class Node(server.Server):
    """One node; `node` is its CQL address."""

    NAME, FILE = "Cassandra", "cassandra.json"

    def prepare(self):
        """Writes the configuration; the ports stay those of the first start."""
        server.jars(self.NAME, POM, JARS)
        native, storage, storage_tls = free_ports(3)
        settings = {
            "cluster_name": "tributary-test",
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "num_tokens": 1,
            "auto_bootstrap": False,
            "endpoint_snitch": "SimpleSnitch",
            "seed_provider": [{
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"127.0.0.1:{storage}"}],
            }],
            "listen_address": "127.0.0.1",
            "rpc_address": "127.0.0.1",
            "storage_port": storage,
            "ssl_storage_port": storage_tls,
            "native_transport_port": native,
            "authenticator": {"class_name": "PasswordAuthenticator"},
            "authorizer": {"class_name": "CassandraAuthorizer"},
            "role_manager": {"class_name": "CassandraRoleManager"},
            # Acknowledged writes are on disk: tests kill the node.
            "commitlog_sync": "batch",
            "commitlog_segment_size": "8MiB",
            "commitlog_total_space": "64MiB",
            "memtable_heap_space": "48MiB",
            "memtable_offheap_space": "48MiB",
            "file_cache_size": "16MiB",
            "key_cache_size": "1MiB",
            "concurrent_reads": 4,
            "concurrent_writes": 4,
            "data_file_directories": [str(self.home / "data")],
            **{name: str(self.home / name.removesuffix("_directory")) for name in (
                "commitlog_directory", "saved_caches_directory", "hints_directory", "cdc_raw_directory")},
        }
        # Every JSON document is YAML.
        (self.home / "cassandra.yaml").write_text(json.dumps(settings, indent=1))
        (self.home / "logback.xml").write_text(LOG)
        return {"node": f"127.0.0.1:{native}", "user": USER, "password": PASSWORD}

    def command(self, known):
        return [server.java(self.NAME), *JVM, f"-Dcassandra.config={(self.home / 'cassandra.yaml').as_uri()}",
                f"-Dcassandra.storagedir={self.home}", f"-Dlogback.configurationFile={self.home / 'logback.xml'}",
                "-cp", f"{server.jars(self.NAME, POM, JARS)}/*", "org.apache.cassandra.service.CassandraDaemon"]

    def answers(self, known):
        return answers(known["node"], known["user"], known["password"])


# Opcodes of a frame of the native protocol, version 4.
STARTUP, AUTHENTICATE, AUTH_RESPONSE, AUTH_SUCCESS = 0x01, 0x03, 0x0F, 0x10


def answers(node, user, password):
    """Returns whether a Cassandra answers and accepts this password; it creates its first user some time after its
    start.
    """
    host, _, port = node.rpartition(":")
    version, number = "CQL_VERSION", "3.0.0"
    options = struct.pack(f">HH{len(version)}sH{len(number)}s", 1, len(version), version.encode(), len(number), number.encode())
    secret = f"\0{user}\0{password}".encode()
    try:
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            return (_asked(connection, STARTUP, options) == AUTHENTICATE
                    and _asked(connection, AUTH_RESPONSE, struct.pack(">i", len(secret)) + secret) == AUTH_SUCCESS)
    except OSError:
        return False


def _asked(connection, opcode, body):
    """Sends a frame; returns the opcode of the answer, or None."""
    connection.sendall(struct.pack(">BBhBi", 4, 0, 0, opcode, len(body)) + body)
    header = _exactly(connection, 9)
    if header is None:
        return None
    _, _, _, answer, length = struct.unpack(">BBhBi", header)
    return answer if 0 <= length <= 65_536 and _exactly(connection, length) is not None else None


def _exactly(connection, count):
    got = b""
    while len(got) < count:
        more = connection.recv(count - len(got))
        if not more:
            return None
        got += more
    return got


def main(arguments=None):
    """Runs the command; returns its exit code."""
    given = server.parser("tools.cassandra", "A real Cassandra node on this machine.").parse_args(arguments)
    return server.run("tools.cassandra", Node(given.home), given.verb)


if __name__ == "__main__":
    sys.exit(main())
