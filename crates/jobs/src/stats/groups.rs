//! Groups of rows by the values of a column: agreed values, and one more group for every other value and for none.

use std::collections::BTreeMap;

use serde::Deserialize;
use tacit_governance::ColumnKind;
use tacit_types::limits::LITERAL_TEXT_BYTES_MAX;
use tacit_types::{Code, Column, Columns, Fault, Literal, Values};

use super::fold::column_type;
use crate::decimal::Decimal;
use crate::kind::ColumnKinds;

/// Groups of one job.
pub const GROUPS_MAX: usize = 1024;

/// Groups by the values of a column.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct GroupBy {
    /// Column name.
    #[n(1)]
    pub column: String,
    /// The agreed values.
    #[n(2)]
    pub values: Vec<Literal>,
}

impl GroupBy {
    /// Checks the values of parameter `field`, of which there are at most `most`.
    ///
    /// # Errors
    /// `refused.parameters` naming the field.
    pub fn check(&self, field: &str, most: usize) -> Result<(), Fault> {
        let wrong = |what: &str| Err(Fault::new(Code::RefusedParameters, format!("{field}: {what}")));
        if !(1..=most).contains(&self.values.len()) {
            return wrong(&format!("1 to {most} values"));
        }
        for (i, value) in self.values.iter().enumerate() {
            if self.values[..i].contains(value) {
                return wrong("a value stands twice");
            }
            let ok = match value {
                Literal::Int(_) => true,
                Literal::Text(text) => text.len() <= LITERAL_TEXT_BYTES_MAX,
                Literal::Decimal { .. } => false,
            };
            if !ok {
                return wrong("values are whole numbers or texts of at most 256 bytes");
            }
        }
        let whole = self.values.iter().filter(|v| matches!(v, Literal::Int(_))).count();
        if whole != 0 && whole != self.values.len() {
            return wrong("values are all whole numbers or all texts");
        }
        Ok(())
    }

    /// What the groups are called, the one for all others last.
    pub fn labels(&self) -> impl Iterator<Item = String> {
        let named = self.values.iter().map(|v| match v {
            Literal::Int(i) => i.to_string(),
            Literal::Text(t) => t.clone(),
            Literal::Decimal { units, scale } => Decimal { units: *units, scale: *scale }.to_string(),
        });
        named.chain(["(other)".to_owned()])
    }
}

/// What a person writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenGroups {
    pub column: String,
    pub values: Vec<WrittenValue>,
}

/// A value that a person writes.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum WrittenValue {
    Int(i64),
    Text(String),
}

impl WrittenGroups {
    /// The signed form, of parameter `field`.
    ///
    /// # Errors
    /// `data.column_unknown`, `data.column_type`.
    pub fn read(self, field: &str, columns: &ColumnKinds) -> Result<GroupBy, Fault> {
        let unknown =
            || Fault::new(Code::DataColumnUnknown, format!("`{}` is not a column of every provider", self.column));
        let kind = *columns.get(&self.column).ok_or_else(unknown)?;
        let values = self
            .values
            .into_iter()
            .map(|v| match (v, kind) {
                (WrittenValue::Int(i), ColumnKind::Int) => Ok(Literal::Int(i)),
                (WrittenValue::Int(i), ColumnKind::Text) => Ok(Literal::Text(i.to_string())),
                (WrittenValue::Text(t), ColumnKind::Text) => Ok(Literal::Text(t)),
                _ => Err(Fault::new(
                    Code::DataColumnType,
                    format!("{field}: `{}` and its values are not both whole numbers or both text", self.column),
                )),
            })
            .collect::<Result<_, _>>()?;
        Ok(GroupBy { column: self.column, values })
    }
}

/// From a row's value to the number of its group.
pub(crate) struct GroupFinder {
    column: String,
    whole: BTreeMap<i64, usize>,
    text: BTreeMap<String, usize>,
    other: usize,
}

impl GroupFinder {
    pub fn new(group: &GroupBy) -> Self {
        let (mut whole, mut text) = (BTreeMap::new(), BTreeMap::new());
        for (i, value) in group.values.iter().enumerate() {
            match value {
                Literal::Int(v) => drop(whole.insert(*v, i)),
                Literal::Text(t) => drop(text.insert(t.clone(), i)),
                Literal::Decimal { .. } => {}
            }
        }
        Self { column: group.column.clone(), whole, text, other: group.values.len() }
    }

    /// The group of each row; the last for a NULL or a value that is not listed.
    ///
    /// # Errors
    /// `data.column_unknown`; `data.column_type` for a column that cannot hold the listed values.
    pub fn of(&self, batch: &Columns) -> Result<Vec<usize>, Fault> {
        let column = batch.get(&self.column);
        let column = column.ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{}`", self.column)))?;
        let find = |row: usize| match &column.values {
            Values::Int(v) => v.get(row).and_then(|x| self.whole.get(x)),
            Values::Text(v) => v.get(row).and_then(|x| self.text.get(x)),
            Values::Float(_) => None,
        };
        self.check(column)?;
        let listed = |row: usize| if column.is_valid(row) { find(row).copied() } else { None };
        Ok((0..batch.rows).map(|row| listed(row).unwrap_or(self.other)).collect())
    }

    fn check(&self, column: &Column) -> Result<(), Fault> {
        match &column.values {
            Values::Int(_) if self.text.is_empty() => Ok(()),
            Values::Text(_) if self.whole.is_empty() => Ok(()),
            _ => Err(column_type(&column.name, "the groups that the job lists")),
        }
    }
}
