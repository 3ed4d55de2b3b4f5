//! Owners count the keys that they have in common by the groups of one of them, through processes: the numbers are those of
//! a plain group-by of a join, small groups are not told, and what no contract grants is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};
use tacit_tests::world::shown;
use tacit_tests::{Done, World};

const OWNERS: [&str; 3] = ["bank", "telecom", "grocer"];
const GROUP: &str =
    "group = { provider = \"bank\", column = \"region\", values = [\"north\", \"south\", \"west\", \"isles\"] }";

/// A customer's number and region; one in seven is there twice, in two regions.
fn bank() -> Vec<(u64, &'static str)> {
    let region = |i: u64| match i % 20 {
        0..9 => "north",
        9..15 => "south",
        15 | 16 => "west",
        17 => "",
        _ => "abroad",
    };
    let mut rows: Vec<(u64, &str)> = (0..500).map(|i| (i, if i < 4 { "isles" } else { region(i) })).collect();
    rows.extend((0..500).filter(|i| i % 7 == 0).map(|i| (i, "south")));
    rows
}

fn others() -> [core::ops::Range<u64>; 2] {
    [200..700, 300..900]
}

/// The numbers of keys that so many of the owners have, by group in the order of the job, and in all.
fn group_by(owners: usize) -> (Vec<u64>, u64) {
    let order = |region: &str| ["north", "south", "west"].iter().position(|r| *r == region).unwrap_or(3);
    let mut of = BTreeMap::<u64, usize>::new();
    for (id, region) in bank() {
        let held = of.entry(id).or_insert(4);
        *held = (*held).min(order(region));
    }
    of.retain(|id, _| others()[..owners - 1].iter().all(|range| range.contains(id)));
    // Four customers of the isles are fewer than a list must have: they are counted with all others.
    let counts = (0..4).map(|g| of.values().filter(|v| **v == g).count() as u64).collect();
    (counts, of.len() as u64)
}

fn world() -> World {
    let mut world = World::with_coordinator();
    let region = |text: &str| if text.is_empty() { String::new() } else { format!("\"{text}\"") };
    let mut csv = "customer,region\n".to_owned();
    bank().iter().for_each(|(id, r)| writeln!(csv, "C-{id:04},{}", region(r)).unwrap());
    let tables =
        [csv].into_iter().chain(others().map(|range| {
            range.fold("customer,spend\n".to_owned(), |text, i| format!("{text}\" c-{i:04}\",{}\n", i % 9))
        }));
    // One customer of the bank is in another region in a view.
    let moved = "moved=SELECT customer, CASE WHEN customer = 'C-0310' THEN 'west' ELSE region END AS region FROM data";
    for (owner, table) in OWNERS.iter().zip(tables) {
        world.join(owner, "node");
        let file = shown(&world.write(&format!("{owner}.csv"), table));
        let second = if *owner == "bank" { "region=after_group_by" } else { "spend=after_aggregate" };
        let view = if *owner == "bank" { moved } else { "moved=SELECT * FROM data" };
        let levels = ["--level", "customer=align_key", "--level", second, "--view", view];
        world.run(owner, &[&["data", "add", "data", &file, "--text", "customer"][..], &levels].concat()).ok();
        world.start(owner);
    }
    world.join("lab", "operator");
    world.wait_online("lab", 3);
    world
}

/// A contract over the data of so many owners, signed by all of them.
fn agree(world: &World, name: &str, owners: usize, repeat: &str) {
    let mut text = format!(
        "name = \"{name}\"\npurpose = \"tests\"\nkinds = [\"match-count/v1\"]\ndemander = \"lab\"\nquota_jobs = 9\n\
         valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[alignment]\nlevels = [\"count\"]\n\
         learners = [\"bank\", \"telecom\"]\nkeys_min = 10\n{repeat}"
    );
    for owner in &OWNERS[..owners] {
        write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n").unwrap();
    }
    let file = shown(&world.write(&format!("{name}.contract.toml"), text));
    world.run_soon("lab", &["contract", "draft", &file]);
    for owner in &OWNERS[..owners] {
        world.run(owner, &["contract", "sign", name]).ok();
    }
}

fn text(contract: &str, view: &str, params: &str) -> String {
    format!(
        "kind = \"match-count/v1\"\ncontract = \"{contract}\"\n{view}\n[params]\nkeys_min = 10\n{params}\n\
         [params.key]\ncustomer = [\"nfkc/1\", \"trim/1\", \"fold/1\"]\n"
    )
}

fn count(world: &World, contract: &str, params: &str) -> Done {
    world.job(&text(contract, "", params))
}

