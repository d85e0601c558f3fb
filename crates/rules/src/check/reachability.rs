//! Reachability of predicates: values that each comparison leaves to a field.
//!
//! A rule reported as dead is dead; a dead rule may pass.

use super::facts::{Facts, all_paths, boolean_test};
use super::{Code, Fault, Level};
use crate::predicate::{Operation, Predicate};
use tributary_model::domain::Fields;

/// Maximum number of elements of one list that are reported.
const MAX_REPORTED: usize = 10;

/// Returns the parts of a predicate over events with `fields` that never or always hold.
pub(super) fn faults(fields: &Fields, predicate: &Predicate) -> Vec<Fault> {
    let facts = Facts::of(fields);
    let mut faults = Vec::new();
    walk(predicate, true, &facts, &mut faults);
    let is_reported = faults.iter().any(|fault| fault.level == Level::Error);
    if !is_reported && facts.assume(predicate, true).is_none() {
        let message = "can never fire: its parts exclude each other".to_owned();
        faults.push(Fault::error(Code::Dead, predicate.offset, message));
    }
    faults
}

/// Reports the parts that never contribute to `predicate` being `wanted`, or always are.
fn walk(predicate: &Predicate, wanted: bool, facts: &Facts<'_>, faults: &mut Vec<Fault>) {
    if let Some((condition, value)) = boolean_test(predicate) {
        return walk(condition, value == wanted, facts, faults);
    }
    let parts = &predicate.parts[..];
    match &predicate.operation {
        Operation::Bool(_) => {}
        Operation::Not => walk(&parts[0], !wanted, facts, faults),
        Operation::Logic { decisive } => {
            walk(&parts[0], wanted, facts, faults);
            if wanted == *decisive {
                walk(&parts[1], wanted, facts, faults);
            } else if let Some(after) = facts.assume(&parts[0], wanted) {
                // Parts after an impossible one add nothing.
                walk(&parts[1], wanted, &after, faults);
            }
        }
        Operation::Choice => {
            walk(&parts[0], true, facts, faults);
            for (holds, part) in [(true, &parts[1]), (false, &parts[2])] {
                if let Some(here) = facts.assume(&parts[0], holds) {
                    walk(part, wanted, &here, faults);
                }
            }
        }
        Operation::AnyTag if wanted => {
            // What holds for each possible tag still fails for an event without tags.
            let mut of_tag = Vec::new();
            walk(&parts[0], true, facts, &mut of_tag);
            faults.extend(of_tag.into_iter().filter(|fault| fault.level == Level::Error));
        }
        _ => evaluate(predicate, wanted, facts, faults),
    }
}

/// Reports a comparison that never or always is `wanted`.
fn evaluate(predicate: &Predicate, wanted: bool, facts: &Facts<'_>, faults: &mut Vec<Fault>) {
    let (offset, shown) = (predicate.offset, facts.describe(predicate));
    if facts.assume(predicate, wanted).is_none() {
        let opposite = if wanted { "" } else { "always holds, so its opposite " };
        let message = format!("{opposite}never holds{shown}");
        faults.push(Fault::error(Code::Dead, offset, message));
        return;
    }
    if facts.assume(predicate, !wanted).is_none() {
        // A part may repeat the rule's `dataset` or `window`.
        let is_of_rule = |path: &&str| matches!(*path, "kind" | "dataset" | "window.spec");
        if !all_paths(predicate).iter().any(is_of_rule) {
            let holds = if wanted { "holds" } else { "fails" };
            let message = format!("always {holds}{shown}");
            faults.push(Fault { level: Level::Warning, code: Code::Always, offset, message });
        }
        return;
    }
    let (level, code) =
        if wanted { (Level::Error, Code::Dead) } else { (Level::Warning, Code::Always) };
    if matches!(predicate.operation, Operation::In) {
        for offset in facts.impossible_elements(predicate).into_iter().take(MAX_REPORTED) {
            let message = format!("is never found{shown}");
            faults.push(Fault { level, code, offset, message });
        }
    }
}
