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
WHOLE = ["cargo", "test", "--workspace", "--no-run"]


def members():
    """Returns the names of the workspace's packages, except those that .config/hakari.toml excludes."""
    listed = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"],
        cwd=ROOT, check=True, capture_output=True, text=True)
    names = {package["name"] for package in json.loads(listed.stdout)["packages"]}
    settings = tomllib.loads((ROOT / ".config" / "hakari.toml").read_text())
    return sorted(names - set(settings["final-excludes"]["workspace-members"]))


def artifacts(command):
    """Returns the third-party artefacts of a build as (package, features, whether cargo had it)."""
    with subprocess.Popen(
            [*command, "--locked", "--message-format", "json-render-diagnostics"], cwd=ROOT,
            env={**os.environ, "CARGO_LAMBDA_COMPILER": "cargo"}, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield from parse(running.stdout)
        finally:
            # The rest of the build may take minutes.
            running.terminate()


def parse(lines):
    for line in lines:
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "build-finished" and not message["success"]:
            raise SystemExit("the build failed")
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
    for package, features, _ in artifacts(WHOLE):
        known.setdefault(package, set()).add(features)
    builds = [["cargo", "build", "--package", name] for name in members()]
    for command in [*builds, ["cargo", "lambda", "build", "--bin", "transform"]]:
        described = (describe(" ".join(command), built, known) for built in artifacts(command))
        fault = next(filter(None, described), None)
        if fault:
            print(f"{fault}: see \"One build\" in docs/dependencies.md", file=sys.stderr)
            return 1
    print(f"one build: {len(builds)} packages and cargo-lambda find {len(known)} dependencies compiled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
