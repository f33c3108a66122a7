//! Opening hours: days of the week and times of the day, as the clocks and calendars of a place show them.

use crate::calendar::{Zone, weekday};
use crate::caps::OPENING_DAYS_AHEAD;
use jiff::ToSpan as _;
use jiff::civil::{Date, Time};
use std::collections::BTreeSet;

/// Minutes of a day.
const DAY_MIN: u16 = 24 * 60;

/// When something is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    zone: Zone,
    windows: Vec<Window>,
    /// Days on which it is closed, whatever the windows say.
    except: BTreeSet<Date>,
}

/// Times of some days. One that ends before it begins goes on until the next day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// From Monday to Sunday.
    days: [bool; 7],
    from_min: u16,
    to_min: u16,
}

impl Window {
    /// Reads `Mon-Fri 08:00-18:00`, `Sat,Sun 10:00-14:00`, `22:00-06:00` (every day) or `Mon-Fri` (all day).
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is no time such as `Mon-Fri 08:00-18:00`, `Sat,Sun` or `22:00-06:00`")
        };
        let mut words = text.split_whitespace();
        let (first, second) = (words.next().ok_or_else(wrong)?, words.next());
        if words.next().is_some() {
            return Err(wrong());
        }
        let (days, times) = match second {
            Some(times) => (Some(first), Some(times)),
            None if first.contains(':') => (None, Some(first)),
            None => (Some(first), None),
        };
        let days = days.map_or(Some([true; 7]), parse_days).ok_or_else(wrong)?;
        let (from_min, to_min) = match times {
            None => (0, DAY_MIN),
            Some(times) => {
                let (from, to) = times.split_once('-').ok_or_else(wrong)?;
                let from = minute(from).filter(|from| *from < DAY_MIN).ok_or_else(wrong)?;
                (from, minute(to).ok_or_else(wrong)?)
            }
        };
        if from_min == to_min {
            return Err(format!(
                "`{text}` ends when it begins; leave the times out for the whole day"
            ));
        }
        Ok(Self { days, from_min, to_min })
    }
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (usize::from(weekday(from)?), usize::from(weekday(to)?));
        // From Friday to Monday goes over the end of the week.
        let count = (to + 7 - from) % 7;
        for day in (0..=count).map(|step| (from + step) % 7) {
            *days.get_mut(day)? = true;
        }
    }
    Some(days)
}

/// Minutes since the beginning of the day; `24:00` is its end.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u16>().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= DAY_MIN).then_some(all)
}

/// Reads a day such as `2026-12-25`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_date(text: &str) -> Result<Date, String> {
    let is_plain =
        text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date = is_plain.then(|| text.parse().ok()).flatten();
    date.ok_or_else(|| format!("`{text}` is not a day such as `2026-12-25`"))
}

impl Hours {
    /// These windows by the clocks of a place, but for these days.
    #[must_use]
    pub fn new(zone: Zone, windows: Vec<Window>, except: BTreeSet<Date>) -> Self {
        Self { zone, windows, except }
    }

    /// Whether it is open; none in times that no calendar reaches.
    #[must_use]
    pub fn is_open(&self, unix_s: i64) -> Option<bool> {
        let today = self.zone.at(unix_s)?.date();
        let yesterday = today.checked_sub(1.day()).ok()?;
        let is_within = |(starts_s, ends_s): (i64, i64)| starts_s <= unix_s && unix_s < ends_s;
        Some([yesterday, today].into_iter().any(|day| self.spans(day).any(is_within)))
    }

    /// When it opens after a moment at which it is closed; none within the next [`OPENING_DAYS_AHEAD`] days.
    #[must_use]
    pub fn opens(&self, unix_s: i64) -> Option<i64> {
        let today = self.zone.at(unix_s)?.date();
        let mut day = today;
        for _ in 0..OPENING_DAYS_AHEAD {
            let next =
                self.spans(day).map(|(starts_s, _)| starts_s).filter(|at| *at > unix_s).min();
            if next.is_some() {
                return next;
            }
            day = day.checked_add(1.day()).ok()?;
        }
        None
    }

    /// The windows that begin on a day, in seconds since 1970. A time that clocks skip is the moment at which they do; of
    /// one that they show twice, a window begins with the first and ends with the first.
    fn spans(&self, day: Date) -> impl Iterator<Item = (i64, i64)> + '_ {
        let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).unwrap_or(0);
        let is_closed = self.except.contains(&day);
        let windows = self.windows.iter();
        let windows = windows.filter(move |it| !is_closed && it.days.get(weekday) == Some(&true));
        windows.filter_map(move |window| {
            let ends_on =
                if window.to_min <= window.from_min { day.checked_add(1.day()).ok()? } else { day };
            let starts_s = self.moment(day, window.from_min)?;
            let mut ends_s = self.moment(ends_on, window.to_min)?;
            // What goes on past midnight is cut short by a day that is an exception.
            if ends_on != day && self.except.contains(&ends_on) {
                ends_s = self.moment(ends_on, 0)?;
            }
            Some((starts_s, ends_s))
        })
    }

    fn moment(&self, day: Date, minute: u16) -> Option<i64> {
        let (day, minute) = match minute {
            DAY_MIN.. => (day.checked_add(1.day()).ok()?, 0),
            _ => (day, minute),
        };
        let hour = i8::try_from(minute / 60).ok()?;
        let time = Time::new(hour, i8::try_from(minute % 60).ok()?, 0, 0).ok()?;
        self.zone.moment(day, time)
    }
}

