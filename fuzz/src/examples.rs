//! Valid inputs to begin with, all from fixed keys: a fuzzer that starts from them reaches the depths at once.

use std::sync::OnceLock;

use tacit_crypto::{Rng, SealKey, Secret, SigningKey, Statement, cbor};
use tacit_engine::{
    Assignment, Finish, Finished, FromCoordinator, FromNode, Linked, LogInfo, Outlook, Package, PlanAnswer,
    RosterEntry, SealedResult, Seated, Terminal, ToCoordinator, ToNode,
};
use tacit_governance::admission::{Admission, Refusal};
use tacit_governance::{
    Cohort, ColumnGrant, ColumnInfo, ColumnKind, Contract, ContractParty, DatasetDescriptor, DatasetGrant, ExactTerms,
    JobSpec, Level, Lifecycle, Meter, Metered, PartyCard, PartyRole, PrivacyCost, PrivacyTerms, ProviderRef, Quota,
    Revocation, Role, SignedContract, Succession, User,
};
use tacit_jobs::ColumnKinds;
use tacit_protocol::message::{Address, Message};
use tacit_protocol::{Blame, Offence};
use tacit_receipts::link::{FlowChain, LinkLeaf, LinkProof, LinkScope, LinkSeal};
use tacit_receipts::policy::Policy;
use tacit_receipts::{AddCheckpoint, KeyRole, LogProof, PartyRotation, Trust, VerifierKey, cose, rotation};
use tacit_secagg::{Blinded, Release, Width};
use tacit_types::wire::{Blob, encode};
use tacit_types::{
    Attempt, Code, DatasetVersionId, Fault, Hash, JobId, Name, NodeId, Seat, StatementId, Step, UnixMillis,
};

use crate::world::{ORIGIN, World};

const AT: UnixMillis = UnixMillis(1_795_000_000_000);

/// A signing key.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

/// A recipient's key.
pub fn seal_key(seed: u8) -> SealKey {
    SealKey::generate(&mut Rng::from_seed(&Secret::new([seed; 32])))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a plain name")
}

fn card() -> PartyCard {
    PartyCard {
        version: 1,
        name: name("bank-a"),
        root: key(1).id(),
        node: key(2).id(),
        seal: seal_key(9).public(),
        witness: key(3).id(),
        role: PartyRole::Partner,
        issued_at: AT,
    }
}

fn dataset() -> DatasetDescriptor {
    let column = |name: &str, kind, levels: &[Level]| ColumnInfo { name: name.into(), kind, levels: levels.to_vec() };
    DatasetDescriptor {
        format: 1,
        owner: key(1).id(),
        name: name("claims"),
        version: 1,
        columns: vec![
            column("amount", ColumnKind::Float, &[Level::AfterAggregate, Level::AfterCompare]),
            column("region", ColumnKind::Text, &[Level::AfterGroupBy]),
        ],
        row_bucket: 1024,
        commitment: Hash([4; 32]),
        views: vec!["claims".into()],
        aligned: None,
        terms: None,
    }
}

fn contract() -> Contract {
    let grant = |name: &str, level| ColumnGrant { name: name.into(), levels: vec![level] };
    Contract {
        version: 1,
        name: name("health-2026"),
        parties: vec![
            ContractParty { name: name("insurer"), root: key(5).id(), role: Role::Demander },
            ContractParty { name: name("bank-a"), root: key(1).id(), role: Role::Provider },
        ],
        datasets: vec![DatasetGrant {
            owner: key(1).id(),
            dataset: DatasetVersionId([6; 32]),
            views: vec!["claims".into()],
            columns: vec![grant("amount", Level::AfterAggregate), grant("region", Level::AfterGroupBy)],
        }],
        kinds: vec!["stats/v1".into()],
        purpose: "cost of care".into(),
        recipients: vec![seal_key(9).public()],
        operators: vec![key(5).id()],
        users: vec![User { root: key(5).id(), node: key(5).id(), seal: seal_key(9).public() }],
        cohort: Cohort { rows: 10, contributors: 3 },
        quota: Quota { jobs: 20 },
        valid_from: AT,
        valid_until: AT.plus(86_400_000),
        models: Vec::new(),
        scoring: None,
        alignment: None,
        checked: false,
        privacy: Some(PrivacyTerms {
            budget: PrivacyCost { epsilon_micro: 2_000_000, delta_femto: 1_000_000 },
            job_epsilon_micro: 500_000,
            only: true,
        }),
        exact: Some(ExactTerms { change_min: 10 }),
        price_plan: None,
        control: None,
        lifecycle: None,
    }
}

