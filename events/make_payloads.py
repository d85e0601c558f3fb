#!/usr/bin/env python3
"""Makes events/<function>/<case>.json, what Lambda hands each function, and <case>.expected.json, its answer.

    python3 make_payloads.py            write them again
    python3 make_payloads.py --check    exit 1 if a committed file is not what this program makes

The shapes follow the AWS pages "Using Lambda to process records from Amazon Kinesis Data Streams",
"Using Lambda with Amazon SQS", "Using Lambda with self-managed Apache Kafka", "Event message structure" of Amazon S3 and "Invoking
Lambda function URLs". The rows come from the generator of the accidents fixtures; the same rules hold here: seeded, only the standard
library.
"""

import argparse
import base64
import hashlib
import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote_plus

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE.parent / "fixtures" / "datasets" / "accidents"), str(HERE)]

from generator.clock import to_utc  # noqa: E402
from generator.places import place  # noqa: E402
from generator.rows import CLASS_OF, HEADER_2023, POI, Rng, line, make_row  # noqa: E402
from generator.valid import valid_rows  # noqa: E402
from make import csv  # noqa: E402

import http_requests  # noqa: E402

SOURCE_BUCKET = "tributary-local-source"
STACK = "tributary-local"
REGION = "us-east-1"
ACCOUNT = "000000000000"
ARRIVED = datetime(2026, 11, 20, 10, 0, 0, 123000, tzinfo=timezone.utc)
SHARD = "shardId-000000000000"
FIRST_SEQUENCE_NUMBER = 49672531415926535897932384626433832795028841971693993730  # 56 digits, as Kinesis gives
NOTHING_FAILED = {"batchItemFailures": []}

# H3 cells (resolution 5) of the place centres: fixed here, as the standard library has no H3.
CELLS = {
    "Los Angeles": "8529a1d7fffffff",
    "San Diego": "8529a41bfffffff",
    "Houston": "85446cabfffffff",
    "Dallas": "8526cb9bfffffff",
    "Chicago": "852664c3fffffff",
    "Atlanta": "8544c1abfffffff",
    "Miami": "8544a113fffffff",
    "Phoenix": "8529b6d3fffffff",
    "Denver": "85268cdbfffffff",
    "Seattle": "8528d543fffffff",
    "Boston": "852a3067fffffff",
    "Brooklyn": "852a1077fffffff",
    "Gary": "85266403fffffff",
}


