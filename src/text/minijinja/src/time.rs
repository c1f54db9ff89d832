//! strftime_now, for templates that tell the model today's date. UTC, as servers run.

use minijinja::{Error, ErrorKind};
use std::time::{SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
];

struct Moment {
    year: i64,
    month: usize, // 1..
    day: i64,
    weekday: usize, // from Sunday
    day_of_year: i64,
    second_of_day: i64,
}

impl Moment {
    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    fn from_unix(seconds: i64) -> Moment {
        let days = seconds.div_euclid(86_400);
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * from_march + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
        let day = from_march - (153 * shifted_month + 2) / 5 + 1;
        Moment {
            year,
            month: month as usize,
            day,
            weekday: (days + 4).rem_euclid(7) as usize,
            day_of_year: before + day + i64::from(is_leap && month > 2),
            second_of_day: seconds.rem_euclid(86_400),
        }
    }

    fn field(&self, code: char) -> Option<String> {
        let (hour, minute, second) =
            (self.second_of_day / 3600, self.second_of_day / 60 % 60, self.second_of_day % 60);
        let month = MONTHS[self.month - 1];
        Some(match code {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'B' => month.to_string(),
            'b' | 'h' => month[..3].to_string(),
            'A' => DAYS[self.weekday].to_string(),
            'a' => DAYS[self.weekday][..3].to_string(),
            'j' => format!("{:03}", self.day_of_year),
            'w' => self.weekday.to_string(),
            'H' => format!("{hour:02}"),
            'I' => format!("{:02}", (hour + 11) % 12 + 1),
            'M' => format!("{minute:02}"),
            'S' => format!("{second:02}"),
            'p' => (if hour < 12 { "AM" } else { "PM" }).to_string(),
            'F' => format!("{}-{:02}-{:02}", self.year, self.month, self.day),
            'T' => format!("{hour:02}:{minute:02}:{second:02}"),
            'Z' => "UTC".to_string(),
            'z' => "+0000".to_string(),
            '%' => "%".to_string(),
            _ => return None,
        })
    }
}

fn strftime(seconds: i64, format: &str) -> Result<String, Error> {
    let moment = Moment::from_unix(seconds);
    let mut text = String::new();
    let mut characters = format.chars().peekable();
    while let Some(c) = characters.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        // "%-d": without padding.
        let is_bare = characters.next_if_eq(&'-').is_some();
        let code = characters.next().unwrap_or('%');
        let field = moment.field(code).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("strftime_now: %{code} is not supported"))
        })?;
        let bare = field.trim_start_matches(['0', ' ']);
        text.push_str(if !is_bare { &field } else if bare.is_empty() { "0" } else { bare });
    }
    Ok(text)
}

pub fn strftime_now(format: &str) -> Result<String, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    strftime(now, format)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn writes_dates_as_python_does() {
        assert_eq!(strftime(1_721_982_245, "%d %b %Y %H:%M:%S %A %j").unwrap(), "26 Jul 2024 08:24:05 Friday 208");
        assert_eq!(strftime(951_782_400, "%Y-%m-%d %-d %a").unwrap(), "2000-02-29 29 Tue");
        assert_eq!(strftime(0, "%e|%-d|%I %p|%%").unwrap(), " 1|1|12 AM|%");
    }
}
