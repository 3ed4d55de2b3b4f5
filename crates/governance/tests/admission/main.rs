//! Every term of contract and job, changed one at a time: each change that widens use is refused with
//! its own code, and the unchanged job is admitted.

use tacit_crypto::{SealPublic, Secret, SigningKey, Statement, cbor};
use tacit_governance::align::{ALIGN_KEEP_DAYS_MAX, ALIGN_KEYS_MIN, REPEAT_DAYS_MAX};
use tacit_governance::contract::{Cohort, ColumnGrant, DatasetGrant, Quota};
use tacit_governance::orders::Verdict;
use tacit_governance::{
    Admission, AlignFacts, AlignLevel, AlignTerms, Aligned, ColumnInfo, ColumnKind, Contract, ContractParty,
    DatasetDescriptor, Feeds, JobFacts, JobSpec, Judgement, Ledger, Level, LookupFacts, LookupTerms, MatchesShown,
    ModelDescriptor, OnlineFacts, Order, PrivacyCost, PrivacyLedger, ProviderRef, RepeatTerms, Request, Role,
    ScoringTerms, Shown, SignedContract, SitePolicy, Use, User, judge,
};
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, Hash, JobId, ModelVersionId, Name, NodeId, UnixMillis};

mod alignments;
mod bounds;
mod control;
mod edges;
mod lifecycle;
mod mutations;
mod prices;
mod private;
mod regrade;
mod scores;
mod site;
mod users;

const NOW: UnixMillis = UnixMillis(1_000_000_000);

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([n; 32]))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

type Speaker = fn(&NodeId) -> Option<NodeId>;

/// Everything that a decision rests on, before it is signed.
struct Case {
    contract: Contract,
    signers: Vec<u8>,
    job: JobSpec,
    operator: u8,
    facts: Result<JobFacts, Fault>,
    dataset: Option<DatasetDescriptor>,
    /// The versions that it was aligned from.
    sources: Vec<DatasetVersionId>,
    models: Vec<(ModelVersionId, ModelDescriptor)>,
    rows_used: u64,
    online: Option<OnlineFacts>,
    align: Option<AlignFacts>,
    /// What the job's rows may be.
    feeds: Feeds,
    known: bool,
    revoked: bool,
    used: u64,
    consumed: bool,
    /// The price plan that is signed, by its contract, or under any one, and terms.
    priced: Option<(Option<ContractId>, Hash)>,
    /// For whom a key speaks, where keys have changed.
    speaker: Option<Speaker>,
    /// What the site's own policy says.
    site: Option<&'static site::Says>,
    spent: PrivacyCost,
    asked: Option<JobId>,
    orders: Vec<Order>,
    approvers: Vec<u8>,
    rejecters: Vec<u8>,
    /// A record whose promised receipt is missing.
    unkept: Option<Hash>,
    now: UnixMillis,
    high_water: UnixMillis,
    coordinator: NodeId,
}

const OWNERS: [u8; 3] = [1, 2, 3];
const DEMANDER: u8 = 4;
const OPERATOR: u8 = 5;
const STRANGER: u8 = 9;

fn dataset_of(owner: u8) -> DatasetVersionId {
    DatasetVersionId([owner + 100; 32])
}

