//! A coordinator with every check of its own taken out: it sends what it likes, in any order, and each owner's rule holds all
//! the same. Every attack has a name and the code of its refusal; the table in `docs/THREAT_MODEL.md` lists them.

use tacit_governance::grade::Grade;
use tacit_governance::orders::{Denied, NegativeList, Verdict};
use tacit_governance::regrade::{self, Regrading, RegradingApproval};
use tacit_governance::{ContractParty, JobSpec, Order, Role, User};
use tacit_receipts::{AddCheckpoint, Checkpoint, MemTree, UsageRecord, merkle};

use super::*;

/// Where the table begins, and where it ends.
const TABLE: [&str; 2] = ["### What a coordinator without rules can try", "\n#"];

/// What a node answered, by attack.
#[derive(Default)]
struct Report(Vec<(&'static str, &'static str)>);

impl Report {
    fn takes(&mut self, attack: &'static str, answer: &FromNode) {
        let code = match answer {
            FromNode::Failed(fault) => fault.code,
            FromNode::Refused(bytes) => Statement::<tacit_governance::Refusal>::verify(bytes).unwrap().into_body().code,
            other => panic!("{attack}: {other:?}"),
        };
        self.0.push((attack, code.text()));
    }
}

impl World {
    /// An order to decide on a job, changed and signed by whom the attack likes, with the signatures of the contract.
    fn forged(&mut self, contract: &SignedContract, signer: u8, change: impl FnOnce(&mut JobSpec)) -> ToNode {
        let (_, bytes, contracts) = self.job(contract);
        let mut spec = JobSpec::verify(&bytes).unwrap().into_body();
        change(&mut spec);
        let job = Statement::sign(&key(signer), "job", crate::now(), None, spec);
        ToNode::Admit { job: Blob(job.bytes().to_vec()), contracts }
    }

    async fn tries(&mut self, contract: &SignedContract, signer: u8, change: impl FnOnce(&mut JobSpec)) -> FromNode {
        let request = self.forged(contract, signer, change);
        self.ask(&request).await
    }

    /// Jobs that took something of a contract.
    async fn taken(&self) -> i64 {
        self.rows("SELECT count(*) FROM jobs WHERE contract IS NOT NULL").await
    }
}

/// Parameters of a sum over a column.
fn sum_of(column: &str) -> Vec<u8> {
    let columns = std::collections::BTreeMap::from([(column.to_owned(), ColumnKind::Int)]);
    let written = serde_json::json!({"measures": [{"column": column, "statistics": ["sum"], "bound": "9"}]});
    tacit_jobs::kind("stats/v1").unwrap().params(written, &columns).unwrap()
}

