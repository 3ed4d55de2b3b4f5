//! Named, versioned ways of making values comparable. What a step does never changes; a change is a new number.

use std::borrow::Cow;

use tacit_types::{Code, Fault};
use unicode_normalization::UnicodeNormalization;

/// Bytes of one value of a key column. Longer ones are left out and counted.
pub const VALUE_BYTES_MAX: usize = 4 << 10;
/// Digits of an international telephone number (ITU-T E.164, section 6.2.1).
pub const E164_DIGITS_MAX: usize = 15;
/// Digits that such a number has at the least, country code included.
const E164_DIGITS_MIN: usize = 7;
/// Digits of a country code.
const COUNTRY_DIGITS_MAX: usize = 3;

/// One step. A value to which a step finds no form never matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// `nfkc/1`: Unicode normalization form KC (UAX 15): full-width digits, ligatures and the like.
    Nfkc,
    /// `trim/1`: no white space at either end.
    Trim,
    /// `fold/1`: full case folding (Unicode, section 3.13), then form KC again, which folding can leave.
    Fold,
    /// `digits/1`: the ASCII digits alone.
    Digits,
    /// `e164/1`: `+`, country code and number, from what people write; the country code where the value has none.
    E164 {
        /// 1 to 3 digits.
        country: String,
    },
    /// `date/1`: a day of the Gregorian calendar as YYYY-MM-DD, from that order with `-`, `/`, `.` or nothing between.
    Date,
}

impl Step {
    /// Reads a step by its name, such as `trim/1` or `e164/1:86`.
    ///
    /// # Errors
    /// `args.invalid` for a name that is not known.
    pub fn parse(name: &str) -> Result<Self, Fault> {
        let step = match name {
            "nfkc/1" => Some(Step::Nfkc),
            "trim/1" => Some(Step::Trim),
            "fold/1" => Some(Step::Fold),
            "digits/1" => Some(Step::Digits),
            "date/1" => Some(Step::Date),
            _ => name.strip_prefix("e164/1:").filter(|c| is_country(c)).map(|c| Step::E164 { country: c.to_owned() }),
        };
        step.ok_or_else(|| {
            let known = "nfkc/1, trim/1, fold/1, digits/1, date/1, e164/1:CODE";
            Fault::new(Code::ArgsInvalid, format!("`{name}` is no step of a normaliser; there are {known}"))
        })
    }

    /// The name, with its version and what it depends on.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Step::Nfkc => "nfkc/1".into(),
            Step::Trim => "trim/1".into(),
            Step::Fold => "fold/1".into(),
            Step::Digits => "digits/1".into(),
            Step::E164 { country } => format!("e164/1:{country}").into(),
            Step::Date => "date/1".into(),
        }
    }

    /// The value's form, `None` where it has none.
    pub fn apply(&self, value: &str) -> Option<String> {
        match self {
            Step::Nfkc => Some(value.nfkc().collect()),
            Step::Trim => Some(value.trim().to_owned()),
            Step::Fold => Some(caseless::default_case_fold_str(value).nfkc().collect()),
            Step::Digits => Some(value.chars().filter(char::is_ascii_digit).collect()),
            Step::E164 { country } => e164(value, country),
            Step::Date => date(value),
        }
    }
}

fn is_country(code: &str) -> bool {
    (1..=COUNTRY_DIGITS_MAX).contains(&code.len()) && !code.starts_with('0') && code.bytes().all(|b| b.is_ascii_digit())
}

fn e164(value: &str, country: &str) -> Option<String> {
    let value = value.trim();
    let (international, rest) = match value.strip_prefix('+').or_else(|| value.strip_prefix("00")) {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut digits = String::new();
    for c in rest.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}' => {}
            _ => return None,
        }
    }
    let number = match international {
        true => digits,
        // One trunk zero before the national number.
        false => format!("{country}{}", digits.strip_prefix('0').unwrap_or(&digits)),
    };
    let fits = (E164_DIGITS_MIN..=E164_DIGITS_MAX).contains(&number.len()) && !number.starts_with('0');
    fits.then(|| format!("+{number}"))
}

