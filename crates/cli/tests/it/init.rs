//! `tributary init`, run as a process: from a sample to events, and rules that pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::stderr;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/init");

/// Empty folder of a test, in which commands run.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{name}", NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("init").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Creates a folder that holds a copy of a sample.
    fn with(sample: &str) -> Self {
        let folder = Self::new(sample);
        fs::copy(Path::new(SAMPLES).join(sample), folder.0.join(sample)).unwrap();
        folder
    }

    fn tributary(&self, arguments: &[&str]) -> Output {
        let command = env!("CARGO_BIN_EXE_tributary");
        Command::new(command).args(arguments).current_dir(&self.0).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    #[track_caller]
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.tributary(arguments);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{printed}{}", stderr(&output));
        printed
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.tributary(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
        stderr(&output)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// Checks that the sample becomes events without faults, and that its rule passes.
    #[track_caller]
    fn check(&self, sample: &str, rows: u64) -> Value {
        let run = self.printed(&["run", sample, "--config", "config", "--format", "json"]);
        let report: Value = serde_json::from_str(&run).unwrap();
        assert_eq!(
            (&report["rows"], &report["events"], &report["with_faults"]),
            (&rows.into(), &rows.into(), &0.into()),
            "{report}"
        );
        self.printed(&["rules", "check", "--config", "config"]);
        self.printed(&["rules", "test", "--config", "config"]);
        report
    }

    /// Returns every file below the folder, with its contents.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.0.clone()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }
}

#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|it| it.starts_with(line)), "{line}\n{text}");
    }
}

