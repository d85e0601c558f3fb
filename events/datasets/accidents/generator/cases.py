"""The kinds of bad row, each broken in exactly one way."""

from .rows import HEADER_2023, decimal, line, make_row

# Rows that are CSV and UTF-8, with one value that is wrong: (name, column, code, text).
BAD_VALUES = [
    ("id-empty", "ID", "missing_field", ""),
    ("severity-empty", "Severity", "missing_field", ""),
    ("start-time-empty", "Start_Time", "missing_field", ""),
    ("start-lat-empty", "Start_Lat", "missing_field", ""),
    ("start-lng-empty", "Start_Lng", "missing_field", ""),
    ("state-empty", "State", "missing_field", ""),
    ("severity-fraction", "Severity", "invalid_number", "2.5"),
    ("severity-word", "Severity", "invalid_number", "severe"),
    ("start-lat-word", "Start_Lat", "invalid_number", "north"),
    ("start-lng-nan", "Start_Lng", "invalid_number", "NaN"),
    ("temperature-nan", "Temperature(F)", "invalid_number", "NaN"),
    ("temperature-comma", "Temperature(F)", "invalid_number", "1,5"),
    ("pressure-inf", "Pressure(in)", "invalid_number", "inf"),
    ("wind-chill-minus-infinity", "Wind_Chill(F)", "invalid_number", "-Infinity"),
    ("distance-1e999", "Distance(mi)", "invalid_number", "1e999"),
    ("wind-speed-unit", "Wind_Speed(mph)", "invalid_number", "7 mph"),
    ("visibility-hex", "Visibility(mi)", "invalid_number", "0x0A"),
    ("precipitation-dash", "Precipitation(in)", "invalid_number", "-"),
    ("severity-0", "Severity", "out_of_range", "0"),
    ("severity-5", "Severity", "out_of_range", "5"),
    ("severity-minus-1", "Severity", "out_of_range", "-1"),
    ("start-lat-91", "Start_Lat", "out_of_range", "91.0"),
    ("start-lat-minus-91", "Start_Lat", "out_of_range", "-91.0"),
    ("start-lng-181", "Start_Lng", "out_of_range", "-181.0"),
    ("end-lat-91", "End_Lat", "out_of_range", "91.0"),
    ("end-lng-200", "End_Lng", "out_of_range", "200.0"),
    ("distance-negative", "Distance(mi)", "out_of_range", "-0.5"),
    ("humidity-140", "Humidity(%)", "out_of_range", "140.0"),
    ("humidity-negative", "Humidity(%)", "out_of_range", "-1.0"),
    ("temperature-below-absolute-zero", "Temperature(F)", "out_of_range", "-500.0"),
    ("pressure-negative", "Pressure(in)", "out_of_range", "-29.9"),
    ("visibility-negative", "Visibility(mi)", "out_of_range", "-2.0"),
    ("wind-speed-negative", "Wind_Speed(mph)", "out_of_range", "-7.0"),
    ("precipitation-negative", "Precipitation(in)", "out_of_range", "-0.1"),
    ("end-before-start", "End_Time", "out_of_range", "2016-01-01 00:00:00"),
    ("date-does-not-exist", "Start_Time", "invalid_time", "2023-02-30 08:15:00"),
    ("month-13", "Start_Time", "invalid_time", "2022-13-01 08:15:00"),
    ("hour-25", "Start_Time", "invalid_time", "2022-03-01 25:00:00"),
    ("minute-60", "Start_Time", "invalid_time", "2022-03-01 08:60:00"),
    ("start-time-word", "Start_Time", "invalid_time", "yesterday"),
    ("start-time-without-hour", "Start_Time", "invalid_time", "2022-03-01"),
    ("start-time-other-order", "Start_Time", "invalid_time", "03/01/2022 08:15"),
    ("end-time-does-not-exist", "End_Time", "invalid_time", "2023-04-31 08:15:00"),
    ("weather-timestamp-does-not-exist", "Weather_Timestamp", "invalid_time", "2023-02-29 07:51:00"),
    ("state-zz", "State", "unknown_value", "ZZ"),
    ("timezone-unknown", "Timezone", "unknown_value", "US/Atlantis"),
    ("day-night-word", "Sunrise_Sunset", "unknown_value", "Dusk"),
    ("twilight-word", "Civil_Twilight", "unknown_value", "Dim"),
    ("boolean-word", "Junction", "unknown_value", "Maybe"),
]

