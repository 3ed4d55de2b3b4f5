//! One file for a regulator: a use with everything that was signed for it, checked by the auditor's program in an empty
//! folder, without home and without network.

use std::process::Command;

use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_receipts::{Attestation, Audience, Bundle, JointReceipt, Leaf, SeenCheckpoint};
use tacit_tests::program::program;
use tacit_tests::world::shown;
use tacit_tests::{Done, World};
use tacit_types::{ContractId, DatasetVersionId, Hash, JobId, Name, NodeId, UnixMillis};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const JOB: &str = "kind = \"count/v1\"\ncontract = \"group\"\n";

fn world() -> World {
    let tables: Vec<(&str, String)> =
        OWNERS.iter().map(|owner| (*owner, (0..8).fold("n\n".to_owned(), |t, i| format!("{t}{i}\n")))).collect();
    let tables: Vec<(&str, &str)> = tables.iter().map(|(name, table)| (*name, table.as_str())).collect();
    let world = World::with_nodes(&tables, "after_compare,after_aggregate,after_group_by");
    // One job is allowed, so that the second is refused.
    world.agree("group", &OWNERS, 1, "");
    world
}

/// On a machine that has nothing but the program and the files.
fn verify(world: &World, arguments: &[&str]) -> Done {
    let empty = world.folder().join("clean");
    std::fs::create_dir_all(&empty).unwrap();
    let mut command = Command::new(program("tacit-verify"));
    World::finish(command.args(arguments).arg("--json").env_clear().current_dir(empty))
}

fn words(report: &Value, lang: &str) -> String {
    let sentences = report["uses"][0]["sentences"].as_array().unwrap();
    sentences.iter().map(|s| s[lang].as_str().unwrap().to_owned() + "\n").collect()
}

#[test]
fn one_file_shows_under_which_authority_a_job_ran_or_was_refused() {
    let world = world();
    world.job(JOB).ok();
    assert_eq!(world.job(JOB).json["code"], json!("refused.quota"));
    let path = |name: &str| shown(&world.folder().join(name));
    let [bundle, trust] = ["case.bundle", "group.trust"].map(path);
    let listed = world.run("lab", &["receipt", "list"]).ok();
    let receipts: Vec<(u64, String)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["leaf"].as_u64().unwrap(), r["status"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(receipts.iter().map(|(_, status)| status.as_str()).collect::<Vec<_>>(), ["ok", "refused"], "{listed}");

    let export = |who: &str, leaf: u64| {
        let leaf = leaf.to_string();
        world.run(who, &["receipt", "export", &leaf, "--papers", "--out", &bundle, "--trust", &trust]).ok()
    };
    let wrote = export("lab", receipts[0].0);
    // The job, four signatures of the contract, at least four cards, three versions, three answers.
    assert!(wrote["papers"].as_u64().unwrap() >= 15, "{wrote}");
    let report = verify(&world, &[&bundle, "--trust", &trust]).ok();
    assert_eq!(report["uses"][0]["authority_shown"], json!(true), "{}", words(&report, "en"));
    let (en, zh) = (words(&report, "en"), words(&report, "zh"));
    for part in ["lab ordered it at", "Authority: the contract group", "a admitted it at", "The data of c:"] {
        assert!(en.contains(part), "{part} in {en}");
    }
    assert!(zh.contains("依据：合同 group") && zh.contains("b 于"), "{zh}");
    let shown_to_people = Command::new(program("tacit-verify")).args([&bundle, "--trust", &trust]).output().unwrap();
    let text = String::from_utf8(shown_to_people.stdout).unwrap();
    assert!(text.contains("AUTHORITY SHOWN") && text.contains("Authority: the contract group"), "{text}");

    // A paper of another use in its place is found.
    let mut bytes = std::fs::read(&bundle).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    assert_eq!(verify(&world, &[&bundle, "--trust", &trust]).status, 6);

    // The refused job: its operator has the refusal, with who refused and why.
    export("lab", receipts[1].0);
    let report = verify(&world, &[&bundle, "--trust", &trust]).ok();
    let en = words(&report, "en");
    assert!(en.contains("was refused [refused.quota]") && en.contains("refused it at"), "{en}");
    // A party sees the admissions and its own answer; the regulator has the file from a party.
    let wrote = export("a", receipts[0].0);
    assert!(wrote["papers"].as_u64().unwrap() >= 15, "{wrote}");
    let report = verify(&world, &[&bundle, "--trust", &trust]).ok();
    assert_eq!(report["uses"][0]["authority_shown"], json!(true), "{}", words(&report, "en"));
    let proof = ["receipt", "export", "2", "--papers", "--format", "cose", "--out", &bundle];
    world.run("lab", &proof).fails("args.invalid");
}

/// Every file below a folder.
fn files(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .flat_map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path()),
            kind if kind.is_file() => vec![std::fs::read(entry.path()).unwrap()],
            _ => Vec::new(),
        })
        .collect()
}

