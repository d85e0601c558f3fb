"""The local AWS: MiniStack as a child process, with Tributary deployed into it by `sam deploy`.

All its files are below its home (`target/local` for `up`, `target/demo` for `demo`), so that both can run at the same
time and a crash leaves nothing elsewhere. `state.json` there identifies the process; a leftover process is found by it
and ended before a new one starts.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

from . import place, process

START_SECONDS = 60
DEPLOY_SECONDS = 600
RECORDS_AT_ONCE = 100
# An aggregate holds 25 KB of small records.
AGGREGATES_AT_ONCE = 3


class StackError(Exception):
    """The local stack cannot be used; the text names the reason and where to look."""


class Stack:
    """A running MiniStack and, once deployed, the outputs of Tributary's stack in it."""

    def __init__(self, home, port, known):
        self.home = home
        self.port = port
        self.known = known
        self.endpoint = f"http://127.0.0.1:{port}"
        self.environment = place.clean_environment(self.endpoint)
        self.name = None
        self.outputs = {}
        self._clients = {}

    @property
    def pid(self):
        return self.known["pid"]

    @property
    def log(self):
        return self.home / "ministack.log"

    def client(self, service):
        """Returns a boto3 client that can reach this MiniStack only."""
        if service not in self._clients:
            session = boto3.session.Session(
                aws_access_key_id=place.CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=place.CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                region_name=place.REGION,
            )
            self._clients[service] = session.client(
                service,
                endpoint_url=self.endpoint,
                config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
            )
        return self._clients[service]

    def alive(self):
        return process.alive(self.known)

    def stop(self):
        """Ends MiniStack and every function it started."""
        process.end(self.known)
        (self.home / "state.json").unlink(missing_ok=True)
        shutil.rmtree(self.home / "tmp", ignore_errors=True)

    # Deploying

    def deploy(self, **parameters):
        """Runs `sam deploy` as a user would, with `parameters` besides those of samconfig.toml, and reads the outputs.
        """
        template = place.BUILD / "template.yaml"
        if not template.exists():
            raise StackError(f"{place.relative(template)} is not there: run `make build` first")
        log = self.home / "deploy.log"
        command = [
            "sam", "deploy", "--config-env", "local", "--config-file", str(place.ROOT / "samconfig.toml"),
            "--template-file", str(template), "--no-confirm-changeset", "--no-progressbar",
        ]
        if parameters:
            # Parameters on the command line replace all those in the file.
            given = [_configured_parameters(), *(f"{name}={value}" for name, value in parameters.items())]
            command += ["--parameter-overrides", " ".join(given)]
        with log.open("wb") as out:
            try:
                done = subprocess.run(
                    command, cwd=place.ROOT, env=self._sam_environment(), stdin=subprocess.DEVNULL,
                    stdout=out, stderr=subprocess.STDOUT, timeout=DEPLOY_SECONDS, check=False,
                )
            except subprocess.TimeoutExpired:
                raise StackError(f"sam deploy took more than {DEPLOY_SECONDS} s{_tail(log)}") from None
        if done.returncode != 0:
            raise StackError(f"sam deploy failed{_tail(log)}")
        self.read_outputs()
        self._allow_publish_batch()
        self.small_batches(AGGREGATES_AT_ONCE if parameters.get("AggregateRecords") == "true" else RECORDS_AT_ONCE)

    def small_batches(self, size):
        """Makes MiniStack pass `transform` this many records per batch instead of 1,000 as on AWS.

        MiniStack writes a Parquet object for each event before it answers PutRecords, about 13 ms each and more on a
        busy machine: a chunk of 500 would come near the 10 s limit of a call. It does not support batch item failures
        either: records reported as undelivered are not redelivered.
        """
        client = self.client("lambda")
        mappings = client.list_event_source_mappings(FunctionName=self.function_name("Transform"))["EventSourceMappings"]
        for mapping in mappings:
            client.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=size)

    def _allow_publish_batch(self):
        """Allows what MiniStack requires: a permission named after PublishBatch; on AWS sns:Publish covers it."""
        name = self.function_name("Alerts")
        role = self.client("lambda").get_function_configuration(FunctionName=name)["Role"].rpartition("/")[2]
        statement = {"Effect": "Allow", "Action": "sns:PublishBatch", "Resource": self.outputs["AlertsTopicArn"]}
        self.client("iam").put_role_policy(
            RoleName=role, PolicyName="ministack-publish-batch",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    def _sam_environment(self):
        # SAM writes metadata to the home directory unless given another folder.
        return {
            **self.environment,
            "SAM_CLI_TELEMETRY": "0",
            "__SAM_CLI_APP_DIR": str(self.home / "sam"),
            "SAM_CLI_CONTAINER_CONNECTION_TIMEOUT": "1",
        }

    def read_outputs(self):
        """Finds Tributary's stack by its outputs, whatever its name in samconfig.toml."""
        for stack in self.client("cloudformation").describe_stacks()["Stacks"]:
            outputs = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}
            if "SourceBucketName" in outputs:
                self.name, self.outputs = stack["StackName"], outputs
                return
        raise StackError(f"no stack with the output SourceBucketName{_tail(self.home / 'deploy.log')}")

    def function_name(self, logical_id):
        return self.outputs[f"{logical_id}FunctionName"]

    def function_environment(self):
        """Returns the merged variables of all functions, for `cargo lambda watch`."""
        merged = {}
        for logical_id in place.FUNCTIONS:
            configuration = self.client("lambda").get_function_configuration(
                FunctionName=self.function_name(logical_id))
            merged.update(configuration.get("Environment", {}).get("Variables", {}))
        return merged


