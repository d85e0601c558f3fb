"""Which alerts there must be: the rules of config/alerts.toml, asked about the events by another reader.

It knows the part of CEL that rules are usually made of: comparisons, `in`, `has`, `&&`, `||`, `!`
and numbers, text and fields of `event`. A rule that needs more is not judged, and the report says so.
"""

import ast
import hashlib
import operator
import re
import tomllib
from dataclasses import dataclass

from . import datasets, place

_COMPARE = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda one, many: one in many,
}
_NAMES = {"true": True, "false": False}
# Text in quotes stays as it is; outside of it CEL's operators become Python's.
_TOKEN = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(&&|\|\||!(?!=))""")
_WORDS = {"&&": " and ", "||": " or ", "!": " not "}
_LENGTH = re.compile(r"(\d+)\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_ABSENT = object()


class Unjudged(ValueError):
    """A rule that this reader does not understand."""


@dataclass(frozen=True)
class Rule:
    id: str
    dataset: str
    when: ast.expr
    key: str
    cooldown_s: int

    def alert_id(self, event):
        """The id of the alert about an event: a hash of rule, key and period, each with its length before it."""
        period = datasets.instant(event["event_time"]) // 10**9 // self.cooldown_s if self.cooldown_s else ""
        key = re.sub(r"\{([^}]*)\}", lambda field: str(_path(event, field[1].split("."))), self.key)
        digest = hashlib.sha256()
        for part in (self.id.encode(), key.encode(), str(period).encode()):
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()[:32]


@dataclass
class Rules:
    """The rules that can be judged, and the ids of those that cannot."""

    judged: dict
    unjudged: list

    def expected(self, events):
        """The alerts that the events must have raised, by rule and id."""
        return {
            (rule.id, rule.alert_id(event))
            for event in events for rule in self.judged.values()
            if rule.dataset == event["dataset"] and holds(rule.when, event)
        }


def load(path=place.ROOT / "config" / "alerts.toml"):
    """The rules of a file."""
    judged, unjudged = {}, []
    for spec in tomllib.loads(path.read_text()).get("rules", []):
        try:
            if {"window", "for", "absent"} & spec.keys():
                raise Unjudged(spec["id"])
            judged[spec["id"]] = Rule(
                spec["id"], spec["dataset"], parse(spec["when"]), spec["key"], _seconds(spec["cooldown"]))
        except Unjudged:
            unjudged.append(spec["id"])
    return Rules(judged, unjudged)


def _seconds(text):
    if _LENGTH.sub("", text).strip():
        raise Unjudged(text)
    return sum(int(number) * _SECONDS[unit] for number, unit in _LENGTH.findall(text))


def parse(text):
    """The expression `text`; Unjudged where it has something that is not known here."""
    try:
        tree = ast.parse(_TOKEN.sub(lambda found: found[1] or _WORDS[found[2]], text).strip(), mode="eval").body
    except SyntaxError:
        raise Unjudged(text) from None
    _check(tree, text)
    return tree


def _check(tree, text):
    known = (
        ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, *_COMPARE, ast.Attribute, ast.Name, ast.Load,
        ast.Constant, ast.Call, ast.List)
    for node in ast.walk(tree):
        fine = isinstance(node, known)
        match node:
            case ast.Call(func=ast.Name(id="has"), args=[ast.Attribute()], keywords=[]):
                pass
            case ast.Call():
                fine = False
            case ast.Compare(ops=ops):
                # 1 < x < 2 means something else in CEL.
                fine = len(ops) == 1
            case ast.Name(id=name):
                fine = name in ("event", "has", *_NAMES)
        if not fine:
            raise Unjudged(text)


def holds(tree, event):
    """Whether an expression holds of an event; a field that the event does not have makes it false."""
    return _value(tree, event) is True


def _value(tree, event):
    """A value, or _ABSENT. As in CEL, what is absent does not matter where the other side decides."""
    match tree:
        case ast.BoolOp(op=op, values=parts):
            decides = isinstance(op, ast.Or)
            values = [_value(part, event) for part in parts]
            if decides in values:
                return decides
            return _ABSENT if _ABSENT in values else not decides
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, event)
            if value is _ABSENT:
                return value
            return not value if isinstance(op, ast.Not) else -value
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            sides = _value(left, event), _value(right, event)
            return _ABSENT if _ABSENT in sides else _COMPARE[type(op)](*sides)
        case ast.Call(args=[field]):
            return _value(field, event) is not _ABSENT
        case ast.List(elts=elements):
            return [_value(element, event) for element in elements]
        case ast.Attribute(value=inner, attr=name):
            whole = _value(inner, event)
            return whole.get(name, _ABSENT) if isinstance(whole, dict) else _ABSENT
        case ast.Constant(value=value):
            return value
        case ast.Name(id="event"):
            return event
        case ast.Name(id=name):
            return _NAMES[name]
    raise AssertionError(ast.dump(tree))


def _path(event, names):
    value = event
    for name in names:
        value = value.get(name, "") if isinstance(value, dict) else ""
    return value
