//! No authority, no run: whatever is wrong with a job, the owner's node refuses it with its code, even
//! when it does not come from the command line.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_engine::{FromCoordinator, PlanAnswer, Terminal, ToCoordinator};
use tacit_governance::{ColumnKind, JobSpec};
use tacit_tests::craft::{self, Offer};
use tacit_tests::wire::signing_key;
use tacit_tests::world::{START_WAIT, shown};
use tacit_tests::{Wire, World};
use tacit_types::wire::Blob;
use tacit_types::{Code, ContractId, DatasetVersionId, JobId};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const KINDS: [(&str, ColumnKind); 2] = [("age", ColumnKind::Int), ("region", ColumnKind::Text)];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";

fn world() -> World {
    let table = "age,region\n31,north\n42,south\n53,north\n64,south\n75,north\n";
    World::with_nodes(&OWNERS.map(|name| (name, table)), LEVELS)
}

/// Terms that differ from the usual ones in one place: a line of the file and what stands there instead.
fn agree_but(world: &World, name: &str, from: &str, to: &str) {
    let mut text = format!(
        "name = \"{name}\"\npurpose = \"tests\"\nkinds = [\"stats/v1\", \"count/v1\"]\ndemander = \"lab\"\n\
         quota_jobs = 50\nvalid_days = 30\n\n[cohort]\nrows = 3\ncontributors = 2\n"
    );
    for owner in OWNERS {
        text.push_str(&format!(
            "\n[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n\
             columns = {{ age = [\"after_compare\", \"after_aggregate\"], region = [\"after_group_by\"] }}\n"
        ));
    }
    assert!(text.contains(from), "`{from}` is not in the file");
    let file = world.write("contract.toml", text.replace(from, to));
    world.run("lab", &["contract", "draft", &shown(&file)]).ok();
    for owner in OWNERS {
        world.run(owner, &["contract", "sign", name]).ok();
    }
}

struct Lab {
    wire: Wire,
    nonce: u64,
}

impl Lab {
    fn new(world: &World) -> Self {
        Self { wire: Wire::open(&world.home("lab")).unwrap(), nonce: 0 }
    }

    /// A good job, changed in one place, signed.
    fn job(&mut self, offer: &Offer, kind: &str, params: Value, change: impl FnOnce(&mut JobSpec)) -> Vec<u8> {
        self.nonce += 1;
        let mut spec = offer.spec(kind, params, self.wire.seal().public(), self.nonce);
        change(&mut spec);
        craft::sign(&self.wire.key(), &spec)
    }

