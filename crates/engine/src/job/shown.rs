//! What listings say of a job beyond its state.

use tacit_governance::JobSpec;

/// Whether every node checks the sums of this job; `None` for a kind that has none.
pub(super) fn checked(spec: &JobSpec) -> Option<bool> {
    crate::record::plan(spec)?.facts(&spec.providers.first()?.owner).checked
}
