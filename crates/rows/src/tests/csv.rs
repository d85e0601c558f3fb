//! CSV as people write it, and as they break it.

use super::*;
use ErrorKind::{BrokenQuoting, NotUtf8, NulByte, WrongColumnCount};

#[test]
fn lines_end_with_lf_or_crlf_and_the_last_needs_no_end() {
    let read = read("a,b\r\n1,2\n3,4\r\n5,6");

    assert_eq!(read.lines(), [("1,2", None), ("3,4", None), ("5,6", None)]);
    assert_eq!(read.json()[2], r#"{"a":"5","b":"6"}"#);
}

#[test]
fn half_a_crlf_at_the_end_is_no_data() {
    assert_eq!(read("a,b\n1,2\r").lines(), [("1,2", None)]);
    assert_eq!(read("a,b\n1,\"2\"\r").lines(), [("1,\"2\"", None)]);
}

#[test]
fn a_cr_inside_a_line_is_data() {
    assert_eq!(read("a,b\n1\r,2\n").json(), [r#"{"a":"1\r","b":"2"}"#]);
}

#[test]
fn quoted_cells_hold_commas_newlines_and_quotes() {
    let read = read("a,b\n\"x,y\",\"p\r\nq\"\n\"he said \"\"no\"\"\",\"\"\"\"\n");

    assert_eq!(read.json(), [r#"{"a":"x,y","b":"p\r\nq"}"#, r#"{"a":"he said \"no\"","b":"\""}"#]);
    assert_eq!(read.lines()[0].0, "\"x,y\",\"p\r\nq\"");
}

#[test]
fn empty_cells_are_left_out() {
    let read = read("a,b,c\n,2,\n\"\",,\n,,3\n");

    assert_eq!(read.json(), [r#"{"b":"2"}"#, "{}", r#"{"c":"3"}"#]);
}

#[test]
fn what_json_cannot_hold_is_escaped() {
    let read = read("a\\,\"q\"\"\"\n\\\t\x01\x7f,\u{e9}\u{2028}\n");

    assert_eq!(read.json(), ["{\"a\\\\\":\"\\\\\\t\\u0001\x7f\",\"q\\\"\":\"\u{e9}\u{2028}\"}"]);
    assert!(serde_json::from_str::<serde_json::Value>(read.json()[0]).is_ok());
}

#[test]
fn blank_lines_are_no_rows() {
    let read = read("\n \r\na,b\n\n1,2\n\r\n \t\r\n3,4\n  ");

    assert_eq!(read.lines(), [("1,2", None), ("3,4", None)]);
    assert_eq!(read.rows[0].position, Position { offset: 9, row: 1 });
    assert_eq!(read.rows[1].position, Position { offset: 19, row: 2 });
}

#[test]
fn spaces_are_part_of_a_cell() {
    assert_eq!(read("a,b\n  1 , 2\n").json(), [r#"{"a":"  1 ","b":" 2"}"#]);
}

#[test]
fn a_quote_inside_a_bare_cell_breaks_its_line_only() {
    let read = read("a,b\n1,x\"y\n2,3\n\"4\"5,6\n \"7\",8\n9,9\n");

    assert_eq!(
        read.lines(),
        [
            ("1,x\"y", Some(BrokenQuoting)),
            ("2,3", None),
            ("\"4\"5,6", Some(BrokenQuoting)),
            (" \"7\",8", Some(BrokenQuoting)),
            ("9,9", None)
        ]
    );
    assert_eq!(read.message(0), "a quote at byte 3 in a cell that is not quoted");
    assert_eq!(read.message(2), "a closing quote with more of the cell after it at byte 3");
    assert_eq!(read.rows[4].position.row, 5);
}

#[test]
fn a_cr_after_a_closing_quote_must_end_the_line() {
    let read = read("a,b\n1,\"2\"\r\r\n3,4\n");

    assert_eq!(read.lines(), [("1,\"2\"\r", Some(BrokenQuoting)), ("3,4", None)]);
}

#[test]
fn an_unclosed_quote_costs_one_line() {
    let read = read("a,b\n1,2\n3,\"4\n5,6\n7,8");

    assert_eq!(
        read.lines(),
        [("1,2", None), ("3,\"4", Some(BrokenQuoting)), ("5,6", None), ("7,8", None)]
    );
    assert_eq!(read.message(1), "the quote at byte 2 is never closed");
    assert_eq!(read.rows[2].position, Position { offset: 13, row: 3 });
}

#[test]
fn an_unclosed_quote_that_a_later_one_closes_costs_the_line_of_each() {
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
fn several_lines_with_the_wrong_number_of_cells_cost_the_first() {
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
fn one_line_with_the_wrong_number_of_cells_says_how_many() {
    let read = read("a,b\n1\n1,2,3\n1,\"2,3\"\n");

    let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
    assert_eq!(codes, [Some(WrongColumnCount), Some(WrongColumnCount), None]);
    assert_eq!(read.message(0), "expected 2 cells, found 1");
    assert_eq!(read.message(1), "expected 2 cells, found 3");
}

#[test]
fn bytes_that_are_not_utf8_break_their_row_and_name_their_column() {
    let read = read(b"a,b\n1,x\xff\n\"2\n\",\"\xc3\"\n3,4\n");

    let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
    assert_eq!(codes, [Some(NotUtf8), Some(NotUtf8), None]);
    assert_eq!(read.rows[0].bytes, b"1,x\xff");
    assert_eq!(read.message(0), "the row has bytes that are not UTF-8 at byte 3");
    assert_eq!(read.rows[0].result.as_ref().unwrap_err().2.as_deref(), Some("b"));
    assert_eq!(read.rows[1].bytes, b"\"2\n\",\"\xc3\"");
}

#[test]
fn a_nul_breaks_its_row_and_says_more_than_the_rest() {
    let read = read(b"a,b\n\0,x\n1,\xff\0\"\n1,2,3\0\n3,4\n");

    let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
    assert_eq!(codes, [Some(NulByte), Some(NulByte), Some(NulByte), None]);
    assert_eq!(read.message(1), "the row has a NUL byte at byte 3");
    assert_eq!(read.rows[0].result.as_ref().unwrap_err().2.as_deref(), Some("a"));
}

#[test]
fn a_byte_order_mark_is_dropped_and_counted() {
    let read = read("\u{feff}a,b\n1,2\n");

    assert_eq!(read.json(), [r#"{"a":"1","b":"2"}"#]);
    assert_eq!(read.rows[0].position, Position { offset: 7, row: 1 });
}

#[test]
fn cells_and_fields_are_looked_up() {
    let mut reader = ObjectReader::new(Limits::default());
    reader.push(b"a,b,c\n1,\"x\"\"y\",\n");
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