#[cfg(test)]
mod tests {
    use super::{Hours, Window, parse_date};
    use crate::calendar::Zone;
    use jiff::Timestamp;

    fn hours(zone: &str, windows: &[&str], except: &[&str]) -> Hours {
        let windows = windows.iter().map(|text| Window::parse(text).unwrap()).collect();
        let except = except.iter().map(|text| parse_date(text).unwrap()).collect();
        Hours::new(Zone::parse(zone).unwrap(), windows, except)
    }

    fn s(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn check(hours: &Hours, cases: &[(&str, bool)]) {
        for (at, is_open) in cases {
            assert_eq!(hours.is_open(s(at)), Some(*is_open), "{at}");
        }
    }

    #[test]
    fn a_window_is_open_from_its_first_second_to_before_its_end() {
        // 2026-11-23 is a Monday; London is at UTC then.
        let office =
            hours("Europe/London", &["Mon-Fri 08:00-18:00", "Sat 10:00-12:30"], &["2026-12-25"]);
        check(
            &office,
            &[
                ("2026-11-23T07:59:59Z", false),
                ("2026-11-23T08:00:00Z", true),
                ("2026-11-23T17:59:59Z", true),
                ("2026-11-23T18:00:00Z", false),
                ("2026-11-28T12:29:59Z", true),
                ("2026-11-28T12:30:00Z", false),
                ("2026-11-29T11:00:00Z", false),
                ("2026-12-25T11:00:00Z", false),
                // In summer the clocks there are an hour ahead.
                ("2026-06-22T07:00:00Z", true),
                ("2026-06-22T17:00:00Z", false),
            ],
        );
        for (at, opens) in [
            ("2026-11-23T18:00:00Z", "2026-11-24T08:00:00Z"),
            ("2026-11-28T12:30:00Z", "2026-11-30T08:00:00Z"),
            ("2026-12-24T19:00:00Z", "2026-12-26T10:00:00Z"),
        ] {
            assert_eq!(office.opens(s(at)), Some(s(opens)), "{at}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let nights = hours("UTC", &["Fri 22:00-06:00"], &[]);
        check(
            &nights,
            &[
                ("2026-11-27T21:59:59Z", false),
                ("2026-11-27T22:00:00Z", true),
                ("2026-11-28T05:59:59Z", true),
                ("2026-11-28T06:00:00Z", false),
                ("2026-11-28T23:00:00Z", false),
            ],
        );
        let cut = hours("UTC", &["22:00-06:00"], &["2026-12-25"]);
        check(
            &cut,
            &[
                ("2026-12-24T23:59:59Z", true),
                ("2026-12-25T00:00:00Z", false),
                ("2026-12-25T23:00:00Z", false),
            ],
        );
        assert_eq!(cut.opens(s("2026-12-25T00:00:00Z")), Some(s("2026-12-26T22:00:00Z")));
        let week = hours("UTC", &["Fri-Mon", "Wed 00:00-24:00"], &[]);
        check(
            &week,
            &[
                ("2026-11-29T23:59:59Z", true),
                ("2026-11-30T23:59:59Z", true),
                ("2026-12-01T00:00:00Z", false),
                ("2026-12-02T23:59:59Z", true),
            ],
        );
    }

    #[test]
    fn clocks_that_are_set_move_no_window() {
        // In Berlin 02:00 to 03:00 is skipped on 2026-03-29, and comes twice on 2026-10-25.
        let early = hours("Europe/Berlin", &["02:30-04:00"], &[]);
        check(
            &early,
            &[
                ("2026-03-29T00:59:59Z", false),
                ("2026-03-29T01:59:59Z", true),
                ("2026-03-29T02:00:00Z", false),
            ],
        );
        check(
            &early,
            &[
                ("2026-10-25T00:29:59Z", false),
                ("2026-10-25T00:30:00Z", true),
                ("2026-10-25T02:59:59Z", true),
                ("2026-10-25T03:00:00Z", false),
            ],
        );
    }

    #[test]
    fn what_is_no_time_is_told_so_and_what_never_opens_has_no_next_time() {
        for text in [
            "",
            "Mon-Fri 8:00-18:00",
            "Mon 08:00",
            "Mon 08:00-25:00",
            "Noday",
            "Mon 24:00-10:00",
            "Mon 08:00-18:00 UTC",
            "Mon 08:60-10:00",
        ] {
            assert!(Window::parse(text).unwrap_err().contains("is no time"), "{text}");
        }
        assert!(Window::parse("Mon 08:00-08:00").unwrap_err().contains("ends when it begins"));
        for text in ["2026-02-29", "25.12.2026", "2026-12-25T00:00", ""] {
            assert!(parse_date(text).is_err(), "{text}");
        }
        let closed = hours("UTC", &[], &[]);
        assert_eq!((closed.is_open(0), closed.opens(0)), (Some(false), None));
    }
}
