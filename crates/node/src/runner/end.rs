//! How an attempt ended, on disk.

use tacit_engine::control::Finished;
use tacit_engine::evidence::Saw;
use tacit_jobs::session::Given;
use tacit_protocol::Blame;
use tacit_types::{Fault, NodeId};

use crate::daemon::Inner;
use crate::store::{AssertedRow, LinkRow, WindowRow};

/// How an attempt ended here.
pub(super) struct End<'a> {
    pub finished: &'a Finished,
    /// What this node counted of itself.
    pub asserted: &'a AssertedRow,
    /// What went over its links; nothing where it ended before its protocol did.
    pub links: &'a [LinkRow],
    pub saw: &'a Saw,
    /// What of it convicts.
    pub proof: &'a [Blame],
    pub release: &'a Option<Vec<u8>>,
    /// What each party gave, where not all gave alike.
    pub each: &'a [Given],
    pub egress: &'a [(NodeId, &'static str, u64)],
    /// The calls of a window that was counted, and the rows that they asked for.
    pub window: Option<(&'a WindowRow, u64)>,
}

/// Makes an end durable, with what stands beside it.
///
/// # Errors
/// Those of the database.
pub(super) async fn store(
    inner: &Inner,
    id: &tacit_types::JobId,
    attempt: tacit_types::Attempt,
    end: &End<'_>,
) -> Result<(), Fault> {
    let mut tx = inner.store.begin().await?;
    let Some(mut job) = tx.job(id).await? else { return Ok(()) };
    tx.put_evidence(id, attempt, end.proof, crate::now()).await?;
    job.see(attempt, end.saw.clone());
    job.gave(attempt, end.each.to_vec());
    job.finish(attempt, end.finished.clone(), end.release.clone());
    tx.put_job(id, &job).await?;
    match end.finished {
        Finished::Ok { .. } => tx.put_asserted(end.asserted).await?,
        Finished::Failed { .. } => tx.forget_asserted(id).await?,
    }
    if job.attempt == attempt.0 {
        tx.put_links(id, attempt, end.links).await?;
    }
    tx.forget_records(id).await?;
    if matches!(end.finished, Finished::Failed { input_sent: false, .. }) {
        tx.forget_rows_of(id).await?;
    }
    tx.add_egress(id, end.egress).await?;
    if let Some((window, rows)) = end.window {
        tx.end_window(window, rows).await?;
    }
    tx.commit().await?;
    tracing::debug!(job = %id.short(), "an end is durable");
    Ok(())
}