fn date(value: &str) -> Option<String> {
    let value = value.trim();
    let separator = value.chars().find(|c| matches!(c, '-' | '/' | '.'));
    let parts: Vec<&str> = match separator {
        Some(c) => value.split(c).collect(),
        None if value.len() == 8 && value.is_ascii() => vec![value.get(..4)?, value.get(4..6)?, value.get(6..)?],
        None => return None,
    };
    let [year, month, day] = parts.try_into().ok()?;
    let number = |text: &str, lengths: core::ops::RangeInclusive<usize>| {
        let digits = lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse::<u32>().ok() } else { None }
    };
    let (year, month, day) = (number(year, 4..=4)?, number(month, 1..=2)?, number(day, 1..=2)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&day).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn run(names: &[&str], value: &str) -> Option<String> {
        names.iter().try_fold(value.to_owned(), |v, name| Step::parse(name).unwrap().apply(&v))
    }

    #[test]
    fn steps_do_what_their_names_say() {
        for (names, value, expected) in [
            (&["nfkc/1"][..], "ｔｅｌ１２３ﬁ", Some("tel123fi")),
            (&["nfkc/1"], "e\u{301}", Some("é")),
            (&["trim/1"], " \u{3000}a b\t\n", Some("a b")),
            (&["fold/1"], "STRASSE ΣΑΣ", Some("strasse σασ")),
            (&["fold/1"], "straße σας", Some("strasse σασ")),
            (&["fold/1"], "ı", Some("ı")),
            (&["digits/1"], "A-12 3４", Some("123")),
            (&["nfkc/1", "digits/1"], "A-12 3４", Some("1234")),
            (&["e164/1:86"], "+86 138-0013-8000", Some("+8613800138000")),
            (&["e164/1:86"], "0086 (138) 0013 8000", Some("+8613800138000")),
            (&["e164/1:86"], "013800138000", Some("+8613800138000")),
            (&["e164/1:44"], "020 7946 0018", Some("+442079460018")),
            (&["e164/1:1"], "555 0100 ext 3", None),
            (&["e164/1:1"], "+1234567890123456", None),
            (&["e164/1:1"], "+123456789012345", Some("+123456789012345")),
            (&["e164/1:1"], "+0123456789", None),
            (&["e164/1:1"], "12345", None),
            (&["e164/1:1"], "", None),
            (&["date/1"], "2024-02-29", Some("2024-02-29")),
            (&["date/1"], " 2024/2/9 ", Some("2024-02-09")),
            (&["date/1"], "20240209", Some("2024-02-09")),
            (&["date/1"], "2024.12.31", Some("2024-12-31")),
            (&["date/1"], "2023-02-29", None),
            (&["date/1"], "1900-02-29", None),
            (&["date/1"], "2000-02-29", Some("2000-02-29")),
            (&["date/1"], "2024-13-01", None),
            (&["date/1"], "2024-00-01", None),
            (&["date/1"], "2024-01-00", None),
            (&["date/1"], "2024-04-31", None),
            (&["date/1"], "2024-1/2", None),
            (&["date/1"], "24-01-02", None),
            (&["date/1"], "2024-01-02T00:00", None),
            (&["date/1"], "２０２４０１０２", None),
            (&["nfkc/1", "date/1"], "２０２４０１０２", Some("2024-01-02")),
        ] {
            assert_eq!(run(names, value).as_deref(), expected, "{names:?} {value}");
        }
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        for name in ["nfkc/1", "trim/1", "fold/1", "digits/1", "date/1", "e164/1:86", "e164/1:1"] {
            assert_eq!(Step::parse(name).unwrap().name(), name);
        }
        for name in ["nfkc/2", "nfkc", "", "e164/1", "e164/1:", "e164/1:086", "e164/1:1234", "e164/1:8a"] {
            assert_eq!(Step::parse(name).unwrap_err().code, Code::ArgsInvalid, "{name}");
        }
    }

    /// The table behind `trim/1`: every character that Unicode gives the property White_Space, and no other.
    #[test]
    fn what_is_trimmed_is_the_white_space_of_version_1() {
        let mut white: Vec<u32> = [0x20, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000].into();
        white.extend((0x9..=0xd).chain(0x2000..=0x200a));
        white.sort_unstable();
        let trimmed = |c: &char| Step::Trim.apply(&format!("{c}a{c}")).unwrap() == "a";
        let all: Vec<u32> = ('\u{0}'..=char::MAX).filter(trimmed).map(u32::from).collect();
        assert_eq!(all, white);
        assert_eq!(Step::Trim.apply("\u{200b}a\u{feff}").unwrap(), "\u{200b}a\u{feff}", "of no width, and no space");
    }

    /// The tables behind `nfkc/1` and `fold/1`, over every character. A library with newer tables changes this; then the
    /// steps need a new version, or two nodes would match differently under one name.
    #[test]
    fn the_tables_are_those_of_version_1() {
        let mut tables = Sha256::new();
        for c in '\u{0}'..=char::MAX {
            let value = String::from(c);
            for step in [Step::Nfkc, Step::Fold] {
                let form = step.apply(&value).unwrap();
                if form != value {
                    tables.update(value.as_bytes());
                    tables.update(form.as_bytes());
                }
            }
        }
        assert_eq!(hex::encode(tables.finalize()), TABLES_1);
    }

    const TABLES_1: &str = "b6e3f375ce229caf5acd287d4711bc5b9129266fbbdb2c5365b05af2c3f6948f";
}
