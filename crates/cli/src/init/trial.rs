//! Tries a new schema on its sample before anything is written.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tributary_config::{Bundle, Configuration};
use tributary_datasets::Dataset;
use tributary_datasets::infer::{Entry, Inferred};
use tributary_datasets::ingest::{Feed, Step};
use tributary_model::event::Event;
use tributary_pipeline::transform::{Outcome, Transformer};
use tributary_rows::Limits;
use tributary_rules::examples::Examples;

use super::sample::SampledFile;

/// Events of the sample.
#[derive(Default)]
pub(super) struct Trial {
    /// Number of events.
    pub events: usize,
    /// Number of bad rows, and the first with its reason.
    pub bad: usize,
    pub first_bad: Option<String>,
    /// Number of events that lack a bad field.
    pub with_faults: usize,
    /// Good rows without faults, each event id once: index of the row, and the event.
    pub good: Vec<(usize, Value)>,
    /// The other events.
    others: Vec<Value>,
    /// Event on which the rule fires, and one on which it does not.
    pub fires: Option<Value>,
    pub silent: Option<Value>,
}

/// Compiles the configuration with the new schema, runs the sample through it, and leaves out the
/// examples that do not compile.
///
/// # Errors
///
/// The schema does not compile, collides with another dataset, or gives no event.
pub(super) fn run(
    name: &str,
    inferred: &mut Inferred,
    file: &SampledFile,
    others: &Bundle,
) -> Result<Trial> {
    let path = format!("datasets/{name}.toml");
    let load = |text: &str| -> Result<Configuration> {
        let configuration = Configuration::load(&others.clone().with(&path, text))?;
        configuration.metrics()?;
        configuration.window_specs()?;
        configuration.rules()?;
        Ok(configuration)
    };
    let configuration = load(&inferred.text_with(&[]))
        .with_context(|| format!("dataset {name} does not fit the configuration"))?;
    let transformer = configuration.transformer()?;
    let dataset = configuration.datasets.by_name(name).context("the schema has another name")?;
    let mut trial = events(dataset, &transformer, file)?;
    if trial.events == 0 {
        let why = trial.first_bad.unwrap_or_default();
        bail!("no row of the sample becomes an event: {why}");
    }
    let mut fitting = Vec::new();
    for entry in Entry::ALL {
        fitting.push(entry);
        let loaded = load(&inferred.text_with(&fitting)).and_then(|configuration| match entry {
            Entry::Rule => trial.find_examples(inferred, &configuration),
            Entry::Metric | Entry::Window => Ok(()),
        });
        if let Err(why) = loaded {
            fitting.pop();
            inferred.leave_out(entry, &format!("{why:#}"));
        }
    }
    Ok(trial)
}

fn events(dataset: &Dataset, transformer: &Transformer, file: &SampledFile) -> Result<Trial> {
    let mut trial = Trial::default();
    let mut ids = std::collections::HashSet::new();
    for (row, payload) in file.payloads.iter().enumerate() {
        match transformer.payload(dataset, payload, None) {
            Ok(Outcome::Event(event)) => {
                trial.events += 1;
                let is_new = ids.insert(event.event_id.clone().into_owned());
                trial.with_faults += usize::from(!event.faults.is_empty());
                let is_good = event.faults.is_empty() && is_new;
                let event = serde_json::to_value(&event)?;
                if is_good {
                    trial.good.push((row, event));
                } else {
                    trial.others.push(event);
                }
            }
            Ok(Outcome::Filtered) => trial.events += 1,
            Err(rejection) => {
                trial.bad += 1;
                let field = rejection.field.as_deref().unwrap_or("row");
                let why = format!("row {}: {field} {}", row + 1, rejection.message);
                trial.first_bad.get_or_insert(why);
            }
        }
    }
    Ok(trial)
}

impl Trial {
    /// Finds examples of the rule among the events.
    fn find_examples(&mut self, inferred: &Inferred, configuration: &Configuration) -> Result<()> {
        let rules = configuration.rules()?;
        let Some(id) = &inferred.rule else { return Ok(()) };
        let (schemas, windows) = (configuration.schemas(), configuration.window_fields());
        let specs = configuration.window_specs()?;
        let examples = Examples::new(&schemas, &windows, &specs);
        for event in self.good.iter().map(|(_, event)| event).chain(&self.others) {
            let found = match examples.fires(&rules, id, &event.to_string()) {
                Ok(true) => &mut self.fires,
                Ok(false) => &mut self.silent,
                Err(message) => bail!("rule {id}: {message}"),
            };
            found.get_or_insert_with(|| event.clone());
            if self.fires.is_some() && self.silent.is_some() {
                return Ok(());
            }
        }
        bail!("rule {id} fires on every row of the sample, or on none")
    }
}

/// Returns the dataset of `bundle` that the sample's columns select, if any.
pub(super) fn known_dataset(
    bundle: &Bundle,
    name: &str,
    file: &SampledFile,
) -> Result<Option<String>> {
    if bundle.folder("datasets", "toml").is_empty() {
        return Ok(None);
    }
    let configuration = Configuration::load(bundle)?;
    let mut feed = Feed::new(&configuration.datasets, None, Limits::default()).named(name);
    feed.push(&super::fixture::rows(file, [0]).into_bytes());
    feed.finish();
    loop {
        match feed.step() {
            Ok(Step::Row(row)) => return Ok(Some(row.dataset().name().to_owned())),
            Ok(Step::Started | Step::Bad(..) | Step::NeedInput) => {}
            Ok(Step::End) | Err(_) => return Ok(feed.dataset().map(|it| it.name().to_owned())),
        }
    }
}

/// Returns the code and the field for which a row is rejected; `None` if it is not.
pub(super) fn rejection(dataset: &Dataset, payload: &str) -> Option<(String, Value)> {
    let rejected: Result<Event<'_>, _> = dataset.event(payload, None);
    let rejection = rejected.err()?;
    Some((rejection.code.as_str().to_owned(), rejection.field.as_deref().into()))
}
