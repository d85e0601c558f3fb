"""Tests the simulator with mutants: breaks the code in one place at a time and expects a failing seed for each.

    python -m tools.mutants [NAME ...] [--seeds N]

Each mutant is a copy of the repository beneath target/mutants with one place changed. It is built, and simulated seed
by seed until a seed fails. A mutant that passes every seed is a gap in the simulator, and the exit code is 1; so it is
if the place to change no longer exists.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "target" / "mutants"


@dataclass(frozen=True)
class Mutant:
    """A mistake: in `path`, `old` is replaced by `new`."""

    name: str
    path: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "stale-configuration-decides", "crates/aws/src/takeover.rs",
        "        Err(Stale { dataset: dataset.to_owned(), sent })",
        "        let _ = sent;\n        Ok(())",
    ),
    Mutant(
        "later-look-of-another-configuration", "crates/aws/src/takeover.rs",
        "            current.checked.fetch_max(seen, Ordering::Relaxed);",
        "            current.checked.fetch_max(seen + 3_600_000, Ordering::Relaxed);",
    ),
    Mutant(
        "highest-number", "crates/aws/src/batch.rs",
        "let first_undelivered = undelivered.into_iter().min();",
        "let first_undelivered = undelivered.into_iter().max();",
    ),
    Mutant(
        "half-failed-put-is-done", "crates/aws/src/producer.rs",
        "                delivery.last_error = Some(code);\n                unstored.push(outbound);",
        "                delivery.last_error = Some(code);",
    ),
    Mutant(
        "quarantine-after-the-checkpoint", "crates/aws/src/delivery.rs",
        "self.quarantined.undelivered.iter().chain(undelivered).copied()",
        "undelivered.iter().copied()",
    ),
    Mutant(
        "quarantine-failure-swallowed", "crates/aws/src/quarantine.rs",
        "quarantine.send(&self.0, deadline.half_way()).await",
        "let _ = quarantine.send(&self.0, deadline.half_way()).await;\n        Ok(Delivery::default())",
    ),
    Mutant(
        "unstable-ids", "functions/ingest-s3/src/object.rs",
        "let record_id = source.record_id(row.position()).to_string();",
        "let record_id = SourceName::file(received_at).record_id(row.position()).to_string();",
    ),
    Mutant(
        "sns-failures-ignored", "crates/aws/src/sns.rs",
        "set(id, if is_final { EntryResult::Rejected(code) } else { EntryResult::Failed(code) });",
        "let _ = (is_final, code);\n        set(id, EntryResult::Stored);",
    ),
    Mutant(
        "alert-published-before-its-claim", "functions/alerts/src/sender.rs",
        "        let statuses = store.claim(",
        "        let early = group.iter().map(|pending| of_alert(&pending.alert)).enumerate();\n"
        "        let early: Vec<_> = early.map(|(position, entry)| Outbound { position, entry }).collect();\n"
        "        let _ = self.function.topic.attempt(&early, deadline.half_way()).await;\n"
        "        let statuses = store.claim(",
    ),
    Mutant(
        "alert-noted-before-it-is-published", "functions/alerts/src/sender.rs",
        "        let (delivery, setup_error) = topic.attempt(",
        "        let early: Vec<_> = batch.claimed.iter().map(|it| it.1.clone()).collect();\n"
        "        self.mark_sent(&early, deadline).await;\n"
        "        let (delivery, setup_error) = topic.attempt(",
    ),
    Mutant(
        "alert-never-noted", "functions/alerts/src/sender.rs",
        "        self.mark_sent(&published, deadline).await;\n",
        "",
    ),
    Mutant(
        "held-alert-is-done", "functions/alerts/src/sender.rs",
        "                    self.sent.record_undelivered(pending);\n",
        "                    self.sent.record(&pending.alert, AlertOutcome::Undelivered);\n",
    ),
    Mutant(
        "unknown-claim-is-ours", "functions/alerts/src/sender.rs",
        "                Ok(ClaimStatus::Claimed) =>",
        "                Ok(ClaimStatus::Claimed) | Err(CallError::Retryable { .. }) =>",
    ),
    Mutant(
        "lease-ends-before-its-holder", "functions/alerts/src/sender.rs",
        "let lease = left.saturating_add(LEASE_MARGIN);",
        "let lease = (left / 30).min(LEASE_MARGIN);",
    ),
    Mutant(
        "digest-not-taken-is-done", "functions/alerts/src/sender.rs",
        "let is_taken = delivery.undelivered.binary_search(&index).is_err();",
        "let is_taken = is_digest || delivery.undelivered.binary_search(&index).is_err();",
    ),
    Mutant(
        "digest-settles-its-first-alert-only", "functions/alerts/src/sender.rs",
        "                    published.push(claim);\n",
        "                    if published.len() <= index {\n                        published.push(claim);\n                    }\n",
    ),
    Mutant(
        "storm-without-limit", "functions/alerts/src/sender.rs",
        "filter(|(_, (alerts, messages))| alerts > messages)",
        "filter(|(_, (alerts, messages))| *alerts > messages + 1_000)",
    ),
    Mutant(
        "cooled-alerts-are-in-no-book", "functions/alerts/src/sender.rs",
        "Ok(ClaimStatus::Sent) => self.sent.record(&pending.alert, AlertOutcome::Cooled),",
        "Ok(ClaimStatus::Sent) => {}",
    ),
    Mutant(
        "window-not-noted-is-done", "functions/alerts/src/rule_state.rs",
        "updates.confirm(evaluation.position, answer)?",
        "StateUpdates::default().confirm(evaluation.position, answer)?",
    ),
    Mutant(
        "row-of-one-too-few", "crates/rules/src/consecutive.rs",
        "(end - self.needed + 1..=*end).all(holds)",
        "(end - self.needed + 2..=*end).all(holds)",
    ),
    Mutant(
        "silence-noted-before-it-is-told", "functions/alerts/src/handler.rs",
        "        // Groups that are due in different cooldowns can share an alert id.\n",
        "        let early: Vec<_> = groups.iter().flat_map(|it| it.entities.clone()).collect();\n"
        "        self.state.mark_sent(&early, deadline).await;\n",
    ),
    Mutant(
        "cooled-silence-is-forgotten", "functions/alerts/src/handler.rs",
        "        self.state.mark_sent(&notified, deadline).await;\n"
        "        self.state.postpone(&postponed, self.retention, deadline).await;\n",
        "        let cooled = postponed.iter().map(|(watched, _)| watched.clone());\n"
        "        let notified: Vec<_> = notified.iter().cloned().chain(cooled).collect();\n"
        "        self.state.mark_sent(&notified, deadline).await;\n",
    ),
    Mutant(
        "sign-of-life-not-noted-is-done", "functions/alerts/src/rule_state.rs",
        "updates.confirm(seen.position, answer)?",
        "StateUpdates::default().confirm(seen.position, answer)?",
    ),
    Mutant(
        "short-answer-trusted", "crates/aws/src/producer.rs",
        "Ok(verdicts) if verdicts.len() == pending.len() => verdicts,",
        "Ok(verdicts) if verdicts.len() <= pending.len() => verdicts,",
    ),
    Mutant(
        "time-out-is-success", "crates/aws/src/producer.rs",
        "            }\n            return pending;\n        }\n    };\n    let mut unstored",
        "            }\n            return Vec::new();\n        }\n    };\n    let mut unstored",
    ),
    Mutant(
        "order-of-keys-ignored", "crates/aws/src/producer.rs",
        "        if self.order == Order::Throughput {\n            return pending.drain",
        "        if self.order != Order::Throughput || pending.len() < usize::MAX {\n            return pending.drain",
    ),
    Mutant(
        "refused-record-is-forgotten", "crates/aws/src/batch.rs",
        "        sent.extend(bad_rows.deliver(quarantine, deadline).await?);\n",
        "        let _ = (bad_rows, quarantine, deadline);\n",
    ),
    Mutant(
        "refusal-costs-the-whole-call", "crates/aws/src/producer.rs",
        "            if let ([outbound], CallError::Refused { .. }) = (&pending[..], &error) {\n"
        "                reject(outbound.position, error.to_string(), delivery);\n",
        "            if let ([..], CallError::Refused { .. }) = (&pending[..], &error) {\n"
        "                pending.iter().for_each(|it| reject(it.position, error.to_string(), delivery));\n",
    ),
    Mutant(
        "clock-ahead-uses-up-alerts-to-come", "crates/rules/src/lib.rs",
        "        let time = time.min(latest);\n",
        "        let _ = latest;\n",
    ),
    Mutant(
        "clock-ahead-is-not-tagged", "crates/datasets/src/dataset.rs",
        "            tags.push(Cow::Borrowed(CLOCK_AHEAD));\n",
        "            tags.extend([]);\n",
    ),
    Mutant(
        "rest-of-object-forgotten", "functions/ingest-s3/src/handler.rs",
        "                Err(error) => return Err(Stop::At(None, error.to_string())),",
        "                Err(_) => {}",
    ),
    Mutant(
        "kafka-partition-not-reported", "functions/ingest-kafka/src/handler.rs",
        "        undelivered.extend(&sent.undelivered);\n",
        "",
    ),
    Mutant(
        "series-without-limit", "crates/aws/src/cardinality.rs",
        "return Ok(members.iter().copied().filter(|it| known.contains(it)).collect());",
        "return Ok(members.iter().copied().collect());",
    ),
    Mutant(
        "sender-told-too-much", "functions/ingest-http/src/handler.rs",
        "for &position in &delivery.undelivered {",
        "for &position in delivery.undelivered.iter().skip(1) {",
    ),
    Mutant(
        "window-marked-before-it-is-emitted", "functions/windows/src/emission.rs",
        "        let sent = self.send(&pending).await?;\n",
        "        for mut stored in pending.clone() {\n            stored.window.mark_emitted();\n"
        "            let _ = self.write(&mut stored).await;\n        }\n"
        "        let sent = self.send(&pending).await?;\n",
    ),
    Mutant(
        "window-adds-what-it-has", "crates/windows/src/state.rs",
        "            if self.seen.contains(sample.id, place) {",
        "            if self.seen.contains(sample.id, place) && place.is_none() {",
    ),
    Mutant(
        "window-by-sequence-numbers-alone", "crates/windows/src/seen.rs",
        "|| self.has_more && place.is_some_and",
        "|| place.is_some_and",
    ),
    Mutant(
        "window-conflict-ignored", "functions/windows/src/updater.rs",
        "                self.counts.borrow_mut().conflicts += 1;\n",
        "                self.counts.borrow_mut().conflicts += 1;\n                if stored.version > 0 {\n"
        "                    return Ok(None);\n                }\n",
    ),
    Mutant(
        "window-changed-while-pending", "functions/windows/src/updater.rs",
        "                self.emit_one(&stored).await?;\n"
        "                stored.window.mark_emitted();\n",
        "",
    ),
    Mutant(
        "window-revised-under-one-number", "crates/windows/src/state.rs",
        "            self.revision += 1;\n",
        "",
    ),
    Mutant(
        "unwritten-window-not-reported", "functions/windows/src/updater.rs",
        "            _ => self.undelivered.extend(positions),\n",
        "            _ => drop(positions),\n",
    ),
    Mutant(
        "late-though-it-was-in-time", "functions/windows/src/handler.rs",
        "if window.as_ref().is_some_and(|it| it.window.contains(sample.id, place)) {",
        "if window.is_none() && place.is_none() {",
    ),
    Mutant(
        "stuck-shard-holds-the-watermark", "functions/windows/src/clocks.rs",
        "let is_moving = is_in_time && to > clock.shard(shard).and_then(|known| known.watermark);",
        "let is_moving = is_in_time && clock.watermark.is_none_or(|it| it <= Timestamp::MAX);",
    ),
    Mutant(
        "idle-shard-holds-the-watermark", "crates/windows/src/clock.rs",
        "!shard.is_closed && now.duration_since(shard.last_seen) < idle;",
        "!shard.is_closed && now.duration_since(shard.last_seen) < idle * 1_000;",
    ),
    Mutant(
        "watermark-stays", "functions/windows/src/clocks.rs",
        "to.filter(|_| clock.watermark < to)",
        "to.filter(|_| clock.watermark > to)",
    ),
    Mutant(
        "fastest-shard-decides", "crates/windows/src/clock.rs",
        "(Some(time), Some(before)) if before <= time => {}",
        "(Some(time), Some(before)) if before >= time => {}",
    ),
    Mutant(
        "shard-is-idle-at-once", "crates/windows/src/clock.rs",
        "!shard.is_closed && now.duration_since(shard.last_seen) < idle;",
        "!shard.is_closed && now.duration_since(shard.last_seen) < idle / 20;",
    ),
    Mutant(
        "removed-window-restarts", "functions/windows/src/clocks.rs",
        "self.removed_until.is_some_and(|until| span.start <= until)",
        "self.removed_until.is_some_and(|until| span.end < span.start && span.start <= until)",
    ),
    Mutant(
        "closed-windows-are-forgotten", "functions/windows/src/clocks.rs",
        "windows.iter().map(|key| key.start).max()",
        "windows.iter().map(|key| key.start).max().filter(|_| clock.watermark.is_some())",
    ),
    Mutant(
        "any-entity-may-be-sent", "functions/ingest-http/src/item.rs",
        "&& !self.permit.allows(&event.entity)",
        "&& !self.permit.allows(&event.entity) && event.entity.is_empty()",
    ),
    Mutant(
        "unknown-event-acknowledged", "functions/ingest-s3/src/message.rs",
        "_ => Self::Unknown,",
        "_ => Self::Removed,",
    ),
]


def copy_tree(tree):
    """Copies all tracked and new files; modification times stay, so that little is rebuilt."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout
    wanted = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    for name in wanted:
        here, there = ROOT / name, tree / name
        if not there.exists() or there.read_bytes() != here.read_bytes():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here, there)
    for path in [path for path in tree.rglob("*") if path.is_file()]:
        if str(path.relative_to(tree)) not in wanted:
            path.unlink()


