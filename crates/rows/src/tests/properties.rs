//! Properties that hold for any bytes.

use proptest::prelude::*;

use super::*;

/// Generates bytes in which quotes, commas and line ends often meet.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => prop::sample::select(b"\",\n".as_slice()),
        4 => prop::sample::select(b"a \r{}:1\\".as_slice()),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..300)
}

/// Generates lines that could each be a row, and some that break one.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "1,2\n",
        "3,4\r\n",
        "\u{feff}",
        "\u{feff}a,b\n",
        "5,6\r",
        "\"7\r8\",9\r",
        "\"p\"\r",
        "\n",
        "a,\"b\n",
        "\"c\",d\n",
        "\",e\n",
        "\"f,g\n",
        "h\"\n",
        "\"\"\"\n",
        "i,\"\"\r\n",
        "j\n",
        "  \n",
        "\"k\nl\",m\n",
        "n,o,p\n",
        "n,o,,\"\"\n",
        " \"s\", t\n",
        "{\"q\":1}\n",
        "{\"r\":\n",
        "{\"s\":[{},",
        "{\"t\":NaN}",
        "]},",
        "\"u\":{\n",
    ]);
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.concat().into_bytes())
}

fn object() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![
        "",
        "a,b\n",
        "a;b\n",
        "\u{feff}a,b\r\n",
        "{\"a\":0}\n",
        "a\n",
        "sep=:\na:b\n",
        "# c\"\na,b\n",
        "[{\"a\":0},",
        "{\"a\":0}{",
        "{\n\"a\":",
    ]);
    (first, prop_oneof![body(), lines()], 0..6).prop_map(|(first, body, form)| {
        let object = [first.as_bytes(), &body].concat();
        match form {
            0 => gzip(&object),
            1 => utf_16(&String::from_utf8_lossy(&object)),
            2 => gzip(&utf_16(&String::from_utf8_lossy(&object))),
            _ => object,
        }
    })
}

fn utf_16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Returns `true` if the bytes of the object are not those of its text.
fn is_encoded(object: &[u8]) -> bool {
    object.starts_with(&[0x1f, 0x8b]) || object.starts_with(&[0xff, 0xfe])
}

