//! Hours, days, weeks and months of a place, as its clocks and calendars show them.
//!
//! The time zones are those of the IANA database that was built in: every gateway has the same ones, whatever its
//! machine has installed.

use crate::report::did_you_mean;
use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _, Zoned};
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use std::sync::OnceLock;

/// A time zone by its name in the IANA database: `UTC`, `Europe/London`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// Windows that follow each other without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Whose clocks count.
    pub zone: Zone,
    /// How long a window is, and when it begins.
    pub every: Every,
}

/// How long a window is, and when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// An hour.
    Hour,
    /// A day, from a full hour (0 to 23) on.
    Day {
        /// The hour.
        hour: u8,
    },
    /// A week, from the beginning of a day (0 is Monday) on.
    Week {
        /// The day.
        weekday: u8,
    },
    /// A month, from the beginning of a day (1 to 31) on; a shorter month from that of its last day.
    Month {
        /// The day.
        day: u8,
    },
}

/// One window, in seconds since 1970: from its beginning to before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it begins.
    pub starts_s: i64,
    /// When it has ended.
    pub ends_s: i64,
}

fn zones() -> &'static TimeZoneDatabase {
    static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
    ZONES.get_or_init(TimeZoneDatabase::bundled)
}

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub const fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Reads a name.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("utc") {
            return Ok(Self::utc());
        }
        zones().get(text).map(Self).map_err(|_| {
            let names: Vec<String> = zones().available().map(|name| name.to_string()).collect();
            let near = did_you_mean(text, names.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("`{text}` is not a time zone such as `UTC` or `Europe/London`{near}")
        })
    }

    /// The moment, as clocks there show it.
    #[must_use]
    pub fn at(&self, unix_s: i64) -> Option<Zoned> {
        Some(Timestamp::from_second(unix_s).ok()?.to_zoned(self.0.clone()))
    }

    /// The moment at which clocks there show a time of a day; where they skip it, the moment at which they do; where they show it
    /// twice, the first time.
    #[must_use]
    pub(crate) fn moment(&self, date: Date, time: Time) -> Option<i64> {
        let shown = self.0.to_ambiguous_timestamp(date.to_datetime(time));
        let moment = match shown.offset() {
            AmbiguousOffset::Gap { .. } => {
                self.0.following(shown.earlier().ok()?).next()?.timestamp()
            }
            _ => shown.compatible().ok()?,
        };
        Some(moment.as_second())
    }

    /// The beginning of an hour of a day there; where clocks skip it, the moment at which they do; where they show it
    /// twice, the first time.
    fn hour_of(&self, date: Date, hour: i8) -> Option<i64> {
        Some(self.0.to_timestamp(date.at(hour, 0, 0, 0)).ok()?.as_second())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl Calendar {
    /// The window around a moment; none in times that no calendar reaches.
    #[must_use]
    pub fn span(&self, unix_s: i64) -> Option<Span> {
        let now = self.zone.at(unix_s)?;
        let (date, hour) = match self.every {
            Every::Hour => {
                let into_s = i64::from(now.minute()) * 60 + i64::from(now.second());
                let starts_s = unix_s - into_s;
                return Some(Span { starts_s, ends_s: starts_s + 3_600 });
            }
            Every::Day { hour } => (now.date(), i8::try_from(hour).ok()?),
            Every::Week { weekday } => {
                let today = now.date().weekday().to_monday_zero_offset();
                let since = (today - i8::try_from(weekday).ok()?).rem_euclid(7);
                (now.date().checked_sub(since.days()).ok()?, 0)
            }
            Every::Month { day } => (of_month(now.date(), day), 0),
        };
        let begins = |date| self.zone.hour_of(date, hour);
        let begins_s = begins(date)?;
        // Where a clock shows an hour twice, its date alone does not tell whether the window has begun.
        if unix_s < begins_s {
            let before = self.moved(date, -1)?;
            return Some(Span { starts_s: begins(before)?, ends_s: begins_s });
        }
        Some(Span { starts_s: begins_s, ends_s: begins(self.moved(date, 1)?)? })
    }

    /// The date on which the window so many after that of a date begins.
    fn moved(&self, date: Date, by: i32) -> Option<Date> {
        match self.every {
            Every::Hour | Every::Day { .. } => date.checked_add(by.days()).ok(),
            Every::Week { .. } => date.checked_add(by.weeks()).ok(),
            Every::Month { day } => {
                Some(of_month(date.first_of_month().checked_add(by.months()).ok()?, day))
            }
        }
    }
}

/// A day of the month of a date, or the last if the month is shorter.
fn of_month(date: Date, day: u8) -> Date {
    let day = i8::try_from(day).unwrap_or(i8::MAX).clamp(1, date.days_in_month());
    date.with().day(day).build().unwrap_or(date)
}

/// What tells two calendars apart: the same text means the same windows.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = &self.zone;
        match self.every {
            Every::Hour => write!(f, "hour, {zone}"),
            Every::Day { hour } => write!(f, "day from {hour:02}:00, {zone}"),
            Every::Week { weekday } => {
                let name = WEEKDAYS.get(usize::from(weekday)).copied().unwrap_or_default();
                write!(f, "week from {name}, {zone}")
            }
            Every::Month { day } => write!(f, "month from {day}, {zone}"),
        }
    }
}