fn job() -> JobSpec {
    JobSpec {
        version: 1,
        kind: "stats/v1".into(),
        params: stats_params().swap_remove(0),
        contracts: vec![contract().id()],
        providers: vec![ProviderRef { owner: key(1).id(), dataset: DatasetVersionId([6; 32]), view: "claims".into() }],
        purpose: "cost of care".into(),
        recipient: seal_key(9).public(),
        cohort: Cohort { rows: 10, contributors: 3 },
        nonce: vec![7; 16],
        created_at: AT,
        expires_at: AT.plus(3_600_000),
        attempt_ms: 60_000,
        models: Vec::new(),
        dealer: None,
        asker: None,
        attachments: Vec::new(),
    }
}

fn signed_job() -> Vec<u8> {
    Statement::sign(&key(5), "stats/v1", AT, None, job()).bytes().to_vec()
}

fn signed_card() -> Vec<u8> {
    Statement::sign(&key(1), "bank-a", AT, None, card()).bytes().to_vec()
}

fn signature() -> Vec<u8> {
    SignedContract::draft(contract()).sign(&key(1), AT).expect("a party of the contract signs")
}

fn signed_dataset() -> Vec<u8> {
    Statement::sign(&key(1), "claims", AT, None, dataset()).bytes().to_vec()
}

/// A contract with terms of control, and an approval of it.
fn controlled() -> (Contract, Vec<u8>) {
    use tacit_governance::control::{Answer, ApprovalRule, Control, Office, Right, RightKind};
    let right = |kind, holder: u8| Right {
        dataset: DatasetVersionId([6; 32]),
        kind,
        holder: key(holder).id(),
        basis: Hash([2; 32]),
        until: AT.plus(9),
    };
    let mut terms = contract();
    terms.control = Some(Control {
        rights: vec![right(RightKind::Hold, 1), right(RightKind::Process, 5), right(RightKind::Operate, 5)],
        declarations: vec![Answer::No; 4],
        venue: None,
        regions: Vec::new(),
        cross_border: None,
        approvals: vec![ApprovalRule {
            office: Office::ChiefDataOfficer,
            owner: Some(key(1).id()),
            keys: vec![key(7).id()],
            need: 1,
        }],
        emergency: None,
        delegation: 0,
        liability: Vec::new(),
        dispute: None,
        review: None,
        risk: None,
        scene: Some("claims of 2026".into()),
    });
    let from = ContractParty { name: name("bank-0"), root: key(8).id(), role: Role::Provider };
    terms.lifecycle = Some(Lifecycle {
        amends: Some(contract().id()),
        successions: vec![Succession { from, to: key(1).id() }],
        deletion_days: Some(30),
    });
    let mut draft = SignedContract::draft(terms.clone());
    let said = draft.approve(&key(7), tacit_governance::orders::Verdict::Approve, "seen", AT);
    (terms, said.expect("an approver of the contract"))
}

