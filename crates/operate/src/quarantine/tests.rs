use proptest::prelude::*;

use super::*;
use tributary_config::Configuration;
use tributary_datasets::ingest::SourceName;
use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};
use tributary_model::raw::RawRecord;
use tributary_pipeline::transform::read_raw;
use tributary_rows::Position;

const GOOD: &str = r#"{"sensor_id":"s-1","timestamp":1762344000,"water_level":1.50}"#;
const BAD: &str = r#"{"sensor_id":"s-1","timestamp":1762344000,"water_level":"1,5"}"#;
const CSV_SOURCE: &str = "s3://b/flood/a.csv?versionId=v1#offset=35&row=1";

fn replayer() -> Replayer {
    Replayer::new(Configuration::shipped().unwrap().transformer().unwrap(), 1 << 20)
}

fn fixed(row: Option<&str>, sets: &[&str]) -> Replayer {
    let sets: Vec<_> = sets.iter().map(|&set| set.to_owned()).collect();
    Replayer { fixes: Fixes::compile(row, &sets).unwrap(), ..replayer() }
}

fn line(code: Code, origin: &Origin<'_>, bytes: Option<&[u8]>) -> Vec<u8> {
    let rejection = Rejection::row(code, "why");
    BadRow::new(&rejection, origin, bytes, "2026-11-20T10:00:00.5Z".parse().unwrap())
        .to_line(usize::MAX)
}

/// Returns a bad row that ingest rejected at `source`.
fn at_ingest(code: Code, source: &str, dataset: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let origin =
        Origin { source: source.into(), record_id: "00ff".into(), dataset, ..Origin::default() };
    line(code, &origin, Some(bytes))
}

fn raw(dataset: &str, payload: &str) -> String {
    format!(
        r#"{{"dataset":"{dataset}","record_id":"7cc1","source":"http:flood/c#k&item=0","received_at":"2026-11-20T09:59:00.123Z","payload":{payload}}}"#
    )
}

/// Returns a bad row of `transform`, from a readable or unreadable record.
fn at_transform(code: Code, record: &[u8]) -> Vec<u8> {
    let arrived_at = "2026-11-20T09:59:01Z".parse().unwrap();
    let place = Origin::of_record("shardId-000000000000", "42", arrived_at);
    let Ok(raw) = read_raw(record) else { return line(code, &place, Some(record)) };
    let origin = Origin {
        dataset: Some(&raw.dataset),
        source: raw.source.as_ref().into(),
        record_id: raw.record_id.as_ref().into(),
        ..place
    };
    line(code, &origin, Some(record))
}

fn columns() -> CsvHeader {
    let columns = ["sensor_id", "timestamp", "water_level", "location", "note \"a\""];
    CsvHeader { delimiter: b',', columns: columns.map(str::to_owned).to_vec() }
}

fn evaluated(replayer: &Replayer, line: &[u8], columns: Option<&CsvHeader>) -> ReplayVerdict {
    replayer.evaluate(&QuarantinedRow::from_json(line).unwrap(), columns, &Repair::default())
}

