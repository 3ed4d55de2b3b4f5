//! What an attempt makes durable around its vote.

use std::time::Duration;

use tacit_engine::Kept;
use tacit_engine::control::{PACKAGE_INLINE_BYTES_MAX, Package};
use tacit_engine::evidence::Saw;
use tacit_jobs::session::Vote;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault};
use tokio::time::Instant;

use super::{AttemptRun, finished_ok, packaged};
use crate::link::StreamHeader;

impl AttemptRun {
    /// Keeps on disk what this node will attest, before it votes for it; or drops it again.
    pub(super) async fn vote(&mut self, mut vote: Vote) -> Result<(), Fault> {
        let StreamHeader { job: id, attempt } = self.header;
        let package = match &mut vote {
            Vote::For(output) => match self.bring(output.package.take()).await {
                Ok(package) => package,
                // The vote is as good without: only a crash from here to the end costs the attempt.
                Err(fault) => {
                    tracing::warn!(%fault, job = %id.short(), "a large result could not be kept before the vote for it");
                    return Ok(());
                }
            },
            Vote::Dropped => None,
        };
        let mut tx = self.inner.store.begin().await?;
        let Some(mut job) = tx.job(&id).await? else { return Err(Fault::new(Code::JobUnknown, id.short())) };
        let kept = matches!(vote, Vote::For(_));
        match vote {
            Vote::For(mut output) => {
                job.gave(attempt, std::mem::take(&mut output.each));
                let opened = self.usage.opened.clone().into_iter().collect();
                let saw = Saw::of(&self.usage, None);
                let (finished, release) = finished_ok(output, package, opened);
                job.vote(attempt, Kept::new(finished, &saw, release.unwrap_or_default()))?;
            }
            Vote::Dropped => job.drop_vote(attempt),
        }
        tx.put_job(&id, &job).await?;
        match kept {
            true => tx.put_asserted(&self.asserted.row(id, attempt)).await?,
            false => tx.forget_asserted(&id).await?,
        }
        tx.commit().await?;
        let aggregates = self.session.aggregator == self.session.seat;
        tracing::debug!(job = %id.short(), kept, aggregates, "a vote is durable");
        Ok(())
    }

    /// The sealed result as it is kept: itself, or where it is too large for a row, by its hash and with the coordinator.
    /// While it is brought there this seat does nothing else, and the others wait for its vote, so it is given half a step.
    async fn bring(&mut self, package: Option<Vec<u8>>) -> Result<Option<Package>, Fault> {
        let Some(bytes) = package else { return Ok(None) };
        if bytes.len() <= PACKAGE_INLINE_BYTES_MAX {
            return Ok(Some(Package::Inline(Blob(bytes))));
        }
        let until = (Instant::now() + Duration::from_millis(self.step_ms / 2)).min(self.deadline);
        let late = |_| Fault::new(Code::NetUnreachable, "the coordinator, who keeps large results, in half a step");
        let brought = tokio::time::timeout_at(until, packaged(&self.inner, &self.header.job, Some(bytes), until));
        self.brought = brought.await.map_err(late)??;
        Ok(self.brought.clone())
    }
}
