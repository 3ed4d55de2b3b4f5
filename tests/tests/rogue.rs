//! A coordinator without any check of its own, over the real wire to real nodes: this test holds the coordinator's key, and
//! hands on whatever it likes. No owner's rule is broken, and nothing leaves a node.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_crypto::{SealPublic, SigningKey, Statement};
use tacit_engine::control::{Assignment, FromNode, Seated, ToNode};
use tacit_engine::{FromCoordinator, ToCoordinator, WorkerJob};
use tacit_governance::{ColumnKind, JobSpec, ModelRef, PartyCard, Refusal};
use tacit_node::Store;
use tacit_tests::craft::{self, Offer};
use tacit_tests::wire::signing_key;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Wire, World};
use tacit_types::wire::Blob;
use tacit_types::{Attempt, Code, ContractId, DatasetVersionId, JobId, ModelVersionId, UnixMillis};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const KINDS: [(&str, ColumnKind); 2] = [("n", ColumnKind::Int), ("m", ColumnKind::Int)];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
/// How long an attempt may take to end.
const END_WAIT: Duration = Duration::from_secs(60);

/// The coordinator's key and what it was given while it was honest.
struct Rogue {
    world: World,
    lines: Vec<Wire>,
    seats: Vec<Seated>,
    statements: Vec<Vec<Blob>>,
    operator: SigningKey,
    seal: SealPublic,
    nonce: u64,
    /// Jobs that no node may ever begin.
    barred: Vec<JobId>,
}

impl Rogue {
    /// Takes the place of a coordinator that runs.
    fn instead_of(mut world: World) -> Self {
        let lab = Wire::open(&world.home("lab")).unwrap();
        let FromCoordinator::Roster(roster) = lab.ask(&ToCoordinator::Roster).unwrap() else { panic!() };
        let FromCoordinator::Contracts(statements) = lab.ask(&ToCoordinator::Contracts).unwrap() else { panic!() };
        let seated = |owner: &&str| {
            let root = signing_key(&world.home(owner), "root.key").id();
            let entry = roster.iter().find(|e| PartyCard::verify(&e.card).unwrap().body().root == root).unwrap();
            Seated { card: entry.card.clone(), address: entry.address.clone() }
        };
        let seats: Vec<Seated> = OWNERS.iter().map(seated).collect();
        let (operator, seal) = (lab.key(), lab.seal().public());
        drop(lab);
        world.kill(COORDINATOR);
        let mut rogue =
            Self { world, lines: Vec::new(), seats, statements, operator, seal, nonce: 1_000, barred: Vec::new() };
        rogue.lines = (0..OWNERS.len()).map(|i| rogue.dial(i)).collect();
        rogue
    }

    fn dial(&self, owner: usize) -> Wire {
        let node = signing_key(&self.world.home(OWNERS[owner]), "node.key").id();
        Wire::dial(&self.seats[owner].address, node, &signing_key(&self.world.home(COORDINATOR), "root.key"))
    }

    fn job(&mut self, offer: &Offer, change: impl FnOnce(&mut JobSpec)) -> Vec<u8> {
        self.nonce += 1;
        let mut spec = offer.spec("count/v1", json!({"filter": "n >= 1"}), self.seal, self.nonce);
        change(&mut spec);
        craft::sign(&self.operator, &spec)
    }

    /// What each owner answers to the job, with every statement that there is.
    fn admit(&self, job: &[u8]) -> Vec<FromNode> {
        let order = ToNode::Admit { job: Blob(job.to_vec()), contracts: self.statements.clone() };
        self.lines.iter().map(|line| line.order(&order)).collect()
    }

