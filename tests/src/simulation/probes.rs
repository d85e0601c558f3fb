//! Checks of a deployment that has done its work: it still does, and in time.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::sleep;
use tributary_model::event::Event;
use tributary_testkit::clock;

use super::feed::FLEET;
use super::input::{LIVELY, Row};
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// Maximum time from the end of a window of a minute to its event while readings arrive: its delay,
/// the idle timeout, and 2 minutes.
const MAX_DELAY: SignedDuration = SignedDuration::from_secs(5 + 120 + 120);

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

impl World {
    /// Checks that a device that sends one reading again and again, often alone on its shard, does
    /// not keep the windows of another device open. The functions are idle at first, so any shard
    /// may hold the watermark for as long as the idle timeout.
    pub(super) async fn passes_a_stuck_device(self: &Rc<Self>) -> bool {
        let started = clock::now();
        let reading = |device: &str, time: Timestamp| {
            let row = json!({"sensor_id": device, "timestamp": time.to_string(), "humidity": 40});
            Row { dataset: "telemetry", line: row.to_string().into_bytes() }
        };
        for _ in 0..20 {
            for (device, time) in [("stuck", started), (LIVELY, clock::now())] {
                self.lock().unanswered += 1;
                self.clone().send(vec![reading(device, time)], None, FLEET).await;
            }
            sleep(30 * SECOND).await;
        }
        self.emits_in_time(LIVELY)
    }

    /// Returns true if the windows of a device whose readings arrive were emitted in time.
    fn emits_in_time(&self, device: &str) -> bool {
        let (mut minutes, mut emitted) = (BTreeSet::new(), BTreeMap::new());
        for record in self.events.all() {
            let Ok(event) = Event::from_json(&record.data) else { continue };
            if event.entity != device {
                continue;
            }
            match &event.window {
                None => {
                    let second = event.event_time.as_second();
                    minutes.extend(Timestamp::from_second(second - second % 60));
                }
                Some(window) if window.spec == "telemetry-1m" => {
                    let at = emitted.entry(window.start).or_insert(record.arrived_at);
                    *at = record.arrived_at.min(*at);
                }
                Some(_) => {}
            }
        }
        let limit = |start: Timestamp| start + MINUTE + MAX_DELAY;
        let mut due = minutes.into_iter().filter(|start| limit(*start) <= clock::now()).peekable();
        due.peek().is_some()
            && due.all(|start| emitted.get(&start).is_some_and(|at| *at <= limit(start)))
    }

    /// Checks that, at the end, a new record still passes through in the usual time.
    pub(super) async fn takes_a_fresh_record(self: &Rc<Self>) -> bool {
        let line = br#"{"sensor_id":"fresh","timestamp":"2026-11-21T00:00:00Z","temperature":20.5,"humidity":40}"#;
        let row = Row { dataset: "telemetry", line: line.to_vec() };
        let before = self.events.all().len();
        self.lock().unanswered += 1;
        self.clone().send(vec![row], None, FLEET).await;
        sleep(30 * SECOND).await;
        let is_through = self.events.all().len() > before;
        // Meanwhile windows close; their events must pass through too.
        sleep(600 * SECOND).await;
        let mut seconds = 0;
        while !self.is_quiet() && seconds < 60 {
            sleep(SECOND).await;
            seconds += 1;
        }
        is_through && seconds < 60
    }
}