/// Lists, reviews, assessments, a suspension, an attestation of deletion and an approval.
pub fn orders() -> Vec<Vec<u8>> {
    use tacit_governance::grade::Grade;
    use tacit_governance::lifecycle::{Deleted, DeletionAttestation, LeftKind};
    use tacit_governance::orders::{AlgorithmReview, Denied, NegativeList, RiskAssessment, VectorRun, Verdict};
    let item = Denied { column: Some("age".into()), purpose: Some("marketing".into()), ..Denied::default() };
    let list = NegativeList {
        name: "minors".into(),
        number: 1,
        items: vec![item],
        reason: "order 17".into(),
        until: Some(AT.plus(9)),
    };
    let review = AlgorithmReview {
        kind: "stats/v1".into(),
        model: None,
        verdict: Verdict::Approve,
        grade_max: Grade::IMPORTANT,
        vectors: Hash([4; 32]),
        until: AT.plus(9),
        runs: vec![VectorRun { name: "sums".into(), result: Hash([5; 32]) }],
    };
    let risk = RiskAssessment { party: key(5).id(), score: 20, report: Hash([3; 32]), until: AT.plus(9) };
    let suspension = Revocation { contract: contract().id(), reason: "under review".into(), until: Some(AT.plus(9)) };
    let item = |kind, name: &str| Deleted { kind, job: JobId([8; 32]), name: name.into() };
    let deletion = DeletionAttestation {
        contract: contract().id(),
        deleted: vec![item(LeftKind::AlignedKeys, "claims-aligned v1"), item(LeftKind::Work, "")],
        stays: vec![item(LeftKind::Cache, "00")],
        declared: vec!["copies were shredded".into()],
    };
    vec![
        Statement::sign(&key(1), "minors", AT, None, list).bytes().to_vec(),
        Statement::sign(&key(2), "stats/v1", AT, None, review).bytes().to_vec(),
        Statement::sign(&key(3), "insurer", AT, None, risk).bytes().to_vec(),
        Statement::sign(&key(1), "contract", AT, None, suspension).bytes().to_vec(),
        Statement::sign(&key(1), "contract", AT, None, deletion).bytes().to_vec(),
        controlled().1,
    ]
}

/// Statements of several types.
pub fn statements() -> Vec<Vec<u8>> {
    vec![signed_job(), signed_card(), signature(), signed_dataset()]
}

/// Jobs.
pub fn jobs() -> Vec<Vec<u8>> {
    vec![cbor::encode(&job())]
}

/// Contracts.
pub fn contracts() -> Vec<Vec<u8>> {
    vec![cbor::encode(&contract()), cbor::encode(&controlled().0)]
}

/// Dataset versions.
pub fn datasets() -> Vec<Vec<u8>> {
    vec![cbor::encode(&dataset())]
}

/// Cards.
pub fn cards() -> Vec<Vec<u8>> {
    vec![cbor::encode(&card())]
}

/// An admission and a refusal.
pub fn decisions() -> Vec<Vec<u8>> {
    let (job, owner) = (JobId([8; 32]), key(1).id());
    let (contract, dataset) = (contract().id(), DatasetVersionId([6; 32]));
    let refusal =
        Refusal { job, owner, code: Code::RefusedQuota, reason: "20 of 20".into(), at: AT, offered: Hash(job.0) };
    vec![
        cbor::encode(&Admission {
            job,
            owner,
            contract,
            dataset: Some(dataset),
            at: AT,
            rows: 0,
            privacy: Some(PrivacyCost::default()),
        }),
        cbor::encode(&refusal),
    ]
}

const WRITTEN: [&str; 5] = [
    r#"{"measures":[{"column":"amount","statistics":["count","sum","mean","variance","stddev"],"bound":"1000000"}],
"group_by":{"column":"region","values":["north","south"]},"filter":"age >= 18 and region in ('north')"}"#,
    r#"{"histograms":[{"column":"weight","edges":["0","10","99.5"]}],"quantiles":[{"column":"age",
"probabilities":["0.25","0.5"],"low":"0","high":"120"}],"matrix":{"columns":["amount","age"],"correlation":true,"bound":"1000000"},
"rows_max":4096}"#,
    r#"{"filter":"not (age is null) or amount <> -1.5"}"#,
    r#"{"filter":"age >= 18","checked":true}"#,
    r#"{"measures":[{"column":"amount","statistics":["sum","variance"],"bound":"100"}],
"privacy":{"epsilon":"0.5","delta":"0.000000001","colluders":2}}"#,
];

