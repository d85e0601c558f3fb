"""Where the made-up accidents happen: public facts about cities, nothing from any data set.

The positions are city centres to two decimals; the generator scatters accidents around them.
"""

from typing import NamedTuple


class Place(NamedTuple):
    city: str
    county: str
    state: str
    timezone: str
    zipcode: str
    airport: str
    lat: float
    lng: float
    elevation_ft: int
    roads: tuple  # main roads, the kind of name that stands in Street and in descriptions


E, C, M, P = "US/Eastern", "US/Central", "US/Mountain", "US/Pacific"

PLACES = [
    # Eastern
    Place("Boston", "Suffolk", "MA", E, "02118", "KBOS", 42.35, -71.06, 20, ("I-93 N", "I-90 W")),
    Place("Providence", "Providence", "RI", E, "02903", "KPVD", 41.82, -71.41, 60, ("I-95 N", "US-6 E")),
    Place("Hartford", "Hartford", "CT", E, "06103", "KHFD", 41.76, -72.68, 40, ("I-84 E", "I-91 S")),
    Place("Buffalo", "Erie", "NY", E, "14203", "KBUF", 42.89, -78.88, 600, ("I-190 N", "NY-33 E")),
    Place("Brooklyn", "Kings", "NY", E, "11215", "KJRB", 40.66, -73.98, 50, ("I-278 W", "Belt Pkwy E")),
    Place("Newark", "Essex", "NJ", E, "07102", "KEWR", 40.73, -74.17, 30, ("I-78 E", "US-22 W")),
    Place("Philadelphia", "Philadelphia", "PA", E, "19104", "KPHL", 39.95, -75.17, 40, ("I-76 W", "I-95 S")),
    Place("Baltimore", "Baltimore City", "MD", E, "21201", "KDMH", 39.29, -76.61, 30, ("I-95 N", "I-83 S")),
    Place("Richmond", "Richmond City", "VA", E, "23219", "KRIC", 37.54, -77.43, 170, ("I-64 E", "I-195 S")),
    Place("Charlotte", "Mecklenburg", "NC", E, "28202", "KCLT", 35.23, -80.84, 750, ("I-77 S", "I-485 Outer")),
    Place("Columbia", "Richland", "SC", E, "29201", "KCUB", 34.00, -81.03, 290, ("I-26 W", "I-20 E")),
    Place("Atlanta", "Fulton", "GA", E, "30309", "KFTY", 33.75, -84.39, 1000, ("I-75 N", "I-285 E")),
    Place("Miami", "Miami-Dade", "FL", E, "33130", "KMIA", 25.77, -80.19, 10, ("I-95 S", "FL-836 W")),
    Place("Jacksonville", "Duval", "FL", E, "32202", "KCRG", 30.33, -81.66, 20, ("I-10 W", "I-295 N")),
    Place("Columbus", "Franklin", "OH", E, "43215", "KCMH", 39.96, -83.00, 780, ("I-71 N", "I-270 W")),
    Place("Detroit", "Wayne", "MI", E, "48226", "KDET", 42.33, -83.05, 600, ("I-94 E", "M-10 N")),
    Place("Indianapolis", "Marion", "IN", E, "46204", "KEYE", 39.77, -86.16, 720, ("I-65 N", "I-465 S")),
    Place("Louisville", "Jefferson", "KY", E, "40202", "KLOU", 38.25, -85.76, 460, ("I-64 W", "I-264 E")),
    # Central, with the corners of states whose larger part is elsewhere
    Place("Gary", "Lake", "IN", C, "46402", "KGYY", 41.60, -87.34, 600, ("I-80 E", "I-65 S")),
    Place("Pensacola", "Escambia", "FL", C, "32502", "KPNS", 30.42, -87.22, 30, ("I-10 E", "I-110 S")),
    Place("Nashville", "Davidson", "TN", C, "37203", "KJWN", 36.16, -86.78, 550, ("I-24 E", "I-440 W")),
    Place("Chicago", "Cook", "IL", C, "60607", "KMDW", 41.88, -87.63, 590, ("I-90 W", "I-55 S")),
    Place("Milwaukee", "Milwaukee", "WI", C, "53202", "KMKE", 43.04, -87.91, 620, ("I-94 W", "I-43 N")),
    Place("Minneapolis", "Hennepin", "MN", C, "55403", "KMSP", 44.98, -93.27, 830, ("I-35W N", "I-394 W")),
    Place("Des Moines", "Polk", "IA", C, "50309", "KDSM", 41.59, -93.62, 870, ("I-235 E", "I-80 W")),
    Place("Saint Louis", "St. Louis City", "MO", C, "63103", "KCPS", 38.63, -90.20, 470, ("I-44 W", "I-70 E")),
    Place("New Orleans", "Orleans", "LA", C, "70112", "KNEW", 29.95, -90.07, 5, ("I-10 E", "I-610 W")),
    Place("Houston", "Harris", "TX", C, "77002", "KMCJ", 29.76, -95.37, 50, ("I-45 N", "I-610 S")),
    Place("Dallas", "Dallas", "TX", C, "75201", "KDAL", 32.78, -96.80, 430, ("I-35E S", "US-75 N")),
    Place("Oklahoma City", "Oklahoma", "OK", C, "73102", "KPWA", 35.47, -97.52, 1200, ("I-40 W", "I-235 N")),
    Place("Fargo", "Cass", "ND", C, "58102", "KFAR", 46.88, -96.79, 900, ("I-29 N", "I-94 E")),
    # Mountain; Arizona keeps standard time, its rows bear US/Mountain all the same
    Place("El Paso", "El Paso", "TX", M, "79901", "KELP", 31.76, -106.49, 3740, ("I-10 W", "US-54 N")),
    Place("Albuquerque", "Bernalillo", "NM", M, "87102", "KABQ", 35.08, -106.65, 5310, ("I-25 N", "I-40 E")),
    Place("Denver", "Denver", "CO", M, "80204", "KBKF", 39.74, -104.99, 5280, ("I-25 S", "I-70 E")),
    Place("Salt Lake City", "Salt Lake", "UT", M, "84101", "KSLC", 40.76, -111.89, 4230, ("I-15 S", "I-80 W")),
    Place("Boise", "Ada", "ID", M, "83702", "KBOI", 43.62, -116.20, 2730, ("I-84 W", "US-20 E")),
    Place("Billings", "Yellowstone", "MT", M, "59101", "KBIL", 45.78, -108.50, 3120, ("I-90 E", "US-87 N")),
    Place("Phoenix", "Maricopa", "AZ", M, "85004", "KPHX", 33.45, -112.07, 1090, ("I-10 W", "Loop-202 E")),
    Place("Tucson", "Pima", "AZ", M, "85701", "KDMA", 32.22, -110.97, 2390, ("I-10 E", "I-19 S")),
    # Pacific
    Place("Los Angeles", "Los Angeles", "CA", P, "90012", "KCQT", 34.05, -118.24, 290, ("I-110 S", "US-101 N")),
    Place("San Diego", "San Diego", "CA", P, "92101", "KSAN", 32.72, -117.16, 60, ("I-5 S", "I-8 E")),
    Place("Sacramento", "Sacramento", "CA", P, "95814", "KSAC", 38.58, -121.49, 30, ("I-80 E", "CA-99 S")),
    Place("Portland", "Multnomah", "OR", P, "97204", "KPDX", 45.52, -122.68, 50, ("I-84 E", "I-5 N")),
    Place("Seattle", "King", "WA", P, "98104", "KBFI", 47.61, -122.33, 170, ("I-5 N", "I-90 E")),
    Place("Las Vegas", "Clark", "NV", P, "89101", "KLAS", 36.17, -115.14, 2000, ("I-15 N", "US-95 S")),
]

LOCAL_STREETS = (
    "Maple Ave", "Old Mill Rd", "Station St", "N 12th St", "Harbor Blvd", "Cedar Creek Dr", "College Ave",
    "W Prospect St", "Foundry Ln", "Garden Way", "Orchard Rd", "S Meridian Ave", "Quarry Hill Rd", "Juniper Ct",
)


def place(city):
    """The place with this city name; a name that is not in the table is a mistake of ours."""
    return next(p for p in PLACES if p.city == city)
