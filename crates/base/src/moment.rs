//! Points in time as they are written: `2026-12-31`, `2026-12-31T18:00:00Z`.

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error};
use std::fmt;
use std::time::{Duration, SystemTime};

/// A point in time (RFC 3339): `2026-12-31T18:00:00Z`, `2026-12-31T18:00:00+01:00`, or a date alone, which is its
/// first moment in UTC. From 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub SystemTime);

const DAY_S: i64 = 86_400;

/// The first second of the year 10000, in seconds since 1970.
const END_S: u64 = 253_402_300_800;

impl Moment {
    /// A time, if it can be written.
    #[must_use]
    pub fn of(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        (since.as_secs() < END_S).then_some(Self(time))
    }

    /// Reads a point in time.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        parse(text).ok_or_else(|| {
            format!(
                "`{text}` is not a date such as `2026-12-31` or `2026-12-31T18:00:00Z` (RFC 3339)"
            )
        })
    }
}

fn parse(text: &str) -> Option<Moment> {
    let mut rest = text;
    let year = number(&mut rest, 4, "-")?;
    let month = number(&mut rest, 2, "-")?;
    let day = number(&mut rest, 2, "")?;
    if !(1970..=9_999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    if day < 1 || day > days_of(year, month) {
        return None;
    }
    let mut second = days_since_1970(year, month, day) * DAY_S;
    if !rest.is_empty() {
        rest = rest.strip_prefix(['T', 't', ' '])?;
        let (hour, minute) = (number(&mut rest, 2, ":")?, number(&mut rest, 2, ":")?);
        // A leap second is taken for the one after it.
        let seconds = number(&mut rest, 2, "")?;
        if hour > 23 || minute > 59 || seconds > 60 {
            return None;
        }
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if rest.len() == fraction.len() {
                return None;
            }
        }
        second += hour * 3_600 + minute * 60 + seconds - offset(rest)?;
    }
    let since = Duration::from_secs(u64::try_from(second).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since).and_then(Moment::of)
}

/// Seconds that a time zone is before UTC: `Z`, `+01:00`.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, mut rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = (number(&mut rest, 2, ":")?, number(&mut rest, 2, "")?);
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Takes exactly so many digits, and what must follow them.
fn number(rest: &mut &str, digits: usize, then: &str) -> Option<i64> {
    let (number, tail) = rest.split_at_checked(digits)?;
    *rest = tail.strip_prefix(then)?;
    number.bytes().all(|digit| digit.is_ascii_digit()).then(|| number.parse().ok())?
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leaps =
        (before / 4 - before / 100 + before / 400) - (1_969 / 4 - 1_969 / 100 + 1_969 / 400);
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    (year - 1_970) * 365 + leaps + months + day - 1
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let (mut days, rest) = (since / DAY_S, since % DAY_S);
        let (mut year, mut month) = (1_970, 1);
        let days_in = |year| if is_leap(year) { 366 } else { 365 };
        while days >= days_in(year) && year < 9_999 {
            days -= days_in(year);
            year += 1;
        }
        while month < 12 && days >= days_of(year, month) {
            days -= days_of(year, month);
            month += 1;
        }
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        let day = days + 1;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "a date such as `2026-12-31`, or a time such as `2026-12-31T18:00:00Z` (RFC 3339)",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))?$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    fn check(text: &str, expected: &str) {
        let read = Moment::parse(text).map_or_else(|_| "wrong".to_owned(), |it| it.to_string());
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn dates_and_times_are_read_in_utc() {
        check("1970-01-01", "1970-01-01T00:00:00Z");
        check("2026-12-31", "2026-12-31T00:00:00Z");
        check("2000-02-29", "2000-02-29T00:00:00Z");
        check("2026-12-31T18:00:00Z", "2026-12-31T18:00:00Z");
        check("2026-12-31t18:00:00.125z", "2026-12-31T18:00:00Z");
        check("2026-12-31T18:00:00+01:30", "2026-12-31T16:30:00Z");
        check("2026-12-31T18:00:00-08:00", "2027-01-01T02:00:00Z");
        check("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z");
        check("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z");
        let moment = Moment::parse("2026-01-01").unwrap();
        assert_eq!(moment.0, crate::Clock::manual().wall());
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2100-02-29",
            "2026-00-10",
            "2026-1-1",
            "2026-01-32",
            "1969-12-31",
            "2026-01-01T",
            "2026-01-01T10:00",
            "2026-01-01T10:00:00",
            "2026-01-01T24:00:00Z",
            "2026-01-01T10:00:00.Z",
            "2026-01-01T10:00:00+1:00",
            "２026-01-01",
            "2026-01-01Z",
            "+026-01-01",
            "2026-01-01T10:00:00Zx",
            "1970-01-01T00:00:00+01:00",
            "9999-12-31T23:59:60Z",
        ] {
            check(text, "wrong");
        }
    }
}
