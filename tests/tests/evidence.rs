//! One file for a regulator: a use with everything that was signed for it, checked by the auditor's program in an empty
//! folder, without home and without network.

use std::process::Command;

use serde_json::{Value, json};
use tacit_tests::program::program;
use tacit_tests::world::shown;
use tacit_tests::{Done, World};

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
    let [row] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&row["value"], &row["forgotten"]), (&json!(8), &json!(false)), "{listed}");
    let commitment = row["commitment"].as_str().unwrap().to_owned();
    // What the log has is the commitment.
    let bytes = hex::decode(&commitment).unwrap();
    assert!(std::fs::read(&bundle).unwrap().windows(32).any(|part| part == bytes));

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
    assert_eq!(world.run("b", &["receipt", "opening"]).ok()[0]["forgotten"], json!(true));
    world
        .run("b", &["receipt", "opening", &commitment, "--to", "authority", "--out", &sealed])
        .fails("receipt.opening");
    assert_eq!(world.run("b", &["receipt", "forget", &commitment]).ok()["before"], json!(true));
    assert_eq!(verify(&world, &[&bundle, "--trust", &trust]).ok()["ok"], json!(true));
}
