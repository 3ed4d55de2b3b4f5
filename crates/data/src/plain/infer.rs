//! The kind of a CSV column, from every value it has.

use tacit_types::{Code, Fault};

use super::columns::Kind;
use super::survey::Range;

/// A column is taken to be meant as numbers when at least this many of 100 of its values are.
const NUMERIC_PERCENT_MIN: u64 = 95;

/// Where a value stands: its data row, counted from 1, and the line of the file.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) row: u64,
    pub(crate) line: u64,
}

/// One field's text, read as what it most narrowly is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Reading {
    /// A whole number of 64 bits.
    Int(i64),
    /// A whole number that 64 bits do not hold, as the nearest double.
    Wide(f64),
    /// Another finite number.
    Float(f64),
    /// NaN, an infinity, or a number beyond the doubles.
    NotFinite,
    /// Anything else.
    Text,
}

impl Reading {
    /// Reads a field that is not empty. Spaces are part of the field, as RFC 4180 says, so ` 1` is text.
    pub(crate) fn of(field: &str) -> Self {
        let digits = field.strip_prefix(['+', '-']).unwrap_or(field);
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            return match (field.parse::<i64>(), field.parse::<f64>()) {
                (Ok(value), _) => Reading::Int(value),
                (Err(_), Ok(value)) if value.is_finite() => Reading::Wide(value),
                _ => Reading::NotFinite,
            };
        }
        match field.parse::<f64>() {
            Ok(value) if value.is_finite() => Reading::Float(value + 0.0),
            Ok(_) => Reading::NotFinite,
            Err(_) => Reading::Text,
        }
    }
}

/// A field as a value of its column's kind.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    Int(i64),
    Float(f64),
    Text(&'a str),
}

/// Reads a field as its column's kind; `None` for one that is empty. The code and the end of a sentence when
/// the kind does not hold it.
pub(crate) fn value(kind: Kind, field: &str) -> Result<Option<Value<'_>>, (Code, &'static str)> {
    if field.is_empty() {
        return Ok(None);
    }
    let value = match kind {
        Kind::Text => Value::Text(field),
        Kind::Int => match Reading::of(field) {
            Reading::Int(value) => Value::Int(value),
            _ => return Err((Code::DataValueType, ": not a whole number of 64 bits")),
        },
        Kind::Float => match Reading::of(field) {
            Reading::Int(value) => Value::Float(value as f64),
            Reading::Wide(value) | Reading::Float(value) => Value::Float(value),
            Reading::NotFinite => return Err((Code::DataValueNotFinite, "")),
            Reading::Text => return Err((Code::DataValueType, ": not a number")),
        },
    };
    Ok(Some(value))
}

/// What the values of one column were so far.
#[derive(Default)]
pub(crate) struct Guess {
    as_text: bool,
    pub(crate) nulls: u64,
    values: u64,
    floats: u64,
    text_values: u64,
    first_text: Option<Place>,
    first_not_finite: Option<Place>,
    first_wide: Option<Place>,
    ints: Option<(i64, i64)>,
    numbers: Option<(f64, f64)>,
}

impl Guess {
    /// A column that the owner has declared to be text, or one to be guessed.
    pub(crate) fn new(as_text: bool) -> Self {
        Self { as_text, ..Self::default() }
    }

    /// Takes one field in.
    pub(crate) fn observe(&mut self, field: &str, place: Place) {
        if field.is_empty() {
            self.nulls += 1;
            return;
        }
        self.values += 1;
        if self.as_text {
            return;
        }
        match Reading::of(field) {
            Reading::Int(value) => {
                let (low, high) = self.ints.unwrap_or((value, value));
                self.ints = Some((low.min(value), high.max(value)));
            }
            Reading::Wide(value) => {
                self.first_wide.get_or_insert(place);
                self.number(value);
            }
            Reading::Float(value) => {
                self.floats += 1;
                self.number(value);
            }
            Reading::NotFinite => {
                self.first_not_finite.get_or_insert(place);
            }
            Reading::Text => {
                self.text_values += 1;
                self.first_text.get_or_insert(place);
            }
        }
    }

    fn number(&mut self, value: f64) {
        let (low, high) = self.numbers.unwrap_or((value, value));
        self.numbers = Some((low.min(value), high.max(value)));
    }

