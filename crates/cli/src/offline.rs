//! Windows of a whole input: the contents of the store if every reading had arrived in time.

use std::collections::BTreeMap;
use std::io;

use tributary_model::event::Event;
use tributary_windows::aggregate::Sample;
use tributary_windows::{Spec, Window};

use crate::output::Lines;

/// Maximum number of samples buffered per window. A window applies many samples at once faster than
/// one by one.
const MAX_BUFFERED_SAMPLES: usize = 256;

/// All windows so far, in the order in which they are emitted.
#[derive(Default)]
pub(crate) struct Windows {
    /// Sorted by id.
    specs: Vec<Spec>,
    windows: BTreeMap<Key, (Window, Vec<Sample>)>,
}

/// Spec, group, and start in seconds.
type Key = (usize, String, i64);

impl Windows {
    /// Creates empty windows of these specs.
    pub(crate) fn of(mut specs: Vec<Spec>) -> Self {
        specs.sort_by(|a, b| a.id.cmp(&b.id));
        for spec in &mut specs {
            // No shard tracks duplicates here: a window recognizes repeated events by their ids.
            spec.written.distinct = usize::MAX;
        }
        Self { specs, windows: BTreeMap::new() }
    }

    /// Adds an event to every window that contains it.
    pub(crate) fn add(&mut self, event: &Event<'_>) {
        for (number, spec) in self.specs.iter().enumerate().filter(|(_, spec)| spec.takes(event)) {
            let sample = Sample::of(event, spec);
            let group = spec.key_of(event);
            for span in spec.windows_of(sample.time) {
                let (window, samples) = self
                    .windows
                    .entry((number, group.clone(), span.start.as_second()))
                    .or_insert_with(|| (Window::open(span), Vec::new()));
                samples.push(sample.clone());
                if samples.len() >= MAX_BUFFERED_SAMPLES {
                    apply(window, spec, samples);
                }
            }
        }
    }

    /// Closes all windows as if no event had been late: ordered by spec, group and start, revision
    /// 0, received at the end of the window.
    pub(crate) fn close(self) -> Closed {
        let mut closed: Vec<(usize, String, Window)> = Vec::with_capacity(self.windows.len());
        for ((number, group, _), (mut window, mut samples)) in self.windows {
            let spec = &self.specs[number];
            apply(&mut window, spec, &mut samples);
            window.close(window.span().end);
            let before = closed.last().filter(|(of, key, _)| (*of, key) == (number, &group));
            let baseline = before.map(|(.., before)| before.baseline().clone());
            window.evaluate(spec, &baseline.unwrap_or_default());
            closed.push((number, group, window));
        }
        Closed { specs: self.specs, windows: closed }
    }
}

/// Closed windows.
pub(crate) struct Closed {
    specs: Vec<Spec>,
    /// Index of the spec, group, window.
    windows: Vec<(usize, String, Window)>,
}

impl Closed {
    /// Orders the windows of each spec by time, not by group.
    pub(crate) fn by_time(mut self) -> Self {
        self.windows.sort_by_key(|(number, _, window)| (*number, window.span().start));
        self
    }

    /// Returns the events of the windows, in order.
    pub(crate) fn events(&self) -> impl ExactSizeIterator<Item = Event<'_>> {
        self.windows.iter().map(|(number, group, window)| window.event(&self.specs[*number], group))
    }

    /// Writes the events of the windows and returns their number.
    pub(crate) fn write(&self, lines: &mut Lines) -> io::Result<u64> {
        for event in self.events() {
            lines.value(&event)?;
        }
        Ok(self.windows.len() as u64)
    }
}

fn apply(window: &mut Window, spec: &Spec, samples: &mut Vec<Sample>) {
    window.apply(spec, samples.iter().map(|sample| (sample, None)), window.span().end);
    samples.clear();
}
