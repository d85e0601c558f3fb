//! Tests of continuations.

use super::*;

const TABLE: &str = "\u{feff}a,b\r\n1,2\n\n\"3\n3\",4\n5\n\"6,7\n8,9\n  \nx\"y\n10,11";

/// Reads the header, moves to `position`, and reads the rest.
fn read_from(object: &[u8], size: usize, position: Position) -> Read {
    let mut reader = ObjectReader::new(SMALL);
    let mut pieces = object.chunks(size);
    loop {
        match reader.next().unwrap() {
            Next::Header(_) => break,
            _ => match pieces.next() {
                Some(piece) => reader.push(piece),
                None => reader.finish(),
            },
        }
    }
    match reader.seek(position) {
        Some(offset) => drain(&mut reader, object[offset as usize..].chunks(size)),
        None => drain(&mut reader, pieces),
    }
}

#[test]
fn reading_continues_at_every_row() {
    let compressed = gzip(TABLE.as_bytes());
    let whole = read_with(SMALL, TABLE.as_bytes());
    assert_eq!(whole.rows.len(), 7);

    for (row, &position) in whole.positions.iter().enumerate() {
        for size in [1, 5, 1000] {
            for object in [TABLE.as_bytes(), &compressed] {
                let rest = read_from(object, size, position);

                assert_eq!(rest.rows, whole.rows[row..], "{position:?}");
                assert_eq!(rest.header, whole.header);
            }
        }
    }
}

#[test]
fn seek_in_the_middle_of_a_row() {
    let table = gzip::table(20_000);
    let whole = read(&table);

    for object in [table.as_bytes(), &gzip(table.as_bytes())] {
        let (front, back) = object.split_at(object.len() / 2);
        let mut reader = ObjectReader::new(Limits::default());
        reader.push(front);
        while !matches!(reader.next().unwrap(), Next::NeedInput) {}
        let rest = match reader.seek(whole.positions[15_000]) {
            Some(offset) => drain(&mut reader, std::iter::once(&object[offset as usize..])),
            None => drain(&mut reader, std::iter::once(back)),
        };

        assert!(rest.rows == whole.rows[15_000..]);
    }
}

#[test]
fn seek_past_the_end_returns_no_rows() {
    let position = Position { offset: 1000, row: 100 };

    for object in [TABLE.as_bytes(), &gzip(TABLE.as_bytes())] {
        let size = object.len();
        let mut reader = ObjectReader::new(SMALL);
        reader.push(object);
        reader.finish();
        assert!(matches!(reader.next(), Ok(Next::Header(_))));
        if reader.seek(position).is_some() {
            reader.finish();
        }

        let rest = drain(&mut reader, [].into_iter());

        assert_eq!((rest.rows.len(), rest.refusal), (0, None), "{size}");
    }
}

#[test]
fn seek_into_header_starts_at_first_row() {
    let whole = read_with(SMALL, TABLE.as_bytes());

    for object in [TABLE.as_bytes(), &gzip(TABLE.as_bytes())] {
        let rest = read_from(object, 1000, Position { offset: 0, row: 1 });

        assert_eq!(rest.rows, whole.rows);
    }
}

#[test]
fn seek_reads_plain_object_again() {
    let mut reader = ObjectReader::new(SMALL);
    let first = drain(&mut reader, std::iter::once(TABLE.as_bytes()));

    let offset = reader.seek(first.positions[2]).unwrap();
    let again = drain(&mut reader, std::iter::once(&TABLE.as_bytes()[offset as usize..]));

    assert_eq!(again.rows, first.rows[2..]);
}

#[test]
fn seek_before_header_skips_earlier_rows() {
    let whole = read_with(SMALL, TABLE.as_bytes());

    for object in [TABLE.as_bytes(), &gzip(TABLE.as_bytes())] {
        let mut reader = ObjectReader::new(SMALL);
        assert_eq!(reader.seek(whole.positions[3]), None);
        let rest = drain(&mut reader, object.chunks(3));

        assert_eq!(rest.rows, whole.rows[3..]);
        assert_eq!(rest.header, whole.header);
    }
}

#[test]
fn truncated_gzip_is_rejected_after_seek() {
    let compressed = gzip(TABLE.as_bytes());
    let cut = &compressed[..compressed.len() - 3];
    let whole = read_with(SMALL, cut);

    let rest = read_from(cut, 10, whole.positions[3]);

    assert_eq!(rest.rows, whole.rows[3..]);
    assert_eq!((rest.refused(), rest.refusal), (Some(ErrorKind::TruncatedGzip), whole.refusal));
}
