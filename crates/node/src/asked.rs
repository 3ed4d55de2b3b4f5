//! The limits of a contract on keys, held at its owner's node. On different ones: where it gets a list of them, before a row
//! is read for it and before anything of the attempt leaves; and in a window before each batch of calls is answered. On rows a
//! second: of all windows of the contract together, before each batch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tacit_governance::{Contract, DistinctTerms, JobSpec, Meter, Metered, SignedContract};
use tacit_jobs::score::keys::Wanted;
use tacit_jobs::score::online::host::{Say, said};
use tacit_types::wire::Blob;
use tacit_types::{Code, ContractId, Fault, JobId, NodeId, UnixMillis};
use tokio::sync::mpsc;

use crate::store::{Limit, Store};

/// The terms of a contract on different keys, where it has some.
pub(crate) fn terms(contract: &Contract) -> Option<DistinctTerms> {
    contract.scoring.and_then(|s| s.distinct)
}

/// The contract that a job was admitted under.
async fn admitted(store: &Store, job: &JobId) -> Result<Option<(ContractId, Contract)>, Fault> {
    let Some(id) = store.job(job).await?.as_ref().and_then(crate::serve::admitted_under) else { return Ok(None) };
    let contracts = store.contracts().await?;
    Ok(contracts.iter().find(|c| c.id() == id).map(|c| (id, c.body().clone())))
}

/// A contract that limits different keys, for one recipient.
struct Limited {
    id: ContractId,
    contract: Contract,
    distinct: DistinctTerms,
    spec: JobSpec,
}

impl Limited {
    /// Of the contract that a job was admitted under, if it does.
    async fn of(store: &Store, job: &JobId, spec: &JobSpec) -> Result<Option<Self>, Fault> {
        let Some((id, contract)) = admitted(store, job).await? else { return Ok(None) };
        Ok(terms(&contract).map(|distinct| Self { id, contract, distinct, spec: spec.clone() }))
    }

    /// The limit as it stands now.
    fn at(&self, now: UnixMillis) -> Limit {
        let period = self.distinct.period((self.contract.valid_from, self.contract.valid_until), now);
        Limit { contract: self.id, recipient: self.spec.recipient, period, keys: self.distinct.keys }
    }
}

/// The limit of a contract on different keys at a time, for the recipient of a job; none where it has none.
pub(crate) fn limit(contract: &SignedContract, spec: &JobSpec, at: UnixMillis) -> Option<Limit> {
    let distinct = terms(contract.body())?;
    Some(Limited { id: contract.id(), contract: contract.body().clone(), distinct, spec: spec.clone() }.at(at))
}

/// How many different keys the recipient of a job may still ask about here, where its contract limits them and this owner
/// brings rows. The job takes as many as its list or window has rows at the most.
///
/// # Errors
/// Those of the database.
pub(crate) async fn meter(
    store: &Store,
    id: &ContractId,
    contract: &Contract,
    spec: &JobSpec,
    owner: &NodeId,
    now: UnixMillis,
) -> Result<Option<Meter>, Fault> {
    let (Some(distinct), Some(_)) = (terms(contract), spec.provider(owner)) else { return Ok(None) };
    let plan = tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec)));
    let Some(score) = plan.ok().and_then(|plan| plan.facts(owner).score) else { return Ok(None) };
    let limited = Limited { id: *id, contract: contract.clone(), distinct, spec: spec.clone() };
    let limit = limited.at(now);
    let used = store.asked(&limit).await?;
    let until = Some(limit.period.until);
    Ok(Some(Meter { what: Metered::Keys, limit: limit.keys, used, takes: score.rows, until }))
}

/// Counts the keys of a job's list.
///
/// # Errors
/// `refused.distinct` when the limit does not allow them; `refused.parameters` for what is no list; those of the database.
pub(crate) async fn list(store: &Store, job: &JobId, spec: &JobSpec, list: &[u8]) -> Result<(), Fault> {
    let Some(limited) = Limited::of(store, job, spec).await? else { return Ok(()) };
    let wanted = Wanted::decode_any(list)?;
    let now = crate::now();
    store.ask(&limited.at(now), wanted.distinct(), now).await
}

/// Rows that may be asked for now of one contract: refilled with time, at most one second's.
#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn at(self, per_second: u64, now: Instant) -> Self {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let full = per_second as f64;
        Self { left: (self.left + passed * full).min(full), at: now }
    }
}

/// What is left of each contract's rows a second, whichever of its windows they are asked in.
#[derive(Default)]
pub(crate) struct Paces(Mutex<BTreeMap<ContractId, (u64, Bucket)>>);

