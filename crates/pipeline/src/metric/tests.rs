use serde_json::json;

use super::*;

const NOON: &str = "2026-11-20T12:00:00Z";

fn spec(measure: Option<&str>, dimensions: &[&str], max_series: usize) -> MetricSpec {
    MetricSpec {
        name: measure.unwrap_or("accidents").to_owned(),
        dataset: "accidents".to_owned(),
        measure: measure.map(str::to_owned),
        dimensions: dimensions.iter().map(|&name| name.to_owned()).collect(),
        max_series,
    }
}

fn event(city: &str, severity: f64, temperature_c: f64) -> String {
    json!({"kind": "reading", "dataset": "accidents", "event_id": "e1", "entity": "OH/Montgomery",
        "event_time": "2016-02-08T05:46:00Z", "received_at": NOON, "attributes": {"city": city},
        "measures": {"severity": severity, "temperature_c": temperature_c}, "tags": []})
    .to_string()
}

fn add_up(specs: &[MetricSpec], events: &[(String, &str)]) -> Vec<Datum> {
    let mut aggregator = Aggregator::new(specs);
    for (event, arrival) in events {
        let event = Event::from_json(event.as_bytes()).unwrap();
        aggregator.add(&event, arrival.parse().unwrap());
    }
    let series = aggregator.series().into_iter();
    let admitted = series.map(|(day, series)| {
        (day, series.into_iter().take(specs[day.metric].max_series).collect())
    });
    aggregator.finish(&admitted.collect()).data
}

/// Returns the dimension values and the number of events of each datum.
fn counts(data: &[Datum]) -> Vec<(Vec<&str>, f64)> {
    data.iter()
        .map(|datum| {
            let values = datum.dimensions.iter().map(|(_, value)| value.as_str()).collect();
            (values, datum.counts.iter().sum())
        })
        .collect()
}

#[test]
fn events_of_a_minute_share_a_datum() {
    let specs = [spec(None, &["severity", "city"], 10)];
    let events = [
        (event("Dayton", 2.0, 1.0), "2026-11-20T11:58:01Z"),
        (event("Dayton", 2.0, 2.0), "2026-11-20T11:58:59Z"),
        (event("Dayton", 4.0, 3.0), "2026-11-20T11:58:59Z"),
        (event("Dayton", 2.0, 4.0), "2026-11-20T11:59:00Z"),
    ];

    let data = add_up(&specs, &events);

    let expected =
        [(vec!["2", "Dayton"], 2.0), (vec!["4", "Dayton"], 1.0), (vec!["2", "Dayton"], 1.0)];
    assert_eq!(counts(&data), expected);
    assert_eq!(data[0].values, [1.0]);
    assert_eq!(data[0].time.to_string(), "2026-11-20T11:58:00Z");
}

#[test]
fn measure_keeps_its_distribution() {
    let specs = [spec(Some("temperature_c"), &["dataset"], 10)];
    let events = [20.5, -3.0, 20.5, -0.0, 0.0].map(|t| (event("Dayton", 2.0, t), NOON));

    let data = add_up(&specs, &events);

    assert_eq!(data.len(), 1);
    assert_eq!(data[0].values, [-3.0, 0.0, 20.5]);
    assert_eq!(data[0].counts, [1.0, 2.0, 2.0]);
}

#[test]
fn distinct_values_of_one_series_are_one_datum() {
    let specs = [spec(Some("temperature_c"), &["dataset"], 10)];
    let events: Vec<_> = (0..400).map(|t| (event("Dayton", 2.0, f64::from(t)), NOON)).collect();

    let data = add_up(&specs, &events);

    let lengths: Vec<_> = data.iter().map(|datum| datum.values.len()).collect();
    assert_eq!(lengths, [400]);
}

#[test]
fn series_over_limit_are_counted_as_other() {
    let specs = [spec(None, &["city"], 2)];
    let events = ["a", "b", "c", "d", "a", "c"].map(|city| (event(city, 2.0, 1.0), NOON));

    let data = add_up(&specs, &events);

    assert_eq!(counts(&data), [(vec!["a"], 2.0), (vec!["b"], 1.0), (vec!["other"], 3.0)]);
}

#[test]
fn limit_counts_series_of_a_day_not_minutes() {
    let specs = [spec(None, &["city"], 2)];
    let arrivals = ["2026-11-20T23:58:00Z", "2026-11-20T23:59:00Z", "2026-11-21T00:00:00Z"];
    let mut aggregator = Aggregator::new(&specs);
    for (arrival, city) in arrivals.iter().flat_map(|arrival| [(arrival, "b"), (arrival, "a")]) {
        let event = event(city, 2.0, 1.0);
        let event = Event::from_json(event.as_bytes()).unwrap();
        aggregator.add(&event, arrival.parse().unwrap());
    }

    let series = aggregator.series();

    let [b, a] = ["b", "a"].map(|city| Id::of_text(&[&format!("{city}{END}")]).prefix());
    let days: Vec<_> = series.iter().map(|(it, series)| (it.day, series.clone())).collect();
    assert_eq!(days, [(20_777, vec![b, a]), (20_778, vec![b, a])]);
    let aggregated = aggregator.finish(&BTreeMap::new());
    assert_eq!((aggregated.data.len(), aggregated.others.to_bits()), (3, 6.0_f64.to_bits()));
}

#[test]
fn limit_above_maximum_is_rejected() {
    let schemas = tributary_config::Configuration::shipped().unwrap().schemas();
    let limit = |max_series| check(&[spec(None, &[], max_series)], &schemas);

    assert_eq!(limit(MAX_SERIES), Ok(()));
    let error = limit(MAX_SERIES + 1).unwrap_err().to_string();
    assert_eq!(error, "metric accidents: max_series is 10001, above 10000");
}

#[test]
fn dimension_values_keep_their_text() {
    let specs = [spec(None, &["city"], 10)];
    let long = "x".repeat(2_000);
    let events = ["Cañon City", " ", "a\u{1f}b", &long].map(|city| (event(city, 2.0, 1.0), NOON));

    let data = add_up(&specs, &events);

    let mut values: Vec<_> = counts(&data).into_iter().map(|(values, _)| values[0]).collect();
    values.sort_unstable();
    assert_eq!(values, ["Cañon City", "a?b", "unknown", &long]);
}

#[test]
fn old_arrival_keeps_its_minute() {
    let specs = [spec(None, &["city"], 10)];

    let data = add_up(&specs, &[(event("a", 2.0, 1.0), "2026-01-01T00:00:30Z")]);

    assert_eq!(data[0].time.to_string(), "2026-01-01T00:00:00Z");
}

#[test]
fn metric_of_unknown_dataset_is_rejected() {
    let schemas = tributary_config::Configuration::shipped().unwrap().schemas();
    let mut metric = spec(None, &[], 1);
    metric.dataset = "weather".into();

    let error = check(&[metric], &schemas).unwrap_err().to_string();

    let names = schemas.names();
    assert_eq!(error, format!("metric accidents: dataset \"weather\" is none of {names}"));
}
