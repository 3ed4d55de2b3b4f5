//! The decision at the owner's node. The order of the rules is part of the design: the first
//! failure is the refusal, so the same job gives the same code at every owner with the same terms.

use tacit_crypto::{Body, Statement};
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, Hash, JobId, ModelVersionId, NodeId, UnixMillis};

use crate::align::{self, AlignFacts, Feeds};
use crate::contract::SignedContract;
use crate::dataset::{DatasetDescriptor, Use};
use crate::grade::Grade;
use crate::job::JobSpec;
use crate::model::{ModelDescriptor, OnlineFacts, ScoreFacts};
use crate::orders::{Order, VectorRun};
use crate::privacy::{self, PrivacyCost, PrivacyLedger};
use crate::regrade::{Graded, approved};
use crate::site::{self, SitePolicy};

mod control;
mod meters;
mod rules;
mod steps;

pub use crate::grade::Product;
pub(crate) use control::product;
pub use meters::{METERS_MAX, Meter, Metered, meters};
pub use rules::Rule;
pub use steps::CLOCK_SKEW_MAX_MS;

/// What the catalogue of kinds says about a job, for the decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobFacts {
    /// Columns that the job touches, with the use of each.
    pub uses: Vec<(String, Use)>,
    /// The fewest providers that the kind works with.
    pub providers_min: usize,
    /// Rows that one provider may have at most, where the job states it.
    pub rows_max: Option<u64>,
    /// What the job scores, if it does.
    pub score: Option<ScoreFacts>,
    /// Whether every node checks the sums that an aggregator makes; `None` for a job without such sums.
    pub checked: Option<bool>,
    /// What a noisy release costs each dataset; `None` for a job whose numbers are exact.
    pub privacy: Option<PrivacyCost>,
}

/// What this owner's own store knows.
pub struct Ledger<'a> {
    /// The owner's root key.
    pub owner: NodeId,
    /// Contracts known here, with their signatures.
    pub contracts: &'a [SignedContract],
    /// Ids that the owner has revoked.
    pub revoked: &'a [ContractId],
    /// The dataset version that the job names, as registered here.
    pub dataset: Option<&'a DatasetDescriptor>,
    /// The versions that it was aligned from, the nearest first.
    pub sources: &'a [DatasetVersionId],
    /// The model versions that this owner holds.
    pub models: &'a [(ModelVersionId, ModelDescriptor)],
    /// Lists, reviews, assessments, revocations and regradings that the owner took in.
    pub orders: &'a [Order],
    /// Jobs already counted against each contract.
    pub jobs_used: &'a dyn Fn(&ContractId) -> u64,
    /// Rows already scored under each contract.
    pub rows_used: &'a dyn Fn(&ContractId) -> u64,
    /// What noisy releases have cost.
    pub privacy: PrivacyLedger<'a>,
    /// Whether this job id was consumed before.
    pub consumed: bool,
    /// Whether a price plan of these terms (`Contract::price_plan`) is known here for a contract with the signatures of
    /// its payer and of every payee.
    pub priced: &'a dyn Fn(&ContractId, &Hash) -> bool,
    /// The id for which a key speaks now; none for a key that is over. Who never changed a key speaks for itself.
    pub speaker: &'a dyn Fn(&NodeId) -> Option<NodeId>,
    /// A record whose receipt the coordinator has promised and not logged in time, which the owner has not forgiven.
    pub unkept: Option<Hash>,
    /// The latest time that this node has ever acted at.
    pub high_water: UnixMillis,
    /// The coordinator's root key, which may not be the demander.
    pub coordinator: NodeId,
    /// The site's own policy, which is asked last.
    pub site: Option<&'a dyn SitePolicy>,
}

/// What is asked of the node.
pub struct Request<'a> {
    /// The job, its signature checked.
    pub job: &'a Statement<JobSpec>,
    /// What the catalogue says of its kind and parameters, or why they are no good.
    pub facts: Result<JobFacts, Fault>,
    /// The window that it opens, where it opens one.
    pub online: Option<OnlineFacts>,
    /// The lists that it brings together, where it does.
    pub align: Option<AlignFacts>,
    /// What its rows may be.
    pub feeds: Feeds,
    /// What this build gives of a kind's test vectors. Asked where a contract wants reviews.
    pub rerun: fn(&str) -> Vec<VectorRun>,
    /// The time.
    pub now: UnixMillis,
}

