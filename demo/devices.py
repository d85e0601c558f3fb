"""The feed `http`: devices behind a gateway that post signed batches of readings to the function URL.

This client shares no code with the function. It keeps the answer to each item, and `contradictions` compares the
answers with what was stored.
"""

import gzip
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from . import feed, place

DATASET = "telemetry"
GATEWAY = "demo-gateway"
DEVICES = 12
READINGS = 240
ITEMS = 100
SEED = 7
START = datetime(2026, 3, 1, 6, 0, tzinfo=timezone.utc)
# One in this many readings is sent a second time, some items later, as by a device that got no answer.
AGAIN_EVERY = 40
AGAIN_AFTER = 15
TRIES = 8
# Status codes after which the whole request may be sent again.
SEND_AGAIN = (429, 500, 502, 503, 504)


def readings(count, seed=SEED):
    """Returns `count` readings as JSON, in the two shapes that devices use."""
    chance, found = random.Random(seed), []
    for number in range(count):
        device, turn = number % DEVICES, number // DEVICES
        when = START + timedelta(seconds=30 * turn, milliseconds=chance.randrange(1000))
        values = {
            "temperature": round(21 + device / 4 + chance.gauss(0, 0.4), 2), "humidity": round(48 + chance.gauss(0, 3), 1)}
        if device % 2:
            one = {"device_id": f"http-device-{device:02}", "timestamp": when.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]}
            one |= {**values, "status": "WARN" if values["temperature"] > 24 else "OK"}
        else:
            one = {"sensor_id": f"http-sensor-{device:02}", "timestamp": when.isoformat(timespec="milliseconds")}
            one |= {**values, "pressure": 1013.2, "location": {"latitude": 52.37, "longitude": 4.9}, "status": "active"}
        found.append(json.dumps(one).encode())
    for at in range(AGAIN_AFTER, count, AGAIN_EVERY):
        found[at] = found[at - AGAIN_AFTER]
    return found


def items(count):
    """Returns readings with the bad rows of the fixtures spread among them, each with the code of its answer, or None.
    """
    good = [(one, None) for one in readings(count)]
    bad = next(one for one in feed.fixtures(DATASET) if one.name == "bad-rows.jsonl")
    lines = [(bad.line(at), bad.bad[at]) for at in bad.offsets]
    # A file may have NaN, which counts as absent. A request is JSON or it is none.
    spread = [(line, "invalid_json" if b":NaN" in line else code) for line, code in lines]
    step = max(1, len(good) // len(spread))
    for number, one in enumerate(spread):
        good.insert(number * (step + 1), one)
    return good


class Devices(feed.Feed):
    """Requests of up to ITEMS lines; every second one is gzip, and the last is sent twice."""

    verb = "post"

    def __init__(self, count=None):
        every = items(count or READINGS)
        self.requests = [every[at:at + ITEMS] for at in range(0, len(every), ITEMS)]
        numbered = {
            (f"batch-{number}", at): code
            for number, request in enumerate(self.requests) for at, (_, code) in enumerate(request)}
        super().__init__(
            name="http", dataset=DATASET, what=f"{len(self.requests)} requests", rows=Counter(list(numbered)),
            bad={identity: code for identity, code in numbered.items() if code})
        self.accepted = {}
        self.wrong = []

    def identify(self, document):
        head = f"http:{DATASET}/{GATEWAY}#"
        if not document.source.startswith(head):
            return None
        key, _, place = document.source.removeprefix(head).rpartition("&item=")
        at = place.partition("&")[0]  # who signed follows
        return key, int(at)

    def files(self):
        return [(f"{DATASET}.jsonl", b"".join(line + b"\n" for request in self.requests for line, _ in request))]

    def send(self, running):
        url = address(running)
        for number, request in enumerate(self.requests):
            self._post(running, url, number, request)
        self._post(running, url, number, request)
        return f"{self.row_count} items in {self.what} to /v1/{DATASET}"

    def _post(self, running, url, number, request):
        headers = {"Content-Type": "application/x-ndjson", "X-Client-Id": GATEWAY, "Idempotency-Key": f"batch-{number}"}
        body = b"\n".join(line for line, _ in request) + b"\n"
        if number % 2:
            headers["Content-Encoding"], body = "gzip", gzip.compress(body, mtime=0)
        status, answer = deliver(url, headers, body, running.alive)
        self.note(number, request, status, answer)

    def note(self, number, request, status, answer):
        """Records the answer to each item of a request."""
        entries, bad = answer.get("items", []), [code for _, code in request if code]
        due = 202 if not bad else 422 if len(bad) == len(request) else 207
        if (status, len(entries)) != (due, len(request)):
            self.wrong.append(f"batch-{number}: {status} with {len(entries)} answers, due are {due} and {len(request)}")
        for entry in entries:
            identity = f"batch-{number}", entry["item"]
            if entry["status"] == "accepted":
                before = self.accepted.setdefault(identity, entry["record_id"])
                if before != entry["record_id"]:
                    self.wrong.append(f"{identity} sent again has another record_id")
            else:
                self.rejected_codes[identity] = entry.get("code", entry["status"])
        self.rejected = Counter(list(self.rejected_codes))

    def contradictions(self, raw):
        """Returns answers that do not match what was stored: an accepted item must be stored under its record id."""
        others = [identity for identity, record_id in self.accepted.items() if raw.get(record_id) != identity]
        untold = [identity for identity in raw.values() if identity not in self.accepted]
        found = [f"{len(others)} accepted items are not in the raw layer: {others[:3]}"] if others else []
        return self.wrong + found + ([f"{len(untold)} items were stored and not told: {untold[:3]}"] if untold else [])


def address(running):
    """Returns the address of the function: locally the host of its URL is not in DNS, and its first label is the id."""
    label = urlsplit(running.outputs["IngestHttpUrl"]).hostname.partition(".")[0]
    return f"{running.endpoint}/_aws/lambda-url/{label}/v1/{DATASET}"


def deliver(url, headers, body, alive, pause=0.5):
    """Posts until the answer is final; returns its status and its JSON."""
    for attempt in range(1, TRIES + 1):
        try:
            status, answer = post(url, headers, body)
        except (OSError, http.client.HTTPException) as fault:
            status, answer = None, str(fault).encode()
        if status is not None and status not in SEND_AGAIN:
            return status, json.loads(answer)
        if attempt == TRIES or not alive():
            break
        time.sleep(pause * attempt)
    raise RuntimeError(f"{url} did not take a request in {attempt} tries; the last time: {status} {answer[:200]!r}")


def post(url, headers, body):
    """Sends one signed request; returns status and body of the answer, whatever the status."""
    signed = AWSRequest("POST", url, data=body, headers=headers)
    credentials = Credentials(place.CREDENTIALS["AWS_ACCESS_KEY_ID"], place.CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(credentials, "lambda", place.REGION).add_auth(signed)
    request = urllib.request.Request(url, data=body, headers=dict(signed.headers), method="POST")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()
