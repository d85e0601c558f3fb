//! The weather class of a condition as the stations word it.

/// Words of a class; the first class with a word in the text wins, so that what is worst for
/// driving rules: `Light Rain / Windy` is rain, `Fair / Windy` is wind.
const CLASSES: &[(&str, &[&str])] = &[
    (
        "weather_snow",
        &["snow", "sleet", "wintry", "ice", "hail", "freezing", "flurries", "graupel"],
    ),
    ("weather_rain", &["rain", "drizzle", "shower", "t-storm", "thunder"]),
    ("weather_fog", &["fog", "mist", "haze"]),
    ("weather_other", &["smoke", "dust", "sand", "ash", "tornado", "funnel"]),
    ("weather_wind", &["wind", "squall"]),
    ("weather_cloudy", &["cloud", "overcast"]),
    ("weather_clear", &["clear", "fair"]),
];

/// `weather_` and one of `clear`, `cloudy`, `rain`, `snow`, `fog`, `wind`, `other`.
pub(super) fn tag(condition: &str) -> &'static str {
    let has = |word: &str| {
        condition.as_bytes().windows(word.len()).any(|at| at.eq_ignore_ascii_case(word.as_bytes()))
    };
    CLASSES
        .iter()
        .find(|(_, words)| words.iter().any(|word| has(word)))
        .map_or("weather_other", |(tag, _)| tag)
}
