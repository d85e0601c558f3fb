"""Fuzzes the targets of `fuzz/` with libFuzzer, one after the other, and prints the results.

    python -m tools.fuzz [TARGET ...] [--time SECONDS]

The stable toolchain is enough: the flags below make the compiler count edges and comparisons for libFuzzer, which the
crate `bolero` contains as source. The build has its own profile and folder beneath target. Inputs that reach new code
are kept in target/fuzz/<target>/corpus, and the next run begins with them. An input that breaks a property is named,
with the command to reproduce it; the exit code is then 1.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "target" / "fuzz"

# The flags of cargo-bolero and cargo-fuzz without sanitizers, which need a nightly compiler.
FLAGS = [
    "--cfg", "fuzzing", "--cfg", "fuzzing_libfuzzer", "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4", "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table", "-Cllvm-args=-sanitizer-coverage-trace-compares",
]

# Longer inputs have tests of their own. An input takes milliseconds: a minute is for busy machines.
LIMITS = ["-max_len=4096", "-timeout=60", "-rss_limit_mb=2048"]

STATUS = re.compile(r"^#(\d+)\s+(INITED|DONE)\s+cov: (\d+) ft: \d+ corp: (\d+)/", re.MULTILINE)
EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
FOUND = re.compile(r"Test unit written to (\S+)")


def figures(log):
    """Parses libFuzzer's log: executions, edges after the corpus and at the end, inputs kept and, if it found
    something, the file with the input.
    """
    statuses = {name: (int(count), int(edges), int(kept)) for count, name, edges, kept in STATUS.findall(log)}
    executed = EXECUTED.search(log)
    found = FOUND.search(log)
    first = statuses.get("INITED")
    last = statuses.get("DONE", first)
    return {
        "executions": int(executed[1]) if executed else last[0] if last else 0,
        "edges_before": first[1] if first else 0,
        "edges": last[1] if last else 0,
        "kept": last[2] if last else 0,
        "found": found[1] if found else None,
    }


def build():
    """Returns the path of the binary, linked with libFuzzer."""
    host = re.search(r"^host: (\S+)", subprocess.run(
        ["rustc", "-vV"], cwd=ROOT, check=True, capture_output=True, text=True).stdout, re.MULTILINE)[1]
    # With a target given, the flags do not apply to build scripts.
    subprocess.run(
        ["cargo", "build", "--locked", "--package", "tributary-fuzz", "--profile", "fuzz", "--target", host],
        cwd=ROOT, check=True, env={**os.environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(FLAGS)})
    return ROOT / "target" / host / "fuzz" / "tributary-fuzz"


def fuzz(binary, target, seconds):
    """Runs one target for this many seconds; returns its figures."""
    home = HOME / target
    (home / "corpus").mkdir(parents=True, exist_ok=True)
    # Relative, because the arguments are split at blanks.
    arguments = [
        f"target/fuzz/{target}/corpus", f"fuzz/corpus/{target}", f"-max_total_time={seconds}",
        f"-artifact_prefix=target/fuzz/{target}/", "-print_final_stats=1", *LIMITS,
    ]
    with open(home / "log", "w") as log:
        done = subprocess.run(
            [binary, "run", target], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "BOLERO_LIBFUZZER_ARGS": " ".join(arguments)})
    result = figures((home / "log").read_text(errors="replace"))
    return {**result, "failed": done.returncode != 0 or result["found"] is not None}


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="which targets; all of them without")
    parser.add_argument("--time", type=int, default=60, metavar="SECONDS", help="how long each (60)")
    options = parser.parse_args()

    binary = build()
    known = subprocess.run([binary, "list"], check=True, capture_output=True, text=True).stdout.split()
    unknown = sorted(set(options.targets) - set(known))
    if unknown:
        sys.exit(f"{', '.join(unknown)}: none of {', '.join(known)}")

    print(f"{'target':<18}{'executions':>12}{'a second':>10}{'edges':>9}{'of them new':>13}{'kept':>8}", flush=True)
    failed, executions = [], 0
    for target in options.targets or known:
        result = fuzz(binary, target, options.time)
        executions += result["executions"]
        print(f"{target:<18}{result['executions']:>12,}{result['executions'] // max(options.time, 1):>10,}"
              f"{result['edges']:>9,}{result['edges'] - result['edges_before']:>13,}{result['kept']:>8,}", flush=True)
        if result["failed"]:
            failed.append((target, result["found"]))
    print(f"{'all':<18}{executions:>12,}")
    for target, found in failed:
        log = f"target/fuzz/{target}/log"
        print(f"{target}: {found or 'ended without a word'}, see {log}")
        if found:
            print(f"  cargo run -p tributary-fuzz -- check {target} {found}")
            print(f"  once mended, it belongs in fuzz/corpus/{target}, named after what it broke")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
