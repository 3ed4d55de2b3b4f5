//! What statistics across two owners are signed over, and how a person writes it.

use std::collections::BTreeMap;

use serde::Deserialize;
use tacit_governance::ColumnKind;
use tacit_types::limits::COLUMN_NAME_BYTES_MAX;
use tacit_types::{Code, Fault, JobId, NodeId};

use crate::decimal::Decimal;
use crate::kind::{Draft, Parts};

/// The fewest ids that a job has room for.
pub const CROSS_ROWS_MIN: u64 = 2;
/// The most ids that a job has room for: sums of squares of so many values fit into the numbers of a plan.
pub const CROSS_ROWS_MAX: u64 = 1 << 20;
/// Columns of one owner.
pub const CROSS_COLUMNS_MAX: usize = 16;
/// Owners of a job.
pub const CROSS_OWNERS: usize = 2;
/// A value stands as a whole number from 0 to 2 to this, over its column's range.
pub const VALUE_BITS: u32 = 20;
/// The least power of two by which values are multiplied, and the greatest.
const SCALE_MAX: i32 = 64;

/// A column, and the public range of its values.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct RangedColumn {
    /// The column.
    #[n(1)]
    pub column: String,
    /// The least value; what is below counts as it.
    #[n(2)]
    pub least: Decimal,
    /// The greatest value; what is above counts as it.
    #[n(3)]
    pub most: Decimal,
}

impl RangedColumn {
    /// The range, ready for many values.
    pub fn range(&self) -> Range {
        Range { least: self.least.to_f64(), most: self.most.to_f64(), factor: 2f64.powi(self.scale()) }
    }

    /// The power of two by which a value's distance from the least is multiplied: the greatest with which the whole range
    /// stays within [`VALUE_BITS`]. Whole numbers of a range of no more than that stay exact.
    pub fn scale(&self) -> i32 {
        let range = self.most.to_f64() - self.least.to_f64();
        let top = f64::from(1u32 << VALUE_BITS);
        (-SCALE_MAX..=SCALE_MAX).rev().find(|s| range * 2f64.powi(*s) <= top).unwrap_or(-SCALE_MAX)
    }

    fn is_sound(&self) -> bool {
        let named = !self.column.is_empty() && self.column.len() <= COLUMN_NAME_BYTES_MAX;
        let range = self.most.to_f64() - self.least.to_f64();
        named && self.least.is_valid() && self.most.is_valid() && range > 0.0
    }
}

/// The range of a column's values.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    least: f64,
    most: f64,
    factor: f64,
}

impl Range {
    /// The number that stands for a value, and whether the value is more than the end of its range, or zero.
    pub fn number(&self, value: f64) -> (u32, bool) {
        let carries = value != 0.0 && self.least < value && value < self.most;
        let scaled = ((value.clamp(self.least, self.most) - self.least) * self.factor).round();
        // why: a saturating cast of a number from 0 to the top.
        (scaled.min(f64::from(1u32 << VALUE_BITS)) as u32, carries)
    }
}

/// One owner's columns.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct OwnerColumns {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// Its columns, ascending by name.
    #[n(2)]
    pub columns: Vec<RangedColumn>,
}

/// The signed parameters.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct CrossParams {
    /// The alignment that made the ids.
    #[n(1)]
    pub alignment: JobId,
    /// Ids that there is room for.
    #[n(2)]
    pub rows: u64,
    /// The two owners, ascending by key.
    #[n(3)]
    pub owners: Vec<OwnerColumns>,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what.into()))
}

impl CrossParams {
    /// Checks everything that does not rest on the job's parts.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check(&self) -> Result<(), Fault> {
        if !(CROSS_ROWS_MIN..=CROSS_ROWS_MAX).contains(&self.rows) {
            return wrong(format!("rows: {} of {CROSS_ROWS_MIN} to {CROSS_ROWS_MAX}", self.rows));
        }
        let ascend = self.owners.windows(2).all(|pair| matches!(pair, [a, b] if a.owner < b.owner));
        if self.owners.len() != CROSS_OWNERS || !ascend {
            return wrong(format!("columns: of {CROSS_OWNERS} owners, ascending"));
        }
        for OwnerColumns { columns, .. } in &self.owners {
            if !(1..=CROSS_COLUMNS_MAX).contains(&columns.len()) {
                return wrong(format!("columns: {} of one owner, 1 to {CROSS_COLUMNS_MAX}", columns.len()));
            }
            if let Some(column) = columns.iter().find(|c| !c.is_sound()) {
                return wrong(format!("columns: `{}` has no name or no range from less to more", column.column));
            }
            if !columns.windows(2).all(|pair| matches!(pair, [a, b] if a.column < b.column)) {
                return wrong("columns: they do not ascend");
            }
        }
        Ok(())
    }

    /// Checks that the parameters fit who has a part in the job. Gives the dealer.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn fits(&self, parts: &Parts<'_>) -> Result<NodeId, Fault> {
        let mut providers: Vec<NodeId> = parts.providers.iter().map(|p| p.owner).collect();
        providers.sort_unstable();
        if !self.owners.iter().map(|o| &o.owner).eq(&providers) {
            return wrong("the owners of the columns are not the job's providers");
        }
        match parts.dealer {
            Some(dealer) if !providers.contains(&dealer) && parts.models.is_empty() => Ok(dealer),
            _ => wrong("a job on shares has a dealer, who has no data in it, and no model"),
        }
    }

    /// An owner's columns; none of somebody else.
    pub fn of(&self, owner: &NodeId) -> &[RangedColumn] {
        self.owners.iter().find(|o| o.owner == *owner).map_or(&[], |o| &o.columns)
    }
}

/// What a person writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    alignment: String,
    rows: u64,
    /// By provider and column, the range.
    columns: BTreeMap<String, BTreeMap<String, [Decimal; 2]>>,
}

/// Turns what a person wrote into parameters, which are still to be checked.
///
/// # Errors
/// `refused.parameters` naming the field; `data.column_unknown`, `data.column_type`.
pub fn read(written: serde_json::Value, draft: &Draft) -> Result<CrossParams, Fault> {
    let written: Written =
        serde_json::from_value(written).map_err(|e| Fault::new(Code::RefusedParameters, format!("params: {e}")))?;
    let alignment = JobId::from_hex(&written.alignment)
        .map_err(|f| Fault::new(Code::RefusedParameters, format!("alignment: {}", f.what)))?;
    let mut owners = Vec::new();
    for (name, columns) in written.columns {
        let Some(provider) = draft.providers.iter().find(|p| p.name == name) else {
            return wrong(format!("columns: `{name}` is not a provider of the contract"));
        };
        for column in columns.keys() {
            let what = format!("`{column}` of {name}");
            match provider.columns.get(column) {
                None => return Err(Fault::new(Code::DataColumnUnknown, what)),
                Some(ColumnKind::Text) => {
                    return Err(Fault::new(Code::DataColumnType, format!("{what} holds texts")));
                }
                Some(ColumnKind::Int | ColumnKind::Float) => {}
            }
        }
        let ranged = |(column, [least, most]): (String, [Decimal; 2])| RangedColumn { column, least, most };
        owners.push(OwnerColumns { owner: provider.owner, columns: columns.into_iter().map(ranged).collect() });
    }
    owners.sort_by_key(|o| o.owner);
    Ok(CrossParams { alignment, rows: written.rows, owners })
}
