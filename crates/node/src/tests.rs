//! What a coordinator that keeps to no rule gets out of a node: requests as they come over the wire,
//! to a node whose coordinator never answers.

use std::path::PathBuf;

use tacit_crypto::{SealPublic, Secret, SigningKey, Statement};
use tacit_engine::control::{Seated, ToNode};
use tacit_engine::{Assignment, Finished, FromNode, Terminal};
use tacit_governance::{
    Cohort, ColumnGrant, ColumnInfo, ColumnKind, Contract, ContractParty, DatasetDescriptor, DatasetGrant, JobSpec,
    Level, Metered, PartyCard, PartyRole, ProviderRef, Quota, Role, SignedContract, User,
};
use tacit_receipts::{KeyKind, VerifierKey};
use tacit_types::wire::{self, Blob};
use tacit_types::{Attempt, Code, DatasetVersionId, Fault, Hash, JobId, Name, NodeId, UnixMillis};

use crate::daemon::DATABASE_FILE;
use crate::serve::REFUSED_IN_MEMORY_MAX;
use crate::store::{DatasetRow, EGRESS_ROWS_MAX, EXPIRED_KEPT_MS, OPEN_ROWS_MAX, PARTIES_MAX, REFUSED_ROWS_MAX, Store};
use crate::{Config, Keys, Node};

mod attacks;
mod control;
mod crash;
mod difference;
mod egress;
mod expired;
mod private;
mod rollback;
mod told;

const OPERATOR: u8 = 5;
const COORDINATOR: u8 = 9;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([n; 32]))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A node in a folder of its own, with one dataset.
pub(crate) struct World {
    home: PathBuf,
    pub(crate) node: Node,
    keys: Keys,
    dataset: DatasetVersionId,
    view: &'static str,
    attempt_ms: u64,
    valid_ms: u64,
    serial: u32,
}

impl World {
    pub(crate) async fn new(test: &str) -> Self {
        Self::at(test, "127.0.0.1:9").await
    }