/// Jobs that no contract of this owner's covers.
async fn jobs(world: &mut World, report: &mut Report) {
    let unsigned = world.contract("unsigned", 60_000, false);
    report.takes("a contract that this owner has not signed", &world.tries(&unsigned, OPERATOR, |_| {}).await);
    let good = world.contract("good", 60_000, true);
    let request = match world.forged(&good, OPERATOR, |_| {}) {
        ToNode::Admit { job, .. } => ToNode::Admit { job, contracts: Vec::new() },
        other => other,
    };
    report.takes("a contract whose signatures it keeps back", &world.ask(&request).await);
    // Wider terms under the signatures of the narrower ones.
    let wider = world.agreed(|c| c.quota.jobs = 1_000);
    let request = match world.forged(&wider, OPERATOR, |_| {}) {
        ToNode::Admit { job, .. } => {
            let narrow = good.statements().map(|(_, bytes)| Blob(bytes.to_vec())).collect();
            ToNode::Admit { job, contracts: vec![narrow] }
        }
        other => other,
    };
    report.takes("wider terms with the signatures of others", &world.ask(&request).await);
    let ended = world.agreed(|c| (c.valid_from, c.valid_until) = (UnixMillis(1), UnixMillis(2)));
    report.takes("a contract that has ended", &world.tries(&ended, OPERATOR, |_| {}).await);
    report.takes("a job that it signs itself", &world.tries(&good, COORDINATOR, |_| {}).await);
    let mut altered = world.forged(&good, OPERATOR, |_| {});
    if let ToNode::Admit { job, .. } = &mut altered {
        let last = job.0.len() - 1;
        job.0[last] ^= 1;
    }
    report.takes("a job with a byte altered", &world.ask(&altered).await);
    let late = world.tries(&good, OPERATOR, |job| {
        (job.created_at, job.expires_at) = (UnixMillis(crate::now().0 - 9_000), UnixMillis(crate::now().0 - 1));
    });
    let late = late.await;
    report.takes("a job that has expired", &late);
    let early = world.tries(&good, OPERATOR, |job| {
        (job.created_at, job.expires_at) = (crate::now().plus(600_000), crate::now().plus(660_000));
    });
    let early = early.await;
    report.takes("a job of the future", &early);
    let other = world.tries(&good, OPERATOR, |job| job.purpose = "marketing".into()).await;
    report.takes("another purpose", &other);
    report.takes("another kind", &world.tries(&good, OPERATOR, |job| job.kind = "stats/v1".into()).await);
    let floor = world.tries(&good, OPERATOR, |job| job.cohort = Cohort { rows: 9, contributors: 2 }).await;
    report.takes("a lower floor", &floor);
    let to = world.tries(&good, OPERATOR, |job| job.recipient = SealPublic([8; 32])).await;
    report.takes("another recipient", &to);
    let version = DatasetVersionId([1; 32]);
    let data = world.tries(&good, OPERATOR, |job| job.providers[0].dataset = version).await;
    report.takes("another dataset version", &data);
    let view = world.tries(&good, OPERATOR, |job| job.providers[0].view = "all".into()).await;
    report.takes("another view", &view);
    let own = key(COORDINATOR).id();
    let more = world.tries(&good, OPERATOR, |job| job.providers[1].owner = own).await;
    report.takes("a provider of its own in the place of one", &more);
    let demands = world.agreed(|c| {
        c.operators.push(own);
        c.parties.push(ContractParty { name: name("host"), root: own, role: Role::Coordinator });
        c.users.push(User { root: own, node: own, seal: SealPublic([8; 32]) });
    });
    report.takes("a contract in which it operates", &world.tries(&demands, COORDINATOR, |_| {}).await);
}

/// What terms of one contract and words of the owner forbid.
async fn terms(world: &mut World, report: &mut Report) {
    let sums = world.agreed(|c| c.kinds = vec!["stats/v1".into()]);
    let column = world.tries(&sums, OPERATOR, |job| (job.kind, job.params) = ("stats/v1".into(), sum_of("m"))).await;
    report.takes("a column that is not granted", &column);
    let checked = world.agreed(|c| (c.checked, c.kinds) = (true, vec!["stats/v1".into()]));
    let plain = world.tries(&checked, OPERATOR, |job| (job.kind, job.params) = ("stats/v1".into(), sum_of("n"))).await;
    report.takes("sums that nobody checks", &plain);
    let priced = world.agreed(|c| c.price_plan = Some(Hash([9; 32])));
    report.takes("a price that is not signed", &world.tries(&priced, OPERATOR, |_| {}).await);
    let waiting = world.controlled();
    report.takes("a contract without its approvals", &world.tries(&waiting, OPERATOR, |_| {}).await);
    let revoked = world.agreed(|c| c.name = name("revoked"));
    world.store().revoke(&revoked.id(), crate::now()).await.unwrap();
    report.takes("a contract that this owner has revoked", &world.tries(&revoked, OPERATOR, |_| {}).await);
    let private = world.private_contract();
    let exact = world.tries(&private, OPERATOR, |job| (job.kind, job.params) = ("stats/v1".into(), sum_of("n"))).await;
    report.takes("exact numbers where noise was agreed", &exact);
    let before = world.taken().await;
    assert!(matches!(world.ask_private(&private, "0.5", 1).await.1, FromNode::Admitted(_)));
    report.takes("the same question again, for less noise", &world.ask_private(&private, "0.5", 1).await.1);
    report.takes("more epsilon than a job may cost", &world.ask_private(&private, "0.6", 2).await.1);
    assert!(matches!(world.ask_private(&private, "0.5", 2).await.1, FromNode::Admitted(_)));
    report.takes("more epsilon than is left", &world.ask_private(&private, "0.1", 3).await.1);
    assert_eq!(world.taken().await, before + 2, "what was refused took nothing");
    let narrow = world.agreed(|c| c.quota.jobs = 1);
    world.admit(&narrow).await;
    report.takes("one more than the quota", &world.tries(&narrow, OPERATOR, |_| {}).await);
}

