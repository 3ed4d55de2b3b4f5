//! What a job took of a party that only the log shows: the party's database is from before it. What counts is the party's own
//! signature: its admission, where that is to be had, and else the record that it attested, for the most that such a job can take.

use tacit_governance::{Admission, JobSpec, PrivacyCost, SignedContract};
use tacit_receipts::{Status, UsageRecord};
use tacit_types::limits::ROWS_MAX;
use tacit_types::{ContractId, DatasetVersionId, Hash, JobId, NodeId};

/// What a job took that is not among the jobs that the party knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recounted {
    /// The job.
    pub job: JobId,
    /// The contract. One of its jobs is used.
    pub contract: ContractId,
    /// Rows of its allowance of scores.
    pub rows: u64,
    /// The dataset version that a noisy release was charged to.
    pub dataset: Option<DatasetVersionId>,
    /// What it cost that version.
    pub cost: PrivacyCost,
    /// What it asked, where its answer stands.
    pub question: Option<Hash>,
}

/// Whether a record says that a party refused its job. Who refused it took nothing.
pub fn refused_by(record: &UsageRecord, party: &NodeId) -> bool {
    let refused = match record.status {
        Status::Refused { seat, .. } => seat.and_then(|seat| record.parties.get(seat.index())),
        _ => None,
    };
    refused.is_some_and(|entry| entry.party == *party)
}

/// What a job took that only the log shows. A job that another owner refused was admitted by the party or not: who has attested that it
/// was refused has not said so.
pub fn counted(
    record: &UsageRecord,
    own: &NodeId,
    papers: Option<&(Admission, JobSpec)>,
    attested: bool,
    contracts: &[SignedContract],
) -> Vec<Recounted> {
    match papers {
        _ if refused_by(record, own) => Vec::new(),
        Some((admission, spec)) => vec![exact(record, admission, spec)],
        None if attested && !matches!(record.status, Status::Refused { .. }) => at_most(record, own, contracts),
        None => Vec::new(),
    }
}

/// The most that a job can have taken by its record: under each contract that it names, once, with as many rows as a job
/// scores at the most.
pub fn at_most(record: &UsageRecord, own: &NodeId, contracts: &[SignedContract]) -> Vec<Recounted> {
    let scores = |c: &SignedContract| c.body().scoring.is_some() || !c.body().models.is_empty();
    let dataset = record.party(own).and_then(|entry| entry.dataset);
    let charges = record.privacy.iter().filter(|charge| dataset == Some(charge.dataset));
    let cost = charges.fold(PrivacyCost::default(), |sum, charge| {
        sum.and(PrivacyCost { epsilon_micro: charge.epsilon_micro, delta_femto: charge.delta_femto })
    });
    let dataset = dataset.filter(|_| cost != PrivacyCost::default());
    let row = |(i, contract): (usize, &ContractId)| {
        let known = contracts.iter().find(|c| c.id() == *contract);
        let rows = if known.is_none_or(scores) { ROWS_MAX } else { 0 };
        // The cost is the dataset's, once, whatever the contract.
        let (dataset, cost) = if i == 0 { (dataset, cost) } else { (None, PrivacyCost::default()) };
        Recounted { job: record.job, contract: *contract, rows, dataset, cost, question: None }
    };
    record.contracts.iter().enumerate().map(row).collect()
}

/// What an admission says that its job took.
fn exact(record: &UsageRecord, admission: &Admission, spec: &JobSpec) -> Recounted {
    let answered = admission.privacy.is_some() && record.status == Status::Ok;
    Recounted {
        job: admission.job,
        contract: admission.contract,
        rows: admission.rows,
        dataset: admission.dataset.filter(|_| admission.privacy.is_some()),
        cost: admission.privacy.unwrap_or_default(),
        question: answered.then(|| spec.question()),
    }
}
