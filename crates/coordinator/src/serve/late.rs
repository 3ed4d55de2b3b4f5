//! Attestations that come after their job has ended.

use std::sync::Arc;

use tacit_engine::{FromCoordinator, Late};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, JobId};
use tokio::sync::oneshot;

use crate::daemon::Shared;
use crate::driver;
use crate::limits::LATE_WAIT;
use crate::log::{AppendRequest, Content};
use crate::roster::Party;
use crate::store::Change;

/// The record of a job that is over and has a result, if this party took part in it and has not attested it.
///
/// # Errors
/// `job.not_finished` while the job is open, `job.unknown`.
pub(super) async fn record(shared: &Arc<Shared>, party: &Party, id: &JobId) -> Result<FromCoordinator, Fault> {
    if shared.jobs.get(id).is_some() {
        return Err(Fault::new(Code::JobNotFinished, format!("job {}", id.short())));
    }
    let unknown = || Fault::new(Code::JobUnknown, format!("job {}", id.short()));
    let job = shared.store.job(id).await?.ok_or_else(unknown)?;
    Ok(match job.lacks(&party.row.node) {
        Some((record, evidence)) => FromCoordinator::Record { record, evidence },
        None => FromCoordinator::Done,
    })
}

/// Takes an attestation that its party has not seen in the log. The answer comes once it is in a published
/// checkpoint; until then the party hands it in again.
///
/// # Errors
/// `job.not_finished` while the job is open or its receipt is on the way; those of [`tacit_engine::Job::late`].
pub(super) async fn attested(
    shared: &Arc<Shared>,
    party: &Party,
    id: &JobId,
    statement: Blob,
) -> Result<FromCoordinator, Fault> {
    let open = || Fault::new(Code::JobNotFinished, format!("job {}", id.short()));
    let nodes = {
        // Two parties' statements of one job must not overwrite each other.
        let _turn = shared.late.lock().await;
        if shared.jobs.get(id).is_some() {
            return Err(open());
        }
        let unknown = || Fault::new(Code::JobUnknown, format!("job {}", id.short()));
        let mut job = shared.store.job(id).await?.ok_or_else(unknown)?;
        job.know(shared.roster().keys());
        let before = job.clone();
        let late = job.late(shared.clock.now(), &party.row.node, &statement)?;
        if job != before {
            let (state, over, value) = (job.state().to_owned(), job.is_over(), wire::encode(&job));
            shared.store.write(Change::PutJob { id: *id, state, over, value }).await?;
        }
        match late {
            Late::InReceipt => return Ok(FromCoordinator::Done),
            Late::Reopened => {
                tracing::info!(job = %id.short(), "a late attestation gives the job a receipt");
                driver::start(shared, job, true);
                return Err(open());
            }
            Late::OwnLeaf => job.nodes().collect(),
        }
    };
    let (reply, published) = oneshot::channel();
    let content = Content::Statement { statement, reply };
    // why: the log's task ends with the process, and the party asks again then.
    let _ = shared.appends.send(AppendRequest { nodes, content }).await;
    match tokio::time::timeout(LATE_WAIT, published).await {
        Ok(Ok(_)) => Ok(FromCoordinator::Done),
        _ => Err(open()),
    }
}
