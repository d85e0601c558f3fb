//! What a batch brings: its readings, by window and by clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tributary_aws::windows::ItemKey;
use tributary_model::event::Event;
use tributary_windows::aggregate::Sample;
use tributary_windows::clock::{clock_name, watermark_for};
use tributary_windows::{Span, Spec};

/// The readings of one batch.
#[derive(Debug, Default)]
pub(crate) struct BatchReadings {
    /// What each reading adds to the windows of a spec, and its position in the batch.
    pub samples: Vec<(usize, Sample)>,
    /// The windows they belong to.
    pub windows: BTreeMap<ItemKey, WindowReadings>,
    /// By clock, the positions of its readings in order, and to where each moves it.
    pub clocks: BTreeMap<String, Vec<(usize, Option<Timestamp>)>>,
}

/// What a batch brings of one window.
#[derive(Clone, Debug)]
pub(crate) struct WindowReadings {
    /// Which of the specs.
    pub spec: usize,
    /// From when to when.
    pub span: Span,
    /// Its readings: indices of [`BatchReadings::samples`], in order.
    pub samples: Vec<usize>,
}

impl BatchReadings {
    /// Adds a reading; whether any window takes it.
    pub(crate) fn add(&mut self, position: usize, event: &Event<'_>, specs: &[Spec]) -> bool {
        let mut is_taken = false;
        for (number, spec) in specs.iter().enumerate().filter(|(_, spec)| spec.takes(event)) {
            let clock = self.clocks.entry(clock_name(spec)).or_default();
            if clock.last().is_none_or(|last| last.0 != position) {
                clock.push((position, watermark_for(event, spec)));
            }
            let group = spec.key_of(event);
            for span in spec.windows_of(spec.time_of(event)) {
                let (spec, group) = (spec.id.clone(), group.clone());
                let key = ItemKey { spec, group, start: span.start };
                let window_readings = || WindowReadings { spec: number, span, samples: Vec::new() };
                let window = self.windows.entry(key).or_insert_with(window_readings);
                window.samples.push(self.samples.len());
                is_taken = true;
            }
            self.samples.push((position, Sample::of(event, spec)));
        }
        is_taken
    }

    /// Leaves out what comes at `end` or after, and what is too late.
    pub(crate) fn retain(&mut self, end: usize, late: &BTreeSet<(ItemKey, usize)>) {
        let samples = &self.samples;
        self.windows.retain(|key, window| {
            let is_kept = |&index: &usize| {
                let position = samples[index].0;
                position < end && !late.contains(&(key.clone(), position))
            };
            window.samples.retain(is_kept);
            !window.samples.is_empty()
        });
    }
}

impl BatchReadings {
    /// The positions of the readings that a batch brings of one window.
    pub(crate) fn positions(
        &self,
        window_readings: &WindowReadings,
    ) -> impl Iterator<Item = usize> {
        window_readings.samples.iter().map(|&index| self.samples[index].0)
    }
}
