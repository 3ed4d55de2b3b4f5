//! The local half of a job that computes on shares of rows by ids. A version with ids is opened here and nowhere else, and what
//! is read of it is taken by a fold that ends on shares: [`tacit_jobs::shares`].

use std::sync::Arc;

use tacit_governance::JobSpec;
use tacit_jobs::shares::{self, OnShares};
use tacit_jobs::{JointHalf, Plan};
use tacit_types::{Columns, Fault};

use super::AttemptRun;
use super::asserted::Asserted;
use crate::{align, datasets, difference};

impl AttemptRun {
    /// Reads the owner's rows: consent rule first, then view, then the place of each among the ids. Beside the half, what was
    /// counted of it.
    pub(super) async fn shares_half(
        &self,
        spec: &JobSpec,
        plan: &dyn Plan,
        on: Arc<dyn OnShares>,
    ) -> Result<(Box<dyn JointHalf>, Asserted), Fault> {
        let mut asserted = Asserted::default();
        let owner = self.inner.keys.root.id();
        let Some(provider) = spec.provider(&owner) else { return Ok((shares::deals(on), asserted)) };
        let row = datasets::find(&self.inner.store, &provider.dataset).await?;
        let kept = datasets::kept(&row)?;
        let ids = align::SpineFile::open(&self.inner.home, &kept.aligned, &on.alignment())?;
        // More than the job has room for are not read.
        let mut fold = on.fold(&owner, ids.ids())?;
        let mut spine = ids.read(&self.inner.home, self.inner.config.align, &self.header.job)?;
        let dataset = tacit_data::Dataset::open(kept.registration.clone(), &self.inner.config.sources).await?;
        dataset.check().await?;
        let mut query = plan.local_query(&owner, &provider.view);
        if let Some(first) = kept.aligned.first() {
            query.view.clone_from(&first.view);
        }
        let (store, job) = (&self.inner.store, &self.header.job);
        let read = (provider.dataset, &dataset);
        let mut watch = difference::Watch::new(store, spec, &kept, read, Some(fold.sets()), &mut query).await?;
        // Before the alignments of keys, which take away again what they alone have read.
        spine.widen(&mut query);
        let narrowed = align::Narrowed::new(&self.inner.home, ids.before, &mut query)?;
        let take = |batch: Columns| {
            asserted.timed(|| {
                let batch = narrowed.take(batch)?;
                match &mut watch {
                    Some(watch) => watch.place(&batch, &spine.place(batch.clone())?, fold.as_mut()),
                    None => fold.take(&spine.place(batch)?, &mut |_, _| ()),
                }
            })
        };
        let limits = tacit_data::Limits::default();
        let stats = dataset.run(&query, kept.rule(&spec.purpose).as_ref(), &limits, take).await?;
        if let Some(watch) = watch {
            watch.decide(store, job, crate::now()).await?;
        }
        let job = job.short();
        if stats.not_finite > 0 {
            tracing::warn!(%job, values = stats.not_finite, "a view gave NaN or infinity, which counts as no value");
        }
        for note in fold.notes() {
            tracing::warn!(%job, "{note}");
        }
        asserted.read(&stats);
        let half = asserted.timed(|| shares::brings(on, &spine, fold.finish()));
        Ok((half, asserted))
    }
}