impl Case {
    fn new() -> Self {
        let provider =
            |o: u8| ContractParty { name: name(&format!("owner-{o}")), root: key(o).id(), role: Role::Provider };
        let column = |n: &str, levels: &[Level]| ColumnGrant { name: n.into(), levels: levels.to_vec() };
        let grant = |o: u8| DatasetGrant {
            owner: key(o).id(),
            dataset: dataset_of(o),
            views: vec!["claims".into()],
            columns: vec![
                column("amount", &[Level::AfterAggregate]),
                column("region", &[Level::AfterGroupBy, Level::AfterCompare]),
            ],
        };
        let mut parties: Vec<ContractParty> = OWNERS.map(provider).to_vec();
        parties.push(ContractParty { name: name("demander"), root: key(DEMANDER).id(), role: Role::Demander });
        let contract = Contract {
            version: 1,
            name: name("claims-2026"),
            parties,
            datasets: OWNERS.map(grant).to_vec(),
            kinds: vec!["stats/v1".into()],
            purpose: "fraud research".into(),
            recipients: vec![SealPublic([7; 32])],
            operators: vec![key(OPERATOR).id()],
            users: vec![User { root: key(DEMANDER).id(), node: key(OPERATOR).id(), seal: SealPublic([7; 32]) }],
            cohort: Cohort { rows: 10, contributors: 2 },
            quota: Quota { jobs: 5 },
            valid_from: UnixMillis(NOW.0 - 10),
            valid_until: UnixMillis(NOW.0 + 10),
            models: Vec::new(),
            scoring: None,
            alignment: None,
            checked: false,
            privacy: None,
            exact: None,
            price_plan: None,
            control: None,
            lifecycle: None,
        };
        let id = contract.id();
        let all_levels = Level::ALL.to_vec();
        let info = |n: &str, kind| ColumnInfo { name: n.into(), kind, levels: all_levels.clone() };
        Self {
            contract,
            signers: vec![1, 2, 3, DEMANDER],
            job: JobSpec {
                version: 1,
                kind: "stats/v1".into(),
                params: vec![1],
                contracts: vec![id],
                providers: OWNERS
                    .map(|o| ProviderRef { owner: key(o).id(), dataset: dataset_of(o), view: "claims".into() })
                    .to_vec(),
                purpose: "fraud research".into(),
                recipient: SealPublic([7; 32]),
                cohort: Cohort { rows: 10, contributors: 2 },
                nonce: vec![0; 16],
                created_at: UnixMillis(NOW.0 - 1),
                expires_at: UnixMillis(NOW.0 + 1),
                attempt_ms: 1000,
                models: Vec::new(),
                dealer: None,
                asker: None,
                attachments: Vec::new(),
            },
            operator: OPERATOR,
            facts: Ok(JobFacts {
                uses: vec![
                    ("amount".into(), Use::Aggregate),
                    ("region".into(), Use::GroupBy),
                    ("region".into(), Use::Filter),
                ],
                providers_min: 3,
                rows_max: Some(1024),
                score: None,
                checked: Some(false),
                privacy: None,
            }),
            dataset: Some(DatasetDescriptor {
                format: 1,
                owner: key(1).id(),
                name: name("claims"),
                version: 1,
                columns: vec![
                    info("amount", ColumnKind::Float),
                    info("region", ColumnKind::Text),
                    info("secret", ColumnKind::Text),
                ],
                row_bucket: 1024,
                commitment: Hash([0; 32]),
                views: vec!["claims".into(), "other".into()],
                aligned: None,
                terms: None,
            }),
            sources: Vec::new(),
            models: Vec::new(),
            rows_used: 0,
            online: None,
            align: None,
            feeds: Feeds::Rows,
            known: true,
            revoked: false,
            used: 4,
            priced: None,
            speaker: None,
            site: None,
            unkept: None,
            consumed: false,
            spent: PrivacyCost::default(),
            asked: None,
            orders: Vec::new(),
            approvers: Vec::new(),
            rejecters: Vec::new(),
            now: NOW,
            high_water: NOW,
            coordinator: key(8).id(),
        }
    }

    /// Changes the contract and lets the job follow it.
    fn contract(mut self, change: impl FnOnce(&mut Contract)) -> Self {
        change(&mut self.contract);
        self.job.contracts = vec![self.contract.id()];
        self
    }

    fn job(mut self, change: impl FnOnce(&mut JobSpec)) -> Self {
        change(&mut self.job);
        self
    }

