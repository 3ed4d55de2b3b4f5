//! Names and kinds of columns.

use serde::{Deserialize, Serialize};
use tacit_types::limits::{COLUMN_NAME_BYTES_MAX, COLUMNS_MAX};
use tacit_types::{Code, Fault};

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Whole numbers of 64 bits; booleans are 0 and 1.
    Int,
    /// Finite binary64; decimals are rounded to it. A negative zero is read as zero.
    Float,
    /// UTF-8 text; dates and times in their ISO 8601 form.
    Text,
}

impl Kind {
    /// The word for messages and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Text => "text",
        }
    }
}

/// A column's name and kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDef {
    /// The name, exactly as in the source; 1 to 128 bytes.
    pub name: String,
    /// The kind.
    pub kind: Kind,
}

impl ColumnDef {
    /// A column of that name and kind.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind }
    }
}

/// Refuses a header that cannot name columns.
///
/// # Errors
/// `data.too_large` over [`COLUMNS_MAX`] columns, `data.header_malformed` for an empty or over-long name or
/// one with a control character, `data.header_duplicate` for two equal names.
pub(crate) fn check_header<'a>(names: impl IntoIterator<Item = &'a str>, place: &str) -> Result<(), Fault> {
    let mut seen = std::collections::BTreeSet::new();
    for (i, name) in names.into_iter().enumerate() {
        let position = i + 1;
        if position > COLUMNS_MAX {
            return Err(Fault::new(Code::DataTooLarge, format!("{place}: more than {COLUMNS_MAX} columns")));
        }
        let malformed = |why: &str| {
            Err(Fault::new(Code::DataHeaderMalformed, format!("{place}: the name of column {position} {why}")))
        };
        if name.is_empty() {
            return malformed("is empty");
        }
        if name.len() > COLUMN_NAME_BYTES_MAX {
            return malformed(&format!("has {} bytes; at most {COLUMN_NAME_BYTES_MAX} are allowed", name.len()));
        }
        if name.chars().any(char::is_control) {
            return malformed("has a control character");
        }
        if !seen.insert(name) {
            return Err(Fault::new(Code::DataHeaderDuplicate, format!("{place}: column {position} is again {name:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_their_limits() {
        let code = |names: &[&str]| check_header(names.iter().copied(), "t").unwrap_err().code;
        let long = "é".repeat(COLUMN_NAME_BYTES_MAX / 2);
        assert!(check_header(["a", "A", &long], "t").is_ok());
        assert_eq!(code(&["a", ""]), Code::DataHeaderMalformed);
        assert_eq!(code(&[&format!("{long}x")]), Code::DataHeaderMalformed);
        assert_eq!(code(&["a\u{1b}[2J"]), Code::DataHeaderMalformed);
        assert_eq!(code(&["a", "b", "a"]), Code::DataHeaderDuplicate);
        let many: Vec<String> = (0..=COLUMNS_MAX).map(|i| format!("c{i}")).collect();
        assert!(check_header(many[1..].iter().map(String::as_str), "t").is_ok());
        assert_eq!(check_header(many.iter().map(String::as_str), "t").unwrap_err().code, Code::DataTooLarge);
    }
}
