//! What an attempt makes durable around its vote.

use tacit_engine::Kept;
use tacit_engine::control::Package;
use tacit_engine::evidence::Saw;
use tacit_jobs::session::Vote;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault};

use super::{AttemptRun, finished_ok};
use crate::link::StreamHeader;

impl AttemptRun {
    /// Keeps on disk what this node will attest, before it votes for it; or drops it again.
    pub(super) async fn vote(&mut self, vote: Vote) -> Result<(), Fault> {
        let StreamHeader { job: id, attempt } = self.header;
        let mut tx = self.inner.store.begin().await?;
        let Some(mut job) = tx.job(&id).await? else { return Err(Fault::new(Code::JobUnknown, id.short())) };
        let kept = matches!(vote, Vote::For(_));
        match vote {
            Vote::For(mut output) => {
                let package = output.package.take().map(|bytes| Package::Inline(Blob(bytes)));
                let opened = self.usage.opened.clone().into_iter().collect();
                let saw = Saw::of(&self.usage, None);
                let (finished, release) = finished_ok(output, package, opened);
                job.vote(attempt, Kept::new(finished, &saw, release.unwrap_or_default()))?;
            }
            Vote::Dropped => job.drop_vote(attempt),
        }
        tx.put_job(&id, &job).await?;
        tx.commit().await?;
        let aggregates = self.session.aggregator == self.session.seat;
        tracing::debug!(job = %id.short(), kept, aggregates, "a vote is durable");
        Ok(())
    }
}
