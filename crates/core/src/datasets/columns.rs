//! Which dataset a header, or the fields of a first line, are of.

use std::borrow::Cow;

use super::{ALL, Dataset, names};
use crate::bad_row::{Code, Rejection, shown};

/// How many columns a message names.
const SHOWN: usize = 5;

/// The dataset of `columns`: `named` where that is known and has all it requires, else the one whose
/// required columns are all there; of several, the most demanding.
///
/// # Errors
///
/// [`Code::MissingColumn`] where a column of `named`, or of what is nearly a dataset, is not there;
/// [`Code::UnknownDataset`] where the columns are of no dataset, or of more than one alike.
pub(crate) fn of_columns(
    named: Option<&'static dyn Dataset>,
    columns: &[&str],
) -> Result<&'static dyn Dataset, Rejection> {
    if let Some(dataset) = named {
        if lacking(dataset, columns).is_empty() {
            return Ok(dataset);
        }
        return Err(Rejection::row(Code::MissingColumn, requires(dataset, columns)));
    }
    let fits = ALL.iter().copied().filter(|&dataset| lacking(dataset, columns).is_empty());
    let most = fits.clone().map(|dataset| dataset.required_columns().len()).max();
    let best: Vec<_> =
        fits.filter(|dataset| Some(dataset.required_columns().len()) == most).collect();
    match best[..] {
        [dataset] => Ok(dataset),
        [] => Err(unknown(columns)),
        _ => {
            let fitting: Vec<_> = best.iter().map(|dataset| dataset.name()).collect();
            let message = format!("the columns fit {}: say which it is", fitting.join(" and "));
            Err(Rejection::row(Code::UnknownDataset, message))
        }
    }
}

/// The requirements of `dataset` of which no name is in `columns`.
fn lacking(dataset: &dyn Dataset, columns: &[&str]) -> Vec<&'static [&'static str]> {
    let required = dataset.required_columns().iter().copied();
    required.filter(|names| !names.iter().any(|name| columns.contains(name))).collect()
}

/// `telemetry requires sensor_id or device_id, timestamp`, of what is not there.
fn requires(dataset: &dyn Dataset, columns: &[&str]) -> String {
    let missing = lacking(dataset, columns);
    let missing: Vec<_> = missing.iter().map(|names| names.join(" or ")).collect();
    format!("{} requires {}", dataset.name(), missing.join(", "))
}

/// Columns that are no dataset's. Where most of what one requires is there, what it lacks is likelier
/// a mistake in the file than a dataset nobody knows.
fn unknown(columns: &[&str]) -> Rejection {
    let lacks = |dataset: &dyn Dataset| lacking(dataset, columns).len();
    let nearly = |dataset: &dyn Dataset| 2 * lacks(dataset) < dataset.required_columns().len();
    let near = ALL.iter().copied().filter(|&dataset| nearly(dataset));
    if let Some(fewest) = near.clone().map(lacks).min() {
        let nearest = near.filter(|&dataset| lacks(dataset) == fewest);
        let messages: Vec<_> = nearest.map(|dataset| requires(dataset, columns)).collect();
        return Rejection::row(Code::MissingColumn, messages.join("; "));
    }
    let mut seen =
        columns.iter().take(SHOWN).map(|name| named(name)).collect::<Vec<_>>().join(", ");
    if columns.len() > SHOWN {
        seen.push_str(", …");
    }
    let message = format!("no dataset has the columns {seen}; there are {}", names());
    Rejection::row(Code::UnknownDataset, message)
}

/// A column as a message names it: as it is, unless it is none that anybody would give.
fn named(column: &str) -> Cow<'_, str> {
    const LONGEST: usize = 64;
    let is_plain = column.len() <= LONGEST && !column.contains(char::is_control);
    if is_plain { Cow::Borrowed(column) } else { Cow::Owned(shown(column)) }
}

#[cfg(test)]
mod tests {
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
    fn a_header_that_is_nearly_a_dataset_is_told_what_it_lacks() {
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
    fn columns_of_no_dataset_are_named_with_the_datasets_there_are() {
        let names = names();
        let message =
            format!("no dataset has the columns sensor_id, a, b, c, d, …; there are {names}");

        assert_eq!(of("sensor_id,a,b,c,d,e"), Err((Code::UnknownDataset, message)));
    }

    #[test]
    fn a_column_of_any_length_makes_a_short_message_on_one_line() {
        let (_, message) = of(&format!("{},a\nb", "x".repeat(60_000))).unwrap_err();

        let long = "x".repeat(64);
        let start = format!("no dataset has the columns \"{long}\"…, \"a\\nb\"; there are ");
        assert!(message.starts_with(&start), "{message}");
    }

    #[test]
    fn columns_of_two_datasets_are_not_guessed_at() {
        let header = "sensor_id,location,water_level,timestamp,temperature,humidity";
        let message = "the columns fit flood and telemetry: say which it is";

        assert_eq!(of(header), Err((Code::UnknownDataset, message.to_owned())));
    }

    #[test]
    fn a_named_dataset_needs_its_own_columns_only() {
        let flood = super::super::by_name("flood");
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
