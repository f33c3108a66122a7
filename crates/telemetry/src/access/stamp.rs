//! The time of a line as RFC 3339 text in UTC.

use base::clock::unix_ms;
use std::time::SystemTime;

/// The last second of the year 9999, beyond which RFC 3339 has no years.
const LAST_SECOND: u64 = 253_402_300_799;

/// Writes times; the text of a second is kept, since thousands of lines share it.
#[derive(Debug)]
pub(super) struct Stamp {
    second: u64,
    /// `2026-01-01T00:00:00`
    text: [u8; 19],
}

impl Stamp {
    pub(super) fn new() -> Self {
        Self { second: 0, text: second_text(0) }
    }

    /// Appends `2026-01-01T00:00:00.000Z`. Times before 1970 become its first moment.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let ms = unix_ms(time);
        let second = (ms / 1_000).min(LAST_SECOND);
        if second != self.second {
            self.second = second;
            self.text = second_text(second);
        }
        out.extend_from_slice(&self.text);
        let [a, b, c] = digits(ms % 1_000);
        out.extend_from_slice(&[b'.', a, b, c, b'Z']);
    }
}

fn second_text(second: u64) -> [u8; 19] {
    let (days, rest) = (second / 86_400, second % 86_400);
    let (year, month, day) = date(days);
    let [_, y1, y2] = digits(year / 100);
    let [_, y3, y4] = digits(year % 100);
    let [_, m1, m2] = digits(month);
    let [_, d1, d2] = digits(day);
    let [_, h1, h2] = digits(rest / 3_600);
    let [_, n1, n2] = digits(rest / 60 % 60);
    let [_, s1, s2] = digits(rest % 60);
    [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2]
}

/// Year, month and day of a day since 1970 in the Gregorian calendar. Years are counted from March, so
/// that the leap day is the last day of a year and months follow one rule.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468; // from 0000-03-01
    const DAYS_PER_400_YEARS: u64 = 146_097;
    let day = days + DAYS_TO_1970;
    let (cycle, day) = (day / DAYS_PER_400_YEARS, day % DAYS_PER_400_YEARS);
    // Every 4th year is longer, every 100th is not, and the last of the 400 is again.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, five months have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = cycle * 400 + year;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// The last three decimal digits.
pub(super) fn digits(number: u64) -> [u8; 3] {
    let digit = |n: u64| b"0123456789"[usize::from(u8::try_from(n % 10).unwrap_or(0))];
    [digit(number / 100), digit(number / 10), digit(number)]
}

#[cfg(test)]
mod tests {
    use super::{LAST_SECOND, Stamp, date};
    use std::time::{Duration, SystemTime};

    fn stamp(ms: u64) -> String {
        let mut out = Vec::new();
        Stamp::new().write(&mut out, SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_moments() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(stamp(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(stamp(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(stamp(1_767_225_600_007), "2026-01-01T00:00:00.007Z");
        assert_eq!(stamp(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(stamp(LAST_SECOND * 1_000), "9999-12-31T23:59:59.000Z");
        assert_eq!(stamp(u64::MAX / 4).len(), 24);
    }

    #[test]
    fn every_day_until_2400_follows_the_one_before() {
        let leap =
            |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..157_200 {
            assert_eq!(date(days), (year, month, day));
            let length = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert!(year > 2399);
    }

    #[test]
    fn time_before_1970_is_its_first_moment() {
        let mut out = Vec::new();
        Stamp::new().write(&mut out, SystemTime::UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_kept_second_is_replaced_by_the_next() {
        let mut stamp = Stamp::new();
        let mut out = Vec::new();
        for ms in [1_000, 1_500, 2_000, 1_000] {
            stamp.write(&mut out, SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
            out.push(b' ');
        }
        let expected = "1970-01-01T00:00:01.000Z 1970-01-01T00:00:01.500Z \
                        1970-01-01T00:00:02.000Z 1970-01-01T00:00:01.000Z ";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
