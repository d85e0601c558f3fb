//! Selects the dataset of a header, or of the fields of a first line.

use std::borrow::Cow;
use std::sync::Arc;

use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::config_error::ConfigError;

use crate::{Dataset, Datasets};

/// Maximum columns that a message names.
const MAX_SHOWN: usize = 5;

/// Advice for a file whose columns do not identify its dataset.
const HINT: &str =
    "--dataset NAME says which it is, and so does a folder of that name in the bucket";

/// Required columns of a dataset, each with its alternative names.
type Required = fn(&Dataset) -> &[Vec<String>];

/// Returns the dataset of `columns`: `named` if given and complete, else the dataset whose required
/// columns are all present. Of several, the one with the most required columns wins.
///
/// # Errors
///
/// [`Code::MissingColumn`] if a column of `named`, or of the nearest dataset, is missing;
/// [`Code::UnknownDataset`] if the columns fit no dataset, or several equally.
pub(crate) fn of_columns(
    datasets: &Datasets,
    named: Option<&Arc<Dataset>>,
    columns: &[&str],
) -> Result<Arc<Dataset>, Rejection> {
    let required = Dataset::required_columns;
    if let Some(dataset) = named {
        if lacking(required(dataset), columns).is_empty() {
            return Ok(Arc::clone(dataset));
        }
        let message = requires(dataset, required(dataset), columns);
        return Err(Rejection::row(Code::MissingColumn, message));
    }
    best(datasets, required, columns)?
        .ok_or_else(|| unknown(datasets, required, columns, "columns"))
}

/// Returns the dataset of the first line of JSON Lines with these fields, if nothing else names it.
/// Works as [`of_columns`], but an absent field counts as empty, so only the required fields of a
/// row must be present.
///
/// # Errors
///
/// See [`of_columns`].
pub(crate) fn of_fields(datasets: &Datasets, fields: &[&str]) -> Result<Arc<Dataset>, Rejection> {
    if let Some(dataset) = best(datasets, Dataset::required_columns, fields)? {
        return Ok(dataset);
    }
    let required = Dataset::required_fields;
    best(datasets, required, fields)?.ok_or_else(|| unknown(datasets, required, fields, "fields"))
}

/// Checks that no two datasets require the same columns: nothing would tell their files apart.
///
/// # Errors
///
/// Names both datasets.
pub(crate) fn check_distinct(datasets: &Datasets) -> Result<(), ConfigError> {
    let sorted = |dataset: &Dataset| {
        let mut columns = dataset.required_columns().to_vec();
        columns.sort();
        columns
    };
    for (at, dataset) in datasets.iter().enumerate() {
        let same = |other: &&Arc<Dataset>| sorted(other) == sorted(dataset);
        if let Some(other) = datasets.iter().take(at).find(same) {
            let message = format!(
                "has the same required columns as {}, so a header would fit both: add columns to `header`",
                other.name()
            );
            return Err(ConfigError::new(format!("datasets/{}.toml", dataset.name()), message));
        }
    }
    Ok(())
}

/// Returns the dataset of which all that is `required` is present; of several, the one that
/// requires most.
fn best(
    datasets: &Datasets,
    required: Required,
    columns: &[&str],
) -> Result<Option<Arc<Dataset>>, Rejection> {
    let fits = || datasets.iter().filter(|&dataset| lacking(required(dataset), columns).is_empty());
    let max = fits().map(|dataset| required(dataset).len()).max();
    let best: Vec<_> = fits().filter(|&dataset| Some(required(dataset).len()) == max).collect();
    if best.len() > 1 {
        let fitting: Vec<_> = best.iter().map(|dataset| dataset.name()).collect();
        let message = format!("the columns fit {}: {HINT}", fitting.join(" and "));
        return Err(Rejection::row(Code::UnknownDataset, message));
    }
    Ok(best.first().map(|&dataset| Arc::clone(dataset)))
}

