//! Tests of CSV, well formed and broken.

use super::*;
use ErrorKind::{BrokenQuoting, NotUtf8, NulByte, WrongColumnCount};

#[test]
fn lines_end_with_lf_crlf_or_cr() {
    let read = read("a,b\r\n1,2\n3,4\r\n5,6\r7,8\r\r\n9,10");

    assert_eq!(
        read.lines(),
        [("1,2", None), ("3,4", None), ("5,6", None), ("7,8", None), ("9,10", None)]
    );
    assert_eq!(read.json()[4], r#"{"a":"9","b":"10"}"#);
}

#[test]
fn cr_alone_ends_header_and_rows() {
    for input in ["a,b\r1,2\r\"3\r3\",4\r", "a,b\n1,2\r\"3\r3\",4", "\r \ra,b\r1,2\r\"3\r3\",4\r"] {
        for size in [1, 2, 100] {
            let read = read_in_pieces(Limits::default(), input.as_bytes(), size);

            assert_eq!(read.lines(), [("1,2", None), ("\"3\r3\",4", None)], "{input:?}");
        }
    }
}

#[test]
fn position_lies_behind_whole_crlf() {
    let input = "a\r\n1\r\n\"2\r\n\r\n\r\n3\r4\r\n";
    for size in [1, 2, 3, 100] {
        let mut reader = ObjectReader::new(Limits::default());
        let mut pieces = input.as_bytes().chunks(size);
        let mut positions = Vec::new();
        loop {
            match reader.next().unwrap() {
                Next::NeedInput => match pieces.next() {
                    Some(piece) => reader.push(piece),
                    None => reader.finish(),
                },
                Next::End => break,
                _ => positions.push(reader.position().offset),
            }
        }
        assert_eq!(positions, [3, 6, 10, 16, 19], "{size}");
    }
}

#[test]
fn trailing_cr_is_not_data() {
    assert_eq!(read("a,b\n1,2\r").lines(), [("1,2", None)]);
    assert_eq!(read("a,b\n1,\"2\"\r").lines(), [("1,\"2\"", None)]);
}

#[test]
fn broken_line_ends_with_cr() {
    let read = read("a,b\r1,x\"y\r2,3\r\"4\r5,6\r");

    assert_eq!(
        read.lines(),
        [
            ("1,x\"y", Some(BrokenQuoting)),
            ("2,3", None),
            ("\"4", Some(BrokenQuoting)),
            ("5,6", None)
        ]
    );
}

#[test]
fn quoted_fields_hold_commas_newlines_and_quotes() {
    let read = read("a,b\n\"x,y\",\"p\r\nq\"\n\"he said \"\"no\"\"\",\"\"\"\"\n");

    assert_eq!(read.json(), [r#"{"a":"x,y","b":"p\r\nq"}"#, r#"{"a":"he said \"no\"","b":"\""}"#]);
    assert_eq!(read.lines()[0].0, "\"x,y\",\"p\r\nq\"");
}

#[test]
fn empty_fields_are_left_out() {
    let read = read("a,b,c\n,2,\n\"\",,\n,,3\n");

    assert_eq!(read.json(), [r#"{"b":"2"}"#, "{}", r#"{"c":"3"}"#]);
}

#[test]
fn json_special_characters_are_escaped() {
    let read = read("a\\,\"q\"\"\"\n\\\t\x01\x7f,\u{e9}\u{2028}\n");

    assert_eq!(read.json(), ["{\"a\\\\\":\"\\\\\\t\\u0001\x7f\",\"q\\\"\":\"\u{e9}\u{2028}\"}"]);
    assert!(serde_json::from_str::<serde_json::Value>(read.json()[0]).is_ok());
}

#[test]
fn blank_lines_are_not_rows() {
    let read = read("\n \r\na,b\n\n1,2\n\r\n \t\r\n3,4\n  ");

    assert_eq!(read.lines(), [("1,2", None), ("3,4", None)]);
    assert_eq!(read.rows[0].position, Position { offset: 9, row: 1 });
    assert_eq!(read.rows[1].position, Position { offset: 19, row: 2 });
}

#[test]
fn spaces_are_part_of_a_field() {
    assert_eq!(read("a,b\n  1 , 2\n").json(), [r#"{"a":"  1 ","b":" 2"}"#]);
}

#[test]
fn quote_in_unquoted_field_breaks_only_its_line() {
    let read = read("a,b\n1,x\"y\n2,3\n\"4\"5,6\n \t\"7\",8\n9,9\n");

    assert_eq!(
        read.lines(),
        [
            ("1,x\"y", Some(BrokenQuoting)),
            ("2,3", None),
            ("\"4\"5,6", Some(BrokenQuoting)),
            (" \t\"7\",8", Some(BrokenQuoting)),
            ("9,9", None)
        ]
    );
    assert_eq!(read.message(0), "a quote at byte 3 in a cell that is not quoted");
    assert_eq!(read.message(2), "a closing quote with more of the cell after it at byte 3");
    assert_eq!(read.rows[4].position.row, 5);
}

#[test]
fn unclosed_quote_breaks_one_line() {
    let read = read("a,b\n1,2\n3,\"4\n5,6\n7,8");

    assert_eq!(
        read.lines(),
        [("1,2", None), ("3,\"4", Some(BrokenQuoting)), ("5,6", None), ("7,8", None)]
    );
    assert_eq!(read.message(1), "the quote at byte 2 is never closed");
    assert_eq!(read.rows[2].position, Position { offset: 13, row: 3 });
}

#[test]
fn two_unclosed_quotes_break_a_line_each() {
    let read = read("a,b\n3,\"4\n5,6\n7,8\"\n9,10\n");

    assert_eq!(read.lines(), [("3,\"4\n5,6\n7,8\"", None), ("9,10", None)]);

    let read = super::read("a,b\n\"3,4\n5,6\n\"7,8\n9,10\n");

    assert_eq!(
        read.lines(),
        [
            ("\"3,4", Some(BrokenQuoting)),
            ("5,6", None),
            ("\"7,8", Some(BrokenQuoting)),
            ("9,10", None)
        ]
    );
}

#[test]
fn multiline_row_with_wrong_field_count_breaks_first() {
    let read = read("a,b,c\n1,\"2\n3,4,5\n\"\n6,7,8\n");

    assert_eq!(
        read.lines(),
        [
            ("1,\"2", Some(BrokenQuoting)),
            ("3,4,5", None),
            ("\"", Some(BrokenQuoting)),
            ("6,7,8", None)
        ]
    );
    assert!(read.message(0).ends_with("expected 3 cells, found 2"));
}

#[test]
fn surplus_field_is_reported_with_both_numbers() {
    let read = read("a,b\n1,2,3\n1,2,,\" \"\n1,\"2,3\"\n");

    let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
    assert_eq!(codes, [Some(WrongColumnCount), Some(WrongColumnCount), None]);
    assert_eq!(read.message(0), "expected 2 cells, found 3");
    assert_eq!(read.message(1), "expected 2 cells, found 4");
}

#[test]
fn fields_missing_at_the_end_are_empty() {
    let read = read("a,b,c\n1,2\n3\n,4\n\"5\"\n");

    assert_eq!(
        read.json(),
        [r#"{"a":"1","b":"2"}"#, r#"{"a":"3"}"#, r#"{"b":"4"}"#, r#"{"a":"5"}"#]
    );
}

#[test]
fn empty_surplus_fields_are_dropped() {
    let read = read("a,b\n1,2,\n3,4,,\"\", \"\",\n\"5\n5\",6,,\n");

    assert_eq!(
        read.json(),
        [r#"{"a":"1","b":"2"}"#, r#"{"a":"3","b":"4"}"#, r#"{"a":"5\n5","b":"6"}"#]
    );
}

#[test]
fn row_of_several_lines_lacks_no_field() {
    let read = read("a,b,c\n1,\"2\n3,4,5\n6,7,\"\n");

    assert_eq!(
        read.lines(),
        [("1,\"2", Some(BrokenQuoting)), ("3,4,5", None), ("6,7,\"", Some(BrokenQuoting))]
    );
}

#[test]
fn spaces_before_opening_quote_are_dropped() {
    let read = read("a, \"b\", c\n1,  \"2,\n2\", \" 3\"\n \"\"\"4\",\"\", \"\"\n");

    assert_eq!(read.header.as_ref().unwrap().columns(), ["a", "b", "c"]);
    assert_eq!(read.json(), [r#"{"a":"1","b":"2,\n2","c":" 3"}"#, r#"{"a":"\"4"}"#]);
    assert_eq!(
        super::read("a,b\n1, \"2\"x\n").message(0),
        "a closing quote with more of the cell after it at byte 6"
    );
}

#[test]
fn invalid_utf8_breaks_row_and_names_column() {
    let read = read(b"a,b\n1,x\xff\n\"2\n\",\"\xc3\"\n3,4\n");

    let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
    assert_eq!(codes, [Some(NotUtf8), Some(NotUtf8), None]);
    assert_eq!(read.rows[0].bytes, b"1,x\xff");
    assert_eq!(read.message(0), "the row has bytes that are not UTF-8 at byte 3");
    assert_eq!(read.rows[0].result.as_ref().unwrap_err().2.as_deref(), Some("b"));
    assert_eq!(read.rows[1].bytes, b"\"2\n\",\"\xc3\"");
}

#[test]
fn nul_breaks_row_before_any_other_fault() {
    let read = read(b"a,b\n\0,x\n1,\xff\0\"\n1,2,3\0\n3,4\n");

    let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
    assert_eq!(codes, [Some(NulByte), Some(NulByte), Some(NulByte), None]);
    assert_eq!(read.message(1), "the row has a NUL byte at byte 3");
    assert_eq!(read.rows[0].result.as_ref().unwrap_err().2.as_deref(), Some("a"));
}

#[test]
fn byte_order_mark_is_dropped_and_counted() {
    let read = read("\u{feff}a,b\n1,2\n");

    assert_eq!(read.json(), [r#"{"a":"1","b":"2"}"#]);
    assert_eq!(read.rows[0].position, Position { offset: 7, row: 1 });
}

#[test]
fn byte_order_mark_begins_any_line() {
    let input = "\u{feff}\u{feff}\n\u{feff}a,b\n\u{feff}1,\u{feff}2\n\u{feff}\n\u{feff}\"3\n\u{feff}4\",5\n\u{feff}a,b\n6,7\n";
    for size in [1, 2, 1000] {
        let read = read_in_pieces(Limits::default(), input.as_bytes(), size);

        assert_eq!(
            read.lines(),
            [("1,\u{feff}2", None), ("\"3\n\u{feff}4\",5", None), ("a,b", None), ("6,7", None)]
        );
    }
    let read = read(b"a\n\xef\xbb");
    assert_eq!(read.rows[0].bytes, b"\xef\xbb");
}

#[test]
fn fields_are_looked_up_by_index_and_name() {
    let mut reader = ObjectReader::new(Limits::default());
    reader.push(b"a,b,c\n1, \"x\"\"y\",\n");
    assert!(matches!(reader.next(), Ok(Next::Header(_))));

    let Ok(Next::Row(row)) = reader.next() else { panic!("no row") };

    assert_eq!(row.field_at(0).as_deref(), Some("1"));
    assert_eq!(row.field_at(1).as_deref(), Some("x\"y"));
    assert_eq!(row.field_at(2), None);
    assert_eq!(row.field_at(3), None);
    assert_eq!(row.field("b").as_deref(), Some("x\"y"));
    assert_eq!(row.field("c"), None);
    assert_eq!(row.field("z"), None);
}