/// Attempts that nobody agreed to.
async fn attempts(world: &mut World, report: &mut Report) {
    let good = world.agreed(|c| c.name = name("attempts"));
    let unknown = JobId([3; 32]);
    report.takes("an attempt of a job that was never put", &world.begin(unknown, 1, 101, 1_000).await);
    let refused = {
        let (id, ..) = world.job(&good);
        let request = world.forged(&good, OPERATOR, |job| job.purpose = "marketing".into());
        let ToNode::Admit { job, .. } = &request else { panic!("{id}") };
        let id = JobSpec::id(&JobSpec::verify(job).unwrap());
        assert!(matches!(world.ask(&request).await, FromNode::Refused(_)));
        id
    };
    report.takes("a place for a job that was refused", &world.reserve(refused, 1).await);
    report.takes("an attempt of a job that was refused", &world.begin(refused, 1, 101, 1_000).await);
    let job = world.admit(&good).await;
    report.takes("an attempt without a place", &world.begin(job, 1, 101, 1_000).await);
    assert_eq!(world.reserve(job, 1).await, FromNode::Reserved);
    let start = |assignment| ToNode::Start { assignment };
    world.store().put_party(&card(1, 101), "").await.unwrap();
    report.takes("another node key of a party", &world.begin(job, 1, 77, 1_000).await);
    let mut stranger = world.assignment(job, 1, 101, 1_000);
    stranger.seats[2].card = Blob(card(COORDINATOR, 109));
    report.takes("a stranger's seat", &world.ask(&start(stranger)).await);
    let mut fewer = world.assignment(job, 1, 101, 1_000);
    fewer.seats.pop();
    report.takes("fewer seats than the job has parties", &world.ask(&start(fewer)).await);
    let mut twice = world.assignment(job, 1, 101, 1_000);
    twice.seats[2] = twice.seats[1].clone();
    report.takes("one party in two seats", &world.ask(&start(twice)).await);
    let mut aggregator = world.assignment(job, 1, 101, 1_000);
    aggregator.aggregator = key(COORDINATOR).id();
    report.takes("itself as the aggregator", &world.ask(&start(aggregator)).await);
    let kept = world.store().job(&job).await.unwrap().unwrap();
    assert_eq!(kept.attempt, 0, "no attempt was begun");
    world.store().revoke(&good.id(), crate::now()).await.unwrap();
    report.takes("an attempt under a contract that was revoked", &world.begin(job, 1, 101, 1_000).await);
    report.takes("a place under a contract that was revoked", &world.reserve(job, 2).await);
    let other = world.agreed(|c| c.name = name("closed"));
    let job = world.admit(&other).await;
    assert_eq!(world.reserve(job, 1).await, FromNode::Reserved);
    assert_eq!(world.begin(job, 1, 101, 60_000).await, FromNode::Started);
    world.finished(job).await;
    // The same order again is answered and not carried out; the number of before is burned.
    assert_eq!(world.begin(job, 1, 101, 60_000).await, FromNode::Started);
    report.takes("a place for an attempt that was made", &world.reserve(job, 1).await);
    assert_eq!(world.ask(&ToNode::Close { job, terminal: Terminal::Cancelled }).await, FromNode::Done);
    assert_eq!(world.reserve(job, 2).await, FromNode::Reserved);
    report.takes("an attempt after the job has ended", &world.begin(job, 2, 101, 60_000).await);
    assert_eq!(world.store().job(&job).await.unwrap().unwrap().attempt, 1);
}

