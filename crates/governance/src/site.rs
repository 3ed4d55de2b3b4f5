//! What the owner's own site may add to the decision: a policy that is asked last, about a job that keeps to every other rule.
//! It can refuse and cannot admit what another rule refuses.

use tacit_types::{ContractId, DatasetVersionId, Fault, Hash, NodeId, UnixMillis};

use crate::admission::{JobFacts, Ledger, Product, Request, product};
use crate::contract::{Cohort, Contract, Role, SignedContract};
use crate::dataset::DatasetDescriptor;
use crate::grade::Grade;
use crate::privacy::PrivacyCost;

/// A policy of the owner's site.
pub trait SitePolicy {
    /// Decides.
    ///
    /// # Errors
    /// `refused.site_policy` with the policy that decided; so too where it could not be decided.
    fn decide(&self, asked: &Asked) -> Result<(), Fault>;
}

/// A party of the contract, as a policy sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AskedParty {
    /// Root key.
    pub root: NodeId,
    /// Its name in the contract.
    pub name: String,
    /// Its role in the contract.
    pub role: Role,
    /// Where it is, where the contract says so.
    pub region: Option<String>,
}

/// What this owner brings, as a policy sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AskedDataset {
    /// The version.
    pub id: DatasetVersionId,
    /// The version itself.
    pub dataset: DatasetDescriptor,
    /// The view that the job reads.
    pub view: String,
    /// Its grade as it stands, where it has one.
    pub grade: Option<Grade>,
}

/// What a policy is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The party whose key signed the job.
    pub asker: AskedParty,
    /// The party to whose key the result is sealed.
    pub recipient: AskedParty,
    /// Everyone in the contract.
    pub parties: Vec<AskedParty>,
    /// Root keys of everyone with a seat in the job.
    pub seated: Vec<NodeId>,
    /// The contract that covers the job here.
    pub contract: ContractId,
    /// Its name.
    pub contract_name: String,
    /// Its end.
    pub ends: UnixMillis,
    /// What this owner brings, where it brings data.
    pub dataset: Option<AskedDataset>,
    /// Kind with version.
    pub kind: String,
    /// The purpose.
    pub purpose: String,
    /// What the job makes.
    pub product: Product,
    /// What the job touches.
    pub facts: JobFacts,
    /// Models that it uses.
    pub models: Vec<Hash>,
    /// Data owners.
    pub providers: usize,
    /// The floor.
    pub cohort: Cohort,
    /// What it takes of the privacy budget; nothing for a repeated question and for exact answers.
    pub privacy: Option<PrivacyCost>,
    /// Rows that it scores at the most.
    pub rows: u64,
    /// Jobs of the contract that were used before it.
    pub used: u64,
    /// The terms of its price.
    pub price_plan: Option<Hash>,
    /// The time.
    pub now: UnixMillis,
}

/// What is left to ask once the other rules are kept to.
pub(crate) struct Kept<'a> {
    pub contract: &'a SignedContract,
    pub dataset: Option<&'a DatasetDescriptor>,
    pub grade: Option<Grade>,
    pub facts: &'a JobFacts,
    pub privacy: Option<PrivacyCost>,
    pub rows: u64,
}

/// Asks the site's policy, where there is one.
pub(crate) fn check(request: &Request<'_>, ledger: &Ledger<'_>, kept: &Kept<'_>) -> Result<(), Fault> {
    match ledger.site {
        None => Ok(()),
        Some(site) => site.decide(&asked(request, ledger, kept)),
    }
}

fn asked(request: &Request<'_>, ledger: &Ledger<'_>, kept: &Kept<'_>) -> Asked {
    let (spec, terms) = (request.job.body(), kept.contract.body());
    let signer = request.job.signer();
    let signer = (ledger.speaker)(&signer).unwrap_or(signer);
    let asker = terms.users.iter().find(|u| u.node == signer).map_or(signer, |u| u.root);
    let recipient = terms.users.iter().find(|u| u.seal == spec.recipient).map_or(asker, |u| u.root);
    let own = spec.provider(&ledger.owner).zip(kept.dataset);
    Asked {
        asker: party(terms, &asker),
        recipient: party(terms, &recipient),
        parties: terms.parties.iter().map(|p| party(terms, &p.root)).collect(),
        seated: spec.seated().into_iter().collect(),
        contract: kept.contract.id(),
        contract_name: terms.name.to_string(),
        ends: terms.ends(),
        dataset: own.map(|(provider, dataset)| AskedDataset {
            id: provider.dataset,
            dataset: dataset.clone(),
            view: provider.view.clone(),
            grade: kept.grade,
        }),
        kind: spec.kind.clone(),
        purpose: spec.purpose.clone(),
        product: product(request, kept.facts),
        facts: kept.facts.clone(),
        models: spec.models.iter().map(|m| Hash(m.model.0)).collect(),
        providers: spec.providers.len(),
        cohort: spec.cohort,
        privacy: kept.privacy,
        rows: kept.rows,
        used: (ledger.jobs_used)(&kept.contract.id()),
        price_plan: terms.price_plan,
        now: request.now,
    }
}

/// A party by its root key. That it stands in the contract was asked before: who may sign jobs and receive results is a party.
fn party(terms: &Contract, root: &NodeId) -> AskedParty {
    let known = terms.parties.iter().find(|p| p.root == *root);
    AskedParty {
        root: *root,
        name: known.map_or_else(|| root.short(), |p| p.name.to_string()),
        role: known.map_or(Role::Demander, |p| p.role),
        region: terms.control.as_ref().and_then(|c| c.region(root)).map(str::to_owned),
    }
}
