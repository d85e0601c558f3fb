//! Tests of the header.

use super::*;

fn columns(input: &str) -> Vec<String> {
    read(input).header.unwrap().columns().to_vec()
}

#[test]
fn column_names_are_trimmed_and_unquoted() {
    assert_eq!(columns(" a , \u{a0}b\t,\"c,d\",\"e\"\"f\"\n"), ["a", "b", "c,d", "e\"f"]);
}

#[test]
fn column_name_spans_several_lines() {
    let read = read("\"a\nb\",c\n1,2\n");

    assert_eq!(read.json(), [r#"{"a\nb":"1","c":"2"}"#]);
}

#[test]
fn unnamed_column_is_named_by_number() {
    assert_eq!(columns(",a, ,\"\"\n"), ["column_1", "a", "column_3", "column_4"]);
}

#[test]
fn columns_are_found_by_name() {
    let header = read("a,b\n").header.unwrap();

    assert_eq!(header.format(), Format::Csv);
    assert_eq!(header.index_of("b"), Some(1));
    assert_eq!(header.index_of("c"), None);
}

#[test]
fn a_header_alone_has_no_rows() {
    for input in ["a,b", "a,b\n", "a,b\r\n\n  \n"] {
        let read = read(input);

        assert_eq!(read.header.unwrap().columns(), ["a", "b"]);
        assert_eq!((read.rows.len(), read.refusal), (0, None));
    }
}

#[test]
fn blank_object_is_empty() {
    let blanks = " ".repeat(100);
    for input in ["", "\n", "  \r\n\t\n", "\u{feff}", "\u{feff}\n ", &blanks] {
        let read = read_with(SMALL, input.as_bytes());

        assert_eq!(read.refused(), Some(ErrorKind::EmptyObject), "{input:?}");
        assert_eq!(read.refusal.unwrap().position, Position { offset: 0, row: 1 });
    }
    assert_eq!(read(gzip(b"")).refused(), Some(ErrorKind::EmptyObject));
}

#[test]
fn duplicate_column_is_rejected() {
    let read = read("a,b, a\n1,2,3\n");

    assert_eq!(read.refused(), Some(ErrorKind::DuplicateColumn));
    assert_eq!(
        read.refusal.unwrap().to_string(),
        "the header has the column \"a\" twice, at byte 0 (row 1)"
    );
    assert_eq!(super::read("column_2,,a\n").refused(), Some(ErrorKind::DuplicateColumn));
}

#[test]
fn long_duplicate_column_is_cut_in_message() {
    let long = format!("\"{}\n{}\"", "a".repeat(10), "b".repeat(30_000));

    let refusal = read(format!("{long},{long}\n")).refusal.unwrap();

    let shown = format!("{}\\n{}", "a".repeat(10), "b".repeat(53));
    let message = format!("the header has the column \"{shown}\"… twice, at byte 0 (row 1)");
    assert_eq!((refusal.kind, refusal.to_string()), (ErrorKind::DuplicateColumn, message));
}

#[test]
fn header_limits_are_enforced() {
    let fits = "a".repeat(SMALL.max_header_bytes);
    for end in ["", "\n", "\r\n", "\r"] {
        let read = read_with(SMALL, format!("{fits}{end}").as_bytes());
        assert_eq!(read.refusal, None);
        let read = read_with(SMALL, format!("{fits}a{end}").as_bytes());
        assert_eq!(read.refused(), Some(ErrorKind::HeaderTooLarge));
    }
    assert_eq!(read_with(SMALL, b"a,b,c,d,e,f\n").refusal, None);
    assert_eq!(read_with(SMALL, b"a,b,c,d,e,f,g\n").refused(), Some(ErrorKind::HeaderTooLarge));

    let far = format!("{}a,b\n", " ".repeat(SMALL.max_header_bytes + 1));
    assert_eq!(read_in_pieces(SMALL, far.as_bytes(), 1).refused(), Some(ErrorKind::HeaderTooLarge));
    let endless = format!("\"a\n{}", "b\n".repeat(SMALL.max_header_bytes));
    assert_eq!(read_with(SMALL, endless.as_bytes()).refused(), Some(ErrorKind::HeaderTooLarge));
}

#[test]
fn malformed_header_is_rejected() {
    assert_eq!(read("a,b\"c\n1,2\n").refused(), Some(ErrorKind::BrokenQuoting));
    assert_eq!(read("a,\"b\n1,2\n").refused(), Some(ErrorKind::BrokenQuoting));
    assert_eq!(read(b"a,b\xff\n1,2\n").refused(), Some(ErrorKind::NotUtf8));
    assert_eq!(read(b"a,b\0\n1,2\n").refused(), Some(ErrorKind::NulByte));
}

#[test]
fn refusal_carries_header_position() {
    let refusal = read("\u{feff}\n \na,a\n").refusal.unwrap();

    assert_eq!(refusal.position, Position { offset: 6, row: 1 });
}

#[test]
fn header_is_returned_before_first_row() {
    let mut reader = ObjectReader::new(Limits::default());
    assert!(matches!(reader.next(), Ok(Next::NeedInput)));
    reader.push(b"a,b\n1,2\n");
    assert_eq!(reader.header(), None);

    assert!(matches!(reader.next(), Ok(Next::Header(_))));

    assert_eq!(reader.header().unwrap().columns(), ["a", "b"]);
    assert_eq!(reader.position(), Position { offset: 4, row: 1 });
    assert!(matches!(reader.next(), Ok(Next::Row(_))));
    assert_eq!(reader.position(), Position { offset: 8, row: 2 });
}