/// A result by groups, where those of `hidden` are not told.
fn expected(owners: usize, hidden: &[usize]) -> Value {
    let (counts, all) = group_by(owners);
    let labels = ["north", "south", "west", "isles", "(other)"];
    let counts = [counts[0], counts[1], counts[2], 0, counts[3]];
    let told = |g: usize| (!hidden.contains(&g)).then_some(counts[g]);
    let groups: Vec<Value> = (0..5).map(|g| json!({"group": labels[g], "keys": told(g)})).collect();
    json!({"parties": owners, "keys": all, "suppressed": false, "groups": groups, "suppressed_groups": hidden.len()})
}

#[test]
fn owners_count_by_region_and_small_regions_are_not_told() {
    let world = world();
    agree(&world, "two", 2, "");
    agree(&world, "three", 3, "");
    let (counts, all) = group_by(3);
    assert!(counts.iter().all(|n| *n > 10) && counts.iter().sum::<u64>() == all && all == 200, "{counts:?}");

    let plan = world.run("lab", &["job", "plan", &shown(&world.write("plan.toml", text("two", "", GROUP)))]).ok();
    let plan = plan.to_string();
    assert!(plan.contains("sizes of the lists and of the groups") && plan.contains("in each group"), "{plan}");
    // Whose the groups are counts, or another; padded or not. Nobody is of the isles, whose few are with all others.
    let done = count(&world, "two", &format!("collector = \"bank\"\n{GROUP}")).ok();
    assert_eq!(done["result"], expected(2, &[3]));
    let padded = count(&world, "three", &format!("collector = \"telecom\"\nsize = 1024\n{GROUP}")).ok();
    assert_eq!(padded["result"], expected(3, &[3]));
    // West is the smallest, and would follow from the number of all: the next in size is not told either.
    let west = counts[2];
    assert!(west < counts[3] && counts[3] < counts[0].min(counts[1]), "{counts:?}");
    let small = count(&world, "three", &format!("collector = \"telecom\"\ncount_min = {}\n{GROUP}", west + 1)).ok();
    assert_eq!(small["result"], expected(3, &[2, 3, 4]));

    // What was opened, given and told is in the receipt, whatever the numbers are.
    let receipt = |done: &Value| world.run("lab", &["receipt", "show", &done["receipt"].to_string()]).ok();
    let (one, other) = (receipt(&padded), receipt(&small));
    let opened: BTreeMap<String, u64> = one["disclosures"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|d| (d["what"].as_str().unwrap_or_default().to_owned(), d["at_most"].as_u64().unwrap_or_default()))
        .collect();
    let what = "how many keys any of the owners have in common in each group, to the collector";
    // Of four sets of owners three are with the bank: five numbers each.
    assert_eq!((opened["sizes of the lists and of the groups"], opened[what]), (8, 3 * 5 + 1), "{one}");
    let line = |receipt: &Value, unit: &str| -> BTreeSet<u64> {
        let lines = receipt["lines"].as_array().into_iter().flatten();
        lines.filter(|l| l["unit"] == unit).filter_map(|l| l["quantity"].as_u64()).collect()
    };
    assert_eq!(line(&one, "cell_in"), BTreeSet::from([(5 + 1 + 1) * 1024]), "{one}");
    assert_eq!(line(&other, "cell_in"), BTreeSet::from([500 + 500 + 600]), "{other}");
    assert!([&one, &other].iter().all(|r| line(r, "cell_out") == BTreeSet::from([6])), "{one} {other}");

    // The telecom's column is granted for sums, not for groups.
    let refused = count(&world, "two", "group = { provider = \"telecom\", column = \"spend\", values = [1] }");
    assert!(refused.status != 0 && refused.json.to_string().contains("refused.level"), "{}", refused.json);
    let refused = count(&world, "two", "group = { provider = \"grocer\", column = \"spend\", values = [1] }");
    assert_eq!(refused.code(), "refused.parameters", "{}", refused.json);
}

#[test]
fn whoever_moves_one_customer_to_another_region_gets_no_second_answer() {
    let world = world();
    agree(&world, "often", 2, "[alignment.repeat]\nruns = 9\ndays = 2\nchange_min = 10\n");
    count(&world, "often", &format!("collector = \"bank\"\n{GROUP}")).ok();
    count(&world, "often", &format!("collector = \"bank\"\n{GROUP}")).ok();
    // The keys are the same; one of them is west instead of south.
    let refused = world.job(&text("often", "view = \"moved\"", &format!("collector = \"bank\"\n{GROUP}")));
    let said = refused.json.to_string();
    assert!(refused.status != 0 && said.contains("refused.alignment") && said.contains("a group of it"), "{said}");
}
