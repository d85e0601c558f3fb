//! System tests: end to end, fault injection, the template contract, rules of the repository.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod alarm_evaluation;
mod alarm_mutations;
mod conservation;
mod dependencies;
mod docs;
mod end_to_end;
mod function_mutations;
mod house;
mod kafka_mutations;
mod kafka_to_events;
mod oracle;
mod simulation;
mod stack_mutations;
mod style;
mod support;
mod takeover;
mod template_contract;
