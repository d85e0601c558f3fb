"""Number of alerts that must be sent, by rule.

Covers rules about one reading only: the numbers are those of the fixtures, else those that `tributary run` finds in the
same files. Rules over windows, rules with `within` and no-data rules depend on when readings arrive; their alerts are
counted as they arrived.
"""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import configuration, feed


@dataclass
class Alerts:
    """Number of distinct alerts due, by rule; rules that are not in it are not checked."""

    due: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)


def alerts(feeds, config=configuration.SHIPPED):
    """Returns the alerts that are due once all of `feeds` was sent."""
    found = Alerts()
    rules = config.entries("rules")
    for dataset in dict.fromkeys(one.dataset for one in feeds):
        of_dataset = [rule for rule in rules if rule["dataset"] == dataset]
        uncounted = [rule["id"] for rule in of_dataset if {"window", "absent", "within"} & rule.keys()]
        counted = [rule["id"] for rule in of_dataset if rule["id"] not in uncounted]
        if uncounted:
            found.notes.append(f"alerts that depend on when readings arrive are not checked: {', '.join(uncounted)}")
        group = [one for one in feeds if one.dataset == dataset]
        try:
            counts = group[0].alerts if len(group) == 1 and group[0].alerts is not None else count(dataset, group, config)
        except (FileNotFoundError, RuntimeError) as fault:
            found.notes.append(f"alerts of {dataset} are not checked: {fault}")
        else:
            found.due |= {rule: counts.get(rule, 0) for rule in counted}
    return found


def count(dataset, feeds, config=configuration.SHIPPED):
    """Counts distinct alerts by rule that `tributary run` finds in the input of the feeds."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (name, body) in enumerate(one for each in feeds for one in each.files()):
            path = Path(folder, str(number), name)
            path.parent.mkdir()
            path.write_bytes(body)
            paths.append(path)
        told = feed.tributary("run", "--dataset", dataset, "--config", config.folder, "--format", "json", *paths)
        return json.loads(told)["alerts_by_rule"]
