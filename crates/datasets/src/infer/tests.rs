use super::*;
use crate::{Dataset, LookupFiles};

fn json(rows: &[String]) -> Sample {
    let mut sample = Sample::new(SampleFile { name: "sample".to_owned(), ..Default::default() });
    for row in rows {
        sample.add(row);
    }
    sample
}

/// Returns rows of `count` readings, made by `row` of the number of the reading.
fn rows(count: usize, row: impl Fn(usize) -> String) -> Sample {
    json(&(0..count).map(row).collect::<Vec<_>>())
}

fn inferred(sample: &Sample) -> Inferred {
    let inferred = infer("sample", sample, &Hints::default()).unwrap();
    let compiled = Dataset::compile("sample", &inferred.text(), &LookupFiles::new());
    assert!(compiled.is_ok(), "{:?}\n{}", compiled.err(), inferred.text());
    inferred
}

fn unclear(sample: &Sample) -> Unclear {
    infer("sample", sample, &Hints::default()).unwrap_err()
}

#[track_caller]
fn assert_line(inferred: &Inferred, line: &str) {
    assert!(inferred.text().lines().any(|it| it.starts_with(line)), "{line}\n{}", inferred.text());
}

#[track_caller]
fn assert_check(inferred: &Inferred, part: &str) {
    assert!(inferred.checks.iter().any(|it| it.contains(part)), "{part}\n{:?}", inferred.checks);
}

fn reading(at: usize) -> String {
    let (sensor, minute) = (at % 2, at / 2);
    format!(
        r#"{{"sensor":"s{sensor}","time":"2025-11-05T12:{minute:02}:00Z","temp_f":{minute}.5}}"#
    )
}

#[test]
fn readings_of_sensors_have_series() {
    let inferred = inferred(&rows(40, reading));

    assert_line(&inferred, "entity = \"{sensor}\"");
    assert_line(&inferred, "event_id = [\"entity\", \"time\"]");
    assert_line(&inferred, "interval = \"1m\"");
    assert_line(&inferred, "temp_c = { from = \"temp_f\", unit = \"F\", range = [-273.15, inf] }");
    assert_line(&inferred, "size = \"5m\"");
    assert_eq!(inferred.rule.as_deref(), Some("sample-high-temp-c"));
}

#[test]
fn nested_objects_become_dotted_columns() {
    let sample = rows(40, |at| {
        let (id, minute) = (at % 2, at / 2);
        format!(
            r#"{{"device":{{"id":"d{id}"}},"at":{{"lat":1,"lon":2}},"ts":"2025-11-05T12:{minute:02}:00Z","v":{at},"w":[1]}}"#
        )
    });
    let inferred = inferred(&sample);

    assert_line(&inferred, "partition = [\"device.id\"]");
    assert_line(&inferred, "device_id = { from = \"device.id\", required = true }");
    assert_line(&inferred, "from = \"at\"");
    assert_check(&inferred, "w holds arrays");
}

#[test]
fn column_makes_key_unique() {
    let sample = rows(60, |at| {
        let (depth, minute) = (["top", "mid", "low"][at % 3], at / 3);
        format!(
            r#"{{"buoy":"b","depth":"{depth}","time":"2025-11-05T12:{minute:02}:00Z","x":{at}}}"#
        )
    });
    assert_line(&inferred(&sample), "event_id = [\"entity\", \"time\", \"depth\"]");
}

#[test]
fn unique_id_is_key_alone() {
    let sample = rows(40, |at| {
        format!(
            r#"{{"id":"r{at}","start":"2025-11-05T12:{at:02}:00Z","end":"2025-11-05T13:{at:02}:00Z"}}"#
        )
    });
    let inferred = inferred(&sample);

    assert_line(&inferred, "event_id = [\"entity\"]");
    assert_line(&inferred, "end = { from = \"end\", as = \"time\" }");
    assert_line(&inferred, "end_min = { from = \"end\", as = \"elapsed\" }");
}

