"""Command line: `python -m demo VERB`. The Makefile prepares what each verb needs."""

import argparse
import os
import sys
from pathlib import Path

from . import feed, operate, play, replay, run, stack


def parser():
    top = argparse.ArgumentParser(prog="python -m demo", description="Tributary on a local AWS.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    demo = verbs.add_parser("demo", help="run a feed through a stack of its own, settle the books, take it down")
    demo.add_argument("--feed", choices=[*run.FEEDS, "all"], help=f"which feed (that of the file, else {feed.DATASET})")
    demo.add_argument("--data", type=Path, metavar="FILE", help="a file of your own: CSV or JSON, plain or gzip")
    demo.add_argument("--config", type=Path, metavar="DIR", help="the configuration of that file (what `tributary init` makes of it)")
    demo.add_argument("--rows", type=_count, metavar="N", help="only the first N rows of the file; so many made-up rows")
    demo.add_argument("--aggregate", action="store_true", help="with AggregateRecords=true: rows share records of the stream")
    demo.add_argument("--kill", metavar="FUNCTION", help="send SIGKILL to this function's process in the run, or to all")
    demo.add_argument("--kill-every", type=float, default=1.0, metavar="SECONDS", help="between two kills of a process (1)")
    demo.add_argument("--kill-times", type=_count, default=3, metavar="N", help="how often each function is killed (3)")
    demo.add_argument(
        "--alarm", default="transform", metavar="FUNCTION",
        help="the function that is made to fail at the end, to see its alarm (transform; none for no such check)")

    verbs.add_parser("operate", help="bad rows mended and replayed, dead letters redriven, the books, on a stack of its own")
    verbs.add_parser("up", help="start a stack that stays")
    verbs.add_parser("down", help="end the stack of `up`")
    watch = verbs.add_parser("watch", help="cargo lambda watch with the environment of `up`")
    watch.add_argument("--port", type=int, default=replay.WATCH_PORT)
    events = verbs.add_parser("replay-events", help="send every payload of events/ and compare the answers")
    events.add_argument("only", nargs="?", help="one function, or one case")

    put = verbs.add_parser("put", help="upload a file to the stack of `up`")
    put.add_argument("file", type=Path)
    put.add_argument("--dataset", default=feed.DATASET, help=f"folder in the bucket ({feed.DATASET})")
    sql = verbs.add_parser("sql", help="ask Athena in the stack of `up`")
    sql.add_argument("query")
    tail = verbs.add_parser("tail", help="follow a function's log in the stack of `up`")
    tail.add_argument("function")
    invoke = verbs.add_parser("invoke", help="hand a deployed function of the stack of `up` a payload")
    invoke.add_argument("function")
    invoke.add_argument("payload", type=Path)
    broken = verbs.add_parser("break", help="make a function of the stack of `up` fail, and see its alarm")
    broken.add_argument("function")
    return top


def _count(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main(arguments=None):
    given = parser().parse_args(arguments)
    run.exit_on_term()
    try:
        return dispatch(given)
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started is down again", file=sys.stderr)
        return 130
    except (stack.StackError, FileNotFoundError, ValueError, LookupError, RuntimeError) as fault:
        if os.environ.get("TRIBUTARY_DEBUG"):
            raise
        print(f"error: {fault}", file=sys.stderr)
        return 1


def dispatch(given):
    match given.verb:
        case "demo":
            kill = (given.kill, given.kill_every, given.kill_times) if given.kill else None
            alarm = None if given.alarm == "none" else given.alarm
            return run.demo(run.feeds_of(given.feed, given.data, given.rows, given.config), kill, alarm, given.aggregate)
        case "operate":
            return operate.operate()
        case "up":
            return run.up()
        case "down":
            return run.down()
        case "watch":
            return replay.watch(given.port)
        case "replay-events":
            return replay.replay(given.only)
        case "put":
            return play.put(given.file, given.dataset)
        case "sql":
            return play.sql(given.query)
        case "tail":
            return play.tail(given.function)
        case "invoke":
            return play.invoke(given.function, given.payload)
        case "break":
            return run.break_one(given.function)
    raise AssertionError(given.verb)


if __name__ == "__main__":
    sys.exit(main())
