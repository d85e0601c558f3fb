"""The verbs `watch` and `replay-events`: the functions run from source by `cargo lambda watch`.

The functions use the stack of `make up`; replaying starts its own stack if none is up.
"""

import json
import os
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from . import place, process, run, stack

EVENTS = place.ROOT / "events"
# Objects that the payloads of ingest-s3 name. A case whose object is not here needs it to be missing.
OBJECTS = {
    "accidents/valid.csv": "fixtures/datasets/accidents/valid.csv",
    "accidents/a b+ü.csv": "fixtures/datasets/accidents/valid.csv",
}
WATCH_STATE = "watch.json"
WATCH_PORT = 9000
START_SECONDS = 60
# The first invocation of a function makes cargo build it, unless `make build` has done so.
INVOKE_SECONDS = 300


def loopback():
    """Returns the default address of `cargo lambda invoke`: IPv6 loopback if it exists, else IPv4.

    By default, `cargo lambda watch` would listen on every interface.
    """
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return "::1"
    except OSError:
        return "127.0.0.1"


def _watch_command(home, address, port):
    return [
        "cargo", "lambda", "watch", "--invoke-address", address, "--invoke-port", str(port),
        "--env-file", str(home / "env"), "--wait",
    ]


def watch(port=WATCH_PORT):
    """Becomes `cargo lambda watch` with the environment of `make up`; does not return."""
    running = stack.running(place.UP_HOME)
    run.write_env(running)
    address = loopback()
    hint = "" if address == "::1" else f" --invoke-address {address}"
    hint += "" if port == WATCH_PORT else f" --invoke-port {port}"
    print(f"cargo lambda invoke <function> --data-file events/<function>/<case>.json{hint}", flush=True)
    # A process keeps its pid and start time when it executes another program.
    state = {"address": address, "port": port, "process": process.identity(os.getpid())}
    (running.home / WATCH_STATE).write_text(json.dumps(state))
    os.chdir(place.ROOT)
    command = _watch_command(running.home, address, port)
    os.execvpe(command[0], command, running.environment)


def replay(only=None):
    """Sends every payload to its function and compares the answers; returns the exit code."""
    cases = find_cases(EVENTS, only)
    if not cases:
        print("no payload to send")
        return 1
    with _some_stack() as running, _some_watch(running) as watch_at:
        put_objects(running, cases)
        failures = [case for case in cases if not _send(case, watch_at, running)]
    print(f"{len(cases) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


def find_cases(events, only=None):
    """Returns each payload with its expected answer: [(function, case, payload file, expected file)]."""
    cases = []
    for function in sorted(place.FUNCTIONS.values()):
        for payload in sorted((events / function).glob("*.json")):
            if payload.name.endswith(".expected.json"):
                continue
            case = payload.name.removesuffix(".json")
            if only is None or only in (function, case, f"{function}/{case}"):
                cases.append((function, case, payload, payload.with_name(f"{case}.expected.json")))
    return cases


def buckets_of(payload):
    """Returns the buckets that a payload of ingest-s3 names, in notifications and in continuations."""
    found = set()
    for record in payload.get("Records", []):
        try:
            body = json.loads(record.get("body", ""))
        except ValueError:
            continue
        if isinstance(body.get("bucket"), str):
            found.add(body["bucket"])
        found |= {notice["s3"]["bucket"]["name"] for notice in body.get("Records", []) if "s3" in notice}
    return found


def put_objects(running, cases):
    """Puts the fixtures where the payloads expect them, in buckets of the same names, created if missing."""
    s3 = running.client("s3")
    named = set()
    for function, _, payload, _ in cases:
        if function == "ingest-s3":
            named |= buckets_of(json.loads(payload.read_text()))
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in sorted(named):
        if bucket not in there:
            s3.create_bucket(Bucket=bucket)
        for key, fixture in OBJECTS.items():
            s3.put_object(Bucket=bucket, Key=key, Body=(place.ROOT / fixture).read_bytes())


@contextmanager
def _some_stack():
    running = stack.attach(place.UP_HOME)
    if running and running.alive():
        running.read_outputs()
        run.write_env(running)
        yield running
        return
    home = place.TARGET / "replay"
    running = run.start_and_deploy(home, {})
    try:
        run.write_env(running)
        yield running
    finally:
        with run.undisturbed():
            running.stop()


@contextmanager
def _some_watch(running):
    """Yields address and port of a running `make watch`, or of one started here and ended afterwards."""
    try:
        state = json.loads((running.home / WATCH_STATE).read_text())
        if process.alive(state["process"]):
            yield state["address"], state["port"]
            return
    except (FileNotFoundError, ValueError):
        pass
    address = loopback()
    port = stack.free_port(address)
    log = running.home / "watch.log"
    with log.open("wb") as out:
        started = subprocess.Popen(
            _watch_command(running.home, address, port) + ["--ignore-changes"], cwd=place.ROOT, env=running.environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    known = process.identity(started.pid)
    try:
        _await_watch(address, port, known, log)
        yield address, port
    finally:
        with run.undisturbed():
            process.end(known)


def _await_watch(address, port, known, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not process.alive(known):
            break
        try:
            socket.create_connection((address, port), timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    raise stack.StackError(f"cargo lambda watch did not start: see {place.relative(log)}")


def _send(case, watch_at, running):
    """Sends one payload and prints whether the answer is the expected one."""
    function, name, payload, expected = case
    begun = time.monotonic()
    command = [
        "cargo", "lambda", "invoke", function, "--data-file", str(payload),
        "--invoke-address", watch_at[0], "--invoke-port", str(watch_at[1]), "--output-format", "json",
    ]
    # Run outside the workspace, so that the answer depends on the port alone.
    with tempfile.TemporaryDirectory(dir=running.home) as empty:
        try:
            done = subprocess.run(
                command, cwd=empty, env=running.environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=INVOKE_SECONDS, check=False)
            fault = judge(done.returncode, done.stdout, done.stderr, expected)
        except subprocess.TimeoutExpired:
            fault = f"no answer within {INVOKE_SECONDS} s"
    took = time.monotonic() - begun
    print(f"  {'ok  ' if not fault else 'FAIL'}  {function + '/' + name:<55}{took:>7.1f} s", flush=True)
    if fault:
        print("        " + fault.replace("\n", "\n        "), flush=True)
    return not fault


def judge(code, answer, complaint, expected):
    """Returns the fault in an answer, or None."""
    if code != 0:
        return (complaint or answer).strip() or f"exit code {code}"
    try:
        got = json.loads(answer)
    except ValueError:
        return f"the answer is no JSON: {answer.strip()[:500]}"
    wanted = json.loads(Path(expected).read_text())
    if got != wanted:
        return f"expected {json.dumps(wanted)}\ngot      {json.dumps(got)}"
    return None