fn columns() -> ColumnKinds {
    ColumnKinds::from([
        ("amount".to_owned(), ColumnKind::Float),
        ("weight".to_owned(), ColumnKind::Float),
        ("age".to_owned(), ColumnKind::Int),
        ("region".to_owned(), ColumnKind::Text),
    ])
}

fn params(kind: &str, written: &str) -> Vec<u8> {
    let written = serde_json::from_str(written).expect("JSON");
    let kind = tacit_jobs::kind(kind).expect("a known kind");
    kind.params(written, &columns()).expect("valid parameters")
}

/// Parameters as people write them, as JSON.
pub fn written_params() -> Vec<Vec<u8>> {
    WRITTEN.iter().map(|w| w.as_bytes().to_vec()).collect()
}

/// Parameters of `stats/v1`.
pub fn stats_params() -> Vec<Vec<u8>> {
    [0, 1, 4].map(|i| params("stats/v1", WRITTEN[i])).to_vec()
}

/// Parameters of `count/v1`.
pub fn count_params() -> Vec<Vec<u8>> {
    vec![params("count/v1", WRITTEN[2]), params("count/v1", "{}"), params("count/v1", WRITTEN[3])]
}

/// Every request to a node.
pub fn to_node() -> Vec<Vec<u8>> {
    let (job, attempt) = (JobId([8; 32]), Attempt(1));
    let seated = Seated { card: signed_card().into(), address: "bank-a.example:7402".into() };
    let assignment =
        Assignment { job, attempt, seats: vec![seated], aggregator: key(2).id(), budget_ms: 60_000, step_ms: 9_000 };
    let contracts = vec![vec![Blob(signature())]];
    let terminal = Terminal::Refused { code: Code::RefusedQuota, party: name("bank-a"), reason: "20 of 20".into() };
    [
        ToNode::Admit { job: signed_job().into(), contracts: contracts.clone() },
        ToNode::Plan { job: signed_job().into(), contracts },
        ToNode::Reserve { job, attempt, ttl_ms: 5_000 },
        ToNode::Start { assignment },
        ToNode::Cancel { job, attempt: Attempt(1), code: Code::JobCancelled },
        ToNode::Attest { job, record: records().swap_remove(0).into(), evidence: vec![blame()] },
        ToNode::Cosign { request: add_checkpoints().swap_remove(0).into() },
        ToNode::Logged {
            job,
            leaf: leaves().swap_remove(2).into(),
            proof: tlog_proofs().swap_remove(0).into(),
            beside: vec![Vec::new().into()],
        },
        ToNode::Close { job, terminal },
        ToNode::Ping,
        ToNode::Promised { job, promise: leaves().swap_remove(0).into() },
    ]
    .iter()
    .map(encode)
    .collect()
}

/// Two bodies that one seat signed for one slot, as far as a reader that knows no seating can tell.
fn blame() -> Blame {
    let body = |tag: u8| {
        let body = Blob(vec![tag; 40]);
        let signature = key(2).sign(&body);
        // Kind 2 is a dealer's root.
        encode(&(2u32, Hash([8; 32]), 0u32, Seat(2), body, signature))
    };
    Blame::seat(Seat(2), Offence::Equivocation).with(body(1)).with(body(2))
}

/// Exported evidence.
pub fn evidence() -> Vec<Vec<u8>> {
    vec![tacit_engine::evidence::encode(&blame())]
}

fn meters() -> Vec<Meter> {
    let meter = |what, until| Meter { what, limit: 10, used: 3, takes: 1, until };
    vec![meter(Metered::Jobs, None), meter(Metered::Keys, Some(UnixMillis(1_900_000_000_000)))]
}

