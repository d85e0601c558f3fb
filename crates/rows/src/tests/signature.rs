//! Tests of formats that are rejected by name.

use super::*;

const FORMATS: [(&[u8], &str); 12] = [
    (b"PK\x03\x04\x14\0\0\0", "a zip archive or an Excel workbook (.xlsx)"),
    (b"PK\x05\x06\0\0", "an empty zip archive"),
    (b"PAR1\x15\x04\x15", "a Parquet file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "an Excel workbook (.xls)"),
    (b"Obj\x01\x04\x14", "an Avro file"),
    (b"\x28\xb5\x2f\xfd\x24", "a zstd stream"),
    (b"BZh91AY&SY\xdc", "a bzip2 stream"),
    (b"BZh11AY&SY\xdc", "a bzip2 stream"),
    (b"\xfd7zXZ\0\0\x04", "an xz stream"),
    (b"7z\xbc\xaf\x27\x1c\0", "a 7z archive"),
    (b"\x04\x22\x4d\x18\x64", "an lz4 stream"),
    (b"\xff\x06\0\0sNaPpY\0", "a snappy stream"),
];

#[test]
fn other_formats_are_rejected_by_name() {
    for (object, name) in FORMATS {
        for size in [1, 3, 1000] {
            for object in [object.to_vec(), gzip(object)] {
                let refusal = read_in_pieces(SMALL, &object, size).refusal.unwrap();

                assert_eq!(refusal.kind, ErrorKind::UnsupportedFormat);
                assert_eq!(refusal.position, Position { offset: 0, row: 1 });
                let start = format!("the object is {name}: ");
                assert!(refusal.message.starts_with(&start), "{}", refusal.message);
            }
        }
    }
    let message = read(FORMATS[0].0).refusal.unwrap().message;
    assert!(message.ends_with("extract the rows with unzip -p, or save the sheet as CSV"));
}

#[test]
fn gzip_inside_gzip_is_rejected_by_name() {
    let refusal = read(gzip(&gzip(b"a\n1\n"))).refusal.unwrap();

    assert_eq!(refusal.kind, ErrorKind::UnsupportedFormat);
    assert_eq!(
        refusal.message,
        "the object is a gzip stream inside another: decompress it once with gzip -d"
    );
}

#[test]
fn text_that_resembles_a_signature_is_read() {
    for header in ["PAR1", "PAR1,x", "PAR1\r", "PK", "P", "BZh9", "Obj", "7z", "BZh#1AY&SY"] {
        for size in [1, 1000] {
            let read = read_in_pieces(Limits::default(), format!("{header}\n1\n").as_bytes(), size);

            assert_eq!((read.lines(), read.refused()), (vec![("1", None)], None), "{header:?}");
        }
        assert_eq!(read(header).refused(), None, "{header:?}");
    }
}
