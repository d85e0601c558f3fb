"""One plausible accident after another, from a seed."""

import random
from datetime import datetime, timedelta

from .clock import STANDARD_HOURS, sun_height_deg, to_utc
from .places import LOCAL_STREETS, PLACES

POI = (
    "Amenity", "Bump", "Crossing", "Give_Way", "Junction", "No_Exit", "Railway", "Roundabout", "Station", "Stop",
    "Traffic_Calming", "Traffic_Signal", "Turning_Loop",
)
TWILIGHT = ("Sunrise_Sunset", "Civil_Twilight", "Nautical_Twilight", "Astronomical_Twilight")

# The March 2023 edition: 46 columns.
HEADER_2023 = (
    "ID", "Source", "Severity", "Start_Time", "End_Time", "Start_Lat", "Start_Lng", "End_Lat", "End_Lng",
    "Distance(mi)", "Description", "Street", "City", "County", "State", "Zipcode", "Country", "Timezone",
    "Airport_Code", "Weather_Timestamp", "Temperature(F)", "Wind_Chill(F)", "Humidity(%)", "Pressure(in)",
    "Visibility(mi)", "Wind_Direction", "Wind_Speed(mph)", "Precipitation(in)", "Weather_Condition",
) + POI + TWILIGHT


def _older(with_source_and_tmc):
    header = []
    for name in HEADER_2023:
        if name == "Source" and not with_source_and_tmc:
            continue
        if name == "Street":
            header += ["Number", "Street", "Side"]
        else:
            header.append(name)
        if name == "Source":
            header.append("TMC")
    return tuple(header)


# December 2021: 47 columns (no Source, no TMC). 2019 and June 2020: 49.
HEADERS = {2023: HEADER_2023, 2021: _older(False), 2019: _older(True)}

SOURCES = {2023: ("Source1", "Source2", "Source3"), 2021: ("",), 2019: ("MapQuest", "Bing", "MapQuest-Bing")}
YEARS = {2023: (2017, 2022), 2021: (2017, 2020), 2019: (2016, 2018)}

# class -> spellings; the classes are those of the `accidents` dataset's weather tag.
WEATHER = {
    "clear": ("Fair", "Clear"),
    "cloudy": ("Cloudy", "Mostly Cloudy", "Partly Cloudy", "Overcast", "Scattered Clouds"),
    "rain": ("Light Rain", "Rain", "Heavy Rain", "Light Drizzle", "T-Storm"),
    "snow": ("Light Snow", "Snow", "Heavy Snow", "Wintry Mix"),
    "fog": ("Fog", "Patches of Fog", "Mist"),
    "wind": ("Fair / Windy", "Squalls / Windy"),
    "other": ("N/A Precipitation", "Volcanic Ash"),
}
CLASS_OF = {spelling: name for name, spellings in WEATHER.items() for spelling in spellings}

# Share of the day's accidents by local hour: two rush hours, quiet nights.
HOUR_WEIGHTS = (3, 2, 2, 2, 4, 8, 15, 24, 23, 14, 12, 12, 13, 14, 16, 20, 24, 25, 18, 11, 9, 8, 6, 4)
DIRECTIONS = ("N", "NNE", "NE", "E", "ESE", "SE", "S", "SSW", "SW", "W", "WNW", "NW", "VAR", "South", "West", "Variable")


