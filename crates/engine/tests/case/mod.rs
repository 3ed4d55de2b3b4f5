//! A use with its receipt and everything that was signed for it, which tests alter.
#![allow(dead_code)]

#[path = "../../../receipts/tests/common/mod.rs"]
pub mod common;

use common::{World, key, name};
use tacit_crypto::{Body, SealPublic, SigningKey, Statement};
use tacit_engine::record::spec_hash;
use tacit_governance::{
    Admission, Cohort, ColumnGrant, ColumnInfo, ColumnKind, Contract, ContractParty, DatasetDescriptor, DatasetGrant,
    JobSpec, Level, PartyCard, PartyRole, ProviderRef, Quota, Refusal, Role, User,
};
use tacit_receipts::{Absent, Bundle, Report, Status, Trust, assemble, verify_bundle};
use tacit_types::{Code, DatasetVersionId, Hash, JobId, Lang, Name, UnixMillis};

pub const T0: UnixMillis = common::START;

pub fn root(i: usize) -> SigningKey {
    key(10 + i as u8)
}

pub fn operator() -> SigningKey {
    key(90)
}

pub fn signed<T: Body>(by: &SigningKey, subject: &str, body: T) -> Vec<u8> {
    Statement::sign(by, subject, T0, None, body).bytes().to_vec()
}

pub fn id(bytes: &[u8]) -> Hash {
    tacit_crypto::sha256(bytes)
}

pub fn card(i: usize) -> Vec<u8> {
    let body = PartyCard {
        version: 1,
        name: name(i),
        root: root(i).id(),
        node: key(100 + i as u8).id(),
        seal: SealPublic([7; 32]),
        witness: key(50 + i as u8).id(),
        role: PartyRole::Partner,
        issued_at: T0,
    };
    signed(&root(i), "card", body)
}

pub fn dataset(i: usize) -> Vec<u8> {
    let body = DatasetDescriptor {
        format: 1,
        owner: root(i).id(),
        name: Name::new("loans").unwrap(),
        version: 3,
        columns: vec![ColumnInfo {
            name: "arrears".into(),
            kind: ColumnKind::Int,
            levels: vec![Level::AfterAggregate],
        }],
        row_bucket: 1024,
        commitment: Hash([9; 32]),
        views: vec!["loans".into()],
        aligned: None,
        terms: None,
    };
    signed(&root(i), "loans", body)
}

pub fn contract() -> Contract {
    let party = |i: usize, role| ContractParty { name: name(i), root: root(i).id(), role };
    let grant = |i: usize| DatasetGrant {
        owner: root(i).id(),
        dataset: DatasetVersionId(id(&dataset(i)).0),
        views: vec!["loans".into()],
        columns: vec![ColumnGrant { name: "arrears".into(), levels: vec![Level::AfterAggregate] }],
    };
    Contract {
        version: 1,
        name: Name::new("screening").unwrap(),
        parties: vec![party(0, Role::Demander), party(1, Role::Provider), party(2, Role::Provider)],
        datasets: vec![grant(1), grant(2)],
        kinds: vec!["stats/v1".into()],
        purpose: "credit screening".into(),
        recipients: vec![SealPublic([7; 32])],
        operators: vec![operator().id()],
        users: vec![User { root: root(0).id(), node: operator().id(), seal: SealPublic([7; 32]) }],
        cohort: Cohort { rows: 3, contributors: 2 },
        quota: Quota { jobs: 9 },
        valid_from: T0,
        valid_until: T0.plus(86_400_000),
        models: Vec::new(),
        scoring: None,
        alignment: None,
        checked: true,
        privacy: None,
        exact: None,
        price_plan: None,
        control: None,
        lifecycle: None,
    }
}

