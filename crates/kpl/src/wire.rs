//! Reads and writes the part of the proto2 wire format that aggregates use. Fields borrow from the
//! message.
//!
//! Format: <https://protobuf.dev/programming-guides/encoding/>.

/// Value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A value of 4 or 8 bytes. Aggregates have none today; a later version of the format might.
    Fixed,
}

/// Iterator over the fields of a message, as number and value. Ends at the first fault.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), &'static str> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).unwrap_or(usize::MAX))?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups were deprecated before this format was defined.
            _ => return Err("a field of the aggregate has an unknown type"),
        };
        match tag >> 3 {
            0 => Err("a field of the aggregate has the number 0"),
            number => Ok((number, value)),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or("a field of the aggregate ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads a varint: seven bits per byte, lowest first; the eighth bit marks that another byte
    /// follows.
    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number of the aggregate has more than 64 bits")
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Returns the number of bytes that [`put_number`] appends for the value alone.
pub(super) fn varint_bytes(number: u64) -> usize {
    let bits = u64::BITS - number.leading_zeros();
    bits.max(1).div_ceil(7) as usize
}

/// Returns the number of bytes that [`put_bytes`] appends. Field numbers here are below 16, so a
/// tag is one byte.
pub(super) fn field_bytes(length: usize) -> usize {
    1 + varint_bytes(length as u64) + length
}

/// Appends a number field.
pub(super) fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

/// Appends a text, bytes or message field.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_length(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends the header of a field whose `length` bytes the caller appends.
pub(super) fn put_length(out: &mut Vec<u8>, field: u64, length: usize) {
    put_varint(out, field << 3 | 2);
    put_varint(out, length as u64);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u64, Value<'_>)>, &'static str> {
        Fields(message).collect()
    }

    #[test]
    fn numbers_of_every_length_round_trip() {
        for number in (0..64).map(|bits| 1_u64 << bits).chain([0, 127, 128, 300, u64::MAX]) {
            let mut message = Vec::new();

            put_number(&mut message, 1, number);

            assert_eq!(message.len(), 1 + varint_bytes(number), "{number}");
            assert_eq!(fields(&message), Ok(vec![(1, Value::Number(number))]));
        }
    }

    #[test]
    fn varint_over_64_bits_is_rejected() {
        for last in [0x02, 0x80] {
            let mut message = vec![0x08];
            message.extend([0xff; 9]);
            message.extend([last, 0x00]);

            assert_eq!(fields(&message), Err("a number of the aggregate has more than 64 bits"));
        }
    }

    #[test]
    fn fields_of_every_type_are_skipped_or_truncated() {
        let message = b"\x09eightlon\x15four\x12\x02ab";

        let read = [(1, Value::Fixed), (2, Value::Fixed), (2, Value::Bytes(b"ab"))];
        assert_eq!(fields(message), Ok(read.to_vec()));
        for end in [1, 8, 10, 13, 15, 17] {
            assert!(fields(&message[..end]).is_err(), "{end}");
        }
        assert!(fields(b"\x0b\x0c").is_err(), "a group");
        assert!(fields(b"\x00\x01").is_err(), "field 0");
    }
}