# Rows that do not get as far as their values: (name, code, what it does to the bytes of a good line).
# Such a row has no field.
BAD_LINES = [
    ("text-after-a-closing-quote", "broken_quoting", lambda row: _described(row, b'"Crash on ramp"s near the bridge.')),
    ("quote-in-a-bare-cell", "broken_quoting", lambda row: _described(row, b'Crash by the 12" water main.')),
    ("unclosed-quote", "broken_quoting", lambda row: _described(row, b'"Crash on the ramp, no closing quote.')),
    ("one-cell-too-few", "wrong_column_count", lambda row: _bytes(row).replace(b",US,", b",", 1)),
    ("one-cell-too-many", "wrong_column_count", lambda row: _bytes(row).replace(b",US,", b",US,US,", 1)),
    ("half-a-line", "wrong_column_count", lambda row: _described(row, b"@").split(b"@")[0] + b"Crash on\n"),
    ("latin-1", "not_utf8", lambda row: _described(row, "Crash by the Café Señora.".encode("latin-1"))),
    ("lone-continuation-byte", "not_utf8", lambda row: _described(row, b"Crash by \x80 the bridge.")),
    ("nul", "nul_byte", lambda row: _described(row, b"Crash by\0the bridge.")),
]


def _bytes(row):
    return line(row, HEADER_2023).encode()


def _described(row, raw):
    return _bytes(dict(row, Description="@@")).replace(b"@@", raw, 1)


def _sound(rng, number):
    """A good row with nothing empty and no quotes, so that one change is one fault."""
    row = make_row(rng, number, condition="Cloudy", Severity="2")
    lat, lng = float(row["Start_Lat"]), float(row["Start_Lng"])
    row["End_Lat"], row["End_Lng"] = decimal(lat + 0.001, 6), decimal(lng + 0.001, 6)
    for column, text in (("Weather_Timestamp", row["Start_Time"][:19]), ("Temperature(F)", "61.0"), ("Wind_Chill(F)", "61.0"),
                         ("Humidity(%)", "55.0"), ("Pressure(in)", "29.8"), ("Visibility(mi)", "10.0"),
                         ("Wind_Direction", "SW"), ("Wind_Speed(mph)", "7.0"), ("Precipitation(in)", "0.0"),
                         ("Weather_Condition", "Cloudy")):
        row[column] = text
    row["Description"] = "Crash on the ramp with the left lane closed."
    return row


def bad_line(rng, name, number):
    """(the bytes of one bad physical line, its column or None, its code, its ID)."""
    row = _sound(rng, number)
    for case, column, code, text in BAD_VALUES:
        if case == name:
            row[column] = text
            # The end is left out where the start is moved, so that the two cannot disagree.
            if column == "Start_Time":
                row["End_Time"] = ""
            return _bytes(row), column, code, row["ID"]
    for case, code, make in BAD_LINES:
        if case == name:
            return make(row), None, code, row["ID"]
    raise KeyError(name)


ALL = [name for name, *_ in BAD_VALUES] + [name for name, *_ in BAD_LINES]

# Those of demo.csv, and why, for people.
DEMO = [
    ("one-cell-too-few", "a cell is missing"),
    ("one-cell-too-many", "a cell too many"),
    ("text-after-a-closing-quote", "text after a closing quote"),
    ("unclosed-quote", "a quote that is never closed"),
    ("temperature-comma", "a decimal comma"),
    ("temperature-nan", "not a number"),
    ("pressure-inf", "not a finite number"),
    ("distance-1e999", "too large for a number"),
    ("severity-0", "severity below 1"),
    ("severity-5", "severity above 4"),
    ("severity-fraction", "severity is not whole"),
    ("start-lat-91", "latitude beyond the pole"),
    ("start-lng-181", "longitude beyond the date line"),
    ("date-does-not-exist", "30 February"),
    ("hour-25", "no such hour"),
    ("id-empty", "no ID"),
    ("state-empty", "no state"),
    ("state-zz", "no such state"),
    ("timezone-unknown", "no such time zone"),
    ("humidity-140", "humidity above 100 %"),
    ("distance-negative", "negative distance"),
    ("end-before-start", "ends before it starts"),
    ("latin-1", "bytes that are not UTF-8"),
    ("nul", "a NUL byte"),
]
