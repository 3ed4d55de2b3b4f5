//! A search in a cache through processes: who has few keys finds those that another has among many, the second time without
//! the cache being sent again, and no more often than the contract says.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::world::{limit, shown};

const HELD: u64 = 6000;

/// The bank's ids: every seventh number, written as people do, some of which the telecom has.
fn asked() -> Vec<String> {
    (0..300).map(|i| if i % 2 == 0 { format!(" Cust-{:05} ", i * 41) } else { format!("CUST-{:05}", i * 41) }).collect()
}

fn csv<'a>(column: &str, ids: impl IntoIterator<Item = &'a String>) -> String {
    ids.into_iter().enumerate().fold(format!("{column},amount\n"), |mut text, (i, id)| {
        writeln!(text, "\"{id}\",{i}").unwrap();
        text
    })
}

/// The telecom's table of so many ids.
fn held(ids: u64) -> String {
    let ids: Vec<String> = (0..ids).map(|i| format!("cust-{i:05}")).collect();
    csv("subscriber", &ids)
}

/// How many of the bank's ids are among the first so many.
fn among(ids: u64) -> u64 {
    asked().iter().filter(|id| id.trim()[5..].parse::<u64>().unwrap() < ids).count() as u64
}

struct Searching {
    world: World,
}

impl Searching {
    /// With so many queries in the contract.
    fn new(queries: u64) -> Self {
        let mut world = World::with_coordinator();
        for (owner, column, text) in
            [("bank", "customer", csv("customer", &asked())), ("telecom", "subscriber", held(HELD))]
        {
            world.join(owner, "node");
            let file = shown(&world.write(&format!("{owner}.csv"), text));
            let level = format!("{column}=align_key");
            world.run(owner, &["data", "add", "data", &file, "--text", column, "--level", &level]).ok();
            world.start(owner);
        }
        world.join("lab", "operator");
        world.wait_online("lab", 2);
        let text = format!(
            "name = \"search\"\npurpose = \"tests\"\nkinds = [\"lookup/v1\"]\ndemander = \"lab\"\nquota_jobs = 20\n\
             valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[alignment]\nlevels = [\"receiver\"]\n\
             learners = [\"bank\"]\nkeys_min = 100\n[alignment.lookup]\nper_job = 600\nqueries = {queries}\ndays = 30\n\
             epoch_days = 9\n[[datasets]]\nowner = \"bank\"\ndataset = \"data\"\n[[datasets]]\nowner = \"telecom\"\n\
             dataset = \"data\"\n"
        );
        let file = shown(&world.write("search.contract.toml", text));
        world.run("lab", &["contract", "draft", &file]).ok();
        for owner in ["bank", "telecom"] {
            world.run(owner, &["contract", "sign", "search"]).ok();
        }
        let shown = world.run("bank", &["contract", "show", "search"]).ok();
        let terms = json!({"per_job": 600, "queries": queries, "days": 30, "epoch_days": 9});
        assert_eq!(shown["alignment"]["lookup"], terms, "{shown}");
        Self { world }
    }

    fn file(&self, params: &str) -> String {
        let text = format!(
            "kind = \"lookup/v1\"\ncontract = \"search\"\n[params]\n{params}\n[params.key]\n\
             id = [\"nfkc/1\", \"trim/1\", \"fold/1\"]\n[params.columns]\nbank = {{ id = \"customer\" }}\n\
             telecom = {{ id = \"subscriber\" }}\n"
        );
        shown(&self.world.write("lookup.job.toml", text))
    }

    /// How a search ended.
    fn search(&self, params: &str) -> Result<Value, String> {
        let file = self.file(params);
        let done = self.world.run("lab", &["job", "submit", &file, "--watch"]);
        if done.status == 0 { Ok(done.json["result"].clone()) } else { Err(done.json.to_string()) }
    }

    /// The rows of the aligned versions of an owner, oldest first.
    fn found(&self, owner: &str) -> Vec<u64> {
        let listed = self.world.run(owner, &["data", "list"]).ok();
        let all = listed.as_array().into_iter().flatten().filter(|d| d["name"] == "data-aligned");
        let mut all: Vec<(u64, u64)> =
            all.map(|d| (d["version"].as_u64().unwrap(), d["rows"].as_u64().unwrap())).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, rows)| rows).collect()
    }

    /// The files of caches of an owner with their bytes.
    fn caches(&self, owner: &str) -> BTreeSet<(PathBuf, Vec<u8>)> {
        let folder = self.world.home(owner).join("align").join("lookup");
        let series = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir());
        let files = series.flat_map(|s| fs::read_dir(s).unwrap().map(|e| e.unwrap().path()));
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }
}

