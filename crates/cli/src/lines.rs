//! Reads objects of JSON Lines, whatever service wrote them.

use tributary_rows::{Format, Limits, Next, ObjectReader};

use crate::output;

/// Maximum number of unreadable lines printed one by one; further ones are only counted.
const MAX_REPORTED: u64 = 3;

/// Lines that could not be read.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    pub count: u64,
    is_silent: bool,
}

/// Calls `each` with every JSON line of an object, plain or gzip. Prints and counts lines that are
/// not JSON or that `each` returns an error for.
pub(crate) fn lines(
    key: &str,
    bytes: &[u8],
    unreadable: &mut Unreadable,
    mut each: impl FnMut(&[u8]) -> Result<(), String>,
) {
    // Above gzip's maximum compression ratio: these objects are written by our own services.
    let limits = Limits { max_gzip_ratio: 2_000, ..Limits::default() };
    let mut reader = ObjectReader::new(limits);
    reader.push(bytes);
    reader.finish();
    loop {
        let (offset, fault) = match reader.next() {
            Ok(Next::Header(header)) if header.format() == Format::JsonLines => continue,
            Ok(Next::Header(_)) => {
                unreadable.report(key, 0, "is no JSON");
                return;
            }
            Ok(Next::Row(row)) => match each(row.bytes) {
                Ok(()) => continue,
                Err(fault) => (row.position.offset, fault),
            },
            Ok(Next::Broken(broken)) => (broken.position.offset, broken.message),
            Ok(Next::NeedInput | Next::End) => return,
            Err(refusal) => {
                if !bytes.is_empty() {
                    unreadable.report(key, refusal.position.offset, &refusal.message);
                }
                return;
            }
        };
        unreadable.report(key, offset, &fault);
    }
}

impl Unreadable {
    /// Returns a counter that does not print, for lines that were printed in an earlier pass.
    pub(crate) fn silent() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    fn report(&mut self, key: &str, offset: u64, fault: &str) {
        self.count += 1;
        if self.count <= MAX_REPORTED && !self.is_silent {
            output::eprint_line(&format!("tributary: {key}, byte {offset}: {fault}"));
        }
    }
}
