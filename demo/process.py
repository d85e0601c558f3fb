"""Identity and end of processes that outlive a command.

A pid alone identifies nothing after a crash or a reboot, since the system reuses it. A process is identified by its pid
and its start time.
"""

import os
import signal
import subprocess
import time
from pathlib import Path


def birth(pid):
    """Returns the start time of `pid` as the system writes it; None if there is no such process."""
    try:
        # The name in parentheses may hold spaces; the state and the start time come after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except FileNotFoundError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def identity(pid):
    """Returns what to write down of a live process."""
    return {"pid": pid, "birth": birth(pid)}


def alive(known):
    """Returns whether the process written down still runs."""
    return bool(known) and known["birth"] is not None and birth(known["pid"]) == known["birth"]


def end(known, grace=8.0):
    """Ends a process that leads its own group, with the whole group: SIGTERM, a wait, then SIGKILL."""
    if not alive(known):
        return
    _signal_group(known["pid"], signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and alive(known):
        _reap(known["pid"])
        time.sleep(0.05)
    # Children of the leader (a function that ignored the signal) are still in its group.
    _signal_group(known["pid"], signal.SIGKILL)
    _reap(known["pid"])


def _signal_group(pid, number):
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _reap(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def children(pid):
    """Returns the pids whose parent is `pid`, with the environment each was started with. Linux only."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found.append((int(entry.name), _environment(entry)))
        except (OSError, ValueError, IndexError):
            continue
    return found


def _environment(entry):
    pairs = (item.partition(b"=") for item in (entry / "environ").read_bytes().split(b"\0"))
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs if name}
