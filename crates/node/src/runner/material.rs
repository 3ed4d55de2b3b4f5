//! What an owner's node brings to its local half beside rows: its model, lists of keys.

use tacit_governance::JobSpec;
use tacit_jobs::align::FoundKeys;
use tacit_jobs::score::keys;
use tacit_jobs::{Material, Plan};
use tacit_types::{Code, Fault, JobId, NodeId};

use super::AttemptRun;
use crate::{align, client, datasets};

impl AttemptRun {
    /// The keys that an alignment found, as the job's list of keys: nobody has sent one.
    pub(super) async fn found(
        &self,
        spec: &JobSpec,
        plan: &dyn Plan,
        (job, kept): (&JobId, &datasets::Kept),
        material: &mut Material,
    ) -> Result<FoundKeys, Fault> {
        let rows = plan.facts(&self.inner.keys.root.id()).score.map_or(0, |score| score.rows);
        let found = align::found_keys(&self.inner.home, &kept.aligned, job, rows)?;
        let (own, filled) = keys::found(&found.words(), rows)?;
        if let Some(own) = own {
            crate::asked::list(&self.inner.store, &self.header.job, spec, &own).await?;
        }
        material.attachments.insert(keys::ATTACHMENT.to_owned(), filled);
        Ok(found)
    }

    /// This owner's model and the job's attachments, which only it and the other parties can open.
    pub(super) async fn material(&self, spec: &JobSpec, owner: &NodeId) -> Result<Material, Fault> {
        let mut material = Material::default();
        if let Some(named) = spec.models.iter().find(|m| m.owner == *owner) {
            material.model = Some(crate::models::find(&self.inner.store, &named.model).await?);
        }
        for reference in spec.attachments.iter().filter(|_| spec.provider(owner).is_some()) {
            let connection =
                self.inner.to_coordinator.borrow().clone().ok_or_else(|| {
                    Fault::new(Code::NetUnreachable, "the coordinator, who keeps the job's attachments")
                })?;
            let sealed = client::fetch(&connection, &self.inner.ledger, &reference.sealed).await?;
            let plain = tacit_governance::attachment::open(reference, &sealed, &self.inner.keys.seal)?;
            if reference.name == keys::ATTACHMENT {
                crate::asked::list(&self.inner.store, &self.header.job, spec, &plain).await?;
            }
            material.attachments.insert(reference.name.clone(), plain);
        }
        Ok(material)
    }
}
