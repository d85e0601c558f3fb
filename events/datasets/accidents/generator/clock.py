"""Local time to UTC, and the height of the sun, from first principles.

This is a second opinion on what the Rust code does with a time zone database, so it uses none:
since 2007 the United States go forward on the second Sunday of March and back on the first Sunday
of November, each at 02:00 local time.
"""

import math
from datetime import datetime, timedelta

STANDARD_HOURS = {"US/Eastern": -5, "US/Central": -6, "US/Mountain": -7, "US/Pacific": -8, "US/Arizona": -7}


def nth_sunday(year, month, n):
    first = datetime(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (n - 1))


def to_utc(local, zone):
    """Returns (UTC instant, None | 'skipped' | 'doubled') by the usual compatible rule.

    A skipped hour is read with the offset before the jump (02:30 means 03:30 summer time), a doubled
    hour is its first, summer-time occurrence.
    """
    standard = timedelta(hours=STANDARD_HOURS[zone])
    if zone == "US/Arizona":
        return local - standard, None
    spring = nth_sunday(local.year, 3, 2) + timedelta(hours=2)
    autumn = nth_sunday(local.year, 11, 1) + timedelta(hours=2)
    hour = timedelta(hours=1)
    if spring <= local < spring + hour:
        return local - standard, "skipped"
    summer = spring + hour <= local < autumn
    note = "doubled" if autumn - hour <= local < autumn else None
    return local - standard - (hour if summer else timedelta()), note


def sun_height_deg(utc, lat, lng):
    """The height of the sun over the horizon, good to about a degree: enough for Day and Night."""
    day = (utc - datetime(utc.year, 1, 1)).total_seconds() / 86400
    turn = 2 * math.pi * (day - 80) / 365.25
    declination = math.asin(math.sin(math.radians(23.44)) * math.sin(turn))
    minutes = 9.87 * math.sin(2 * turn) - 7.53 * math.cos(turn) - 1.5 * math.sin(turn)
    solar_hours = (utc.hour + utc.minute / 60 + lng / 15 + minutes / 60) - 12
    angle = math.radians(15 * solar_hours)
    phi = math.radians(lat)
    height = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(angle)
    return math.degrees(math.asin(height))
