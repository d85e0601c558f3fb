"""Servers for tests, from Maven: the java that runs them, their jars, one node of each, and the reasons to skip."""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from demo import process

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90
STOP_SECONDS = 30

SKIPPED = 77  # exit code that test harnesses read as "not run"
JAVA_NEEDED = 17

# Maven's messages if a repository cannot be reached, as opposed to a wrong pom.
UNREACHABLE = re.compile(r"Could not (transfer|resolve|find artifact)|Unknown host|cannot access|Connection (refused|timed)")


class Skipped(Exception):
    """The server is not available here; the message gives the reason."""


class Broken(Exception):
    """The server is available and does not work."""


def java(server):
    """Returns the java to run `server` with."""
    found = shutil.which("java")
    if not found:
        raise Skipped(f"there is no java to run {server} with")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if not version or int(version[1]) < JAVA_NEEDED:
        first = said.strip().splitlines()[:1]
        raise Skipped(f"{server} needs java {JAVA_NEEDED}, this is {first[0] if first else 'none that tells its version'}")
    return found


def jars(server, pom, into):
    """Returns the folder below `into` with the jars that `pom` names, downloaded unless this pom's are there."""
    folder = into / hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if not maven:
        raise Skipped(f"there is no mvn to fetch {server} with")
    # A folder is complete or absent: it is downloaded under another name, then renamed.
    fetched = into / f"fetching-{os.getpid()}"
    command = [maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        shutil.rmtree(fetched, ignore_errors=True)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        why = re.sub(r"\x1b\[[\d;]*m|\[ERROR\] *", "", said[0]) if said else f"mvn ended with {done.returncode}"
        raise (Skipped if any(map(UNREACHABLE.search, said)) else Broken)(f"{server} was not fetched: {why}")
    try:
        fetched.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(fetched, ignore_errors=True)
    return folder


def free_ports(count):
    """Returns ports of 127.0.0.1 without a listener."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


class Server:
    """One node with its files in `home`. After a kill it can be started again and keeps what it acknowledged.

    A subclass defines its name (`NAME`), the file with its facts (`FILE`), the preparation of an empty home (`prepare`,
    whose result is stored and printed), its command line, and when it is ready.
    """

    NAME = FILE = ""

    def __init__(self, home):
        self.home = Path(home).resolve()
        self.file = self.home / self.FILE
        self.log = self.file.with_suffix(".log")

    def prepare(self):
        raise NotImplementedError

    def command(self, known):
        raise NotImplementedError

    def answers(self, known):
        raise NotImplementedError

    def status(self):
        """Returns its facts: `running`, `pid`, `home`, and the result of `prepare`."""
        known = self._known() or {}
        running = bool(known) and process.alive(known["process"])
        told = {name: value for name, value in known.items() if name != "process"}
        return {"running": running, "pid": known["process"]["pid"] if running else None, "home": str(self.home), **told}

    def start(self):
        """Starts it, for the first time or again, and waits until it answers."""
        known = self._known()
        if known and process.alive(known["process"]):
            return self.status()
        java(self.NAME)
        self.home.mkdir(parents=True, exist_ok=True)
        known = known or self.prepare()
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                self.command(known), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.home)
        known["process"] = process.identity(child.pid)
        self.file.write_text(json.dumps(known))
        deadline = time.monotonic() + START_SECONDS
        while not self.answers(known):
            if child.poll() is not None or time.monotonic() > deadline:
                ended = f"ended with {child.returncode}" if child.returncode is not None else "does not answer"
                self.stop()
                raise Broken(f"{self.NAME} {ended}: {self.log.read_text(errors='replace').strip()[-800:]}")
            time.sleep(0.1)
        return self.status()

    def kill(self):
        """Kills it with SIGKILL."""
        known = self._known()
        if not known or not process.alive(known["process"]):
            raise Broken(f"no {self.NAME} runs in {self.home}")
        os.kill(known["process"]["pid"], signal.SIGKILL)
        deadline = time.monotonic() + STOP_SECONDS
        while process.alive(known["process"]):
            if time.monotonic() > deadline:
                raise Broken(f"{self.NAME} lives on after signal {signal.SIGKILL}")
            time.sleep(0.02)
        return self.status()

    def stop(self):
        """Sends SIGTERM, waits, and kills it if needed. A server that does not run counts as stopped."""
        known = self._known()
        if known:
            process.end(known["process"], grace=STOP_SECONDS)
        return self.status()

    def _known(self):
        try:
            return json.loads(self.file.read_text())
        except FileNotFoundError:
            return None


def parser(module, description):
    """Returns a parser of the verbs that every server has."""
    top = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    top.add_argument("verb", choices=["start", "kill", "stop", "status"])
    top.add_argument("--home", required=True, help="where its files are")
    return top


def run(module, server, verb):
    """Runs the verb and prints the facts of the server; returns the exit code."""
    try:
        print(json.dumps(getattr(server, verb)()))
    except Skipped as why:
        print(f"skipped: {why}")
        return SKIPPED
    except Broken as why:
        print(f"{module}: {why}", file=sys.stderr)
        return 1
    return 0
