//! Times as people write them.

use tacit_types::{Code, Fault, UnixMillis};

/// `2026-12-01`, `2026-12-01T08:30:00`, either with `Z` or `+08:00` behind; UTC without. A space may stand for the T, and
/// seconds may have up to three decimals.
///
/// # Errors
/// `args.invalid`.
pub fn parse(text: &str) -> Result<UnixMillis, Fault> {
    let wrong = || {
        let what = format!("`{text}`: a time is written 2026-12-01 or 2026-12-01T00:00:00+08:00");
        Fault::new(Code::ArgsInvalid, what)
    };
    millis(text.trim()).ok_or_else(wrong).map(UnixMillis)
}

fn millis(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut numbers =
        date.split('-').map(|part| part.parse::<i64>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit())));
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if numbers.next().is_some() || !(1..=last).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let (clock, zone) = match rest.find(['Z', '+']).or_else(|| rest.rfind('-')) {
        Some(at) => rest.split_at(at),
        None => (rest, "Z"),
    };
    let clock = if clock.is_empty() { 0 } else { clock_millis(clock.strip_prefix(['T', ' '])?)? };
    let zone = match zone {
        "Z" => 0,
        _ => {
            let (sign, span) = zone.split_at(1);
            let span = clock_millis(&format!("{span}:00")).filter(|_| span.len() == 5)?;
            if sign == "+" { span } else { -span }
        }
    };
    u64::try_from(days(year, month, day) * 86_400_000 + clock - zone).ok()
}

/// Milliseconds of `HH:MM:SS` or `HH:MM:SS.mmm`.
fn clock_millis(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most: usize| {
        (!part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<i64>().ok())?
    };
    let mut parts = clock.split(':').map(|part| digits(part, 2).filter(|_| part.len() == 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let millis = digits(fraction, 3)? * 10i64.pow(3 - u32::try_from(fraction.len()).ok()?);
    let fits = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    fits.then_some(((hour * 60 + minute) * 60 + second) * 1000 + millis)
}

/// Days since 1970 of a civil date (after Howard Hinnant).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_shown() {
        for (text, millis) in [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000),
            ("2026-11-22T00:18:17Z", 1_795_306_697_000),
            ("2026-11-22 00:18:17Z", 1_795_306_697_000),
            ("2026-11-22T08:18:17+08:00", 1_795_306_697_000),
            ("2026-11-21T19:18:17.25-05:00", 1_795_306_697_250),
            ("2026-11-22T00:18:17.007", 1_795_306_697_007),
        ] {
            assert_eq!(parse(text).unwrap(), UnixMillis(millis), "{text}");
        }
        for wrong in [
            "",
            "now",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-12-01T24:00:00",
            "2026-12-01T1:00:00",
            "2026-12-01T",
            "2026-12-01T00:00",
            "2026-12-01T00:00:00.1234",
            "2026-12-01T00:00:00+8",
            "1969-12-31",
            "2026-12-01x",
            "+026-12-01",
            "2026-12-01T00:00:60",
            "二〇二六年十二月一日",
        ] {
            assert_eq!(parse(wrong).unwrap_err().code, Code::ArgsInvalid, "{wrong}");
        }
    }
}