/// The receipt commits to how many rows each owner's data has and shows a power of two alone; the regulator to whom an owner
/// seals the opening sees the number, and nobody does once it is forgotten.
#[test]
fn a_figure_is_opened_by_the_regulator_alone_and_by_nobody_once_it_is_forgotten() {
    let world = world();
    world.join("authority", "regulator");
    world.join("other", "regulator");
    world.job(JOB).ok();
    let path = |name: &str| shown(&world.folder().join(name));
    let [bundle, trust, sealed] = ["log.bundle", "group.trust", "rows.opening"].map(path);
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    assert_eq!(verify(&world, &[&bundle, "--trust", &trust]).ok()["ok"], json!(true));

    let listed = world.run("b", &["receipt", "opening"]).ok();
    let figure = |what: u64| {
        let found: Vec<&Value> = listed.as_array().unwrap().iter().filter(|row| row["what"] == json!(what)).collect();
        let [row] = found[..] else { panic!("{what}: {listed}") };
        row.clone()
    };
    assert_eq!(listed.as_array().unwrap().len(), 4, "{listed}");
    let row = figure(0);
    assert_eq!((&row["value"], &row["forgotten"], &row["class"]), (&json!(8), &json!(false), &json!(null)), "{listed}");
    let commitment = row["commitment"].as_str().unwrap().to_owned();
    // What the node counted of itself: every row of its source was read, and all of it is its own word.
    assert_eq!((&figure(1)["value"], &figure(1)["class"]), (&json!(8), &json!("C")), "{listed}");
    for what in [2, 3] {
        assert_eq!((figure(what)["value"].is_u64(), &figure(what)["class"]), (true, &json!("C")), "{listed}");
    }
    let scanned = figure(1)["commitment"].as_str().unwrap().to_owned();
    world.run("b", &["receipt", "opening", &scanned, "--to", "authority", "--out", &sealed]).ok();
    let own = world.run("authority", &["receipt", "open", &sealed, &bundle, "--trust", &trust]).ok();
    assert_eq!((&own["party"], &own["value"]), (&json!("b"), &json!(8)), "{own}");
    assert_eq!((&own["class"], &own["billable"]), (&json!("C"), &json!(false)), "{own}");
    let mut text =
        world.command("authority", &["--lang", "zh", "receipt", "open", &sealed, &bundle, "--trust", &trust]);
    let text = String::from_utf8(text.output().unwrap().stdout).unwrap();
    assert!(text.contains("读取的行数: 8") && text.contains("不计费"), "{text}");
    // The receipt shows that it commits to them, with whose they are, and nothing of what they are.
    let leaf = world.run("lab", &["receipt", "list"]).ok()[0]["leaf"].to_string();
    let shown = world.run("lab", &["receipt", "show", &leaf]).ok();
    let of_b: Vec<&Value> = shown["figures"].as_array().unwrap().iter().filter(|f| f["party"] == json!("b")).collect();
    let classes: Vec<&Value> = of_b.iter().map(|figure| &figure["class"]).collect();
    assert_eq!(classes, [&json!(null), &json!("C"), &json!("C"), &json!("C")], "{shown}");
    assert_eq!(of_b[1]["commitment"], json!(scanned));
    assert!(of_b.iter().all(|figure| figure.get("value").is_none()), "{shown}");
    let words = world.command("lab", &["--lang", "en", "receipt", "explain", &leaf]).output().unwrap();
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.contains("rows scanned, b (") && words.contains("its own word, which is never billed"), "{words}");
    // What the log has is the commitment.
    let bytes = hex::decode(&commitment).unwrap();
    assert!(std::fs::read(&bundle).unwrap().windows(32).any(|part| part == bytes));

    // A job has several figures: which of them is named, or all of them are listed.
    let job = row["job"].as_str().unwrap().to_owned();
    let ask = |more: &[&str]| {
        world.run("b", &[&["receipt", "opening", &job, "--to", "authority", "--out", &sealed], more].concat())
    };
    ask(&[]).fails("receipt.unknown");
    assert_eq!(ask(&["--figure", "rows"]).ok()["commitment"], json!(commitment));
    assert_eq!(ask(&["--figure", "rows-scanned"]).ok()["commitment"], json!(scanned));
    let listed =
        |more: &[&str]| world.run("b", &[&["receipt", "opening", &job], more].concat()).ok().as_array().unwrap().len();
    assert_eq!((listed(&[]), listed(&["--figure", "cpu"])), (4, 1));
    world.run("b", &["receipt", "opening", &commitment, "--to", "lab", "--out", &sealed]).fails("args.invalid");
    world.run("b", &["receipt", "opening", &commitment, "--to", "authority", "--out", &sealed]).ok();
    let open = ["receipt", "open", &sealed, &bundle, "--trust", &trust];
    let opened = world.run("authority", &open).ok();
    assert_eq!((&opened["party"], &opened["value"], &opened["pinned"]), (&json!("b"), &json!(8), &json!(true)));
    assert_eq!(opened["commitment"], json!(commitment));
    world.run("other", &open).fails("receipt.opening");
    world
        .run("a", &["receipt", "opening", &commitment, "--to", "authority", "--out", &sealed])
        .fails("receipt.unknown");
    // One of another owner's, under the name of this file, is another figure; an altered one is none.
    let mut altered = std::fs::read(&sealed).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&sealed, &altered).unwrap();
    world.run("authority", &open).fails("receipt.opening");

    let key = std::fs::read(world.home("b").join("openings/keys").join(&commitment)).unwrap();
    assert!(files(&world.home("b")).contains(&key));
    let forgot = world.run("b", &["receipt", "forget", &commitment]).ok();
    assert_eq!((&forgot["forgotten"], &forgot["before"]), (&json!(true), &json!(false)));
    assert!(!files(&world.home("b")).iter().any(|file| file.windows(32).any(|part| part == key)));
    let left = world.run("b", &["receipt", "opening"]).ok();
    let forgotten = |row: &Value| (row["commitment"] == json!(commitment), row["forgotten"] == json!(true));
    assert!(left.as_array().unwrap().iter().map(forgotten).all(|(own, gone)| own == gone), "{left}");
    world
        .run("b", &["receipt", "opening", &commitment, "--to", "authority", "--out", &sealed])
        .fails("receipt.opening");
    assert_eq!(world.run("b", &["receipt", "forget", &commitment]).ok()["before"], json!(true));
    let forgot = world.run("b", &["receipt", "forget", &job, "--figure", "memory"]).ok();
    assert_eq!(forgot["commitments"].as_array().unwrap().len(), 1, "{forgot}");
    let forgot = world.run("b", &["receipt", "forget", &job]).ok();
    assert_eq!((forgot["commitments"].as_array().unwrap().len(), &forgot["before"]), (2, &json!(false)), "{forgot}");
    let left = world.run("b", &["receipt", "opening"]).ok();
    assert!(left.as_array().unwrap().iter().all(|row| row["forgotten"] == json!(true)), "{left}");
    world.run("b", &["receipt", "forget", &job]).fails("receipt.unknown");
    assert_eq!(verify(&world, &[&bundle, "--trust", &trust]).ok()["ok"], json!(true));
}