    /// These owners refuse the job with this code, whatever the others say; then none of them begins it.
    #[track_caller]
    fn refused(&mut self, attack: &str, job: &[u8], code: Code, by: &[&str]) {
        for (owner, answer) in OWNERS.iter().zip(self.admit(job)) {
            let given = code_of(&answer);
            assert_eq!(by.contains(owner).then_some(code), given.filter(|_| by.contains(owner)), "{attack}: {owner}");
            assert!(given.is_some() || matches!(answer, FromNode::Admitted(_)), "{attack}: {owner}: {answer:?}");
        }
        let Ok(parsed) = JobSpec::verify(job) else { return };
        let id = JobSpec::id(&parsed);
        for (i, answer) in self.begin(id, 1).iter().enumerate().filter(|(i, _)| by.contains(&OWNERS[*i])) {
            assert!(code_of(answer).is_some(), "{attack}: {} begins: {answer:?}", OWNERS[i]);
        }
        self.barred.push(id);
    }

    /// Reserves and starts an attempt everywhere.
    fn begin(&self, job: JobId, attempt: u32) -> Vec<FromNode> {
        let aggregator = signing_key(&self.world.home(OWNERS[0]), "node.key").id();
        let attempt = Attempt(attempt);
        for line in &self.lines {
            line.order(&ToNode::Reserve { job, attempt, ttl_ms: 60_000 });
        }
        let assignment =
            Assignment { job, attempt, seats: self.seats.clone(), aggregator, budget_ms: 5_000, step_ms: 5_000 };
        self.lines.iter().map(|line| line.order(&ToNode::Start { assignment: assignment.clone() })).collect()
    }

    /// What a node has written down of a job.
    fn kept(&self, owner: &str, id: JobId) -> Option<WorkerJob> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let store = Store::open(&self.world.home(owner).join("node.db")).await.unwrap();
            let job = store.job(&id).await.unwrap();
            store.close().await;
            job
        })
    }
}

fn code_of(answer: &FromNode) -> Option<Code> {
    match answer {
        FromNode::Failed(fault) => Some(fault.code),
        FromNode::Refused(bytes) => Some(Statement::<Refusal>::verify(bytes).unwrap().into_body().code),
        _ => None,
    }
}

/// Contracts of which each allows less in one place.
fn agree(world: &World) {
    let file = |name: &str, quota: u64, more: &str, columns: &str| {
        let mut text = format!(
            "name = \"{name}\"\npurpose = \"tests\"\nkinds = [\"count/v1\"]\ndemander = \"lab\"\nquota_jobs = {quota}\n\
             valid_days = 30\n{more}\n[cohort]\nrows = 3\ncontributors = 2\n"
        );
        for owner in OWNERS {
            text.push_str(&format!("\n[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n{columns}"));
        }
        let file = world.write(&format!("{name}.toml"), text.replace("valid_days = 30\nends", "valid_days = 0"));
        world.run("lab", &["contract", "draft", &shown(&file)]).ok();
    };
    let n = "columns = { n = [\"after_compare\"] }\n";
    file("good", 60, "[exact]\nchange_min = 3", n);
    file("one", 1, "", n);
    file("ended", 9, "ends", n);
    file("waiting", 9, "", n);
    let price = "currency = \"CNY\"\npayer = \"lab\"\npayees = [\"a\", \"b\", \"c\"]\n[[prices]]\nunit = \"job\"\neach = \"5.00\"\n";
    let price = world.write("price.toml", price);
    file("priced", 9, "price = \"price.toml\"", n);
    world.run("lab", &["price", "draft", &shown(&price), "--contract", "priced"]).ok();
    for owner in OWNERS {
        for name in ["good", "one", "ended", "waiting", "priced"] {
            if (owner, name) != ("c", "waiting") {
                world.run(owner, &["contract", "sign", name]).ok();
            }
        }
    }
    // All but one payee have signed the price.
    ["a", "b"].iter().for_each(|owner| _ = world.run(owner, &["price", "sign", "priced"]).ok());
}

