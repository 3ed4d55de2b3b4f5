//! What is read: roster, log, contracts, datasets. And contract signatures, which are only kept.

use std::sync::Arc;

use tacit_engine::api::PAGE_MAX;
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_governance::SignedContract;
use tacit_receipts::tiles::beside_path;
use tacit_receipts::{TileRead as _, TileReader};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, StatementId};
use tokio::task::spawn_blocking;

use super::{Caller, jobs, proofs};
use crate::daemon::Shared;
use crate::enrol::roster_entries;
use crate::limits::{ANSWER_BYTES_MAX, CONTRACTS_MAX};
use crate::store::Change;

pub(super) async fn read(
    shared: &Arc<Shared>,
    caller: &Caller,
    request: ToCoordinator,
) -> Result<FromCoordinator, Fault> {
    match request {
        ToCoordinator::Ping => Ok(FromCoordinator::Done),
        ToCoordinator::Roster => Ok(FromCoordinator::Roster(roster_entries(shared))),
        ToCoordinator::PartyKeys { from } => Ok(party_keys(shared, from)),
        ToCoordinator::LogInfo => Ok(FromCoordinator::LogInfo(shared.log_info())),
        ToCoordinator::Datasets => shared.store.datasets().await.map(FromCoordinator::Datasets),
        ToCoordinator::Contract(id) => shared.store.contract(&id).await.map(FromCoordinator::Contract),
        ToCoordinator::Contracts => contracts(shared).await,
        ToCoordinator::Jobs { before, limit } => jobs::page(shared, caller, before, limit).await,
        ToCoordinator::Job(id) => jobs::job(shared, caller, &id).await,
        ToCoordinator::Papers(id) => jobs::papers(shared, caller, &id).await,
        ToCoordinator::Watch { job, seen, wait_ms } => jobs::watch(shared, caller, &job, seen, wait_ms).await,
        ToCoordinator::Leaves { from, limit } => leaves(shared, from, limit).await,
        ToCoordinator::Beside(ids) => beside(shared, ids).await,
        ToCoordinator::Checkpoint => match shared.log.published.borrow().as_deref() {
            Some(checkpoint) => Ok(FromCoordinator::Checkpoint(Blob(checkpoint.to_bytes()))),
            None => Err(Fault::new(Code::ReceiptPending, "no checkpoint has its quorum yet")),
        },
        ToCoordinator::CoseReceipt(place) => proofs::cose(shared, place).await,
        _ => Err(Fault::new(Code::NetRefused, "this is not for this caller")),
    }
}

/// Changes of parties' keys that stand in the log, from a place among them on, a page of them.
fn party_keys(shared: &Shared, from: u32) -> FromCoordinator {
    let roster = shared.roster();
    let page = roster.rotations().iter().skip(from as usize).take(PAGE_MAX as usize).cloned();
    FromCoordinator::PartyKeys(page.collect())
}

/// Does what waits for the disk where nothing else waits for it.
///
/// # Errors
/// Its own.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    spawn_blocking(work).await.map_err(|e| Fault::new(Code::Internal, e.to_string()))?
}

/// Leaves below the published checkpoint, as many as an answer holds, at least one.
async fn leaves(shared: &Arc<Shared>, from: u64, limit: u32) -> Result<FromCoordinator, Fault> {
    let size = shared.log.published.borrow().as_deref().map_or(0, |c| c.checkpoint().size);
    let to = size.min(from.saturating_add(u64::from(limit.min(PAGE_MAX))));
    let folder = shared.folder.clone();
    let work = move || {
        let reader = TileReader::new(&folder, size);
        let (mut left, mut leaves) = (ANSWER_BYTES_MAX, Vec::new());
        let mut at = from;
        while at < to {
            let bundle = reader.entries(at / tacit_receipts::tiles::TILE_WIDTH)?;
            let skip = (at % tacit_receipts::tiles::TILE_WIDTH) as usize;
            for leaf in bundle.into_iter().skip(skip).take((to - at) as usize) {
                match left.checked_sub(leaf.len() + 8) {
                    Some(rest) => left = rest,
                    None => return Ok(leaves),
                }
                leaves.push(Blob(leaf));
                at += 1;
            }
        }
        Ok(leaves)
    };
    let read = spawn_blocking(work).await.map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
    read.map(FromCoordinator::Leaves)
}

/// Attestations that stand beside the log, as many as an answer holds, at least one.
async fn beside(shared: &Arc<Shared>, ids: Vec<StatementId>) -> Result<FromCoordinator, Fault> {
    let folder = shared.folder.clone();
    let work = move || {
        let (mut left, mut found) = (ANSWER_BYTES_MAX, Vec::new());
        for id in ids.iter().take(PAGE_MAX as usize) {
            let none = || Fault::new(Code::ReceiptUnknown, format!("attestation {id}"));
            let bytes = folder.read(&beside_path(id)).ok_or_else(none)?;
            match left.checked_sub(bytes.len() + 8) {
                Some(rest) => left = rest,
                None => break,
            }
            found.push(Blob(bytes));
        }
        Ok(FromCoordinator::Beside(found))
    };
    on_disk(work).await
}

/// All contracts, newest first, as many as an answer holds.
async fn contracts(shared: &Arc<Shared>) -> Result<FromCoordinator, Fault> {
    let mut left = ANSWER_BYTES_MAX;
    let mut found = Vec::new();
    for id in shared.store.contracts().await?.iter().rev() {
        let signatures = shared.store.contract(id).await?;
        let bytes: usize = signatures.iter().map(|s| s.len() + 8).sum();
        let Some(rest) = left.checked_sub(bytes + 8) else {
            tracing::warn!(shown = found.len(), "there are more contracts than an answer holds");
            break;
        };
        left = rest;
        found.push(signatures);
    }
    Ok(FromCoordinator::Contracts(found))
}

/// Keeps signatures over one contract and approvals of it. Whether the terms are good is for those to say who sign.
pub(super) async fn put_contract(shared: &Arc<Shared>, signatures: Vec<Blob>) -> Result<FromCoordinator, Fault> {
    let contract = SignedContract::collect(signatures.iter().map(|s| s.0.as_slice()))?;
    let id = contract.id();
    let mut bytes: usize = 0;
    let kept = shared.store.contract(&id).await?;
    let fresh: Vec<_> = contract.statements().filter(|(_, s)| !kept.iter().any(|k| k.0 == *s)).collect();
    bytes += kept.iter().map(|k| k.len() + 8).sum::<usize>() + fresh.iter().map(|(_, s)| s.len() + 8).sum::<usize>();
    if bytes > ANSWER_BYTES_MAX {
        let what = format!("the signatures over it take {bytes} bytes; at most {ANSWER_BYTES_MAX} are kept");
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    if kept.is_empty() && shared.store.contracts().await?.len() >= CONTRACTS_MAX {
        return Err(Fault::new(Code::ArgsInvalid, format!("{CONTRACTS_MAX} contracts are kept; no more are taken")));
    }
    let row = |(signer, s): (tacit_types::NodeId, &[u8])| (id, signer, Blob(s.to_vec()), contract.rejected_by(&signer));
    let rows = fresh.into_iter().map(row).collect();
    shared.store.write(Change::PutContract(rows)).await?;
    Ok(FromCoordinator::Done)
}
