//! Tests of gzip: whole, in members, truncated, damaged, and expanding too far.

use std::fmt::Write as _;

use flate2::GzBuilder;

use super::*;

/// Returns a table that fills several blocks of compressed input.
pub(super) fn table(rows: u32) -> String {
    let mut random = 1_u32;
    let mut table = "a,b\n".to_owned();
    for row in 0..rows {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let _ = writeln!(table, "{row},{random:x}");
    }
    table
}

#[test]
fn gzip_reads_as_the_plain_object() {
    let table = table(20_000);

    let compressed = gzip(table.as_bytes());

    assert!(compressed.len() > 100_000);
    assert!(read(&table) == read(&compressed));
    assert!(read(&table) == read_in_pieces(Limits::default(), &compressed, 777));
}

#[test]
fn gzip_members_form_one_object_before_zeros() {
    let members = [gzip(b"a,b\n1,"), gzip(b""), gzip(b"2\n3,4\n"), vec![0; 700]].concat();

    assert_eq!(read(members).lines(), [("1,2", None), ("3,4", None)]);
}

#[test]
fn zeros_after_stream_are_ignored() {
    for zeros in [1, 512, 100_000] {
        let object = [gzip(b"a,b\n1,2\n"), vec![0; zeros]].concat();
        for size in [1, 1000] {
            let read = read_in_pieces(Limits::default(), &object, size);

            assert_eq!((read.lines(), read.refused()), (vec![("1,2", None)], None));
        }
    }
}

#[test]
fn header_of_later_member_is_a_row() {
    let table = "\u{feff}a,b\n1,2\n".as_bytes();

    let read = read([gzip(table), gzip(table), gzip(table)].concat());

    assert_eq!(
        read.lines(),
        [("1,2", None), ("a,b", None), ("1,2", None), ("a,b", None), ("1,2", None)]
    );
}

#[test]
fn gzip_header_accepts_all_optional_parts() {
    let mut encoder = GzBuilder::new()
        .filename("rows.csv")
        .comment("all")
        .extra(vec![7; 300])
        .write(Vec::new(), Compression::default());
    encoder.write_all(b"a\n1\n").unwrap();
    let compressed = encoder.finish().unwrap();

    assert_eq!(read_in_pieces(Limits::default(), &compressed, 1).lines(), [("1", None)]);
}

#[test]
fn gzip_header_checksum_is_verified() {
    let plain = gzip(b"a\n1\n");
    let mut header = plain[..10].to_vec();
    header[3] |= 2;
    let mut sum = flate2::Crc::new();
    sum.update(&header);
    let [low, high, ..] = sum.sum().to_le_bytes();

    let good = [&header[..], &[low, high], &plain[10..]].concat();
    let bad = [&header[..], &[low, !high], &plain[10..]].concat();

    assert_eq!(read(good).lines(), [("1", None)]);
    assert_eq!(read(bad).refused(), Some(ErrorKind::CorruptGzip));
}

#[test]
fn data_after_last_member_is_corrupt() {
    for tail in ["x", "\0x", "\x1fx"] {
        let read = read([gzip(b"a\n1\n2"), tail.into()].concat());

        assert_eq!(read.refused(), Some(ErrorKind::CorruptGzip), "{tail:?}");
        assert_eq!(read.lines(), [("1", None)]);
        assert_eq!(read.refusal.unwrap().position, Position { offset: 4, row: 2 });
    }
}

#[test]
fn truncated_gzip_returns_whole_rows_and_rest_position() {
    let table = table(20_000);
    let compressed = gzip(table.as_bytes());

    let read = read(&compressed[..compressed.len() / 2]);

    assert_eq!(read.refused(), Some(ErrorKind::TruncatedGzip));
    assert!(read.rows.len() > 9_000 && read.rows.iter().all(|row| row.code().is_none()));
    let rest = read.refusal.unwrap().position;
    assert_eq!(rest.row, read.rows.len() as u64 + 1);
    assert!(table[rest.offset as usize..].starts_with(&format!("{},", read.rows.len())));
}