#[test]
fn a_coordinator_without_any_check_breaks_no_rule_of_an_owner() {
    let table: String = core::iter::once("n,m\n".to_owned()).chain((1..=12).map(|n| format!("{n},{n}\n"))).collect();
    let mut world = World::with_nodes(&OWNERS.map(|name| (name, table.as_str())), LEVELS);
    agree(&world);
    // A copy of one owner's database from before anything was used.
    assert_eq!(world.stop("b"), 0);
    let (db, copy) = (world.home("b").join("node.db"), world.folder().join("b.db"));
    std::fs::copy(&db, &copy).unwrap();
    world.start("b");
    world.wait_online("lab", OWNERS.len());
    let offers: Vec<Offer> =
        ["good", "one", "ended", "waiting", "priced"].iter().map(|name| Offer::of(&world, name, &KINDS)).collect();
    let [good, one, ended, waiting, priced] = offers.as_slice() else { panic!() };
    for contract in ["good", "one"] {
        world.job(&format!("kind = \"count/v1\"\ncontract = \"{contract}\"\n[params]\nfilter = \"n >= 1\"\n")).ok();
    }
    let mut rogue = Rogue::instead_of(world);

    // The unaltered job is admitted by all: what follows is refused for what it changes.
    let honest = rogue.job(good, |_| {});
    let answers = rogue.admit(&honest);
    assert!(answers.iter().all(|a| matches!(a, FromNode::Admitted(_))), "{answers:?}");
    assert_eq!(rogue.admit(&honest), answers, "the same bytes have the same answer, and take nothing again");
    let admitted = JobSpec::id(&JobSpec::verify(&honest).unwrap());

    let stranger = SigningKey::from_seed(&tacit_crypto::Secret::new([9; 32]));
    let params = |params: Value| tacit_jobs::kind("count/v1").unwrap().params(params, &good.kinds).unwrap();
    type Change = Box<dyn FnOnce(&mut JobSpec)>;
    let wide = params(json!({"filter": "m >= 1"}));
    let attacks: Vec<(&str, Change, Code, &[&str])> = vec![
        ("another purpose", Box::new(|s| s.purpose = "marketing".into()), Code::RefusedPurpose, &OWNERS),
        ("another kind", Box::new(|s| s.kind = "stats/v1".into()), Code::RefusedKind, &OWNERS),
        ("wider columns", Box::new(move |s| s.params = wide), Code::RefusedColumn, &OWNERS),
        ("parameters that are none", Box::new(|s| s.params = vec![0xff]), Code::RefusedParameters, &OWNERS),
        ("another recipient", Box::new(|s| s.recipient = SealPublic([8; 32])), Code::RefusedRecipient, &OWNERS),
        ("fewer rows", Box::new(|s| s.cohort.rows -= 1), Code::RefusedCohort, &OWNERS),
        ("fewer contributors", Box::new(|s| s.cohort.contributors -= 1), Code::RefusedCohort, &OWNERS),
        (
            "a model that nobody granted",
            Box::new(|s| {
                let owner = s.providers[0].owner;
                s.models = vec![ModelRef { owner, model: ModelVersionId([5; 32]) }];
            }),
            Code::RefusedModel,
            &OWNERS,
        ),
        (
            "another contract",
            Box::new(|s| s.contracts = vec![ContractId([7; 32])]),
            Code::RefusedContractUnknown,
            &OWNERS,
        ),
        ("fewer owners", Box::new(|s| s.providers.truncate(2)), Code::RefusedParties, &OWNERS),
        (
            "another version",
            Box::new(|s| s.providers[1].dataset = DatasetVersionId([9; 32])),
            Code::RefusedDataset,
            &["b"],
        ),
        ("another view", Box::new(|s| s.providers[2].view = "all".into()), Code::RefusedDataset, &["c"]),
        (
            "a job that has expired",
            Box::new(|s| {
                s.created_at = UnixMillis(s.created_at.0 - 90_000);
                s.expires_at = UnixMillis(s.created_at.0 + 1);
            }),
            Code::RefusedJobExpired,
            &OWNERS,
        ),
        (
            "a job of the future",
            Box::new(|s| (s.created_at, s.expires_at) = (s.created_at.plus(900_000), s.expires_at.plus(900_000))),
            Code::RefusedJobExpired,
            &OWNERS,
        ),
    ];
    for (attack, change, code, by) in attacks {
        let job = rogue.job(good, change);
        rogue.refused(attack, &job, code, by);
    }
    for (attack, offer, code) in [
        ("one more than the quota", one, Code::RefusedQuota),
        ("a contract that has ended", ended, Code::RefusedContractExpired),
        ("a contract that one owner did not sign", waiting, Code::RefusedContractIncomplete),
        ("a price that one payee did not sign", priced, Code::RefusedPriceUnsigned),
    ] {
        let job = rogue.job(offer, |_| {});
        rogue.refused(attack, &job, code, &OWNERS);
    }
    // Altered after signing; signed by a stranger; signed by the coordinator itself.
    let mut altered = rogue.job(good, |_| {});
    let last = altered.len() - 1;
    altered[last] ^= 1;
    rogue.refused("a job altered after signing", &altered, Code::RefusedUnsigned, &OWNERS);
    let spec = JobSpec::verify(&rogue.job(good, |_| {})).unwrap().into_body();
    for (attack, key) in
        [("a stranger's job", stranger), ("its own job", signing_key(&rogue.world.home(COORDINATOR), "root.key"))]
    {
        rogue.refused(attack, &craft::sign(&key, &spec), Code::RefusedOperator, &OWNERS);
    }
    // Signatures kept back at a new contract's expense: those of one contract under the id of another are of that one alone.
    let kept = std::mem::take(&mut rogue.statements);
    let job = rogue.job(waiting, |_| {});
    for answer in rogue.admit(&job) {
        let code = code_of(&answer).unwrap();
        assert!([Code::RefusedContractUnknown, Code::RefusedContractIncomplete].contains(&code), "{code}");
    }
    rogue.statements = kept;

    // All have admitted a question that differs from an earlier one by a row of each. It is begun, and ends before a number leaves.
    let nearly = params(json!({"filter": "n >= 2"}));
    let close = rogue.job(good, |s| s.params = nearly);
    assert!(rogue.admit(&close).iter().all(|a| matches!(a, FromNode::Admitted(_))));
    let close = JobSpec::id(&JobSpec::verify(&close).unwrap());
    let answers = rogue.begin(close, 1);
    assert!(answers.iter().all(|a| *a == FromNode::Started), "{answers:?}");
    for owner in OWNERS {
        let begun = Instant::now();
        let ended = loop {
            let job = rogue.kept(owner, close).unwrap();
            if job.finished.is_some() {
                break job;
            }
            assert!(begun.elapsed() < END_WAIT, "{owner}: {}", rogue.world.log(owner));
            std::thread::sleep(Duration::from_millis(100));
        };
        assert!(!ended.input_sent, "{owner}");
        assert!(rogue.world.log(owner).contains("refused.difference"), "{owner}: {}", rogue.world.log(owner));
    }

    // One owner revokes, with no coordinator to ask: what was admitted before is not begun there, and nothing new admitted.
    rogue.world.run("b", &["contract", "revoke", "good", "--reason", "over"]).ok();
    let job = rogue.job(good, |_| {});
    rogue.refused("a contract that is revoked", &job, Code::RefusedContractRevoked, &["b"]);
    let reserve = |n: u32| ToNode::Reserve { job: admitted, attempt: Attempt(n), ttl_ms: 60_000 };
    assert_eq!(code_of(&rogue.lines[1].order(&reserve(1))), Some(Code::RefusedContractRevoked));
    rogue.barred.push(admitted);

    // The database of before: whoever shows no log gets nothing of it, neither what was used nor what was revoked.
    rogue.world.kill("b");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(rogue.world.home("b").join(format!("node.db{suffix}")));
    }
    std::fs::copy(&copy, &db).unwrap();
    rogue.world.start("b");
    rogue.lines[1] = rogue.dial(1);
    for offer in [one, good] {
        let job = rogue.job(offer, |_| {});
        let order = ToNode::Admit { job: Blob(job), contracts: rogue.statements.clone() };
        assert_eq!(code_of(&rogue.lines[1].order(&order)), Some(Code::RefusedLedgerBehind));
    }

    // Of no barred job did a byte leave.
    for owner in ["a", "c"] {
        for id in &rogue.barred {
            let Some(job) = rogue.kept(owner, *id) else { continue };
            assert!(!job.input_sent && job.release.is_none() && job.attested.is_none(), "{owner}: {}", id.short());
        }
    }
}
