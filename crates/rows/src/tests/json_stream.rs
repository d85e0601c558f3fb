//! Tests of JSON that is not one object per line, and of numbers that are none.

use super::*;
use ErrorKind::{InvalidJson, NulByte, RowTooLarge};

/// Reads in pieces of several sizes, which must make no difference.
fn read_any(limits: &Limits, input: &str) -> Read {
    let whole = read_with(limits.clone(), input.as_bytes());
    for size in [1, 2, 7] {
        assert!(read_in_pieces(limits.clone(), input.as_bytes(), size) == whole, "{size}: {input}");
    }
    whole
}

fn stream(input: &str) -> Read {
    let read = read_any(&Limits::default(), input);
    let layout = read.header.as_ref().and_then(Header::json_layout);
    assert_eq!(layout, Some(JsonLayout::Stream), "{input}");
    read
}

const NESTED: &str = r#"{"id":"r}\"{","at":{"lat":1,"lng":[2,{}]}}"#;

#[test]
fn array_items_are_rows() {
    for array in [
        format!("[{NESTED},{{\"id\":2}}]"),
        format!(" [ {NESTED} , {{\"id\":2}} ] \n"),
        format!("[\n{NESTED},\n{{\"id\":2}}\n]\n"),
        format!("\n[{NESTED}]\n[{{\"id\":2}}]\n"),
    ] {
        let read = stream(&array);

        assert_eq!(read.json(), [NESTED, "{\"id\":2}"], "{array}");
        assert_eq!(read.rows[1].position.row, 2);
        let offset = read.rows[1].position.offset as usize;
        assert!(array[offset..].starts_with("{\"id\":2}"));
    }
    assert_eq!(stream("[]").rows.len(), 0);
}