    /// One whose coordinator is at an address.
    async fn at(test: &str, coordinator: &str) -> Self {
        let home = std::env::temp_dir().join(format!("tacit-node-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        let keys = Keys::create(&home).unwrap();
        let log_key = VerifierKey::new("log.example", KeyKind::Ed25519, key(8).id()).unwrap();
        let config = format!(
            "name = \"a\"\nrole = \"node\"\nlisten = \"127.0.0.1:0\"\n[coordinator]\naddress = \"{coordinator}\"\n\
             fingerprint = \"{}\"\norigin = \"log.example\"\nlog_key = \"{log_key}\"\n",
            key(COORDINATOR).id()
        );
        std::fs::write(home.join(crate::config::CONFIG_FILE), &config).unwrap();
        Config::read(&home).unwrap();
        let node = Node::start(&home).await.unwrap();
        node.inner().recount.skip();
        let descriptor = DatasetDescriptor {
            format: 1,
            owner: keys.root.id(),
            name: name("data"),
            version: 1,
            columns: vec![ColumnInfo { name: "n".into(), kind: ColumnKind::Int, levels: Level::ALL.to_vec() }],
            row_bucket: 1000,
            commitment: Hash([0; 32]),
            views: vec!["data".into()],
            aligned: None,
            terms: None,
        };
        let signed = Statement::sign(&keys.root, "data", crate::now(), None, descriptor);
        let dataset = DatasetVersionId(tacit_crypto::sha256(signed.bytes()).0);
        let row = DatasetRow {
            name: "data".into(),
            version: 1,
            id: dataset,
            registration: "{}".into(),
            descriptor: signed.bytes().to_vec(),
            rows: 1000,
            added_at: crate::now(),
        };
        node.inner().store.put_dataset(&row).await.unwrap();
        Self { home, node, keys, dataset, view: "data", attempt_ms: 60_000, valid_ms: 60_000, serial: 0 }
    }

    fn store(&self) -> &Store {
        &self.node.inner().store
    }

    async fn ask(&self, request: &ToNode) -> FromNode {
        let answer = self.node.inner().respond(key(COORDINATOR).id(), &wire::encode(request)).await;
        wire::decode(&answer.unwrap()).unwrap()
    }

    fn owners(&self) -> [NodeId; 3] {
        [self.keys.root.id(), key(1).id(), key(2).id()]
    }

    /// A contract that everybody has signed, this owner too if it is asked to.
    fn contract(&self, called: &str, valid_ms: u64, ours: bool) -> SignedContract {
        let now = crate::now();
        let party = |(i, root): (usize, NodeId)| ContractParty {
            name: name(&format!("p{i}")),
            root,
            role: if i < 3 { Role::Provider } else { Role::Demander },
        };
        let roots = self.owners().into_iter().chain([key(4).id()]);
        let grant = |owner: NodeId| DatasetGrant {
            owner,
            dataset: self.dataset,
            views: vec![self.view.into()],
            columns: vec![ColumnGrant { name: "n".into(), levels: vec![Level::AfterAggregate] }],
        };
        let mut contract = SignedContract::draft(Contract {
            version: 1,
            name: name(called),
            parties: roots.enumerate().map(party).collect(),
            datasets: self.owners().map(grant).to_vec(),
            kinds: vec!["count/v1".into()],
            purpose: "tests".into(),
            recipients: vec![SealPublic([7; 32])],
            operators: vec![key(OPERATOR).id()],
            users: vec![User { root: key(4).id(), node: key(OPERATOR).id(), seal: SealPublic([7; 32]) }],
            cohort: Cohort { rows: 10, contributors: 2 },
            quota: Quota { jobs: 9 },
            valid_from: UnixMillis(now.0 - 10_000),
            valid_until: now.plus(valid_ms),
            models: Vec::new(),
            scoring: None,
            alignment: None,
            checked: false,
            privacy: None,
            exact: None,
            price_plan: None,
            control: None,
            lifecycle: None,
        });
        for n in [1, 2, 4] {
            contract.sign(&key(n), now).unwrap();
        }
        if ours {
            contract.sign(&self.keys.root, now).unwrap();
        }
        contract
    }

    /// A job under a contract, as its id, its bytes and what comes with it.
    fn job(&mut self, contract: &SignedContract) -> (JobId, Blob, Vec<Vec<Blob>>) {
        self.serial += 1;
        let now = crate::now();
        let params = tacit_jobs::kind("count/v1").unwrap().params(serde_json::json!({}), &Default::default()).unwrap();
        let provider = |owner| ProviderRef { owner, dataset: self.dataset, view: self.view.into() };
        let spec = JobSpec {
            version: 1,
            kind: "count/v1".into(),
            params,
            contracts: vec![contract.id()],
            providers: self.owners().map(provider).to_vec(),
            purpose: "tests".into(),
            recipient: SealPublic([7; 32]),
            cohort: Cohort { rows: 10, contributors: 2 },
            nonce: self.serial.to_be_bytes().repeat(4),
            created_at: now,
            expires_at: now.plus(self.valid_ms),
            attempt_ms: self.attempt_ms,
            models: Vec::new(),
            dealer: None,
            asker: None,
            attachments: Vec::new(),
        };
        let job = Statement::sign(&key(OPERATOR), "job", now, None, spec);
        let signatures = contract.statements().map(|(_, bytes)| Blob(bytes.to_vec())).collect();
        (JobSpec::id(&job), Blob(job.bytes().to_vec()), vec![signatures])
    }

    async fn admit(&mut self, contract: &SignedContract) -> JobId {
        let (id, job, contracts) = self.job(contract);
        let answer = self.ask(&ToNode::Admit { job, contracts }).await;
        assert!(matches!(answer, FromNode::Admitted(_)), "{answer:?}");
        id
    }

    async fn start(&self, job: JobId, attempt: u32, first_node: u8) -> FromNode {
        assert_eq!(self.reserve(job, attempt).await, FromNode::Reserved);
        self.begin(job, attempt, first_node, u64::MAX).await
    }

    async fn reserve(&self, job: JobId, attempt: u32) -> FromNode {
        self.ask(&ToNode::Reserve { job, attempt: Attempt(attempt), ttl_ms: 60_000 }).await
    }

    async fn begin(&self, job: JobId, attempt: u32, first_node: u8, ms: u64) -> FromNode {
        self.ask(&ToNode::Start { assignment: self.assignment(job, attempt, first_node, ms) }).await
    }

    fn assignment(&self, job: JobId, attempt: u32, first_node: u8, ms: u64) -> Assignment {
        let attempt = Attempt(attempt);
        let own = self.keys.card(&name("a"), PartyRole::Partner, crate::now());
        let cards = [own.bytes().to_vec(), card(1, first_node), card(2, 102)];
        Assignment {
            job,
            attempt,
            seats: cards.into_iter().map(|c| Seated { card: Blob(c), address: "127.0.0.1:9".into() }).collect(),
            aggregator: self.keys.node.id(),
            budget_ms: ms,
            step_ms: ms,
        }
    }

    /// Registers a dataset that can be read, so that an attempt goes on to wait for its peers.
    async fn readable(&mut self) {
        let path = self.home.join("t.csv");
        std::fs::write(&path, "n\n1\n2\n3\n4\n").unwrap();
        let source = tacit_data::Source::parse(path.to_str().unwrap()).unwrap();
        let options = crate::datasets::AddOptions { all: Some(vec![Level::AfterAggregate]), ..Default::default() };
        let (called, sources) = (name("table"), Default::default());
        let added = crate::datasets::add(self.store(), &self.keys, &called, source, &sources, options);
        self.dataset = added.await.unwrap().0.id;
        self.view = "table";
    }

    /// How the last attempt at a job ended, once it has.
    async fn finished(&self, job: JobId) -> Finished {
        for _ in 0..600 {
            if let Some(finished) = self.store().job(&job).await.unwrap().unwrap().finished {
                return finished;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("the attempt does not end");
    }

    fn slots(&self) -> usize {
        self.node.inner().slots.lock().unwrap().len()
    }

    /// Rows of a table, seen from beside the node.
    async fn rows(&self, sql: &'static str) -> i64 {
        let url = format!("sqlite://{}", self.home.join(DATABASE_FILE).display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let n = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
        pool.close().await;
        n
    }

    pub(crate) async fn end(self) {
        self.node.stop().await;
        std::fs::remove_dir_all(&self.home).unwrap();
    }
}

/// The card of another party, with the node key that it likes.
fn card(root: u8, node: u8) -> Vec<u8> {
    let card = PartyCard {
        version: 1,
        name: name(&format!("p{root}")),
        root: key(root).id(),
        node: key(node).id(),
        seal: SealPublic([7; 32]),
        witness: key(root + 200).id(),
        role: PartyRole::Partner,
        issued_at: UnixMillis(1),
    };
    Statement::sign(&key(root), "card", UnixMillis(1), None, card).bytes().to_vec()
}

fn code(answer: &FromNode) -> Option<Code> {
    let FromNode::Failed(Fault { code, .. }) = answer else { return None };
    Some(*code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contracts_that_the_owner_has_not_signed_are_not_kept() {
    let mut world = World::new("contracts").await;
    let good = world.contract("good", 60_000, true);
    let (_, job, contracts) = world.job(&good);
    let FromNode::Planned(outlook) = world.ask(&ToNode::Plan { job, contracts }).await else { panic!("no plan") };
    assert_eq!((outlook.objection, outlook.rule.as_str()), (None, ""));
    let limits: Vec<_> = outlook.meters.iter().map(|m| (m.what, m.used, m.takes, m.after())).collect();
    let jobs = good.body().quota.jobs;
    assert_eq!(limits, [(Metered::Jobs, 0, 1, Some(jobs - 1))]);
    assert!(world.store().contracts().await.unwrap().is_empty(), "a plan keeps nothing");
    let forged = world.contract("forged", 60_000, false);
    let (_, job, contracts) = world.job(&forged);
    let FromNode::Refused(refusal) = world.ask(&ToNode::Admit { job, contracts }).await else { panic!("admitted") };
    let refusal = Statement::<tacit_governance::Refusal>::verify(&refusal).unwrap().into_body();
    assert_eq!(refusal.code, Code::RefusedContractIncomplete);
    assert!(world.store().contracts().await.unwrap().is_empty());
    world.admit(&good).await;
    let kept = world.store().contracts().await.unwrap();
    assert_eq!(kept.iter().map(|c| (c.id(), c.signatures().len())).collect::<Vec<_>>(), [(good.id(), 4)]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_another_key_of_a_party_takes_nothing() {
    let mut world = World::new("start").await;
    let contract = world.contract("good", 60_000, true);
    world.store().put_party(&card(1, 101), "").await.unwrap();
    for _ in 0..=crate::config::SLOTS_DEFAULT {
        let job = world.admit(&contract).await;
        assert_eq!(code(&world.start(job, 1, 77).await), Some(Code::NetFingerprint));
        assert_eq!(world.store().job(&job).await.unwrap().unwrap().attempt, 0, "the number is not spent");
        let end = ToNode::Close { job, terminal: Terminal::Expired };
        assert_eq!(world.ask(&end).await, FromNode::Done);
    }
    // Every slot is still there: the next one runs, and ends here because the dataset is broken.
    let job = world.admit(&contract).await;
    assert_eq!(world.start(job, 1, 101).await, FromNode::Started);
    for _ in 0..400 {
        if world.store().job(&job).await.unwrap().unwrap().finished.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert!(world.store().job(&job).await.unwrap().unwrap().finished.is_some());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admission_is_good_for_as_long_as_its_contract() {
    let mut world = World::new("expired").await;
    let short = world.contract("short", 1_500, true);
    let job = world.admit(&short).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
    assert_eq!(code(&world.start(job, 1, 101).await), Some(Code::RefusedContractExpired));
    let long = world.contract("long", 60_000, true);
    let job = world.admit(&long).await;
    assert_eq!(world.ask(&ToNode::Reserve { job, attempt: Attempt(1), ttl_ms: 9_000 }).await, FromNode::Reserved);
    world.store().revoke(&long.id(), crate::now()).await.unwrap();
    let answer = world.ask(&ToNode::Reserve { job, attempt: Attempt(1), ttl_ms: 9_000 }).await;
    assert_eq!(code(&answer), Some(Code::RefusedContractRevoked));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_job_undoes_nothing_of_it() {
    let mut world = World::new("end").await;
    let contract = world.contract("good", 60_000, true);
    let job = world.admit(&contract).await;
    let store = world.store();
    let mut kept = store.job(&job).await.unwrap().unwrap();
    kept.attempt = 1;
    kept.input_sent = true;
    kept.attested = Some((Hash([3; 32]), Blob(vec![4])));
    let mut tx = store.begin().await.unwrap();
    tx.put_job(&job, &kept).await.unwrap();
    tx.commit().await.unwrap();
    assert!(store.close_job(&job, Terminal::Expired).await.unwrap());
    let closed = store.job(&job).await.unwrap().unwrap();
    assert_eq!((closed.attempt, closed.input_sent, closed.attested), (1, true, kept.attested));
    assert_eq!(closed.terminal, Some(Terminal::Expired));
    assert!(!store.close_job(&JobId([1; 32]), Terminal::Expired).await.unwrap());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parties_are_kept_up_to_a_limit() {
    let world = World::new("parties").await;
    world.store().put_party(&card(1, 101), "").await.unwrap();
    let url = format!("sqlite://{}", world.home.join(DATABASE_FILE).display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
         INSERT INTO parties SELECT randomblob(32), randomblob(32), 'x', x'00', '' FROM n",
    )
    .bind(PARTIES_MAX)
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    assert_eq!(world.store().put_party(&card(2, 102), "").await.unwrap_err().code, Code::NetRefused);
    // One that is known may still move.
    world.store().put_party(&card(1, 101), "127.0.0.1:1").await.unwrap();
    world.end().await;
}

/// Refusals of what names no contract of this owner's take no place, and come out alike when asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_strangers_leaves_nothing_on_the_disk() {
    let mut world = World::new("strangers").await;
    let forged = world.contract("forged", 60_000, false);
    let (id, job, contracts) = world.job(&forged);
    let request = ToNode::Admit { job, contracts };
    let first = world.ask(&request).await;
    assert!(matches!(first, FromNode::Refused(_)), "{first:?}");
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(world.ask(&request).await, first);
    for _ in 0..2 * REFUSED_IN_MEMORY_MAX {
        let (_, job, contracts) = world.job(&forged);
        assert!(matches!(world.ask(&ToNode::Admit { job, contracts }).await, FromNode::Refused(_)));
    }
    // Long forgotten, and still the same.
    assert_eq!(world.ask(&request).await, first);
    assert!(world.store().job(&id).await.unwrap().is_none());
    assert_eq!(world.rows("SELECT count(*) FROM jobs").await, 0);
    assert_eq!(world.rows("SELECT count(*) FROM contract_signatures").await, 0);
    world.end().await;
}

/// Refusals under a contract of this owner's are kept, up to a limit and until the job can begin no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_kept_up_to_a_limit() {
    let mut world = World::new("refusals").await;
    let good = world.contract("good", 600_000, true);
    world.store().revoke(&good.id(), crate::now()).await.unwrap();
    let (id, job, contracts) = world.job(&good);
    let request = ToNode::Admit { job, contracts };
    let first = world.ask(&request).await;
    assert!(matches!(first, FromNode::Refused(_)), "{first:?}");
    assert!(world.store().job(&id).await.unwrap().is_some(), "the id is spent");
    let fill = |expires: u64, n: i64| {
        let url = format!("sqlite://{}", world.home.join(DATABASE_FILE).display());
        async move {
            let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
            sqlx::query(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
                 INSERT INTO jobs (id, state, contract, open, seen_at, expires) \
                 SELECT randomblob(32), x'00', NULL, 1, 1, ? FROM n",
            )
            .bind(n)
            .bind(expires as i64)
            .execute(&pool)
            .await
            .unwrap();
            pool.close().await;
        }
    };
    let now = crate::now().0;
    fill(now + 60_000, REFUSED_ROWS_MAX - 1).await;
    let (beyond, job, contracts) = world.job(&good);
    assert!(matches!(world.ask(&ToNode::Admit { job, contracts }).await, FromNode::Refused(_)));
    assert!(world.store().job(&beyond).await.unwrap().is_none(), "one past the limit is answered and not kept");
    assert_eq!(world.rows("SELECT count(*) FROM jobs").await, REFUSED_ROWS_MAX);
    // What has long expired makes room; the id that is spent stays so.
    let url = format!("sqlite://{}", world.home.join(DATABASE_FILE).display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let sql = "UPDATE jobs SET expires = ? WHERE seen_at = 1";
    sqlx::query(sql).bind((now - EXPIRED_KEPT_MS - 60_000) as i64).execute(&pool).await.unwrap();
    pool.close().await;
    let (kept, job, contracts) = world.job(&good);
    assert!(matches!(world.ask(&ToNode::Admit { job, contracts }).await, FromNode::Refused(_)));
    assert!(world.store().job(&kept).await.unwrap().is_some());
    assert_eq!(world.rows("SELECT count(*) FROM jobs").await, 2);
    assert_eq!(world.ask(&request).await, first);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_open_up_to_a_limit() {
    let mut world = World::new("open").await;
    let good = world.contract("good", 600_000, true);
    let url = format!("sqlite://{}", world.home.join(DATABASE_FILE).display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
         INSERT INTO jobs (id, state, contract, open, seen_at, expires) \
         SELECT randomblob(32), x'00', randomblob(32), 1, 1, ? FROM n",
    )
    .bind(OPEN_ROWS_MAX - 1)
    .bind(crate::now().plus(60_000).0 as i64)
    .execute(&pool)
    .await
    .unwrap();
    world.admit(&good).await;
    let (id, job, contracts) = world.job(&good);
    assert_eq!(
        code(&world.ask(&ToNode::Admit { job: job.clone(), contracts: contracts.clone() }).await),
        Some(Code::JobBusy)
    );
    assert!(world.store().job(&id).await.unwrap().is_none());
    // One of them ends, and the same job is taken.
    sqlx::query("UPDATE jobs SET open = 0 WHERE rowid = 1").execute(&pool).await.unwrap();
    pool.close().await;
    assert!(matches!(world.ask(&ToNode::Admit { job, contracts }).await, FromNode::Admitted(_)));
    // Its quota is counted whether open or not.
    let end = ToNode::Close { job: id, terminal: Terminal::Expired };
    assert_eq!(world.ask(&end).await, FromNode::Done);
    assert_eq!(world.store().begin().await.unwrap().jobs_used(&good.id()).await.unwrap(), 2);
    world.end().await;
}

/// Records of a protocol go with the attempt, and old rows of the ledger are added up, not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_ledger_do_not_grow_for_ever() {
    let mut world = World::new("growth").await;
    let contract = world.contract("good", 60_000, true);
    let job = world.admit(&contract).await;
    let store = world.store();
    store.put_record(&job, 1, 0, b"key").await.unwrap();
    store.put_record(&job, 1, 1, b"vote").await.unwrap();
    // The attempt ends here because the dataset is broken.
    assert_eq!(world.start(job, 2, 101).await, FromNode::Started);
    world.finished(job).await;
    assert_eq!(world.rows("SELECT count(*) FROM protocol_records").await, 0);
    let url = format!("sqlite://{}", world.home.join(DATABASE_FILE).display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
         INSERT INTO egress SELECT randomblob(32), CAST(x'aa' AS BLOB), 'masked input', 10 FROM n",
    )
    .bind(EGRESS_ROWS_MAX)
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let total = |rows: &[crate::store::EgressRow]| rows.iter().map(|r| r.bytes).sum::<u64>();
    let before = total(&world.store().egress().await.unwrap());
    assert_eq!(world.ask(&ToNode::Close { job, terminal: Terminal::Expired }).await, FromNode::Done);
    let after = world.store().egress().await.unwrap();
    assert_eq!(total(&after), before);
    // Half of the ledger, and a few rows that were written since.
    assert!((after.len() as i64) <= EGRESS_ROWS_MAX / 2 + 16, "{}", after.len());
    let folded = |r: &&crate::store::EgressRow| r.job == JobId([0; 32]).to_string() && r.kind == "masked input";
    assert_eq!(after.iter().filter(folded).count(), 1);
    world.end().await;
}

/// A contract that is revoked between reservation and start stops the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_after_the_reservation_stops_the_start() {
    let mut world = World::new("revoked").await;
    let contract = world.contract("good", 60_000, true);
    let job = world.admit(&contract).await;
    assert_eq!(world.reserve(job, 1).await, FromNode::Reserved);
    world.store().revoke(&contract.id(), crate::now()).await.unwrap();
    assert_eq!(code(&world.begin(job, 1, 101, 60_000).await), Some(Code::RefusedContractRevoked));
    assert_eq!(world.store().job(&job).await.unwrap().unwrap().attempt, 0, "the number is not spent");
    world.end().await;
}

/// An admission does not outlive the job's own validity, which its operator signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_job_is_neither_reserved_nor_begun() {
    let mut world = World::new("expired").await;
    world.valid_ms = 2_000;
    let contract = world.contract("good", 60_000, true);
    let (reserved, other) = (world.admit(&contract).await, world.admit(&contract).await);
    assert_eq!(world.reserve(reserved, 1).await, FromNode::Reserved);
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(code(&world.begin(reserved, 1, 101, 60_000).await), Some(Code::RefusedJobExpired));
    assert_eq!(world.store().job(&reserved).await.unwrap().unwrap().attempt, 0, "the number is not spent");
    assert_eq!(code(&world.reserve(other, 1).await), Some(Code::RefusedJobExpired));
    world.end().await;
}

/// Whoever brings an older card of a party does not bring its witness key of then back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_card_does_not_replace_a_newer_one() {
    let world = World::new("cards").await;
    let signed = |witness: u8, at: u64| {
        let card = PartyCard::verify(&card(1, 101)).unwrap().into_body();
        let card = PartyCard { witness: key(witness).id(), issued_at: UnixMillis(at), ..card };
        Statement::sign(&key(1), "card", UnixMillis(at), None, card).bytes().to_vec()
    };
    let shown = async || {
        let parties = world.store().parties().await.unwrap();
        let party = parties.into_iter().find(|(_, card, _)| card.root == key(1).id()).unwrap();
        party.1.witness
    };
    let (old, new) = (signed(151, 1_000), signed(152, 2_000));
    world.store().put_party(&old, "127.0.0.1:1").await.unwrap();
    world.store().put_party(&new, "127.0.0.1:2").await.unwrap();
    assert_eq!(shown().await, key(152).id());
    world.store().put_party(&old, "127.0.0.1:3").await.unwrap();
    assert_eq!(shown().await, key(152).id(), "the older card was signed by its root as well");
    world.end().await;
}

/// The operator's signature limits an attempt, whatever whoever schedules it asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_takes_no_longer_than_its_operator_signed() {
    let mut world = World::new("clamp").await;
    world.readable().await;
    world.attempt_ms = 1_200;
    let contract = world.contract("good", 60_000, true);
    let job = world.admit(&contract).await;
    let begun = std::time::Instant::now();
    assert_eq!(world.reserve(job, 1).await, FromNode::Reserved);
    assert_eq!(world.begin(job, 1, 101, 3_600_000).await, FromNode::Started);
    let finished = world.finished(job).await;
    assert!(begun.elapsed() >= std::time::Duration::from_millis(1_000), "{finished:?}");
    assert!(matches!(finished, Finished::Failed { code: Code::JobPeerLost | Code::JobDeadline, .. }), "{finished:?}");
    assert_eq!(world.slots(), 0);
    world.end().await;
}

/// An order to stop reaches the attempt wherever it is, and a second one is no fault. Until it has ended
/// its slot is not given to another attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_to_stop_is_never_lost() {
    let mut world = World::new("cancel").await;
    world.readable().await;
    let contract = world.contract("good", 60_000, true);
    for wait in [0, 400] {
        let job = world.admit(&contract).await;
        assert_eq!(world.reserve(job, 1).await, FromNode::Reserved);
        assert_eq!(world.begin(job, 1, 101, 60_000).await, FromNode::Started);
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        if wait > 0 {
            assert_eq!(world.reserve(job, 2).await, FromNode::Busy);
        }
        for _ in 0..3 {
            let order = ToNode::Cancel { job, attempt: Attempt(1), code: Code::JobCancelled };
            assert_eq!(world.ask(&order).await, FromNode::Started, "its end is reported");
        }
        let finished = world.finished(job).await;
        assert!(matches!(finished, Finished::Failed { code: Code::JobCancelled, .. }), "{wait}: {finished:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(world.slots(), 0);
    }
    world.end().await;
}

/// An order to stop that overtakes the order to begin: the attempt never begins here, and its end is reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_was_given_up_never_begins() {
    let mut world = World::new("decline").await;
    world.readable().await;
    let contract = world.contract("good", 60_000, true);
    let job = world.admit(&contract).await;
    assert_eq!(world.reserve(job, 1).await, FromNode::Reserved);
    let order = |attempt| ToNode::Cancel { job, attempt: Attempt(attempt), code: Code::JobBusy };
    assert_eq!(world.ask(&order(1)).await, FromNode::Done);
    assert_eq!(world.slots(), 0);
    assert_eq!(world.begin(job, 1, 101, 60_000).await, FromNode::Started, "its end is on the way");
    assert_eq!(world.slots(), 0, "nothing runs");
    let kept = world.store().job(&job).await.unwrap().unwrap();
    assert!(matches!(kept.finished, Some(Finished::Failed { code: Code::JobBusy, input_sent: false, .. })), "{kept:?}");
    assert_eq!(kept.attempt, 1);
    assert_eq!(world.ask(&order(1)).await, FromNode::Started, "it is reported, not answered twice");
    // Another attempt runs; an order to stop the former one is not for it.
    assert_eq!(world.reserve(job, 2).await, FromNode::Reserved);
    assert_eq!(world.begin(job, 2, 101, 60_000).await, FromNode::Started);
    assert_eq!(world.ask(&order(1)).await, FromNode::Done);
    assert_eq!(world.slots(), 1);
    assert_eq!(world.ask(&order(2)).await, FromNode::Started);
    world.end().await;
}

/// What a restarted node says of an attempt that ran: whether its input had left, as its disk has it.
#[test]
fn a_burned_attempt_says_whether_its_input_had_left() {
    let fault = Fault::new(Code::RefusedPurpose, "no");
    let key = key(1);
    let context = tacit_engine::WorkerContext {
        key: &key,
        node: key.id(),
        keys: Default::default(),
        owner: key.id(),
        origin: "o",
        coordinator: key.id(),
        now: UnixMillis(1),
    };
    for left in [false, true] {
        let mut job = tacit_engine::Worker::refuse(b"", JobId([1; 32]), fault.clone(), &context);
        (job.admitted, job.attempt, job.input_sent) = (true, 3, left);
        assert!(job.burn() && !job.burn());
        assert!(matches!(job.finished, Some(Finished::Failed { input_sent, .. }) if input_sent == left));
        assert_eq!(job.begin(Attempt(4), crate::now()).is_err(), left);
    }
}

/// The slot of an attempt is free again even when its end could not be stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_free_however_the_attempt_ends() {
    let mut world = World::new("guard").await;
    world.readable().await;
    let contract = world.contract("good", 60_000, true);
    let job = world.admit(&contract).await;
    assert_eq!(world.reserve(job, 1).await, FromNode::Reserved);
    assert_eq!(world.begin(job, 1, 101, 60_000).await, FromNode::Started);
    assert_eq!(world.slots(), 1);
    world.store().close().await;
    world.ask(&ToNode::Cancel { job, attempt: Attempt(1), code: Code::JobCancelled }).await;
    for _ in 0..200 {
        if world.slots() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(world.slots(), 0);
    world.end().await;
}
