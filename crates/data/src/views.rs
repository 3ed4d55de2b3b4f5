//! The owner's SQL views: one SELECT each, over `data` and earlier views.

use std::collections::BTreeSet;

use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParserBuilder, Statement as DataFusionStatement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use serde::{Deserialize, Serialize};
use tacit_types::{Code, Fault, Name};

use crate::fault::{from_datafusion, one_line};
use crate::kind::{ColumnDef, Kind, check_header};

/// Bytes of a view's SQL.
pub(crate) const VIEW_SQL_BYTES_MAX: usize = 16 << 10;
/// Views of a dataset.
pub(crate) const VIEWS_MAX: usize = 64;
/// How deep the SQL of a view may nest.
const VIEW_DEPTH_MAX: usize = 40;

/// A named SELECT that the owner wrote. Its columns and no others are open to a query that names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The name by which a query and later views know it.
    pub name: Name,
    /// The SELECT, over the table `data` and earlier views. Identifiers keep their case.
    pub sql: String,
}

/// Plans a view in a session that holds `data` and the earlier views, and gives its columns.
///
/// # Errors
/// `data.view_malformed` for anything but one SELECT over the tables of the session; `data.column_type` for an output
/// column whose type has no kind.
pub(crate) async fn plan(session: &SessionContext, view: &View) -> Result<(LogicalPlan, Vec<ColumnDef>), Fault> {
    let place = format!("view {}", view.name);
    let malformed = |why: &str| Fault::new(Code::DataViewMalformed, format!("{place}: {why}"));
    let statement = parse(&view.sql).map_err(|why| malformed(&why))?;
    let tables = tables(&statement).map_err(|why| malformed(&why))?;
    for table in tables {
        if !session.table_exist(table.as_str()).unwrap_or(false) {
            return Err(malformed(&format!("{} is neither data nor an earlier view", one_line(&table))));
        }
    }
    let planned = session.state().statement_to_plan(statement).await;
    let plan = planned.map_err(|e| from_datafusion(&e, Code::DataViewMalformed, &place))?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(|_| malformed("only a SELECT is allowed"))?;
    let columns = columns_of(&plan, &place)?;
    Ok((plan, columns))
}

/// The output columns of a plan.
pub(crate) fn columns_of(plan: &LogicalPlan, place: &str) -> Result<Vec<ColumnDef>, Fault> {
    let fields = plan.schema().fields();
    check_header(fields.iter().map(|f| f.name().as_str()), place)
        .map_err(|f| Fault::new(Code::DataViewMalformed, f.what))?;
    fields
        .iter()
        .map(|f| match Kind::of(f.data_type()) {
            Some(kind) => Ok(ColumnDef::new(f.name(), kind)),
            None => {
                let what = format!("{place}: column {:?} is of type {}", f.name(), f.data_type());
                Err(Fault::new(Code::DataColumnType, what))
            }
        })
        .collect()
}

/// The one statement of the text, or why it is refused.
fn parse(sql: &str) -> Result<DataFusionStatement, String> {
    if sql.len() > VIEW_SQL_BYTES_MAX {
        return Err(format!("longer than {VIEW_SQL_BYTES_MAX} bytes"));
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize().map_err(|e| one_line(&e.to_string()))?;
    if tokens.contains(&Token::SemiColon) {
        return Err("a semicolon is not allowed".to_owned());
    }
    if tokens.iter().any(|token| matches!(token, Token::Placeholder(_))) {
        return Err("a placeholder has no value here".to_owned());
    }
    let statements = DFParserBuilder::new(sql)
        .with_dialect(&dialect)
        .with_recursion_limit(VIEW_DEPTH_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| one_line(&e.to_string()))?;
    let mut statements = statements.into_iter();
    let (Some(statement), None) = (statements.next(), statements.next()) else {
        return Err("exactly one statement is expected".to_owned());
    };
    match &statement {
        DataFusionStatement::Statement(inner) => match inner.as_ref() {
            Statement::Query(query) => only_selects(query)?,
            _ => return Err("only a SELECT is allowed".to_owned()),
        },
        _ => return Err("only a SELECT is allowed".to_owned()),
    }
    Ok(statement)
}

/// Whether a query is made of SELECTs at its top; what stands deeper is held by the planner, which has nothing else.
fn only_selects(query: &Query) -> Result<(), String> {
    if query.with.as_ref().is_some_and(|with| with.recursive) {
        return Err("WITH RECURSIVE is not allowed".to_owned());
    }
    let mut bodies = vec![query.body.as_ref()];
    while let Some(body) = bodies.pop() {
        match body {
            SetExpr::Select(select) if select.into.is_none() => {}
            SetExpr::Query(inner) => bodies.push(inner.body.as_ref()),
            SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_ref(), right.as_ref()]),
            _ => return Err("only a SELECT is allowed".to_owned()),
        }
    }
    Ok(())
}

/// The tables that a statement names, each a bare name, and at least one.
fn tables(statement: &DataFusionStatement) -> Result<BTreeSet<String>, String> {
    let (tables, ctes) = resolve_table_references(statement, false).map_err(|e| one_line(&e.to_string()))?;
    if ctes.iter().any(|cte| cte.table() == crate::session::DATA) {
        return Err("a WITH query may not be called data".to_owned());
    }
    let names = tables
        .iter()
        .map(|table| match (table.catalog(), table.schema()) {
            (None, None) => Ok(table.table().to_owned()),
            _ => Err(format!("{} is neither data nor an earlier view", one_line(&table.to_string()))),
        })
        .collect::<Result<BTreeSet<_>, _>>()?;
    if names.is_empty() { Err("no table is read; the dataset is called data".to_owned()) } else { Ok(names) }
}
