//! Tests of the row limit and of the cost of the worst input.

use super::*;
use ErrorKind::{BrokenQuoting, RowTooLarge};

#[test]
fn row_limit_excludes_the_line_terminator() {
    let fits = format!("1,{}", "x".repeat(SMALL.max_row_bytes - 2));
    for end in ["\n", "\r\n", "\r", ""] {
        let read = read_with(SMALL, format!("a,b\n{fits}{end}").as_bytes());
        assert_eq!(read.lines(), [(&*fits, None)]);

        let read = read_with(SMALL, format!("a,b\n{fits}x{end}").as_bytes());
        assert_eq!(read.lines(), [("", Some(RowTooLarge))]);
    }
}

#[test]
fn oversized_row_is_one_row_without_bytes() {
    let large = "x,".repeat(500);
    let input = format!("a,b\n1,2\n{large}\n3,4\n");

    for size in [1, 7, 5000] {
        let read = read_in_pieces(SMALL, input.as_bytes(), size);

        assert_eq!(read.lines(), [("1,2", None), ("", Some(RowTooLarge)), ("3,4", None)]);
        let fault = read.rows[1].result.as_ref().unwrap_err();
        assert_eq!((&*fault.1, fault.3), ("the row has more than 40 bytes", false));
        assert_eq!(read.rows[1].position, Position { offset: 8, row: 2 });
        assert_eq!(read.rows[2].position, Position { offset: 1009, row: 3 });
    }
}

#[test]
fn broken_quote_in_oversized_line_breaks_one_line() {
    let input = format!("a,b\n1,\"2{}\n3,4\n", "x".repeat(100));
    assert_eq!(
        read_with(SMALL, input.as_bytes()).lines(),
        [("", Some(RowTooLarge)), ("3,4", None)]
    );

    let input = format!("a,b\nx\"{}\n3,4\n", "x".repeat(100));
    assert_eq!(
        read_with(SMALL, input.as_bytes()).lines(),
        [("", Some(RowTooLarge)), ("3,4", None)]
    );
}

#[test]
fn oversized_row_of_several_lines_breaks_the_first() {
    let input = format!("a,b\n1,\"2\n{}\"\n", "3,4\n".repeat(10));

    let read = read_with(SMALL, input.as_bytes());

    assert_eq!(read.rows.len(), 12);
    assert_eq!(read.lines()[0], ("1,\"2", Some(BrokenQuoting)));
    assert!(read.rows[1..11].iter().all(|row| row.code().is_none()));
}

#[test]
fn blank_line_has_no_limit() {
    let input = format!("a,b\n{}\r\n1,2\n{}", " ".repeat(100), "\t".repeat(100));

    for size in [1, 7, 5000] {
        let read = read_in_pieces(SMALL, input.as_bytes(), size);

        assert_eq!(read.lines(), [("1,2", None)]);
        assert_eq!(read.rows[0].position, Position { offset: 106, row: 1 });
    }
}

/// Reads `body` under a header of two columns and returns the number of bytes the scans passed.
fn steps(limits: Limits, body: &str, size: usize) -> u64 {
    let input = format!("a,b\n{body}");
    let mut reader = ObjectReader::new(limits);
    let read = drain(&mut reader, input.as_bytes().chunks(size));
    assert_eq!(read.refusal, None);
    reader.cost().0
}

#[test]
fn no_byte_is_scanned_more_than_twice() {
    let lines = 50_000;
    let worst = [
        "\"unclosed\n".repeat(lines),
        "1,\"2\n".repeat(lines),
        "1,\"\"\"2\n".repeat(lines),
        // One quote that nothing after it closes or breaks.
        format!("1,\"2\n{}", "3,4\n".repeat(lines)),
        format!("1,\"2\n{}", "3,\"4\"\"\"\n".repeat(lines)),
        // A quote that stays open for as long as a row may be, repeatedly.
        format!("1,\"2\n{}", "3,4\n".repeat(250)).repeat(lines / 250),
        format!("1,\"2\n{}\",3\n", "\n".repeat(900)).repeat(lines / 900),
        // Each line opens a quote that breaks far away.
        format!("{}x\"\n", "\"\n".repeat(500)).repeat(lines / 500),
        "\"a\n\",\"b\n".repeat(lines),
        ",".repeat(lines),
        "\"".repeat(lines),
    ];
    for (case, body) in worst.iter().enumerate() {
        for max_row_bytes in [64, 1024, 1024 * 1024] {
            let limits = Limits { max_row_bytes, ..Limits::default() };

            let passed = steps(limits, body, 1000);

            assert!(
                passed <= 2 * (body.len() as u64 + 4),
                "case {case}, {max_row_bytes}: {passed}"
            );
        }
    }
}

#[test]
fn pieces_of_one_byte_scan_no_more() {
    let body = format!("1,\"2\n{}", "3,4\n".repeat(5_000));

    assert_eq!(steps(Limits::default(), &body, 1), steps(Limits::default(), &body, 1 << 20));
}

#[test]
fn memory_is_bounded_by_row_and_piece() {
    let limits = Limits { max_row_bytes: 10_000, ..Limits::default() };
    let bodies = ["\"x\n".repeat(100_000), "x".repeat(300_000), "1,2\n".repeat(100_000)];
    for body in bodies {
        let input = format!("a,b\n{body}");
        let mut reader = ObjectReader::new(limits.clone());

        drain(&mut reader, input.as_bytes().chunks(1000));

        assert!(reader.cost().1 <= 4 * 11_000, "{}", reader.cost().1);
    }
}
