//! Readings of one batch, grouped by window and by clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tributary_aws::windows::ItemKey;
use tributary_model::event::Event;
use tributary_windows::aggregate::Sample;
use tributary_windows::clock::{clock_name, watermark_for};
use tributary_windows::{Span, Spec};

/// Readings of one batch.
#[derive(Debug, Default)]
pub(crate) struct BatchReadings {
    /// Sample of each reading for the windows of a spec, with its position in the batch.
    pub samples: Vec<(usize, Sample)>,
    /// Readings by window.
    pub windows: BTreeMap<ItemKey, WindowReadings>,
    /// Readings by clock: position in order, and the watermark that each reading allows.
    pub clocks: BTreeMap<String, Vec<(usize, Option<Timestamp>)>>,
}

/// Readings of one batch for one window.
#[derive(Clone, Debug)]
pub(crate) struct WindowReadings {
    /// Index of the spec.
    pub spec: usize,
    /// Start and end of the window.
    pub span: Span,
    /// Indices into [`BatchReadings::samples`], in order.
    pub samples: Vec<usize>,
}

impl BatchReadings {
    /// Adds a reading, and returns true if a window accepts it.
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

    /// Removes the readings at or after position `end`, and those that are `late` for a window.
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

    /// Returns the positions of the readings of one window.
    pub(crate) fn positions(
        &self,
        window_readings: &WindowReadings,
    ) -> impl Iterator<Item = usize> {
        window_readings.samples.iter().map(|&index| self.samples[index].0)
    }
}
