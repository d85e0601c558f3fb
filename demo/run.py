"""The verbs `demo`, `up`, `down` and `break`."""

import json
import signal
import sys
import time
from contextlib import contextmanager

from . import books, configuration, datasets, devices, expected, faults, feed, follow, kafka, own, place, probe
from . import report, show, stack, windows

ALERTS_SHOWN = 3
# Feeds that `all` runs together; `python -m demo demo --feed` lists them too.
FEEDS = [*datasets.DATASETS, "kafka", "http"]


@contextmanager
def step(name, seconds, key):
    """Prints a step and, when it is done, how long it took."""
    begun = time.monotonic()
    said = []
    yield said.append
    seconds[key] = round(time.monotonic() - begun, 1)
    print(f"  {name:<10}{' '.join(said):<60}{seconds[key]:>7.1f} s", flush=True)


def exit_on_term():
    """Makes SIGTERM end a verb as Ctrl-C does: through its `finally`."""
    def leave(number, _frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    # A shell that starts a command in the background makes it ignore SIGINT; this one must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def undisturbed():
    """Ignores Ctrl-C during a teardown."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_and_deploy(home, seconds, parameters=None):
    """Yields MiniStack with Tributary in it; ends it again if the deployment fails."""
    with step("MiniStack", seconds, "start") as say:
        running = stack.start(home)
        say(running.endpoint)
    try:
        with step("deploy", seconds, "deploy") as say:
            running.deploy(**parameters or {})
            say(f"stack {running.name}, {_resource_count(running)} resources")
    except BaseException:
        with undisturbed():
            running.stop()
        raise
    return running


def _resource_count(running):
    pages = running.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=running.name)
    return sum(len(page["StackResourceSummaries"]) for page in pages)


def feeds_of(name, data=None, first=None, folder=None):
    """Returns the feeds of a run: one by name, or all of them; `data` and `first` are for feeds of files.

    A file without a name is of the dataset that its columns fit. If they fit none, or if it goes with a configuration of
    its own in `folder`, the functions learn its dataset while they run.
    """
    if folder is not None and data is None:
        raise ValueError("a configuration of your own goes with a file: DATA=file")
    if folder is None and name is None:
        name = own.dataset_of(data, configuration.SHIPPED.folder) if data else feed.DATASET
    if name is None or folder is not None:
        if first is not None:
            raise ValueError("ROWS goes with a file of a known dataset")
        return [own.prepare(data, folder)]
    if data is not None and name not in datasets.DATASETS:
        raise ValueError(f"a file of your own goes with one of {', '.join(datasets.DATASETS)}, not with {name}")
    names = FEEDS if name == "all" else [name]
    others = {"http": devices.Devices, "kafka": kafka.Topic}
    return [others[one](first) if one in others else feed.files(one, data, first) for one in names]


def demo(feeds, kill=None, alarm_function=None, aggregate=False):
    """Runs feeds through their own stack; returns the exit code."""
    begun = time.monotonic()
    what = f"{feeds[0].name}: {feeds[0].what}" if len(feeds) == 1 else f"{len(feeds)} feeds"
    print(f"Tributary demo: {sum(one.row_count for one in feeds)} rows of {what}\n", flush=True)
    seconds = {}
    parameters = {"AggregateRecords": "true"} if aggregate else {}
    running = start_and_deploy(place.DEMO_HOME, seconds, parameters)
    try:
        for one in feeds:
            if isinstance(one, own.Own):
                own.register(one)
                with step("push", seconds, "push") as say:
                    say(one.push(running))
        result, shown = _measure(running, feeds, kill, alarm_function, seconds)
    finally:
        with undisturbed():
            running.stop()
    result.seconds = {**seconds, "total": round(time.monotonic() - begun, 1)}
    path = place.DEMO_HOME / "report.json"
    report.write(result, path)
    show.show(result, shown)
    show.show_end(result)
    print(f"{result.seconds['total']} s in all; the whole report is in {place.relative(path)}")
    return 0 if result.balanced else 1


def _measure(running, feeds, kill, alarm_function, seconds):
    ops = faults.subscribe_ops(running)
    alerts = probe.TopicQueue(running, f"{running.name}-alerts-probe", "AlertsTopicArn")
    watcher = follow.Watcher(running, alerts)
    config = next((one.config for one in feeds if isinstance(one, own.Own)), configuration.SHIPPED)
    alerts_due = expected.alerts(feeds, config)
    feed.shorten_redelivery(running, sum(one.row_count for one in feeds))
    killer = faults.Killer(running, *kill) if kill else None
    if killer:
        # An invocation must fit between two kills, or it never finishes.
        running.small_batches(max(1, min(stack.RECORDS_AT_ONCE, int(10 * kill[1]))))
        killer.start()
    for one in feeds:
        with step(one.verb, seconds, f"{one.verb}_{one.name}") as say:
            say(one.send(running))
    with step("follow", seconds, "follow") as say:
        accounted = follow.until_quiet(watcher, lambda seen: books.settle(feeds, seen, 0, alerts_due.due))
        say("every row is accounted for" if accounted else "quiet, with rows still open")
    if killer:
        killer.stop()
    with step("windows", seconds, "windows") as say:
        kept, wrong = windows.settle(running, watcher.seen, watcher.poll, config)
        say("each holds what its readings come to" if not wrong else "not what the readings come to")
    with step("measure", seconds, "measure") as say:
        result = report.collect(running, watcher, feeds, alerts_due, config)
        result.add_windows(windows.summary(kept), windows.newest(running, kept), len(watcher.seen.late), wrong)
        say("Athena, CloudWatch, layers, logs")
    if killer:
        result.kills = {"by_function": killer.kills, "in_mid_run": killer.in_mid_run()}
    if alarm_function:
        with step("break", seconds, "alarm") as say:
            _see_the_alarm(running, alarm_function, ops, result)
            say(f"{alarm_function} without its variables, until its alarm has come")
    shown = sorted(watcher.seen.alerts.values(), key=lambda alert: alert["title"])[:ALERTS_SHOWN]
    return result, shown


def _see_the_alarm(running, function, ops, result):
    alarm, took = faults.break_function(running, function, ops)
    if alarm:
        said = f"{alarm['AlarmName']} reached the ops topic {took:.1f} s after {function} began to fail"
    else:
        said = f"no alarm reached the ops topic within {took:.0f} s of {function} failing"
        result.problems.append(said)
        result.balanced = False
    result.alarm = {"function": function, "received": bool(alarm), "seconds": round(took, 1), "said": said}


def up():
    """Starts a stack that stays up, and prints commands to try."""
    running = stack.attach(place.UP_HOME)
    if running and running.alive():
        running.read_outputs()
        print(f"The local stack is up already at {running.endpoint}.")
    else:
        running = start_and_deploy(place.UP_HOME, {})
        feed.shorten_redelivery(running, 0)
        write_env(running)
    print(commands(running))
    return 0


def write_env(running):
    """Writes target/local/env: the variables that a shell or `cargo lambda watch` needs to act as one of the functions.
    """
    variables = {**place.aws_environment(running.endpoint), **running.function_environment()}
    path = running.home / "env"
    path.write_text("".join(f"{name}={value}\n" for name, value in sorted(variables.items())))
    return path


def commands(running):
    """Returns the commands to try next, ready to paste."""
    o = running.outputs
    env = place.relative(running.home / "env")
    sql = "SELECT try(measures['severity']) AS severity, count(*) AS n FROM events GROUP BY 1 ORDER BY 1"
    return f"""
Try next (any AWS tool works with that environment; those of `python -m demo` need none):

  load the environment    set -a; . {env}; set +a
  a feed of your own      target/bin/tributary init my.csv --config mine
                          target/bin/tributary config push --stack {running.name} --config mine
                          aws s3 cp my.csv s3://{o['SourceBucketName']}/my/
  upload a file           .venv/bin/python -m demo put {place.relative(place.DEFAULT_DATA)}
                          aws s3 cp FILE s3://{o['SourceBucketName']}/accidents/
  ask Athena              .venv/bin/python -m demo sql "{sql}"
  follow a log            .venv/bin/python -m demo tail transform
  invoke a function       .venv/bin/python -m demo invoke transform events/transform/one-good-two-bad.json
  see an alarm            .venv/bin/python -m demo break transform
  run from source         make watch, then in another terminal
                          cargo lambda invoke transform --data-file events/transform/one-good-two-bad.json
  replay all payloads     make replay-events
  end it                  make down
"""


def down():
    """Ends the stack of `up`."""
    running = stack.attach(place.UP_HOME)
    if running is None or not running.alive():
        print("No local stack is running.")
    if running:
        running.stop()
        print("The local stack is down.")
    (place.UP_HOME / "env").unlink(missing_ok=True)
    return 0


def break_one(function):
    """Makes a function of the running stack fail and shows the alarm; returns the exit code."""
    running = stack.running(place.UP_HOME)
    alarm, took = faults.break_function(running, function, faults.subscribe_ops(running))
    if not alarm:
        print(f"no alarm within {took:.0f} s", file=sys.stderr)
        return 1
    print(json.dumps(alarm, indent=2))
    print(f"{alarm['AlarmName']} reached the ops topic after {took:.1f} s; the variables are back")
    return 0