#[track_caller]
fn event(verdict: ReplayVerdict) -> RebuiltRecord {
    match verdict {
        ReplayVerdict::Event(rebuilt) => rebuilt,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn rejected(verdict: &ReplayVerdict) -> (Code, bool) {
    match verdict {
        ReplayVerdict::Rejected(rejection, rebuilt) => (rejection.code, rebuilt.is_some()),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn unable(verdict: ReplayVerdict) -> (&'static str, String) {
    match verdict {
        ReplayVerdict::NotReplayable(NotReplayable { code, message }) => (code, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn passing_record_is_replayed_byte_for_byte() {
    let record = raw("flood", GOOD);

    let rebuilt =
        event(evaluated(&replayer(), &at_transform(Code::OutOfRange, record.as_bytes()), None));

    assert_eq!(rebuilt.data, record.as_bytes());
    assert_eq!((rebuilt.partition_key.as_str(), rebuilt.is_repaired), ("s-1", false));
}

#[test]
fn record_rejected_again_is_still_sendable() {
    let record = raw("flood", BAD);

    let verdict =
        evaluated(&replayer(), &at_transform(Code::InvalidNumber, record.as_bytes()), None);

    assert_eq!(rejected(&verdict), (Code::InvalidNumber, true));
}

#[test]
fn repaired_record_keeps_id_source_and_arrival_time() {
    let line = at_transform(Code::InvalidNumber, raw("flood", BAD).as_bytes());
    for replayer in [
        fixed(None, &["water_level=payload.water_level.replace(',', '.')"]),
        fixed(Some("row.replace('1,5', '1.5')"), &[]),
    ] {
        let rebuilt = event(evaluated(&replayer, &line, None));

        assert_eq!(
            String::from_utf8(rebuilt.data).unwrap(),
            raw("flood", &BAD.replace("1,5", "1.5"))
        );
        assert!(rebuilt.is_repaired);
    }
}

#[test]
fn csv_row_is_read_with_object_columns() {
    let line = at_ingest(Code::BrokenQuoting, CSV_SOURCE, Some("flood"), b"s-1,1762344000,1\"5,,x");
    let columns = columns();
    assert_eq!(
        rejected(&evaluated(&replayer(), &line, Some(&columns))),
        (Code::BrokenQuoting, false)
    );

    let rebuilt =
        event(evaluated(&fixed(Some(r#"row.replace('"', '.')"#), &[]), &line, Some(&columns)));

    let text = String::from_utf8(rebuilt.data).unwrap();
    let raw = RawRecord::from_json(text.as_bytes()).unwrap();
    assert_eq!((&*raw.record_id, &*raw.source), ("00ff", CSV_SOURCE));
    assert_eq!(raw.received_at, "2026-11-20T10:00:00.5Z".parse().unwrap());
    assert_eq!(
        raw.payload.get(),
        r#"{"sensor_id":"s-1","timestamp":"1762344000","water_level":"1.5","note \"a\"":"x"}"#
    );
}

#[test]
fn invalid_utf8_can_be_replaced() {
    let columns = columns();
    for (code, bytes) in [
        (Code::NotUtf8, b"s-1,1762344000,1.5,,M\xfcnchen".as_slice()),
        (Code::NulByte, b"s-1,1762344000,1.5,,M\0nchen"),
    ] {
        let line = at_ingest(code, CSV_SOURCE, None, bytes);
        assert_eq!(rejected(&evaluated(&replayer(), &line, Some(&columns))), (code, false));

        let fix = r"row.replace('\uFFFD', 'ü').replace('\u0000', 'ü')";
        let rebuilt = event(evaluated(&fixed(Some(fix), &[]), &line, Some(&columns)));

        assert!(String::from_utf8(rebuilt.data).unwrap().contains("München"));
    }
}

#[test]
fn repair_replaces_row_or_payload() {
    let line = at_ingest(Code::WrongColumnCount, CSV_SOURCE, Some("flood"), b"s-1");
    let row = QuarantinedRow::from_json(&line).unwrap();
    let (columns, replayer) = (columns(), replayer());
    let repair = |json: &str| serde_json::from_str::<Repair>(json).unwrap();

    let by_text = repair(r#"{"row":"s-1,1762344000,1.5,,"}"#);
    assert!(Replayer::needs_columns(&row, &by_text));
    let by_text = event(replayer.evaluate(&row, Some(&columns), &by_text));
    let by_object = repair(
        "{\"payload\":{\"sensor_id\":\"s-1\",\n\"timestamp\":\"1762344000\",\"water_level\":\"1.5\"}}",
    );
    assert!(!Replayer::needs_columns(&row, &by_object));
    let by_object = event(replayer.evaluate(&row, None, &by_object));

    let text =
        |rebuilt: &RebuiltRecord| String::from_utf8(rebuilt.data.clone()).unwrap().replace(' ', "");
    assert_eq!(text(&by_text), text(&by_object));
    assert!(!by_object.data.contains(&b'\n'));
    for (json, code) in [
        (r#"{"row":"s-1,1762344000,1.5,\ns-2,1762344000,1.5,,"}"#, Code::WrongColumnCount),
        (r#"{"row":" "}"#, Code::EmptyObject),
        (r#"{"payload":[]}"#, Code::InvalidJson),
        (r#"{"payload":{"sensor_id":"s-1"}}"#, Code::MissingField),
    ] {
        let verdict = replayer.evaluate(&row, Some(&columns), &repair(json));
        assert_eq!(rejected(&verdict).0, code, "{json}");
    }
}

#[test]
fn row_is_read_with_delimiter_of_its_object() {
    let line = at_ingest(
        Code::WrongColumnCount,
        CSV_SOURCE,
        Some("flood"),
        b"s-1;1762344000;1.5;a,b;\xc3\xa9;",
    );
    let header = CsvHeader { delimiter: b';', ..columns() };
    let fix = fixed(Some("row + ''"), &[]);

    let rebuilt = event(evaluated(&fix, &line, Some(&header)));

    let data = String::from_utf8(rebuilt.data).unwrap();
    assert!(data.contains("a,b") && data.contains('é'), "{data}");
}

#[test]
fn json_line_needs_no_columns() {
    let source = "s3://b/x.jsonl?etag=\"e\"#offset=0&row=1";
    let good = GOOD.replace("\"timestamp\"", "\"location\":\"weir\",\"timestamp\"");
    let line = at_ingest(Code::RowTooLarge, source, None, good.as_bytes());
    let rebuilt = event(evaluated(&replayer(), &line, None));
    assert!(rebuilt.data.ends_with(format!("\"payload\":{good}}}").as_bytes()));

    let line = at_ingest(Code::InvalidJson, source, Some("flood"), b"sensor_id=s-1");
    assert_eq!(rejected(&evaluated(&replayer(), &line, None)), (Code::InvalidJson, false));
}

#[test]
fn unknown_topic_uses_named_dataset() {
    let of = |topic: &str| {
        let source = format!("kafka:{topic}-3#offset=9");
        at_ingest(Code::UnknownDataset, &source, None, GOOD.as_bytes())
    };
    let mut replayer = replayer();
    assert_eq!(event(evaluated(&replayer, &of("flood"), None)).dataset, "flood");
    assert_eq!(rejected(&evaluated(&replayer, &of("rivers"), None)), (Code::UnknownDataset, false));

    replayer.dataset = replayer.transformer.datasets().by_name("flood").cloned();

    assert_eq!(event(evaluated(&replayer, &of("rivers"), None)).dataset, "flood");
    let of_raw = at_transform(Code::UnknownDataset, raw("rivers", GOOD).as_bytes());
    assert_eq!(event(evaluated(&replayer, &of_raw, None)).data, raw("flood", GOOD).as_bytes());
}

#[test]
fn non_row_is_reported_with_its_kind() {
    let event = r#"{"kind":"reading","dataset":"flood","event_id":"e","entity":"s","event_time":"2026-11-20T10:00:00Z",
        "received_at":"2026-11-20T10:00:00.000Z","measures":{},"attributes":{},"tags":[]}"#;
    for (line, code, part) in [
        (at_transform(Code::NotAnEvent, b"{}"), "no_row", "EVENTS"),
        (at_transform(Code::InvalidJson, event.as_bytes()), "no_row", "EVENTS"),
        (at_transform(Code::InvalidJson, b"hello"), "no_row", "no raw record"),
        (at_ingest(Code::InvalidJson, "sqs:m-1", None, b"{}"), "no_row", "message of the queue"),
    ] {
        let (reported, message) = unable(evaluated(&replayer(), &line, None));
        assert!(reported == code && message.contains(part), "{reported}: {message}");
    }
}

#[test]
fn missing_bytes_are_reported_with_location() {
    let of_source = |code, source: &str| {
        line(code, &Origin { source: source.into(), ..Origin::default() }, None)
    };
    let arrived_at = "2026-11-20T09:59:01Z".parse().unwrap();
    let of_record = line(Code::OutOfRange, &Origin::of_record("shardId-0", "42", arrived_at), None);
    for (line, code, part) in [
        (of_record, "bytes_elsewhere", "raw/dt=2026-11-20/hour=09/"),
        (of_source(Code::RowTooLarge, CSV_SOURCE), "bytes_elsewhere", CSV_SOURCE),
        (
            of_source(Code::MissingColumn, CSV_SOURCE),
            "rest_of_object",
            "`tributary replay 's3://b/flood/a.csv?versionId=v1'`",
        ),
        (
            of_source(Code::ObjectMissing, "s3://b/k?etag=e#offset=0&row=1"),
            "rest_of_object",
            "'s3://b/k'",
        ),
        (
            of_source(Code::RowTooLarge, "kafka:flood-0#offset=1"),
            "bytes_elsewhere",
            "kafka:flood-0#offset=1",
        ),
    ] {
        let (reported, message) = unable(evaluated(&replayer(), &line, None));
        assert!(reported == code && message.contains(part), "{reported}: {message}");
    }
}

#[test]
fn failing_fix_makes_row_not_replayable() {
    let line = at_transform(Code::OutOfRange, raw("flood", GOOD).as_bytes());

    let (code, message) = unable(evaluated(&fixed(None, &["x=payload.none"]), &line, None));

    assert_eq!(code, "not_mended");
    assert!(message.starts_with("--set x: "), "{message}");
}

#[test]
fn oversized_rebuilt_record_is_rejected() {
    let line = at_transform(Code::OutOfRange, raw("flood", GOOD).as_bytes());
    let replayer = Replayer { max_record_bytes: 100, ..replayer() };

    assert_eq!(rejected(&evaluated(&replayer, &line, None)), (Code::RowTooLarge, false));
}

#[test]
fn record_id_survives_repeated_replays() {
    let position = Position { offset: 7, row: 1 };
    let source = SourceName::s3("b", "flood/k.csv", Some("v"), None);
    let origin = Origin {
        dataset: Some("flood"),
        source: source.at(position).into(),
        record_id: source.record_id(position).to_string().into(),
        ..Origin::default()
    };
    let first = line(Code::WrongColumnCount, &origin, Some(b"s-1"));
    let row = QuarantinedRow::from_json(&first).unwrap();
    let repair = serde_json::from_str::<Repair>(&format!("{{\"payload\":{BAD}}}")).unwrap();
    let ReplayVerdict::Rejected(_, Some(sent)) = replayer().evaluate(&row, None, &repair) else {
        panic!()
    };

    // The operator sends it anyway, and `transform` rejects it.
    let again = at_transform(Code::InvalidNumber, &sent.data);
    let good = event(evaluated(&fixed(None, &["water_level='1.5'"]), &again, None));

    let (before, after) = (sent.data, good.data);
    let (before, after) = (read_raw(&before).unwrap(), read_raw(&after).unwrap());
    assert_eq!(before.record_id, source.record_id(position).to_string());
    assert_eq!(
        (&before.record_id, &before.source, before.received_at),
        (&after.record_id, &after.source, after.received_at)
    );
}

proptest! {
    #[test]
    fn evaluation_of_any_bytes_is_deterministic(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            Just(raw("flood", GOOD).into_bytes()),
            Just(GOOD.as_bytes().to_vec()),
            "s-[0-9],1762344000,[0-9.]{1,4},,[a-z\"]{0,3}".prop_map(String::into_bytes),
        ],
        home in 0..5,
        fix in any::<bool>(),
    ) {
        let line = match home {
            0 => at_transform(Code::OutOfRange, &bytes),
            1 => at_ingest(Code::BrokenQuoting, CSV_SOURCE, Some("flood"), &bytes),
            2 => at_ingest(Code::InvalidJson, "kafka:flood-0#offset=1", Some("flood"), &bytes),
            3 => at_ingest(Code::InvalidJson, "sqs:m", None, &bytes),
            _ => at_ingest(Code::NulByte, "file:a", None, &bytes),
        };
        let replayer = if fix { fixed(Some("row.trim()"), &["note='mended'"]) } else { replayer() };
        let columns = columns();

        let first = evaluated(&replayer, &line, Some(&columns));

        prop_assert_eq!(&first, &evaluated(&replayer, &line, Some(&columns)));
        if let ReplayVerdict::Event(rebuilt) | ReplayVerdict::Filtered(rebuilt) = first {
            let row = QuarantinedRow::from_json(&line).unwrap();
            let raw = read_raw(&rebuilt.data).unwrap();
            prop_assert_eq!(&raw.record_id, &row.record_id);
            prop_assert_eq!(&raw.source, &row.source);
            prop_assert!(!rebuilt.data.contains(&b'\n'));
        }
    }
}
