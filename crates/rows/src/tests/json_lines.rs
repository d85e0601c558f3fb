//! Tests of JSON Lines.

use super::*;
use ErrorKind::{InvalidJson, NotUtf8, NulByte};

#[test]
fn opening_brace_selects_json_lines() {
    let read = read("\u{feff}\n  {\"a\": 1}\r\n\n{\"b\":{\"c\":[null,true,\"x\"]}}");

    let header = read.header.as_ref().unwrap();
    assert_eq!((header.format(), header.columns().len()), (Format::JsonLines, 0));
    assert_eq!(read.json(), ["  {\"a\": 1}", "{\"b\":{\"c\":[null,true,\"x\"]}}"]);
    assert_eq!(read.rows[0].position, Position { offset: 4, row: 1 });
    assert_eq!(read.rows[1].position, Position { offset: 17, row: 2 });
}

#[test]
fn byte_order_mark_begins_json_line() {
    let read = read("\u{feff}{\"a\":1}\n\u{feff}{\"a\":2}\n \u{feff}{}\n");

    assert_eq!(read.json(), ["{\"a\":1}", "{\"a\":2}", "broken"]);
    assert_eq!(read.rows[1].position, Position { offset: 14, row: 2 });
}

#[test]
fn json_line_ends_with_lf_crlf_or_cr() {
    let input = "{\"a\":1}\r{\"a\":2}\r\n{\"a\":3}\n{\"a\":4}\r";
    for size in [1, 2, 100] {
        let read = read_in_pieces(Limits::default(), input.as_bytes(), size);

        assert_eq!(read.json(), ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}"]);
    }
}

#[test]
fn line_other_than_one_object_is_broken() {
    let lines = [
        ("{\"a\":1}{\"b\":2}", "not valid JSON at column 8"),
        ("{\"a\":1", "JSON that ends too early at column 6"),
        ("{'a':1}", "not valid JSON at column 2"),
        ("{\"a\":1e999}", "a number too large at column 10"),
        ("{\"a\":NaNa}", "not valid JSON at column 6"),
        ("{\"a\":\"\\ud800\"}", "not valid JSON at column 13"),
        (" [1]", "not a JSON object at column 2"),
        ("1", "not a JSON object at column 1"),
        ("a,b", "not a JSON object at column 1"),
    ];
    for (line, message) in lines {
        let read = read(format!("{{}}\n{line}\n{{\"z\":0}}\n"));

        assert_eq!(read.lines(), [("{}", None), (line, Some(InvalidJson)), ("{\"z\":0}", None)]);
        assert_eq!(read.message(1), message, "{line}");
    }
}

#[test]
fn nesting_over_limit_is_broken() {
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));

    assert_eq!(read(nested(127)).rows[0].code(), None);
    for depth in [128, 50_000] {
        let read = read(format!("{{}}\n{}", nested(depth)));
        assert_eq!(read.rows[1].code(), Some(InvalidJson));
        let message = read.message(1);
        assert!(message.starts_with("JSON that is nested 128 deep or more at"), "{message}");
    }
}

#[test]
fn nul_and_invalid_utf8_break_only_their_line() {
    let read = read(b"{}\n{\"a\":\"\0\"}\n{\"a\":\"\xff\"}\n{}\n");

    let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
    assert_eq!(codes, [None, Some(NulByte), Some(NotUtf8), None]);
    assert_eq!(read.rows[2].bytes, b"{\"a\":\"\xff\"}");
}

#[test]
fn json_line_over_limit_is_broken() {
    let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(SMALL.max_row_bytes - 8));
    let over = format!("{fits} ");
    for end in ["\n", "\r\n"] {
        let read = read_with(SMALL, [&*fits, &*over, "{}", ""].join(end).as_bytes());

        assert_eq!(
            read.lines(),
            [(&*fits, None), ("", Some(ErrorKind::RowTooLarge)), ("{}", None)]
        );
    }
}

#[test]
fn top_level_strings_and_numbers_are_looked_up() {
    let mut reader = ObjectReader::new(Limits::default());
    reader.push(
        b"{\"s\":\"x\\ny\",\"n\":-1.50,\"o\":{\"n\":2},\"t\":true,\"p\":\"plain\",\"n\":1.5}\n",
    );
    assert!(matches!(reader.next(), Ok(Next::Header(_))));

    let Ok(Next::Row(row)) = reader.next() else { panic!("no row") };

    assert_eq!(row.field("s").as_deref(), Some("x\ny"));
    assert_eq!(row.field("p").as_deref(), Some("plain"));
    assert_eq!(row.field("n").as_deref(), Some("1.5"));
    assert_eq!(row.field("o"), None);
    assert_eq!(row.field("t"), None);
    assert_eq!(row.field("z"), None);
    assert_eq!(row.field_at(0), None);
}