/// Generates what a dataset may declare.
fn dialect() -> impl Strategy<Value = Dialect> {
    let delimiter = prop::option::of(prop::sample::select(b",;:a".as_slice()));
    let escape = prop::option::of(prop::sample::select(b"\\:".as_slice()));
    let label = prop::sample::select(vec!["", "utf-8", "windows-1252", "shift_jis"]);
    (delimiter, escape, label).prop_map(|(delimiter, escape, label)| {
        let encoding = Encoding::of_label(label);
        Dialect { delimiter, escape, encoding }
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    // Each case is tens of kilobytes.
    #![proptest_config(cases(32))]

    #[test]
    fn damaged_gzip_is_independent_of_pieces(
        rows in prop::collection::vec(any::<u32>(), 3000..9000),
        at in any::<prop::sample::Index>(),
        damage in any::<u8>(),
        size in 1_usize..9000,
    ) {
        let table = rows.iter().fold("a\n".to_owned(), |table, row| table + &format!("{row}\n"));
        let mut object = gzip(table.as_bytes());
        let at = at.index(object.len() - 2) + 2;
        object[at] = damage;

        let whole = read_with(SMALL, &object);

        prop_assert!(whole == read_in_pieces(SMALL, &object, size));
        prop_assert_eq!(whole.positions.len(), whole.rows.len() + 1);
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn any_bytes_are_read_to_the_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_with(SMALL, &bytes);
        let _ = sniff(&bytes);
        read_with(SMALL, &[b"\x1f\x8b\x08\0", &*bytes].concat());
    }

    #[test]
    fn result_is_independent_of_pieces(
        object in object(),
        dialect in dialect(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        size in 1_usize..9,
    ) {
        let reader = || ObjectReader::new(SMALL).of_dialect(dialect);
        let whole = drain(&mut reader(), std::iter::once(&*object));

        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(object.len() + 1)).collect();
        cuts.extend([0, object.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &object[cut[0]..cut[1]]);

        prop_assert_eq!(&whole, &drain(&mut reader(), pieces));
        prop_assert_eq!(&whole, &drain(&mut reader(), object.chunks(size)));
    }

    #[test]
    fn rows_match_the_model(body in prop_oneof![body(), lines()]) {
        let read = read_with(SMALL, &[b"a,b\n", &*body].concat());

        let rows: Vec<_> = read.rows.iter().map(|row| {
            (row.position.offset as usize - 4, row.bytes.clone(), row.code())
        }).collect();
        let numbers = read.rows.iter().map(|row| row.position.row);

        prop_assert_eq!(rows, model::rows(&body, 2, SMALL.max_row_bytes));
        prop_assert!(numbers.eq(1..=read.rows.len() as u64));
        prop_assert_eq!(read.refusal, None);
    }

    #[test]
    fn every_byte_is_in_a_row_or_blank(object in object()) {
        let read = read(&object);
        if is_encoded(&object) || read.refusal.is_some() {
            return Ok(());
        }

        let header = read.header.as_ref().unwrap();
        let is_stream = header.json_layout() == Some(JsonLayout::Stream);
        let between = if is_stream { "\u{feff} \t\r\n,[]" } else { "\u{feff} \t\r\n" }.as_bytes();
        let mut at = read.positions[0].offset as usize;
        for row in &read.rows {
            let offset = row.position.offset as usize;
            prop_assert!(object[at..offset].iter().all(|byte| between.contains(byte)));
            at = offset + row.bytes.len();
            prop_assert_eq!(&object[offset..at], &row.bytes[..]);
        }
        prop_assert!(object[at..].iter().all(|byte| between.contains(byte)));
    }

    #[test]
    fn reading_resumes_at_any_row(
        object in object(),
        dialect in dialect(),
        pick in any::<prop::sample::Index>(),
    ) {
        let mut reader = ObjectReader::new(SMALL).of_dialect(dialect);
        let whole = drain(&mut reader, std::iter::once(&*object));
        if whole.header.is_none() {
            return Ok(());
        }
        let row = pick.index(whole.positions.len());

        let mut reader = ObjectReader::new(SMALL).of_dialect(dialect);
        reader.push(&object);
        reader.finish();
        prop_assert!(matches!(reader.next(), Ok(Next::Header(_))));
        let rest = match reader.seek(whole.positions[row]) {
            Some(offset) => drain(&mut reader, object[offset as usize..].chunks(11)),
            None => drain(&mut reader, [].into_iter()),
        };

        prop_assert_eq!(&rest.rows, &whole.rows[row..]);
        prop_assert_eq!(rest.refusal, whole.refusal);
    }

    #[test]
    fn row_json_is_valid(body in lines()) {
        for row in read([b"a,b\n", &*body].concat()).rows {
            if let Ok(json) = row.result {
                let value: serde_json::Value = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(value.to_string().len(), json.len());
            }
        }
    }

    #[test]
    fn well_formed_csv_matches_the_csv_crate(
        table in prop::collection::vec(prop::array::uniform3("[a-z\"\\\\,\r\n\t \u{e9}]{0,6}"), 0..20),
        crlf in any::<bool>(),
        always in any::<bool>(),
    ) {
        let mut writer = ::csv::WriterBuilder::new();
        if crlf {
            writer.terminator(::csv::Terminator::CRLF);
        }
        if always {
            writer.quote_style(::csv::QuoteStyle::Always);
        }
        let mut writer = writer.from_writer(Vec::new());
        writer.write_record(["a", "b", "c"]).unwrap();
        for row in &table {
            writer.write_record(row).unwrap();
        }
        let object = writer.into_inner().unwrap();

        let ours: Vec<serde_json::Value> =
            read(&object).json().iter().map(|json| serde_json::from_str(json).unwrap()).collect();

        let mut theirs = ::csv::Reader::from_reader(&object[..]);
        let theirs: Vec<_> = theirs.records().map(|record| {
            let fields = ["a", "b", "c"].map(String::from).into_iter();
            let fields = fields.zip(record.unwrap().iter().map(serde_json::Value::from).collect::<Vec<_>>());
            serde_json::Value::Object(fields.filter(|field| field.1 != "").collect())
        }).collect();
        prop_assert_eq!(ours, theirs);
    }
}
