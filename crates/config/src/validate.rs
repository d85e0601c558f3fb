//! Validates a configuration as a whole: every name in it names something.

use std::collections::BTreeSet;

use tributary_datasets::Dataset;
use tributary_model::config_error::ConfigError;
use tributary_model::domain::Fields;
use tributary_pipeline::metric::MetricSpec;
use tributary_pipeline::transform::FilterSpec;
use tributary_rules::check::{Checked, check, check_own, condition_errors};
use tributary_windows::WindowSpec;

use crate::place::{Places, Step};
use crate::{
    ALERTS_FILE, AlertsConfig, Bundle, Configuration, PIPELINE_FILE, PipelineConfig, entries, parse,
};

/// Old names of window keys, and the present ones.
const RENAMED: [(&str, &str); 4] = [
    ("hop", "slide"),
    ("lateness", "allowed_lateness"),
    ("idle", "idle_timeout"),
    ("keep", "retention"),
];

/// Returns the errors of a bundle, in order of its files. While schemas do not compile, they are the
/// first of each schema; otherwise all names are checked.
#[must_use]
pub fn validate(bundle: &Bundle) -> Vec<ConfigError> {
    let configuration = match Configuration::load(bundle) {
        Ok(configuration) => configuration,
        Err(error) => {
            let lookups = bundle.lookups();
            let schemas = bundle.folder("datasets", "toml").into_iter();
            let compile = |(name, text): (String, String)| Dataset::compile(&name, &text, &lookups);
            let errors: Vec<_> = schemas.filter_map(|it| compile(it).err()).collect();
            return if errors.is_empty() { vec![error] } else { errors };
        }
    };
    let mut errors = Vec::new();
    let pipeline: PipelineConfig =
        parse(PIPELINE_FILE, bundle.text(PIPELINE_FILE)).unwrap_or_default();
    let places = Places::new(PIPELINE_FILE, bundle.text(PIPELINE_FILE));
    File { configuration: &configuration, places, errors: &mut errors }.pipeline(&pipeline);
    for (name, text) in bundle.folder("datasets", "toml") {
        let mut own = PipelineConfig::default();
        // Loaded before.
        let _ = entries::add(&name, &text, &mut own, &mut AlertsConfig::default());
        let places = Places::new(&format!("datasets/{name}.toml"), &text);
        File { configuration: &configuration, places, errors: &mut errors }.pipeline(&own);
    }
    for (file, checked) in configuration.checked_rules(bundle) {
        let error = |finding: &tributary_rules::check::Finding| {
            let place = format!("{file}:{}:{}", finding.line, finding.column);
            let rule = finding.rule.as_ref().map_or(String::new(), |rule| format!("rule {rule}: "));
            ConfigError::new(place, format!("{rule}{}", finding.message))
        };
        errors.extend(checked.errors().map(error));
    }
    if errors.is_empty() {
        // Names are right; what is left are limits and repeated ids.
        let compiled = [
            configuration.transformer().err(),
            configuration.metrics().err(),
            configuration.senders().err(),
            configuration.window_specs().err(),
            configuration.rules().err(),
        ];
        errors.extend(compiled.into_iter().flatten());
    }
    errors
}

impl Configuration {
    /// Checks the rules of each file that has some, against the datasets and windows.
    #[must_use]
    pub fn checked_rules(&self, bundle: &Bundle) -> Vec<(String, Checked)> {
        let (schemas, windows) = (self.schemas(), self.window_fields());
        let mut files = Vec::new();
        if !bundle.text(ALERTS_FILE).trim().is_empty() {
            let checked = check(bundle.text(ALERTS_FILE), &schemas, &windows);
            files.push((ALERTS_FILE.to_owned(), checked));
        }
        for (name, text) in bundle.folder("datasets", "toml") {
            let checked = check_own(&text, &name, &schemas, &windows);
            if checked != Checked::default() {
                files.push((format!("datasets/{name}.toml"), checked));
            }
        }
        files
    }
}

/// Returns the error of a window key that has another name now.
pub(crate) fn renamed_key(file: &str, text: &str) -> Option<ConfigError> {
    let places = Places::new(file, text);
    let windows =
        (0..).take_while(|index| places.error_at_key("windows", *index, "id", "").is_some());
    let renamed = |index: usize| {
        let error = |(old, new): (&str, &str)| {
            places.error_at_key("windows", index, old, &format!("`{old}` is called `{new}`"))
        };
        RENAMED.into_iter().find_map(error)
    };
    windows.into_iter().find_map(renamed)
}

