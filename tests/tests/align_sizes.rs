//! A long list against a short one, through processes that may hold little: what is found is what a plain join gives, lists
//! that memory has no room for are sorted in files, no process goes past a ceiling, and a node takes no longer lists than its
//! owner lets it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::time::Instant;

use serde_json::json;
use tacit_jobs::align::{KeyPart, params};
use tacit_tests::world::shown;
use tacit_tests::{Done, World};

/// Megabytes that one node's process may have at any time.
const CEILING_MB: u64 = 256;
const OWNERS: [&str; 2] = ["bank", "telecom"];

/// The id of a number: no two in order.
fn id(number: u64) -> String {
    format!("k{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Two owners of so many keys, half of the shorter list in common: some rows without a key, some keys twice, some in capitals.
fn tables(world: &World, sizes: [u64; 2]) {
    let common = sizes[0].min(sizes[1]) / 2;
    for (owner, first, keys) in [(OWNERS[0], 0, sizes[0]), (OWNERS[1], sizes[0] - common, sizes[1])] {
        let path = world.folder().join(format!("{owner}.csv"));
        let mut file = BufWriter::new(File::create(&path).unwrap());
        writeln!(file, "id").unwrap();
        for number in first..first + keys {
            let plain = id(number);
            let written = if number % 5 == 0 { format!(" {}", plain.to_uppercase()) } else { plain };
            for _ in 0..1 + u64::from(number % 89 == 0) {
                writeln!(file, "{written}").unwrap();
            }
            if number % 97 == 0 {
                writeln!(file, "\"  \"").unwrap();
            }
        }
        file.flush().unwrap();
    }
}

/// The ids of an owner's rows, a row at a time.
fn ids(world: &World, owner: &str) -> impl Iterator<Item = String> {
    let file = BufReader::new(File::open(world.folder().join(format!("{owner}.csv"))).unwrap());
    let ids = file.lines().skip(1).map(|line| line.unwrap().trim_matches([' ', '"']).to_lowercase());
    ids.filter(|id| !id.is_empty())
}

/// Nodes with these tables, whose `[align]` says this, under a contract that both have signed.
fn world(sizes: [u64; 2], align: [&str; 2]) -> World {
    let mut world = World::with_coordinator();
    tables(&world, sizes);
    for (owner, align) in OWNERS.into_iter().zip(align) {
        world.join(owner, "node");
        let file = shown(&world.folder().join(format!("{owner}.csv")));
        world.run(owner, &["data", "add", "data", &file, "--text", "id", "--level", "id=align_key"]).ok();
        let config = world.home(owner).join("node.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n{align}")).unwrap();
        world.start(owner);
    }
    world.join("lab", "operator");
    world.wait_online("lab", OWNERS.len());
    let mut text = "name = \"sizes\"\npurpose = \"tests\"\nkinds = [\"align/v1\"]\ndemander = \"lab\"\nquota_jobs = 9\n\
                    valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[alignment]\nlevels = [\"both\"]\nkeys_min = 10\n"
        .to_owned();
    for owner in OWNERS {
        write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n").unwrap();
    }
    let file = world.write("sizes.contract.toml", text);
    world.run("lab", &["contract", "draft", &shown(&file)]).ok();
    OWNERS.iter().for_each(|owner| drop(world.run(owner, &["contract", "sign", "sizes"]).ok()));
    world
}

fn align(world: &World, seconds: u32) -> Done {
    let text = format!(
        "kind = \"align/v1\"\ncontract = \"sizes\"\nattempt_seconds = {seconds}\n[params]\nlevel = \"both\"\nmode = \"keyed\"\n\
         keys_min = 10\n[params.key]\nid = [\"trim/1\", \"fold/1\"]\n"
    );
    let file = shown(&world.write("align.job.toml", text));
    world.run("lab", &["job", "submit", &file, "--watch"])
}

/// What stands for each key that a job found at an owner, as it lies in the file.
fn found(world: &World, owner: &str, job: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(world.home(owner).join("align").join(format!("{job}.keys"))).unwrap();
    bytes[32..].chunks(16).map(<[u8]>::to_vec).collect()
}

/// The most that a node's process has had, in megabytes.
fn peak(world: &World, owner: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid(owner))).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Aligns lists of so many keys, of which sorting may hold so many megabytes, and compares with a plain join.
fn equals_a_plain_join(sizes: [u64; 2], memory_mb: u32, seconds: u32) {
    let world = world(sizes, [&format!("[align]\nmemory_mb = {memory_mb}\n"), ""]);
    let begun = Instant::now();
    let done = align(&world, seconds).ok();
    println!("{} rows against {} took {:.0} s", sizes[0], sizes[1], begun.elapsed().as_secs_f64());
    // The join: the short list's keys in memory, and the long one's looked for row by row.
    let short: BTreeSet<String> = ids(&world, OWNERS[1]).collect();
    let common: BTreeSet<String> = ids(&world, OWNERS[0]).filter(|id| short.contains(id)).collect();
    assert_eq!(common.len() as u64, sizes[0].min(sizes[1]) / 2);
    let schema =
        params::schema(&[KeyPart { name: "id".into(), steps: ["trim/1", "fold/1"].map(String::from).to_vec() }])
            .unwrap();
    let mut keys: Vec<Vec<u8>> =
        common.iter().map(|key| schema.key([Some(key.as_str())]).unwrap()[..16].to_vec()).collect();
    keys.sort_unstable();
    let job = done["id"].as_str().unwrap();
    for owner in OWNERS {
        assert!(found(&world, owner, job) == keys, "{owner} has other keys than a join, or in another order");
        let rows = ids(&world, owner).filter(|id| common.contains(id)).count();
        let listed = world.run(owner, &["data", "list"]).ok();
        let aligned = listed.as_array().into_iter().flatten().find(|d| d["name"] == "data-aligned").cloned();
        assert_eq!(aligned.map(|d| d["rows"].clone()), Some(json!(rows)), "{owner}: {listed}");
        let mb = peak(&world, owner);
        println!("{owner}: {mb} MB at the most");
        assert!(mb <= CEILING_MB, "{owner} had {mb} MB");
    }
    // The long list, the bank's, has gone through files; a node with room for both lists needs none.
    let in_files = |owner: &str| world.log(owner).lines().filter(|line| line.contains("is sorted in files")).count();
    assert!(in_files(OWNERS[0]) >= 1, "{}", world.log(OWNERS[0]));
    if sizes[0] <= 100_000 {
        assert_eq!(in_files(OWNERS[1]), 0, "{}", world.log(OWNERS[1]));
    }
}

#[test]
fn a_long_list_with_little_memory_equals_a_plain_join() {
    equals_a_plain_join([100_000, 1000], 1, 300);
}

/// As large as it is meant: minutes, and some gigabytes of disk. `cargo xtask long join` runs it.
#[test]
#[ignore = "ten million rows, minutes and gigabytes: `cargo xtask long join`; the same with a hundred thousand runs in each build"]
fn ten_million_rows_against_ten_thousand_equal_a_plain_join() {
    equals_a_plain_join([10_000_000, 10_000], 64, 3600);
}

#[test]
fn a_node_takes_no_longer_list_than_its_owner_lets_it() {
    let world = world([3000, 1500], ["", "[align]\nkeys_max = 2999\n"]);
    let refused = align(&world, 60);
    assert!(refused.status != 0 && refused.json.to_string().contains("job.local"), "{}", refused.json);
    let said = world.log(OWNERS[1]);
    assert!(said.contains("3000 distinct keys, and this node takes 2999"), "{said}");
    let none = |owner: &str| !world.run(owner, &["data", "list"]).ok().to_string().contains("data-aligned");
    assert!(OWNERS.into_iter().all(none), "nothing was found");
}
