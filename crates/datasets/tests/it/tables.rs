//! Tables of schemas.

use super::schemas::{compile, with};
use super::shipped;

fn tables_of(name: &str) -> String {
    shipped().datasets.by_name(name).unwrap().tables()
}

#[track_caller]
fn assert_rows(tables: &str, rows: &[&str]) {
    for row in rows {
        assert!(tables.lines().any(|line| line == *row), "{row}\n{tables}");
    }
}

#[test]
fn tables_state_what_the_schema_says() {
    assert_rows(
        &tables_of("telemetry"),
        &[
            "| partition key | `sensor_id`, else `device_id` |",
            "| `sensor_id` or `device_id` | yes | text | attribute `sensor_id` |",
            "| `humidity` | no | number in %, 0 to 100, and up to 105 counts as 100 | measure `humidity_pct` |",
            "| measure `dew_point_c` | `dew_point` of `temperature_c` and `humidity_pct` |",
            "| attribute `status` | `warning` | warning, warn |",
            "| attribute `status` | `unknown` | any other, with a fault |",
        ],
    );
    assert_rows(
        &tables_of("covid"),
        &[
            "| `event_id` | entity, `date` |",
            "| `date` | yes | `%Y-%m-%d`, in UTC | `event_time`, in UTC |",
            "| `fips` | no, but a bad value rejects the row | code of 5 digits | attribute `fips` |",
            "| attribute `state_name` | `name` of the lookup `states` |",
        ],
    );
    assert_rows(
        &tables_of("flood"),
        &[
            "| `unit` | no | `m`, `cm`, `ft`; `m` if empty | unit of `water_level_m` |",
            "| `water_level` | yes | number in the unit of `unit`, plausible -10 to 100 m | measure `water_level_m` |",
        ],
    );
    assert_rows(
        &tables_of("accidents"),
        &[
            "| `Temperature(F)` | no | number in F, from -273.15 C | measure `temperature_c` |",
            "| tag `weekend` | Saturday, Sunday; local time |",
        ],
    );
}

#[test]
fn names_do_not_end_table_fields() {
    let schema = with("from = \"temp\"", "from = \"temp|c\", unit = \"F\"");
    let schema = format!("unknown_columns = \"refuse\"\ninterval = \"90s\"\n{schema}");

    assert_rows(
        &compile(&schema).tables(),
        &[
            "| `temp\\|c` | no | number in F | measure `temp_c` |",
            "| other columns | reject the row |",
            "| usual interval | 1m 30s |",
        ],
    );
}