/// Validation of the entries of one file.
struct File<'c, 't> {
    configuration: &'c Configuration,
    places: Places<'t>,
    errors: &'c mut Vec<ConfigError>,
}

impl File<'_, '_> {
    fn pipeline(mut self, pipeline: &PipelineConfig) {
        for (index, filter) in pipeline.filters.iter().enumerate() {
            self.filter(index, filter);
        }
        for (index, metric) in pipeline.metrics.iter().enumerate() {
            self.metric(index, metric);
        }
        for (index, window) in pipeline.windows.iter().enumerate() {
            self.window(index, window);
        }
        for (index, sender) in pipeline.senders.iter().enumerate() {
            let datasets: Vec<_> = self.configuration.datasets.iter().collect();
            let names: Vec<_> = datasets.iter().map(|dataset| dataset.name()).collect();
            for (at, dataset) in sender.datasets.iter().enumerate() {
                self.name("senders", index, "datasets", Some(at), dataset, &names);
            }
        }
    }

    /// Returns the fields of a dataset, which an entry of `list` names.
    fn fields(&mut self, list: &str, index: usize, dataset: &str) -> Option<Fields> {
        let found = self.configuration.datasets.by_name(dataset).map(|it| it.fields().clone());
        if found.is_none() {
            let names = self.configuration.datasets.names();
            let path = [Step::Key(list), Step::Index(index), Step::Key("dataset")];
            let message = format!("dataset {dataset:?} is none of {names}");
            self.errors.push(self.places.error(&path, &message));
        }
        found
    }

    fn filter(&mut self, index: usize, filter: &FilterSpec) {
        let Some(fields) = self.fields("filters", index, &filter.dataset) else { return };
        let path = [Step::Key("filters"), Step::Index(index), Step::Key("drop_when")];
        for (byte, message) in condition_errors(&fields, &filter.drop_when) {
            self.errors.push(self.places.error_inside(&path, byte, &message));
        }
    }

    fn metric(&mut self, index: usize, metric: &MetricSpec) {
        let Some(fields) = self.fields("metrics", index, &metric.dataset) else { return };
        let measures: Vec<_> = fields.measures.keys().map(String::as_str).collect();
        if let Some(measure) = &metric.measure {
            self.name("metrics", index, "measure", None, measure, &measures);
        }
        let whole = fields.measures.iter().filter(|(_, values)| values.is_whole());
        let own = ["dataset", "kind", "entity"];
        let dimensions: Vec<_> = fields
            .attributes
            .keys()
            .chain(whole.map(|(name, _)| name))
            .map(String::as_str)
            .chain(own)
            .collect();
        for (at, dimension) in metric.dimensions.iter().enumerate() {
            self.name("metrics", index, "dimensions", Some(at), dimension, &dimensions);
        }
    }

    fn window(&mut self, index: usize, window: &WindowSpec) {
        let Some(fields) = self.fields("windows", index, &window.dataset) else { return };
        let measures: BTreeSet<_> = fields.measures.keys().map(String::as_str).collect();
        let attributes: BTreeSet<_> = fields.attributes.keys().map(String::as_str).collect();
        let key = attributes.iter().copied().chain(["entity"]).collect();
        let counted = attributes.union(&measures).copied().collect();
        let rates = window.measures.iter().map(String::as_str).collect();
        let lists: [(&str, &[String], Vec<&str>); 4] = [
            ("key", &window.key, key),
            ("measures", &window.measures, measures.iter().copied().collect()),
            ("rate", &window.rate, rates),
            ("count_by", &window.count_by, counted),
        ];
        for (list, names, known) in lists {
            for (at, name) in names.iter().enumerate() {
                self.name("windows", index, list, Some(at), name, &known);
            }
        }
    }

    /// Reports `name`, which stands in a key of an entry, or in a list there, unless it is known.
    fn name(
        &mut self,
        list: &str,
        index: usize,
        key: &str,
        at: Option<usize>,
        name: &str,
        known: &[&str],
    ) {
        if known.contains(&name) {
            return;
        }
        let mut path = vec![Step::Key(list), Step::Index(index), Step::Key(key)];
        path.extend(at.map(Step::Index));
        let message = format!("{key} {name:?} is none of {}", known.join(", "));
        self.errors.push(self.places.error(&path, &message));
    }
}
