"""The requests of events/ingest-http and the answers to them, for make_payloads.py.

The answers are computed here a second time, from docs/SEMANTICS.md and not from the code: ids are
those of the page, and so are codes, statuses and headers.
"""

import base64
import hashlib
import json
import struct
import zlib

from generator.gz import HEADER, stored
from generator.rows import HEADER_2023, Rng, make_row

URL_ID = "abcdefghijklmnopqrstuvwxyz012345"


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def request(where, body, path="/v1/accidents", method="POST", **headers):
    """A request, signed by the user `fleet`. A body of bytes is handed over as base64."""
    account, region, arrived = where
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"body": body} if isinstance(body, str) else {"body": base64.b64encode(body).decode()}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "content-length": str(len(body.encode() if isinstance(body, str) else body)),
            "host": f"{URL_ID}.lambda-url.{region}.on.aws",
            "user-agent": "device/1.0",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            **headers,
        },
        "requestContext": {
            "accountId": account,
            "apiId": URL_ID,
            "authentication": None,
            "authorizer": {"iam": {
                "accessKey": "AKIAEXAMPLE", "accountId": account, "callerId": "AIDAEXAMPLE", "cognitoIdentity": None,
                "principalOrgId": None, "userArn": f"arn:aws:iam::{account}:user/fleet", "userId": "AIDAEXAMPLE",
            }},
            "domainName": f"{URL_ID}.lambda-url.{region}.on.aws",
            "domainPrefix": URL_ID,
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                "userAgent": "device/1.0",
            },
            "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
            "routeKey": "$default",
            "stage": "$default",
            "time": "20/Nov/2026:10:00:00 +0000",
            "timeEpoch": int(arrived.timestamp() * 1000),
        },
        **sent,
        "isBase64Encoded": isinstance(body, bytes),
    }


def gzip(data):
    """Not compressed at all, so that the bytes are the same whatever zlib is there."""
    return HEADER + stored(data) + struct.pack("<II", zlib.crc32(data), len(data))


def record_id(*parts):
    """The id of a record: half a SHA-256 over its parts, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:32]


def of_content(fleet, item, client=""):
    """The entry of an item that is accepted, from the text it was sent as."""
    return {"status": "accepted", "record_id": record_id("http", "accidents", fleet, client, "content", item)}


def of_key(fleet, key, place, client=""):
    """As of_content, of a request with a key."""
    position = place.to_bytes(8, "big")
    return {"status": "accepted", "record_id": record_id("http", "accidents", fleet, client, "key", key, position)}


def rejected(code, message, field=None, line=None):
    """The entry of an item that is rejected."""
    entry = {"line": line, "status": "rejected", "code": code, "field": field, "message": message}
    return {name: value for name, value in entry.items() if value is not None}


def answer(status, error, message, items=(), **headers):
    """The answer to a request, of which each item has an entry."""
    body = {"status": status} | ({"error": error} if error else {}) | {"message": message}
    if items:
        of = lambda end: sum(item["status"] == end for item in items)  # noqa: E731
        body |= {"accepted": of("accepted"), "rejected": of("rejected")}
        body["items"] = [{"item": at, **item} for at, item in enumerate(items)]
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "statusCode": status,
        "headers": {"cache-control": "no-store", "content-type": "application/json", **headers},
        "body": compact(body),
        "isBase64Encoded": False,
    }


def cases(account, region, arrived):
    """Each case is a payload and its answer: other than elsewhere, the answer is the point here."""
    where, fleet = (account, region, arrived), f"{account}:user/fleet"
    rng = Rng(9800)
    rows = [make_row(rng, 9800001 + at) for at in range(4)]
    good = [compact({name: row[name] for name in HEADER_2023 if row[name]}) for row in rows]
    severity_5 = compact({name: value for name, value in make_row(rng, 9800011, Severity="5").items() if value})
    too_severe = ("out_of_range", '"5" is outside 1 to 4', "Severity")

    lines = "\n".join([good[0], "", "this is not JSON", good[1], ""]).encode()
    bad_lines = "\n".join(["ID,Severity", severity_5])
    plain, ndjson = {"content_type": "application/json"}, {"content_type": "application/x-ndjson"}
    no_object = "not a JSON object at column 1"
    rest = "rejected and not to be sent again as they are"
    return {
        "one-object": (
            request(where, good[0], **plain),
            answer(202, None, "1 of 1 accepted", [of_content(fleet, good[0])])),
        "array-with-one-bad": (
            request(where, f"[{good[0]},\n {severity_5},\n {good[1]}]", **plain),
            answer(207, "some_rejected", f"2 of 3 accepted, 1 {rest}",
                   [of_content(fleet, good[0]), rejected(*too_severe), of_content(fleet, good[1])])),
        "idempotency-key": (
            request(where, f"[{good[2]},{good[3]}]", **plain, idempotency_key="2026-11-20/7", x_client_id="device-7"),
            answer(202, None, "2 of 2 accepted", [of_key(fleet, "2026-11-20/7", at, "device-7") for at in range(2)])),
        "ndjson-gzip": (
            request(where, gzip(lines), **ndjson, content_encoding="gzip"),
            answer(207, "some_rejected", f"2 of 3 accepted, 1 {rest}",
                   [of_content(fleet, good[0]), rejected("invalid_json", no_object, line=3), of_content(fleet, good[1])])),
        "all-bad": (
            request(where, bad_lines, **ndjson),
            answer(422, "all_rejected", f"0 of 2 accepted, 2 {rest}",
                   [rejected("invalid_json", no_object, line=1), rejected(*too_severe, line=2)])),
        "not-json": (
            request(where, good[0][:-1], **plain),
            answer(400, "invalid_json", f"the body is JSON that ends too early, at line 1 column {len(good[0]) - 1}")),
        "nothing-in-it": (request(where, "[]", **plain), answer(400, "empty_body", "there is no item in the body")),
        "unknown-path": (
            request(where, good[0], path="/v2/accidents", **plain),
            answer(404, "unknown_path", 'nothing is at "/v2/accidents"; items go to /v1/<dataset>')),
        "wrong-method": (
            request(where, "", method="GET"),
            answer(405, "method_not_allowed", '"GET" is not for items, POST is', allow="POST")),
        "wrong-content-type": (
            request(where, "ID,Severity\nA-1,2\n", content_type="text/csv"),
            answer(415, "unsupported_media_type",
                   'content-type is "text/csv" and should be application/json or application/x-ndjson, in utf-8',
                   accept_post="application/json, application/x-ndjson")),
    }
