//! Tests of delimiters, escapes and encodings, declared and detected.

use super::*;
use ErrorKind::{BrokenQuoting, NotUtf8};

/// Reads in pieces of several sizes, which must make no difference.
fn read_as(dialect: Dialect, input: impl AsRef<[u8]>) -> Read {
    let input = input.as_ref();
    let read = |size| {
        let mut reader = ObjectReader::new(Limits::default()).of_dialect(dialect);
        drain(&mut reader, input.chunks(size))
    };
    let whole = read(usize::MAX);
    for size in [1, 2, 3, 7] {
        assert!(read(size) == whole, "pieces of {size}");
    }
    whole
}

fn detected(input: impl AsRef<[u8]>) -> Read {
    read_as(Dialect::default(), input)
}

fn declared(label: &str) -> Dialect {
    Dialect { encoding: Encoding::of_label(label), ..Dialect::default() }
}

#[test]
fn most_frequent_delimiter_of_header_is_used() {
    for (header, delimiter, columns) in [
        ("a;b,c;d", b';', 3),
        ("a\tb\tc", b'\t', 3),
        ("a|b", b'|', 2),
        ("a;b,c", b',', 2),
        ("a", b',', 1),
        ("\"x,y,z\";b", b';', 2),
        ("\"x\n,,\";b", b';', 2),
    ] {
        let header = detected(format!("{header}\n,;\t|\n")).header.unwrap();

        assert_eq!(header.delimiter(), Some(delimiter), "{header:?}");
        assert_eq!(header.columns().len(), columns, "{header:?}");
    }
}