/// What went over the links of a job is signed by both ends of each: either shows it from its own store, beside the receipt.
#[test]
fn both_ends_of_a_link_show_what_went_over_it() {
    let world = world();
    world.job(JOB).ok();
    let path = |name: &str| shown(&world.folder().join(name));
    let [bundle, trust] = ["log.bundle", "group.trust"].map(path);
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let receipt = world.run("lab", &["receipt", "list"]).ok()[0].clone();
    let (job, leaf) = (receipt["job"].as_str().unwrap().to_owned(), receipt["leaf"].to_string());
    let own: Vec<Value> = OWNERS.map(|owner| world.run(owner, &["receipt", "link", &job]).ok()).into();
    for (owner, links) in OWNERS.iter().zip(&own) {
        let rows = links["links"].as_array().unwrap();
        assert!(rows.len() == 2 && rows.iter().all(|row| row["state"] == json!("sealed")), "{links}");
        for row in rows {
            // What one has sent the other has received, and both have signed so.
            let [sent, received] = ["sent", "received"].map(|way| &row["own"][way]);
            assert!(sent["frames"].as_u64() > Some(1) && sent["bytes"].as_u64() > Some(200), "{row}");
            assert_eq!([sent, received], ["received", "sent"].map(|way| &row["other"][way]));
            let peer = row["peer"].as_str().unwrap();
            let theirs = &own[OWNERS.iter().position(|other| *other == peer).unwrap()]["links"];
            let there = theirs.as_array().unwrap().iter().find(|row| row["peer"] == json!(owner)).unwrap();
            assert_eq!((&there["own"], &there["other"]), (&row["other"], &row["own"]));
            // It is what the node's own ledger says has left for that end.
            let ledger = world.run(owner, &["node", "egress"]).ok();
            let left = ledger.as_array().unwrap().iter().filter(|row| row["job"] == json!(job) && row["peer"] == peer);
            let left = left.filter(|row| row["kind"] != "control").map(|row| row["bytes"].as_u64().unwrap());
            assert_eq!(Some(left.sum::<u64>()), sent["bytes"].as_u64(), "{ledger}");
        }
    }
    // The record has the root of each, and nobody else's is shown under it.
    let of_record = world.run("lab", &["receipt", "show", &leaf]).ok()["links"].clone();
    for (owner, links) in OWNERS.iter().zip(&own) {
        let entry = of_record.as_array().unwrap().iter().find(|entry| entry["party"] == json!(owner)).unwrap();
        assert_eq!((&entry["root"], &entry["unsealed"]), (&links["root"], &json!(0)), "{of_record}");
    }
    let [from_a, from_b] = ["a.link", "b.link"].map(path);
    world.run("a", &["receipt", "link", &job, "--peer", "b", "--out", &from_a]).ok();
    world.run("b", &["receipt", "link", &job, "--peer", "a", "--out", &from_b]).ok();
    for (file, party, peer) in [(&from_a, "a", "b"), (&from_b, "b", "a")] {
        let report = verify(&world, &[&bundle, "--trust", &trust, "--link", file]).ok();
        assert_eq!(
            (&report["ok"], &report["state"], &report["leaf"]),
            (&json!(true), &json!("sealed"), &receipt["leaf"])
        );
        assert_eq!((&report["party"][0], &report["peer"][0]), (&json!(party), &json!(peer)), "{report}");
    }
    for lang in ["en", "zh"] {
        let mut command = Command::new(program("tacit-verify"));
        let output = command.args([&bundle, "--trust", &trust, "--link", &from_a, "--lang", lang]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(if lang == "en" { "LINK SEALED" } else { "链路已由双方签署" }), "{text}");
    }
    let mut altered = std::fs::read(&from_a).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&from_a, &altered).unwrap();
    let refused = verify(&world, &[&bundle, "--trust", &trust, "--link", &from_a]);
    assert_eq!((refused.status, &refused.json["error"]["code"]), (6, &json!("receipt.link")), "{:?}", refused.json);
    world.run("a", &["receipt", "link", &job, "--peer", "lab", "--out", &from_a]).fails("receipt.unknown");
    world.run("a", &["receipt", "link", "ffff"]).fails("job.unknown");
}