/// The owner's yes, signed by its node.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Admission {
    /// The job.
    #[n(1)]
    pub job: JobId,
    /// The owner's root key.
    #[n(2)]
    pub owner: NodeId,
    /// The contract that covers it.
    #[n(3)]
    pub contract: ContractId,
    /// The dataset version that will be read, if this owner has one in the job.
    #[n(4)]
    pub dataset: Option<DatasetVersionId>,
    /// When.
    #[n(5)]
    pub at: UnixMillis,
    /// Rows that are taken from the contract's allowance of scores; 0 for other jobs.
    #[n(6)]
    #[cbor(default, skip_if = "is_zero")]
    pub rows: u64,
    /// What is taken from the budget of the dataset version, whatever becomes of the job.
    #[n(24)]
    pub privacy: Option<PrivacyCost>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that the derive asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Body for Admission {
    const TYPE: &'static str = "admission";
}

/// The owner's no, signed by its node.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Refusal {
    /// The job, by the hash of the bytes that were offered.
    #[n(1)]
    pub job: JobId,
    /// The owner's root key.
    #[n(2)]
    pub owner: NodeId,
    /// The stable code.
    #[n(3)]
    pub code: Code,
    /// What exactly.
    #[n(4)]
    pub reason: String,
    /// When.
    #[n(5)]
    pub at: UnixMillis,
    /// Hash of the offered bytes, equal to the job id.
    #[n(6)]
    pub offered: Hash,
}

impl Body for Refusal {
    const TYPE: &'static str = "refusal";
}

/// A decision with the rule that it rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// The rule that refused; the last one where every rule was kept to.
    pub rule: Rule,
    /// What was decided.
    pub decision: Result<Admission, Fault>,
}

/// Decides. Reserving the quota and marking the job consumed is the caller's, in one transaction
/// with reading the ledger.
///
/// # Errors
/// The refusal: a stable code and what exactly.
pub fn admit(request: &Request<'_>, ledger: &Ledger<'_>) -> Result<Admission, Fault> {
    judge(request, ledger).decision
}

/// Decides as [`admit`] does, and says by which rule.
pub fn judge(request: &Request<'_>, ledger: &Ledger<'_>) -> Judgement {
    let mut walk = Walk(Rule::FIRST);
    let decision = walk.through(request, ledger);
    Judgement { rule: walk.0, decision }
}

/// The contract that a job rests on at this owner: the one that it names and that grants this owner's dataset.
pub fn covering<'a>(spec: &JobSpec, ledger: &'a Ledger<'_>) -> Option<&'a SignedContract> {
    steps::find_contract(spec, ledger).ok()
}

/// The grade of what this owner brings, as it is said now. Where it is not known what the job touches, it may be every column.
fn standing_grade(
    request: &Request<'_>,
    ledger: &Ledger<'_>,
    contract: &SignedContract,
    dataset: Option<&DatasetDescriptor>,
) -> Option<Grade> {
    let id = request.job.body().provider(&ledger.owner)?.dataset;
    let graded = Graded { owner: ledger.owner, id, sources: ledger.sources, dataset: dataset?, orders: ledger.orders };
    let touches = |column: &str| match &request.facts {
        Ok(facts) => facts.uses.iter().any(|(used, _)| used == column),
        Err(_) => true,
    };
    let control = contract.body().control.as_ref();
    graded.for_job(touches, |regrading| approved(regrading, ledger.orders, control, &ledger.owner))
}

/// Where the decision stands.
struct Walk(Rule);

impl Walk {
    /// Puts one rule. In debug builds the order is the one that [`Rule`] states.
    fn put<T>(&mut self, rule: Rule, outcome: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        debug_assert!(self.0 <= rule, "{rule:?} after {:?}", self.0);
        self.0 = rule;
        outcome()
    }

