//! Scores of a private model, and less than the score of any model, end to end through processes: owners of data, the
//! owner of the model, a dealer with neither, and a recipient with none of it.

mod private;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

use private::*;
use serde_json::{Value, json};
use tacit_engine::control::{Assignment, Finished, FromNode, Seated, ToNode};
use tacit_engine::{FromCoordinator, Terminal, ToCoordinator};
use tacit_governance::{JobSpec, PartyCard};
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Wire, World, craft};
use tacit_types::{Attempt, Code, JobId};

/// Two parties that compute and a dealer: one has data, one the model, the recipient nothing. What is opened is what
/// the job's disclosure lists, in the plan, at every node and in the receipt.
#[test]
fn two_parties_and_a_dealer_score_what_the_plain_model_scores() {
    let private = Private::new(vec![table("telecom", 3, 60, 3)], "bank", "rows = 5000\nprecision = \"score\"");
    let (world, keys) = (&private.world, keys(64));
    let planned = world.run("lab", &["job", "plan", &shown(&private.job(HEAD, &keys, ""))]).ok();
    assert_eq!(planned["disclosures"], json!([{"what": "result", "to": "Recipient", "cells_max": 128}]));
    assert_eq!((&planned["keys"], &planned["dealer"]["party"]), (&json!({"to": "Nodes", "count": 64}), &json!(DEALER)));
    assert!(planned["dealer"]["warning"].as_str().unwrap().contains("can read all features"), "{planned}");
    let mut asked: Vec<&str> =
        planned["owners"].as_array().unwrap().iter().map(|o| o["party"].as_str().unwrap()).collect();
    asked.sort_unstable();
    assert_eq!(asked, ["bank", DEALER, "telecom"]);
    assert!(planned["owners"].as_array().unwrap().iter().all(|o| o["admits"] == json!(true)), "{planned}");
    let text = |lang: &str| {
        let mut command = world.command("lab", &["--lang", lang, "contract", "show", "credit"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(text("en").contains("the dealer knows every mask") && text("zh").contains("掌握全部掩码"));

    let flag = private.submit(&keys, "link = \"logistic\"").ok();
    private.check(&flag, &keys, |key| private.plain(key).map(logistic));
    assert_eq!(flag["result"]["parties"], json!(2), "the dealer is none");
    let default = private.submit(&keys, "unknown = \"default\"").ok();
    private.check(&default, &keys, |key| private.model.plain(&private.tables, key, Some(0.0)));
    let refuse = private.submit(&keys, "unknown = \"refuse\"").ok();
    private.check(&refuse, &keys, |_| None);
    let whole: Vec<String> = keys.iter().filter(|key| private.plain(key).is_some()).cloned().collect();
    assert!(whole.len() > 30 && whole.len() < 60, "{}", whole.len());
    let refuse = private.submit(&whole, "unknown = \"refuse\"").ok();
    private.check(&refuse, &whole, |key| private.plain(key));

    let id = id_of(&flag);
    for node in &private.nodes {
        let Some(Finished::Ok { opened, .. }) = kept(world, node, id).finished else { panic!("{node} has no end") };
        assert_eq!(opened, [("result".to_owned(), 128)], "{node}");
        let ledger = ledger(world, node, id);
        let mut sent: Vec<&str> = kinds(&ledger).into_keys().collect();
        // Who adds the vectors up hands the sum on, and gets the others' shares and votes.
        sent.retain(|kind| !["share", "collected", "completion votes", "control"].contains(kind));
        let dealt = ["dealt seeds", "point", "randomness", "session agreement", "terms"];
        let computed = ["masked numbers", "point", "session agreement", "terms"];
        let computed: Vec<&str> = computed.into_iter().chain(sent.contains(&"seeds").then_some("seeds")).collect();
        let mut wanted = if *node == DEALER { dealt.to_vec() } else { computed };
        wanted.sort_unstable();
        assert_eq!(sent, wanted, "{node}: {ledger:?}");
        let peers: BTreeSet<&str> = ledger.keys().map(|(peer, _)| peer.as_str()).collect();
        assert!(peers.len() == 2 && !peers.contains(node), "{node}: {peers:?}");
    }
    let shown_receipt = world.run("lab", &["receipt", "show", &id.to_string()]).ok();
    let mut roles: Vec<(&str, &str, &str)> = shown_receipt["parties"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["name"].as_str().unwrap(), p["role"].as_str().unwrap(), p["standing"].as_str().unwrap()))
        .collect();
    roles.sort_unstable();
    let took_part = "took part";
    assert_eq!(
        roles,
        [("bank", "input", took_part), (DEALER, "compute", took_part), ("telecom", "input", took_part)],
        "{shown_receipt}"
    );
    assert_eq!(shown_receipt["attestations"], json!(3));
    let disclosed = &shown_receipt["disclosures"];
    assert_eq!((disclosed.as_array().unwrap().len(), &disclosed[0]["what"]), (1, &json!("result")), "{disclosed}");
    let given: Vec<&str> = shown_receipt["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| l["unit"] == json!("cell_in"))
        .map(|l| l["party"].as_str().unwrap())
        .collect();
    assert!(given.len() == 2 && !given.contains(&DEALER), "the dealer brings nothing: {shown_receipt}");
    let report = audit(world);
    assert_eq!((&report["receipts"], &report["valid"]), (&json!(4), &json!(4)), "{report}");
}

/// Three parties that compute: with the model at an owner of data or at a third, and every output.
#[test]
fn three_parties_get_scores_bands_and_decisions_of_the_plain_model() {
    for owner in ["c", "a"] {
        let mut tables = vec![table("a", 5, 60, 2), table("b", 6, 60, 3)];
        if owner == "a" {
            tables.push(table("c", 7, 60, 1));
        }
        let private = Private::new(tables, owner, "rows = 5000\nprecision = \"score\"");
        let keys = keys(64);
        let score = private.submit(&keys, "").ok();
        private.check(&score, &keys, |key| private.plain(key));
        assert_eq!(score["result"]["parties"], json!(3));

        let list =
            |done: &Value, name: &str| done["result"][name].as_array().unwrap_or_else(|| panic!("{done}")).clone();
        let mut margins: Vec<f64> = keys.iter().filter_map(|key| private.plain(key)).collect();
        margins.sort_by(f64::total_cmp);
        let middle = |i: usize| (margins[i] + margins[i + 1]) / 2.0;
        let (low, high) = (middle(margins.len() / 3), middle(margins.len() / 2));
        assert!(margins.iter().all(|m| (m - low).abs() > 1e-5 && (m - high).abs() > 1e-5), "{margins:?}");
        let decided = private.submit(&keys, &format!("output = \"decision\"\nthreshold = \"{high:.9}\"")).ok();
        let beside = |key: &String, one: &str, value: Value| json!({"key": key, one: value});
        let wanted: Vec<Value> =
            keys.iter().map(|key| beside(key, "decision", json!(private.plain(key).map(|m| m >= high)))).collect();
        assert_eq!(list(&decided, "decisions"), wanted);
        let bands = private.submit(&keys, &format!("output = \"band\"\nbands = [\"{low:.9}\", \"{high:.9}\"]")).ok();
        let band = |m: f64| usize::from(m >= low) + usize::from(m >= high);
        let wanted: Vec<Value> =
            keys.iter().map(|key| beside(key, "band", json!(private.plain(key).map(band)))).collect();
        assert_eq!(list(&bands, "bands"), wanted);
        let rounded = private.submit(&keys, "output = \"rounded\"\ndecimals = 1").ok();
        for (row, key) in list(&rounded, "scores").iter().zip(&keys) {
            match (row["score"].as_f64(), private.plain(key)) {
                (Some(found), Some(exact)) => {
                    assert!((found * 10.0 - (found * 10.0).round()).abs() < 1e-9, "{key}: {found}");
                    assert!((found - exact).abs() <= 0.05 + 0.1 / 16.0, "{key}: {found} is not {exact} rounded");
                }
                (None, None) => {}
                other => panic!("{key}: {other:?}"),
            }
        }
        assert_eq!(audit(&private.world)["valid"], json!(4));
    }
}

/// What is wrong with a dealer is said by the tool, by every node, or by the coordinator that cannot reach it.
#[test]
fn a_dealer_that_is_absent_unsigned_or_a_party_is_refused_with_its_code() {
    let mut private = Private::new(vec![table("telecom", 3, 20, 2)], "bank", "rows = 500\nprecision = \"band\"");
    let keys = keys(20);
    let with = |private: &Private, head: &str, params: &str| {
        let file = private.job(head, &keys, params);
        private.world.run("lab", &["job", "submit", &shown(&file), "--watch"])
    };
    let decision = "output = \"decision\"\nthreshold = \"0\"";
    with(&private, "contract = \"credit\"", "mode = \"private\"").fails("refused.parameters");
    for other in ["telecom", "bank", "lab", "nobody"] {
        let what =
            with(&private, &format!("contract = \"credit\"\ndealer = \"{other}\""), decision).fails("refused.parties");
        assert!(what.contains(other), "{what}");
    }
    let refused = with(&private, HEAD, "");
    assert_eq!((refused.status, &refused.json["code"]), (3, &json!("refused.precision")));

    // A party with data cannot be written as dealer, and a job that seats one is none.
    let what = private.draft("both", &["telecom"], "rows = 5\nprecision = \"score\"").fails("args.invalid");
    assert!(what.contains("a party stands twice"), "{what}");
    let done = with(&private, HEAD, decision).ok();
    let wire = Wire::open(&private.world.home("lab")).unwrap();
    let FromCoordinator::Result(sealed) = wire.ask(&ToCoordinator::Result(id_of(&done))).unwrap() else { panic!() };
    let mut spec = JobSpec::verify(&sealed.job).unwrap().body().clone();
    spec.nonce = vec![9; 16];
    let notary = spec.dealer;
    spec.dealer = Some(spec.providers[0].owner);
    let refused = wire.submit(&craft::sign(&wire.key(), &spec)).unwrap_err();
    assert_eq!(refused.code, Code::RefusedMalformed, "{refused}");
    // One that is enrolled and that no owner signed is refused at every node, whatever tool wrote the job.
    private.world.join("stranger", "node");
    private.world.start("stranger");
    private.world.wait_there("lab", private.nodes.len() + 1);
    spec.dealer = Some(tacit_tests::wire::signing_key(&private.world.home("stranger"), "root.key").id());
    assert_ne!(spec.dealer, notary);
    let view = wire.ended(wire.submit(&craft::sign(&wire.key(), &spec)).unwrap()).unwrap();
    let refused = |code: Code| matches!(&view.terminal, Some(Terminal::Refused { code: c, .. }) if *c == code);
    assert!(refused(Code::RefusedParties) || refused(Code::RefusedContractIncomplete), "{view:?}");

    // A contract that the dealer has not signed.
    private.draft("unsigned", &[DEALER], "rows = 500\nprecision = \"score\"").ok();
    for owner in ["telecom", "bank"] {
        private.world.run(owner, &["contract", "sign", "unsigned"]).ok();
    }
    let done = with(&private, "contract = \"unsigned\"\ndealer = \"notary\"", "");
    assert_eq!((done.status, &done.json["code"]), (3, &json!("refused.contract_incomplete")), "{}", done.json);
    assert!(done.json["reason"].as_str().unwrap().contains(DEALER), "{}", done.json);
    private.world.run(DEALER, &["contract", "sign", "unsigned"]).ok();
    with(&private, "contract = \"unsigned\"\ndealer = \"notary\"", "").ok();
    // One that it revokes.
    private.world.run(DEALER, &["contract", "revoke", "unsigned"]).ok();
    let done = with(&private, "contract = \"unsigned\"\ndealer = \"notary\"", "");
    assert_eq!((&done.json["code"], &done.json["party"]), (&json!("refused.contract_revoked"), &json!(DEALER)));

    private.world.kill(DEALER);
    let done = with(&private, HEAD, decision);
    assert_eq!(
        (&done.json["state"], &done.json["code"]),
        (&json!("failed"), &json!("job.unreachable")),
        "{}",
        done.json
    );
    assert_eq!(done.json["party"], json!(DEALER), "{}", done.json);
}

/// How a node has a job, by its own command.
fn state_at(world: &World, node: &str, id: JobId) -> (String, Option<String>) {
    let jobs = world.run(node, &["node", "jobs"]).ok();
    let job = jobs.as_array().unwrap().iter().find(|job| job["id"] == json!(id.to_string())).unwrap().clone();
    (job["state"].as_str().unwrap().to_owned(), job["code"].as_str().map(str::to_owned))
}

/// How long a loss may take to become an end, everywhere.
const LOSS_MAX: Duration = Duration::from_secs(10);

/// Whoever is lost while the others compute: the job has its end and cause at every side within ten seconds, also at
/// who was lost, once it is back; and the next job works.
#[test]
fn a_lost_party_or_dealer_ends_the_job_by_name_at_every_side_and_the_next_one_works() {
    let tables = vec![table("a", 5, 20_000, 2), table("b", 6, 20_000, 3)];
    let mut private = Private::new(tables, "m", "rows = 1000000\nprecision = \"score\"");
    let (many, few) = (keys(20_000), keys(20));
    let decision = "output = \"decision\"\nthreshold = \"0\"";
    let wire = Wire::open(&private.world.home("lab")).unwrap();
    for lost in [DEALER, "m", "b"] {
        let id = private.begin(&many, decision);
        wire.computing(id);
        private.world.kill(lost);
        let begun = Instant::now();
        let view = wire.ended(id).unwrap();
        let took = begun.elapsed();
        let Some(Terminal::Failed { code: Code::JobPeerLost, party: Some(party), .. }) = &view.terminal else {
            panic!("{view:?}")
        };
        assert_eq!(party.as_str(), lost, "{view:?}");
        let wanted = ("failed".to_owned(), Some("job.peer_lost".to_owned()));
        let others: Vec<&str> = private.nodes.iter().copied().filter(|node| *node != lost).collect();
        while !others.iter().all(|node| state_at(&private.world, node, id) == wanted) {
            assert!(begun.elapsed() < LOSS_MAX, "{lost}: {others:?}");
        }
        eprintln!("{lost} lost: an end after {took:?}, at every side after {:?}", begun.elapsed());
        assert!(begun.elapsed() < LOSS_MAX, "{lost}: {took:?}");
        private.world.start(lost);
        private.world.wait_there("lab", private.nodes.len());
        let begun = Instant::now();
        while state_at(&private.world, lost, id) != wanted {
            assert!(begun.elapsed() < LOSS_MAX, "{lost} does not learn the end");
        }
        let next = private.submit(&few, "").ok();
        private.check(&next, &few, |key| private.plain(key));
    }
    assert_eq!(audit(&private.world)["faults"], json!([]));
}

/// Preprocessing is used once. The number of an attempt is durable at a dealer before a byte of it leaves, and what is
/// dealt follows from fresh randomness and that number; whoever has the coordinator's key, or starts everything anew
/// after kill -9, gets neither the same attempt again nor another one of a job for which something was dealt.
#[test]
fn a_dealer_deals_an_attempt_once_whoever_asks_and_however_often_all_are_killed() {
    let mut private = Private::new(vec![table("a", 5, 20_000, 4)], "m", "rows = 1000000\nprecision = \"score\"");
    let (many, few) = (keys(20_000), keys(20));
    let wire = Wire::open(&private.world.home("lab")).unwrap();
    let FromCoordinator::Roster(roster) = wire.ask(&ToCoordinator::Roster).unwrap() else { panic!() };
    let id = private.begin(&many, "output = \"decision\"\nthreshold = \"0\"");
    wire.computing(id);
    let all: Vec<&str> = private.nodes.iter().copied().chain([COORDINATOR]).collect();
    all.iter().for_each(|party| private.world.kill(party));
    for node in &private.nodes {
        assert_eq!(kept(&private.world, node, id).attempt, 1, "{node}: durable before anything was sent");
    }
    assert!(kept(&private.world, DEALER, id).input_sent, "durable before the first tile was dealt");
    let before = ledger(&private.world, DEALER, id);

    // The nodes alone, and a coordinator that asks for the attempt again.
    private.nodes.iter().for_each(|node| private.world.start(node));
    let entry = |name: &str| {
        let root = tacit_tests::wire::signing_key(&private.world.home(name), "root.key").id();
        roster.iter().find(|e| PartyCard::verify(&e.card).unwrap().body().root == root).unwrap()
    };
    let seats =
        ["a", "m", DEALER].map(|name| Seated { card: entry(name).card.clone(), address: entry(name).address.clone() });
    let nodes =
        ["a", "m", DEALER].map(|name| tacit_tests::wire::signing_key(&private.world.home(name), "node.key").id());
    let key = tacit_tests::wire::signing_key(&private.world.home(COORDINATOR), "root.key");
    for (name, node) in ["a", "m", DEALER].iter().zip(nodes) {
        let coordinator = Wire::dial(&entry(name).address, node, &key);
        let reserve = |n: u32| coordinator.order(&ToNode::Reserve { job: id, attempt: Attempt(n), ttl_ms: 60_000 });
        let start = |n: u32| {
            let assignment = Assignment {
                job: id,
                attempt: Attempt(n),
                seats: seats.to_vec(),
                aggregator: nodes[0],
                budget_ms: 60_000,
                step_ms: 10_000,
            };
            coordinator.order(&ToNode::Start { assignment })
        };
        let refused = |answer: FromNode, code: Code| matches!(answer, FromNode::Failed(fault) if fault.code == code);
        assert_eq!(start(1), FromNode::Started, "{name}: it says what it once did, and does nothing");
        // Who shows no log is kept no slot: what a node's database knows of its jobs might be from before them.
        for attempt in [1, 2] {
            assert!(refused(reserve(attempt), Code::RefusedLedgerBehind), "{name}");
        }
        assert!(refused(start(2), Code::JobBusy), "{name}: no slot, no attempt");
    }
    assert_eq!(ledger(&private.world, DEALER, id), before, "nothing more was dealt");

    private.world.start(COORDINATOR);
    private.world.wait_there("lab", private.nodes.len());
    let wire = Wire::open(&private.world.home("lab")).unwrap();
    let view = wire.ended(id).unwrap();
    assert!(matches!(&view.terminal, Some(Terminal::Failed { code: Code::JobPeerLost, .. })), "{view:?}");
    assert_eq!(view.attempt, 1, "no other attempt was made: {view:?}");
    let next = private.submit(&few, "").ok();
    private.check(&next, &few, |key| private.plain(key));
}

/// A group without an organisation to spare lets the coordinator deal: a node with keys of its own in the
/// coordinator's process. It deals once everyone has signed it by name.
#[test]
fn a_coordinator_deals_for_those_who_have_all_signed_it() {
    let mut private = Private::new(vec![table("a", 5, 40, 2)], "m", "rows = 1000\nprecision = \"score\"");
    let address = format!("127.0.0.1:{}", tacit_tests::world::free_port());
    assert_eq!(private.world.stop(COORDINATOR), 0);
    let options = ["coordinator", "run", "--dealer", "house", "--dealer-listen", &address, "--dealer-public", &address];
    let mut command = private.world.command(COORDINATOR, &options);
    private.world.spawn(COORDINATOR, &mut command);
    private.world.wait_there("lab", private.nodes.len() + 1);
    let house = format!("{COORDINATOR}/dealer");
    let root =
        |private: &Private, home: &str| tacit_tests::wire::signing_key(&private.world.home(home), "root.key").id();
    assert_ne!(root(&private, &house), root(&private, COORDINATOR), "keys of its own");

    private.draft("house", &["house"], "rows = 1000\nprecision = \"score\"").ok();
    let keys = keys(40);
    let submit = |private: &Private| {
        let file = private.job("contract = \"house\"\ndealer = \"house\"", &keys, "");
        private.world.run("lab", &["job", "submit", &shown(&file), "--watch"])
    };
    private.world.run(&house, &["contract", "sign", "house"]).ok();
    private.world.run("m", &["contract", "sign", "house"]).ok();
    // One owner who does not sign is a veto.
    let vetoed = submit(&private);
    assert_eq!(vetoed.json["code"], json!("refused.contract_incomplete"), "{}", vetoed.json);
    assert!(vetoed.json["reason"].as_str().unwrap().contains("lacks a"), "{}", vetoed.json);
    private.world.run("a", &["contract", "sign", "house"]).ok();
    let done = submit(&private).ok();
    private.check(&done, &keys, |key| private.plain(key));
    let sent = ledger(&private.world, &house, id_of(&done));
    assert!(kinds(&sent)["randomness"] > 0, "{sent:?}");

    // Killed and started without the option, the coordinator has the same dealer.
    private.world.kill(COORDINATOR);
    private.world.start(COORDINATOR);
    private.world.wait_there("lab", private.nodes.len() + 1);
    let done = submit(&private).ok();
    private.check(&done, &keys, |key| private.plain(key));
    assert_eq!(audit(&private.world)["valid"], json!(3));
    assert_eq!(private.world.stop(COORDINATOR), 0, "{}", private.world.log(COORDINATOR));
    let other = private.world.run(COORDINATOR, &["coordinator", "run", "--dealer", "other"]).fails("args.invalid");
    assert!(other.contains("`house`"), "{other}");
}

/// Less than the score of a split model takes a dealer too; nobody's part is seen, not even by the dealer.
#[test]
fn a_split_model_gives_decisions_through_a_dealer() {
    let (tables, mut world) = (vec![table("a", 5, 60, 2), table("b", 6, 60, 3)], World::with_coordinator());
    let whole = Model::of("a", &tables);
    for table in &tables {
        world.join(table.owner, "node");
        let file = world.write(&format!("{}.csv", table.owner), &table.csv);
        let levels = ["data", "add", "data", &shown(&file), "--level", "id=align_key", "--all", "score_only"];
        world.run(table.owner, &levels).ok();
        let own: Vec<f64> = table.features.iter().map(|name| whole.weights[name]).collect();
        let part = json!({"format": "tacit-linear/1", "library": "scikit-learn 1.7.2", "link": "logistic",
            "features": table.features, "coefficients": own, "intercept": whole.intercept / 2.0});
        let file = world.write("part.json", part.to_string());
        world.run(table.owner, &["model", "import", "credit", &shown(&file), "--format", "linear"]).ok();
    }
    world.join(DEALER, "node");
    ["a", "b", DEALER].iter().for_each(|node| world.start(node));
    world.join("lab", "operator");
    world.wait_there("lab", 3);
    let mut text = String::from(
        "name = \"credit\"\npurpose = \"tests\"\nkinds = [\"score-linear/v1\"]\ndemander = \"lab\"\nquota_jobs = 9\n\
         valid_days = 30\ndealers = [\"notary\"]\n[cohort]\nrows = 3\ncontributors = 2\n\
         [scoring]\nrows = 500\nprecision = \"decision\"\n",
    );
    for owner in ["a", "b"] {
        write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n").unwrap();
        write!(text, "[[models]]\nowner = \"{owner}\"\nmodel = \"credit\"\n").unwrap();
    }
    let file = world.write("contract.toml", text);
    world.run_soon("lab", &["contract", "draft", &shown(&file)]);
    ["a", "b", DEALER].iter().for_each(|node| drop(world.run(node, &["contract", "sign", "credit"]).ok()));
    let keys = keys(64);
    world.write("keys.txt", keys.join("\n"));
    // Values outside the ranges of a private model are taken as they are: a split model has none.
    let plain = |key: &String| {
        let values = tables.iter().map(|t| Some((t, t.rows.get(key)?.as_ref()?)));
        let sum =
            |(t, row): (&Table, &Vec<f64>)| t.features.iter().zip(row).map(|(f, v)| whole.weights[f] * v).sum::<f64>();
        values.map(|v| v.map(sum)).sum::<Option<f64>>().map(|sum| sum + whole.intercept)
    };
    let mut margins: Vec<f64> = keys.iter().filter_map(plain).collect();
    margins.sort_by(f64::total_cmp);
    let threshold = (margins[margins.len() / 2] + margins[margins.len() / 2 - 1]) / 2.0;
    let file = world.write(
        "job.toml",
        format!(
            "kind = \"score-linear/v1\"\nkeys = \"keys.txt\"\n{HEAD}\n[params]\nmode = \"split\"\nkey = \"id\"\n\
             bound = \"64\"\noutput = \"decision\"\nthreshold = \"{threshold:.9}\"\n"
        ),
    );
    let done = world.run("lab", &["job", "submit", &shown(&file), "--watch"]).ok();
    let wanted: Vec<Value> =
        keys.iter().map(|key| json!({"key": key, "decision": plain(key).map(|m| m >= threshold)})).collect();
    assert_eq!(done["result"]["decisions"], json!(wanted));
    let coarse = std::fs::read_to_string(&file).unwrap().replace("\"decision\"", "\"rounded\"\ndecimals = 1");
    let coarse: String = coarse.lines().filter(|l| !l.starts_with("threshold")).map(|l| format!("{l}\n")).collect();
    let file = world.write("coarse.toml", coarse);
    let refused = world.run("lab", &["job", "submit", &shown(&file), "--watch"]);
    assert_eq!(refused.json["code"], json!("refused.precision"), "{}", refused.json);
}

/// The memory of a running daemon, in MiB: now, and the most so far.
fn memory(world: &World, party: &str) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid(party))).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// 100,000 rows of 20 features with a private model, in a memory that grows by little more than the rows themselves.
#[test]
#[ignore = "the greatest job, for its time and memory: `cargo xtask long private`"]
fn a_hundred_thousand_rows_of_twenty_features_take_little_memory() {
    let tables = vec![table("a", 5, 100_000, 12), table("b", 6, 100_000, 8)];
    let private = Private::new(tables, "m", "rows = 1000000\nprecision = \"score\"");
    let keys = keys(100_000);
    let file = private.job(&format!("{HEAD}\nattempt_seconds = 600"), &keys, "");
    let before: Vec<(u64, u64)> = private.nodes.iter().map(|node| memory(&private.world, node)).collect();
    let begun = Instant::now();
    let done = private.world.run("lab", &["job", "submit", &shown(&file), "--watch"]).ok();
    eprintln!("100,000 rows of 20 features in {:?}", begun.elapsed());
    private.check(&done, &keys, |key| private.plain(key));
    for (node, before) in private.nodes.iter().zip(before) {
        let (now, most) = memory(&private.world, node);
        eprintln!("{node}: {} MiB before, at most {most}, {now} after", before.0);
        assert!(most < before.0 + 256, "{node}: {before:?} before, at most {most} MiB");
    }
}