/// A receipt with all that differs between two runs of one job set to nothing: ids, times, hashes, commitments.
fn levelled(leaf: &[u8]) -> (JointReceipt, Vec<Attestation>) {
    let nothing = Hash([0; 32]);
    let Ok(Leaf::Receipt(receipt)) = Leaf::read(leaf) else { panic!("no receipt") };
    let mut receipt = receipt.into_body();
    let attestation = |bytes: &[u8]| {
        let mut body = Statement::<Attestation>::verify(bytes).unwrap().into_body();
        (body.usage, body.transcript) = (nothing, body.transcript.map(|_| nothing));
        body.seen = body.seen.map(|seen| SeenCheckpoint { root: nothing, ..seen });
        body.figures.iter_mut().for_each(|figure| figure.commitment = nothing);
        body
    };
    let mut attestations: Vec<Attestation> = receipt.attestations.iter().map(|bytes| attestation(bytes)).collect();
    attestations.sort_by_key(|a| (a.figures.len(), a.seen.as_ref().map(|seen| seen.size)));
    attestations.iter_mut().for_each(|a| a.seen = None);
    receipt.attestations = receipt.attestations.iter().map(|bytes| vec![0; bytes.len()].into()).collect();
    let record = &mut receipt.record;
    (record.job, record.spec) = (JobId([0; 32]), nothing);
    (record.started, record.ended) = (UnixMillis(0), UnixMillis(0));
    record.contracts.iter_mut().for_each(|id| *id = ContractId([0; 32]));
    record.transcripts.iter_mut().for_each(|hash| *hash = nothing);
    record.links.iter_mut().for_each(|links| links.root = nothing);
    (record.result, record.algorithm) = (record.result.map(|_| nothing), record.algorithm.map(|_| nothing));
    for party in &mut record.parties {
        party.party = NodeId([0; 32]);
        party.name = Name::new("x").unwrap();
        party.dataset = party.dataset.map(|_| DatasetVersionId([0; 32]));
        party.rights = party.rights.map(|_| nothing);
    }
    record.disclosures.iter_mut().for_each(|d| d.to = Audience::Seats);
    (receipt, attestations)
}