def utc_text(instant, digits=3):
    text = instant.strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{instant.microsecond // 1000:03}Z" if digits else "Z")


def hex32(text):
    return hashlib.sha256(text.encode()).hexdigest()[:32]


# What the streams carry -------------------------------------------------------------------------


def raw_record(row, number, dataset="accidents"):
    """A record of the RAW stream: the row as received, its empty cells left out."""
    payload = {column: row[column] for column in HEADER_2023 if row[column]}
    offset = 511 + 375 * (number - 1)
    source = f"s3://{SOURCE_BUCKET}/{dataset}/valid.csv?versionId=null#offset={offset}&row={number}"
    return {
        "dataset": dataset,
        "record_id": hex32(source),
        "source": source,
        "received_at": utc_text(ARRIVED),
        "payload": payload,
    }


def event(row):
    """An event of the EVENTS stream, as transform makes it of an accident at the centre of its city."""
    where = place(row["City"])
    local = datetime.fromisoformat(row["Start_Time"][:19])
    start = to_utc(local, row["Timezone"])[0]
    minutes = (to_utc(datetime.fromisoformat(row["End_Time"][:19]), row["Timezone"])[0] - start).total_seconds() / 60
    celsius = lambda f: (f - 32) * 5 / 9  # noqa: E731
    km = lambda miles: miles * 1.609344  # noqa: E731
    measures = {"severity": float(row["Severity"]), "duration_min": round(minutes, 3)}
    for name, column, convert in (
        ("temperature_c", "Temperature(F)", celsius),
        ("wind_chill_c", "Wind_Chill(F)", celsius),
        ("humidity_pct", "Humidity(%)", float),
        ("pressure_hpa", "Pressure(in)", lambda inches: inches * 33.8639),
        ("visibility_km", "Visibility(mi)", km),
        ("wind_speed_kph", "Wind_Speed(mph)", km),
        ("precipitation_mm", "Precipitation(in)", lambda inches: inches * 25.4),
        ("distance_km", "Distance(mi)", km),
    ):
        if row[column]:
            measures[name] = round(convert(float(row[column])), 3)
    attributes = {
        name: row[column]
        for name, column in (
            ("id", "ID"), ("city", "City"), ("county", "County"), ("state", "State"), ("zipcode", "Zipcode"),
            ("street", "Street"), ("timezone", "Timezone"), ("weather_condition", "Weather_Condition"),
            ("wind_direction", "Wind_Direction"), ("airport_code", "Airport_Code"), ("source", "Source"),
            ("description", "Description"),
        )
        if row[column]
    }
    tags = [flag.lower() for flag in POI if row[flag] == "True"] + [row["Sunrise_Sunset"].lower()]
    tags += ["weekend"] if local.weekday() >= 5 else []
    tags += [CLASS_OF[row["Weather_Condition"]]] if row["Weather_Condition"] in CLASS_OF else []
    return {
        "kind": "reading",
        "dataset": "accidents",
        "event_id": hex32(f"accidents/{row['ID']}"),
        "entity": f"{row['State']}/{row['County']}",
        "event_time": utc_text(start, 0),
        "received_at": utc_text(ARRIVED),
        "location": {"lat": where.lat, "lon": where.lng, "cell": CELLS[row["City"]]},
        "measures": measures,
        "attributes": attributes,
        "tags": tags,
    }


def telemetry():
    """A reading of another dataset: it has no severity, and no rule may stumble over that."""
    return {
        "kind": "reading",
        "dataset": "telemetry",
        "event_id": hex32("telemetry/device-01/2026-11-20T09:59:58Z"),
        "entity": "device-01",
        "event_time": "2026-11-20T09:59:58Z",
        "received_at": utc_text(ARRIVED),
        "location": {"lat": 52.3676, "lon": 4.9041, "cell": "85196953fffffff"},
        "measures": {"temperature_c": 27.5, "humidity_pct": 40.2},
        "attributes": {"sensor_id": "device-01", "status": "OK"},
        "tags": [],
    }


# What Lambda hands a function ---------------------------------------------------------------------


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def kinesis(stream, function, items):
    """A batch of one shard. An item is JSON to encode, bytes to encode, or text that stands as `data` as it is."""
    records = []
    for at, item in enumerate(items):
        data = item if isinstance(item, str) else base64.b64encode(
            item if isinstance(item, bytes) else compact(item).encode()).decode()
        key = item.get("record_id") or item.get("entity") if isinstance(item, dict) else f"key-{at}"
        sequence_number = str(FIRST_SEQUENCE_NUMBER + at)
        records.append({
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": key,
                "sequenceNumber": sequence_number,
                "data": data,
                "approximateArrivalTimestamp": round((ARRIVED + timedelta(milliseconds=37 * at)).timestamp(), 3),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{SHARD}:{sequence_number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{function}",
            "awsRegion": REGION,
            "eventSourceARN": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{STACK}-{stream}",
        })
    return {"Records": records}


def varint(number):
    """A number of protocol buffers: seven bits a byte, the lowest first."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def aggregate(*items):
    """A KPL aggregate: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md."""
    field = lambda tag, value: bytes([tag << 3 | 2]) + varint(len(value)) + value  # noqa: E731
    index = lambda at: bytes([1 << 3]) + varint(at)  # noqa: E731
    keys = b"".join(field(1, item["record_id"].encode()) for item in items)
    records = [index(at) + field(3, compact(item).encode()) for at, item in enumerate(items)]
    message = keys + b"".join(field(3, record) for record in records)
    return bytes.fromhex("f3899ac2") + message + hashlib.md5(message).digest()


def sqs(body):
    """One message of the ingest queue."""
    body = body if isinstance(body, str) else compact(body)
    digest = hashlib.md5(body.encode()).hexdigest()
    sent = int(ARRIVED.timestamp() * 1000)
    return {"Records": [{
        "messageId": f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:]}",
        "receiptHandle": base64.b64encode(f"receipt {digest}".encode()).decode(),
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(sent),
            "SenderId": "AIDAEXAMPLE",
            "ApproximateFirstReceiveTimestamp": str(sent + 12),
        },
        "messageAttributes": {},
        "md5OfBody": digest,
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{STACK}-ingest",
        "awsRegion": REGION,
    }]}


def s3_notification(key, data):
    """The notification of one new object. No versionId: the local object's is not known before it is put."""
    return {"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": utc_text(ARRIVED),
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "EXAMPLE", "x-amz-id-2": "EXAMPLE"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "ingest",
            "bucket": {
                "name": SOURCE_BUCKET,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{SOURCE_BUCKET}",
            },
            "object": {
                "key": quote_plus(key, safe="/"),  # as S3 does: a space is `+`, the rest %xx
                "size": len(data),
                "eTag": hashlib.md5(data).hexdigest(),
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }]}


def kafka(**partitions):
    """A batch of a cluster: for each `<topic>_<partition>` its records, a value or a pair of key and value.

    A value is JSON to encode, bytes to encode, text that stands as `value` as it is, or None for a tombstone.
    """
    encode = lambda data: data if data is None or isinstance(data, str) else base64.b64encode(data).decode()  # noqa: E731
    records = {}
    for name, items in partitions.items():
        topic, number = name.rsplit("_", 1)
        records[f"{topic}-{number}"] = [
            {
                "topic": topic,
                "partition": int(number),
                "offset": 1500 + at,
                "timestamp": int(ARRIVED.timestamp() * 1000) + 37 * at,
                "timestampType": "CREATE_TIME",
                "key": encode(key),
                "value": encode(compact(value).encode() if isinstance(value, dict) else value),
                # Bytes as the signed numbers that Lambda makes of them.
                "headers": [{"traceparent": list(b"00-abc")}, {"binary": [-1, 0, 127]}],
            }
            for at, (key, value) in enumerate(item if isinstance(item, tuple) else (None, item) for item in items)
        ]
    return {
        "eventSource": "SelfManagedKafka",
        "bootstrapServers": "127.0.0.1:9092",
        "records": records,
    }


# The cases ------------------------------------------------------------------------------------------


def ingest_s3():
    valid = csv([row for _, row in valid_rows()])
    return {
        "one-object": sqs(s3_notification("accidents/valid.csv", valid)),
        "test-event": sqs({
            "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": utc_text(ARRIVED), "Bucket": SOURCE_BUCKET,
            "RequestId": "EXAMPLE", "HostId": "EXAMPLE",
        }),
        "key-with-spaces-plus-and-unicode": sqs(s3_notification("accidents/a b+ü.csv", valid)),
        "missing-object": sqs(s3_notification("accidents/no-such-object.csv", valid)),
        "continuation": sqs({
            "tributary": "continuation", "bucket": SOURCE_BUCKET, "key": "accidents/valid.csv",
            "version_id": None, "etag": None, "offset": 0, "row": 1,
        }),
        "not-a-notification": sqs({"greeting": "this is no notification"}),
    }


def ingest_kafka():
    rng = Rng(9400)
    row = lambda number: {name: value for name, value in make_row(rng, 9400000 + number).items() if value and name in HEADER_2023}  # noqa: E731
    keyed = lambda number: (b"A-%d" % (9400000 + number), row(number))  # noqa: E731
    gauge = {"sensor_id": "s-1", "location": "Dordrecht", "water_level": 1.25, "timestamp": "2026-11-20T09:59:58Z"}
    return {
        "one-good": kafka(accidents_0=[keyed(1)]),
        "one-good-two-bad": kafka(accidents_0=[b"[1]", keyed(2), b"\xff\xfe"]),
        "two-topics": kafka(accidents_0=[keyed(3), keyed(4)], accidents_1=[keyed(5)], flood_0=[(b"s-1", gauge)]),
        "tombstones-and-binary-keys": kafka(accidents_0=[(b"A-9400006", None), (b"\x00\x01", row(6)), (None, row(7)), None]),
        "unknown-topic": kafka(balloons_0=[row(8)]),
        "broken-base64": kafka(accidents_0=[keyed(9), "this is *not* base64", keyed(10)]),
        "empty-batch": kafka(),
    }


def transform():
    rng = Rng(9500)
    raw = [raw_record(make_row(rng, 9500001 + at), at + 1) for at in range(4)]
    severity_5 = raw_record(make_row(rng, 9500011, Severity="5"), 11)
    latitude_91 = raw_record(make_row(rng, 9500012, Start_Lat="91.0"), 12)
    unknown = dict(raw_record(make_row(rng, 9500013), 13), dataset="weather-balloons")

    def batch(*items):
        return kinesis("raw", "transform", items)

    windowed = batch(raw[0], raw[1]) | {
        "window": {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T10:02:00Z"},
        "state": {"1": 282, "2": 715},
        "shardId": SHARD,
        "eventSourceARN": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{STACK}-raw",
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
    }
    return {
        "one-good": batch(raw[0]),
        "one-good-two-bad": batch(severity_5, raw[0], latitude_91),
        "broken-base64": batch(raw[0], "this is *not* base64", raw[1]),
        "not-json": batch(raw[0], line(make_row(rng, 9500014), HEADER_2023).encode(), b"\xff\xfe\x00", raw[1]),
        "unknown-dataset": batch(unknown),
        "aggregates": batch(raw[0], aggregate(severity_5, raw[1], unknown, raw[2]), aggregate(raw[3], raw[0])[:-1], raw[3]),
        "empty-batch": {"Records": []},
        "tumbling-window-state": windowed,
    }


def scheduled(rule):
    return {
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event", "source": "aws.events",
        "account": ACCOUNT, "time": utc_text(ARRIVED), "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{STACK}-{rule}"], "detail": {},
    }


def accident(rng, number, city, severity, **columns):
    """An accident in clear view: its weather is known, whatever the generator would have drawn."""
    known = {"Temperature(F)": "58.0", "Weather_Condition": "Cloudy"} | columns
    return event(make_row(rng, number, where=place(city), Severity=severity, **known))


def metrics():
    rng = Rng(9600)
    cities = ["Los Angeles", "Los Angeles", "San Diego", "Houston", "Dallas", "Chicago", "Atlanta", "Phoenix", "Gary", "Seattle"]
    severities = "2243212432"
    warmth = ["71.0", "69.0", "66.0", "88.0", "90.0", "41.0", "60.0", "104.0", "40.0", ""]
    readings = [
        accident(rng, 9600001 + at, city, severity, **{"Temperature(F)": degrees})
        for at, (city, severity, degrees) in enumerate(zip(cities, severities, warmth))
    ]
    newer = accident(rng, 9600021, "Denver", "3")
    newer["measures"]["snow_depth_cm"] = 12.0
    newer["location"]["accuracy_m"] = 25
    newer |= {"schema_version": 2, "trace": {"parent": "00-abc", "flags": [1, 2]}, "note": None}
    window = dict(telemetry(), kind="window", window={
        "spec": "telemetry-1m", "start": "2026-11-20T09:59:00Z", "end": "2026-11-20T10:00:00Z", "revision": 0})
    return {
        "ten-readings": kinesis("events", "metrics", readings),
        "unknown-fields": kinesis("events", "metrics", [newer, window, accident(rng, 9600022, "Miami", "2")]),
    }


def alerts():
    rng = Rng(9700)
    severe = accident(rng, 9700001, "Boston", "4")
    mild = [accident(rng, 9700011 + at, city, level) for at, (city, level) in enumerate((("Miami", "1"), ("Brooklyn", "2"), ("Denver", "3")))]
    cities = [city for city in CELLS if city != "Boston"][:12]

    def batch(*items):
        return kinesis("events", "alerts", items)

    return {
        "severe-accident": batch(severe),
        "no-match": batch(*mild, telemetry()),
        "twelve-severe": batch(*(accident(rng, 9700021 + at, city, "4") for at, city in enumerate(cities))),
        "broken-base64": batch(mild[0], "this is *not* base64", severe),
        "scheduled": scheduled("AlertsSchedule"),
    }


def windows():
    def reading(device, second, celsius):
        at = datetime(2026, 11, 20, 9, 58, tzinfo=timezone.utc) + timedelta(seconds=second)
        identity = hex32(f"{device} {second}")
        return dict(
            telemetry(), event_id=identity, entity=device, event_time=utc_text(at),
            measures={"temperature_c": celsius, "humidity_pct": 40.0}, attributes={"sensor_id": device, "status": "ok"})

    # Two devices, a reading each every 20 s for two minutes; one comes twice.
    readings = [reading(f"device-0{device}", second, 20.0 + device + second / 60) for second in range(0, 121, 20) for device in (1, 2)]

    def batch(*items):
        return kinesis("events", "windows", items)

    return {
        "two-minutes": batch(*readings, readings[3]),
        "broken-base64": batch(readings[0], "this is *not* base64", readings[1]),
        "scheduled": scheduled("WindowsSchedule"),
    }


def committed():
    made = {}
    for case, (payload, expected) in http_requests.cases(ACCOUNT, REGION, ARRIVED).items():
        for name, value in ((f"{case}.json", payload), (f"{case}.expected.json", expected)):
            made[f"ingest-http/{name}"] = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    batches = {
        "ingest-s3": ingest_s3(), "ingest-kafka": ingest_kafka(), "transform": transform(), "metrics": metrics(),
        "alerts": alerts(), "windows": windows(),
    }
    for function, cases in batches.items():
        for case, payload in cases.items():
            for name, value in ((f"{case}.json", payload), (f"{case}.expected.json", NOTHING_FAILED)):
                made[f"{function}/{name}"] = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()

    made = committed()
    if options.check:
        folders = {name.split("/")[0] for name in made}
        kept = {f"{folder}/{path.name}" for folder in folders for path in (HERE / folder).glob("*")}
        wrong = sorted((kept - set(made)) | {
            name for name, data in made.items() if name not in kept or (HERE / name).read_bytes() != data})
        for name in wrong:
            print(f"not what make_payloads.py makes: {name}", file=sys.stderr)
        sys.exit(1 if wrong else 0)
    for name, data in made.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