/// Lies about what happened: records, and histories of the log.
async fn records(world: &mut World, report: &mut Report) {
    let good = world.agreed(|c| c.name = name("records"));
    let job = world.admit(&good).await;
    for n in [1, 2] {
        world.store().put_party(&card(n, 100 + n), "").await.unwrap();
    }
    let kept = world.store().job(&job).await.unwrap().unwrap();
    let own = world.keys.card(&name("a"), PartyRole::Partner, crate::now());
    world.store().put_party(own.bytes(), "").await.unwrap();
    let spec = kept.job().unwrap();
    let part = |(root, node): (NodeId, NodeId)| tacit_engine::record::Part {
        name: name("a"),
        node,
        root,
        standing: tacit_receipts::Standing::TookPart,
        finished: None,
        links: None,
    };
    let nodes = [world.keys.node.id(), key(101).id(), key(102).id()];
    let record: UsageRecord = tacit_engine::record::assemble(tacit_engine::record::Ended {
        job: &spec,
        origin: "log.example",
        attempt: Attempt(1),
        status: tacit_receipts::Status::Ok,
        parties: world.owners().into_iter().zip(nodes).map(part).collect(),
        span: (crate::now(), crate::now()),
        evidence: &[],
    });
    let record = Blob(tacit_crypto::cbor::encode(&record));
    let attest = ToNode::Attest { job, record: record.clone(), evidence: Vec::new() };
    report.takes("a record of a result that was never made", &world.ask(&attest).await);
    let attest = ToNode::Attest { job: JobId([3; 32]), record, evidence: Vec::new() };
    report.takes("a record of a job that was never put", &world.ask(&attest).await);
    assert!(world.store().job(&job).await.unwrap().unwrap().attested.is_none());
    let log = VerifierKey::new("log.example", KeyKind::Ed25519, key(8).id()).unwrap();
    let cosign = |old: u64, leaves: &[&[u8]], proof: Vec<Hash>, signer: u8| {
        let mut tree = MemTree::default();
        leaves.iter().for_each(|leaf| tree.push(merkle::leaf_hash(leaf)));
        let head = Checkpoint { origin: "log.example".into(), size: leaves.len() as u64, root: tree.root() };
        let key_of = VerifierKey::new("log.example", KeyKind::Ed25519, key(signer).id()).unwrap();
        let note = head.sign(if signer == 8 { &log } else { &key_of }, &key(signer)).unwrap().to_bytes();
        ToNode::Cosign { request: Blob(AddCheckpoint { old, proof, note }.to_bytes()) }
    };
    let forged = cosign(0, &[b"a"], Vec::new(), COORDINATOR);
    report.takes("a checkpoint that the log has not signed", &world.ask(&forged).await);
    let honest = world.ask(&cosign(0, &[b"a", b"b"], Vec::new(), 8)).await;
    assert!(matches!(honest, FromNode::Cosigned(_)), "{honest:?}");
    report.takes("another history of the same length", &world.ask(&cosign(2, &[b"a", b"c"], Vec::new(), 8)).await);
    report.takes("a log that has gone back", &world.ask(&cosign(1, &[b"a"], Vec::new(), 8)).await);
}