/// Other rows, and another number of them where what is published says the same, give a receipt of the same length that says the
/// same but for ids, times, hashes and commitments.
#[test]
fn a_receipt_tells_nothing_of_the_rows_that_were_read() {
    let run = |rows: u64| {
        let table = (0..rows).fold("n\n".to_owned(), |text, i| format!("{text}{}\n", i * rows));
        let world = World::with_nodes(
            &OWNERS.map(|name| (name, table.as_str())),
            "after_compare,after_aggregate,after_group_by",
        );
        world.agree("group", &OWNERS, 5, "");
        world.job(JOB).ok();
        let scanned = world.run("a", &["receipt", "opening"]).ok();
        let of = |what: u64| {
            scanned.as_array().unwrap().iter().find(|row| row["what"] == json!(what)).unwrap()["value"].clone()
        };
        assert_eq!([of(0), of(1)], [json!(rows), json!(rows)]);
        let bundle = shown(&world.folder().join("log.bundle"));
        world.run("lab", &["receipt", "export", "--out", &bundle]).ok();
        let bundle = Bundle::parse(&std::fs::read(&bundle).unwrap()).unwrap();
        let receipt = bundle.leaves.iter().find(|leaf| matches!(Leaf::read(leaf), Ok(Leaf::Receipt(_))));
        receipt.expect("a receipt").to_vec()
    };
    let (some, others) = (run(9), run(15));
    assert_eq!(some.len(), others.len());
    assert_ne!(some, others);
    assert_eq!(levelled(&some), levelled(&others));
}
