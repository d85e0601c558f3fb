"""Puts a file into the source bucket, the way a user would."""

import re
from dataclasses import dataclass

from . import rows

DATASET = "accidents"


@dataclass(frozen=True)
class Input:
    """What is uploaded, and the offsets of the rows in it as this driver counts them."""

    name: str
    body: bytes
    offsets: list


def load(path, first=None):
    """Reads `path`; with `first`, the header and that many rows of it, decompressed."""
    content = path.read_bytes()
    whole = rows.read(path.name, content)
    if first is None or first >= len(whole.rows):
        return Input(path.name, content, [row.offset for row in whole.rows])
    name = path.name.removesuffix(".gz")
    part = whole.first(first)
    return Input(name, part, [row.offset for row in rows.read(name, part).rows])


def put(stack, given):
    """Uploads below the dataset's folder, which is how ingest knows the dataset; returns the key."""
    key = f"{DATASET}/{given.name}"
    stack.client("s3").put_object(Bucket=stack.outputs["SourceBucketName"], Key=key, Body=given.body)
    return key


def shorten_redelivery(stack, row_count):
    """Lets a message whose function died come back in seconds.

    In the cloud it comes back after six times the function's time-out, as AWS asks; on a laptop
    nobody waits half an hour to see a killed function's work done again. Not shorter than reading
    the object takes, or it would be read twice.
    """
    seconds = max(20, row_count // 50)
    stack.client("sqs").set_queue_attributes(
        QueueUrl=stack.outputs["IngestQueueUrl"], Attributes={"VisibilityTimeout": str(seconds)})
    return seconds


def offset_of(source):
    """The byte offset in a source position such as `s3://bucket/key?versionId=v#offset=12&row=1`."""
    found = re.search(r"#(?:.*&)?offset=(\d+)", source or "")
    return int(found.group(1)) if found else None