/// Answers of a node.
pub fn from_node() -> Vec<Vec<u8>> {
    let fault = Fault::new(Code::RefusedColumn, "`age`");
    [
        FromNode::Admitted(Blob(decisions().swap_remove(0))),
        FromNode::Refused(Blob(decisions().swap_remove(1))),
        FromNode::Planned(Outlook::default()),
        FromNode::Planned(Outlook { objection: Some(fault.clone()), rule: "columns".into(), meters: meters() }),
        FromNode::Reserved,
        FromNode::Busy,
        FromNode::Started,
        FromNode::Attested(Blob(attestations().swap_remove(0))),
        FromNode::Cosigned("\u{2014} w.example/0 AAAA".into()),
        FromNode::WitnessHolds(12),
        FromNode::Released(Blob(encode(&Release { point: [3; 32] }))),
        FromNode::Done,
        FromNode::Failed(fault),
    ]
    .iter()
    .map(encode)
    .collect()
}

fn links() -> Option<Linked> {
    Some(Linked { root: Hash([4; 32]), differing: vec![Seat(2)], unsealed: 1 })
}

/// Requests to the coordinator.
pub fn to_coordinator() -> Vec<Vec<u8>> {
    let job = JobId([8; 32]);
    let finish = |finished| Finish { job, attempt: Attempt(1), finished, blames: vec![blame()], links: links() };
    let ok = Finished::Ok {
        package: Some(Package::Inline(sealed_results().swap_remove(0).into())),
        survivors: vec![Seat(0), Seat(1), Seat(2)],
        cells_in: 12,
        payload_bytes: 96,
        cells_out: 4,
        cells_suppressed: 1,
        opened: vec![("counts".into(), 6)],
    };
    let failed = Finished::Failed {
        code: Code::JobPeerLost,
        step: Some(Step::new(2, 3)),
        seat: Some(Seat(1)),
        hint: "bank-b".into(),
        input_sent: true,
    };
    [
        ToCoordinator::Invitation { code: "00112233445566778899aabbccddeeff".into() },
        ToCoordinator::Enrol { code: "00".into(), card: signed_card().into(), address: "bank-a.example:7402".into() },
        ToCoordinator::Register { address: String::new(), datasets: vec![signed_dataset().into()], slots: 4 },
        ToCoordinator::Report(finish(ok)),
        ToCoordinator::Report(finish(failed)),
        ToCoordinator::Progress { job, step: Step::new(1, 1) },
        ToCoordinator::PutContract(vec![signature().into()]),
        ToCoordinator::Contract(contract().id()),
        ToCoordinator::Submit { job: signed_job().into() },
        ToCoordinator::Jobs { before: Some(job), limit: 100 },
        ToCoordinator::Watch { job, seen: 3, wait_ms: 20_000 },
        ToCoordinator::Leaves { from: 0, limit: 100 },
        ToCoordinator::Beside(vec![StatementId([7; 32])]),
        ToCoordinator::Invite { name: name("bank-b"), role: "node".into(), ttl_ms: 86_400_000 },
        ToCoordinator::Ping,
        ToCoordinator::Record(job),
        ToCoordinator::Papers(job),
    ]
    .iter()
    .map(encode)
    .collect()
}

/// Answers of the coordinator.
pub fn from_coordinator() -> Vec<Vec<u8>> {
    let trust = World::new(3).trust();
    let log = LogInfo {
        origin: trust.origin,
        coordinator: trust.coordinator,
        log_key: trust.log_key,
        witnesses: trust.witnesses,
        quorum: trust.quorum,
        rotations: rotations().into_iter().map(Blob).collect(),
    };
    let entry = RosterEntry { card: signed_card().into(), address: String::new(), online: true };
    let result = SealedResult {
        job: signed_job().into(),
        package: Package::Deposited { hash: tacit_crypto::sha256(&sealed_results().swap_remove(0)), bytes: 700_000 },
        releases: vec![(Seat(0), Blob(encode(&Release { point: [3; 32] })))],
        leaf: leaves().swap_remove(2).into(),
        proof: tlog_proofs().swap_remove(0).into(),
    };
    let objection = Some(Fault::new(Code::RefusedColumn, "`age`"));
    let answer = PlanAnswer { party: name("bank-a"), objection, rule: "columns".into(), meters: meters() };
    [
        FromCoordinator::Done,
        FromCoordinator::Invitation { name: name("bank-a"), role: "node".into() },
        FromCoordinator::Enrolled { name: name("bank-a"), roster: vec![entry], log },
        FromCoordinator::Planned(vec![answer]),
        FromCoordinator::Result(Box::new(result)),
        FromCoordinator::Leaves(leaves().into_iter().map(Blob).collect()),
        FromCoordinator::Beside(leaves().into_iter().map(Blob).collect()),
        FromCoordinator::Invited(invitation_line()),
        FromCoordinator::Record { record: records().swap_remove(0).into(), evidence: Vec::new() },
    ]
    .iter()
    .map(encode)
    .collect()
}

