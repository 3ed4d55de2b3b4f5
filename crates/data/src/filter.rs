//! A predicate as a DataFusion expression, built node by node; there is no SQL text.

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, Operator, binary_expr, in_list, lit, not};
use tacit_types::query::Compare;
use tacit_types::{Code, Fault, Literal, Predicate};

use crate::kind::{ColumnDef, Kind};

/// The expression of a predicate over columns of one table, whose kinds are given.
///
/// # Errors
/// `data.column_unknown`, `data.column_type` (a text literal against numbers or the reverse), `data.too_large`
/// over the limits of [`Predicate::within_limits`].
pub(crate) fn expression(predicate: &Predicate, columns: &[ColumnDef], place: &str) -> Result<Expr, Fault> {
    if !predicate.within_limits() {
        return Err(Fault::new(Code::DataTooLarge, format!("{place}: the predicate is over its limits")));
    }
    build(predicate, &Names { columns, place })
}

struct Names<'a> {
    columns: &'a [ColumnDef],
    place: &'a str,
}

impl Names<'_> {
    fn get(&self, name: &str) -> Result<(Expr, Kind), Fault> {
        let known = self.columns.iter().find(|c| c.name == name);
        let kind = known.ok_or_else(|| unknown(self.place, name))?.kind;
        Ok((column(name), kind))
    }
}

/// The fault for a name that is not a column.
pub(crate) fn unknown(place: &str, name: &str) -> Fault {
    let name: String = name.chars().take(200).collect();
    Fault::new(Code::DataColumnUnknown, format!("{place}: {name:?}"))
}

/// A column by its exact name; `col` of DataFusion would parse dots and fold case.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn build(predicate: &Predicate, names: &Names<'_>) -> Result<Expr, Fault> {
    match predicate {
        Predicate::Compare { column, op, value } => {
            let (expr, kind) = names.get(column)?;
            match constant(value, kind, column, names.place)? {
                Constant::Exact(literal) => Ok(binary_expr(expr, operator(*op), literal)),
                Constant::Between(floor) => Ok(compare_between(expr, *op, floor)),
            }
        }
        Predicate::In { column, values } => {
            let (expr, kind) = names.get(column)?;
            let mut list = Vec::with_capacity(values.len());
            for value in values {
                if let Constant::Exact(literal) = constant(value, kind, column, names.place)? {
                    list.push(literal);
                }
            }
            // why: an empty list is false for a value and unknown for a NULL, which `x <> x` says.
            Ok(if list.is_empty() { expr.clone().not_eq(expr) } else { in_list(expr, list, false) })
        }
        Predicate::IsNull { column } => Ok(names.get(column)?.0.is_null()),
        Predicate::And(list) => join(list, names, Operator::And, true),
        Predicate::Or(list) => join(list, names, Operator::Or, false),
        Predicate::Not(inner) => Ok(not(build(inner, names)?)),
    }
}

fn join(list: &[Predicate], names: &Names<'_>, operator: Operator, of_nothing: bool) -> Result<Expr, Fault> {
    let mut terms = list.iter().map(|p| build(p, names)).collect::<Result<Vec<_>, _>>()?;
    // why: joined in pairs the tree is as deep as the logarithm of the list, so no later pass recurses far.
    while terms.len() > 1 {
        let mut pairs = terms.into_iter();
        let mut joined = Vec::new();
        while let Some(left) = pairs.next() {
            joined.push(match pairs.next() {
                Some(right) => binary_expr(left, operator, right),
                None => left,
            });
        }
        terms = joined;
    }
    Ok(terms.pop().unwrap_or_else(|| lit(of_nothing)))
}

fn operator(op: Compare) -> Operator {
    match op {
        Compare::Eq => Operator::Eq,
        Compare::Ne => Operator::NotEq,
        Compare::Lt => Operator::Lt,
        Compare::Le => Operator::LtEq,
        Compare::Gt => Operator::Gt,
        Compare::Ge => Operator::GtEq,
    }
}

/// A literal in the terms of a column.
#[derive(Debug)]
enum Constant {
    /// A value of the column's kind.
    Exact(Expr),
    /// Between this whole number and the next; no value of a column of whole numbers equals it.
    Between(i64),
}

fn constant(value: &Literal, kind: Kind, column: &str, place: &str) -> Result<Constant, Fault> {
    let exact = |expr| Ok(Constant::Exact(expr));
    match (value, kind) {
        (Literal::Int(v), Kind::Int) => exact(lit(*v)),
        (Literal::Int(v), Kind::Float) => exact(lit(*v as f64)),
        (Literal::Decimal { units, scale }, Kind::Int) => {
            // proof: the scale is at most 18 (`within_limits`), and 10^18 fits an i64.
            let unit = 10i64.pow(u32::from(*scale));
            if units % unit == 0 { exact(lit(units / unit)) } else { Ok(Constant::Between(units.div_euclid(unit))) }
        }
        (Literal::Decimal { units, scale }, Kind::Float) => {
            // why: parsing rounds the decimal once, correctly; a division would round twice.
            let nearest = format!("{units}e-{scale}").parse::<f64>();
            exact(lit(nearest.map_err(|e| Fault::new(Code::Internal, e.to_string()))?))
        }
        (Literal::Text(text), Kind::Text) => exact(lit(text.clone())),
        _ => {
            let literal = if matches!(value, Literal::Text(_)) { "text" } else { "a number" };
            let what = format!("{place}: column {column:?} is {}, compared with {literal}", kind.word());
            Err(Fault::new(Code::DataColumnType, what))
        }
    }
}

/// A comparison of a whole number with a constant that lies between `floor` and the next whole number.
fn compare_between(expr: Expr, op: Compare, floor: i64) -> Expr {
    match op {
        // why: false and true for every value, and still unknown for a NULL.
        Compare::Eq => expr.clone().not_eq(expr),
        Compare::Ne => expr.clone().eq(expr),
        Compare::Lt | Compare::Le => expr.lt_eq(lit(floor)),
        Compare::Gt | Compare::Ge => expr.gt(lit(floor)),
    }
}

/// A column of any table cast to its kind under the same name.
pub(crate) fn canonical(name: &str, kind: Kind, from: &DataType) -> Expr {
    let expr = column(name);
    if *from == kind.arrow() { expr } else { datafusion::logical_expr::cast(expr, kind.arrow()).alias(name) }
}