#[test]
fn gzip_cut_anywhere_is_truncated() {
    let compressed = gzip(b"a,b\n1,2\n3,4");
    for length in 2..compressed.len() {
        let read = read(&compressed[..length]);

        assert_eq!(read.refused(), Some(ErrorKind::TruncatedGzip), "{length}");
    }
    let members = [gzip(b"a,b\n1,2\n"), gzip(b"3,4\n")].concat();
    assert_eq!(
        read(&members[..=gzip(b"a,b\n1,2\n").len()]).refused(),
        Some(ErrorKind::TruncatedGzip)
    );
}

#[test]
fn gzip_trailer_mismatch_is_corrupt_after_rows() {
    let compressed = gzip(b"a,b\n1,2\n3,4\n");
    for back in 1..=8 {
        let mut damaged = compressed.clone();
        let at = damaged.len() - back;
        damaged[at] ^= 1;

        let read = read(damaged);

        assert_eq!(read.lines(), [("1,2", None), ("3,4", None)]);
        assert_eq!(read.refused(), Some(ErrorKind::CorruptGzip));
    }
}

#[test]
fn damage_in_the_middle_keeps_earlier_rows() {
    let table = table(20_000);
    let mut compressed = gzip(table.as_bytes());
    let middle = compressed.len() / 2;
    compressed[middle..middle + 64].fill(0xff);

    let whole = read(&compressed);

    assert_eq!(whole.refused(), Some(ErrorKind::CorruptGzip));
    assert!(whole.rows.len() > 5_000);
    assert!(whole == read_in_pieces(Limits::default(), &compressed, 97));
}

#[test]
fn every_row_before_damage_is_returned() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"a\n1\n2\n").unwrap();
    encoder.flush().unwrap();
    // Block type 3, which deflate reserves.
    let damaged = [encoder.get_ref().as_slice(), &[7]].concat();

    let read = read(damaged);

    assert_eq!(read.lines(), [("1", None), ("2", None)]);
    assert_eq!(read.refused(), Some(ErrorKind::CorruptGzip));
}

#[test]
fn gzip_over_ratio_is_rejected_after_one_mib() {
    let bomb = |mib: usize| {
        let mut encoder = GzEncoder::new(b"".to_vec(), Compression::best());
        encoder.write_all(&[b"a\n", &*vec![b'\n'; mib * 1024 * 1024]].concat()).unwrap();
        encoder.finish().unwrap()
    };

    assert_eq!(read(bomb(1)).refused(), Some(ErrorKind::GzipRatio));
    assert_eq!(read(gzip(&[b"a\n", &*vec![b'\n'; 1000 * 1000]].concat())).refusal, None);
    let generous = Limits { max_gzip_ratio: 2000, ..Limits::default() };
    assert_eq!(read_with(generous, &bomb(4)).refusal, None);
}

#[test]
fn gzip_is_inflated_on_demand() {
    let compressed = gzip(format!("a\n{}", "1\n".repeat(3_000_000)).as_bytes());
    let mut reader = ObjectReader::new(Limits { max_gzip_ratio: 2000, ..Limits::default() });
    reader.push(&compressed);
    reader.finish();

    let mut rows = 0;
    while let Ok(next) = reader.next() {
        match next {
            Next::End => break,
            Next::Row(_) => rows += 1,
            _ => {}
        }
        assert!(reader.cost().1 <= 256 * 1024);
    }

    assert_eq!(rows, 3_000_000);
}

#[test]
fn compression_is_known_after_two_bytes() {
    let mut reader = ObjectReader::new(Limits::default());
    reader.push(&[0x1f]);
    reader.push(&gzip(b"a\n")[1..]);
    assert!(matches!(reader.next(), Ok(Next::NeedInput)));
    assert!(reader.is_sequential());
    assert_eq!(read([0x1f]).header.unwrap().columns(), ["\x1f"]);
}