/// The days of a week.
pub const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Which day of a week a name means, 0 being Monday; three letters of it are enough.
#[must_use]
pub fn weekday(name: &str) -> Option<u8> {
    let name = name.trim().to_ascii_lowercase();
    let is_it = |day: &&str| **day == name || (name.len() == 3 && day.starts_with(&name));
    let at = WEEKDAYS.iter().position(is_it)?;
    u8::try_from(at).ok()
}

const EXPECTING: &str = "a time zone such as `UTC` or `Europe/London`";

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Zone;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Zone, E> {
                Zone::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl JsonSchema for Zone {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Zone".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": EXPECTING, "examples": ["Europe/London"] })
    }
}

#[cfg(test)]
mod tests {
    use super::{Calendar, Every, Span, Zone, weekday};

    /// The window around a moment, both ends as clocks there show them.
    fn check(zone: &str, every: Every, now: &str, expected: &str) {
        let zone = Zone::parse(zone).unwrap();
        let calendar = Calendar { zone: zone.clone(), every };
        let now: jiff::Timestamp = now.parse().unwrap();
        let span = calendar.span(now.as_second()).unwrap();
        let shown = |unix_s| zone.at(unix_s).unwrap().strftime("%Y-%m-%dT%H:%M%:z").to_string();
        let told = format!("{} to {}", shown(span.starts_s), shown(span.ends_s));
        assert_eq!(told, expected, "{calendar} around {now}");
        for inside in [span.starts_s, span.ends_s - 1] {
            assert_eq!(calendar.span(inside), Some(span), "{calendar} around {inside}");
        }
        assert_eq!(calendar.span(span.ends_s).unwrap().starts_s, span.ends_s, "no gap");
    }

    #[test]
    fn months_begin_on_their_day_or_on_their_last() {
        let (first, middle, last) =
            (Every::Month { day: 1 }, Every::Month { day: 15 }, Every::Month { day: 31 });
        for (every, now, expected) in [
            (first, "2026-12-31T23:59:59Z", "2026-12-01T00:00+00:00 to 2027-01-01T00:00+00:00"),
            (first, "2027-01-01T00:00:00Z", "2027-01-01T00:00+00:00 to 2027-02-01T00:00+00:00"),
            (first, "2028-02-29T12:00:00Z", "2028-02-01T00:00+00:00 to 2028-03-01T00:00+00:00"),
            (middle, "2027-01-14T23:59:59Z", "2026-12-15T00:00+00:00 to 2027-01-15T00:00+00:00"),
            (middle, "2027-01-15T00:00:00Z", "2027-01-15T00:00+00:00 to 2027-02-15T00:00+00:00"),
            (last, "2027-02-27T00:00:00Z", "2027-01-31T00:00+00:00 to 2027-02-28T00:00+00:00"),
            (last, "2027-02-28T00:00:00Z", "2027-02-28T00:00+00:00 to 2027-03-31T00:00+00:00"),
            (last, "2028-02-28T23:00:00Z", "2028-01-31T00:00+00:00 to 2028-02-29T00:00+00:00"),
            (last, "2028-03-01T00:00:00Z", "2028-02-29T00:00+00:00 to 2028-03-31T00:00+00:00"),
            (last, "2028-04-30T00:00:00Z", "2028-04-30T00:00+00:00 to 2028-05-31T00:00+00:00"),
        ] {
            check("UTC", every, now, expected);
        }
    }

