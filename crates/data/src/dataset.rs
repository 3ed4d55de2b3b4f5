//! A registered dataset.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use serde::{Deserialize, Serialize};
use tacit_types::{Code, Fault, Name, Predicate};

use crate::config::Sources;
use crate::fault::from_datafusion;
use crate::filter;
use crate::inspect::Inspection;
use crate::kind::{ColumnDef, check_header};
use crate::origins::{self, Origin};
use crate::scan::{Scan, SourceTable};
use crate::session::{self, DATA};
use crate::source::Source;
use crate::views::{self, VIEWS_MAX, View};

/// What a node stores of a dataset; it never leaves the node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The dataset's local name.
    pub name: Name,
    /// Where it lies.
    pub source: Source,
    /// Its columns when it was registered, with text where the owner declared it.
    pub columns: Vec<ColumnDef>,
    /// The owner's views, each over `data` and earlier ones.
    pub views: Vec<View>,
}

impl Registration {
    /// A registration of an inspected source, without views.
    pub fn new(name: Name, source: Source, inspection: &Inspection) -> Self {
        Self { name, source, columns: inspection.defs(), views: Vec::new() }
    }
}

/// A dataset that can be queried. It holds no connection and no open file between runs.
pub struct Dataset {
    registration: Registration,
    scan: Scan,
    view_columns: Vec<Vec<ColumnDef>>,
}

/// Bytes of memory for planning alone.
const PLANNING_BYTES: usize = 1 << 20;

impl Dataset {
    /// Opens a registration: checks its columns and plans its views. The source itself is not touched.
    ///
    /// # Errors
    /// `data.source_unknown`, those of a header, and those of [`Dataset::add_view`].
    pub async fn open(registration: Registration, sources: &Sources) -> Result<Self, Fault> {
        let scan = Scan::new(&registration.source, sources)?;
        check_header(registration.columns.iter().map(|c| c.name.as_str()), registration.name.as_str())?;
        let Registration { name, source, columns, views } = registration;
        let registration = Registration { name, source, columns, views: Vec::new() };
        let mut dataset = Self { registration, scan, view_columns: Vec::new() };
        for view in views {
            dataset.add_view(view).await?;
        }
        Ok(dataset)
    }

    /// What the node stores, with the views added so far.
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Adds a view over `data` and the views before it; gives its columns.
    ///
    /// # Errors
    /// `data.view_malformed` when it is not one SELECT over these tables, or its name is taken or is `data`;
    /// `data.column_type` when an output column's type has no kind; `data.too_large` over 64 views.
    pub async fn add_view(&mut self, view: View) -> Result<Vec<ColumnDef>, Fault> {
        let taken = view.name.as_str() == DATA
            || view.name == self.registration.name
            || self.registration.views.iter().any(|v| v.name == view.name);
        if taken {
            return Err(Fault::new(Code::DataViewMalformed, format!("view {}: the name is taken", view.name)));
        }
        if self.registration.views.len() >= VIEWS_MAX {
            return Err(Fault::new(Code::DataTooLarge, format!("view {}: more than {VIEWS_MAX} views", view.name)));
        }
        let session = session::new(PLANNING_BYTES, Arc::default())?;
        self.tables(&session, None, Arc::default(), 0, self.registration.views.len()).await?;
        let (_, columns) = views::plan(&session, &view).await?;
        self.registration.views.push(view);
        self.view_columns.push(columns.clone());
        Ok(columns)
    }

    /// The columns of `data` (or the dataset's own name), or of a view.
    ///
    /// # Errors
    /// `data.unknown` when it is neither.
    pub fn columns(&self, view: &str) -> Result<&[ColumnDef], Fault> {
        match self.position(view)? {
            None => Ok(&self.registration.columns),
            Some(i) => Ok(self.view_columns.get(i).map(Vec::as_slice).unwrap_or_default()),
        }
    }

    /// What each column of `data` (or the dataset's own name), or of a view, is made of, in their order. The source is not
    /// touched.
    ///
    /// # Errors
    /// `data.unknown` when it is neither; those of planning.
    pub async fn origins(&self, view: &str) -> Result<Vec<(String, Origin)>, Fault> {
        let views = self.position(view)?.map_or(0, |i| i + 1);
        let session = session::new(PLANNING_BYTES, Arc::default())?;
        let plan = self.tables(&session, None, Arc::default(), 0, views).await?;
        let names = plan.schema().fields().iter().map(|field| field.name().clone());
        Ok(names.zip(origins::of(&plan)).collect())
    }

    /// The position of a view; `None` for the dataset itself.
    pub(crate) fn position(&self, view: &str) -> Result<Option<usize>, Fault> {
        if view == DATA || view == self.registration.name.as_str() {
            return Ok(None);
        }
        let position = self.registration.views.iter().position(|v| v.name.as_str() == view);
        position.map(Some).ok_or_else(|| {
            let view: String = view.chars().take(80).collect();
            Fault::new(Code::DataUnknown, format!("{}: no view {view:?}", self.registration.name))
        })
    }

    /// Whether the source can still be read and still has the registered columns. Columns that came later do no harm;
    /// of a CSV file only the header is read, its values are checked by every run.
    ///
    /// # Errors
    /// `data.changed`, naming the column; those of opening the source.
    pub async fn check(&self) -> Result<(), Fault> {
        let now = self.scan.columns().await?;
        let names_only = matches!(self.scan, Scan::Csv { .. });
        for column in &self.registration.columns {
            let changed = |why: &str| {
                let what = format!("{}: column {:?} {why}", self.registration.source, column.name);
                Err(Fault::new(Code::DataChanged, what))
            };
            match now.iter().find(|c| c.name == column.name) {
                None => return changed("is gone"),
                Some(found) if !names_only && !found.serves(column.kind) => {
                    return changed(&format!("was {} and is {}", column.kind.word(), found.native));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Registers `data`, filtered by the consent rule, and the first `views` views in a session. Gives the plan of the
    /// last of them.
    ///
    /// The rule stands beneath the views, so that no aggregate of a view has seen a row without consent.
    pub(crate) async fn tables(
        &self,
        session: &SessionContext,
        consent: Option<&Predicate>,
        rows: Arc<AtomicU64>,
        rows_max: u64,
        views: usize,
    ) -> Result<LogicalPlan, Fault> {
        let place = self.registration.name.as_str();
        let failed = |e| from_datafusion(&e, Code::DataQueryFailed, place);
        let table = SourceTable::new(self.scan.clone(), &self.registration.columns, rows, rows_max);
        let mut frame = session.read_table(Arc::new(table)).map_err(failed)?;
        if let Some(consent) = consent {
            let place = format!("{place}: the consent rule");
            let rule = filter::expression(consent, &self.registration.columns, &place)?;
            frame = frame.filter(rule).map_err(failed)?;
        }
        session::add_view(session, DATA, frame.into_unoptimized_plan())?;
        for view in self.registration.views.iter().take(views) {
            let (plan, _) = views::plan(session, view).await?;
            session::add_view(session, view.name.as_str(), plan)?;
        }
        let last = views.checked_sub(1).and_then(|i| self.registration.views.get(i)).map_or(DATA, |v| v.name.as_str());
        let table = session.table(TableReference::bare(last)).await.map_err(failed)?;
        Ok(table.into_unoptimized_plan())
    }
}
