//! Rewrites JSON text that no JSON parser reads, or that is not on one line.

/// Copies `text` to `out` on one line. Blanks beside braces, commas and colons are dropped if the
/// text has several lines. Bare numbers that are none, such as `NaN` or `-Infinity`, become `null`.
pub(super) fn rewrite(text: &str, out: &mut String) {
    out.clear();
    let compact = text.contains(['\r', '\n']);
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'"' => string_length(rest),
            _ if is_word(first) => {
                rest.bytes().position(|byte| !is_word(byte)).unwrap_or(rest.len())
            }
            _ => rest.bytes().position(|byte| byte == b'"' || is_word(byte)).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        if is_not_a_number(token) {
            out.push_str("null");
        } else if compact && first != b'"' {
            let length = out.len();
            out.extend(token.chars().filter(|it| !matches!(it, ' ' | '\t' | '\r' | '\n')));
            if out.len() == length {
                // Two words stay two, and the row invalid.
                out.push(' ');
            }
        } else {
            out.push_str(token);
        }
    }
}

/// Returns `true` for the bytes of numbers and words outside strings.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Returns the length of the string that `text` begins with, including its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

fn is_not_a_number(token: &str) -> bool {
    let word = token.strip_prefix(['+', '-']).unwrap_or(token);
    ["nan", "inf", "infinity"].iter().any(|name| word.eq_ignore_ascii_case(name))
}
