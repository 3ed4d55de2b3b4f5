//! The limit of a contract on different keys, held where its owner's node gets a list of them: before a row is read for it
//! and before anything of the attempt leaves.

use tacit_governance::{JobSpec, Period};
use tacit_jobs::score::keys::Wanted;
use tacit_types::{ContractId, Fault, JobId, UnixMillis};

use crate::store::{Limit, Store};

/// The limit that a job's contract sets, if it does.
///
/// # Errors
/// Those of the database.
pub(crate) async fn limit(
    store: &Store,
    contract: &ContractId,
    spec: &JobSpec,
    now: UnixMillis,
) -> Result<Option<Limit>, Fault> {
    let contracts = store.contracts().await?;
    let Some(terms) = contracts.iter().find(|c| c.id() == *contract).map(|c| c.body()) else { return Ok(None) };
    let Some(distinct) = terms.scoring.and_then(|s| s.distinct) else { return Ok(None) };
    let period: Period = distinct.period((terms.valid_from, terms.valid_until), now);
    Ok(Some(Limit { contract: *contract, recipient: spec.recipient, period, keys: distinct.keys }))
}

/// Counts the keys of a job's list.
///
/// # Errors
/// `refused.distinct` when the limit does not allow them; `refused.parameters` for what is no list; those of the database.
pub(crate) async fn list(store: &Store, job: &JobId, spec: &JobSpec, list: &[u8]) -> Result<(), Fault> {
    let Some(contract) = store.job(job).await?.as_ref().and_then(crate::serve::admitted_under) else { return Ok(()) };
    let now = crate::now();
    let Some(limit) = limit(store, &contract, spec, now).await? else { return Ok(()) };
    let wanted = Wanted::decode_any(list)?;
    store.ask(&limit, wanted.distinct(), now).await
}
