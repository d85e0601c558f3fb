//! Selects the dataset of a header, or of the fields of a first line.

use std::borrow::Cow;

use super::{ALL, Dataset, names};
use tributary_model::bad_row::{Code, Rejection, shown};

/// Maximum columns that a message names.
const MAX_SHOWN: usize = 5;

/// Advice for a file whose columns do not identify its dataset.
const HINT: &str =
    "--dataset NAME says which it is, and so does a folder of that name in the bucket";

/// Required columns, each with its alternative names.
type Required = &'static [&'static [&'static str]];

/// Returns the dataset of `columns`: `named` if given and complete, else the dataset whose required
/// columns are all present. Of several, the one with the most required columns wins.
///
/// # Errors
///
/// [`Code::MissingColumn`] if a column of `named`, or of the nearest dataset, is missing;
/// [`Code::UnknownDataset`] if the columns fit no dataset, or several equally.
pub(crate) fn of_columns(
    named: Option<&'static dyn Dataset>,
    columns: &[&str],
) -> Result<&'static dyn Dataset, Rejection> {
    if let Some(dataset) = named {
        if lacking(dataset.required_columns(), columns).is_empty() {
            return Ok(dataset);
        }
        let requires = requires(dataset, dataset.required_columns(), columns);
        return Err(Rejection::row(Code::MissingColumn, requires));
    }
    let required = <dyn Dataset>::required_columns;
    best(required, columns)?.ok_or_else(|| unknown(required, columns, "columns"))
}

/// Returns the dataset of the first line of JSON Lines with these fields, if nothing else names it.
/// Works as [`of_columns`], but an absent field counts as empty, so only the required fields of a
/// row must be present.
///
/// # Errors
///
/// See [`of_columns`].
pub(crate) fn of_fields(fields: &[&str]) -> Result<&'static dyn Dataset, Rejection> {
    if let Some(dataset) = best(<dyn Dataset>::required_columns, fields)? {
        return Ok(dataset);
    }
    let required = <dyn Dataset>::required_fields;
    best(required, fields)?.ok_or_else(|| unknown(required, fields, "fields"))
}

/// The dataset of which all that is `required` is there; of several, the most demanding.
fn best(
    required: fn(&'static dyn Dataset) -> Required,
    columns: &[&str],
) -> Result<Option<&'static dyn Dataset>, Rejection> {
    let fits = || {
        let all = ALL.iter().copied();
        all.filter(|&dataset| lacking(required(dataset), columns).is_empty())
    };
    let max = fits().map(|dataset| required(dataset).len()).max();
    let best: Vec<_> = fits().filter(|&dataset| Some(required(dataset).len()) == max).collect();
    if best.len() > 1 {
        let fitting: Vec<_> = best.iter().map(|dataset| dataset.name()).collect();
        let message = format!("the columns fit {}: {HINT}", fitting.join(" and "));
        return Err(Rejection::row(Code::UnknownDataset, message));
    }
    Ok(best.first().copied())
}

/// Returns the required columns that `columns` lacks.
fn lacking(required: Required, columns: &[&str]) -> Vec<&'static [&'static str]> {
    let required = required.iter().copied();
    required.filter(|names| !names.iter().any(|name| columns.contains(name))).collect()
}

/// `telemetry requires sensor_id or device_id, timestamp`, of what is not there.
fn requires(dataset: &dyn Dataset, required: Required, columns: &[&str]) -> String {
    let missing = lacking(required, columns);
    let missing: Vec<_> = missing.iter().map(|names| names.join(" or ")).collect();
    format!("{} requires {}", dataset.name(), missing.join(", "))
}

/// Columns, or `what` else, that are no dataset's. Where most of what one requires is there, what it
/// lacks is likelier a mistake in the file than a dataset nobody knows.
fn unknown(
    required: fn(&'static dyn Dataset) -> Required,
    columns: &[&str],
    what: &str,
) -> Rejection {
    let lacks = |dataset: &'static dyn Dataset| lacking(required(dataset), columns).len();
    let nearly = |dataset: &'static dyn Dataset| 2 * lacks(dataset) < required(dataset).len();
    let near = ALL.iter().copied().filter(|&dataset| nearly(dataset));
    if let Some(fewest) = near.clone().map(lacks).min() {
        let nearest = near.filter(|&dataset| lacks(dataset) == fewest);
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
    let message = format!("{has}; there are {}: {HINT}", names());
    Rejection::row(Code::UnknownDataset, message)
}

/// A column as a message names it: as it is, unless it is none that anybody would give.
fn named(column: &str) -> Cow<'_, str> {
    const MAX_CHARS: usize = 64;
    let is_plain = column.len() <= MAX_CHARS && !column.contains(char::is_control);
    if is_plain { Cow::Borrowed(column) } else { Cow::Owned(shown(column)) }
}

#[cfg(test)]
mod tests {
    use super::super::by_name;
    use super::*;

    fn of(header: &str) -> Result<&'static str, (Code, String)> {
        let columns: Vec<_> = header.split(',').collect();
        of_columns(None, &columns)
            .map(Dataset::name)
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
            assert_eq!(of(header), Ok(dataset), "{header}");
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
                "Device_ID,timestamp,temperature,humidity",
                "telemetry requires sensor_id or device_id",
            ),
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
        let names = names();
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
            of_fields(&fields)
                .map(Dataset::name)
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
            assert_eq!(of(fields), Ok(dataset), "{fields}");
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
    fn row_requires_every_required_field() {
        let value = |name: &str| match name {
            "timestamp" => "\"2026-11-20T10:00:00Z\"",
            "status" => "\"ok\"",
            _ => "1",
        };
        for name in ["flood", "telemetry"] {
            let dataset = by_name(name).unwrap();
            let required = dataset.required_fields();
            let row = |without: Option<usize>, other: usize| {
                let fields = required.iter().enumerate().filter(|(at, _)| Some(*at) != without);
                let fields: Vec<_> = fields
                    .map(|(_, names)| names[other % names.len()])
                    .map(|name| format!("\"{name}\":{}", value(name)))
                    .collect();
                format!("{{{}}}", fields.join(","))
            };
            for other in 0..4 {
                let whole = row(None, other);
                assert!(dataset.event(&whole, None).is_ok(), "{whole}");
                for without in 0..required.len() {
                    let part = row(Some(without), other);
                    let rejection = dataset.event(&part, None).unwrap_err();
                    assert_eq!(rejection.code, Code::MissingField, "{part}");
                }
            }
        }
    }

    #[test]
    fn a_named_dataset_needs_its_own_columns_only() {
        let flood = by_name("flood");
        let both = ["sensor_id", "location", "water_level", "timestamp", "temperature", "humidity"];

        assert_eq!(of_columns(flood, &both).map(Dataset::name), Ok("flood"));
        let rejection = of_columns(flood, &both[..2]).map(Dataset::name).unwrap_err();
        assert_eq!(rejection.message, "flood requires water_level, timestamp");
    }

    #[test]
    fn no_dataset_takes_the_files_of_another() {
        for one in ALL {
            let columns: Vec<_> = one.required_columns().iter().map(|names| names[0]).collect();
            assert_eq!(of_columns(None, &columns).map(Dataset::name), Ok(one.name()));
        }
    }
}
