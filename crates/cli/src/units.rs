//! Parsers of command-line values: durations, rates, speeds, times.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tributary_aws::tail;

/// Parses `90`, `90s`, `15m`, `1.5h`, `7d` or `250ms`; a bare number is in seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write 90s, 15m, 1.5h or 7d");
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let length = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
    // A longer duration is a mistake, and would overflow the arithmetic in milliseconds.
    let is_usable = length >= Duration::from_millis(1) && length.as_secs() < 1_000_000_000_000;
    if is_usable { Ok(length) } else { Err(wrong()) }
}

/// Parses `1000` or `1000/s`: records per second, more than 0.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    positive(text.strip_suffix("/s").unwrap_or(text))
        .ok_or_else(|| format!("{text:?} is no rate: write 1000/s"))
}

/// Parses `60x` or `60`: a multiple of real time, more than 0.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    positive(text.strip_suffix('x').unwrap_or(text))
        .ok_or_else(|| format!("{text:?} is no speed: write 60x"))
}

fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 1e-9)
}

/// Start time of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At a given time.
    At(Timestamp),
    /// Now, by the clock.
    Now,
}

impl Start {
    /// Returns the time.
    pub(crate) fn time(self) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Now => Timestamp::now(),
        }
    }
}

/// Parses `now`, RFC 3339, or a date, which is midnight UTC.
pub(crate) fn start(text: &str) -> Result<Start, String> {
    if text == "now" {
        return Ok(Start::Now);
    }
    time(text).map(Start::At).ok_or_else(|| {
        format!("{text:?} is no time: write now, 2026-01-31 or 2026-01-31T08:00:00Z")
    })
}

/// Parses RFC 3339, or a date, which is midnight UTC.
fn time(text: &str) -> Option<Timestamp> {
    let midnight = || {
        let date: Date = text.parse().ok().filter(|_| text.len() == 10)?;
        date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    midnight().or_else(|| text.parse().ok())
}

/// Parses a time as above, or `2h` or `-2h`, a duration before now.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let span = || duration(text.strip_prefix('-').unwrap_or(text)).ok();
    let before_now = || Timestamp::now().checked_sub(span()?).ok();
    before_now()
        .or_else(|| time(text))
        .ok_or_else(|| format!("{text:?} is no time: write 2h, 2026-01-31 or 2026-01-31T08:00:00Z"))
}

/// Checks that `since` is before `until`, if both are given.
///
/// # Errors
///
/// Fails if the range is empty: the arguments are a mistake.
pub(crate) fn check_order(
    since: Option<Timestamp>,
    until: Option<Timestamp>,
) -> anyhow::Result<()> {
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        anyhow::bail!("{since:.0} to {until:.0} is no time range: --since must be before --until");
    }
    Ok(())
}

/// Parses the start of reading from a stream: `latest`, `start`, or a time as above, such as `15m`
/// before now.
pub(crate) fn from(text: &str) -> Result<tail::Start, String> {
    match text {
        "latest" | "now" => Ok(tail::Start::Latest),
        "start" => Ok(tail::Start::Oldest),
        _ => moment(text).map(tail::Start::At).map_err(|_| {
            format!("{text:?} is no time: write latest, start, 15m or 2026-01-31T08:00:00Z")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [
            ("90", 90_000),
            ("250ms", 250),
            ("15m", 900_000),
            ("1.5h", 5_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "h", "-1s", "1w", "nan", "infd", "0", "1e300d", "10 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_and_speeds_are_positive() {
        assert_eq!(rate("1000/s"), Ok(1000.0));
        assert_eq!(speed("0.5x"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "x", "/s", ""] {
            assert!(rate(text).is_err() && speed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tap_start_is_latest_oldest_or_time() {
        let at = |text: &str| tail::Start::At(text.parse().unwrap());
        assert_eq!(from("latest"), Ok(tail::Start::Latest));
        assert_eq!(from("start"), Ok(tail::Start::Oldest));
        assert_eq!(from("2026-11-20T10:00:00Z"), Ok(at("2026-11-20T10:00:00Z")));
        assert_eq!(from("2026-11-20"), Ok(at("2026-11-20T00:00:00Z")));
        for text in ["-15m", "15m"] {
            let Ok(tail::Start::At(time)) = from(text) else { panic!() };
            let before = Timestamp::now().duration_since(time).as_secs();
            assert!((900..960).contains(&before), "{before}");
        }
        for text in ["", "-", "-x", "-9999999999d", "end"] {
            assert!(from(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moment_is_time_or_duration_before_now() {
        assert_eq!(moment("2026-11-20"), Ok("2026-11-20T00:00:00Z".parse().unwrap()));
        for text in ["2h", "-2h", "7200"] {
            let moment = moment(text).unwrap();
            let before = Timestamp::now().duration_since(moment).as_secs();
            assert!((7_200..7_260).contains(&before), "{text}: {before}");
        }
        for text in ["", "now", "-", "2w", "9999999999d"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn start_is_date_time_or_now() {
        let at = |text: &str| Start::At(text.parse().unwrap());
        assert_eq!(start("now"), Ok(Start::Now));
        assert_eq!(start("2026-01-31"), Ok(at("2026-01-31T00:00:00Z")));
        assert_eq!(start("2026-01-31T08:00:00+01:00"), Ok(at("2026-01-31T07:00:00Z")));
        for text in ["yesterday", "2026-13-01", "2026-01-31T08:00:00", ""] {
            assert!(start(text).is_err(), "{text}");
        }
    }
}