/// Returns the required columns that `columns` lacks, in any case and without outer blanks.
fn lacking<'d>(required: &'d [Vec<String>], columns: &[&str]) -> Vec<&'d [String]> {
    let is_there = |name: &String| {
        let path = name.split_once('.').map(|(first, _)| first);
        let is = |column: &&str| {
            let column = column.trim();
            let folded = |name: &str| name.to_lowercase() == column.to_lowercase();
            folded(name) || path.is_some_and(folded)
        };
        columns.iter().any(is)
    };
    let lacks = |names: &&Vec<String>| !names.iter().any(is_there);
    required.iter().filter(lacks).map(Vec::as_slice).collect()
}

/// Returns `telemetry requires sensor_id or device_id, timestamp`: the required columns that are
/// absent.
fn requires(dataset: &Dataset, required: &[Vec<String>], columns: &[&str]) -> String {
    let missing = lacking(required, columns);
    let missing: Vec<_> = missing.iter().map(|names| names.join(" or ")).collect();
    format!("{} requires {}", dataset.name(), missing.join(", "))
}

/// Returns the rejection of columns, or `what` else, of no dataset. If most required columns of one
/// are present, the file more likely lacks a column than belongs to an unknown dataset.
fn unknown(datasets: &Datasets, required: Required, columns: &[&str], what: &str) -> Rejection {
    let lacks = |dataset: &Dataset| lacking(required(dataset), columns).len();
    let nearly = |dataset: &Dataset| 2 * lacks(dataset) < required(dataset).len();
    let near: Vec<_> = datasets.iter().filter(|dataset| nearly(dataset)).collect();
    if let Some(fewest) = near.iter().map(|dataset| lacks(dataset)).min() {
        let nearest = near.iter().filter(|dataset| lacks(dataset) == fewest);
        let messages: Vec<_> =
            nearest.map(|dataset| requires(dataset, required(dataset), columns)).collect();
        return Rejection::row(Code::MissingColumn, messages.join("; "));
    }
    let mut seen =
        columns.iter().take(MAX_SHOWN).map(|name| named(name)).collect::<Vec<_>>().join(", ");
    if columns.len() > MAX_SHOWN {
        seen.push_str(", …");
    }
    let has = match columns {
        [] => format!("there are no {what}"),
        _ => format!("no dataset has the {what} {seen}"),
    };
    let message = format!("{has}; there are {}: {HINT}", datasets.names());
    Rejection::row(Code::UnknownDataset, message)
}

