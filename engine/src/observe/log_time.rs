//! Points in time as text, in UTC, by strftime's letters: for `%START_TIME(…)%`.
//!
//! UTC alone: local time would make a log that repeats an hour in autumn, and would need the zone files.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// ISO 8601 with milliseconds, Envoy's default.
const ISO_8601: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// The letters that a format may use, for error messages.
pub(super) const LETTERS: &str =
    "%Y %y %m %d %e %j %H %I %M %S %p %b %B %a %A %F %T %D %R %s %f %1f…%9f %z %Z %%";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Char(char),
    Year,
    YearOfCentury,
    Month,
    Day,
    DaySpaced,
    DayOfYear,
    Hour,
    Hour12,
    Minute,
    Second,
    HalfOfDay,
    MonthName,
    MonthShort,
    DayName,
    DayShort,
    Epoch,
    /// So many digits of the second's fraction, 1 to 9.
    Fraction(u32),
}

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeFormat(Box<[Part]>);

impl Default for TimeFormat {
    fn default() -> Self {
        Self::compile(ISO_8601).unwrap_or(Self(Box::default()))
    }
}

impl TimeFormat {
    /// Compiles a format, or returns what it does not know. Only what never needs escaping in a log is taken.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                let plain = matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
                parts.push(Part::Char(plain.then_some(c).ok_or(c)?));
                continue;
            }
            let letter = rest.next().ok_or(c)?;
            let Some(digits) = letter.to_digit(10) else {
                parts.extend_from_slice(parts_of(letter).ok_or_else(|| format!("%{letter}"))?);
                continue;
            };
            match rest.next() {
                Some('f') if digits > 0 => parts.push(Part::Fraction(digits)),
                other => {
                    return Err([Some(c), Some(letter), other]
                        .into_iter()
                        .flatten()
                        .collect());
                }
            }
        }
        Ok(Self(parts.into_boxed_slice()))
    }

    /// Appends a point in time. One before 1970 reads as 1970.
    pub(super) fn render(&self, time: SystemTime, out: &mut Vec<u8>) {
        let time = Civil::of(time.duration_since(UNIX_EPOCH).unwrap_or_default());
        let mut out = Ascii(out);
        for part in &self.0 {
            // A Vec takes all that it is given.
            let _ = time.render(*part, &mut out);
        }
    }
}

fn parts_of(letter: char) -> Option<&'static [Part]> {
    use Part::{Char, Day, Hour, Minute, Month, Second, Year, YearOfCentury};
    Some(match letter {
        'Y' => &[Year],
        'y' => &[YearOfCentury],
        'm' => &[Month],
        'd' => &[Day],
        'e' => &[Part::DaySpaced],
        'j' => &[Part::DayOfYear],
        'H' => &[Hour],
        'I' => &[Part::Hour12],
        'M' => &[Minute],
        'S' => &[Second],
        'p' => &[Part::HalfOfDay],
        'B' => &[Part::MonthName],
        'b' | 'h' => &[Part::MonthShort],
        'A' => &[Part::DayName],
        'a' => &[Part::DayShort],
        's' => &[Part::Epoch],
        'f' => &[Part::Fraction(9)],
        'F' => &[Year, Char('-'), Month, Char('-'), Day],
        'D' => &[Month, Char('/'), Day, Char('/'), YearOfCentury],
        'T' => &[Hour, Char(':'), Minute, Char(':'), Second],
        'R' => &[Hour, Char(':'), Minute],
        'z' => &[Char('+'), Char('0'), Char('0'), Char('0'), Char('0')],
        'Z' => &[Char('U'), Char('T'), Char('C')],
        '%' => &[Char('%')],
        _ => return None,
    })
}

/// Lets `write!` append to bytes.
struct Ascii<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Ascii<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A point in time by the calendar.
struct Civil {
    epoch: u64,
    nanos: u32,
    year: u64,
    /// From 0.
    month: usize,
    day: u64,
    day_of_year: u64,
    /// From 0, a Thursday, as 1970 began.
    weekday: usize,
}