def first_failure(tree, seeds):
    """Returns the lowest seed that fails with its faults, or None; and an error if the mutant does not build."""
    # A folder of its own: cargo takes two copies of a workspace in one folder for the same.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(HOME / "build")}
    done = subprocess.run(
        ["cargo", "run", "--quiet", "--locked", "--package", "system-tests", "--bin", "sim", "--",
         "--seeds", str(seeds), "--until-failure", "--json"],
        cwd=tree, env=environment, capture_output=True, text=True)
    try:
        figures = json.loads(done.stdout)
    except json.JSONDecodeError:
        return None, done.stderr.strip()
    failed = sorted((int(seed), lines) for seed, lines in figures["failed"].items())
    return (failed[0] if failed else None), None


def judge(mutant, tree, seeds):
    """Returns one line about a mutant, and whether a seed failed."""
    path = tree / mutant.path
    text = path.read_text()
    if mutant.old not in text:
        return "the place it changes is gone", False
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        failure, error = first_failure(tree, seeds)
    finally:
        path.write_text(text)
    if error:
        return f"does not build: {error.splitlines()[0]}", False
    if failure is None:
        return f"NOT NOTICED in {seeds} seeds", False
    seed, lines = failure
    return f"seed {seed:>4}  {lines[0][:90]}", True


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="some of them only")
    parser.add_argument("--seeds", type=int, default=400)
    arguments = parser.parse_args()
    known = [mutant.name for mutant in MUTANTS]
    strange = sorted(set(arguments.names) - set(known))
    if strange:
        parser.error(f"no mutant {', '.join(strange)}; there are {', '.join(known)}")
    tree = HOME / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    copy_tree(tree)
    missed = 0
    for mutant in MUTANTS:
        if arguments.names and mutant.name not in arguments.names:
            continue
        said, noticed = judge(mutant, tree, arguments.seeds)
        missed += not noticed
        print(f"{mutant.name:<36}{said}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