/// Returns a column as a message names it: unchanged, unless it is long or has control characters.
fn named(column: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 64;
    let is_plain = column.len() <= MAX_CHARS && !column.contains(char::is_control);
    if is_plain { Cow::Borrowed(column) } else { Cow::Owned(shown(column)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shipped;

    fn of(header: &str) -> Result<String, (Code, String)> {
        let columns: Vec<_> = header.split(',').collect();
        of_columns(&shipped(), None, &columns)
            .map(|dataset| dataset.name().to_owned())
            .map_err(|rejection| (rejection.code, rejection.message))
    }

    #[test]
    fn each_header_is_of_its_dataset() {
        for (header, dataset) in [
            ("ID,Severity,Start_Time,Start_Lat,Start_Lng,State", "accidents"),
            ("sensor_id,location,water_level,timestamp", "flood"),
            ("timestamp,unit,water_level,sensor_id,location", "flood"),
            ("sensor_id,timestamp,temperature,humidity,pressure,location,status", "telemetry"),
            ("device_id,timestamp,temperature,humidity,status", "telemetry"),
            ("sensor_id,device_id,timestamp,temperature,humidity", "telemetry"),
            ("date,county,state,fips,cases,deaths", "covid"),
            ("date,county,state,cases", "covid"),
        ] {
            assert_eq!(of(header).as_deref(), Ok(dataset), "{header}");
        }
    }

    #[test]
    fn near_miss_header_names_missing_columns() {
        for (header, message) in [
            ("ID,Severity,Start_Time,Start_Lat,Start_Lng", "accidents requires State"),
            ("sensor_id,location,timestamp", "flood requires water_level"),
            ("device_id,location,water_level,timestamp", "flood requires sensor_id"),
            ("timestamp,temperature,humidity,status", "telemetry requires sensor_id or device_id"),
            ("device_id,timestamp,temperature", "telemetry requires humidity"),
            (
                "sensor_id,location,timestamp,temperature",
                "flood requires water_level; telemetry requires humidity",
            ),
            ("date,state,fips,cases,deaths", "covid requires county"),
        ] {
            assert_eq!(of(header), Err((Code::MissingColumn, message.to_owned())), "{header}");
        }
    }

    #[test]
    fn unknown_columns_are_listed_with_known_datasets() {
        let names = shipped().names();
        let message = format!(
            "no dataset has the columns sensor_id, a, b, c, d, …; there are {names}: {HINT}"
        );

        assert_eq!(of("sensor_id,a,b,c,d,e"), Err((Code::UnknownDataset, message)));
    }

    #[test]
    fn long_column_is_cut_in_message() {
        let (_, message) = of(&format!("{},a\nb", "x".repeat(60_000))).unwrap_err();

        let long = "x".repeat(64);
        let start = format!("no dataset has the columns \"{long}\"…, \"a\\nb\"; there are ");
        assert!(message.starts_with(&start), "{message}");
    }

    #[test]
    fn columns_of_two_datasets_are_not_guessed_at() {
        let header = "sensor_id,location,water_level,timestamp,temperature,humidity";
        let message = format!("the columns fit flood and telemetry: {HINT}");

        assert_eq!(of(header), Err((Code::UnknownDataset, message)));
    }

    #[test]
    fn json_fields_need_only_required_fields() {
        let of = |fields: &str| {
            let fields: Vec<_> = fields.split(',').filter(|name| !name.is_empty()).collect();
            of_fields(&shipped(), &fields)
                .map(|dataset| dataset.name().to_owned())
                .map_err(|rejection| (rejection.code, rejection.message))
        };

        for (fields, dataset) in [
            ("sensor_id,timestamp,water_level", "flood"),
            ("sensor_id,timestamp,water_level,location,status", "flood"),
            ("device_id,timestamp,temperature", "telemetry"),
            ("sensor_id,timestamp,status", "telemetry"),
            ("sensor_id,timestamp,pressure,location", "telemetry"),
            ("date,county,state,cases", "covid"),
        ] {
            assert_eq!(of(fields).as_deref(), Ok(dataset), "{fields}");
        }
        for (fields, code, message) in [
            (
                "sensor_id,timestamp",
                Code::MissingColumn,
                "flood requires water_level; telemetry requires temperature or humidity or \
                 pressure or status",
            ),
            ("timestamp,water_level", Code::MissingColumn, "flood requires sensor_id"),
            (
                "sensor_id,timestamp,water_level,temperature",
                Code::UnknownDataset,
                "the columns fit flood and telemetry: --dataset NAME says which it is",
            ),
            ("a,b", Code::UnknownDataset, "no dataset has the fields a, b; there are accidents"),
            ("", Code::UnknownDataset, "there are no fields; there are accidents"),
        ] {
            let (found, said) = of(fields).unwrap_err();
            assert_eq!(found, code, "{fields}");
            assert!(said.starts_with(message), "{fields}: {said}");
        }
    }

    #[test]
    fn named_dataset_needs_own_columns_only() {
        let datasets = shipped();
        let flood = datasets.by_name("flood");
        let both = ["sensor_id", "location", "water_level", "timestamp", "temperature", "humidity"];

        assert_eq!(of_columns(&datasets, flood, &both).unwrap().name(), "flood");
        let rejection = of_columns(&datasets, flood, &both[..2]).unwrap_err();
        assert_eq!(rejection.message, "flood requires timestamp, water_level");
    }

    #[test]
    fn header_of_each_dataset_selects_it() {
        let datasets = shipped();
        for one in datasets.iter() {
            let columns: Vec<_> = one.required_columns().iter().map(|it| it[0].as_str()).collect();
            let found = of_columns(&datasets, None, &columns).unwrap();
            assert_eq!(found.name(), one.name());
            let upper: Vec<_> =
                columns.iter().map(|it| format!(" {} ", it.to_uppercase())).collect();
            let upper: Vec<_> = upper.iter().map(String::as_str).collect();
            assert_eq!(of_columns(&datasets, None, &upper).unwrap().name(), one.name());
        }
    }
}