#[test]
fn semicolon_rows_keep_their_commas() {
    let read = detected("id;level\nr1;12,5\nr2;\"3;4\"\nr3;x\"\n");

    assert_eq!(
        read.json(),
        [r#"{"id":"r1","level":"12,5"}"#, r#"{"id":"r2","level":"3;4"}"#, "broken"]
    );
}

#[test]
fn declared_delimiter_takes_precedence_over_header() {
    let dialect = Dialect { delimiter: Some(b'|'), ..Dialect::default() };

    assert_eq!(read_as(dialect, "a,b,c|d\n1|2\n").json(), [r#"{"a,b,c":"1","d":"2"}"#]);
}

#[test]
fn unusable_dialect_is_detected() {
    for byte in [b'"', b'\n', b'\r', 0xe9] {
        let dialect = Dialect { delimiter: Some(byte), escape: Some(byte), ..Dialect::default() };

        assert_eq!(read_as(dialect, "a;b\n1;\"2\"\"\"\n").json(), [r#"{"a":"1","b":"2\""}"#]);
    }
}

#[test]
fn sep_line_sets_the_delimiter() {
    for first in ["sep=;\n", "SEP=;\r\n", "\"sep=;\"\n\n", "\u{feff}sep=;\n"] {
        let read = detected(format!("{first}a,x,y;b\n1;2\n"));

        assert_eq!(read.json(), [r#"{"a,x,y":"1","b":"2"}"#], "{first:?}");
        assert_eq!(read.rows[0].position.row, 1);
    }
    assert_eq!(detected("sep=^\na^b\n1^2\n").json(), [r#"{"a":"1","b":"2"}"#]);
    assert_eq!(detected("sep=,").refused(), Some(ErrorKind::EmptyObject));
    assert_eq!(detected("sep=\"\na\"b\n").refused(), Some(BrokenQuoting));
}

#[test]
fn column_that_resembles_sep_line_is_kept() {
    for header in ["sep=", "sep=x", "sep=;;;;;;;;;", "sepal,petal", "\"sep=", "s"] {
        let header = format!("{header}\n");
        let header = header.replace("\"sep=", "\"sep=\"");
        let columns = detected(&header).header.unwrap().columns()[0].clone();

        assert!(columns.starts_with('s'), "{header:?}: {columns:?}");
    }
}

#[test]
fn backslash_escapes_quotes_where_declared() {
    let input = r#"a,b
"said \"no\", twice",1
"ends with \\",2
"C:\new\\old \\\"x\\\"",3
"both "" and \"",4
\,5
"#;
    let dialect = Dialect { escape: Some(b'\\'), ..Dialect::default() };

    let read = read_as(dialect, input);

    let values: Vec<serde_json::Value> =
        read.json().iter().map(|json| serde_json::from_str(json).unwrap()).collect();
    let values: Vec<_> = values.iter().map(|row| row["a"].as_str().unwrap()).collect();
    assert_eq!(
        values,
        [r#"said "no", twice"#, r"ends with \", r#"C:\new\\old \"x\""#, r#"both " and ""#, r"\"]
    );
    assert_eq!(detected(input).rows[0].code(), Some(BrokenQuoting));
}

#[test]
fn escaped_quote_does_not_close_a_row() {
    let dialect = Dialect { escape: Some(b'\\'), ..Dialect::default() };

    let read = read_as(dialect, "a,b\n\"1\\\",2\n3,4\n");

    assert_eq!(read.lines(), [("\"1\\\",2", Some(BrokenQuoting)), ("3,4", None)]);
    assert_eq!(read.message(0), "the quote at byte 0 is never closed");
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn utf_16_with_mark_reads_as_utf_8() {
    for text in ["id;name\nr1;\u{e9}\u{20ac}\u{1f30a}\n", "{\"id\":\"r\u{20ac}\"}\n{}\n", "a\n1"] {
        let marked = format!("\u{feff}{text}");
        let expected = read(text);
        for object in [utf_16(&marked, u16::to_le_bytes), utf_16(&marked, u16::to_be_bytes)] {
            assert_eq!(detected(&object), expected);
            assert_eq!(detected(gzip(&object)), expected);
            assert_eq!(read_as(declared("windows-1252"), &object), expected);
        }
    }
}

#[test]
fn utf_16_without_mark_is_rejected_by_name() {
    let text = "id,name\nr1,x\n";
    for (object, label) in
        [(utf_16(text, u16::to_le_bytes), "UTF-16LE"), (utf_16(text, u16::to_be_bytes), "UTF-16BE")]
    {
        let refusal = detected(&object).refusal.unwrap();

        assert_eq!(refusal.kind, NotUtf8);
        let message = format!(
            "the text is UTF-16 without a byte order mark: convert it with iconv -f {label} -t UTF-8"
        );
        assert_eq!(refusal.message, message);
        assert_eq!(read_as(declared(label), &object), read(text));
    }
    for text in ["\u{feff}a\n", "id,name\n"] {
        for bytes in [u32::to_le_bytes, u32::to_be_bytes] {
            let utf_32: Vec<_> = text.chars().flat_map(|it| bytes(u32::from(it))).collect();
            let message = detected(utf_32).refusal.unwrap().message;
            assert!(message.starts_with("the text is UTF-32"), "{message}");
        }
    }
}

#[test]
fn invalid_utf_16_breaks_its_row() {
    let mut object = utf_16("\u{feff}a\n1\n", u16::to_le_bytes);
    object.extend([b'x', 0, 0, 0xd8, b'\n', 0, b'2', 0, b'\n', 0, b'3']);

    let read = detected(object);

    let codes: Vec<_> = read.rows.iter().map(ReadRow::code).collect();
    assert_eq!(codes, [None, Some(NotUtf8), None, Some(NotUtf8)]);
    assert_eq!(read.message(1), "the row has bytes that are not UTF-16LE at byte 1");
}

#[test]
fn declared_encoding_is_decoded() {
    let object = b"id,place\nr1,D\xf3na Ana\x80\n";

    let read = read_as(declared("windows-1252"), object);

    assert_eq!(read.json(), ["{\"id\":\"r1\",\"place\":\"D\u{f3}na Ana\u{20ac}\"}"]);
    assert_eq!(detected(object).rows[0].code(), Some(NotUtf8));
    assert_eq!(Encoding::of_label("LATIN1").map(Encoding::name), Some("windows-1252"));
    assert_eq!(Encoding::of_label("iso-2022-kr"), None);
}

#[test]
fn character_split_between_pieces_is_whole() {
    let read = read_as(declared("shift_jis"), b"a,b\n\x8c\x8e,\xe0\n");

    assert_eq!(read.rows[0].code(), Some(NotUtf8));
    assert_eq!(read.message(0), "the row has bytes that are not Shift_JIS at byte 4");
}

#[test]
fn decoded_object_resumes_at_every_row() {
    let object = utf_16("\u{feff}a,b\n1,\u{e9}\n\n\"3\n3\",4\n5,\"6\n", u16::to_le_bytes);
    let whole = detected(&object);

    for (row, &position) in whole.positions.iter().enumerate() {
        let mut reader = ObjectReader::new(Limits::default());
        assert!(!matches!(reader.next(), Ok(Next::Header(_))));
        reader.push(&object[..16]);
        assert!(matches!(reader.next(), Ok(Next::Header(_))));
        assert!(reader.is_sequential());
        assert_eq!(reader.seek(position), None);

        let rest = drain(&mut reader, object[16..].chunks(5));

        assert_eq!(rest.rows, whole.rows[row..]);
    }
}
