//! Which columns of the source a view's columns are made of. What a plan says of it is taken; where it says nothing that is known
//! here, a column is made of everything that is read.

use std::collections::BTreeSet;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

/// What a column is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Columns of the source.
    pub sources: BTreeSet<String>,
    /// The column of the source that it is, under whatever name; `None` for what was computed.
    pub same: Option<String>,
}

impl Origin {
    fn source(name: &str) -> Self {
        Self { sources: BTreeSet::from([name.to_owned()]), same: Some(name.to_owned()) }
    }

    fn computed<'a>(of: impl IntoIterator<Item = &'a Origin>) -> Self {
        Self { sources: of.into_iter().flat_map(|origin| origin.sources.iter().cloned()).collect(), same: None }
    }
}

/// The origin of each output column of a plan.
pub(crate) fn of(plan: &LogicalPlan) -> Vec<Origin> {
    let found = known(plan).filter(|found| found.len() == plan.schema().fields().len());
    found.unwrap_or_else(|| {
        let inputs: Vec<Origin> = plan.inputs().into_iter().flat_map(of).collect();
        vec![Origin::computed(&inputs); plan.schema().fields().len()]
    })
}

fn known(plan: &LogicalPlan) -> Option<Vec<Origin>> {
    Some(match plan {
        LogicalPlan::TableScan(scan) => {
            let whole = match scan.source.get_logical_plan() {
                Some(view) => of(&view),
                None => scan.source.schema().fields().iter().map(|field| Origin::source(field.name())).collect(),
            };
            match &scan.projection {
                None => whole,
                Some(places) => places.iter().map(|place| whole.get(*place).cloned()).collect::<Option<_>>()?,
            }
        }
        LogicalPlan::Projection(node) => expressions(&node.expr, &node.input),
        LogicalPlan::Aggregate(node) => {
            let mut all = expressions(&node.group_expr, &node.input);
            all.extend(expressions(&node.aggr_expr, &node.input));
            all
        }
        LogicalPlan::Window(node) => {
            let mut all = of(&node.input);
            all.extend(expressions(&node.window_expr, &node.input));
            all
        }
        LogicalPlan::Join(node) => {
            let (mut left, right) = (of(&node.left), of(&node.right));
            left.extend(right);
            left
        }
        LogicalPlan::Union(node) => {
            let mut inputs = node.inputs.iter().map(|input| of(input));
            let first = inputs.next()?;
            inputs.fold(first, |all, input| all.iter().zip(&input).map(|(a, b)| merged(a, b)).collect())
        }
        LogicalPlan::SubqueryAlias(node) => of(&node.input),
        LogicalPlan::Filter(node) => of(&node.input),
        LogicalPlan::Sort(node) => of(&node.input),
        LogicalPlan::Limit(node) => of(&node.input),
        LogicalPlan::Repartition(node) => of(&node.input),
        LogicalPlan::Distinct(Distinct::All(input)) => of(input),
        _ => return None,
    })
}

fn merged(a: &Origin, b: &Origin) -> Origin {
    if a == b { a.clone() } else { Origin::computed([a, b]) }
}

fn expressions(all: &[Expr], input: &LogicalPlan) -> Vec<Origin> {
    let (origins, schema) = (of(input), input.schema());
    all.iter().map(|expr| expression(expr, &origins, schema)).collect()
}

fn expression(expr: &Expr, origins: &[Origin], schema: &DFSchema) -> Origin {
    let of = |column| schema.maybe_index_of_column(column).and_then(|place| origins.get(place));
    let mut bare = expr;
    while let Expr::Alias(alias) = bare {
        bare = &alias.expr;
    }
    if let Expr::Column(column) = bare
        && let Some(origin) = of(column)
    {
        return origin.clone();
    }
    // A query within reads what it likes.
    let within = expr.exists(|e| {
        Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)))
    });
    let named: Option<Vec<&Origin>> = expr.column_refs().into_iter().map(of).collect();
    match named {
        Some(named) if matches!(within, Ok(false)) => Origin::computed(named),
        _ => Origin::computed(origins),
    }
}
