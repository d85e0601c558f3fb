//! Conversion of times to CQL types.

use jiff::Timestamp;
use scylla::value::{CqlTimestamp, CqlVarint};

/// Converts a time to milliseconds, the precision of a CQL timestamp.
pub(crate) fn millis(time: Timestamp) -> CqlTimestamp {
    CqlTimestamp(time.as_millisecond())
}

pub(crate) fn time(millis: CqlTimestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis.0).ok()
}

/// Converts a time to nanoseconds, in the fewest bytes: Cassandra compares numbers of equal length.
pub(crate) fn nanos(time: Timestamp) -> CqlVarint {
    let bytes = time.as_nanosecond().to_be_bytes();
    let is_spare = |pair: &[u8]| match pair[0] {
        0x00 => pair[1] < 0x80,
        0xff => pair[1] >= 0x80,
        _ => false,
    };
    let spare = bytes.windows(2).take_while(|pair| is_spare(pair)).count();
    CqlVarint::from_signed_bytes_be_slice(&bytes[spare..])
}

/// Converts the result of [`nanos`] back.
pub(crate) fn time_of_nanos(number: &CqlVarint) -> Option<Timestamp> {
    let bytes = number.as_signed_bytes_be_slice();
    let sign = if *bytes.first()? < 0x80 { 0x00 } else { 0xff };
    let mut all = [sign; 16];
    all.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Timestamp::from_nanosecond(i128::from_be_bytes(all)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanosecond_time_uses_the_fewest_bytes() {
        let times = [
            ("1970-01-01T00:00:00Z", 1),
            ("1970-01-01T00:00:00.000000127Z", 1),
            ("1970-01-01T00:00:00.000000128Z", 2),
            ("1969-12-31T23:59:59.999999872Z", 1),
            ("1969-12-31T23:59:59.999999871Z", 2),
            ("2025-11-05T12:00:00.123456789Z", 8),
            ("-009999-01-02T01:59:59Z", 9),
            ("9999-12-30T22:00:00.999999999Z", 9),
        ];
        for (text, bytes) in times {
            let time: Timestamp = text.parse().unwrap();

            let number = nanos(time);

            assert_eq!(number.as_signed_bytes_be_slice().len(), bytes, "{text}");
            assert_eq!(time_of_nanos(&number), Some(time), "{text}");
        }
    }

    #[test]
    fn invalid_time_is_none() {
        assert_eq!(time_of_nanos(&CqlVarint::from_signed_bytes_be(vec![])), None);
        assert_eq!(time_of_nanos(&CqlVarint::from_signed_bytes_be(vec![1; 16])), None);
        assert_eq!(time_of_nanos(&CqlVarint::from_signed_bytes_be(vec![1; 17])), None);
    }
}
