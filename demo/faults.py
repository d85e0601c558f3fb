"""Injects faults: kills functions during a run, and makes one fail to raise its alarm.

Processes are found as children of MiniStack by the function name in their environment. That needs /proc: on other
systems than Linux nothing is found and nothing is killed.
"""

import json
import os
import re
import signal
import threading
import time

from . import place, probe, process

# Delay of a kill after the process was first seen. It varies, so that kills hit different moments of an invocation.
FIRST_DELAYS = (0.05, 0.15, 0.4, 0.8, 0.25)
ALARM_SECONDS = 60


class Killer(threading.Thread):
    """Sends SIGKILL to the processes of the chosen functions, `times` for each of them.

    The number is bounded because the local AWS redelivers without limit: a batch that takes longer than the time
    between two kills would never finish, which is why `transform` gets small batches in such a run. It is below the
    five receipts after which the queue moves an object's message to the dead letters.
    """

    def __init__(self, stack, which, every=1.0, times=3):
        super().__init__(daemon=True)
        known = place.FUNCTIONS
        chosen = list(known) if which == "all" else [key for key in known if which in (key, known[key])]
        if not chosen:
            raise ValueError(f"no function is called {which}: one of all, {', '.join(known.values())}")
        self.stack = stack
        self.functions = {stack.function_name(key): known[key] for key in chosen}
        self.kills = {name: 0 for name in self.functions.values()}
        self.every = every
        self.times = times
        self._stopped = threading.Event()
        self._due = {}

    def run(self):
        while not self._stopped.wait(0.02) and not self._done():
            now = time.monotonic()
            for pid, environment in process.children(self.stack.pid):
                name = self.functions.get(environment.get("AWS_LAMBDA_FUNCTION_NAME"))
                if name is None or self.kills[name] >= self.times:
                    continue
                due = self._due.setdefault(pid, now + FIRST_DELAYS[self.kills[name] % len(FIRST_DELAYS)])
                if now >= due:
                    self._kill(pid, name)
                    self._due[pid] = now + self.every

    def _kill(self, pid, name):
        try:
            os.kill(pid, signal.SIGKILL)
            self.kills[name] += 1
        except ProcessLookupError:
            pass

    def _done(self):
        return all(count >= self.times for count in self.kills.values())

    def stop(self):
        self._stopped.set()
        self.join(timeout=5)

    def in_mid_run(self):
        """Returns the number of invocations that the kills interrupted, from MiniStack's log."""
        text = self.stack.log.read_text(errors="replace")
        return len(re.findall(r"Lambda \S+: Runtime exited before returning a response", text))


def subscribe_ops(stack):
    """Creates a queue that receives the messages of the ops topic."""
    return probe.TopicQueue(stack, f"{stack.name}-ops-probe", "OpsTopicArn")


def break_function(stack, which, ops):
    """Removes a function's variables, invokes it, and waits for its error alarm in `ops`.

    Returns (alarm, seconds) and always restores the variables; the alarm is None if none arrived.
    """
    logical_id = next((key for key, name in place.FUNCTIONS.items() if which in (key, name)), None)
    if logical_id is None:
        raise ValueError(f"no function is called {which}: one of {', '.join(place.FUNCTIONS.values())}")
    name = stack.function_name(logical_id)
    client, cloudwatch = stack.client("lambda"), stack.client("cloudwatch")
    variables = client.get_function_configuration(FunctionName=name).get("Environment", {}).get("Variables", {})
    alarm = _error_alarm(cloudwatch, name)
    if alarm["StateValue"] == "ALARM":
        # A recent kill may have raised the alarm already, and only a change of state sends a message.
        cloudwatch.set_alarm_state(
            AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="set back before a deliberate failure")
    ops.new_messages()
    begun = time.monotonic()
    try:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": {}})
        while time.monotonic() - begun < ALARM_SECONDS:
            client.invoke(FunctionName=name, Payload=b'{"Records":[]}')
            _make_alarms_look(cloudwatch)
            for _, message, _ in ops.new_messages():
                received = json.loads(message)
                if received["AlarmName"] == alarm["AlarmName"] and received["NewStateValue"] == "ALARM":
                    return received, time.monotonic() - begun
            time.sleep(0.3)
        return None, time.monotonic() - begun
    finally:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def _error_alarm(cloudwatch, function_name):
    for page in cloudwatch.get_paginator("describe_alarms").paginate():
        for alarm in page["MetricAlarms"]:
            dimensions = {d["Name"]: d["Value"] for d in alarm.get("Dimensions", [])}
            if alarm.get("MetricName") == "Errors" and dimensions == {"FunctionName": function_name}:
                return alarm
    raise LookupError(f"no alarm watches the errors of {function_name}")


def _make_alarms_look(cloudwatch):
    """Makes MiniStack evaluate its alarms: it does so when a metric is put, not by the clock as AWS does."""
    cloudwatch.put_metric_data(
        Namespace="Demo", MetricData=[{"MetricName": "look", "Value": 1, "Unit": "Count"}])