    fn through(&mut self, request: &Request<'_>, ledger: &Ledger<'_>) -> Result<Admission, Fault> {
        let spec = request.job.body();
        self.put(Rule::Time, || steps::time(spec, request.now, ledger.high_water))?;
        self.put(Rule::Promises, || steps::promises(ledger))?;
        self.put(Rule::Seat, || steps::seat(spec, ledger))?;
        let contract = self.put(Rule::Contract, || steps::find_contract(spec, ledger))?;
        let terms = contract.body();
        self.put(Rule::Signatures, || steps::signatures(contract, ledger))?;
        self.put(Rule::Terms, || steps::terms(contract))?;
        self.put(Rule::Revocation, || steps::revocation(contract, ledger, request.now))?;
        self.put(Rule::Validity, || steps::validity(contract, request.now))?;
        self.put(Rule::Approvals, || control::approvals(contract))?;
        self.put(Rule::Operator, || steps::operator(request, terms, ledger))?;
        self.put(Rule::Roles, || steps::roles(terms, ledger))?;
        self.put(Rule::Lists, || control::lists(request, terms, ledger))?;
        self.put(Rule::Rights, || control::rights(spec, terms, &ledger.owner, request.now))?;
        let provided = self.put(Rule::Dataset, || {
            spec.provider(&ledger.owner).map(|p| steps::dataset(p, terms, ledger)).transpose()
        })?;
        let grade = standing_grade(request, ledger, contract, provided.map(|(_, dataset)| dataset));
        self.put(Rule::Source, || steps::source(spec, provided, request))?;
        self.put(Rule::Release, || control::release(provided, request.now))?;
        // Parameters that are no good name no product; they are refused in their own place.
        if let Ok(facts) = &request.facts {
            self.put(Rule::Grade, || control::grade(grade, request, facts))?;
        }
        self.put(Rule::Officer, || control::officer(provided, grade, terms, &ledger.owner))?;
        self.put(Rule::Personal, || control::personal(provided, terms, request.now))?;
        self.put(Rule::Purpose, || steps::purpose(spec, terms))?;
        self.put(Rule::Kind, || steps::kind(spec, terms))?;
        self.put(Rule::Models, || steps::models(spec, terms, ledger))?;
        self.put(Rule::Review, || control::review(request, terms, grade, ledger))?;
        let facts = self.put(Rule::Parameters, || request.facts.as_ref().map_err(Clone::clone))?;
        self.put(Rule::Columns, || steps::columns(terms, provided, facts))?;
        self.put(Rule::Rows, || steps::rows(provided, facts))?;
        self.put(Rule::Parties, || steps::parties(spec, terms, facts))?;
        self.put(Rule::Checked, || steps::checked(terms, facts))?;
        self.put(Rule::Cohort, || steps::cohort(spec, terms, request.align.as_ref()))?;
        let own = spec.provider(&ledger.owner).map(|p| &p.dataset);
        let question = || spec.question();
        let privacy =
            self.put(Rule::Privacy, || privacy::check(terms, own, facts.privacy, question, &ledger.privacy))?;
        self.put(Rule::Alignment, || align::check(terms, request.align.as_ref()))?;
        self.put(Rule::Recipient, || steps::recipient(request, terms))?;
        self.put(Rule::Risk, || control::risk(terms, ledger, request.now))?;
        self.put(Rule::Regions, || control::regions(terms, provided, &ledger.owner, request.now))?;
        self.put(Rule::Replay, || steps::replay(request, ledger))?;
        self.put(Rule::Quota, || steps::quota(terms, (ledger.jobs_used)(&contract.id())))?;
        self.put(Rule::Online, || steps::online(spec, terms, request.online))?;
        let rows = self
            .put(Rule::Scores, || steps::scores(request, terms, facts, ledger, (ledger.rows_used)(&contract.id())))?;
        self.put(Rule::Price, || steps::price(contract, ledger))?;
        let dataset = provided.map(|(_, dataset)| dataset);
        let kept = site::Kept { contract, dataset, grade, facts, privacy, rows };
        self.put(Rule::Site, || site::check(request, ledger, &kept))?;
        Ok(Admission {
            job: JobSpec::id(request.job),
            owner: ledger.owner,
            contract: contract.id(),
            dataset: spec.provider(&ledger.owner).map(|p| p.dataset),
            at: request.now,
            rows,
            privacy,
        })
    }
}