#[test]
fn rows_without_key_are_not_guessed() {
    let row = |at: usize| {
        let (day, product) = (at / 8 + 1, ["a", "b"][at % 2]);
        format!(r#"{{"date":"2025-11-{day:02}","product":"{product}","price":{at}.5}}"#)
    };
    let sample = rows(48, row);
    assert!(matches!(unclear(&sample), Unclear::NoKey(tried) if tried == ["product"]));

    let hints = Hints { key: vec!["product".to_owned()], ..Hints::default() };
    let inferred = infer("sample", &sample, &hints).unwrap();
    assert_line(&inferred, "event_id = [\"entity\", \"time\"]");
    assert_check(&inferred, "have the key of another row");
}

#[test]
fn sample_without_time_is_refused() {
    let row = |at: usize| format!(r#"{{"sensor":"s","value":{at}}}"#);
    assert!(matches!(unclear(&rows(40, row)), Unclear::NoTime(_)));
    assert_eq!(unclear(&rows(0, row)), Unclear::Empty);
    let one = |at: usize| format!(r#"{{"value":{at}}}"#);
    assert_eq!(unclear(&rows(4, one)), Unclear::OneColumn("value".to_owned()));
}

#[test]
fn named_time_must_hold_times() {
    let hints = Hints { time: Some("temp_f".to_owned()), ..Hints::default() };
    let refused = infer("sample", &rows(4, reading), &hints).unwrap_err();
    assert!(matches!(refused, Unclear::NotTime(..)));

    let hints = Hints { time: Some("clock".to_owned()), ..Hints::default() };
    let refused = infer("sample", &rows(4, reading), &hints).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "there is no column \"clock\": expected one of sensor, time, temp_f"
    );
}

#[test]
fn exact_copies_keep_key_unique() {
    let mut readings: Vec<_> = (0..40).map(reading).collect();
    readings.push(reading(0));
    let inferred = inferred(&json(&readings));

    assert_line(&inferred, "event_id = [\"entity\", \"time\"]");
    assert_check(&inferred, "1 rows are exact copies");
}

#[test]
fn closed_list_becomes_words() {
    let sample = rows(40, |at| {
        let state = ["ok", "low"][usize::from(at % 10 == 0)];
        reading(at).replace('}', &format!(r#","state":"{state}","on":true}}"#))
    });
    let inferred = inferred(&sample);

    assert_line(&inferred, "state = { from = \"state\", otherwise = \"other\", words = { low =");
    assert_line(&inferred, "on = { flag = \"on\" }");
    assert_line(&inferred, "dimensions = [\"state\"]");
}

#[test]
fn sentinels_are_declared_with_defaults() {
    let sample = rows(40, |at| {
        let value = if at == 7 { "-999".to_owned() } else { format!("{at}.5") };
        reading(at).replace('}', &format!(r#","flow":{value}}}"#))
    });
    let inferred = inferred(&sample);
    assert_line(&inferred, r#"missing = ["NA", "N/A", "NULL", '\N', "NaN", "None", "-", "-999"]"#);
}

#[test]
fn rule_without_measure_takes_rarest_value() {
    let sample = rows(40, |at| {
        let state = ["ok", "low"][usize::from(at % 10 == 0)];
        let (sensor, minute) = (at % 2, at / 2);
        format!(
            r#"{{"sensor":"s{sensor}","time":"2025-11-05T12:{minute:02}:00Z","state":"{state}"}}"#
        )
    });
    let inferred = inferred(&sample);
    assert_line(&inferred, "when = 'event.attributes.state == \"low\"'");
}

#[test]
fn list_of_odd_words_compiles() {
    let sample = rows(40, |at| {
        let word = [r#"two \"words\""#, r"a \\ b", "ä"][at % 3];
        reading(at).replace('}', &format!(r#","word":"{word}"}}"#))
    });
    assert_line(&inferred(&sample), "word = { from = \"word\", otherwise = \"other\"");
}

#[test]
fn date_and_clock_in_two_columns_are_refused() {
    let sample = rows(48, |at| {
        let (sensor, hour, day) = (at % 2, at / 2 % 6, at / 12 + 1);
        format!(
            r#"{{"sensor":"s{sensor}","date":"2025-11-0{day}","clock":"{hour:02}:00","v":{at}}}"#
        )
    });
    let refused = Unclear::SplitTime("date".to_owned(), "clock".to_owned());
    assert_eq!(unclear(&sample), refused);
}

#[test]
fn numbers_with_grouped_digits_are_no_key() {
    let sample = rows(40, |at| {
        format!(r#"{{"time":"2025-11-05T12:{at:02}:00Z","energy":"{}.000,5"}}"#, at % 4 + 1)
    });
    assert_eq!(unclear(&sample), Unclear::NoKey(Vec::new()));
}

#[test]
fn few_bad_values_do_not_hide_key() {
    let sample = rows(60, |at| {
        let id = if at == 7 { "" } else { "r" };
        let (lat, humidity) = if at == 9 { (95, 400) } else { (52, 40 + at % 9) };
        let id = if id.is_empty() { String::new() } else { format!("{id}{at}") };
        format!(
            r#"{{"id":"{id}","start":"2025-11-05T12:{at:02}:00Z","lat":{lat},"lon":13,"humidity_pct":{humidity}}}"#
        )
    });
    let inferred = inferred(&sample);

    assert_line(&inferred, "entity = \"{id}\"");
    assert_line(&inferred, "lat = \"lat\"");
    assert_line(
        &inferred,
        "humidity_pct = { from = \"humidity_pct\", type = \"integer\", range = [0, 100] }",
    );
    assert_check(&inferred, "1 values are beyond");
    assert_check(&inferred, "id is empty in 1 rows");
}

#[test]
fn nitric_oxide_is_no_entity() {
    let sample = rows(60, |at| {
        let (station, hour, no) = (["a", "b", "c"][at % 3], at / 3, 2 + at % 4);
        format!(
            r#"{{"NO":{no},"batch_no":{},"station":"{station}","time":"2025-11-05T{hour:02}:00:00Z"}}"#,
            at / 6
        )
    });
    let inferred = inferred(&sample);

    assert_line(&inferred, "entity = \"{station}\"");
    assert_line(&inferred, "event_id = [\"entity\", \"time\"]");
    assert_line(&inferred, "no = { from = \"NO\", type = \"integer\"");
    assert_eq!(["no", "Key", "mac", "station_no"].map(keys::rank), [None, None, None, Some(0)]);
}

#[test]
fn row_number_is_no_key_alone() {
    let row = |at: usize| {
        format!(r#"{{"id":{},"time":"2025-11-05T12:{:02}:00Z","level_m":{at}.5}}"#, at + 1, at / 3)
    };
    let alone = inferred(&rows(40, row));
    assert_line(&alone, "event_id = [\"entity\", \"time\"]");
    assert_check(&alone, "id counts the rows");

    let of_pumps = |at: usize| row(at).replace('}', &format!(r#","pump_name":"p{}"}}"#, at % 3));
    let with_entity = inferred(&rows(40, of_pumps));
    assert_line(&with_entity, "entity = \"{pump_name}\"");
    assert_line(&with_entity, "event_id = [\"entity\", \"time\"]");
    assert!(!with_entity.checks.iter().any(|it| it.contains("counts the rows")));

    let of_one = |at: usize| row(at).replace('}', r#","pump_name":"p"}"#);
    let last = inferred(&rows(40, of_one));
    assert_line(&last, "event_id = [\"entity\", \"time\", \"id\"]");
    assert_check(&last, "id counts the rows");

    let hints = Hints { key: vec!["id".to_owned()], ..Hints::default() };
    let named = infer("sample", &rows(40, row), &hints).unwrap();
    assert_line(&named, "event_id = [\"entity\", \"time\"]");
}

#[test]
fn nearly_all_is_nineteen_in_twenty() {
    let counts = [(19, 20), (18, 20), (0, 0), (95, 100), (94, 100)];
    let nearly = counts.map(|(count, total)| is_nearly_all(count, total));
    assert_eq!(nearly, [true, false, true, true, false]);
}

#[test]
fn first_time_may_be_missing() {
    let row = |at: usize| match at {
        0 => reading(at).replace("2025-11-05T12:00:00Z", "unknown"),
        _ => reading(at).replace('}', r#","ended":"n.a."}"#),
    };
    let ended = |at: usize| row(at).replace("n.a.", "2025-11-05T13:00:00Z");
    let inferred = inferred(&rows(40, |at| if at % 2 == 0 { row(at) } else { ended(at) }));

    assert_line(&inferred, "from = \"time\"");
    assert_line(&inferred, "ended = { from = \"ended\", as = \"time\" }");
    assert!(inferred.text().contains("\"n.a.\", \"unknown\"]"), "{}", inferred.text());
}

#[test]
fn order_of_day_and_month_is_checked() {
    let row = |at: usize| format!(r#"{{"site":"s","day":"1/{}/26","level_m":{at}.5}}"#, 1 + at);
    let ambiguous = inferred(&rows(12, row));
    assert_line(&ambiguous, "formats = [\"%d/%m/%y\"]");
    assert_check(&ambiguous, "no day is above 12, so %d/%m/%y could also be %m/%d/%y");

    let certain = inferred(&rows(20, row));
    assert_line(&certain, "formats = [\"%m/%d/%y\"]");
    assert!(!certain.checks.iter().any(|it| it.contains("above 12")));

    let digits = inferred(&rows(20, |at| {
        format!(r#"{{"site":"s","day":{},"level_m":{at}.5}}"#, 20_260_101 + at)
    }));
    assert_line(&digits, "formats = [\"%Y%m%d\"]");
}

#[test]
fn columns_share_order_of_date() {
    let sample = rows(12, |at| {
        let day = at + 1;
        format!(r#"{{"site":"s","start":"1/{day}/26 10:00","end":"1/{}/26 11:00"}}"#, day + 1)
    });
    let inferred = inferred(&sample);
    assert_line(&inferred, "formats = [\"%m/%d/%y %H:%M\"]");
    assert_line(&inferred, "end_min = { from = \"end\", as = \"elapsed\" }");
    assert!(!inferred.checks.iter().any(|it| it.contains("above 12")));
}

#[test]
fn left_out_entry_is_checked() {
    let mut inferred = inferred(&rows(40, reading));
    assert!(inferred.text().contains("[[rules]]"));
    inferred.leave_out(Entry::Rule, "its id is taken");

    assert_eq!(inferred.text(), inferred.text_with(&[Entry::Metric, Entry::Window]));
    assert!(!inferred.text().contains("[[rules]]") && inferred.text().contains("[[windows]]"));
    assert_eq!(inferred.rule, None);
    assert_check(&inferred, "the example of rules is left out: its id is taken");
}

#[test]
fn long_names_make_short_rule_id() {
    let column = "a_very_long_name_of_a_column_that_holds_some_level_of_water";
    let row = |at| reading(at).replace("temp_f", column);
    let name = "x".repeat(64);
    let inferred = infer(&name, &rows(40, row), &Hints::default()).unwrap();
    assert!((80..=100).contains(&inferred.rule.unwrap().len()));
}

#[test]
fn column_without_name_is_left_out() {
    let row = |at| reading(at).replace("\"time\"", "\"\":7,\"at\":{\" \":1},\"time\"");
    let of_json = inferred(&rows(40, row));
    assert_line(&of_json, "entity = \"{sensor}\"");
    assert_check(&of_json, "a key of the rows has no name");
    assert_check(&of_json, "a key of at has no name");

    let columns = ["column_1", "sensor", "time", "temp_f"].map(str::to_owned).to_vec();
    let mut sample = Sample::new(SampleFile { columns, ..SampleFile::default() });
    (0..40).for_each(|at| sample.add(&reading(at).replace('{', "{\"column_1\":\"7\",")));
    let of_csv = inferred(&sample);
    assert_line(&of_csv, "header = [\"temp_f\"]");
    assert_check(&of_csv, "column 1 has no name");
}

#[test]
fn coordinates_with_decimal_comma_are_location() {
    let row = |at: usize| {
        reading(at).replace('}', &format!(r#","lat":"52,{at}","lon":"-4,9{at}","price":"12,5"}}"#))
    };
    let of = |has_decimal_comma| {
        let mut sample = Sample::new(SampleFile { has_decimal_comma, ..SampleFile::default() });
        (0..40).for_each(|at| sample.add(&row(at)));
        inferred(&sample)
    };
    let of_comma = of(true);
    assert_line(&of_comma, "lat = \"lat\"");
    assert_line(&of_comma, "price = { from = \"price\" }");

    // A location has the decimal mark of the file only.
    let of_point = of(false);
    assert_line(&of_point, "lat_deg = { from = \"lat\", range = [-90, 90], decimal = \",\" }");
    assert_line(&of_point, "price = { from = \"price\", decimal = \",\" }");
}

#[test]
fn nested_key_with_dot_is_left_out() {
    let row = |at| reading(at).replace('}', r#","pm2.5":4.5,"air":{"pm2.5":1,"no2":2}}"#);
    let inferred = inferred(&rows(40, row));
    assert_line(&inferred, "pm2_5 = { from = \"pm2.5\" }");
    assert_line(&inferred, "air_no2 = { from = \"air.no2\", type = \"integer\" }");
    assert!(!inferred.text().contains("air.pm2.5"));
    assert_check(&inferred, "air.pm2.5 has a dot in the name of a nested key");
}

#[test]
fn zone_in_name_needs_no_check() {
    let row = |at| reading(at).replace("Z\"", "\"").replace("\"time\"", "\"Time (UTC)\"");
    let inferred = inferred(&rows(40, row));
    assert!(inferred.checks.is_empty(), "{:?}", inferred.checks);
    assert!(inferred.assumptions.iter().any(|it| it.why == "UTC, from the name"));
}

#[test]
fn numbers_below_limit_are_reported() {
    let row = |at| {
        reading(at).replace('}', &format!(r#","ntu":"<0.{}","status":{}}}"#, at % 7, 200 + at % 3))
    };
    let inferred = inferred(&rows(40, row));
    assert_check(&inferred, "ntu holds numbers with other signs, such as \"<0.0\": kept as text");
    assert_line(&inferred, "status = \"status\"");
}

#[test]
fn array_in_one_object_is_named() {
    let sample = json(&[r#"{"meta":{"count":2},"data":[{"t":1}]}"#.to_owned()]);
    assert_eq!(unclear(&sample), Unclear::Wrapped("data".to_owned()));
    let only = json(&[r#"{"n":2,"data":[{"t":1}]}"#.to_owned()]);
    assert_eq!(unclear(&only), Unclear::Wrapped("data".to_owned()));
}

#[test]
fn header_of_values_is_refused() {
    for name in ["2026-01-05T00:00:00", "1/22/20", "05.01.2026 10:00"] {
        let columns = ["s0", name, "level"].map(str::to_owned).to_vec();
        let mut sample = Sample::new(SampleFile { columns, ..SampleFile::default() });
        sample.add(r#"{"s0":"s1","level":"1"}"#);
        assert_eq!(unclear(&sample), Unclear::TimeInHeader(name.to_owned()));
    }

    let columns = ["sensor", "time", "temp_f", "2019"].map(str::to_owned).to_vec();
    let mut sample = Sample::new(SampleFile { columns, ..SampleFile::default() });
    (0..40).for_each(|at| sample.add(&reading(at).replace('}', ",\"2019\":\"5\"}")));
    assert_check(&inferred(&sample), "the header has the number 2019");
}

#[test]
fn calendar_columns_are_no_measures() {
    let row = |at| reading(at).replace('}', &format!(r#","day":{},"rain_per_day":{at}}}"#, at % 9));
    let inferred = inferred(&rows(40, row));
    assert_line(&inferred, "day = \"day\"");
    assert_line(&inferred, "rain_per_day = { from = \"rain_per_day\", type = \"integer\" }");
}
