//! Which columns of the source a view's columns are made of, and on which they depend. What a plan says of it is taken; where it says
//! nothing that is known here, a column is made of everything that is read.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

/// What a column is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Columns of the source.
    pub sources: BTreeSet<String>,
    /// The column of the source that it is, under whatever name; `None` for what was computed.
    pub same: Option<String>,
    /// Names of columns on which it depends, those of views on the way as well: by what it is made of, and by what decides which
    /// rows there are (filters, joins, groups, orders, queries within).
    pub touches: BTreeSet<String>,
}

impl Origin {
    fn source(name: &str) -> Self {
        Self { sources: BTreeSet::from([name.to_owned()]), same: Some(name.to_owned()), touches: BTreeSet::new() }
    }

    fn computed<'a>(of: impl IntoIterator<Item = &'a Origin>) -> Self {
        let mut made = Self::default();
        for origin in of {
            made.sources.extend(origin.sources.iter().cloned());
            made.touches.extend(origin.touches.iter().cloned());
        }
        made
    }
}

/// The columns of a plan, and the names that decide which rows there are.
#[derive(Default)]
struct Made {
    columns: Vec<Origin>,
    rows: BTreeSet<String>,
}

impl Made {
    /// What decides which rows there are is more by expressions over its columns.
    fn decided<'a>(mut self, by: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Self {
        for expr in by {
            self.rows.extend(expression(expr, &self.columns, schema).touches);
        }
        self
    }

    fn projected(input: Self, all: &[Expr], schema: &DFSchema) -> Self {
        let columns = all.iter().map(|expr| expression(expr, &input.columns, schema)).collect();
        Self { columns, rows: input.rows }
    }
}

/// The origin of each output column of a plan.
pub(crate) fn of(plan: &LogicalPlan) -> Vec<Origin> {
    let Made { mut columns, rows } = made(plan);
    columns.iter_mut().for_each(|origin| origin.touches.extend(rows.iter().cloned()));
    columns
}

fn made(plan: &LogicalPlan) -> Made {
    let fields = plan.schema().fields();
    let mut made = known(plan).filter(|made| made.columns.len() == fields.len()).unwrap_or_else(|| {
        let mut inputs: Vec<Origin> = plan.inputs().into_iter().flat_map(of).collect();
        inputs.extend(plan.expressions().iter().flat_map(|expr| within(expr).unwrap_or_default()));
        let all = Origin::computed(&inputs);
        Made { columns: vec![all.clone(); fields.len()], rows: all.touches }
    });
    for (origin, field) in made.columns.iter_mut().zip(fields) {
        origin.touches.insert(field.name().clone());
    }
    made
}

fn known(plan: &LogicalPlan) -> Option<Made> {
    Some(match plan {
        LogicalPlan::TableScan(scan) => {
            let whole = match scan.source.get_logical_plan() {
                Some(view) => made(&view),
                None => {
                    let columns =
                        scan.source.schema().fields().iter().map(|field| Origin::source(field.name())).collect();
                    Made { columns, rows: BTreeSet::new() }
                }
            };
            if !scan.filters.is_empty() {
                return None;
            }
            match &scan.projection {
                None => whole,
                Some(places) => {
                    let columns =
                        places.iter().map(|place| whole.columns.get(*place).cloned()).collect::<Option<_>>()?;
                    Made { columns, rows: whole.rows }
                }
            }
        }
        LogicalPlan::Projection(node) => Made::projected(made(&node.input), &node.expr, node.input.schema()),
        LogicalPlan::Aggregate(node) => {
            let input = made(&node.input).decided(&node.group_expr, node.input.schema());
            let all: Vec<Expr> = node.group_expr.iter().chain(&node.aggr_expr).cloned().collect();
            Made::projected(input, &all, node.input.schema())
        }
        LogicalPlan::Window(node) => {
            let input = made(&node.input);
            let mut columns = input.columns.clone();
            let windows = Made::projected(input, &node.window_expr, node.input.schema());
            columns.extend(windows.columns);
            Made { columns, rows: windows.rows }
        }
        LogicalPlan::Join(node) => {
            let (mut both, right) = (made(&node.left), made(&node.right));
            both.columns.extend(right.columns);
            both.rows.extend(right.rows);
            let on = node.on.iter().flat_map(|(left, right)| [left, right]);
            both.decided(on.chain(&node.filter), &node.schema)
        }
        LogicalPlan::Union(node) => {
            let mut inputs = node.inputs.iter().map(|input| made(input));
            let first = inputs.next()?;
            inputs.fold(first, |all, input| Made {
                columns: all.columns.iter().zip(&input.columns).map(|(a, b)| merged(a, b)).collect(),
                rows: all.rows.into_iter().chain(input.rows).collect(),
            })
        }
        LogicalPlan::SubqueryAlias(node) => made(&node.input),
        LogicalPlan::Filter(node) => made(&node.input).decided([&node.predicate], node.input.schema()),
        LogicalPlan::Sort(node) => made(&node.input).decided(node.expr.iter().map(|by| &by.expr), node.input.schema()),
        LogicalPlan::Limit(node) => {
            let by = node.skip.iter().chain(&node.fetch).map(AsRef::as_ref);
            made(&node.input).decided(by, node.input.schema())
        }
        LogicalPlan::Repartition(node) => made(&node.input),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let mut all = made(input);
            all.rows.extend(all.columns.iter().flat_map(|origin| origin.touches.iter().cloned()));
            all
        }
        _ => return None,
    })
}

fn merged(a: &Origin, b: &Origin) -> Origin {
    let mut both = Origin::computed([a, b]);
    if (&a.sources, &a.same) == (&b.sources, &b.same) {
        both.same.clone_from(&a.same);
    }
    both
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
    let named: Option<Vec<&Origin>> = expr.column_refs().into_iter().map(of).collect();
    match (named, within(expr)) {
        (Some(named), None) => Origin::computed(named),
        // A query within reads what it likes of the row that it stands in, beside what it reads itself.
        (_, inner) => Origin::computed(origins.iter().chain(&inner.unwrap_or_default())),
    }
}

/// What the queries within an expression give; `None` where there are none.
fn within(expr: &Expr) -> Option<Vec<Origin>> {
    let mut found: Option<Vec<Origin>> = None;
    let walked = expr.apply(|e| {
        let query = match e {
            Expr::ScalarSubquery(query) => query,
            Expr::InSubquery(within) => &within.subquery,
            Expr::Exists(within) => &within.subquery,
            Expr::SetComparison(within) => &within.subquery,
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        found.get_or_insert_default().extend(of(&query.subquery));
        Ok::<_, DataFusionError>(TreeNodeRecursion::Continue)
    });
    // why: the closure has no error to give.
    walked.ok().and(found)
}