class Rng:
    """Draws only by random(): the one method whose sequence Python promises to keep for a seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def chance(self, p):
        return self._random.random() < p

    def between(self, low, high):
        return low + (high - low) * self._random.random()

    def whole(self, low, high):
        return low + int(self._random.random() * (high - low + 1))

    def pick(self, items):
        return items[int(self._random.random() * len(items))]

    def weighted(self, items, weights):
        at = self._random.random() * sum(weights)
        for item, weight in zip(items, weights):
            at -= weight
            if at < 0:
                return item
        return items[-1]

    def shuffled(self, items):
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = self.whole(0, i)
            items[i], items[j] = items[j], items[i]
        return items


def decimal(value, places):
    """`60.0`, `0.037`: at least one decimal, no trailing zeros beyond it, as the data set writes."""
    text = f"{value:.{places}f}".rstrip("0")
    text = text + "0" if text.endswith(".") else text
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def _when(rng, zone, edition):
    """A local start time that exists exactly once; the odd hours are made on purpose elsewhere."""
    while True:
        day = datetime(rng.whole(*YEARS[edition]), 1, 1) + timedelta(days=rng.whole(0, 364))
        if day.weekday() >= 5 and rng.chance(0.5):
            continue
        hour = rng.weighted(range(24), HOUR_WEIGHTS)
        local = day + timedelta(hours=hour, minutes=rng.whole(0, 59), seconds=rng.whole(0, 59) if rng.chance(0.7) else 0)
        if zone not in STANDARD_HOURS or to_utc(local, zone)[1] is None:
            return local


def _weather(rng, row, where, local, condition):
    """Fills the weather columns so that they agree with each other, the season and the place."""
    season = -((local.timetuple().tm_yday - 20) / 365.25 * 2 - 1) ** 2 * 2 + 1  # -1 in January, 1 in July
    warmth = 88 - 1.1 * (where.lat - 25) - where.elevation_ft / 1000 * 2.5
    temperature = warmth - 12 + season * (6 + 0.7 * (where.lat - 25)) + (6 if 11 <= local.hour <= 18 else -6) + rng.between(-8, 8)
    if condition is None:
        name = rng.weighted(list(WEATHER), (36, 40, 12, 5, 4, 2, 1))
        if name == "snow" and temperature > 33:
            name = "rain"
        if name == "rain" and temperature < 30:
            name = "snow"
        condition = rng.pick(WEATHER[name])
    name = CLASS_OF.get(condition, "other")
    if name == "snow":
        temperature = min(temperature, 33 - rng.between(0, 8))
    if name == "rain":
        temperature = max(temperature, 36 + rng.between(0, 8))
    wind = rng.between(26, 40) if name == "wind" else rng.pick((0, 0, 3, 5, 6, 7, 8, 9, 10, 12, 13, 15, 17))
    chill = temperature
    if temperature <= 50 and wind > 3:
        speed = wind ** 0.16
        chill = 35.74 + 0.6215 * temperature - 35.75 * speed + 0.4275 * temperature * speed
    wet = name in ("rain", "snow", "fog")
    row["Weather_Timestamp"] = str(local + timedelta(minutes=rng.whole(-30, 25)))[:17] + "00"
    row["Temperature(F)"] = decimal(round(temperature), 1)
    row["Wind_Chill(F)"] = decimal(round(chill), 1) if rng.chance(0.72) else ""
    row["Humidity(%)"] = decimal(rng.whole(80, 100) if wet else rng.whole(22, 88), 1)
    row["Pressure(in)"] = decimal(29.98 - where.elevation_ft / 1000 * 1.03 + rng.between(-0.3, 0.25), 2)
    row["Visibility(mi)"] = decimal(rng.pick((0.25, 0.5, 1.0, 2.0)) if name == "fog" else rng.whole(1, 7) if wet else 10, 2)
    row["Wind_Speed(mph)"] = decimal(round(wind), 1)
    row["Wind_Direction"] = rng.pick(("CALM", "Calm")) if round(wind) == 0 else rng.pick(DIRECTIONS)
    falls = rng.between(0.01, 0.3) if name in ("rain", "snow") else 0
    row["Precipitation(in)"] = decimal(falls, 2) if rng.chance(0.7) else ""
    row["Weather_Condition"] = condition
    if rng.chance(0.04):  # the station was silent
        for column in HEADER_2023[19:29]:
            row[column] = ""


def _description(rng, where, road, street):
    other = rng.pick([s for s in LOCAL_STREETS if s != street.strip()])
    exit_number = rng.whole(1, 240)
    return rng.pick((
        f"Two vehicles collided on {road} near exit {exit_number}.",
        f"Right shoulder blocked on {road} beyond {other}.",
        f"Crash at the corner of {street.strip()} and {other}, use caution.",
        f"Slow going on {road} in {where.city}, left lane closed, expect {rng.whole(2, 9) * 5} minutes.",
        f"Stalled truck after a crash on {road} at mile {exit_number}; road crew on the way.",
        f"Traffic held on {road} between exits {exit_number} and {exit_number + rng.whole(1, 4)}.",
        f'Signs at {other} read "detour", {road} narrowed to one lane.',
    ))


def make_row(rng, number, edition=2023, where=None, start=None, minutes=None, condition=None, poi=(), **columns):
    """One good row as {column: text}, with every column of every edition.

    `number` becomes the ID. What is given is kept, the rest is drawn; `columns` (by header name) has
    the last word, and a fixture may use it to write a bad value.
    """
    where = where or rng.pick(PLACES)
    local = start or _when(rng, where.timezone, edition)
    minutes = minutes or (rng.whole(15, 180) if rng.chance(0.95) else rng.whole(181, 2000))
    end = local + timedelta(minutes=minutes, seconds=0 if start else rng.whole(0, 59))
    spelling = ".000000000" if edition == 2023 and start is None and rng.chance(0.15) else ""
    lat, lng = where.lat + rng.between(-0.08, 0.08), where.lng + rng.between(-0.08, 0.08)
    places = 14 if rng.chance(0.1) else 6
    on_road = rng.chance(0.45)
    road = rng.pick(where.roads)
    street = road if on_road else (" " if rng.chance(0.25) else "") + rng.pick(LOCAL_STREETS)

    row = {
        "ID": f"A-{number}",
        "Source": rng.weighted(SOURCES[edition], (54, 44, 2)[: len(SOURCES[edition])]),
        "TMC": rng.pick(("201.0", "241.0", "229.0", "")),
        "Severity": rng.weighted(("1", "2", "3", "4"), (2, 76, 17, 5)),
        "Start_Time": f"{local}{spelling}",
        "End_Time": f"{end}{spelling}",
        "Start_Lat": decimal(lat, places),
        "Start_Lng": decimal(lng, places),
        "End_Lat": "",
        "End_Lng": "",
        "Distance(mi)": "0.0",
        "Description": _description(rng, where, road, street),
        "Number": decimal(rng.whole(100, 9900), 1) if rng.chance(0.4) else "",
        "Street": street,
        "Side": rng.pick(("R", "R", "L")),
        "City": where.city,
        "County": where.county,
        "State": where.state,
        "Zipcode": where.zipcode + (f"-{rng.whole(1000, 9999)}" if rng.chance(0.3) else ""),
        "Country": "US",
        "Timezone": where.timezone,
        "Airport_Code": where.airport,
    }
    if rng.chance(0.5):
        miles = rng.between(0.01, 2.5)
        row["End_Lat"], row["End_Lng"] = decimal(lat + miles / 69 * 0.7, places), decimal(lng + miles / 69 * 0.9, places)
        row["Distance(mi)"] = decimal(miles, 3)
    _weather(rng, row, where, local, condition)
    for flag in POI:
        common = {"Crossing": 0.11, "Junction": 0.08, "Traffic_Signal": 0.14, "Stop": 0.03, "Station": 0.03}
        row[flag] = str(flag in poi or rng.chance(common.get(flag, 0.01) if not on_road or flag == "Junction" else 0))
    height = sun_height_deg(to_utc(local, where.timezone)[0], where.lat, where.lng)
    for column, horizon in zip(TWILIGHT, (-0.8, -6, -12, -18)):
        row[column] = "Day" if height > horizon else "Night"
    for column, text in columns.items():
        if column not in row:
            raise KeyError(column)
        row[column] = text
    return row


def quoted(text):
    """The cell as CSV writes it: quoted only when it must be (RFC 4180)."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def line(row, header, ending="\n"):
    return ",".join(quoted(row[column]) for column in header) + ending


def head(header, ending="\n"):
    return ",".join(header) + ending