    /// How every owner would decide, once each of them is there: one that was just killed and started
    /// again may still be taken for its dead self.
    #[track_caller]
    fn plan(&self, job: &[u8]) -> Vec<PlanAnswer> {
        let request = ToCoordinator::Plan { job: Blob(job.to_vec()) };
        let begun = Instant::now();
        loop {
            let FromCoordinator::Planned(answers) = self.wire.ask(&request).unwrap() else { panic!("no plan") };
            let away = answers.iter().any(|a| a.objection.as_ref().is_some_and(|f| f.code == Code::JobUnreachable));
            if !away || begun.elapsed() > START_WAIT {
                return answers;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Every owner that is asked says so beforehand; submitted all the same, the job ends refused by an
    /// owner, with this code and a receipt, and never runs.
    #[track_caller]
    fn refused(&self, job: &[u8], code: Code) -> (String, String) {
        let answers = self.plan(job);
        let objections: Vec<Code> = answers.iter().filter_map(|a| a.objection.as_ref()).map(|f| f.code).collect();
        assert!(!objections.is_empty() && objections.iter().all(|c| *c == code), "{code}: {answers:?}");
        let view = self.wire.ended(self.wire.submit(job).unwrap()).unwrap();
        let Some(Terminal::Refused { code: given, party, reason }) = view.terminal else { panic!("{code}: {view:?}") };
        assert_eq!(given, code, "{reason}");
        assert_eq!((view.attempt, view.result), (0, None), "{code}");
        assert!(view.receipt.is_some(), "{code}: the refusal has no receipt");
        assert!(OWNERS.contains(&party.as_str()) && !reason.is_empty());
        (party.to_string(), reason)
    }

    #[track_caller]
    fn succeeds(&self, job: &[u8]) -> JobId {
        let view = self.wire.ended(self.wire.submit(job).unwrap()).unwrap();
        assert_eq!(view.terminal, Some(Terminal::Succeeded), "{:?}", view.timeline);
        view.id
    }
}

#[test]
fn a_job_outside_its_contract_is_refused_by_the_owners() {
    let world = world();
    agree_but(&world, "good", "[cohort]", "[cohort]");
    let mut lab = Lab::new(&world);
    let good = Offer::of(&world, "good", &KINDS);
    let adults = || json!({"filter": "age >= 18"});
    let other_seal = {
        world.join("other", "operator");
        Wire::open(&world.home("other")).unwrap()
    };

    let job = lab.job(&good, "count/v1", adults(), |s| s.contracts = vec![ContractId([7; 32])]);
    lab.refused(&job, Code::RefusedContractUnknown);
    let job = lab.job(&good, "count/v1", adults(), |s| s.purpose = "something else".into());
    let (_, reason) = lab.refused(&job, Code::RefusedPurpose);
    assert!(reason.contains("something else") && reason.contains("tests"), "{reason}");
    let job = lab.job(&good, "count/v1", adults(), |s| s.recipient = other_seal.seal().public());
    lab.refused(&job, Code::RefusedRecipient);
    let job = lab.job(&good, "count/v1", adults(), |s| s.cohort.rows -= 1);
    lab.refused(&job, Code::RefusedCohort);
    let job = lab.job(&good, "count/v1", adults(), |s| s.cohort.contributors -= 1);
    lab.refused(&job, Code::RefusedCohort);
    let job = lab.job(&good, "count/v1", adults(), |s| s.providers[1].view = "elsewhere".into());
    let (party, _) = lab.refused(&job, Code::RefusedDataset);
    assert_eq!(party, "b");
    let job = lab.job(&good, "count/v1", adults(), |s| s.providers[2].dataset = DatasetVersionId([9; 32]));
    assert_eq!(lab.refused(&job, Code::RefusedDataset).0, "c");
    let job = lab.job(&good, "count/v1", adults(), |s| s.providers.truncate(2));
    lab.refused(&job, Code::RefusedParties);
    let job = lab.job(&good, "count/v1", adults(), |s| s.params = vec![0xff]);
    lab.refused(&job, Code::RefusedParameters);
    let job = lab.job(&good, "count/v1", adults(), |s| {
        s.created_at = s.created_at.plus(400_000);
        s.expires_at = s.expires_at.plus(400_000);
    });
    lab.refused(&job, Code::RefusedJobExpired);
    // A column that may be summed but not filter, and one that is not offered.
    let job = lab.job(&good, "count/v1", json!({"filter": "region = 'north'"}), |_| {});
    let (_, reason) = lab.refused(&job, Code::RefusedLevel);
    assert!(reason.contains("region"), "{reason}");
    // Signed by another operator who is enrolled, and submitted by it.
    let spec = good.spec("count/v1", adults(), lab.wire.seal().public(), 900);
    let job = craft::sign(&other_seal.key(), &spec);
    let view = other_seal.ended(other_seal.submit(&job).unwrap()).unwrap();
    assert_eq!(view.terminal.as_ref().and_then(Terminal::code), Some(Code::RefusedOperator), "{view:?}");
    assert!(view.receipt.is_some());
    // Signed by a node's key: the contract knows no such operator, and below no owner has counted it.
    lab.wire.submit(&craft::sign(&signing_key(&world.home("a"), "node.key"), &spec)).unwrap();
    // Signed by a key of nobody who submits.
    let witness = signing_key(&world.home("lab"), "witness.key");
    let fault = lab.wire.submit(&craft::sign(&witness, &spec)).unwrap_err();
    assert_eq!(fault.code, Code::RefusedParties, "{fault}");
    // After all that the good job still runs, and nothing was counted but it.
    let job = lab.job(&good, "count/v1", adults(), |_| {});
    lab.succeeds(&job);
    for owner in OWNERS {
        // The operator may hear of the end a moment before the owner does.
        let begun = Instant::now();
        let succeeded = || {
            let jobs = world.run(owner, &["node", "jobs"]).ok();
            jobs.as_array().unwrap().iter().filter(|j| j["state"] == json!("succeeded")).count()
        };
        while succeeded() == 0 && begun.elapsed() < START_WAIT {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(succeeded(), 1, "{owner}");
    }
}

#[test]
fn a_contract_that_is_not_in_force_covers_nothing() {
    let world = world();
    let mut lab = Lab::new(&world);
    let count = || json!({});

    world.draft("two-signatures", &OWNERS, 50, "").ok();
    for owner in ["a", "b"] {
        world.run(owner, &["contract", "sign", "two-signatures"]).ok();
    }
    let offer = Offer::of(&world, "two-signatures", &KINDS);
    let job = lab.job(&offer, "count/v1", count(), |_| {});
    let (_, reason) = lab.refused(&job, Code::RefusedContractIncomplete);
    assert!(reason.contains('c'), "{reason}");
    // The same job, once the third has signed: a refused id is spent, a new one runs.
    world.run("c", &["contract", "sign", "two-signatures"]).ok();
    let job = lab.job(&offer, "count/v1", count(), |_| {});
    lab.succeeds(&job);

    // One owner revokes, offline and alone; the others still agree.
    world.run("b", &["contract", "revoke", "two-signatures"]).ok();
    let job = lab.job(&offer, "count/v1", count(), |_| {});
    assert_eq!(lab.refused(&job, Code::RefusedContractRevoked).0, "b");

    agree_but(&world, "over", "valid_days = 30", "valid_days = 0");
    let offer = Offer::of(&world, "over", &KINDS);
    let job = lab.job(&offer, "count/v1", count(), |_| {});
    lab.refused(&job, Code::RefusedContractExpired);

    agree_but(&world, "counts-only", "[\"stats/v1\", \"count/v1\"]", "[\"count/v1\"]");
    let offer = Offer::of(&world, "counts-only", &KINDS);
    let sums = json!({"measures": [{"column": "age", "statistics": ["sum"]}]});
    let job = lab.job(&offer, "stats/v1", sums.clone(), |_| {});
    lab.refused(&job, Code::RefusedKind);

    agree_but(&world, "no-age", "age = [\"after_compare\", \"after_aggregate\"], ", "");
    let offer = Offer::of(&world, "no-age", &KINDS);
    let job = lab.job(&offer, "stats/v1", sums.clone(), |_| {});
    let (_, reason) = lab.refused(&job, Code::RefusedColumn);
    assert!(reason.contains("age"), "{reason}");

    agree_but(&world, "no-sums", "age = [\"after_compare\", \"after_aggregate\"]", "age = [\"after_compare\"]");
    let offer = Offer::of(&world, "no-sums", &KINDS);
    let job = lab.job(&offer, "stats/v1", sums, |_| {});
    lab.refused(&job, Code::RefusedLevel);
}

#[test]
fn the_same_bytes_are_one_job_and_its_id_is_spent() {
    let mut world = world();
    agree_but(&world, "good", "[cohort]", "[cohort]");
    let mut lab = Lab::new(&world);
    let offer = Offer::of(&world, "good", &KINDS);
    let job = lab.job(&offer, "count/v1", json!({}), |_| {});
    let id = lab.succeeds(&job);
    for _ in 0..3 {
        assert_eq!(lab.wire.submit(&job).unwrap(), id);
    }
    let again: Vec<_> = (0..8).map(|_| ToCoordinator::Submit { job: Blob(job.clone()) }).collect();
    for answer in lab.wire.ask_all(&again) {
        assert_eq!(answer.unwrap(), FromCoordinator::Submitted(id));
    }
    let view = lab.wire.ended(id).unwrap();
    assert_eq!(view.attempt, 1);
    // One job at the coordinator and at every owner, and one receipt.
    assert_eq!(lab.wire.jobs().unwrap().len(), 1);
    let receipts = world.run("lab", &["receipt", "list"]).ok();
    assert_eq!(receipts.as_array().unwrap().len(), 1, "{receipts}");
    // The owners' memory outlives a kill: the id stays spent though nobody asks again.
    for owner in OWNERS {
        world.kill(owner);
        world.start(owner);
    }
    world.wait_online("lab", OWNERS.len());
    for answer in lab.plan(&job) {
        assert_eq!(answer.objection.map(|f| f.code), Some(Code::RefusedReplayed), "{}", answer.party);
    }
}

#[test]
fn a_quota_of_ten_lets_ten_of_thirty_concurrent_jobs_run() {
    let mut world = world();
    agree_but(&world, "ten", "quota_jobs = 50", "quota_jobs = 10");
    let mut lab = Lab::new(&world);
    let offer = Offer::of(&world, "ten", &KINDS);
    let jobs: Vec<_> =
        (0..30).map(|_| ToCoordinator::Submit { job: Blob(lab.job(&offer, "count/v1", json!({}), |_| {})) }).collect();
    let ids: Vec<JobId> = lab
        .wire
        .ask_all(&jobs)
        .into_iter()
        .map(|answer| match answer.unwrap() {
            FromCoordinator::Submitted(id) => id,
            other => panic!("{other:?}"),
        })
        .collect();
    let ends: Vec<Terminal> = ids.iter().map(|id| lab.wire.ended(*id).unwrap().terminal.unwrap()).collect();
    let ran = ends.iter().filter(|t| **t == Terminal::Succeeded).count();
    let over = ends.iter().filter(|t| t.code() == Some(Code::RefusedQuota)).count();
    assert_eq!((ran, over), (10, 20), "{ends:?}");
    // The eleventh is refused after a kill of every owner, too: the count is on disk.
    for owner in OWNERS {
        world.kill(owner);
        world.start(owner);
    }
    world.wait_online("lab", OWNERS.len());
    let job = lab.job(&offer, "count/v1", json!({}), |_| {});
    let (_, reason) = lab.refused(&job, Code::RefusedQuota);
    assert!(reason.contains("10 of 10"), "{reason}");
}
