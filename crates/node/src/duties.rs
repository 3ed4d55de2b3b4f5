//! What a contract that has ended left behind at this node, and its deletion. The node deletes what it holds itself; of what
//! left it, results and copies, a person says what became of it, and signs.

use std::collections::BTreeSet;
use std::path::Path;

use tacit_engine::Terminal;
use tacit_governance::lifecycle::{Deleted, LeftKind};
use tacit_governance::{SignedContract, lifecycle};
use tacit_types::{ContractId, DatasetVersionId, Fault, JobId, UnixMillis};

use crate::align;
use crate::datasets;
use crate::store::Store;

/// Something that was left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// What it is.
    pub item: Deleted,
    /// The contract for which it may stay: it is in force, and rests on it too.
    pub stays_for: Option<ContractId>,
}

/// What is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Duties {
    /// What the node holds.
    pub left: Vec<Left>,
    /// Jobs under the contract that have not ended here.
    pub open: u64,
    /// Jobs under it that gave a result to its recipient.
    pub results: u64,
}

/// What the jobs of a contract left at this node. `known` are the contracts that are known here.
///
/// # Errors
/// Those of the database.
pub async fn duties(
    store: &Store,
    home: &Path,
    contract: &SignedContract,
    known: &[SignedContract],
    now: UnixMillis,
) -> Result<Duties, Fault> {
    let (mut all, mut series) = (Duties::default(), BTreeSet::new());
    let aligned = aligned(store).await?;
    let in_force = in_force(store, contract, known, now).await?;
    let mut others: BTreeSet<(ContractId, String)> = BTreeSet::new();
    for id in store.admitted_ids().await? {
        let Some(job) = store.job(&id).await? else { continue };
        let Some(under) = crate::serve::admitted_under(&job) else { continue };
        let searched = searched(&job);
        if under != contract.id() {
            let stays = in_force.iter().find(|c| c.id() == under);
            others.extend(stays.zip(searched).map(|(c, series)| (c.id(), series)));
            continue;
        }
        all.open += u64::from(job.terminal.is_none());
        all.results += u64::from(job.terminal == Some(Terminal::Succeeded));
        series.extend(searched.map(|series| (series, id)));
        let versions = aligned.iter().filter(|(_, _, jobs)| jobs.contains(&id));
        if align::found_is_there(home, &id) {
            let (names, ids): (Vec<String>, Vec<DatasetVersionId>) =
                versions.map(|(name, version, _)| (name.clone(), *version)).unzip();
            let granted = |c: &&&SignedContract| c.body().datasets.iter().any(|g| ids.contains(&g.dataset));
            let stays_for = in_force.iter().find(granted).map(|c| c.id());
            let item = Deleted { kind: LeftKind::AlignedKeys, job: id, name: names.join(", ") };
            all.left.push(Left { item, stays_for });
        }
        if align::work_is_there(home, &id) {
            all.left
                .push(Left { item: Deleted { kind: LeftKind::Work, job: id, name: String::new() }, stays_for: None });
        }
    }
    for (name, job) in series {
        if align::cache_is_there(home, &name)
            && !all.left.iter().any(|l| l.item.kind == LeftKind::Cache && l.item.name == name)
        {
            let stays_for = others.iter().find(|(_, other)| *other == name).map(|(id, _)| *id);
            all.left.push(Left { item: Deleted { kind: LeftKind::Cache, job, name }, stays_for });
        }
    }
    Ok(all)
}

/// Other contracts that are used still.
async fn in_force<'a>(
    store: &Store,
    contract: &SignedContract,
    known: &'a [SignedContract],
    now: UnixMillis,
) -> Result<Vec<&'a SignedContract>, Fault> {
    let revoked: Vec<ContractId> = store.revocations().await?.into_iter().map(|(id, _)| id).collect();
    let orders = store.orders().await?;
    let used = |c: &&SignedContract| {
        let standing = lifecycle::standing(c, known, &revoked, &orders, now);
        let stage = lifecycle::stage(c, standing.as_ref().copied(), now);
        c.id() != contract.id() && c.missing().is_empty() && stage != lifecycle::Stage::Terminated
    };
    Ok(known.iter().filter(used).collect())
}

/// Aligned versions with their names and the jobs whose keys make them.
async fn aligned(store: &Store) -> Result<Vec<(String, DatasetVersionId, Vec<JobId>)>, Fault> {
    let mut all = Vec::new();
    for row in store.datasets().await? {
        let jobs: Vec<JobId> = datasets::kept(&row)?.aligned.iter().map(|found| found.job).collect();
        if !jobs.is_empty() {
            all.push((format!("{} v{}", row.name, row.version), row.id, jobs));
        }
    }
    Ok(all)
}

/// The series of the cache that a job searched.
fn searched(job: &tacit_engine::WorkerJob) -> Option<String> {
    let parsed = job.job().ok()?;
    let spec = parsed.body();
    let plan = tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec)));
    plan.ok()?.aligns()?.lookup.map(|lookup| lookup.series.to_string())
}

/// Deletes what need not stay, and gives what was deleted. What is gone already counts: deletion may have been interrupted.
///
/// # Errors
/// `store.failed` where the disk does not obey.
pub fn delete(home: &Path, duties: &Duties) -> Result<Vec<Deleted>, Fault> {
    let mut gone = Vec::new();
    for left in duties.left.iter().filter(|l| l.stays_for.is_none()) {
        match left.item.kind {
            LeftKind::AlignedKeys => align::remove_found(home, &left.item.job)?,
            LeftKind::Work => align::remove_work(home, &left.item.job)?,
            LeftKind::Cache => align::remove_cache(home, &left.item.name)?,
        }
        gone.push(left.item.clone());
    }
    Ok(gone)
}