    fn other(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn uses(self, column: &str, usage: Use) -> Self {
        let column = column.to_owned();
        self.other(|c| {
            if let Ok(facts) = &mut c.facts {
                facts.uses.push((column, usage));
            }
        })
    }

    /// These terms with the signatures of this case's signers.
    fn sign(&self, terms: Contract) -> SignedContract {
        let mut signed = SignedContract::draft(terms.clone());
        for signer in &self.signers {
            // A contract with faulty terms cannot be signed with this tool; others' tools may.
            let statement = Statement::sign(&key(*signer), "", NOW, None, terms.clone());
            let _ = signed.add(statement);
        }
        let said = self.approvers.iter().map(|a| (a, Verdict::Approve));
        for (approver, verdict) in said.chain(self.rejecters.iter().map(|r| (r, Verdict::Reject))) {
            let _ = signed.approve(&key(*approver), verdict, "", NOW);
        }
        signed
    }

    fn signed(&self) -> SignedContract {
        self.sign(self.contract.clone())
    }

    /// The decision on a job of any bytes, with what this case knows beside it.
    fn judge(&self, job: &Statement<JobSpec>, contracts: &[SignedContract]) -> Judgement {
        let (facts, align) = (self.facts.clone(), self.align.clone());
        let request =
            Request { job, facts, online: self.online, align, feeds: self.feeds, rerun: control::rerun, now: self.now };
        self.with_ledger(contracts, |ledger| judge(&request, ledger))
    }

    /// What this owner's store knows.
    fn with_ledger<T>(&self, contracts: &[SignedContract], look: impl FnOnce(&Ledger<'_>) -> T) -> T {
        let ids: Vec<ContractId> = contracts.iter().map(SignedContract::id).collect();
        let (used, rows_used, spent, asked) = (self.used, self.rows_used, self.spent, self.asked);
        look(&Ledger {
            owner: key(1).id(),
            contracts,
            orders: &self.orders,
            revoked: if self.revoked { &ids } else { &[] },
            dataset: self.dataset.as_ref(),
            sources: &self.sources,
            models: &self.models,
            jobs_used: &|_| used,
            rows_used: &|_| rows_used,
            privacy: PrivacyLedger { spent: &|_| spent, asked: &|_| asked },
            consumed: self.consumed,
            speaker: &|key| self.speaker.map_or(Some(*key), |speaker| speaker(key)),
            priced: &|id, terms| self.priced.is_some_and(|(of, t)| of.is_none_or(|of| of == *id) && t == *terms),
            unkept: self.unkept,
            high_water: self.high_water,
            coordinator: self.coordinator,
            site: self.site.map(|site| site as &dyn SitePolicy),
        })
    }

    fn decide(self) -> Result<Admission, Fault> {
        let contracts = if self.known { vec![self.signed()] } else { Vec::new() };
        let job = Statement::sign(&key(self.operator), "job", NOW, None, self.job.clone());
        self.judge(&job, &contracts).decision
    }
}

fn add_owner(c: &mut Contract, n: u8) {
    c.parties.push(ContractParty { name: name("more"), root: key(n).id(), role: Role::Provider });
}

#[test]
fn the_job_that_the_contract_describes_is_admitted() {
    let admission = Case::new().decide().unwrap();
    assert_eq!(admission.owner, key(1).id());
    assert_eq!(admission.dataset, Some(dataset_of(1)));
    // At the last moment, at the last place of the quota, with a higher floor: still within the terms.
    assert!(Case::new().job(|j| j.cohort = Cohort { rows: 11, contributors: 3 }).decide().is_ok());
    assert!(Case::new().other(|c| c.high_water = UnixMillis(NOW.0 + 300_000)).decide().is_ok());
    assert!(Case::new().job(|j| j.created_at = UnixMillis(NOW.0 + 300_000)).decide().is_ok());
}

#[test]
fn the_contract_of_a_job_is_the_one_that_it_names_and_that_grants_this_owner_something() {
    let covering = |case: &Case, spec: &JobSpec, known: &[SignedContract]| {
        case.with_ledger(known, |ledger| tacit_governance::admission::covering(spec, ledger).map(SignedContract::id))
    };
    let case = Case::new();
    let (own, mut other) = (case.signed(), case.contract.clone());
    other.purpose = "another".into();
    let other = case.sign(other);
    let all = [other.clone(), own.clone()];
    assert_eq!(covering(&case, &case.job, &all), Some(own.id()));
    assert_eq!(covering(&case, &case.job, &[other]), None, "it is not named");
    assert_eq!(covering(&case, &case.job, &[]), None, "it is not known here");
}

#[test]
fn each_change_has_its_refusal() {
    use Code::*;
    let case = Case::new;
    let table: Vec<(&str, Case, Code)> = vec![
        ("clock behind", case().other(|c| c.high_water = UnixMillis(NOW.0 + 300_001)), RefusedClock),
        ("job expired", case().job(|j| j.expires_at = NOW), RefusedJobExpired),
        ("job of the future", case().job(|j| j.created_at = UnixMillis(NOW.0 + 300_001)), RefusedJobExpired),
        ("another owner's job", case().job(|j| drop(j.providers.remove(0))), RefusedParties),
        ("unknown contract", case().other(|c| c.known = false), RefusedContractUnknown),
        ("another contract", case().job(|j| j.contracts = vec![ContractId([0; 32])]), RefusedContractUnknown),
        (
            "own signature missing",
            case().other(|c| {
                c.signers.remove(0);
            }),
            RefusedContractIncomplete,
        ),
        (
            "other owner's signature missing",
            case().other(|c| {
                c.signers.remove(2);
            }),
            RefusedContractIncomplete,
        ),
        (
            "demander's signature missing",
            case().other(|c| {
                c.signers.pop();
            }),
            RefusedContractIncomplete,
        ),
        ("a stranger's signature instead", case().other(|c| c.signers[1] = STRANGER), RefusedContractIncomplete),
        ("a party more, unsigned", case().contract(|c| add_owner(c, STRANGER)), RefusedContractIncomplete),
        (
            "no purpose",
            case().contract(|c| c.purpose = " ".into()).job(|j| j.purpose = " ".into()),
            RefusedContractIncomplete,
        ),
        ("wildcard purpose", case().contract(|c| c.purpose = "*".into()), RefusedContractIncomplete),
        ("wildcard kind", case().contract(|c| c.kinds.push("*".into())), RefusedContractIncomplete),
        ("wildcard column", case().contract(|c| c.datasets[0].columns[0].name = "*".into()), RefusedContractIncomplete),
        ("floor of rows below three", case().contract(|c| c.cohort.rows = 2), RefusedContractIncomplete),
        ("floor of one contributor", case().contract(|c| c.cohort.contributors = 1), RefusedContractIncomplete),
        ("version of the future", case().contract(|c| c.version = 2), RefusedContractIncomplete),
        ("revoked here", case().other(|c| c.revoked = true), RefusedContractRevoked),
        ("not yet valid", case().contract(|c| c.valid_from = UnixMillis(NOW.0 + 1)), RefusedContractExpired),
        ("no longer valid", case().contract(|c| c.valid_until = NOW), RefusedContractExpired),
        ("another operator", case().other(|c| c.operator = STRANGER), RefusedOperator),
        ("the demander's root key as operator", case().other(|c| c.operator = DEMANDER), RefusedOperator),
        ("the coordinator demands", case().other(|c| c.coordinator = key(DEMANDER).id()), RefusedRoles),
        ("the coordinator operates", case().other(|c| c.coordinator = key(OPERATOR).id()), RefusedRoles),
        ("another dataset version", case().job(|j| j.providers[0].dataset = DatasetVersionId([1; 32])), RefusedDataset),
        ("another owner's dataset", case().job(|j| j.providers[0].dataset = dataset_of(2)), RefusedDataset),
        ("dataset not registered here", case().other(|c| c.dataset = None), RefusedDataset),
        ("view not granted", case().job(|j| j.providers[0].view = "other".into()), RefusedDataset),
        ("view granted but gone", case().other(|c| c.dataset.as_mut().unwrap().views.clear()), RefusedDataset),
        ("another purpose", case().job(|j| j.purpose = "marketing".into()), RefusedPurpose),
        ("purpose with a blank more", case().job(|j| j.purpose.push(' ')), RefusedPurpose),
        ("another kind", case().job(|j| j.kind = "count/v1".into()), RefusedKind),
        ("another version of the kind", case().job(|j| j.kind = "stats/v2".into()), RefusedKind),
        (
            "parameters that the kind refuses",
            case().other(|c| c.facts = Err(Fault::new(RefusedParameters, "x"))),
            RefusedParameters,
        ),
        ("sums that overflow", case().other(|c| c.facts = Err(Fault::new(RefusedOverflow, "x"))), RefusedOverflow),
        (
            "fewer rows than the dataset may have",
            case().other(|c| c.facts.as_mut().unwrap().rows_max = Some(1023)),
            RefusedParameters,
        ),
        ("column not granted", case().uses("secret", Use::Filter), RefusedColumn),
        ("column not there", case().uses("ghost", Use::Filter), RefusedColumn),
        (
            "column granted but gone",
            case().other(|c| drop(c.dataset.as_mut().unwrap().columns.remove(0))),
            RefusedColumn,
        ),
        ("grouping by a summed column", case().uses("amount", Use::GroupBy), RefusedLevel),
        ("filtering by a summed column", case().uses("amount", Use::Filter), RefusedLevel),
        ("summing a grouping column", case().uses("region", Use::Aggregate), RefusedLevel),
        (
            "level withdrawn by the owner",
            case().other(|c| c.dataset.as_mut().unwrap().columns[0].levels.clear()),
            RefusedLevel,
        ),
        ("too few providers", case().job(|j| drop(j.providers.pop())), RefusedParties),
        ("a provider outside the contract", case().job(|j| j.providers[2].owner = key(STRANGER).id()), RefusedParties),
        ("the demander as provider", case().job(|j| j.providers[2].owner = key(DEMANDER).id()), RefusedParties),
        ("lower floor of rows", case().job(|j| j.cohort.rows = 9), RefusedCohort),
        ("lower floor of contributors", case().job(|j| j.cohort.contributors = 1), RefusedCohort),
        ("another recipient", case().job(|j| j.recipient = SealPublic([8; 32])), RefusedRecipient),
        ("consumed before", case().other(|c| c.consumed = true), RefusedReplayed),
        ("quota used up", case().other(|c| c.used = 5), RefusedQuota),
    ];
    for (what, case, code) in table {
        match case.decide() {
            Err(fault) => assert_eq!(fault.code, code, "{what}: {fault}"),
            Ok(_) => panic!("{what} was admitted"),
        }
    }
}

#[test]
fn a_contract_says_everything_that_is_wrong_with_it() {
    let mut contract = Case::new().contract;
    contract.quota.jobs = 0;
    contract.kinds.clear();
    contract.recipients.clear();
    contract.parties[1].root = contract.parties[0].root;
    assert!(contract.faults().len() >= 4, "{:?}", contract.faults());
    let mut draft = SignedContract::draft(contract);
    assert_eq!(draft.sign(&key(1), NOW).unwrap_err().code, Code::ArgsInvalid);
}

#[test]
fn signatures_over_other_bytes_are_not_collected() {
    let contract = Case::new().contract;
    let mut other = contract.clone();
    other.quota.jobs += 1;
    let mut signed = SignedContract::draft(contract);
    let statement = Statement::sign(&key(1), "", NOW, None, other);
    assert_eq!(signed.add(statement).unwrap_err().code, Code::RefusedContractIncomplete);
    signed.sign(&key(1), NOW).unwrap();
    signed.sign(&key(1), NOW).unwrap();
    assert_eq!(signed.signatures().len(), 1, "one key counts once");
    assert_eq!(signed.missing().len(), 3);
}

#[test]
fn every_altered_byte_of_a_job_is_refused() {
    let job = Statement::sign(&key(OPERATOR), "job", NOW, None, Case::new().job);
    assert!(JobSpec::verify(job.bytes()).is_ok());
    let mut codes = std::collections::BTreeSet::new();
    for i in 0..job.bytes().len() {
        for bit in [0x01, 0x80] {
            let mut bytes = job.bytes().to_vec();
            bytes[i] ^= bit;
            codes.insert(JobSpec::verify(&bytes).unwrap_err().code);
        }
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), [Code::RefusedMalformed, Code::RefusedUnsigned]);
    assert!(JobSpec::verify(&vec![0; tacit_types::limits::JOB_BYTES_MAX + 1]).is_err());
}

#[test]
fn a_job_with_a_field_out_of_range_is_malformed() {
    let changes: [fn(&mut JobSpec); 7] = [
        |j| j.version = 2,
        |j| j.nonce.push(0),
        |j| j.contracts.clear(),
        |j| j.contracts = vec![ContractId([0; 32]); 17],
        |j| j.providers[1] = j.providers[0].clone(),
        |j| j.attempt_ms = 86_400_001,
        |j| j.expires_at = j.created_at,
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut job = Case::new().job;
        change(&mut job);
        let signed = Statement::sign(&key(OPERATOR), "job", NOW, None, job);
        assert_eq!(JobSpec::verify(signed.bytes()).unwrap_err().code, Code::RefusedMalformed, "{i}");
    }
}

#[test]
fn a_contract_that_wants_checked_sums_admits_no_other() {
    let decide = |demanded: bool, checked: Option<bool>| {
        let facts = move |c: &mut Case| c.facts.iter_mut().for_each(|facts| facts.checked = checked);
        Case::new().contract(|c| c.checked = demanded).other(facts).decide().map(|_| ()).map_err(|f| f.code)
    };
    assert_eq!(decide(true, Some(false)), Err(Code::RefusedUnchecked));
    let admitted = [(true, Some(true)), (true, None), (false, Some(true)), (false, Some(false))];
    assert!(admitted.into_iter().all(|(demanded, checked)| decide(demanded, checked) == Ok(())));
    // A contract without the demand has the bytes of those from before it.
    let mut terms = Case::new().contract;
    let without = tacit_crypto::cbor::encode(&terms);
    terms.checked = true;
    let with = tacit_crypto::cbor::encode(&terms);
    assert_eq!((with[0] - without[0], with.len() - without.len()), (1, 2), "a key and a flag");
}

#[test]
fn terms_without_the_demand_have_the_bytes_of_contracts_from_before_it() {
    let terms = scores::scoring().contract.scoring.unwrap();
    let bytes = |verified| tacit_crypto::cbor::encode(&ScoringTerms { verified, ..terms });
    assert_eq!((bytes(false)[0], bytes(true)[0]), (0xa3, 0xa4));
    for verified in [false, true] {
        let read: ScoringTerms = tacit_crypto::cbor::decode(&bytes(verified)).unwrap();
        assert_eq!(read.verified, verified);
    }
}