/// What the owner has graded anew is of that grade, and of a lower one only where two others have said so.
async fn grades(world: &mut World, report: &mut Report) {
    let mut contract = world.controlled();
    for approver in [20, 21] {
        contract.approve(&key(approver), Verdict::Approve, "", crate::now()).unwrap();
    }
    let regrading = |number: u64, from: u8, to: u8| Regrading {
        dataset: world.dataset,
        column: None,
        number,
        from: Grade(from),
        to: Grade(to),
        evidence: Hash([1; 32]),
        reason: "measured".into(),
    };
    let (up, down) = (regrading(1, 1, 5), regrading(2, 5, 1));
    let sign = |body| Statement::sign(&world.keys.root, "grade", crate::now(), None, body);
    let (up, down) = (sign(up), sign(down));
    let read = |bytes: &[u8]| Order::read(bytes).unwrap();
    world.store().put_order(&read(up.bytes()), crate::now()).await.unwrap();
    report.takes("data that its owner has graded higher since", &world.tries(&contract, OPERATOR, |_| {}).await);
    let body = RegradingApproval { regrading: regrade::id(&down), verdict: Verdict::Approve, reason: "seen".into() };
    let said = |by: u8| Statement::sign(&key(by), "grade", crate::now(), None, body.clone());
    // The chief data officer, and somebody whom the contract does not name.
    for bytes in [down.bytes(), said(21).bytes(), said(COORDINATOR).bytes()] {
        world.store().put_order(&read(bytes), crate::now()).await.unwrap();
    }
    report.takes("data graded lower with its own approval", &world.tries(&contract, OPERATOR, |_| {}).await);
    // With the trustee's the rule is kept to, and the next one that is not refuses.
    world.store().put_order(&read(said(20).bytes()), crate::now()).await.unwrap();
    let after = world.tries(&contract, OPERATOR, |_| {}).await;
    let FromNode::Refused(bytes) = &after else { panic!("{after:?}") };
    let refusal = Statement::<tacit_governance::Refusal>::verify(bytes).unwrap().into_body();
    assert_eq!(refusal.code, Code::RefusedParties, "{}", refusal.reason);
}

/// What the owner has put on its own list goes before everything.
async fn lists(world: &mut World, report: &mut Report) {
    let good = world.agreed(|c| c.name = name("listed"));
    let items = vec![Denied { kind: Some("count/v1".into()), ..Denied::default() }];
    let list = NegativeList { name: "own".into(), number: 1, reason: "no".into(), items, until: None };
    let order = Order::read(Statement::sign(&key(30), "own", crate::now(), None, list).bytes()).unwrap();
    world.store().put_order(&order, crate::now()).await.unwrap();
    report.takes("what this owner's list denies", &world.tries(&good, OPERATOR, |_| {}).await);
}

/// The rows of the table: attack and code.
fn table() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/THREAT_MODEL.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(TABLE[0]).expect("the table's heading");
    let rows = rest.split(TABLE[1]).next().unwrap().lines().filter(|l| l.starts_with("| ")).skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].to_owned(), cells[1].trim_matches('`').to_owned())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_of_the_table_is_refused_by_its_code() {
    let mut world = World::new("attacks").await;
    let mut report = Report::default();
    jobs(&mut world, &mut report).await;
    assert_eq!(world.taken().await, 0, "nothing was admitted");
    terms(&mut world, &mut report).await;
    attempts(&mut world, &mut report).await;
    records(&mut world, &mut report).await;
    grades(&mut world, &mut report).await;
    lists(&mut world, &mut report).await;
    assert!(world.node.inner().respond(key(COORDINATOR).id(), b"no request at all").await.is_none());
    let seen: Vec<(String, String)> = report.0.iter().map(|(a, c)| ((*a).to_owned(), (*c).to_owned())).collect();
    let written: String = seen.iter().map(|(attack, code)| format!("| {attack} | `{code}` |\n")).collect();
    assert_eq!(table(), seen, "the table should be\n{written}");
    let running = world.node.inner().slots.lock().unwrap().values().filter(|slot| slot.cancel.is_some()).count();
    assert_eq!(running, 0, "and nothing runs");
    world.end().await;
}
