//! Compiles times and their zones.

use jiff::tz::TimeZone;
use toml::Spanned;
use tributary_model::event::CLOCK_AHEAD;

use super::super::clock::{TimeReader, Zone};
use super::super::lookups::LookupZones;
use super::{Compiled, Compiler, fault};
use crate::schema::{Names, Short, TimeSpec, ZoneSpec};
use crate::time::TimeFormat;

/// Tags of local times that do not exist, or exist twice.
const DST_TAGS: [&str; 2] = ["dst_gap", "dst_fold"];

impl Compiler {
    pub(super) fn time(&mut self, spec: &Spanned<TimeSpec>) -> Compiled<TimeReader> {
        let (span, spec) = (spec.span(), spec.get_ref());
        self.fields.tags.insert(CLOCK_AHEAD.to_owned());
        let mut formats = Vec::new();
        for format in &spec.formats {
            let compiled = TimeFormat::compile(format.get_ref());
            let wrong = |reason| format!("format {:?}: {reason}", format.get_ref());
            formats.push(compiled.or_else(|reason| fault(format.span(), wrong(reason)))?);
        }
        let zone = match &spec.zone {
            None => Zone::Fixed(TimeZone::UTC),
            Some(zone) => self.zone(zone)?,
        };
        Ok(TimeReader { source: self.source(&spec.from, &[], span, false)?, formats, zone })
    }

    fn zone(&mut self, spec: &Spanned<Short<ZoneSpec>>) -> Compiled<Zone> {
        let (span, spec) = (spec.span(), &spec.get_ref().0);
        self.fields.tags.extend(DST_TAGS.map(str::to_owned));
        if let Some(name) = &spec.name {
            let zone = TimeZone::get(name);
            let unknown = |_| {
                let message = format!("{name:?} is no time zone, such as \"Europe/Amsterdam\"");
                fault(span, message)
            };
            return zone.or_else(unknown).map(Zone::Fixed);
        }
        let Some(from) = &spec.from else {
            return fault(span, "a zone is a name, or has `from`");
        };
        let source = self.source(&Names(vec![from.clone()]), &[], from.span(), false)?;
        let otherwise = match &spec.otherwise {
            None => None,
            Some(column) => {
                let at = self.lookup_column(column.get_ref(), column.span())?;
                let zones = self.lookups.0[at.lookup].table.zones(at.column);
                let zones = zones.or_else(|message| fault(column.span(), message))?;
                Some(LookupZones { lookup: at.lookup, zones })
            }
        };
        self.fields.tags.extend(spec.tag.clone());
        let known = ["US/Eastern", "US/Central", "US/Mountain", "US/Pacific", "UTC"];
        let known =
            known.into_iter().filter_map(|name| Some((name.to_owned(), TimeZone::get(name).ok()?)));
        Ok(Zone::Column { source, otherwise, tag: spec.tag.clone(), known: known.collect() })
    }
}
