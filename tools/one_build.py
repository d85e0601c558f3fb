"""Fails if a build recompiles a dependency that `cargo test --workspace` has compiled.

    python -m tools.one_build

All builds share one profile, one target folder and one feature set: after `make test`, each package of the workspace
and cargo-lambda must find every package of the registry compiled. docs/dependencies.md says how to fix one that does
not.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHOLE = ["cargo", "build", "--workspace", "--all-targets"]
REFUSE = ROOT / "tools" / "refuse_rustc.sh"


def members():
    """Returns the names of the workspace's packages, except those that .config/hakari.toml excludes."""
    listed = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"],
        cwd=ROOT, check=True, capture_output=True, text=True)
    names = {package["name"] for package in json.loads(listed.stdout)["packages"]}
    settings = tomllib.loads((ROOT / ".config" / "hakari.toml").read_text())
    return sorted(names - set(settings["final-excludes"]["workspace-members"]))


def artifacts(command):
    """Returns the third-party artefacts of a build as (package, features, whether cargo had it).

    Packages of the workspace are not compiled: a wrapper refuses, and cargo continues with the other packages.
    """
    environment = {**os.environ, "CARGO_LAMBDA_COMPILER": "cargo", "RUSTC_WORKSPACE_WRAPPER": str(REFUSE)}
    with subprocess.Popen(
            [*command, "--locked", "--keep-going", "--message-format", "json"], cwd=ROOT, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        try:
            yield from parse(running.stdout)
        finally:
            # What else there is to compile may take minutes.
            running.terminate()


def parse(lines):
    for line in lines:
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message["package_id"].startswith("registry+"):
            yield message["package_id"].rpartition("#")[2], frozenset(message["features"]), message["fresh"]


def describe(command, built, known):
    """Returns that `command` compiles a package again, and the features it lacks; None if it does not."""
    package, features, is_fresh = built
    if is_fresh:
        return None
    missing = frozenset().union(*known.get(package, [])) - features
    return f"{command} compiles {package} again" + (f" without {', '.join(sorted(missing))}" if missing else "")


def main():
    known = {}
    for package, features, is_fresh in artifacts(WHOLE):
        if not is_fresh:
            print(f"{package} was not compiled: run cargo test --workspace --no-run first", file=sys.stderr)
            return 1
        known.setdefault(package, set()).add(features)
    builds = [["cargo", "build", "--package", name] for name in members()]
    for command in [*builds, ["cargo", "lambda", "build", "--bin", "transform"]]:
        name, seen = " ".join(command), 0
        for built in artifacts(command):
            seen += 1
            fault = describe(name, built, known)
            if fault:
                print(f"{fault}: see \"One build\" in docs/dependencies.md", file=sys.stderr)
                return 1
        if not seen:
            print(f"{name} finds no dependency: does it run?", file=sys.stderr)
            return 1
    print(f"one build: {len(builds)} packages and cargo-lambda find {len(known)} dependencies compiled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
