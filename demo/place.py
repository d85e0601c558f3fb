"""Paths, and the environment in which everything local runs."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "local"
TARGET = ROOT / "target"
# Folder of the binaries that cargo builds for this machine: a link that `make build` sets.
BIN = TARGET / "bin"
UP_HOME = TARGET / "local"
DEMO_HOME = TARGET / "demo"
DEFAULT_DATA = ROOT / "fixtures" / "datasets" / "accidents" / "demo.csv"

REGION = "us-east-1"
# MiniStack accepts any credentials; these can never be real ones.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

# Logical id in template.yaml (also the stem of its output) -> crate, binary and folder under events/.
FUNCTIONS = {
    "IngestS3": "ingest-s3",
    "IngestHttp": "ingest-http",
    "IngestKafka": "ingest-kafka",
    "Transform": "transform",
    "Metrics": "metrics",
    "Alerts": "alerts",
    "Windows": "windows",
}


def aws_environment(endpoint):
    """Returns the variables that point a process at the local AWS and no other."""
    return {
        **CREDENTIALS,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def clean_environment(endpoint):
    """Returns this process's environment without the user's AWS settings, pointed at `endpoint`.

    A profile, a session token or a service's own endpoint would take precedence and could reach a real account.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        **aws_environment(endpoint),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def relative(path):
    """Returns `path` relative to the repository."""
    try:
        return str(Path(path).resolve().relative_to(ROOT))
    except ValueError:
        return str(path)
