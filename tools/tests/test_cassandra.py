"""Reasons to skip Cassandra, and recognition of its answers."""

import contextlib
import io
import os
import socket
import struct
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from tools import cassandra

AUTHENTICATE, AUTH_SUCCESS, ERROR = 0x03, 0x10, 0x00


def frame(opcode, body=b""):
    return struct.pack(">BBhBi", 0x84, 0, 0, opcode, len(body)) + body


class Answering(unittest.TestCase):
    """A fake node that sends these answers, one for each frame it receives."""

    def answered_with(self, *answers):
        with socket.create_server(("127.0.0.1", 0)) as server:
            def serve():
                connection, _ = server.accept()
                with connection:
                    for answer in answers:
                        connection.recv(1024)
                        connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                return cassandra.answers(f"127.0.0.1:{server.getsockname()[1]}", "u", "p")
            finally:
                thread.join()

    def test_node_that_accepts_the_password_is_ready(self):
        self.assertTrue(self.answered_with(frame(AUTHENTICATE, b"\0\1x"), frame(AUTH_SUCCESS, struct.pack(">i", -1))))

    def test_node_without_its_user_is_not_ready(self):
        self.assertFalse(self.answered_with(frame(AUTHENTICATE, b"\0\1x"), frame(ERROR, b"\0\0\1\0\0\0")))

    def test_other_answer_and_silence_are_not_ready(self):
        self.assertFalse(self.answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        self.assertFalse(self.answered_with(b""))
        self.assertFalse(cassandra.answers("127.0.0.1:1", "u", "p"))


class Having(unittest.TestCase):
    def test_missing_server_is_skipped_with_reason(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"PATH": folder}):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                code = cassandra.main(["start", "--home", str(Path(folder) / "home")])

        self.assertEqual((code, out.getvalue()), (77, "skipped: there is no java to run Cassandra with\n"))


if __name__ == "__main__":
    unittest.main()