    #[test]
    fn days_and_weeks_follow_the_clocks_of_their_place() {
        let monday = Every::Week { weekday: 0 };
        for (zone, every, now, expected) in [
            // Clocks go forward on 2026-03-29 and back on 2026-10-25.
            (
                "Europe/London",
                Every::Day { hour: 0 },
                "2026-03-29T12:00:00Z",
                "2026-03-29T00:00+00:00 to 2026-03-30T00:00+01:00",
            ),
            (
                "Europe/London",
                Every::Day { hour: 1 },
                "2026-03-29T00:59:59Z",
                "2026-03-28T01:00+00:00 to 2026-03-29T02:00+01:00",
            ),
            (
                "Europe/London",
                Every::Day { hour: 1 },
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00+01:00 to 2026-10-26T01:00+00:00",
            ),
            (
                "Europe/London",
                Every::Day { hour: 6 },
                "2026-06-01T04:59:59Z",
                "2026-05-31T06:00+01:00 to 2026-06-01T06:00+01:00",
            ),
            (
                "America/New_York",
                monday,
                "2026-11-02T04:59:59Z",
                "2026-10-26T00:00-04:00 to 2026-11-02T00:00-05:00",
            ),
            (
                "UTC",
                monday,
                "2027-01-01T00:00:00Z",
                "2026-12-28T00:00+00:00 to 2027-01-04T00:00+00:00",
            ),
            (
                "UTC",
                Every::Week { weekday: 2 },
                "2026-11-24T23:00:00Z",
                "2026-11-18T00:00+00:00 to 2026-11-25T00:00+00:00",
            ),
            // Midnight was shown twice in Havana, and is skipped in Santiago.
            (
                "America/Havana",
                Every::Day { hour: 0 },
                "2023-11-05T05:30:00Z",
                "2023-11-05T00:00-04:00 to 2023-11-06T00:00-05:00",
            ),
            (
                "America/Santiago",
                Every::Day { hour: 0 },
                "2026-09-06T03:59:59Z",
                "2026-09-05T00:00-04:00 to 2026-09-06T01:00-03:00",
            ),
            // Samoa had no 30 December 2011.
            (
                "Pacific/Apia",
                Every::Day { hour: 0 },
                "2011-12-30T09:59:59Z",
                "2011-12-29T00:00-10:00 to 2011-12-31T00:00+14:00",
            ),
        ] {
            check(zone, every, now, expected);
        }
    }

    #[test]
    fn hours_are_those_of_the_place() {
        let india = "2026-01-01T05:00+05:30 to 2026-01-01T06:00+05:30";
        check("Asia/Kolkata", Every::Hour, "2026-01-01T00:29:59Z", india);
        let last = "2026-12-31T23:00+00:00 to 2027-01-01T00:00+00:00";
        check("UTC", Every::Hour, "2026-12-31T23:59:59Z", last);
        // The second of two hours from one to two.
        let again = "2026-10-25T01:00+00:00 to 2026-10-25T02:00+00:00";
        check("Europe/London", Every::Hour, "2026-10-25T01:59:00Z", again);
    }

    #[test]
    fn every_window_of_years_follows_the_one_before() {
        let everies = [
            Every::Hour,
            Every::Day { hour: 0 },
            Every::Day { hour: 2 },
            Every::Week { weekday: 6 },
            Every::Month { day: 30 },
        ];
        for zone in ["Europe/London", "America/Havana", "Australia/Lord_Howe", "Africa/Casablanca"]
        {
            for every in everies {
                let calendar = Calendar { zone: Zone::parse(zone).unwrap(), every };
                // From the beginning of 2026 on.
                let mut now_s = 1_767_225_600;
                for _ in 0..400 {
                    let Span { starts_s, ends_s } = calendar.span(now_s).unwrap();
                    assert!(starts_s <= now_s && now_s < ends_s, "{calendar} around {now_s}");
                    assert_eq!(calendar.span(ends_s - 1).unwrap().ends_s, ends_s, "{calendar}");
                    now_s = ends_s;
                }
            }
        }
    }

    #[test]
    fn names_of_days_and_zones_are_read_and_others_refused() {
        assert_eq!(weekday("Monday"), Some(0));
        assert_eq!(weekday(" sun"), Some(6));
        assert_eq!((weekday("su"), weekday("sunda"), weekday("")), (None, None, None));
        assert_eq!(Zone::parse("utc").unwrap().to_string(), "UTC");
        assert_eq!(Zone::parse("Europe/London").unwrap().to_string(), "Europe/London");
        let message = Zone::parse("Europe/Londn").unwrap_err();
        assert!(message.contains("did you mean `Europe/London`?"), "{message}");
        assert!(Calendar { zone: Zone::utc(), every: Every::Hour }.span(i64::MAX).is_none());
    }
}
