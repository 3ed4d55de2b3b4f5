//! What listings say of a job beyond its state.

use tacit_governance::JobSpec;

/// Whether every node checks the sums of this job; `None` for a kind that has none.
pub(super) fn checked(spec: &JobSpec) -> Option<bool> {
    let plan =
        tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec))).ok()?;
    plan.facts(&spec.providers.first()?.owner).checked
}
