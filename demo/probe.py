"""Reads the streams, layers and queues of a running stack incrementally.

Each reader keeps what it has read, so following a run costs no more than what is new.
"""

import gzip
import json
import re
import time

from . import aggregates

# MiniStack writes one object for each record; on AWS one object holds thousands.
GZIP = b"\x1f\x8b"


class Layer:
    """Objects below one prefix, each read once as newline-delimited JSON."""

    def __init__(self, stack, bucket, prefix, parse=True):
        self.s3 = stack.client("s3")
        self.bucket = stack.outputs[bucket]
        self.prefix = prefix
        self.parse = parse
        self.sizes = {}

    @property
    def objects(self):
        return len(self.sizes)

    @property
    def bytes(self):
        return sum(self.sizes.values())

    def new_documents(self):
        """Returns the documents of the objects that were added since the last call."""
        documents = []
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        for entry in (entry for page in pages for entry in page.get("Contents", [])):
            if entry["Key"] in self.sizes:
                continue
            if self.parse:
                body = self.s3.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
                documents += lines(body)
            self.sizes[entry["Key"]] = entry["Size"]
        return documents


def lines(body):
    """Parses the JSON documents of an object, gzip or plain, one a line; decimal numbers stay verbatim.

    MiniStack's Firehose stores a KPL aggregate unchanged, where that of AWS splits it.
    """
    if body.startswith(GZIP):
        body = gzip.decompress(body)
    if aggregates.is_aggregate(body):
        documents = [data for _, data in aggregates.records(body)]
    else:
        documents = [line for line in body.splitlines() if line.strip()]
    return [json.loads(document, parse_float=str) for document in documents]


class StreamReader:
    """Reader of every record of a stream from its beginning, from the stream itself."""

    def __init__(self, stack, output):
        self.kinesis = stack.client("kinesis")
        self.name = stack.outputs[output]
        self.iterators = {}

    def new_documents(self):
        documents = []
        for shard in self.kinesis.list_shards(StreamName=self.name)["Shards"]:
            if shard["ShardId"] not in self.iterators:
                first = self.kinesis.get_shard_iterator(
                    StreamName=self.name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
                self.iterators[shard["ShardId"]] = first["ShardIterator"]
        for shard, iterator in self.iterators.items():
            while iterator:
                answer = self.kinesis.get_records(ShardIterator=iterator, Limit=10_000)
                documents += [json.loads(record["Data"]) for record in answer["Records"]]
                iterator = answer.get("NextShardIterator")
                if iterator:
                    self.iterators[shard] = iterator
                if not answer["Records"]:
                    break
        return documents


class TopicQueue:
    """A queue subscribed to a topic: it receives what any subscriber would."""

    def __init__(self, stack, name, topic_output):
        self.sqs = stack.client("sqs")
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = stack.outputs[topic_output]
        # As on AWS, without this policy the topic may not write to the queue, and reports no error.
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }]}
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": json.dumps(policy)})
        stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)

    def new_messages(self):
        """Returns the messages that arrived since the last call, each as (subject, message, attributes)."""
        found = []
        while True:
            answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
            messages = answer.get("Messages", [])
            if not messages:
                return found
            for message in messages:
                envelope = json.loads(message["Body"])
                attributes = {
                    name: value["Value"] for name, value in envelope.get("MessageAttributes", {}).items()}
                found.append((envelope.get("Subject"), envelope["Message"], attributes))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])


def queue_depth(stack, output):
    """Returns the number of messages of a queue that are visible or in flight."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs[output], AttributeNames=names)["Attributes"]
    return sum(int(attributes.get(name, 0)) for name in names)


BATCH_COUNTS = ("in", "out", "quarantined", "filtered", "late", "undelivered")


def batch_lines(stack, logical_id):
    """Returns the batch lines in a function's log: one JSON line for each batch, with its counts."""
    name = stack.function_name(logical_id)
    logs = stack.client("logs")
    group = stack.client("lambda").get_function_configuration(FunctionName=name)
    group = group.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}"
    found = []
    try:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
            found += [batch_line(event["message"]) for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [line for line in found if line]


def batch_line(message):
    """Returns the counts of a batch line, or None for any other line of a log."""
    try:
        document = json.loads(message)
    except ValueError:
        return None
    if not isinstance(document, dict) or "in" not in document or "_aws" not in document:
        return None
    return {name: int(document.get(name) or 0) for name in BATCH_COUNTS}


def add_batches(found):
    """Returns the sum of batch lines."""
    return {"batches": len(found), **{name: sum(line[name] for line in found) for name in BATCH_COUNTS}}


FAILURE = re.compile(r"ESM: Lambda (\S+) failed processing .*? errorMessage=(.*)")


def failures(log):
    """Returns failed invocations by function name, from MiniStack's log: how many, and the last one's message."""
    found = {}
    for name, message in FAILURE.findall(log):
        found[name] = {"count": found.get(name, {"count": 0})["count"] + 1, "last": message.rstrip(")")}
    return found


def athena(stack, sql, seconds=120):
    """Runs one query in the stack's workgroup and database; returns its rows as lists of text."""
    client = stack.client("athena")
    started = client.start_query_execution(
        QueryString=sql,
        WorkGroup=stack.outputs["AthenaWorkGroupName"],
        QueryExecutionContext={"Database": stack.outputs["GlueDatabaseName"]},
    )["QueryExecutionId"]
    deadline = time.monotonic() + seconds
    while True:
        status = client.get_query_execution(QueryExecutionId=started)["QueryExecution"]["Status"]
        if status["State"] == "SUCCEEDED":
            break
        if status["State"] in ("FAILED", "CANCELLED") or time.monotonic() > deadline:
            raise RuntimeError(f"Athena: {status['State']}: {status.get('StateChangeReason', 'no reason given')}: {sql}")
        time.sleep(0.1)
    found = []
    for page in client.get_paginator("get_query_results").paginate(QueryExecutionId=started):
        found += [[cell.get("VarCharValue") for cell in row["Data"]] for row in page["ResultSet"]["Rows"]]
    return found[1:]


class Series:
    """One metric with its dimensions, and the sum of its values."""

    def __init__(self, name, dimensions, total, count):
        self.name = name
        self.dimensions = dimensions
        self.total = total
        self.count = count


def metrics(stack):
    """Returns every series of the stack's namespace, read back from CloudWatch."""
    client = stack.client("cloudwatch")
    namespace = stack.outputs["MetricsNamespace"]
    listed = [
        metric
        for page in client.get_paginator("list_metrics").paginate(Namespace=namespace)
        for metric in page["Metrics"]
    ]
    found = []
    now = time.time()
    for at in range(0, len(listed), 250):
        part = listed[at:at + 250]
        queries = [
            {"Id": f"{kind}{number}", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": stat}}
            for number, metric in enumerate(part)
            for kind, stat in (("s", "Sum"), ("n", "SampleCount"))
        ]
        values = {}
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=now - 3 * 3600, EndTime=now + 3600)
        for result in (result for page in pages for result in page["MetricDataResults"]):
            values[result["Id"]] = values.get(result["Id"], 0.0) + sum(result["Values"])
        for number, metric in enumerate(part):
            dimensions = {d["Name"]: d["Value"] for d in metric["Dimensions"]}
            found.append(Series(
                metric["MetricName"], dimensions, values.get(f"s{number}", 0.0), values.get(f"n{number}", 0.0)))
    return found
