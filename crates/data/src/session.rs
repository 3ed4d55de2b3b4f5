//! The DataFusion session of one run or one check: the table `data`, the owner's views, and nothing else.
//!
//! There is no table function, no file format, no object store, no catalogue of other tables, no spill file.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::common::TableReference;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use tacit_types::limits::BATCH_ROWS;
use tacit_types::{Code, Fault};

use crate::memory::PeakPool;
use crate::yielding::YieldAtJoins;

/// The name under which views know the dataset.
pub(crate) const DATA: &str = "data";

/// A session with room for `memory_bytes` of intermediate results, which notes in `peak` the most that it held of them.
pub(crate) fn new(memory_bytes: usize, peak: Arc<AtomicU64>) -> Result<SessionContext, Fault> {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        // why: columns are called what the source calls them, so `Age` must not become `age`.
        .set_bool("datafusion.sql_parser.enable_ident_normalization", false)
        .set_bool("datafusion.execution.enable_recursive_ctes", false);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(PeakPool::new(memory_bytes, peak)))
        // why: nothing of the data is ever copied to a disk, not even for a sort.
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()
        .map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
    // why: the file system is the one store that a new runtime has; without it no plan can open a location.
    runtime
        .deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())
        .map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_physical_optimizer_rule(Arc::new(YieldAtJoins))
        .build();
    Ok(SessionContext::new_with_state(state))
}

/// Gives a plan a name that later views and the query can use.
pub(crate) fn add_view(session: &SessionContext, name: &str, plan: LogicalPlan) -> Result<(), Fault> {
    session
        .register_table(TableReference::bare(name), Arc::new(ViewTable::new(plan, None)))
        .map(drop)
        .map_err(|e| Fault::new(Code::Internal, e.to_string()))
}