    /// The column's kind and range. A column without a value is text: nothing could be computed from it.
    ///
    /// # Errors
    /// `data.value_type` when the column is numbers but for a few values, or has whole numbers that 64 bits
    /// do not hold; `data.value_not_finite` for NaN and infinities. Each names the first such row.
    pub(crate) fn decide(&self, name: &str, file: &str) -> Result<(Kind, Option<Range>), Fault> {
        let at = |place: Place| format!("{file}: row {}, line {}, column {name:?}", place.row, place.line);
        if self.as_text || self.values == 0 {
            return Ok((Kind::Text, None));
        }
        let numeric = self.values - self.text_values;
        let meant_numeric = u128::from(numeric) * 100 >= u128::from(self.values) * u128::from(NUMERIC_PERCENT_MIN);
        if !meant_numeric {
            return Ok((Kind::Text, None));
        }
        if let Some(place) = self.first_text {
            let what = format!("{}: not a number, unlike {numeric} of the column's {} values", at(place), self.values);
            return Err(Fault::new(Code::DataValueType, what));
        }
        if let Some(place) = self.first_not_finite {
            return Err(Fault::new(Code::DataValueNotFinite, at(place)));
        }
        if self.floats > 0 {
            let (mut low, mut high) = self.numbers.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
            if let Some((int_low, int_high)) = self.ints {
                (low, high) = (low.min(int_low as f64), high.max(int_high as f64));
            }
            return Ok((Kind::Float, Some(Range::Float { min: low, max: high })));
        }
        if let Some(place) = self.first_wide {
            let what = format!("{}: the whole number does not fit 64 bits", at(place));
            return Err(Fault::new(Code::DataValueType, what));
        }
        Ok((Kind::Int, self.ints.map(|(min, max)| Range::Int { min, max })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(fields: &[&str]) -> Result<(Kind, Option<Range>), Fault> {
        let mut guess = Guess::new(false);
        for (i, field) in fields.iter().enumerate() {
            guess.observe(field, Place { row: i as u64 + 1, line: i as u64 + 2 });
        }
        guess.decide("c", "t.csv")
    }

    #[test]
    fn the_narrowest_kind_that_holds_every_value() {
        let int = |min, max| (Kind::Int, Some(Range::Int { min, max }));
        let float = |min, max| (Kind::Float, Some(Range::Float { min, max }));
        assert_eq!(decide(&["3", "", "-7", "+2"]).unwrap(), int(-7, 3));
        assert_eq!(decide(&["9223372036854775807", "-9223372036854775808"]).unwrap(), int(i64::MIN, i64::MAX));
        assert_eq!(decide(&["3", "2.5", "-4"]).unwrap(), float(-4.0, 3.0));
        assert_eq!(decide(&["1e3", ".5"]).unwrap(), float(0.5, 1000.0));
        assert_eq!(decide(&["a", "1"]).unwrap(), (Kind::Text, None));
        assert_eq!(decide(&["", ""]).unwrap(), (Kind::Text, None));
        assert_eq!(decide(&[" 1"]).unwrap(), (Kind::Text, None));
    }

    #[test]
    fn a_late_wrong_value_is_named() {
        let mut fields = vec!["1"; 5000];
        fields[4321] = "n/a";
        let fault = decide(&fields).unwrap_err();
        assert_eq!(fault.code, Code::DataValueType);
        assert!(fault.what.contains("row 4322, line 4323, column \"c\""), "{}", fault.what);
        assert!(!fault.what.contains("n/a"));
    }

    #[test]
    fn ninety_five_of_a_hundred_is_the_border() {
        let of = |numbers: usize, texts: usize| {
            let fields: Vec<&str> = std::iter::repeat_n("1", numbers).chain(std::iter::repeat_n("x", texts)).collect();
            decide(&fields)
        };
        assert_eq!(of(95, 5).unwrap_err().code, Code::DataValueType);
        assert_eq!(of(94, 6).unwrap().0, Kind::Text);
    }

    #[test]
    fn what_no_number_holds_is_refused() {
        for bad in ["NaN", "nan", "inf", "-Infinity", "1e999"] {
            assert_eq!(decide(&["1.5", bad]).unwrap_err().code, Code::DataValueNotFinite, "{bad}");
        }
        let fault = decide(&["1", "9223372036854775808"]).unwrap_err();
        assert_eq!(fault.code, Code::DataValueType);
        assert!(fault.what.contains("64 bits"));
        assert_eq!(decide(&["0.5", "9223372036854775808"]).unwrap().0, Kind::Float);
        assert_eq!(decide(&["a", "b", "inf"]).unwrap().0, Kind::Text);
    }

    #[test]
    fn declared_text_stays_text() {
        let mut guess = Guess::new(true);
        guess.observe("007", Place { row: 1, line: 2 });
        assert_eq!(guess.decide("c", "t").unwrap().0, Kind::Text);
    }
}