def _configured_parameters():
    settings = tomllib.loads((place.ROOT / "samconfig.toml").read_text())
    return settings["local"]["deploy"]["parameters"]["parameter_overrides"]


def start(home):
    """Starts a fresh MiniStack on a free port, after ending what an earlier command left in this home."""
    previous = attach(home)
    owner = _state(home).get("owner")
    if previous and previous.alive() and process.alive(owner) and owner["pid"] != os.getpid():
        raise StackError(f"a command with pid {owner['pid']} is using {place.relative(home)}: wait for it or end it")
    if previous:
        previous.stop()
    home.mkdir(parents=True, exist_ok=True)
    for left in ("tmp", "ministack.log", "deploy.log", "state.json", "env", "report.json"):
        path = home / left
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    (home / "tmp").mkdir()
    for attempt in range(3):
        stack = _launch(home)
        try:
            _await_ready(stack)
            return stack
        except StackError:
            stack.stop()
            # Another process may have taken the port between the choice and the bind.
            if attempt == 2 or "already in use" not in stack.log.read_text(errors="replace"):
                raise
        except BaseException:
            stack.stop()
            raise
    raise AssertionError("the loop returns or raises")


def attach(home):
    """Returns the stack that runs in this home, or None."""
    state = _state(home)
    if not state:
        return None
    return Stack(home, state["port"], state["ministack"])


def running(home):
    """Returns the running stack of this home that answers, with its outputs; raises if there is none."""
    stack = attach(home)
    if stack is None or not stack.alive():
        raise StackError("no local stack is running: start one with `make up`")
    stack.read_outputs()
    return stack


def _state(home):
    try:
        return json.loads((home / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _launch(home):
    port = free_port()
    stack = Stack(home, port, None)
    # Few variables are passed on, because MiniStack passes its whole environment to the functions: everything a
    # function needs must come from the template.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LOG_LEVEL") if name in os.environ}
    environment |= place.aws_environment(stack.endpoint) | {
        "PATH": stack.environment["PATH"],
        # Each function has the permissions of its role; everything the template does not allow is denied.
        "AUTH": os.environ.get("AUTH", "true"),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": place.REGION,
        "TMPDIR": str(home / "tmp"),
        "STATE_DIR": str(home / "tmp" / "state"),
        "S3_DATA_DIR": str(home / "tmp" / "s3"),
        "NO_PROXY": "127.0.0.1,localhost",
        # Both would listen on every interface, and nothing here uses MQTT or SFTP.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
    }
    with stack.log.open("ab") as log:
        # A process group of its own: Ctrl-C must reach this driver first, which then ends the group.
        started = subprocess.Popen(
            [sys.executable, "-m", "ministack"], cwd=home, env=environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )
    stack.known = process.identity(started.pid)
    try:
        (home / "state.json").write_text(json.dumps(
            {"port": port, "ministack": stack.known, "owner": process.identity(os.getpid())}))
    except BaseException:
        stack.stop()
        raise
    return stack


def free_port(address="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def _await_ready(stack):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not stack.alive():
            raise StackError(f"MiniStack ended while it started{_tail(stack.log)}")
        try:
            with direct.open(f"{stack.endpoint}/_ministack/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
    raise StackError(f"MiniStack did not answer within {START_SECONDS} s{_tail(stack.log)}")


def _tail(log, lines=25):
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return ""
    return "; the end of " + place.relative(log) + ":\n" + "\n".join(f"    {line}" for line in text)
