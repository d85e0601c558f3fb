//! Tests of lines before the header.

use super::*;

/// Skips headers until one has the column `id`, and returns the rejections on the way.
fn find_header<'p>(
    reader: &mut ObjectReader,
    pieces: &mut impl Iterator<Item = &'p [u8]>,
) -> Vec<ErrorKind> {
    let mut rejected = Vec::new();
    loop {
        match reader.next() {
            Ok(Next::NeedInput) => match pieces.next() {
                Some(piece) => reader.push(piece),
                None => reader.finish(),
            },
            Ok(Next::Header(header)) if header.index_of("id").is_some() => return rejected,
            Ok(Next::Header(_)) => assert!(reader.skip_header()),
            Ok(_) => panic!("rows before the header"),
            Err(refusal) => {
                rejected.push(refusal.kind);
                if !reader.skip_header() {
                    return rejected;
                }
            }
        }
    }
}

const TABLE: &str = "# station: Oxbow 7, \"north\n#\r\n\nexported,2030-03-04\nA 5\" pipe;x\n\"B\n\
    C,\"C\",C\nid;level\r\nr1;1\n\"r\n2\";2\nr3\"\nr4;4\n";

#[test]
fn lines_with_hash_before_header_are_skipped() {
    let read = read("# a, \"b\n#c\n\u{feff}# d\n\nid,x\n#1,2\n");

    assert_eq!(read.json(), [r##"{"id":"#1","x":"2"}"##]);
    assert_eq!(read.header.unwrap().offset(), 19);
}

#[test]
fn json_follows_lines_with_hash() {
    assert_eq!(read("# a\n{\"b\":1}\n#c\n").json(), ["{\"b\":1}", "broken"]);

    let mut reader = ObjectReader::new(SMALL).of_format(Some(Format::JsonLines));
    let read = drain(&mut reader, std::iter::once(&b"# a\n{}\n"[..]));
    assert_eq!(read.json(), ["broken", "{}"]);
}

#[test]
fn skipped_lines_make_way_for_header() {
    for object in [TABLE.as_bytes(), &gzip(TABLE.as_bytes())] {
        for size in [1, 3, 1000] {
            let mut reader = ObjectReader::new(Limits::default());
            let mut pieces = object.chunks(size);

            let rejected = find_header(&mut reader, &mut pieces);

            let kinds =
                [ErrorKind::BrokenQuoting, ErrorKind::BrokenQuoting, ErrorKind::DuplicateColumn];
            assert_eq!(rejected, kinds);
            assert_eq!(reader.preamble_lines(), 6);
            let header = reader.header().unwrap();
            assert_eq!((header.delimiter(), header.offset()), (Some(b';'), 74));
            let read = drain(&mut reader, pieces);
            assert_eq!(read.rows.len(), 4);
            assert_eq!(read.rows[0].position, Position { offset: 84, row: 1 });
            assert_eq!(read.json()[3], r#"{"id":"r4","level":"4"}"#);
        }
    }
}

#[test]
fn reading_after_preamble_resumes_at_every_row() {
    for object in [TABLE.as_bytes(), &gzip(TABLE.as_bytes())] {
        let start = |reader: &mut ObjectReader, size| {
            let mut pieces = object.chunks(size);
            find_header(reader, &mut pieces);
            pieces
        };
        let mut reader = ObjectReader::new(Limits::default());
        let pieces = start(&mut reader, 1000);
        let whole = drain(&mut reader, pieces);

        for (row, &position) in whole.positions.iter().enumerate() {
            for size in [1, 5, 1000] {
                let mut reader = ObjectReader::new(Limits::default());
                let pieces = start(&mut reader, size);
                let rest = match reader.seek(position) {
                    Some(offset) => drain(&mut reader, object[offset as usize..].chunks(size)),
                    None => drain(&mut reader, pieces),
                };
                assert_eq!(rest.rows, whole.rows[row..]);

                let mut reader = ObjectReader::new(Limits::default());
                assert_eq!(reader.seek(position), None);
                let pieces = start(&mut reader, size);
                assert_eq!(drain(&mut reader, pieces).rows, whole.rows[row..]);
            }
        }
    }
}

#[test]
fn header_can_be_skipped_until_first_row() {
    let mut reader = ObjectReader::new(Limits::default());
    assert!(!reader.skip_header());
    reader.push(b"a\nb\n1\n2\n");
    assert!(matches!(reader.next(), Ok(Next::Header(_))));
    assert_eq!(reader.position().offset, 2);
    assert!(reader.skip_header());
    assert!(!reader.skip_header());
    assert_eq!(reader.header(), None);
    assert!(matches!(reader.next(), Ok(Next::Header(_))));
    assert!(matches!(reader.next(), Ok(Next::Row(_))));

    assert!(!reader.skip_header());
    assert!(matches!(reader.next(), Ok(Next::Row(_))));

    let mut reader = ObjectReader::new(Limits::default());
    reader.push(b"{}\n");
    assert!(matches!(reader.next(), Ok(Next::Header(_))));
    assert!(!reader.skip_header());
}

#[test]
fn at_most_64_lines_are_skipped() {
    let mut reader = ObjectReader::new(Limits::default());
    reader.push(&[&b"#\n".repeat(60)[..], &b"x\n".repeat(10)].concat());
    for _ in 0..4 {
        assert!(matches!(reader.next(), Ok(Next::Header(_))));
        assert!(reader.skip_header());
    }
    assert!(matches!(reader.next(), Ok(Next::Header(_))));
    assert!(!reader.skip_header());
    assert_eq!(reader.preamble_lines(), 64);
    assert_eq!(read("#\n".repeat(70)).header.unwrap().columns(), ["#"]);
}

#[test]
fn object_of_preamble_only_is_empty() {
    assert_eq!(read("# a\n# b").refused(), Some(ErrorKind::EmptyObject));

    let mut reader = ObjectReader::new(Limits::default());
    let rejected = find_header(&mut reader, &mut [&b"a\n\"b\n"[..]].into_iter());

    assert_eq!(rejected, [ErrorKind::BrokenQuoting, ErrorKind::EmptyObject]);
    assert_eq!(reader.next().unwrap_err().kind, ErrorKind::EmptyObject);
}

#[test]
fn long_comment_is_passed_in_constant_memory() {
    let object = format!("#{}\r\na\n1\n", "x".repeat(300_000));
    let mut reader = ObjectReader::new(SMALL);

    let read = drain(&mut reader, object.as_bytes().chunks(1000));

    assert_eq!(read.lines(), [("1", None)]);
    assert!(reader.cost().1 <= 4000, "{}", reader.cost().1);
}