impl Paces {
    /// Takes rows of a contract that allows so many a second.
    pub fn take(&self, contract: &ContractId, per_second: u64, rows: u64, now: Instant) -> Result<(), Code> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(contract).map(|(_, bucket)| *bucket);
        let mut bucket = known.unwrap_or(Bucket { left: per_second as f64, at: now }).at(per_second, now);
        let enough = bucket.left >= rows as f64;
        bucket.left -= if enough { rows as f64 } else { 0.0 };
        // Who has asked for nothing for a second has as much as who never did.
        all.retain(|_, (full, bucket)| bucket.at(*full, now).left < *full as f64);
        all.insert(*contract, (per_second, bucket));
        if enough { Ok(()) } else { Err(Code::RefusedPace) }
    }
}

/// The calls of one batch: their keys, where the seat knows them, and how many.
struct Batch {
    keys: Vec<Blob>,
    rows: u64,
}

/// Counts the calls of a window, a batch after the other, apart from the machine that waits for none of it.
pub(crate) struct Counter {
    batches: mpsc::UnboundedSender<Batch>,
    counted: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Counter {
    /// For a window, at an owner of rows or of a model; it ends with the value. None for a job whose contract allows no
    /// window.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn new(
        store: &Store,
        paces: &Arc<Paces>,
        job: &JobId,
        spec: &JobSpec,
        owner: &NodeId,
    ) -> Result<Option<Self>, Fault> {
        let Some((id, contract)) = admitted(store, job).await? else { return Ok(None) };
        let Some(online) = contract.scoring.and_then(|s| s.online) else { return Ok(None) };
        // Who has a model and no rows is not told the keys.
        let distinct = terms(&contract).filter(|_| spec.provider(owner).is_some());
        let limited = distinct.map(|distinct| Limited { id, contract, distinct, spec: spec.clone() });
        // A machine has no more than a window's batches under way, so that neither queue grows beyond them.
        let (batches, mut waiting) = mpsc::unbounded_channel::<Batch>();
        let (sender, counted) = mpsc::unbounded_channel();
        let (store, paces, job) = (store.clone(), paces.clone(), *job);
        tokio::spawn(async move {
            while let Some(batch) = waiting.recv().await {
                let mut outcome = paces.take(&id, online.rows_per_second, batch.rows, Instant::now());
                if let (Ok(()), Some(limited)) = (outcome, &limited) {
                    let (now, keys) = (crate::now(), batch.keys.iter().map(|k| k.0.as_slice()));
                    let counted = store.ask(&limited.at(now), keys, now).await;
                    if let Err(fault) = &counted {
                        tracing::info!(job = %job.short(), %fault, "a call is not answered");
                    }
                    outcome = counted.map_err(|fault| fault.code);
                }
                if sender.send(said(&Say::Counted { outcome })).is_err() {
                    break;
                }
            }
        });
        Ok(Some(Self { batches, counted }))
    }

    /// Takes the next batch.
    pub fn count(&self, keys: Vec<Blob>, rows: u64) {
        let _ = self.batches.send(Batch { keys, rows });
    }

    /// What the seat is told of the next batch.
    pub async fn next(&mut self) -> Vec<u8> {
        match self.counted.recv().await {
            Some(bytes) => bytes,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn windows_of_a_contract_share_its_rows_a_second() {
        let (paces, now) = (Paces::default(), Instant::now());
        let [one, other] = [ContractId([1; 32]), ContractId([2; 32])];
        let take = |contract: &ContractId, rows, ms| paces.take(contract, 10, rows, now + Duration::from_millis(ms));
        // A burst of a second's rows, whichever window asks, and one past it.
        assert_eq!([take(&one, 6, 0), take(&one, 4, 0), take(&one, 1, 0)], [Ok(()), Ok(()), Err(Code::RefusedPace)]);
        assert_eq!(take(&other, 10, 0), Ok(()), "another contract has its own");
        // Half a second fills five rows, and what is refused takes none.
        assert_eq!(
            [take(&one, 6, 500), take(&one, 5, 500), take(&one, 1, 500)],
            [Err(Code::RefusedPace), Ok(()), Err(Code::RefusedPace)]
        );
        // However long nobody asks, there is no more than a second's; and what is full is not kept.
        assert_eq!([take(&one, 11, 60_000), take(&one, 10, 60_000)], [Err(Code::RefusedPace), Ok(())]);
        assert_eq!(paces.0.lock().unwrap().len(), 1);
        // A clock that does not move gives nothing.
        assert_eq!(take(&one, 1, 60_000), Err(Code::RefusedPace));
    }
}
