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

/// Every tag.
pub(super) fn tags() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().map(|(tag, _)| *tag)
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn the_worst_for_driving_rules() {
        for (condition, expected) in [
            ("Fair", "weather_clear"),
            ("Clear", "weather_clear"),
            ("Mostly Cloudy", "weather_cloudy"),
            ("Scattered Clouds", "weather_cloudy"),
            ("Overcast", "weather_cloudy"),
            ("Light Rain / Windy", "weather_rain"),
            ("Heavy T-Storm", "weather_rain"),
            ("Thunder in the Vicinity", "weather_rain"),
            ("Light Snow", "weather_snow"),
            ("Light Freezing Rain", "weather_snow"),
            ("Wintry Mix", "weather_snow"),
            ("Patches of Fog", "weather_fog"),
            ("Haze / Windy", "weather_fog"),
            ("Fair / Windy", "weather_wind"),
            ("Squalls", "weather_wind"),
            ("Blowing Dust / Windy", "weather_other"),
            ("N/A Precipitation", "weather_other"),
        ] {
            assert_eq!(tag(condition), expected, "{condition}");
        }
    }
}