#[test]
fn few_keys_are_found_among_many_as_often_as_the_contract_says() {
    let all = Searching::new(1536);
    let params = "asker = \"bank\"\nqueries = 512\nkeys_min = 100\nepoch_days = 9\nkeep_days = 9";
    // What the contract does not allow is refused before anything is counted.
    for (change, to, why) in [
        ("queries = 512", "queries = 601", "601 queries"),
        ("epoch_days = 9", "epoch_days = 10", "a cache of 10 days"),
        ("asker = \"bank\"", "asker = \"telecom\"", "may not learn"),
    ] {
        // The telecom's many rows are no list of so few queries, which is found first.
        let params = params.replacen(change, to, 1);
        let params = if to.contains("telecom") { params.replacen("512", "8192", 1) } else { params };
        let refused = all.search(&params).unwrap_err();
        assert!(refused.contains("refused.alignment") && refused.contains(why), "{why}: {refused}");
    }
    let expected = among(HELD);
    assert!((100..200).contains(&expected), "{expected}");
    let left = |params: &str| {
        let plan = all.world.run("lab", &["job", "plan", &all.file(params)]).json;
        assert_eq!(limit(&plan, "bank", "queries"), None, "who asks does not hold itself to it: {plan}");
        limit(&plan, "telecom", "queries").unwrap()
    };
    assert_eq!(left(params), ("1536".into(), "512".into(), Some("1024".into())));
    assert_eq!(all.search(params).unwrap(), json!({"parties": 2, "queries": 512, "searched": true}));
    assert_eq!((all.found("bank"), all.found("telecom")), (vec![expected], vec![]));
    let caches = ["bank", "telecom"].map(|owner| all.caches(owner));
    // Records, tags, and at who asks an index: 6000 tags of 40 + 13 + 24 bits.
    let sizes = caches.iter().map(|c| c.iter().map(|(_, bytes)| bytes.len()).max()).collect::<Vec<_>>();
    assert_eq!(sizes, [Some(6000 * 10); 2]);
    all.search(params).unwrap();
    assert_eq!(caches, ["bank", "telecom"].map(|owner| all.caches(owner)), "the cache of the epoch serves again");
    assert_eq!(all.found("bank"), vec![expected; 2]);
    // 1024 of 1536 are used: one query too many, and then as many as are left.
    let refused = all.search(&params.replacen("512", "513", 1)).unwrap_err();
    assert!(refused.contains("refused.alignment"), "{refused}");
    assert_eq!(all.found("bank").len(), 2);
    assert_eq!(left(params), ("512".into(), "512".into(), Some("0".into())));
    all.search(params).unwrap();
    assert_eq!(left(params), ("0".into(), "512".into(), None));
    assert_eq!(all.found("bank"), vec![expected; 3]);
}

/// Sizes of the files of tags, of ten bytes each, of an owner.
fn tags(all: &Searching, owner: &str) -> BTreeSet<usize> {
    all.caches(owner).iter().map(|(_, bytes)| bytes.len() / 10).filter(|tags| *tags >= HELD as usize).collect()
}

#[test]
fn another_list_is_another_epoch_and_one_that_was_before_it_is_refused() {
    let mut all = Searching::new(2048);
    let params = "asker = \"bank\"\nqueries = 512\nkeys_min = 100\nepoch_days = 9\nkeep_days = 9";
    let left =
        |all: &Searching| limit(&all.world.run("lab", &["job", "plan", &all.file(params)]).json, "telecom", "queries");
    let bring = |all: &Searching, ids: u64| drop(all.world.write("telecom.csv", held(ids)));
    all.search(params).unwrap();
    let before = all.caches("telecom");
    // Of the next list each search finds what is in it, at once, and both hold a cache of its own.
    let (more, most) = (HELD + 300, HELD + 900);
    bring(&all, more);
    all.search(params).unwrap();
    assert!(among(HELD) < among(more) && among(more) < among(most));
    assert_eq!(all.found("bank"), [among(HELD), among(more)]);
    for owner in ["bank", "telecom"] {
        assert!(tags(&all, owner).contains(&(more as usize)), "{owner}: {:?}", tags(&all, owner));
        let differ = all.caches(owner).difference(&before).count();
        assert!(differ > 0, "{owner} has nothing new");
    }
    // The holder's node was set back to what it had before: who asks has held a later epoch.
    all.world.stop("telecom");
    let now: BTreeSet<PathBuf> = all.caches("telecom").into_iter().map(|(path, _)| path).collect();
    now.iter().for_each(|path| fs::remove_file(path).unwrap());
    before.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    bring(&all, HELD);
    all.world.start("telecom");
    all.world.wait_online("lab", 2);
    let held_by_bank = all.caches("bank");
    let refused = all.search(params).unwrap_err();
    assert!(refused.contains("refused.alignment") && refused.contains("an epoch before"), "{refused}");
    assert_eq!(
        (all.found("bank").len(), all.caches("bank")),
        (2, held_by_bank),
        "nothing is found and nothing replaced"
    );
    // What was asked for then counts too, and a later epoch serves.
    assert_eq!(left(&all), Some(("512".into(), "512".into(), Some("0".into()))));
    bring(&all, most);
    all.search(params).unwrap();
    assert_eq!(all.found("bank"), [among(HELD), among(more), among(most)]);
    for owner in ["bank", "telecom"] {
        assert!(tags(&all, owner).contains(&(most as usize)), "{owner}: {:?}", tags(&all, owner));
    }
    // Another epoch is no other budget.
    bring(&all, most + 300);
    let refused = all.search(params).unwrap_err();
    assert!(refused.contains("refused.alignment") && refused.contains("2048 of 2048 queries"), "{refused}");
    assert_eq!(all.found("bank").len(), 3);
}