pub fn spec() -> JobSpec {
    let provider = |i: usize| ProviderRef {
        owner: root(i).id(),
        dataset: DatasetVersionId(id(&dataset(i)).0),
        view: "loans".into(),
    };
    JobSpec {
        version: 1,
        kind: "stats/v1".into(),
        params: Vec::new(),
        contracts: vec![contract().id()],
        providers: vec![provider(1), provider(2)],
        purpose: "credit screening".into(),
        recipient: SealPublic([7; 32]),
        cohort: Cohort { rows: 3, contributors: 2 },
        nonce: vec![7; 16],
        created_at: T0.plus(1_000),
        expires_at: T0.plus(3_600_000),
        attempt_ms: 60_000,
        models: Vec::new(),
        dealer: None,
        asker: Some(root(0).id()),
        attachments: Vec::new(),
    }
}

pub fn admission(i: usize, job: JobId) -> Admission {
    Admission {
        job,
        owner: root(i).id(),
        contract: contract().id(),
        dataset: (i > 0).then(|| DatasetVersionId(id(&dataset(i)).0)),
        at: T0.plus(2_000),
        rows: 0,
        privacy: None,
    }
}

/// A job of three, its receipt, and everything that was signed for it.
pub struct Case {
    pub world: World,
    pub leaf: u64,
    pub contract: Contract,
    pub spec: JobSpec,
    pub papers: Vec<Vec<u8>>,
}

impl Case {
    pub fn of(contract: Contract, mut spec: JobSpec, status: Status) -> Self {
        spec.contracts = vec![contract.id()];
        let job = signed(&operator(), "job", spec.clone());
        let job_id = JobId(id(&job).0);
        let mut world = World::new(3);
        let mut record = world.record(1);
        record.job = job_id;
        record.spec = spec_hash(&Statement::verify(&job).unwrap());
        record.contracts = spec.contracts.clone();
        record.kind = Name::new("stats.v1").unwrap();
        for i in 1..3 {
            record.parties[i].dataset = Some(DatasetVersionId(id(&dataset(i)).0));
        }
        if status != Status::Ok {
            (record.result, record.lines, record.disclosures) = (None, Vec::new(), Vec::new());
        }
        if matches!(status, Status::Refused { .. }) {
            record.attempt = tacit_types::Attempt(0);
        }
        record.status = status.clone();
        // Who admitted a job that another refused does not sign that it was refused.
        let (attestations, absent) = if status == Status::Ok {
            (world.attest_all(&record), Vec::new())
        } else {
            let absent = |i: usize| Absent { party: world.party(i).id(), code: Code::JobUnreachable };
            let absent = vec![absent(0), absent(1)];
            for i in 0..2 {
                record.parties[i].standing = tacit_receipts::Standing::Silent;
            }
            (vec![world.attest(2, &record)], absent)
        };
        let leaf = world.publish(assemble(record, &attestations, absent).unwrap().receipt);
        let mut papers = vec![job];
        papers.extend((0..3).map(|i| signed(&root(i), "contract", contract.clone())));
        papers.extend((0..3).map(card));
        papers.extend((1..3).map(dataset));
        let answer = |i: usize| match &status {
            Status::Refused { code, .. } if i == 2 => {
                let reason = "the quota is used up".into();
                let (owner, at) = (root(i).id(), T0.plus(2_000));
                let body = Refusal { job: job_id, owner, code: *code, reason, at, offered: Hash(job_id.0) };
                signed(&key(102), "answer", body)
            }
            _ => {
                let answer = Admission { contract: contract.id(), ..admission(i, job_id) };
                signed(&key(100 + i as u8), "answer", answer)
            }
        };
        papers.extend((0..3).map(answer));
        Self { world, leaf, contract, spec, papers }
    }

    pub fn ok() -> Self {
        Self::of(contract(), spec(), Status::Ok)
    }

    pub fn bundle(&self) -> Bundle {
        let mut bundle = self.world.single(&[0, 1, self.leaf]);
        bundle.papers = self.papers.iter().map(|paper| paper.clone().into()).collect();
        bundle
    }

    pub fn trust(&self) -> Trust {
        self.world.trust()
    }

    pub fn report(&self) -> Report {
        verify_bundle(&self.bundle().to_bytes(), Some(&self.trust())).unwrap()
    }
}

pub fn said(report: &Report, lang: Lang) -> String {
    report.uses.iter().flat_map(|told| &told.sentences).map(|s| s.text(lang).to_owned() + "\n").collect()
}