#[test]
fn weather_export_with_decimal_commas_runs() {
    let folder = Folder::with("weather.csv");
    let printed = folder.printed(&["init", "weather.csv"]);

    assert!(printed.contains("tributary run weather.csv --config config"), "{printed}");
    assert_has(
        &folder.read("config/datasets/weather.toml"),
        &[
            "entity = \"{station}\"",
            "decimal = \",\"",
            "formats = [\"%d.%m.%Y %H:%M\"]",
            "interval = \"10m\"",
            "temperatur_c = { from = \"Temperatur (°C)\", range = [-273.15, inf] }",
            "luftfeuchte_pct = { from = \"Luftfeuchte %\"",
            "missing = [\"NA\",",
        ],
    );
    let report = folder.check("weather.csv", 40);
    assert!(report["alerts"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn air_quality_feed_with_nested_ids_runs() {
    let folder = Folder::with("air-quality.jsonl");
    folder.printed(&["init", "air-quality.jsonl"]);

    assert_has(
        &folder.read("config/datasets/air-quality.toml"),
        &[
            "entity = \"{device_id}\"",
            "from = \"location\"",
            "pm25_ugm3 = { from = \"pm25_ugm3\", range = [0, inf] }",
            "no2_ppm = { from = \"no2_ppb\", unit = \"ppb\"",
            "calibrated = { flag = \"calibrated\" }",
        ],
    );
    folder.check("air-quality.jsonl", 54);
}

#[test]
fn ride_log_without_series_runs() {
    let folder = Folder::with("rides.csv");
    folder.printed(&["init", "rides.csv"]);

    assert_has(
        &folder.read("config/datasets/rides.toml"),
        &[
            "event_id = [\"entity\"]",
            "from = \"started_at\"",
            "ended_at_min = { from = \"ended_at\", as = \"elapsed\" }",
            "lat = \"start_lat\"",
            "end_lat_deg = { from = \"end_lat\", range = [-90, 90] }",
            "distance_km = { from = \"distance(mi)\", unit = \"mi\", range = [0, inf] }",
        ],
    );
    folder.check("rides.csv", 36);
}

#[test]
fn parking_array_runs() {
    let folder = Folder::with("parking.json");
    folder.printed(&["init", "parking.json"]);

    assert_has(
        &folder.read("config/datasets/parking.toml"),
        &["entity = \"{garage}\"", "interval = \"15m\"", "free_spaces = { from = \"free_spaces\""],
    );
    folder.check("parking.json", 42);
}

#[test]
fn preamble_and_units_in_header_run() {
    let folder = Folder::with("buoy.csv");
    let printed = folder.printed(&["init", "buoy.csv"]);

    let skipped = "buoy.csv: 2 lines are skipped before the header: Buoy ID, Time (UTC), ";
    assert!(printed.contains(skipped), "{printed}");
    assert_has(
        &folder.read("config/datasets/buoy.toml"),
        &[
            "entity = \"{buoy_id}\"",
            "water_temp_c = { from = \"Water Temp (°F)\", unit = \"F\"",
            "wave_height_m = { from = \"Wave Height (ft)\", unit = \"ft\" }",
            "wind_speed_kph = { from = \"Wind Speed [mph]\", unit = \"mph\", range = [0, inf] }",
        ],
    );
    folder.check("buoy.csv", 48);
}

#[test]
fn prices_without_key_need_key() {
    let folder = Folder::with("prices.csv");
    let error = folder.refused(&["init", "prices.csv"]);

    assert!(error.contains("no set of up to three columns identifies a row"), "{error}");
    assert!(error.contains("product") && error.contains("--key COLUMN"), "{error}");
    assert!(!folder.0.join("config").exists());

    folder.printed(&["init", "prices.csv", "--key", "product,market"]);
    assert_has(
        &folder.read("config/datasets/prices.toml"),
        &["entity = \"{product}/{market}\"", "event_id = [\"entity\", \"time\"]"],
    );
    folder.check("prices.csv", 144);
}

#[test]
fn second_run_changes_nothing() {
    let folder = Folder::new("twice");
    let sample = Path::new(SAMPLES).join("parking.json");
    let sample = sample.to_str().unwrap();
    folder.printed(&["init", sample]);
    let files = folder.files();

    let again = folder.printed(&["init", sample, "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["written"], Value::from([""; 0]));
    assert!(folder.files() == files);

    let schema = folder.0.join("config/datasets/parking.toml");
    fs::write(&schema, format!("{}\n", fs::read_to_string(&schema).unwrap())).unwrap();
    let error = folder.refused(&["init", sample]);
    assert!(error.contains("exists and differs; remove it or give --name"), "{error}");
}

#[test]
fn sample_of_known_dataset_is_refused() {
    let folder = Folder::with("buoy.csv");
    folder.printed(&["init", "buoy.csv", "--name", "buoys"]);
    let error = folder.refused(&["init", "buoy.csv", "--name", "harbour"]);
    assert!(error.contains("already of dataset \"buoys\""), "{error}");
}

#[test]
fn second_dataset_joins_first() {
    let folder = Folder::with("buoy.csv");
    let rides = Path::new(SAMPLES).join("rides.csv");
    folder.printed(&["init", "buoy.csv"]);
    folder.printed(&["init", rides.to_str().unwrap()]);
    folder.check("buoy.csv", 48);
}

#[test]
fn folder_of_other_name_holds_fixtures() {
    let folder = Folder::with("rides.csv");
    folder.printed(&["init", "rides.csv", "--config", "mine"]);
    assert!(folder.0.join("mine/fixtures/datasets/rides/valid.csv").exists());
    assert!(folder.0.join("mine/fixtures/rules/shipped").exists());
}

#[test]
fn senseless_file_gets_reason() {
    let folder = Folder::new("senseless");
    for (name, bytes, reason) in [
        ("empty.csv", &b""[..], "no header and no row"),
        ("image.csv", &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "image.csv: "),
        ("one.csv", b"value\n1\n2\n", "one column"),
        ("no-time.csv", b"sensor,value\na,1\na,2\n", "no column is a date or time"),
    ] {
        fs::write(folder.0.join(name), bytes).unwrap();
        let error = folder.refused(&["init", name]);
        assert!(error.contains(reason), "{name}: {error}");
    }
    assert!(!folder.0.join("config").exists());
}

#[test]
fn run_of_unknown_file_names_init() {
    let folder = Folder::with("rides.csv");
    let error = folder.refused(&["run", "rides.csv"]);
    assert!(error.trim_end().ends_with("tributary init rides.csv"), "{error}");
    fs::write(folder.0.join("wetter.csv"), b"Station;Zeit;Temperatur (\xb0C)\n").unwrap();
    let error = folder.refused(&["run", "wetter.csv"]);
    assert!(error.trim_end().ends_with("tributary init wetter.csv"), "{error}");
}

#[test]
fn row_limit_counts_for_each_file() {
    let folder = Folder::new("limit");
    let rows = |days: std::ops::Range<u32>, count: u32| {
        let row = |at: u32| {
            let (day, second) = (days.start + at / 86_400, at % 86_400);
            let (hour, minute) = (second / 3_600, second / 60 % 60);
            let clock = format!("{hour:02}:{minute:02}:{:02}", second % 60);
            format!("s,2025-11-{day:02} {clock},{}.5\n", at % 90)
        };
        format!("sensor,time,level_m\n{}", (0..count).map(row).collect::<String>())
    };
    fs::write(folder.0.join("a.csv"), rows(1..2, 10_000)).unwrap();
    fs::write(folder.0.join("b.csv"), rows(2..3, 10_001)).unwrap();

    let printed = folder.printed(&["init", "a.csv", "b.csv", "--format", "json"]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["rows"], 20_000);
    let checks = report["checks"].to_string();
    assert!(checks.contains("b.csv: only the first 10000 rows were read"), "{checks}");
    assert!(!checks.contains("a.csv: only"), "{checks}");
}

#[test]
fn files_of_other_dialect_are_refused() {
    let folder = Folder::new("dialects");
    let first = &b"name;time;level\nSued;2025-11-05 10:00;1,5\nSued;2025-11-05 11:00;2,5\n"[..];
    fs::write(folder.0.join("first.csv"), first).unwrap();
    for (name, bytes, reason) in [
        (
            "comma.csv",
            &b"name,time,level\nSued,2025-11-05 12:00,1\nSued,2025-11-05 13:00,2\n"[..],
            "delimiter ',': expected ';'",
        ),
        (
            "point.csv",
            b"name;time;level\nSued;2025-11-05 12:00;1.5\nSued;2025-11-05 13:00;2.5\n",
            "decimal mark '.': expected ','",
        ),
        (
            "latin.csv",
            b"name;time;level\nS\xfcd;2025-11-05 12:00;1,5\nS\xfcd;2025-11-05 13:00;2,5\n",
            "encoding windows-1252: expected UTF-8",
        ),
    ] {
        fs::write(folder.0.join(name), bytes).unwrap();
        let error = folder.refused(&["init", "first.csv", name]);
        assert!(error.contains(name) && error.contains(reason), "{error}");
    }
}

#[test]
fn first_broken_row_is_named() {
    let folder = Folder::new("broken");
    fs::write(folder.0.join("all.csv"), "sensor,time\n\"a\"x,2025\n\"b\"y,2025\n").unwrap();
    let error = folder.refused(&["init", "all.csv"]);
    assert!(error.contains("all.csv, row 1 at byte 12: "), "{error}");
    assert!(error.contains("the sample has no row"), "{error}");

    let rows: Vec<_> = (10..40).map(|at| format!("a,2025-11-05 12:{at},{at}.5\n")).collect();
    let text = format!("sensor,time,level_m\n{}\"a\"x,y,z\n", rows.concat());
    fs::write(folder.0.join("one.csv"), text).unwrap();
    let printed = folder.printed(&["init", "one.csv"]);
    assert!(printed.contains("1 rows of the sample cannot be read"), "{printed}");
    assert!(printed.contains("such as one.csv, row 31 at byte "), "{printed}");
}

#[test]
fn damaged_end_is_reported() {
    use std::io::Write as _;

    let folder = Folder::new("damaged");
    let row =
        |at: u32| format!("a,2025-11-05 {:02}:{:02},{}.5\n", at / 60, at % 60, at * 7919 % 90);
    let text = format!("sensor,time,level_m\n{}", (0..1_000).map(row).collect::<String>());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gzip.write_all(text.as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    fs::write(folder.0.join("cut.csv.gz"), &bytes[..bytes.len() - 2_000]).unwrap();

    let printed = folder.printed(&["init", "cut.csv.gz"]);
    assert!(printed.contains("cut.csv.gz: only the first "), "{printed}");
}

#[test]
fn example_with_taken_id_is_left_out() {
    let folder = Folder::with("buoy.csv");
    folder.printed(&["init", "buoy.csv"]);
    let text = folder.read("config/datasets/buoy.toml");
    let window = &text[text.find("[[windows]]").unwrap()..text.find("[[rules]]").unwrap()];
    fs::remove_dir_all(folder.0.join("config")).unwrap();
    fs::remove_dir_all(folder.0.join("fixtures")).unwrap();

    let rides = Path::new(SAMPLES).join("rides.csv");
    folder.printed(&["init", rides.to_str().unwrap()]);
    let taken = window.replace("[\"entity\"]", "[\"entity\"]\ndataset = \"rides\"");
    let measures = taken.find("measures = ").unwrap();
    let taken = format!("{}measures = []\n", &taken[..measures]);
    fs::write(folder.0.join("config/pipeline.toml"), taken).unwrap();
    let printed = folder.printed(&["init", "buoy.csv"]);
    assert!(printed.contains("the example of windows is left out: window buoy-6h"), "{printed}");
    folder.check("buoy.csv", 48);
}

#[test]
fn index_without_name_is_left_out() {
    let folder = Folder::new("index");
    let row = |at| format!("{at},a,2025-11-05 12:{at},{at}.5\n");
    let text = format!(",sensor,time,level_m\n{}", (10..40).map(row).collect::<String>());
    fs::write(folder.0.join("frame.csv"), text).unwrap();
    let printed = folder.printed(&["init", "frame.csv"]);
    assert!(printed.contains("column 1 has no name"), "{printed}");
    folder.check("frame.csv", 30);
}

#[test]
fn printed_commands_run_in_shell() {
    let folder = Folder::new("it's mine");
    let sample = fs::read(Path::new(SAMPLES).join("rides.csv")).unwrap();
    fs::write(folder.0.join("my rides (1).csv"), &sample).unwrap();
    let tributary = env!("CARGO_BIN_EXE_tributary");
    let shell = |line: &str| {
        let line = format!("tributary() {{ '{tributary}' \"$@\"; }}; {line}");
        let output =
            Command::new("sh").args(["-c", &line]).current_dir(&folder.0).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    for (line, rows) in [
        ("tributary init 'my rides (1).csv' --config 'a b' --format json", 36),
        ("tributary init - --name piped --format json < 'my rides (1).csv'", 20),
    ] {
        let report: Value = serde_json::from_str(&shell(line)).unwrap();
        for command in report["commands"].as_array().unwrap() {
            let printed = shell(command.as_str().unwrap());
            assert!(!printed.contains("rows") || printed.contains(&rows.to_string()), "{printed}");
        }
    }
}

#[test]
fn comments_before_header_are_reported() {
    let folder = Folder::new("comments");
    let row = |at| format!("a,2025-11-05 12:{at},{at}.5\n");
    let rows = (10..40).map(row).collect::<String>();
    fs::write(folder.0.join("c.csv"), format!("# station a\n# v 2\nsensor,time,level_m\n{rows}"))
        .unwrap();
    let printed = folder.printed(&["init", "c.csv"]);
    let skipped = "c.csv: 2 lines are skipped before the header: sensor, time, level_m";
    assert!(printed.contains(skipped), "{printed}");
    folder.check("c.csv", 30);
}

#[test]
fn header_in_comment_is_refused() {
    let folder = Folder::new("hash");
    let row = |at| format!("a,2025-11-05 12:{at},{at}.5\n");
    let rows = (10..40).map(row).collect::<String>();
    fs::write(folder.0.join("c.csv"), format!("# sensor,time,level_m\n{rows}")).unwrap();
    let error = folder.refused(&["init", "c.csv"]);
    assert!(error.contains("c.csv, behind 1 skipped lines: the header has the time "), "{error}");
}

#[test]
fn file_of_whole_numbers_fits_any() {
    let folder = Folder::new("whole");
    let rows = |day: u32, decimals: &str| {
        let row = |at| format!("a;2025-11-{day:02} 12:{at};{at}{decimals}\n");
        format!("sensor;time;level_m\n{}", (10..40).map(row).collect::<String>())
    };
    fs::write(folder.0.join("whole.csv"), rows(1, "")).unwrap();
    fs::write(folder.0.join("comma.csv"), rows(2, ",5")).unwrap();
    for files in [["whole.csv", "comma.csv"], ["comma.csv", "whole.csv"]] {
        folder.printed(&["init", files[0], files[1], "--name", "levels", "--config", "c"]);
        let schema = folder.read("c/datasets/levels.toml");
        fs::remove_dir_all(folder.0.join("c")).unwrap();
        assert!(schema.contains("decimal = \",\""), "{schema}");
    }
}
