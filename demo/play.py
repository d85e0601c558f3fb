"""Small tools for the stack of `make up`, for machines without the AWS CLI."""

import base64
import json
import sys
import time
from pathlib import Path

from . import place, probe, stack


def put(path, dataset):
    """Uploads a file into the source bucket, below the dataset's folder."""
    running = stack.running(place.UP_HOME)
    bucket, key = running.outputs["SourceBucketName"], f"{dataset}/{Path(path).name}"
    running.client("s3").put_object(Bucket=bucket, Key=key, Body=Path(path).read_bytes())
    print(f"s3://{bucket}/{key}: on its way")
    return 0


def sql(query):
    """Runs a query in Athena and prints the rows, tab-separated."""
    for row in probe.athena(stack.running(place.UP_HOME), query):
        print("\t".join("" if cell is None else cell for cell in row))
    return 0


def tail(function, forever=True):
    """Prints a function's log and follows it until Ctrl-C."""
    running = stack.running(place.UP_HOME)
    name = running.function_name(_logical_id(function))
    logs = running.client("logs")
    seen = set()
    while True:
        try:
            pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}"))
        except logs.exceptions.ResourceNotFoundException:
            pages = []
        events = [event for page in pages for event in page["events"]]
        for event in sorted(events, key=lambda event: event["timestamp"]):
            key = (event["logStreamName"], event["timestamp"], event["message"])
            if key not in seen:
                seen.add(key)
                print(event["message"], flush=True)
        if not forever:
            return 0
        time.sleep(1)


def invoke(function, path):
    """Invokes the deployed function with a payload and prints its answer and the end of its log."""
    running = stack.running(place.UP_HOME)
    answer = running.client("lambda").invoke(
        FunctionName=running.function_name(_logical_id(function)), Payload=Path(path).read_bytes(), LogType="Tail")
    if answer.get("LogResult"):
        print(base64.b64decode(answer["LogResult"]).decode(errors="replace").rstrip(), file=sys.stderr)
    print(json.dumps(json.loads(answer["Payload"].read() or b"null"), indent=2))
    return 1 if answer.get("FunctionError") else 0


def _logical_id(function):
    for key, name in place.FUNCTIONS.items():
        if function in (key, name):
            return key
    raise stack.StackError(f"no function is called {function}: one of {', '.join(place.FUNCTIONS.values())}")
