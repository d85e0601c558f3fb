//! Places of the generated feeds: public facts about cities, nothing from any data set.
//!
//! Positions are city centres to two decimals. Devices are scattered around them.

use crate::weather::Spot;

/// Time zone of a place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Zone {
    Eastern,
    Central,
    Mountain,
    Pacific,
}

/// Names of the zones in rows, in the order of [`Zone`]; Arizona also uses `US/Mountain`.
pub(crate) const ZONES: [&str; 4] = ["US/Eastern", "US/Central", "US/Mountain", "US/Pacific"];

/// City, with the fields of its rows.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) city: &'static str,
    pub(crate) county: &'static str,
    /// Postal code of the state.
    pub(crate) state: &'static str,
    pub(crate) state_name: &'static str,
    /// FIPS code of the county; empty for New York City, whose five counties are counted as one.
    pub(crate) fips: &'static str,
    pub(crate) zone: Zone,
    pub(crate) zipcode: &'static str,
    pub(crate) airport: &'static str,
    pub(crate) spot: Spot,
    /// Elevation above sea level, in feet.
    pub(crate) elevation_ft: f64,
    /// Main roads, as descriptions name them.
    pub(crate) roads: [&'static str; 2],
}

type Line = ([&'static str; 5], Zone, [&'static str; 2], [f64; 3], [&'static str; 2]);

const fn place(line: Line) -> Place {
    let ([city, county, state, state_name, fips], zone, [zipcode, airport], at, roads) = line;
    let [lat, lon, elevation_ft] = at;
    let spot = Spot { lat, lon };
    Place {
        city,
        county,
        state,
        state_name,
        fips,
        zone,
        zipcode,
        airport,
        spot,
        elevation_ft,
        roads,
    }
}

/// All places.
#[rustfmt::skip]
pub(crate) static PLACES: [Place; 45] = [
    place((["Boston", "Suffolk", "MA", "Massachusetts", "25025"], Zone::Eastern, ["02118", "KBOS"], [42.35, -71.06, 20.0], ["I-93 N", "I-90 W"])),
    place((["Providence", "Providence", "RI", "Rhode Island", "44007"], Zone::Eastern, ["02903", "KPVD"], [41.82, -71.41, 60.0], ["I-95 N", "US-6 E"])),
    place((["Hartford", "Hartford", "CT", "Connecticut", "09003"], Zone::Eastern, ["06103", "KHFD"], [41.76, -72.68, 40.0], ["I-84 E", "I-91 S"])),
    place((["Buffalo", "Erie", "NY", "New York", "36029"], Zone::Eastern, ["14203", "KBUF"], [42.89, -78.88, 600.0], ["I-190 N", "NY-33 E"])),
    place((["Brooklyn", "Kings", "NY", "New York", ""], Zone::Eastern, ["11215", "KJRB"], [40.66, -73.98, 50.0], ["I-278 W", "Belt Pkwy E"])),
    place((["Newark", "Essex", "NJ", "New Jersey", "34013"], Zone::Eastern, ["07102", "KEWR"], [40.73, -74.17, 30.0], ["I-78 E", "US-22 W"])),
    place((["Philadelphia", "Philadelphia", "PA", "Pennsylvania", "42101"], Zone::Eastern, ["19104", "KPHL"], [39.95, -75.17, 40.0], ["I-76 W", "I-95 S"])),
    place((["Baltimore", "Baltimore City", "MD", "Maryland", "24510"], Zone::Eastern, ["21201", "KDMH"], [39.29, -76.61, 30.0], ["I-95 N", "I-83 S"])),
    place((["Richmond", "Richmond City", "VA", "Virginia", "51760"], Zone::Eastern, ["23219", "KRIC"], [37.54, -77.43, 170.0], ["I-64 E", "I-195 S"])),
    place((["Charlotte", "Mecklenburg", "NC", "North Carolina", "37119"], Zone::Eastern, ["28202", "KCLT"], [35.23, -80.84, 750.0], ["I-77 S", "I-485 Outer"])),
    place((["Columbia", "Richland", "SC", "South Carolina", "45079"], Zone::Eastern, ["29201", "KCUB"], [34.00, -81.03, 290.0], ["I-26 W", "I-20 E"])),
    place((["Atlanta", "Fulton", "GA", "Georgia", "13121"], Zone::Eastern, ["30309", "KFTY"], [33.75, -84.39, 1000.0], ["I-75 N", "I-285 E"])),
    place((["Miami", "Miami-Dade", "FL", "Florida", "12086"], Zone::Eastern, ["33130", "KMIA"], [25.77, -80.19, 10.0], ["I-95 S", "FL-836 W"])),
    place((["Jacksonville", "Duval", "FL", "Florida", "12031"], Zone::Eastern, ["32202", "KCRG"], [30.33, -81.66, 20.0], ["I-10 W", "I-295 N"])),
    place((["Columbus", "Franklin", "OH", "Ohio", "39049"], Zone::Eastern, ["43215", "KCMH"], [39.96, -83.00, 780.0], ["I-71 N", "I-270 W"])),
    place((["Detroit", "Wayne", "MI", "Michigan", "26163"], Zone::Eastern, ["48226", "KDET"], [42.33, -83.05, 600.0], ["I-94 E", "M-10 N"])),
    place((["Indianapolis", "Marion", "IN", "Indiana", "18097"], Zone::Eastern, ["46204", "KEYE"], [39.77, -86.16, 720.0], ["I-65 N", "I-465 S"])),
    place((["Louisville", "Jefferson", "KY", "Kentucky", "21111"], Zone::Eastern, ["40202", "KLOU"], [38.25, -85.76, 460.0], ["I-64 W", "I-264 E"])),
    place((["Gary", "Lake", "IN", "Indiana", "18089"], Zone::Central, ["46402", "KGYY"], [41.60, -87.34, 600.0], ["I-80 E", "I-65 S"])),
    place((["Pensacola", "Escambia", "FL", "Florida", "12033"], Zone::Central, ["32502", "KPNS"], [30.42, -87.22, 30.0], ["I-10 E", "I-110 S"])),
    place((["Nashville", "Davidson", "TN", "Tennessee", "47037"], Zone::Central, ["37203", "KJWN"], [36.16, -86.78, 550.0], ["I-24 E", "I-440 W"])),
    place((["Chicago", "Cook", "IL", "Illinois", "17031"], Zone::Central, ["60607", "KMDW"], [41.88, -87.63, 590.0], ["I-90 W", "I-55 S"])),
    place((["Milwaukee", "Milwaukee", "WI", "Wisconsin", "55079"], Zone::Central, ["53202", "KMKE"], [43.04, -87.91, 620.0], ["I-94 W", "I-43 N"])),
    place((["Minneapolis", "Hennepin", "MN", "Minnesota", "27053"], Zone::Central, ["55403", "KMSP"], [44.98, -93.27, 830.0], ["I-35W N", "I-394 W"])),
    place((["Des Moines", "Polk", "IA", "Iowa", "19153"], Zone::Central, ["50309", "KDSM"], [41.59, -93.62, 870.0], ["I-235 E", "I-80 W"])),
    place((["Saint Louis", "St. Louis City", "MO", "Missouri", "29510"], Zone::Central, ["63103", "KCPS"], [38.63, -90.20, 470.0], ["I-44 W", "I-70 E"])),
    place((["New Orleans", "Orleans", "LA", "Louisiana", "22071"], Zone::Central, ["70112", "KNEW"], [29.95, -90.07, 5.0], ["I-10 E", "I-610 W"])),
    place((["Houston", "Harris", "TX", "Texas", "48201"], Zone::Central, ["77002", "KMCJ"], [29.76, -95.37, 50.0], ["I-45 N", "I-610 S"])),
    place((["Dallas", "Dallas", "TX", "Texas", "48113"], Zone::Central, ["75201", "KDAL"], [32.78, -96.80, 430.0], ["I-35E S", "US-75 N"])),
    place((["Oklahoma City", "Oklahoma", "OK", "Oklahoma", "40109"], Zone::Central, ["73102", "KPWA"], [35.47, -97.52, 1200.0], ["I-40 W", "I-235 N"])),
    place((["Fargo", "Cass", "ND", "North Dakota", "38017"], Zone::Central, ["58102", "KFAR"], [46.88, -96.79, 900.0], ["I-29 N", "I-94 E"])),
    place((["El Paso", "El Paso", "TX", "Texas", "48141"], Zone::Mountain, ["79901", "KELP"], [31.76, -106.49, 3740.0], ["I-10 W", "US-54 N"])),
    place((["Albuquerque", "Bernalillo", "NM", "New Mexico", "35001"], Zone::Mountain, ["87102", "KABQ"], [35.08, -106.65, 5310.0], ["I-25 N", "I-40 E"])),
    place((["Denver", "Denver", "CO", "Colorado", "08031"], Zone::Mountain, ["80204", "KBKF"], [39.74, -104.99, 5280.0], ["I-25 S", "I-70 E"])),
    place((["Salt Lake City", "Salt Lake", "UT", "Utah", "49035"], Zone::Mountain, ["84101", "KSLC"], [40.76, -111.89, 4230.0], ["I-15 S", "I-80 W"])),
    place((["Boise", "Ada", "ID", "Idaho", "16001"], Zone::Mountain, ["83702", "KBOI"], [43.62, -116.20, 2730.0], ["I-84 W", "US-20 E"])),
    place((["Billings", "Yellowstone", "MT", "Montana", "30111"], Zone::Mountain, ["59101", "KBIL"], [45.78, -108.50, 3120.0], ["I-90 E", "US-87 N"])),
    place((["Phoenix", "Maricopa", "AZ", "Arizona", "04013"], Zone::Mountain, ["85004", "KPHX"], [33.45, -112.07, 1090.0], ["I-10 W", "Loop-202 E"])),
    place((["Tucson", "Pima", "AZ", "Arizona", "04019"], Zone::Mountain, ["85701", "KDMA"], [32.22, -110.97, 2390.0], ["I-10 E", "I-19 S"])),
    place((["Los Angeles", "Los Angeles", "CA", "California", "06037"], Zone::Pacific, ["90012", "KCQT"], [34.05, -118.24, 290.0], ["I-110 S", "US-101 N"])),
    place((["San Diego", "San Diego", "CA", "California", "06073"], Zone::Pacific, ["92101", "KSAN"], [32.72, -117.16, 60.0], ["I-5 S", "I-8 E"])),
    place((["Sacramento", "Sacramento", "CA", "California", "06067"], Zone::Pacific, ["95814", "KSAC"], [38.58, -121.49, 30.0], ["I-80 E", "CA-99 S"])),
    place((["Portland", "Multnomah", "OR", "Oregon", "41051"], Zone::Pacific, ["97204", "KPDX"], [45.52, -122.68, 50.0], ["I-84 E", "I-5 N"])),
    place((["Seattle", "King", "WA", "Washington", "53033"], Zone::Pacific, ["98104", "KBFI"], [47.61, -122.33, 170.0], ["I-5 N", "I-90 E"])),
    place((["Las Vegas", "Clark", "NV", "Nevada", "32003"], Zone::Pacific, ["89101", "KLAS"], [36.17, -115.14, 2000.0], ["I-15 N", "US-95 S"])),
];
