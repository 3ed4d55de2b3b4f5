//! A local query as a value: a view, a projection, a filter. No text of a remote party is ever
//! parsed as SQL; a predicate is a tree of known shapes over known columns.

use serde::{Deserialize, Serialize};

use crate::limits::{LITERAL_TEXT_BYTES_MAX, PREDICATE_DEPTH_MAX, PREDICATE_NODES_MAX};

/// A constant in a predicate. There is no float: a bound on a real column is written as a decimal
/// string scaled by [`Literal::Decimal`], so that signed bytes hold no floating point.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[serde(rename_all = "snake_case")]
pub enum Literal {
    /// A whole number.
    #[n(0)]
    Int(#[n(0)] i64),
    /// `units` times ten to the minus `scale`.
    #[n(1)]
    Decimal {
        /// The digits.
        #[n(0)]
        units: i64,
        /// Digits after the point, at most 18.
        #[n(1)]
        scale: u8,
    },
    /// Text, at most [`LITERAL_TEXT_BYTES_MAX`] bytes.
    #[n(2)]
    Text(#[n(0)] String),
}

/// A comparison operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Compare {
    /// Equal.
    #[n(0)]
    Eq,
    /// Not equal.
    #[n(1)]
    Ne,
    /// Less.
    #[n(2)]
    Lt,
    /// Less or equal.
    #[n(3)]
    Le,
    /// Greater.
    #[n(4)]
    Gt,
    /// Greater or equal.
    #[n(5)]
    Ge,
}

/// A filter over the columns of a view.
///
/// The logic is SQL's, of three values: a comparison with a NULL is unknown, `Not` of unknown is
/// unknown, and a row is kept only where the whole tree is true. So a NULL satisfies neither a
/// comparison nor its negation, and [`Predicate::IsNull`] alone tells it apart. `And` of nothing is
/// true, `Or` of nothing is false, and `In` no values is false for every value.
///
/// Text is compared byte by byte. A literal against a column of whole numbers is compared exactly; against a
/// column of floating point it is first rounded to the nearest double.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[serde(rename_all = "snake_case")]
pub enum Predicate {
    /// `column <op> value`.
    #[n(0)]
    Compare {
        /// Column name.
        #[n(0)]
        column: String,
        /// Operator.
        #[n(1)]
        op: Compare,
        /// Constant.
        #[n(2)]
        value: Literal,
    },
    /// `column` is one of `values`.
    #[n(1)]
    In {
        /// Column name.
        #[n(0)]
        column: String,
        /// Constants.
        #[n(1)]
        values: Vec<Literal>,
    },
    /// `column` has no value.
    #[n(2)]
    IsNull {
        /// Column name.
        #[n(0)]
        column: String,
    },
    /// All of these.
    #[n(3)]
    And(#[n(0)] Vec<Predicate>),
    /// Any of these.
    #[n(4)]
    Or(#[n(0)] Vec<Predicate>),
    /// Not this.
    #[n(5)]
    Not(#[n(0)] Box<Predicate>),
}

impl Predicate {
    /// Names every column the predicate reads, in order of first use, without repeats.
    pub fn columns(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit(0, &mut |p| {
            if let Predicate::Compare { column, .. } | Predicate::In { column, .. } | Predicate::IsNull { column } = p
                && !names.contains(&column.as_str())
            {
                names.push(column.as_str());
            }
        });
        names
    }

    /// Whether the tree is within [`PREDICATE_NODES_MAX`], [`PREDICATE_DEPTH_MAX`] and
    /// [`LITERAL_TEXT_BYTES_MAX`], and every decimal scale is at most 18.
    pub fn within_limits(&self) -> bool {
        let mut nodes = 0usize;
        let mut literals_ok = true;
        let mut literal = |value: &Literal| {
            literals_ok &= match value {
                Literal::Int(_) => true,
                Literal::Decimal { scale, .. } => *scale <= 18,
                Literal::Text(text) => text.len() <= LITERAL_TEXT_BYTES_MAX,
            };
        };
        let deepest = self.visit(1, &mut |p| {
            nodes += 1;
            match p {
                Predicate::Compare { value, .. } => literal(value),
                Predicate::In { values, .. } => {
                    nodes += values.len();
                    values.iter().for_each(&mut literal);
                }
                _ => {}
            }
        });
        nodes <= PREDICATE_NODES_MAX && deepest <= PREDICATE_DEPTH_MAX && literals_ok
    }

    /// Calls `f` on every node and gives the depth of the deepest, with the root at `depth`.
    fn visit<'a>(&'a self, depth: usize, f: &mut dyn FnMut(&'a Predicate)) -> usize {
        f(self);
        let children: &[Predicate] = match self {
            Predicate::And(list) | Predicate::Or(list) => list,
            Predicate::Not(inner) => core::slice::from_ref(inner),
            _ => &[],
        };
        children.iter().map(|p| p.visit(depth + 1, f)).max().unwrap_or(depth)
    }
}

/// What a job kind asks an owner's node to read. The node adds its own consent rule before
/// anything else sees the rows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
pub struct LocalQuery {
    /// The dataset's local name or one of its views.
    #[n(0)]
    pub view: String,
    /// Columns to read, in order, without repeats.
    #[n(1)]
    pub columns: Vec<String>,
    /// Rows to keep; all when absent.
    #[n(2)]
    pub filter: Option<Predicate>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf() -> Predicate {
        Predicate::Compare { column: "age".into(), op: Compare::Gt, value: Literal::Int(3) }
    }

    #[test]
    fn limits_hold_one_past_each() {
        let nest = |n: usize| (1..n).fold(leaf(), |p, _| Predicate::Not(Box::new(p)));
        assert!(nest(PREDICATE_DEPTH_MAX).within_limits());
        assert!(!nest(PREDICATE_DEPTH_MAX + 1).within_limits());
        assert!(Predicate::And(vec![leaf(); PREDICATE_NODES_MAX - 1]).within_limits());
        assert!(!Predicate::And(vec![leaf(); PREDICATE_NODES_MAX]).within_limits());
        let text = |n| Predicate::Compare { column: "c".into(), op: Compare::Eq, value: Literal::Text("x".repeat(n)) };
        assert!(text(LITERAL_TEXT_BYTES_MAX).within_limits());
        assert!(!text(LITERAL_TEXT_BYTES_MAX + 1).within_limits());
    }

    #[test]
    fn columns_are_named_once() {
        let p = Predicate::Or(vec![leaf(), Predicate::Not(Box::new(Predicate::IsNull { column: "b".into() })), leaf()]);
        assert_eq!(p.columns(), ["age", "b"]);
    }
}