/// Chunks between seats.
pub fn message_frames() -> Vec<Vec<u8>> {
    let address = Address {
        job: JobId([8; 32]),
        attempt: Attempt(1),
        step: Step::new(1, 2),
        from: Seat(0),
        to: Seat(2),
        sequence: 1,
    };
    vec![Message { address, total: 5, body: vec![1, 2, 3, 4, 5] }.into_frame()]
}

/// A result under the survivors' blinding, and a release.
pub fn sealed_results() -> Vec<Vec<u8>> {
    let blinded = Blinded {
        transcript: Hash([1; 32]),
        recipient: seal_key(9).public(),
        width: Width::W128,
        vector: Blob(vec![5; 64]),
        headers: Vec::new(),
    };
    vec![encode(&blinded), encode(&Release { point: [3; 32] })]
}

/// Vector bytes.
pub fn vectors() -> Vec<Vec<u8>> {
    vec![(0..64).collect()]
}

fn world() -> World {
    let mut world = World::new(3);
    world.job(1);
    world
}

/// Usage records.
pub fn records() -> Vec<Vec<u8>> {
    vec![cbor::encode(&World::new(3).record(1))]
}

/// Bodies of attestations.
pub fn attestations() -> Vec<Vec<u8>> {
    let mut world = World::new(3);
    let record = world.record(1);
    vec![cbor::encode(world.attest(0, &record).body())]
}

/// Bodies of receipts.
pub fn joint_receipts() -> Vec<Vec<u8>> {
    let mut world = World::new(3);
    let record = world.record(1);
    let attestations = world.attest_all(&record);
    let assembled = tacit_receipts::assemble(record, &attestations, Vec::new()).expect("three attestations");
    vec![cbor::encode(&assembled.receipt)]
}

/// Leaves: registration, keys, a receipt, a late attestation.
pub fn leaves() -> Vec<Vec<u8>> {
    let mut world = world();
    let record = world.record(2);
    let late = world.attest(1, &record).bytes().to_vec();
    world.leaves.iter().cloned().chain([late]).chain(rotations()).chain(party_rotations()).collect()
}

/// Tiles of leaves, after their number.
pub fn entry_bundles() -> Vec<Vec<u8>> {
    let leaves = leaves();
    let framed = leaves.iter().flat_map(|l| (l.len() as u16).to_be_bytes().into_iter().chain(l.iter().copied()));
    vec![[leaves.len() as u8].into_iter().chain(framed).collect(), vec![0]]
}

/// Evidence: a whole log, a single leaf, and one with papers.
pub fn bundles() -> Vec<Vec<u8>> {
    let mut told = world().single(&[2]);
    let card = Statement::sign(&key(1), "card", AT, None, card());
    told.papers = vec![card.bytes().to_vec().into()];
    vec![world().bundle().to_bytes(), world().single(&[2]).to_bytes(), told.to_bytes()]
}

/// Bodies of papers.
pub fn papers() -> Vec<Vec<u8>> {
    let said =
        orders().iter().filter_map(|order| tacit_crypto::statement::Envelope::verify(order).ok()).collect::<Vec<_>>();
    let said = said.into_iter().map(|envelope| envelope.body).collect();
    [jobs(), contracts(), datasets(), cards(), decisions(), said].concat()
}

