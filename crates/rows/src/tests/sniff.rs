//! Tests of the guess of a file's dialect.

use super::*;
use crate::sniff as guess;

#[test]
fn csv_dialect_is_guessed() {
    let sniffed = guess(b"id;level\nr1;12,5\nr2;3,25\n").unwrap();

    let expected = Sniffed {
        format: Format::Csv,
        json_layout: None,
        delimiter: Some(b';'),
        encoding: Encoding::UTF_8,
        preamble_lines: 0,
        columns: vec!["id".to_owned(), "level".to_owned()],
        has_decimal_comma: true,
    };
    assert_eq!(sniffed, expected);
}

#[test]
fn decimal_comma_needs_another_delimiter() {
    for (rows, has_decimal_comma) in [
        ("a,b\n\"1,5\",\"2,5\"\n", false),
        ("a\tb\n-1,5\tx\n", true),
        ("a;b\n1.5;2.5\n1,5;2.5\n", false),
        ("a;b\nx,y;1,\n", false),
    ] {
        assert_eq!(guess(rows.as_bytes()).unwrap().has_decimal_comma, has_decimal_comma, "{rows}");
    }
}

#[test]
fn preamble_ends_at_names_of_most_rows() {
    for (preamble, lines) in [
        ("", 0),
        ("# station\n", 1),
        ("Station: Oxbow 7\nExported;2030\n\n", 2),
        ("\"LOG\",\"7\",\"x\"\nA 5\" pipe\n", 2),
        ("1;2;3\n", 1),
        ("x;x;x\n", 1),
    ] {
        let rows = "r1;1;2\nr2;3\nr3;4;5\nr4;6;7\n";
        let sniffed = guess(format!("{preamble}id;level;rain\n{rows}").as_bytes()).unwrap();

        assert_eq!(sniffed.preamble_lines, lines, "{preamble:?}");
        assert_eq!(sniffed.columns, ["id", "level", "rain"]);
    }
}

#[test]
fn first_line_is_header_if_none_fits() {
    for text in ["a\n1\n2\n", "1,2\n3,4\n", "a,b\n1\n2\n"] {
        assert_eq!(guess(text.as_bytes()).unwrap().preamble_lines, 0, "{text:?}");
    }
}

#[test]
fn json_layout_is_guessed() {
    for (text, layout) in [
        ("{}\n{}\n", JsonLayout::Lines),
        ("[{},{}]", JsonLayout::Stream),
        ("{\n\"a\":1\n}", JsonLayout::Stream),
    ] {
        let sniffed = guess(text.as_bytes()).unwrap();

        assert_eq!((sniffed.format, sniffed.json_layout), (Format::JsonLines, Some(layout)));
        assert_eq!(sniffed.delimiter, None);
    }
}

#[test]
fn encoding_is_guessed() {
    let utf_16: Vec<u8> = "\u{feff}a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (text, encoding) in [
        (&utf_16[..], "UTF-16LE"),
        ("a,b\n\u{e9},2\n".as_bytes(), "UTF-8"),
        (b"a,b\n\xe9,2\n3,4\n", "windows-1252"),
        (b"a,\xe9\n1,2\n", "windows-1252"),
        // The last character is cut.
        (b"a,b\n1,2\n3,\xc3", "UTF-8"),
    ] {
        assert_eq!(guess(text).unwrap().encoding.name(), encoding);
    }
}

#[test]
fn only_the_first_bytes_count() {
    let text = format!("a,b\n{}", "1,2\n".repeat(100_000));
    let compressed = gzip(gzip::table(50_000).as_bytes());

    assert_eq!(guess(text.as_bytes()).unwrap().columns, ["a", "b"]);
    assert!(compressed.len() > MAX_SNIFFED_BYTES);
    assert_eq!(guess(&compressed).unwrap().columns, ["a", "b"]);
}

#[test]
fn unreadable_file_is_rejected() {
    for (text, kind) in [
        (&b""[..], ErrorKind::EmptyObject),
        (b"PK\x03\x04\0", ErrorKind::UnsupportedFormat),
        (b"a\0b\0,\0c\0", ErrorKind::NotUtf8),
    ] {
        assert_eq!(guess(text).unwrap_err().kind, kind);
    }
}
