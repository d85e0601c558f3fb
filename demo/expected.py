"""How many alerts must come, by rule.

Counts rules about one reading only: what the fixtures say, else what `tributary run` finds in the same files. Rules over
windows and silences depend on when readings arrive; their alerts are counted as they come.
"""

import json
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from . import feed, place


@dataclass
class Alerts:
    """Number of distinct alerts due, by rule; a rule that is not in it is not checked."""

    due: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


def alerts(feeds, path=place.ROOT / "config" / "alerts.toml"):
    """The alerts that are due once all of `feeds` went in."""
    found = Alerts()
    rules = tomllib.loads(path.read_text()).get("rules", [])
    for dataset in dict.fromkeys(one.dataset for one in feeds):
        of_dataset = [rule for rule in rules if rule["dataset"] == dataset]
        uncounted = [rule["id"] for rule in of_dataset if {"window", "absent"} & rule.keys()]
        counted = [rule["id"] for rule in of_dataset if rule["id"] not in uncounted]
        if uncounted:
            found.notes.append(f"alerts that depend on when readings arrive are not checked: {', '.join(uncounted)}")
        group = [one for one in feeds if one.dataset == dataset]
        try:
            counts = group[0].alerts if len(group) == 1 and group[0].alerts is not None else count(dataset, group)
        except (FileNotFoundError, RuntimeError) as fault:
            found.notes.append(f"alerts of {dataset} are not checked: {fault}")
        else:
            found.due |= {rule: counts.get(rule, 0) for rule in counted}
    return found


def count(dataset, feeds):
    """Distinct alerts by rule that `tributary run` finds in what the feeds put in."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (name, body) in enumerate(one for each in feeds for one in each.files()):
            path = Path(folder, str(number), name)
            path.parent.mkdir()
            path.write_bytes(body)
            paths.append(path)
        return json.loads(feed.tributary("run", "--dataset", dataset, "--format", "json", *paths))["alerts_by_rule"]
