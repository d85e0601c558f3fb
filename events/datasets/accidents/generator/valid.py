"""valid.csv: 60 good rows, each there for a reason, and what they must become."""

from datetime import datetime

from .clock import to_utc
from .places import PLACES, place
from .rows import CLASS_OF, HEADER_2023, POI, WEATHER, Rng, make_row

FIRST_ID = 9000001
WEATHER_COLUMNS = HEADER_2023[19:29]
OPTIONAL = tuple(c for c in HEADER_2023 if c not in ("ID", "Severity", "Start_Time", "Start_Lat", "Start_Lng", "State"))

# (why, city, local start, minutes, columns); what is None is drawn.
CASES = [
    ("no weather at all", "Columbus", None, None, {c: "" for c in WEATHER_COLUMNS}),
    ("nothing but what is required", "Denver", "2019-06-12 10:10:00", None, {c: "" for c in OPTIONAL if c != "Timezone"}),
    ("empty timezone: the zone of the state", "Columbus", "2020-07-08 12:00:00", 45, {"Timezone": ""}),
    ("empty timezone, Arizona keeps standard time", "Phoenix", "2021-07-15 17:20:00", 60, {"Timezone": ""}),
    ("empty timezone, an hour that Arizona does not skip", "Tucson", "2021-03-14 02:30:00", 30, {"Timezone": ""}),
    ("Arizona with the timezone the data gives it", "Phoenix", "2021-07-15 17:20:00", 60, {}),
    ("skipped hour", "Atlanta", "2021-03-14 02:30:00", 120, {}),
    ("doubled hour: the first of the two", "Chicago", "2021-11-07 01:30:00", 90, {}),
    ("skipped hour in the other spelling", "Seattle", "2022-03-13 02:15:00", 105,
     {"Start_Time": "2022-03-13 02:15:00.000000000", "End_Time": "2022-03-13 04:00:00.000000000"}),
    ("first instant of the doubled hour", "Boise", "2022-11-06 01:00:00", 180, {}),
    ("last second before the jump", "Boston", "2021-03-14 01:59:59", 61, {}),
    ("first instant after the jump", "Boston", "2021-03-14 03:00:00", 30, {}),
    ("lasts over the end of summer time", "Nashville", "2021-11-07 00:30:00", 150, {}),
    ("a newline in a quoted cell", "Dallas", None, None, {"Description": "Crash on the service road.\nUse the next exit, please."}),
    ("commas and doubled quotes", "Newark", None, None,
     {"Description": 'Sign reads "keep left", then "merge", beyond the toll, expect delays.'}),
    ("a cell that is one quoted word", "Buffalo", None, None, {"Description": '"Detour"'}),
    ("letters beyond ASCII", "Las Vegas", None, None, {"Description": "Crash near Cañón Peñasco café – left lane closed.", "Street": "Calle Núñez"}),
    ("a comma in the street", "Richmond", None, None, {"Street": "Foundry Ln, upper level"}),
    ("a street that starts with a space", "Baltimore", None, None, {"Street": " Quarry Hill Rd"}),
    ("fraction of six digits", "Sacramento", "2021-02-02 06:54:35", 90,
     {"Start_Time": "2021-02-02 06:54:35.000000", "End_Time": "2021-02-02 08:24:35.000000"}),
    ("fraction of nine digits", "San Diego", "2022-12-03 23:37:14", 76,
     {"Start_Time": "2022-12-03 23:37:14.000000000", "End_Time": "2022-12-04 00:53:14.000000000"}),
    ("severity 1", "Miami", None, None, {"Severity": "1"}),
    ("severity 3", "Hartford", None, None, {"Severity": "3"}),
    ("severity 4", "Los Angeles", None, None, {"Severity": "4"}),
    ("severity 4 again", "Houston", None, None, {"Severity": "4"}),
    ("no end time", "Portland", "2018-10-02 08:05:00", None, {"End_Time": ""}),
    ("no street, airport or daylight", "Milwaukee", None, None,
     {c: "" for c in ("Street", "Airport_Code", *HEADER_2023[42:])}),
    ("deep frost", "Fargo", "2019-01-30 07:40:00", 95,
     {"Temperature(F)": "-26.0", "Wind_Chill(F)": "-51.0", "Weather_Condition": "Clear", "Precipitation(in)": "0.0"}),
    ("weekday morning rush", "Minneapolis", "2019-05-14 07:45:00", 40, {}),
    ("weekend night", "New Orleans", "2019-05-19 02:10:00", 55, {}),
    ("leap day", "Indianapolis", "2020-02-29 13:00:00", 60, {}),
    ("the part of Indiana on Central time", "Gary", "2020-08-03 16:45:00", 60, {}),
    ("the part of Texas on Mountain time", "El Paso", "2020-08-03 16:45:00", 60, {}),
    ("the part of Florida on Central time", "Pensacola", "2020-08-03 16:45:00", 60, {}),
    ("another year in UTC", "Los Angeles", "2021-12-31 23:45:00", 60, {}),
    ("starts and ends in the same second", "Providence", "2018-04-04 11:11:11", None, {"End_Time": "2018-04-04 11:11:11"}),
    ("longer than a year", "Billings", "2018-05-05 15:00:00", 525600, {}),
]


def valid_rows():
    """[(why, row)]"""
    rng = Rng(9000)
    rows = []
    for at, spelling in enumerate(CLASS_OF):
        poi = POI[at:at + 1]
        why = f"weather {spelling}" + (f", flag {poi[0]}" if poi else "")
        where = place("Milwaukee") if CLASS_OF[spelling] == "snow" else PLACES[(7 * at) % len(PLACES)]
        start = datetime(2019, 1, 1 + at, 7, 30) if CLASS_OF[spelling] == "snow" else None
        extra = {"Severity": "2", "Weather_Condition": spelling}
        row = make_row(rng, FIRST_ID + at, where=where, start=start, condition=spelling, poi=poi, **extra)
        if not row["Weather_Timestamp"]:  # a silent station would hide what the row is for
            row = make_row(rng, FIRST_ID + at, where=where, start=start, condition=spelling, poi=poi, **extra)
        rows.append((why, row))
    for why, city, start, minutes, columns in CASES:
        local = datetime.fromisoformat(start) if start else None
        columns = {"Severity": "2", **columns}
        rows.append((why, make_row(rng, FIRST_ID + len(rows), where=place(city), start=local, minutes=minutes, **columns)))
    assert len(rows) == 60 and sum(map(len, WEATHER.values())) == 23
    return rows


def expectations(rows):
    """Times and tags of valid.csv by a second opinion: [{id, why, event_time, …}]."""
    found = []
    for why, row in rows:
        zone = row["Timezone"] or ("US/Arizona" if row["State"] == "AZ" else next(p.timezone for p in PLACES if p.state == row["State"]))
        start, odd = to_utc(datetime.fromisoformat(row["Start_Time"][:19]), zone)
        duration = None
        if row["End_Time"]:
            end = to_utc(datetime.fromisoformat(row["End_Time"][:19]), zone)[0]
            duration = round((end - start).total_seconds() / 60, 4)
        found.append({
            "id": row["ID"],
            "why": why,
            "event_time": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "local_hour": odd,
            "timezone_from_state": not row["Timezone"],
            "duration_min": duration,
            "weather": CLASS_OF.get(row["Weather_Condition"]),
            "points_of_interest": [flag for flag in POI if row[flag] == "True"],
        })
    return found