#[test]
fn object_over_several_lines_is_one_row() {
    let object = "{\n  \"id\": \"a  b\",\r\n\t\"at\": [\n    1,\n    {\"x\": null}\n  ]\n}";
    for input in [
        format!("{object}\n{object}\n"),
        format!("{object}{object}"),
        format!("[\n{object},\n{object}\n]"),
        format!("\u{feff}{object}\n\u{feff}{object}"),
    ] {
        let read = stream(&input);

        assert_eq!(read.json(), [r#"{"id":"a  b","at":[1,{"x":null}]}"#; 2]);
        assert_eq!(read.lines(), [(object, None); 2]);
    }
}

#[test]
fn objects_with_nothing_between_are_rows() {
    let read = stream("{\"a\":1}{\"a\":2} {\"a\":3}\n{\"a\":4}");

    assert_eq!(read.json(), ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}"]);
    assert_eq!(stream("{\"a\":1},\n{\"a\":2},\n").json(), ["{\"a\":1}", "{\"a\":2}"]);
}

#[test]
fn array_in_object_is_one_row() {
    let read = stream("{\"records\":[\n{\"a\":1},\n{\"a\":2}]}\n");
    assert_eq!(read.json(), [r#"{"records":[{"a":1},{"a":2}]}"#]);
}

#[test]
fn words_over_several_lines_stay_apart() {
    for broken in ["{\n\"a\": 1 2.5\n}", "{\n\"a\": tr\nue\n}", "{\n\"a\": - 1\n}"] {
        let read = stream(&format!("{broken}\n{{\n\"b\": 1\n}}\n"));
        assert_eq!(read.rows[0].code(), Some(InvalidJson), "{broken}");
        assert_eq!(read.json()[1], "{\"b\":1}");
    }
}

#[test]
fn broken_object_of_stream_costs_itself() {
    for (broken, message) in [
        ("{\"a\":1", "JSON that ends too early at column 6"),
        ("{\"a\":{\"b\":1}", "JSON that ends too early at column 12"),
        ("{\"a\":[1}", "not valid JSON at column 8"),
        ("{\"a\":nonsense}", "not valid JSON at column 7"),
        ("{\"a\":1}}", "not a JSON object at column 1"),
        ("5", "not a JSON object at column 1"),
    ] {
        for separator in [",", ",\n"] {
            let read = stream(&format!("[{{}}{separator}{broken}{separator}{{\"z\":0}}]"));

            assert_eq!((read.json()[0], *read.json().last().unwrap()), ("{}", "{\"z\":0}"));
            let bad: Vec<_> = read.rows.iter().filter(|row| row.code().is_some()).collect();
            assert_eq!(bad.len(), 1, "{broken}");
            assert_eq!(bad[0].code(), Some(InvalidJson));
            assert_eq!(bad[0].result.as_ref().unwrap_err().1, message, "{broken}");
        }
    }
}

#[test]
fn unclosed_string_ends_with_its_line() {
    let read = stream("{\n  \"a\": \"x,\n  \"b\": 1\n}\n{\n  \"c\": 2\n}\n");

    assert_eq!(read.rows[0].code(), Some(InvalidJson));
    assert_eq!(read.message(0), "not valid JSON at line 2, column 11");
    assert_eq!(read.json()[1..], ["{\"c\":2}"]);
}

#[test]
fn broken_first_line_remains_json_lines() {
    for first in ["{\"a\":", "{\"a\":[1,", "{\"a\":1 {\"b\":2}", "{\"a\":1}x"] {
        let read = read_any(&Limits::default(), &format!("{first}\n{{\"b\":1}}\n{{\"c\":1}}\n"));

        assert_eq!(read.lines()[0], (first, Some(InvalidJson)));
        assert_eq!(read.json()[1..], ["{\"b\":1}", "{\"c\":1}"]);
    }
}

#[test]
fn bracket_without_objects_begins_csv() {
    let columns = read("[id],[name]\n1,2\n").header.unwrap().columns().to_vec();
    assert_eq!(columns, ["[id]", "[name]"]);
    assert_eq!(read("[").header.unwrap().columns(), ["["]);

    let mut reader = ObjectReader::new(SMALL).of_format(Some(Format::JsonLines));
    let read = drain(&mut reader, std::iter::once(&b"[1]\n{}\n"[..]));
    assert_eq!(read.json(), ["broken", "{}"]);
}

#[test]
fn oversized_object_of_stream_is_one_row() {
    let large = format!("{{\"a\":[{}]}}", "{},".repeat(40));
    let read = read_any(&SMALL, &format!("[{{\"b\":1}}, {large}, {{\"c\":1}}]"));

    assert_eq!(read.lines(), [("{\"b\":1}", None), ("", Some(RowTooLarge)), ("{\"c\":1}", None)]);
    let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(SMALL.max_row_bytes - 8));
    assert_eq!(read_any(&SMALL, &format!("[{fits}]")).lines(), [(&*fits, None)]);
}

#[test]
fn deep_nesting_of_stream_costs_one_row() {
    for depth in [127, 128, 129, 300] {
        let deep = format!("{}{}", "{\"a\":[".repeat(depth), "]}".repeat(depth));

        let read = stream(&format!("[{deep},{{\"b\":[{{}},{{}}]}}]"));

        assert_eq!(read.rows.len(), 2, "{depth}");
        assert_eq!(read.rows[0].code(), Some(InvalidJson));
        assert_eq!(read.json()[1], "{\"b\":[{},{}]}");
    }
}

#[test]
fn memory_of_stream_is_bounded() {
    let limits = Limits { max_row_bytes: 10_000, ..Limits::default() };
    for body in ["{\"a\":[".repeat(50_000), "{\n".repeat(100_000), " ".repeat(300_000)] {
        let input = format!("[{{}},{body}");
        let mut reader = ObjectReader::new(limits.clone());

        drain(&mut reader, input.as_bytes().chunks(1000));

        assert!(reader.cost().1 <= 4 * 11_000, "{}", reader.cost().1);
    }
}

#[test]
fn bare_nan_and_infinity_are_null() {
    let read = read(
        "{\"t\":17.1,\"h\":nan}\n{\"h\":NaN , \"t\": -Infinity}\n{\"s\":\"nan\\\"NaN\",\"h\":[-inf,NAN]}\n",
    );

    assert_eq!(
        read.json(),
        [
            "{\"t\":17.1,\"h\":null}",
            "{\"h\":null , \"t\": null}",
            "{\"s\":\"nan\\\"NaN\",\"h\":[null,null]}"
        ]
    );
    assert_eq!(read.rows[0].bytes, b"{\"t\":17.1,\"h\":nan}");
    assert_eq!(super::read("{}\n{\"nan\":nano}\n").rows[1].code(), Some(InvalidJson));
    assert_eq!(super::read("{}\n{nan:1}\n").rows[1].code(), Some(InvalidJson));
    assert_eq!(stream("[{\"a\":\nNaN}]").json(), ["{\"a\":null}"]);
}

#[test]
fn nan_has_no_value() {
    let mut reader = ObjectReader::new(Limits::default());
    reader.push(b"{\"t\":17.1,\"h\":NaN}\n");
    assert!(matches!(reader.next(), Ok(Next::Header(_))));

    let Ok(Next::Row(row)) = reader.next() else { panic!("no row") };

    assert_eq!(row.field("t").as_deref(), Some("17.1"));
    assert_eq!(row.field("h"), None);
    assert_eq!(row.text(), "{\"t\":17.1,\"h\":null}");
}

#[test]
fn nuls_at_the_end_are_one_row() {
    let nuls = "\0".repeat(3000);
    for input in ["{}\n{}\n", "[{},{}]\n", "a\n1\n2\n"] {
        let read = read_any(&Limits::default(), &format!("{input}{nuls}"));

        let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
        assert_eq!(codes, [None, None, Some(NulByte)], "{input}");
    }
}

#[test]
fn name_of_json_lines_fixes_the_layout() {
    for name in ["a.jsonl", "a.ndjson.gz", "A.JSONL"] {
        let mut reader = ObjectReader::new(Limits::default()).of_name(name);
        reader.push(b"{\"a\":\nno JSON\n{\"a\":1}\n");
        reader.finish();
        let mut kinds = Vec::new();
        loop {
            match reader.next().unwrap() {
                Next::Row(_) => kinds.push(true),
                Next::Broken(_) => kinds.push(false),
                Next::End => break,
                Next::Header(_) | Next::NeedInput => {}
            }
        }
        assert_eq!(kinds, [false, false, true], "{name}");
    }
}
