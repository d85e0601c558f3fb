"""Reasons to skip Kafka, and faults of it, with fake java and mvn."""

import contextlib
import io
import os
import socket
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from tools import kafka

JAVA_17 = 'echo \'openjdk version "17.0.15" 2025-04-15\' >&2'
JAVA_11 = 'echo \'openjdk version "11.0.2" 2019-01-15\' >&2'


class Programs(unittest.TestCase):
    """Runs the command with only a test's programs on its path."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "bin").mkdir()
        for change in (
            mock.patch.dict(os.environ, {"PATH": str(self.folder / "bin")}),
            mock.patch.object(kafka, "JARS", self.folder / "jars"),
        ):
            change.start()
            self.addCleanup(change.stop)

    def program(self, name, body):
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run_command(self, verb="start"):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = kafka.main([verb, "--home", str(self.folder / "home")])
        return code, out.getvalue(), err.getvalue()

    def test_skipped_without_java(self):
        self.assertEqual(self.run_command(), (77, "skipped: there is no java to run Kafka with\n", ""))

    def test_skipped_with_old_java(self):
        self.program("java", JAVA_11)

        code, said, _ = self.run_command()

        self.assertEqual(code, 77)
        self.assertIn("needs java 17", said)

    def test_skipped_without_maven(self):
        self.program("java", JAVA_17)

        self.assertEqual(self.run_command()[:2], (77, "skipped: there is no mvn to fetch Kafka with\n"))

    def test_skipped_without_repository_leaves_nothing(self):
        self.program("java", JAVA_17)
        self.program("mvn", "echo '[ERROR] Could not transfer artifact a:b:1 from/to central: Unknown host'; exit 1")

        code, said, _ = self.run_command()

        self.assertEqual((code, said.splitlines()), (
            77, ["skipped: Kafka was not fetched: Could not transfer artifact a:b:1 from/to central: Unknown host"]))
        self.assertEqual(list((self.folder / "jars").glob("*")), [])

    def test_wrong_pom_is_an_error(self):
        self.program("java", JAVA_17)
        self.program("mvn", "echo '[ERROR] Malformed POM: expected > to finish end tag'; exit 1")

        code, said, told = self.run_command()

        self.assertEqual((code, said), (1, ""))
        self.assertIn("Malformed POM", told)

    def test_unstarted_broker_is_not_running(self):
        self.assertIn('"running": false', self.run_command("status")[1])
        self.assertEqual(self.run_command("stop")[0], 0)
        self.assertEqual(self.run_command("kill")[0], 1)


class Answering(unittest.TestCase):
    """Recognition of a broker's answer."""

    def answered_with(self, answer):
        with socket.create_server(("127.0.0.1", 0)) as server:
            def serve():
                connection, _ = server.accept()
                with connection:
                    connection.recv(64)
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                return kafka.answers(f"127.0.0.1:{server.getsockname()[1]}")
            finally:
                thread.join()

    def test_versions_are_an_answer(self):
        self.assertTrue(self.answered_with(bytes([0, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0])))

    def test_error_and_other_answers_are_none(self):
        self.assertFalse(self.answered_with(bytes([0, 0, 0, 6, 0, 0, 0, 7, 0, 35])))
        self.assertFalse(self.answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        self.assertFalse(self.answered_with(b""))
        self.assertFalse(kafka.answers("127.0.0.1:1"))


if __name__ == "__main__":
    unittest.main()
