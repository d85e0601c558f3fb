"""Processes are identified by pid and start time, and end with all their children."""

import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

from demo import place, process


def spawn(code):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True, text=True)


class Identity(unittest.TestCase):
    def test_reused_pid_is_not_alive(self):
        known = process.identity(os.getpid())

        self.assertTrue(process.alive(known))
        self.assertFalse(process.alive({**known, "birth": "0"}))
        self.assertFalse(process.alive(None))

    def test_a_process_that_ended_is_not_alive(self):
        child = spawn("input")
        known = process.identity(child.pid)
        child.communicate()

        self.assertFalse(process.alive(known))


class End(unittest.TestCase):
    def test_process_ignoring_sigterm_ends_with_children(self):
        child = spawn(
            "import signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "print(inner.pid, flush=True)\n"
            "time.sleep(60)\n")
        inner = process.identity(int(child.stdout.readline()))
        known = process.identity(child.pid)

        process.end(known, grace=0.3)
        child.communicate()

        self.assertFalse(process.alive(known))
        deadline = time.monotonic() + 60
        while process.alive(inner) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(process.alive(inner))

    def test_other_process_is_not_killed(self):
        child = spawn("import time; time.sleep(60)")
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)

        process.end({"pid": child.pid, "birth": "0"})

        self.assertIsNone(child.poll())

    @unittest.skipUnless(Path("/proc/self/environ").exists(), "needs /proc")
    def test_children_are_found_with_their_environment(self):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, env={"NAME": "value=1"})
        self.addCleanup(child.communicate)

        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = dict(process.children(os.getpid())).get(child.pid)
            if found and "NAME" in found:
                break

        self.assertEqual(found["NAME"], "value=1")


class Environment(unittest.TestCase):
    def test_aws_settings_of_the_user_are_removed(self):
        os.environ["AWS_PROFILE"] = "somebody"
        self.addCleanup(os.environ.pop, "AWS_PROFILE")

        clean = place.clean_environment("http://127.0.0.1:1")

        self.assertNotIn("AWS_PROFILE", clean)
        self.assertEqual(clean["AWS_ENDPOINT_URL"], "http://127.0.0.1:1")
        self.assertEqual(clean["AWS_ACCESS_KEY_ID"], "test")


if __name__ == "__main__":
    unittest.main()