/// A link as a file shows it, its leaf, and the seals of its ends.
pub fn link_files() -> Vec<Vec<u8>> {
    let ends = (NodeId([1; 32]), NodeId([2; 32]));
    let (job, attempt) = (JobId([8; 32]), Attempt(1));
    let scope = LinkScope { job, attempt, session: Hash([3; 32]) };
    let flow = |from: &NodeId, to: &NodeId, frames: u8| {
        let mut chain = FlowChain::new(&scope, from, to);
        (0..frames).for_each(|n| chain.take(&[n; 9]));
        chain.flow()
    };
    let (there, back) = (flow(&ends.0, &ends.1, 3), flow(&ends.1, &ends.0, 2));
    let seal = |(from, to), flows| {
        LinkSeal::sign(&key(1), &scope, (from, to), flows, UnixMillis(1_795_000_000_000)).bytes().to_vec()
    };
    let (own, other) = (seal((ends.0, ends.1), (there, back)), seal((ends.1, ends.0), (back, there)));
    let leaf = LinkLeaf::new((&ends.0, &own), (&ends.1, Some(&other))).to_bytes();
    let alone = LinkLeaf::new((&ends.0, &own), (&ends.1, None)).to_bytes();
    let proof = LinkProof::new((job, attempt), ends, 0, &[leaf.clone(), alone.clone()]).expect("a place that there is");
    vec![proof.to_bytes(), leaf, alone, own, other]
}

/// What opens a figure: as its party keeps it, and sealed to a reader.
pub fn openings() -> Vec<Vec<u8>> {
    let mut rng = Rng::from_seed(&Secret::new([6; 32]));
    let attempt = (JobId([8; 32]), Attempt(1));
    let opening =
        tacit_receipts::Opening::new(&mut rng, attempt, key(2).id(), tacit_receipts::opening::DATASET_ROWS, 1234);
    let sealed = opening.seal(&mut rng, &seal_key(9).public()).expect("a reader's key");
    vec![opening.to_bytes().to_vec(), sealed]
}

/// Trust files.
pub fn trusts() -> Vec<Vec<u8>> {
    let trust = World::new(3).trust();
    let changed = Trust { rotations: rotations().into_iter().map(Into::into).collect(), ..trust.clone() };
    let moved = Trust { party_rotations: party_rotations().into_iter().map(Into::into).collect(), ..trust.clone() };
    vec![trust.to_bytes(), changed.to_bytes(), moved.to_bytes()]
}

/// A change of the key of a node, and of a witness, of the example log.
fn party_rotations() -> Vec<Vec<u8>> {
    let (world, times) = (World::new(3), (AT, AT.plus(3_600_000)));
    let of = [(KeyRole::Node, world.party(0).id(), 100, 180), (KeyRole::Witness, world.witness(0).key(), 50, 90)];
    let turn = |(role, id, old, new)| PartyRotation::sign(ORIGIN, (role, id), (&key(old), &key(new)), times);
    of.map(|of| turn(of).bytes().to_vec()).to_vec()
}

/// Two changes of the key of the example log.
fn rotations() -> Vec<Vec<u8>> {
    let world = World::new(3);
    vec![world.rotation(1, 21, 3_600_000), world.rotation(21, 22, 0)]
}

/// Files of such changes.
pub fn key_rotations() -> Vec<Vec<u8>> {
    vec![rotation::to_file(&rotations()), rotation::to_file(&[])]
}

/// Proof files.
pub fn tlog_proofs() -> Vec<Vec<u8>> {
    let world = world();
    let checkpoint = world.signed_checkpoint(world.tree.size());
    let proof = LogProof::build(&world.tree, 2, &checkpoint).expect("leaf 2 is in the tree");
    vec![proof.to_string().into_bytes()]
}

/// A leaf with its receipt.
pub struct CoseExample {
    pub leaf: Vec<u8>,
    pub receipt: Vec<u8>,
    pub origin: String,
    pub log: VerifierKey,
}

