//! Governance as people use it: plans, revocations, new versions of contracts, duties of deletion, what a person may ask.

use std::path::Path;

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::world::limit;

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n";
const COUNT: &str = "kind = \"count/v1\"\ncontract = \"good\"\n[params]\nfilter = \"age >= 18\"\n";

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_plan_shows_each_owners_limits_before_and_after_its_price_and_takes_nothing() {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    let price = "currency = \"CNY\"\npayer = \"lab\"\npayees = [\"a\", \"b\", \"c\"]\nsubscription = \"100.00\"\n\
                 [[prices]]\nunit = \"job\"\neach = \"5.00\"\nfree = 1\n[[prices]]\nunit = \"party\"\neach = \"0.50\"\n";
    let price = world.write("price.toml", price);
    let privacy = "price = \"price.toml\"\n[privacy]\nepsilon = \"1\"\ndelta = \"0.0000001\"\n";
    world.agree("good", &OWNERS, 3, privacy);
    world.run("lab", &["price", "draft", &shown(&price), "--contract", "good"]).ok();
    OWNERS.iter().for_each(|owner| {
        world.run(owner, &["price", "sign", "good"]).ok();
    });
    let file = shown(&world.write("plan.toml", COUNT));
    let planned = || world.run("lab", &["job", "plan", &file]);
    let some = |a: &str, b: &str, c: &str| Some((a.to_owned(), b.to_owned(), Some(c.to_owned())));

    // Twice the same: nothing was taken.
    for _ in 0..2 {
        let plan = planned().ok();
        for owner in OWNERS {
            assert_eq!(limit(&plan, owner, "jobs"), some("3", "1", "2"), "{plan}");
            assert_eq!(limit(&plan, owner, "epsilon"), some("1", "0", "1"), "{plan}");
        }
        assert!(plan["owners"].as_array().unwrap().iter().all(|o| o["admits"] == json!(true) && o["rule"].is_null()));
        let words: Vec<&str> = plan["in_words"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
        assert!(words.iter().any(|w| w.starts_with("the result, ")), "{words:?}");
        // One job at 5.00 and three parties at 0.50; the free one and the subscription are the period's.
        assert_eq!((&plan["price"]["currency"], &plan["price"]["at_most"]), (&json!("CNY"), &json!("6.50")), "{plan}");
    }
    let text = |lang: &str| {
        let output = world.command("lab", &["--lang", lang, "job", "plan", &file]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (en, zh) = (text("en"), text("zh"));
    assert!(en.contains("jobs of the contract") && en.contains("left after") && en.contains("CNY"), "{en}");
    assert!(zh.contains("合同作业数") && zh.contains("作业后余量") && zh.contains("各组合计的行数"), "{zh}");

    // The owner asks its own node the same of the signed bytes, and takes nothing by it either.
    let signed = shown(&world.folder().join("plan.signed"));
    world.run("lab", &["job", "plan", &file, "--signed", &signed]).ok();
    let tested = || world.run("a", &["contract", "test", &signed]);
    for _ in 0..2 {
        let kept = tested().ok();
        assert_eq!(
            (&kept["admits"], &kept["code"], &kept["number"]),
            (&json!(true), &Value::Null, &kept["rules"]),
            "{kept}"
        );
    }
    let rules = world.command("a", &["--lang", "zh", "contract", "test", &signed]).output().unwrap();
    let rules = String::from_utf8(rules.stdout).unwrap();
    assert!(rules.contains("用途与合同一致") && rules.contains("本节点将接受该作业"), "{rules}");

    // What is used is seen by the next plan, and what is left decides.
    for left in ["1", "0"] {
        let done = world.job(COUNT).ok();
        assert_eq!(done["checked"], json!(false), "{done}");
        let job = world.run("lab", &["job", "show", done["id"].as_str().unwrap()]).ok();
        assert_eq!(job["checked"], json!(false), "{job}");
        let plan = planned().ok();
        assert_eq!(limit(&plan, "b", "jobs").and_then(|l| l.2).as_deref(), Some(left), "{plan}");
    }
    world.job(COUNT).ok();
    let plan = planned();
    assert_eq!(plan.status, 3);
    for owner in plan.json["owners"].as_array().unwrap() {
        assert_eq!((&owner["rule"], &owner["code"]), (&json!("quota"), &json!("refused.quota")), "{owner}");
    }
    assert_eq!(limit(&plan.json, "a", "jobs"), Some(("0".into(), "1".into(), None)));
    let refused = tested();
    assert_eq!((refused.status, &refused.json["admits"], &refused.json["rule"]), (3, &json!(false), &json!("quota")));
    assert_eq!(refused.json["code"], json!("refused.quota"));
    let altered = world.folder().join("altered.signed");
    let mut bytes = std::fs::read(&signed).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&altered, bytes).unwrap();
    assert_ne!(world.run("a", &["contract", "test", &shown(&altered)]).status, 0);
    world.run("a", &["contract", "test", "0000"]).fails("job.unknown");
    // Who operates under no such contract learns of no limit: the job is not even its to write.
    world.join("other", "operator");
    assert_ne!(world.run("other", &["job", "plan", &file]).status, 0);
}

fn stage(world: &World, party: &str, contract: &str) -> (String, Value) {
    let shown = world.run(party, &["contract", "show", contract]).ok();
    (shown["stage"].as_str().unwrap_or_default().to_owned(), shown["halted"]["code"].clone())
}

#[test]
fn a_revocation_travels_as_a_file_and_a_version_takes_the_place_of_the_one_before() {
    let mut world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.draft("good", &OWNERS, 5, "").ok();
    assert_eq!(stage(&world, "lab", "good"), ("requested".into(), Value::Null));
    world.run("a", &["contract", "sign", "good"]).ok();
    assert_eq!(stage(&world, "a", "good").0, "accepted");
    ["b", "c"].iter().for_each(|owner| {
        world.run(owner, &["contract", "sign", "good"]).ok();
    });
    assert_eq!(stage(&world, "lab", "good").0, "finalised");
    let done = world.job(COUNT).ok();
    assert_eq!(done["result"]["rows"], json!(12), "{done}");

    // A suspension of one holds at another that takes the file in, without a coordinator, and is lifted alike.
    let (held, lifted) = (shown(&world.folder().join("held")), shown(&world.folder().join("lifted")));
    let suspend = |until: &str, to: &str| {
        world.run("a", &["contract", "suspend", "good", "--until", until, "--reason", "review", "--out", to]).ok()
    };
    assert_eq!(suspend("2999-01-01", &held)["state"], json!("suspended"));
    world.run("b", &["list", "add", &held]).ok();
    assert_eq!(stage(&world, "b", "good"), ("finalised".into(), json!("refused.contract_suspended")));
    let file = shown(&world.write("plan.toml", COUNT));
    let plan = world.run("lab", &["job", "plan", &file]).json;
    let codes: Vec<&Value> = plan["owners"].as_array().unwrap().iter().map(|o| &o["code"]).collect();
    let no = json!("refused.contract_suspended");
    assert_eq!(codes.iter().filter(|c| ***c == no).count(), 2, "a and b, and c does not know: {plan}");
    assert!(plan["owners"].as_array().unwrap().iter().all(|o| o["code"].is_null() || o["rule"] == json!("revocation")));
    suspend("2020-01-01", &lifted);
    world.run("b", &["list", "add", &lifted]).ok();
    world.run("b", &["list", "add", &held]).fails("args.invalid");
    world.job(COUNT).ok();

    // A new version: the old one is over when it begins, and what was used counts on.
    let amends = "[lifecycle]\namends = \"good\"\ndeletion_days = 30\n";
    world.agree("better", &OWNERS, 4, amends);
    OWNERS.iter().for_each(|owner| {
        assert_eq!(stage(&world, owner, "good"), ("terminated".into(), json!("refused.contract_replaced")));
    });
    let better = COUNT.replace("good", "better");
    assert_eq!(world.job(COUNT).json["code"], json!("refused.contract_replaced"));
    for _ in 0..2 {
        world.job(&better).ok();
    }
    assert_eq!(world.job(&better).json["code"], json!("refused.quota"), "two of the version before and two of its own");

    // For good, at who revokes without anybody, and at the others by file.
    assert_eq!(world.stop(tacit_tests::world::COORDINATOR), 0);
    let revoked = shown(&world.folder().join("revoked"));
    let done = world.run("c", &["contract", "revoke", "better", "--reason", "over", "--out", &revoked]).ok();
    assert_eq!(done["state"], json!("revoked"));
    world.run("c", &["contract", "revoke", "better"]).ok();
    world.run("c", &["contract", "suspend", "better", "--until", "2999-01-01"]).fails("args.invalid");
    let taken = world.run("a", &["list", "add", &revoked]).ok();
    assert_eq!((&taken["kind"], &taken["reason"]), (&json!("revocation"), &json!("over")));
    world.run("a", &["list", "add", &held]).fails("args.invalid");
}

/// One owner takes another's place: both sign, and what was used of the version before is used.
#[test]
fn a_party_is_succeeded_by_another_once_both_have_signed() {
    let world = World::with_nodes(&["a", "b", "c", "d"].map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, 3, "");
    world.job(COUNT).ok();
    let next =
        |to: &str| format!("[lifecycle]\namends = \"good\"\n[[lifecycle.successions]]\nfrom = \"c\"\nto = \"{to}\"\n");
    world.draft("better", &["a", "b", "d"], 3, &next("e")).fails("args.invalid");
    world.agree("better", &["a", "b", "d"], 3, &next("d"));
    // Who is succeeded has not signed: nothing has changed.
    let better = COUNT.replace("good", "better");
    assert_eq!(world.job(&better).json["code"], json!("refused.contract_incomplete"));
    assert_eq!(stage(&world, "a", "good"), ("finalised".into(), Value::Null));
    world.job(COUNT).ok();
    world.run("c", &["contract", "sign", "better"]).ok();
    // A node that has not heard of it would admit the job that another refuses, and count it.
    for owner in ["a", "b"] {
        assert_eq!(stage(&world, owner, "good"), ("terminated".into(), json!("refused.contract_replaced")));
    }
    assert_eq!(world.job(COUNT).json["code"], json!("refused.contract_replaced"));
    let shown = world.run("b", &["contract", "show", "better"]).ok();
    assert_eq!(shown["lifecycle"]["successions"], json!([{"from": "c", "to": "d"}]), "{shown}");
    // Two of three are used, and the third is of the three that are.
    assert_eq!(world.job(&better).ok()["result"]["parties"], json!(3));
    assert_eq!(world.job(&better).json["code"], json!("refused.quota"));
}

#[test]
fn a_person_learns_at_the_owner_in_which_jobs_the_record_was_eligible() {
    let people = "id,age,agreed\nC-1,31,1\nC-2,42,1\nC-3,53,0\nC-4,17,1\nC-5,64,1\n";
    let mut world = World::with_coordinator();
    for name in OWNERS {
        world.join(name, "node");
        let file = shown(&world.write(&format!("{name}.csv"), people));
        let add = ["data", "add", "data", &file, "--all", LEVELS, "--level", "id=align_key", "--consent", "agreed = 1"];
        world.run(name, &add).ok();
        world.start(name);
    }
    world.join("lab", "operator");
    world.wait_online("lab", OWNERS.len());
    world.agree("good", &OWNERS, 5, "");
    world.agree("other", &OWNERS, 5, "");
    let adults = world.job(COUNT).ok();
    let old = world.job(&COUNT.replace("good", "other").replace("18", "40")).ok();
    // Of five at each owner one is too young and one did not agree; then two are old enough and agreed. Nothing else reads.
    assert_eq!((&adults["result"]["rows"], &old["result"]["rows"]), (&json!(9), &json!(6)), "{adults} {old}");
    // Nobody is asked: the coordinator is away, and so are the others.
    for daemon in ["coordinator", "b", "c"] {
        assert_eq!(world.stop(daemon), 0);
    }
    let uses = |key: &str| {
        let said = world.run("a", &["data", "subject", "data", key]).ok();
        assert_eq!(said["looked_at"], json!(2), "{said}");
        let uses = said["uses"].as_array().unwrap().clone();
        uses.iter().for_each(|u| assert_eq!((&u["began"], &u["ended"]), (&json!(true), &json!("succeeded")), "{u}"));
        uses
    };
    let jobs = |key: &str| uses(key).iter().map(|u| u["job"].clone()).collect::<Vec<_>>();
    let (adults_id, old_id) = (adults["id"].clone(), old["id"].clone());
    assert_eq!(jobs("C-1"), std::slice::from_ref(&adults_id));
    assert_eq!(jobs("C-2"), [old_id.clone(), adults_id.clone()], "newest first");
    assert_eq!(
        (jobs("C-3"), jobs("C-4"), jobs("C-9")),
        (vec![], vec![], vec![]),
        "without consent, too young, unknown"
    );
    let two = uses("C-2");
    let told = |u: &Value, key: &str| u[key].clone();
    assert_eq!((told(&two[0], "contract_name"), told(&two[1], "contract_name")), (json!("other"), json!("good")));
    assert_eq!((told(&two[0], "receipt"), told(&two[0], "rows")), (old["receipt"].clone(), json!(1)));
    assert_eq!((told(&two[0], "purpose"), told(&two[0], "kind")), (json!("tests"), json!("count/v1")));
    let output = world.command("a", &["--lang", "zh", "data", "subject", "data", "C-2"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("符合条件") && text.contains("未有任何信息离开本节点"), "{text}");
    world.run("a", &["data", "subject", "nothing", "C-2"]).fails("data.unknown");
    world.run("a", &["data", "subject", "data", "C-2", "--column", "name"]).fails("data.column_unknown");
    world.run("a", &["data", "subject", "data", "x", "--column", "age"]).ok();
}

#[test]
fn a_dataset_is_as_anonymous_as_its_owner_states_or_is_not_registered() {
    let world = World::with_coordinator();
    world.join("a", "node");
    let mut rows = String::from("age,region,income\n");
    for (age, region, n) in [("30-39", "north", 6), ("40-49", "north", 5), ("40-49", "south", 7)] {
        (0..n).for_each(|i| rows.push_str(&format!("{age},{region},{i}\n")));
    }
    let file = shown(&world.write("people.csv", &rows));
    let terms = |k: u32, quasi: &str| {
        let text = format!(
            "class = \"personal\"\ngrade = \"general-3\"\n[basis]\nkind = \"anonymised\"\n\
             document = \"sha256:{}\"\nuntil = \"2999-01-01\"\n[anonymised]\nmethod = \"bands of ages\"\n\
             k = {k}\nquasi = [{quasi}]\nuntil = \"2999-01-01\"\n",
            "01".repeat(32)
        );
        shown(&world.write("terms.toml", text))
    };
    let add = |terms: &str| world.run("a", &["data", "add", "people", &file, "--all", LEVELS, "--terms", terms]);
    let said = add(&terms(6, "\"age\", \"region\"")).fails("data.anonymity");
    assert!(said.contains("is 5, stated is 6"), "{said}");
    add(&terms(5, "\"age\", \"region\", \"income\"")).fails("data.anonymity");
    add(&terms(5, "\"nobody\"")).fails("data.column_unknown");
    assert_eq!(world.run("a", &["data", "show"]).ok(), json!([]), "what is refused is not registered");
    let added = add(&terms(5, "\"age\", \"region\"")).ok();
    assert_eq!(added["terms"]["anonymised"]["measured"], json!(5), "{added}");
    let shown = world.run("a", &["data", "show", "people"]).ok();
    let report = &shown["anonymity"];
    assert_eq!((&report["k"], &report["groups"], &report["rows"]), (&json!(5), &json!(3), &json!(18)), "{shown}");
    assert_eq!(report["groups_by_size"], json!([0, 0, 3, 0, 0]));
    assert_eq!(world.run("a", &["data", "check", "people"]).ok()["anonymity"], *report, "measured again, the same");
    // A person taken out of the smallest group is found.
    let last = rows.trim_end().rfind("40-49,north").unwrap();
    let end = last + rows[last..].find('\n').unwrap() + 1;
    rows.replace_range(last..end, "");
    world.write("people.csv", &rows);
    world.run("a", &["data", "check", "people"]).fails("data.anonymity");
}

/// An owner grades its data higher at once, and lower with two whom the contract names.
#[test]
fn a_grade_goes_up_at_once_and_down_with_two_approvals() {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    ["officer", "trustee", "passer"].iter().for_each(|name| world.join(name, "operator"));
    let hash = format!("sha256:{}", "01".repeat(32));
    let right = |holder: &str| format!("{{ holder = \"{holder}\", basis = \"{hash}\" }}");
    let control = format!(
        "[control.rights]\nhold = {{ basis = \"{hash}\" }}\nprocess = {}\noperate = {}\n[control.declarations]\n\
         harms_security = false\ninfringes_rights = false\nunauthorised = false\nbarred_by_law = false\n\
         [[control.approvals]]\noffice = \"cdo\"\nowner = \"a\"\napprovers = [\"officer\"]\n\
         [[control.approvals]]\noffice = \"trustee\"\napprovers = [\"trustee\"]\n",
        right("lab"),
        right("lab")
    );
    world.agree("good", &OWNERS, 20, &control);
    for approver in ["officer", "trustee"] {
        world.run(approver, &["contract", "approve", "good"]).ok();
    }
    world.job(COUNT).ok();
    let regrade = |grade: &str, more: &[&str]| {
        let fixed = ["data", "regrade", "data", "--grade", grade, "--evidence", &hash, "--reason", "measured"];
        world.run("a", &[&fixed[..], more].concat())
    };
    regrade("secret", &[]).fails("args.invalid");
    regrade("important", &["--column", "nobody"]).fails("data.column_unknown");
    // A column that the job does not touch, and then the whole.
    assert_eq!(regrade("important", &["--column", "region"]).ok()["from"], json!("general-1"));
    world.job(COUNT).ok();
    let up = regrade("important", &[]).ok();
    assert_eq!((&up["holds"], &up["number"]), (&json!(true), &json!(1)), "{up}");
    regrade("important", &[]).fails("args.invalid");
    let file = shown(&world.write("plan.toml", COUNT));
    let plan = world.run("lab", &["job", "plan", &file]).json;
    let of = |plan: &Value, party: &str| {
        let owner = plan["owners"].as_array().unwrap().iter().find(|o| o["party"] == json!(party)).unwrap();
        (owner["rule"].clone(), owner["code"].clone())
    };
    let refused = (json!("grade"), json!("refused.grade"));
    assert_eq!((of(&plan, "a"), of(&plan, "b")), (refused, (Value::Null, Value::Null)), "{plan}");
    let code = || world.job(COUNT).json["code"].clone();
    assert_eq!(code(), json!("refused.grade"));
    // What is checked may be made of important data.
    world.job(&COUNT.replacen("[params]\n", "[params]\nchecked = true\n", 1)).ok();

    let path = |name: &str| shown(&world.folder().join(format!("{name}.signed")));
    let down = regrade("general-2", &["--out", &path("down")]).ok();
    assert_eq!((&down["holds"], &down["from"]), (&json!(false), &json!("important")), "{down}");
    let approve = |party: &str, to: &str, more: &[&str]| {
        let (down, to) = (path("down"), path(to));
        let fixed = ["list", "approve", &down, "--reason", "read", "--out", &to];
        world.run(party, &[&fixed[..], more].concat())
    };
    approve("a", "own", &[]).fails("args.invalid");
    world.run("b", &["list", "add", &path("down")]).fails("args.invalid");
    for (party, then) in
        [("passer", json!("refused.grade")), ("officer", json!("refused.grade")), ("trustee", Value::Null)]
    {
        approve(party, party, &[]).ok();
        world.run("a", &["list", "add", &path(party)]).ok();
        assert_eq!(code(), then, "{party}");
    }
    // A rejection stays.
    approve("trustee", "no", &["--reject"]).ok();
    world.run("a", &["list", "add", &path("no")]).ok();
    world.run("a", &["list", "add", &path("trustee")]).fails("args.invalid");
    assert_eq!(code(), json!("refused.grade"));
    let text = |lang: &str| {
        let output = world.command("a", &["--lang", lang, "data", "show", "data"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(text("en").contains("important -> general-2") && text("en").contains("rejected by 1"), "{}", text("en"));
    assert!(text("zh").contains("重新定级") && text("zh").contains("待批准"), "{}", text("zh"));
    let held: Vec<Value> = world.run("a", &["data", "show", "data"]).ok()["regradings"].as_array().unwrap().clone();
    let held: Vec<_> = held.iter().map(|r| (&r["column"], &r["to"], &r["holds"])).collect();
    let (whole, yes) = (Value::Null, json!(true));
    assert_eq!(held[..2], [(&whole, &json!("important"), &yes), (&whole, &json!("general-2"), &json!(false))]);
    assert_eq!(held[2], (&json!("region"), &json!("important"), &yes));
}

/// Two owners whose lists an alignment brought together, under a contract with a duty to delete.
fn aligned() -> World {
    let mut world = World::with_coordinator();
    for (name, ids) in [("a", 0..60), ("b", 20..80)] {
        world.join(name, "node");
        let rows: String = ids.map(|i| format!("C-{i:03},{i}\n")).collect();
        let file = shown(&world.write(&format!("{name}.csv"), format!("id,amount\n{rows}")));
        let levels = ["--text", "id", "--level", "id=align_key", "--all", "after_aggregate,after_compare"];
        world.run(name, &[&["data", "add", "data", &file][..], &levels].concat()).ok();
        world.start(name);
    }
    world.join("lab", "operator");
    world.wait_online("lab", 2);
    let text = "name = \"keys\"\npurpose = \"tests\"\nkinds = [\"align/v1\"]\ndemander = \"lab\"\nquota_jobs = 5\n\
         valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[alignment]\nlevels = [\"both\"]\nkeys_min = 10\n\
         keep_days = 9\n[lifecycle]\ndeletion_days = 30\n[[datasets]]\nowner = \"a\"\ndataset = \"data\"\n\
         [[datasets]]\nowner = \"b\"\ndataset = \"data\"\n";
    let file = shown(&world.write("keys.toml", text));
    world.run("lab", &["contract", "draft", &file]).ok();
    ["a", "b"].iter().for_each(|owner| {
        world.run(owner, &["contract", "sign", "keys"]).ok();
    });
    let job = "kind = \"align/v1\"\ncontract = \"keys\"\n[params]\nlevel = \"both\"\nmode = \"double_mask\"\nkeys_min = 10\n\
         keep_days = 9\n[params.key]\nid = [\"trim/1\"]\n[params.columns.a]\nid = \"id\"\n[params.columns.b]\nid = \"id\"\n";
    world.job(job).ok();
    world
}

/// Files of found keys at a node.
fn found_keys(world: &World, party: &str) -> usize {
    let files = std::fs::read_dir(world.home(party).join("align")).unwrap();
    files.filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().ends_with(".keys")).count()
}

#[test]
fn what_a_contract_left_behind_is_deleted_after_its_end_and_attested() {
    let world = aligned();
    // Another contract rests on what was aligned at one of them.
    let text = "name = \"uses\"\npurpose = \"tests\"\nkinds = [\"count/v1\"]\ndemander = \"lab\"\nquota_jobs = 5\n\
         valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[[datasets]]\nowner = \"a\"\ndataset = \"data-aligned\"\n";
    let file = shown(&world.write("uses.toml", text));
    world.run_soon("lab", &["contract", "draft", &file]);
    world.run("a", &["contract", "sign", "uses"]).ok();

    let duties = |party: &str| world.run(party, &["contract", "duties", "keys"]).ok();
    let open = duties("a");
    assert_eq!((&open["stage"], &open["attested"]), (&json!("finalised"), &Value::Null), "{open}");
    assert_eq!((open["left"].as_array().unwrap().len(), &open["results"]), (1, &json!(1)), "{open}");
    assert!(open["due"].as_u64().is_some(), "{open}");
    assert!(world.run("a", &["contract", "attest", "keys"]).fails("args.invalid").contains("finalised"));
    assert_eq!((found_keys(&world, "a"), found_keys(&world, "b")), (1, 1), "nothing goes before the end");

    let revoked = shown(&world.folder().join("revoked"));
    world.run("a", &["contract", "revoke", "keys", "--reason", "over", "--out", &revoked]).ok();
    world.run("b", &["list", "add", &revoked]).ok();
    // What another contract in force rests on stays, and is named; at the other it goes.
    let said = world.run("a", &["contract", "attest", "keys"]).ok();
    assert_eq!((said["deleted"].as_array().unwrap().len(), said["stays"].as_array().unwrap().len()), (0, 1), "{said}");
    let file = shown(&world.folder().join("b.deleted"));
    let declare = ["contract", "attest", "keys", "--declare", "copies were shredded", "--out", &file];
    let said = world.run("b", &declare).ok();
    assert_eq!(
        (&said["deleted"][0]["kind"], &said["deleted"][0]["name"]),
        (&json!("aligned_keys"), &json!("data-aligned v1"))
    );
    assert_eq!((found_keys(&world, "a"), found_keys(&world, "b")), (1, 0));
    assert!(duties("b")["left"].as_array().unwrap().is_empty() && duties("b")["attested"].is_u64());
    let mut many = vec!["contract", "attest", "keys"];
    (0..=tacit_governance::lifecycle::DECLARED_MAX).for_each(|_| many.extend(["--declare", "more"]));
    world.run("b", &many).fails("args.invalid");
    // Another party reads it, and sees an altered one.
    let read = world.run("a", &["contract", "attested", &file]).ok();
    assert_eq!((&read["deleted"], &read["declared"]), (&said["deleted"], &json!(["copies were shredded"])));
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let altered = shown(&world.write("altered", bytes));
    world.run("a", &["contract", "attested", &altered]).fails("args.invalid");
    // Once the other contract is over too, the rest goes.
    world.run("a", &["contract", "revoke", "uses"]).ok();
    let said = world.run("a", &["contract", "attest", "keys"]).ok();
    assert_eq!((said["deleted"].as_array().unwrap().len(), said["stays"].as_array().unwrap().len()), (1, 0), "{said}");
    assert_eq!(found_keys(&world, "a"), 0);
    // Who said so once says no less the next time.
    let again = world.run("b", &["contract", "attest", "keys"]).ok();
    assert_eq!((&again["deleted"], &again["declared"]), (&read["deleted"], &read["declared"]));
    // An expired or deleted version is no more than a name: the node goes on.
    assert!(world.run("b", &["data", "list"]).ok().to_string().contains("data-aligned"));
}

/// What two reviewers ran is run again at each owner: another result of one vector stops the kind there, and so does a review
/// that nobody can run again.
#[test]
fn what_reviewers_ran_is_run_again_at_each_owner() {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    ["first", "second"].iter().for_each(|name| world.join(name, "operator"));
    let hash = format!("sha256:{}", "01".repeat(32));
    let right = format!("{{ holder = \"lab\", basis = \"{hash}\" }}");
    let control = format!(
        "[control.rights]\nhold = {{ basis = \"{hash}\" }}\nprocess = {right}\noperate = {right}\n[control.declarations]\n\
         harms_security = false\ninfringes_rights = false\nunauthorised = false\nbarred_by_law = false\n\
         [control.review]\nreviewers = [\"first\", \"second\"]\nrerun = true\n"
    );
    world.agree("good", &OWNERS, 20, &control);
    let path = |name: &str| shown(&world.folder().join(format!("{name}.review")));
    let said = |party: &str| {
        let plan = world.run("lab", &["job", "plan", &shown(&world.write("plan.toml", COUNT))]).json;
        let owner = plan["owners"].as_array().unwrap().iter().find(|o| o["party"] == json!(party)).unwrap().clone();
        (owner["code"].clone(), owner.to_string())
    };
    let no = json!("refused.review");
    assert_eq!(said("a").0, no, "nobody has reviewed it");
    let kind = COUNT.lines().next().unwrap().split('"').nth(1).unwrap();
    let run = |party: &str, more: &[&str]| world.run(party, &[&["review", "run", kind], more].concat());
    for reviewer in ["first", "second"] {
        let to = path(reviewer);
        run(reviewer, &["--grade-max", "important", "--until", "2999-01-01", "--out", &to]).ok();
        assert_eq!(world.run("b", &["review", "check", &to]).ok()["differs"], Value::Null);
        for owner in OWNERS {
            assert_eq!(world.run(owner, &["list", "add", &to]).ok()["differs"], Value::Null);
        }
    }
    world.job(COUNT).ok();
    let given = run("lab", &[]).ok();
    let runs: Vec<(String, String)> = given["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["name"].as_str().unwrap().to_owned(), run["result"].as_str().unwrap().to_owned()))
        .collect();
    assert!(runs.len() > 2, "{given}");

    // Statements of one signer are told apart by the second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let write = |reviewer: &str, name: &str, runs: &str| {
        let text = format!(
            "kind = \"review\"\njob_kind = \"{kind}\"\nverdict = \"approve\"\ngrade_max = \"important\"\nvectors = \"{hash}\"\n\
             until = \"2999-01-01\"\n{runs}"
        );
        let file = shown(&world.write(&format!("{name}.toml"), text));
        world.run(reviewer, &["list", "write", &file, "--out", &path(name)]).ok();
    };
    let (odd, result) = &runs[1];
    let other = format!("{}{}", &result[..63], if result.ends_with('0') { '1' } else { '0' });
    write("first", "other", &format!("[[runs]]\nname = \"{odd}\"\nresult = \"{other}\"\n"));
    let checked = world.run("b", &["review", "check", &path("other")]);
    assert_eq!((checked.status, &checked.json["differs"]), (3, &json!(odd)), "{}", checked.json);
    assert_eq!(world.run("a", &["list", "add", &path("other")]).ok()["differs"], json!(odd));
    let (code, text) = said("a");
    assert!(code == no && text.contains(odd), "{text}");
    assert_eq!(world.job(COUNT).json["code"], no);
    assert_eq!(said("b").0, Value::Null, "who has not heard of it goes on");
    // What nobody can run again does not count where the contract asks for it.
    write("second", "unrun", "");
    world.run("b", &["review", "check", &path("unrun")]).fails("args.invalid");
    world.run("b", &["list", "add", &path("unrun")]).ok();
    let (code, text) = said("b");
    assert!(code == no && text.contains("1 of 2"), "{text}");
    world.run("lab", &["review", "run", "none/v1"]).fails("refused.kind");
    let text = world.command("b", &["--lang", "zh", "review", "check", &path("other")]).output().unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().contains("测试向量"));
}

/// A column that views rename, or make others of, is graded under all of its names; what is less sensitive, under one.
#[test]
fn a_column_is_graded_under_every_name_that_views_give_it() {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    let file = shown(&world.write("people.csv", "age,region\n31,north\n42,south\n"));
    let views = [
        "areas=SELECT region AS area, age + 1 AS next FROM data",
        "zones=SELECT area AS zone, upper(area) AS loud, next FROM areas",
    ];
    let add = ["data", "add", "people", &file, "--view", views[0], "--view", views[1]];
    world.run("a", &add).ok();
    let hash = format!("sha256:{}", "01".repeat(32));
    let regrade = |grade: &str, column: &str| {
        let fixed = ["data", "regrade", "people", "--evidence", &hash, "--reason", "measured"];
        world.run("a", &[&fixed[..], &["--grade", grade, "--column", column]].concat())
    };
    regrade("important", "towns").fails("data.column_unknown");
    // By the name of a view: the source's column, its other name, and what is computed of it.
    let done = regrade("important", "area").ok();
    assert_eq!((&done["column"], &done["source"]), (&json!("area"), &json!("region")), "{done}");
    assert_eq!(done["also"], json!(["loud", "region", "zone"]));
    regrade("important", "zone").fails("args.invalid");
    // What a view computes is its own.
    assert_eq!(regrade("general-3", "next").ok()["also"], json!([]));
    let done = regrade("general-4", "age").ok();
    assert_eq!((&done["source"], &done["also"]), (&Value::Null, &json!(["next"])));
    let done = regrade("general-2", "zone").ok();
    assert_eq!(
        (&done["holds"], &done["source"], &done["also"]),
        (&json!(false), &json!("region"), &json!([])),
        "{done}"
    );
    let held = world.run("a", &["data", "show", "people"]).ok()["regradings"].as_array().unwrap().clone();
    let held: Vec<String> = held
        .iter()
        .map(|r| format!("{} {} {}", r["column"].as_str().unwrap(), r["number"], r["to"].as_str().unwrap()))
        .collect();
    let mut sorted = held.clone();
    sorted.sort_unstable();
    let expected = [
        "age 1 general-4",
        "area 1 important",
        "loud 1 important",
        "next 1 general-3",
        "next 2 general-4",
        "region 1 important",
        "zone 1 important",
        "zone 2 general-2",
    ];
    assert_eq!(sorted, expected);

    // What a view computed and another gives on, one name for different columns, and what has its rows by a column.
    let views = [
        "first=SELECT age, age + 1 AS next, region AS mixed FROM data",
        "second=SELECT next AS later, age AS mixed, 7 AS seven FROM first WHERE next > 2",
        "third=SELECT count(*) AS n FROM data WHERE region IN (SELECT region FROM data WHERE age > 40)",
    ];
    let views = views.map(|view| ["--view", view]).concat();
    world.run("a", &[&["data", "add", "mixed", &file][..], &views].concat()).ok();
    let regrade = |grade: &str, column: &str| {
        let fixed = ["data", "regrade", "mixed", "--evidence", &hash, "--reason", "measured"];
        world.run("a", &[&fixed[..], &["--grade", grade, "--column", column]].concat()).ok()["also"].clone()
    };
    assert_eq!(regrade("general-2", "next"), json!(["later", "mixed", "seven"]));
    assert_eq!(regrade("general-3", "mixed"), json!(["age", "later", "n", "next", "region", "seven"]));
    assert_eq!(regrade("general-4", "age"), json!(["later", "mixed", "n", "next", "seven"]));
    assert_eq!(regrade("important", "n"), json!([]));
}

const ALL: &str = "@id(\"all\") permit (principal, action, resource);\n";
const NO_COUNTS: &str = "@id(\"no-counts\") @reason(\"counts are over for this quarter\")\n\
                         forbid (principal, action == Action::\"count/v1\", resource)\nunless { context.purpose == \"audit\" };\n";

#[test]
fn a_site_policy_decides_last_is_looked_at_again_and_refuses_what_it_cannot_evaluate() {
    let mut world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, 2, "");
    let (file, config) = (world.home("b").join("site.cedar"), world.home("b").join("node.toml"));
    let site = |text: &str| std::fs::write(&file, text).unwrap();

    // The command names every fault, and a node does not start with a policy that it cannot use.
    site("permit (principal, action, resource) when { context.colour == \"red\" };");
    let what = world.run("b", &["policy", "check", &shown(&file)]).fails("config.policy");
    assert!(what.contains("site.cedar") && what.contains("colour"), "{what}");
    let schema = world.run("b", &["policy", "schema"]).ok();
    assert!(schema["schema"].as_str().unwrap().contains("\"count/v1\""), "{schema}");
    assert_eq!(world.stop("b"), 0);
    std::fs::write(&config, format!("policy = \"site.cedar\"\n{}", std::fs::read_to_string(&config).unwrap())).unwrap();
    let what = world.run("b", &["node", "run"]).fails("config.policy");
    assert!(what.contains("site.cedar"), "{what}");
    site(&format!("{ALL}{NO_COUNTS}"));
    let checked = world.run("b", &["policy", "check", &shown(&file)]).ok();
    assert_eq!(checked["policies"][1]["reason"], json!("counts are over for this quarter"), "{checked}");
    world.start("b");
    world.wait_online("lab", OWNERS.len());

    // Denied: the plan, the owner's own test and the signed refusal name the policy.
    let reason = "policy `no-counts`: counts are over for this quarter";
    let job = shown(&world.write("plan.toml", COUNT));
    let signed = shown(&world.folder().join("site.signed"));
    let planned = || world.run("lab", &["job", "plan", &job, "--signed", &signed]);
    let of = |plan: &Value, owner: &str| {
        let owners = plan["owners"].as_array().unwrap();
        owners.iter().find(|o| o["party"] == json!(owner)).cloned().unwrap_or_else(|| panic!("{plan}"))
    };
    let plan = planned().json;
    let b = of(&plan, "b");
    assert_eq!((&b["rule"], &b["code"]), (&json!("site"), &json!("refused.site_policy")), "{plan}");
    assert_eq!((&of(&plan, "a")["admits"], &of(&plan, "c")["admits"]), (&json!(true), &json!(true)), "{plan}");
    let tested = world.run("b", &["contract", "test", &signed]);
    assert_eq!((tested.status, &tested.json["rule"], &tested.json["reason"]), (3, &json!("site"), &json!(reason)));
    let refused = world.job(COUNT).json;
    assert_eq!((&refused["code"], &refused["party"]), (&json!("refused.site_policy"), &json!("b")), "{refused}");
    assert!(refused["reason"] == json!(reason) && refused["receipt"].is_u64(), "{refused}");

    // Edited while the node runs: the next decision is by what the file says then.
    site(&format!("{ALL}{}", NO_COUNTS.replace("audit", "tests")));
    assert_eq!(world.run("b", &["contract", "test", &signed]).status, 0);
    world.job(COUNT).ok();
    // A policy that fails at the decision, one that no longer holds, and a file that is gone refuse every job.
    let fails =
        "@id(\"sum\") permit (principal, action, resource) when { context.time.unix * 9223372036854775807 > 0 };";
    site(&format!("{ALL}{fails}"));
    assert!(of(&planned().json, "b").to_string().contains("policy `sum` could not be evaluated"));
    site(&format!("{ALL}permit ("));
    assert!(of(&planned().json, "b").to_string().contains("the policy file cannot be used"));
    std::fs::remove_file(&file).unwrap();
    let b = of(&planned().json, "b");
    assert_eq!((&b["rule"], &b["code"]), (&json!("site"), &json!("refused.site_policy")), "{b}");
    site(ALL);
    assert_eq!(of(&planned().json, "b")["admits"], json!(true));
}
