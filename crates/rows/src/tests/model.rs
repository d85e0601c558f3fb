//! Reference model of the rules for CSV rows, as simple as possible and without regard to cost.

use super::*;

/// A row: its offset, its bytes, and the kind of its fault. Rows that are too large have no bytes.
pub(super) type Row = (usize, Vec<u8>, Option<ErrorKind>);

/// Returns the rows of `body`, which follows a header of `columns` columns.
pub(super) fn rows(body: &[u8], columns: usize, max_bytes: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let rest = &body[at..];
        if rest.starts_with("\u{feff}".as_bytes()) {
            at += 3;
            continue;
        }
        let first = line(rest, 0);
        let content = trim(&rest[..first]);
        if content.iter().all(|&byte| is_blank(byte)) {
            at += first;
            continue;
        }
        if content.len() > max_bytes {
            rows.push((at, Vec::new(), Some(ErrorKind::RowTooLarge)));
            at += first;
            continue;
        }
        let (length, kind) = match fields(rest) {
            Some((fields, length)) if trim(&rest[..length]).len() <= max_bytes => {
                let surplus = fields.iter().skip(columns).any(|&filled| filled);
                let one_line = length == first;
                match (surplus, fields.len() >= columns || one_line) {
                    (false, true) => (length, None),
                    (true, _) if one_line => (first, Some(ErrorKind::WrongColumnCount)),
                    _ => (first, Some(ErrorKind::BrokenQuoting)),
                }
            }
            _ => (first, Some(ErrorKind::BrokenQuoting)),
        };
        let content = trim(&rest[..length]);
        let not_utf8 = str::from_utf8(content).is_err().then_some(ErrorKind::NotUtf8);
        let nul = content.contains(&0).then_some(ErrorKind::NulByte);
        rows.push((at, content.to_vec(), nul.or(not_utf8).or(kind)));
        at += length;
    }
    rows
}

/// Returns the end of the line that holds byte `from`, including its terminator.
fn line(bytes: &[u8], from: usize) -> usize {
    let end = bytes[from..].iter().position(|byte| b"\r\n".contains(byte));
    let Some(end) = end.map(|end| from + end) else { return bytes.len() };
    if bytes[end..].starts_with(b"\r\n") { end + 2 } else { end + 1 }
}

fn trim(line: &[u8]) -> &[u8] {
    let ends: [&[u8]; 3] = [b"\r\n", b"\n", b"\r"];
    ends.iter().find_map(|&end| line.strip_suffix(end)).unwrap_or(line)
}

/// Returns whether each field of the row has content, and the length of the row; `None` if its
/// quoting is broken.
fn fields(bytes: &[u8]) -> Option<(Vec<bool>, usize)> {
    let mut at = 0;
    let mut fields = Vec::new();
    loop {
        let start = at;
        let spaces = bytes[at..].iter().take_while(|&&byte| byte == b' ').count();
        if bytes.get(at + spaces) == Some(&b'"') {
            let opened = at + spaces;
            at = opened + 1;
            loop {
                at += bytes[at..].iter().position(|&byte| byte == b'"')? + 1;
                if bytes.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
            fields.push(at > opened + 2);
        } else {
            let length = bytes[at..].iter().position(|byte| b",\r\n\"".contains(byte));
            at = length.map_or(bytes.len(), |length| at + length);
            fields.push(at > start);
        }
        match &bytes[at..] {
            [b',', ..] => at += 1,
            [] | [b'\r' | b'\n', ..] => return Some((fields, line(bytes, at))),
            _ => return None,
        }
    }
}