/// A leaf of the example log with its COSE receipt, made once.
pub fn cose_example() -> &'static CoseExample {
    static MADE: OnceLock<CoseExample> = OnceLock::new();
    MADE.get_or_init(|| {
        let world = world();
        let (leaf, log) = (world.leaves[2].clone(), crate::world::log_key());
        let signer = (&log, &crate::world::key(1));
        let receipt = cose::receipt(&world.tree, (2, world.tree.size()), &leaf, signer).expect("a receipt");
        CoseExample { leaf, receipt, origin: world.trust().origin, log: log.clone() }
    })
}

/// COSE receipts, alone and in their statement.
pub fn cose_receipts() -> Vec<Vec<u8>> {
    let example = cose_example();
    let whole = cose::attach(&example.leaf, std::slice::from_ref(&example.receipt)).expect("a statement");
    vec![example.receipt.clone(), whole]
}

/// The cosigned checkpoint of the example log, made once.
pub fn cosigned() -> Vec<u8> {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    MADE.get_or_init(|| world().cosigned(2)).clone()
}

/// Policies: that of the trust file, and one with groups of groups.
pub fn policies() -> Vec<Vec<u8>> {
    let text = Policy::write(&world().trust()).expect("a policy");
    let names: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("witness ")?.split(' ').next()).collect();
    let head: String = text
        .lines()
        .filter(|l| !l.starts_with("group") && !l.starts_with("quorum"))
        .map(|l| format!("{l}\n"))
        .collect();
    let nested =
        format!("# two of them\n{head}group x any {} {}\ngroup y all x {}\nquorum y\n", names[0], names[1], names[2]);
    vec![text.into_bytes(), nested.into_bytes()]
}

/// Texts of checkpoints.
pub fn checkpoints() -> Vec<Vec<u8>> {
    let world = world();
    vec![world.signed_checkpoint(world.tree.size()).checkpoint().to_string().into_bytes()]
}

/// Notes with and without cosignatures, and one line.
pub fn notes() -> Vec<Vec<u8>> {
    let world = world();
    let signed = world.signed_checkpoint(world.tree.size());
    let line = signed.note().signatures()[0].to_string();
    vec![world.cosigned(0), world.cosigned(2), line.into_bytes()]
}

/// Keys in text form.
pub fn verifier_keys() -> Vec<Vec<u8>> {
    let trust = World::new(3).trust();
    trust.witnesses.iter().take(1).chain([&trust.log_key]).map(|k| k.clone().into_bytes()).collect()
}

/// Requests to cosign.
pub fn add_checkpoints() -> Vec<Vec<u8>> {
    let note = world().cosigned(0);
    let proof = vec![Hash([1; 32]), Hash([2; 32])];
    vec![
        AddCheckpoint { old: 1, proof, note: note.clone() }.to_bytes(),
        AddCheckpoint { old: 0, proof: Vec::new(), note }.to_bytes(),
    ]
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|t| t.as_bytes().to_vec()).collect()
}

/// Filters.
pub fn filters() -> Vec<Vec<u8>> {
    texts(&["age >= 18 and (region in ('north', 'south') or not vip is null)", "\"a b\" != -1.25", "x is not null"])
}

/// Decimals.
pub fn decimals() -> Vec<Vec<u8>> {
    texts(&["-12.50", "0", "9223372036854775807", "0.000000000000000001"])
}

/// Addresses.
pub fn addresses() -> Vec<Vec<u8>> {
    texts(&["tacit.bank-a.example:7402", "[2001:db8::1]:7402", "192.0.2.1:1"])
}

fn invitation_line() -> String {
    let fingerprint = NodeId(key(2).id().0);
    format!("tacit1:tacit.example:7400#{fingerprint}#00112233445566778899aabbccddeeff")
}

/// Invitations.
pub fn invitations() -> Vec<Vec<u8>> {
    vec![invitation_line().into_bytes()]
}

/// Names, ids, codes.
pub fn names() -> Vec<Vec<u8>> {
    vec![b"bank-a".to_vec(), JobId([0xab; 32]).to_string().into_bytes(), b"refused.quota".to_vec()]
}