impl Civil {
    /// Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is the last of its year.
    fn of(since_epoch: Duration) -> Self {
        let epoch = since_epoch.as_secs();
        let days = epoch / 86_400;
        let shifted = days + 719_468;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let march_day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * march_day + 2) / 153;
        let month = (march_month + 2) % 12;
        let year = shifted / 146_097 * 400 + year_of_era + u64::from(month < 2);
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let day_of_year = if month < 2 {
            march_day - 305
        } else {
            march_day + 60 + u64::from(leap)
        };
        Self {
            epoch,
            nanos: since_epoch.subsec_nanos(),
            year,
            month: month as usize,
            day: march_day - (153 * march_month + 2) / 5 + 1,
            day_of_year,
            weekday: (days % 7) as usize,
        }
    }

    fn render(&self, part: Part, out: &mut Ascii<'_>) -> std::fmt::Result {
        let hour = self.epoch / 3600 % 24;
        let month = MONTHS[self.month % 12];
        let day = DAYS[self.weekday % 7];
        match part {
            Part::Char(c) => out.write_char(c),
            Part::Year => write!(out, "{:04}", self.year),
            Part::YearOfCentury => write!(out, "{:02}", self.year % 100),
            Part::Month => write!(out, "{:02}", self.month + 1),
            Part::Day => write!(out, "{:02}", self.day),
            Part::DaySpaced => write!(out, "{:2}", self.day),
            Part::DayOfYear => write!(out, "{:03}", self.day_of_year),
            Part::Hour => write!(out, "{hour:02}"),
            Part::Hour12 => write!(out, "{:02}", (hour + 11) % 12 + 1),
            Part::Minute => write!(out, "{:02}", self.epoch / 60 % 60),
            Part::Second => write!(out, "{:02}", self.epoch % 60),
            Part::HalfOfDay => out.write_str(if hour < 12 { "AM" } else { "PM" }),
            Part::MonthName => out.write_str(month),
            Part::MonthShort => out.write_str(month.get(..3).unwrap_or(month)),
            Part::DayName => out.write_str(day),
            Part::DayShort => out.write_str(day.get(..3).unwrap_or(day)),
            Part::Epoch => write!(out, "{}", self.epoch),
            Part::Fraction(digits) => {
                let width = digits as usize;
                write!(
                    out,
                    "{:0width$}",
                    self.nanos / 10_u32.pow(9 - digits.min(9))
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(format: &TimeFormat, epoch: u64, nanos: u32) -> String {
        let mut out = Vec::new();
        format.render(UNIX_EPOCH + Duration::new(epoch, nanos), &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn formats() {
        let check = |format: &str, expect: &str| {
            let format = TimeFormat::compile(format).expect(format);
            assert_eq!(render(&format, 1_583_020_799, 7_089_123), expect);
        };
        check(ISO_8601, "2020-02-29T23:59:59.007Z");
        check("%d/%b/%Y:%H:%M:%S %z", "29/Feb/2020:23:59:59 +0000");
        check("%a %A %B %e %j %y", "Sat Saturday February 29 060 20");
        check(
            "%F %T %D %R %I%p",
            "2020-02-29 23:59:59 02/29/20 23:59 11PM",
        );
        check("%s.%6f|%f|%1f %Z %%", "1583020799.007089|007089123|0 UTC %");
    }

    #[test]
    fn days_of_the_calendar() {
        let format = TimeFormat::compile("%F %a %j").expect("sound");
        for (epoch, expect) in [
            (0, "1970-01-01 Thu 001"),
            (951_782_400, "2000-02-29 Tue 060"),
            (951_868_800, "2000-03-01 Wed 061"),
            (978_220_800, "2000-12-31 Sun 366"),
            (1_735_603_200, "2024-12-31 Tue 366"),
            (1_740_787_200, "2025-03-01 Sat 060"),
            (4_107_542_400, "2100-03-01 Mon 060"),
            (253_402_300_799, "9999-12-31 Fri 365"),
        ] {
            assert_eq!(render(&format, epoch, 0), expect);
        }
    }

    #[test]
    fn unknown_letters_are_named() {
        for (format, expect) in [
            ("%Q", "%Q"),
            ("%", "%"),
            ("%3S", "%3S"),
            ("%0f", "%0f"),
            ("%5", "%5"),
            ("%Y\"", "\""),
            (
                "
", "
",
            ),
        ] {
            assert_eq!(TimeFormat::compile(format), Err(expect.to_owned()));
        }
    }
}
