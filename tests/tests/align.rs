//! Owners find the rows that they have in common, through processes: what comes out is what a plain join gives, what
//! one has is nowhere at the other, and what no contract allows is refused.

mod aligning;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use aligning::*;
use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::world::{COORDINATOR, limit, shown};

#[test]
fn both_learn_the_rows_that_a_plain_join_gives_and_nothing_else_of_the_other() {
    let mut all = two();
    all.agree("both", TERMS);
    let done = all.align("both", "level = \"both\"\nmode = \"double_mask\"\nkeys_min = 10\nkeep_days = 9").ok();
    assert_eq!(done["result"], json!({"parties": 2, "level": "both", "aligned": true}));
    for (own, other) in [(0, 1), (1, 0)] {
        let (rows, _) = joined(&all.tables[own], &all.tables[other]);
        let found = all.aligned(OWNERS[own]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["rows"], json!(rows), "{}", OWNERS[own]);
        assert!(rows > 150 && found[0]["aligned"]["level"] == "both", "{found:?}");
        assert_eq!(found[0]["aligned"]["parties"].as_array().map(Vec::len), Some(2));
    }
    // What one has and the other has not is nowhere at the other, nor at the coordinator.
    all.world.stop("bank");
    all.world.stop("telecom");
    all.world.stop(COORDINATOR);
    for (own, others) in [(0, [OWNERS[1], COORDINATOR]), (1, [OWNERS[0], COORDINATOR])] {
        let canary = CANARIES[own].to_lowercase();
        for other in others {
            let found = holds(&all.world.home(other), &canary) || all.world.log(other).to_lowercase().contains(&canary);
            assert!(!found, "{canary} is at {other}");
        }
        assert!(holds(&all.world.folder().join(format!("{}.csv", OWNERS[own])), &canary), "the search finds nothing");
    }
}

/// Whether a file, or one below a folder, has the text in any capitals.
fn holds(path: &Path, text: &str) -> bool {
    if path.is_dir() {
        return std::fs::read_dir(path).unwrap().any(|e| holds(&e.unwrap().path(), text));
    }
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).to_lowercase().contains(text)
}

#[test]
fn one_learns_or_none_and_an_aligned_version_feeds_statistics() {
    let all = Aligning::new(vec![
        rows(3, ids(0..300), CANARIES[0]),
        rows(4, ids(100..500), CANARIES[1]),
        rows(5, ids(0..50), CANARIES[2]),
    ]);
    all.agree("one", TERMS);
    // Mode B, padded: the receiver alone keeps something.
    let params =
        "level = \"receiver\"\nreceiver = \"bank\"\nmode = \"keyed\"\nkeys_min = 10\nsize = 1024\nkeep_days = 9";
    all.align("one", params).ok();
    let (rows, sum) = joined(&all.tables[0], &all.tables[1]);
    assert_eq!(all.aligned("bank")[0]["rows"], json!(rows));
    assert!(all.aligned("telecom").is_empty(), "who does not learn keeps nothing");
    // Ids for the union: each keeps all of its rows and which match is in nobody's catalogue.
    all.align("one", "level = \"spine\"\nkeys_min = 10\nkeep_days = 9").ok();
    assert_eq!(all.aligned("telecom")[0]["aligned"]["level"], "spine");
    // Statistics over what was aligned, with two others' own rows.
    let begun = Instant::now();
    let mut text = "name = \"stats\"\npurpose = \"tests\"\nkinds = [\"count/v1\", \"stats/v1\"]\ndemander = \"lab\"\n\
         quota_jobs = 9\nvalid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n"
        .to_owned();
    // The first version is the receiver's; the second is the ids' and newer, so the contract takes the telecom's alone.
    for (owner, dataset) in [("bank", "data-aligned"), ("telecom", "data"), ("grocer", "data")] {
        write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"{dataset}\"\n").unwrap();
        if owner == "bank" {
            text.push_str("version = 1\n");
        }
    }
    let file = shown(&all.world.write("stats.contract.toml", text));
    while all.world.run("lab", &["contract", "draft", &file]).status != 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the aligned version is not offered");
        std::thread::sleep(Duration::from_millis(200));
    }
    for owner in OWNERS {
        all.world.run(owner, &["contract", "sign", "stats"]).ok();
    }
    let statistics = "kind = \"stats/v1\"\ncontract = \"stats\"\n[params]\nmeasures = [{ column = \"amount\", statistics = [\"count\", \"sum\"] }]\n";
    let done = all.world.job(statistics).ok();
    let others: BTreeMap<&str, (u64, i64)> = [("telecom", 1), ("grocer", 2)]
        .map(|(name, i)| (name, (all.tables[i].len() as u64, all.tables[i].iter().map(|(_, a)| a).sum())))
        .into();
    let expected_rows = rows + others.values().map(|(n, _)| n).sum::<u64>();
    let expected_sum = sum + others.values().map(|(_, s)| s).sum::<i64>();
    let shown_result = done.to_string();
    assert!(shown_result.contains(&format!("\"count\":{expected_rows}")), "{expected_rows}: {shown_result}");
    assert!(shown_result.contains(&format!("\"sum\":{expected_sum}")), "{expected_sum}: {shown_result}");
}

#[test]
fn what_the_contract_does_not_allow_is_refused_before_any_key_leaves() {
    let all = two();
    all.agree(
        "narrow",
        "[alignment]\nlevels = [\"receiver\"]\nlearners = [\"bank\"]\nkeys_min = 100\npadded = true\nkeep_days = 9\n",
    );
    let fine =
        "level = \"receiver\"\nreceiver = \"bank\"\nmode = \"keyed\"\nkeys_min = 100\nsize = 2048\nkeep_days = 9";
    for (change, to, why) in [
        ("level = \"receiver\"\nreceiver = \"bank\"", "level = \"both\"", "level `both`"),
        ("receiver = \"bank\"", "receiver = \"telecom\"", "may not learn"),
        ("keys_min = 100", "keys_min = 99", "lists of 99 keys"),
        ("size = 2048\n", "", "not padded"),
        ("keep_days = 9", "keep_days = 10", "kept 10 days"),
    ] {
        let refused = all.align("narrow", &fine.replacen(change, to, 1));
        let text = refused.json.to_string();
        assert!(refused.status != 0 && text.contains("refused.alignment") && text.contains(why), "{why}: {text}");
    }
    assert!(all.aligned("bank").is_empty());
    // Who wants no more than a count is told by which kind, in either language.
    let counted =
        all.job_file("narrow", &fine.replacen("level = \"receiver\"\nreceiver = \"bank\"", "level = \"count\"", 1));
    for (lang, word) in [("en", "parameters"), ("zh", "参数")] {
        let output = all.world.command("lab", &["--lang", lang, "job", "plan", &counted]).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!output.status.success() && said.contains("match-count/v1") && said.contains(word), "{said}");
    }
    all.align("narrow", fine).ok();
    // A list of fewer keys than the job wants ends at both, with the cause.
    let few = all.align("narrow", &fine.replacen("keys_min = 100", "keys_min = 2000", 1));
    assert!(few.json.to_string().contains("refused.cohort"), "{}", few.json);
}

#[test]
fn lists_are_brought_together_so_often_and_change_by_groups() {
    let all = two();
    let file = |i: usize| shown(&all.world.folder().join(format!("{}.csv", OWNERS[i])));
    let fewer = format!("fewer=SELECT * FROM data WHERE {} <> '{}'", COLUMNS[0], CANARIES[0]);
    let half = |i: usize| format!("half=SELECT * FROM data WHERE {} IS NULL OR amount < 500", COLUMNS[i]);
    let mut text =
        "name = \"often\"\npurpose = \"tests\"\nkinds = [\"align/v1\"]\ndemander = \"lab\"\nquota_jobs = 20\n\
         valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n"
            .to_owned();
    write!(text, "{TERMS}[alignment.repeat]\nruns = 3\ndays = 2\nchange_min = 20\n").unwrap();
    // The bank's view `fewer` lacks one key; the telecom's is the whole.
    for (i, fewer) in [(0, fewer), (1, "fewer=SELECT * FROM data".to_owned())] {
        let key = format!("{}=align_key", COLUMNS[i]);
        let views = ["--view", "whole=SELECT * FROM data", "--view", &fewer, "--view", &half(i)];
        let args = ["data", "add", "viewed", &file(i), "--text", COLUMNS[i], "--level", &key];
        all.world.run(OWNERS[i], &[&args[..], &["--all", "after_aggregate,after_compare"], &views].concat()).ok();
        write!(text, "[[datasets]]\nowner = \"{}\"\ndataset = \"viewed\"\n", OWNERS[i]).unwrap();
    }
    let contract = shown(&all.world.write("often.contract.toml", text));
    let begun = Instant::now();
    while all.world.run("lab", &["contract", "draft", &contract]).status != 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the views are not offered");
        std::thread::sleep(Duration::from_millis(200));
    }
    for owner in &OWNERS[..2] {
        all.world.run(owner, &["contract", "sign", "often"]).ok();
    }
    let terms = all.world.run("bank", &["contract", "show", "often"]).ok();
    assert_eq!(terms["alignment"]["repeat"], json!({"runs": 3, "days": 2, "change_min": 20, "keys": null}), "{terms}");
    let params = "level = \"both\"\nmode = \"double_mask\"\nkeys_min = 10\nkeep_days = 9";
    let of = |view: &str| {
        let file = all.job_file("often", params);
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replacen("[params]", &format!("view = \"{view}\"\n[params]"), 1);
        shown(&all.world.write("often.job.toml", text))
    };
    let align = |view: &str| all.world.run("lab", &["job", "submit", &of(view), "--watch"]);
    // A plan says how many are left at each owner, and takes none.
    let left = |before: &str, after: Option<&str>| {
        let plan = all.world.run("lab", &["job", "plan", &of("whole")]).json;
        for owner in &OWNERS[..2] {
            let runs = Some((before.to_owned(), "1".to_owned(), after.map(str::to_owned)));
            assert_eq!(limit(&plan, owner, "runs"), runs, "{plan}");
            assert_eq!(limit(&plan, owner, "others_keys"), None, "not limited: {plan}");
        }
    };
    left("3", Some("2"));
    align("whole").ok();
    left("2", Some("1"));
    // One person fewer at the bank: the difference of two answers would be about that person.
    let refused = align("fewer");
    let text = refused.json.to_string();
    assert!(refused.status != 0 && text.contains("refused.alignment") && text.contains("fewer than 20 keys"), "{text}");
    assert_eq!(all.aligned("telecom").len(), 1, "nothing was found");
    // Half of the rows are another group. What was refused by its list was counted too, so this is the third.
    align("half").ok();
    let refused = align("whole");
    let text = refused.json.to_string();
    assert!(refused.status != 0 && text.contains("refused.alignment") && text.contains("3 alignments"), "{text}");
    assert_eq!(all.aligned("bank").len(), 2);
    left("0", None);
    let output = all.world.command("lab", &["--lang", "zh", "job", "plan", &of("whole")]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("对齐次数") && text.contains("余量不足"), "{text}");
}

#[test]
fn where_a_contract_says_nothing_of_repetition_no_list_changes_by_few_persons() {
    let mut all = two();
    all.agree("unsaid", TERMS);
    let shown = all.world.run("bank", &["contract", "show", "unsaid"]).ok();
    let unsaid = json!({"runs": 52, "days": 366, "change_min": 10, "keys": null});
    assert_eq!(shown["alignment"]["repeat"], unsaid, "{shown}");
    let params = "level = \"both\"\nmode = \"double_mask\"\nkeys_min = 10\nkeep_days = 9";
    all.align("unsaid", params).ok();
    // Two persons are others, so that four keys are: fewer than a list must have.
    let persons: Vec<usize> = (0..all.tables[0].len()).filter(|row| all.tables[0][*row].0.is_some()).take(2).collect();
    for row in persons {
        all.tables[0][row].0 = Some(format!("another {row}"));
    }
    all.world.write("bank.csv", csv(COLUMNS[0], &all.tables[0]));
    let refused = all.align("unsaid", params);
    let text = refused.json.to_string();
    assert!(refused.status != 0 && text.contains("refused.alignment") && text.contains("fewer than 10 keys"), "{text}");
    assert_eq!(all.aligned("telecom").len(), 1, "nothing was found");
    // A contract that is to allow it says so.
    all.agree("widened", &format!("{TERMS}[alignment.repeat]\nruns = 9\ndays = 2\nchange_min = 3\n"));
    all.align("widened", params).ok();
}

#[test]
fn a_receipt_shows_of_lists_and_matches_what_the_contract_allows() {
    let all = two();
    let sizes = [0, 1].map(|i| keys(&all.tables[i]).len() as u64);
    let matches = keys(&all.tables[0]).intersection(&keys(&all.tables[1])).count() as u64;
    assert!(matches > 150 && !matches.is_power_of_two() && sizes[0] != sizes[1], "{matches} of {sizes:?}");
    let buckets = [sizes[0], sizes[0] + sizes[1]].map(u64::next_power_of_two);
    assert!(buckets[0] < buckets[1], "{sizes:?}");
    let params = |level: &str| format!("{level}\nmode = \"double_mask\"\nkeys_min = 10\nkeep_days = 9");
    let (both, one) = (params("level = \"both\""), params("level = \"receiver\"\nreceiver = \"bank\""));
    let sum = [sizes[0] + sizes[1]; 2];
    for (i, (terms, lists, word, given, told)) in [
        ("", "sum", "never", sum, 0),
        ("matches_in_receipt = \"bucket\"\n", "sum", "bucket", sum, matches.next_power_of_two()),
        ("matches_in_receipt = \"exact\"\nlists_in_receipt = \"each\"\n", "each", "exact", sizes, matches),
    ]
    .into_iter()
    .enumerate()
    {
        let contract = format!("shows-{word}");
        all.agree(&contract, &format!("{TERMS}{terms}"));
        let signed = all.world.run("telecom", &["contract", "show", &contract]).ok()["alignment"].clone();
        assert_eq!([&signed["lists_in_receipt"], &signed["matches_in_receipt"]], [lists, word], "{signed}");
        let plan = |params: &str| all.world.run("lab", &["job", "plan", &all.job_file(&contract, params)]).ok();
        assert_eq!(plan(&both)["in_receipt"], json!({"lists": lists, "matches": word}));
        assert_eq!(plan(&one)["in_receipt"], json!({"lists": lists, "matches": null}), "one alone learns it");
        let said = all.world.command("lab", &["--lang", "zh", "job", "plan", &all.job_file(&contract, &both)]).output();
        let said = String::from_utf8(said.unwrap().stdout).unwrap();
        assert!(said.contains(["不显示匹配数量", "2 的幂", "确切匹配数量"][i]), "{said}");
        assert!(said.contains(if lists == "each" { "每一方提供的键数" } else { "键数之和" }), "{said}");
        let done = all.align(&contract, &both).ok();
        let receipt = all.world.run("lab", &["receipt", "show", &done["receipt"].to_string()]).ok();
        let line = |unit: &str| -> BTreeMap<String, u64> {
            let lines = receipt["lines"].as_array().into_iter().flatten().filter(|l| l["unit"] == unit);
            lines.map(|l| (l["party"].as_str().unwrap().to_owned(), l["quantity"].as_u64().unwrap())).collect()
        };
        assert_eq!(line("cell_out").into_values().collect::<Vec<_>>(), [told], "{receipt}");
        let of = |each: [u64; 2]| BTreeMap::from([0, 1].map(|i| (OWNERS[i].to_owned(), each[i])));
        assert_eq!(line("cell_in"), of(given), "{receipt}");
        assert_eq!(line("payload_byte"), of(given.map(|keys| 32 * keys)), "{receipt}");
        // What was opened: an answer to each key of both, and to each of one.
        let opened = |receipt: &Value, what: &str| -> u64 {
            let all = receipt["disclosures"].as_array().into_iter().flatten();
            let of = all.filter(|d| d["what"].as_str().is_some_and(|w| w.ends_with(what))).collect::<Vec<_>>();
            assert_eq!(of.len(), 1, "{receipt}");
            of[0]["at_most"].as_u64().unwrap()
        };
        assert_eq!(opened(&receipt, "to both"), (sizes[0] + sizes[1]).next_power_of_two(), "{receipt}");
        if word != "bucket" {
            // The receiver's list stands in the receipt where each list does.
            let answers = if lists == "each" { sizes[0] } else { sizes[0] + sizes[1] };
            let done = all.align(&contract, &one).ok();
            let receipt = all.world.run("lab", &["receipt", "show", &done["receipt"].to_string()]).ok();
            assert_eq!(opened(&receipt, "to the receiver"), answers.next_power_of_two(), "{receipt}");
        }
        let quantities = receipt["lines"].as_array().into_iter().flatten().map(|l| l["quantity"].as_u64());
        assert_eq!(quantities.filter(|n| *n == Some(matches)).count(), usize::from(word == "exact"), "{receipt}");
        // However much of it is shown, what both keep is the same.
        assert_eq!(all.aligned("telecom").len(), i + 1);
    }
    for (term, words) in [("matches_in_receipt", "never, bucket, exact"), ("lists_in_receipt", "sum, each")] {
        let text = contract_text("odd", &format!("{TERMS}{term} = \"always\"\n"));
        let file = all.world.write("odd.contract.toml", text);
        let refused = all.world.run("lab", &["contract", "draft", &shown(&file)]);
        assert!(refused.status != 0 && refused.json.to_string().contains(words), "{}", refused.json);
    }
}

#[test]
fn the_keys_that_the_others_bring_are_counted() {
    let all = two();
    let (bank, telecom) = (keys(&all.tables[0]).len(), keys(&all.tables[1]).len());
    assert!(bank < telecom);
    // One key fewer than the telecom brings in two runs: the bank's node does not go along in the second.
    let repeat = format!("[alignment.repeat]\nruns = 9\ndays = 2\nchange_min = 3\nkeys = {}\n", 2 * telecom - 1);
    all.agree("counted", &format!("{TERMS}{repeat}"));
    let params = "level = \"both\"\nmode = \"double_mask\"\nkeys_min = 10\nkeep_days = 9";
    let left = || {
        let plan = all.world.run("lab", &["job", "plan", &all.job_file("counted", params)]).json;
        let of = |owner: &str| limit(&plan, owner, "others_keys").map(|(before, takes, _)| (before, takes));
        OWNERS[..2].iter().map(|owner| of(owner).unwrap()).collect::<Vec<_>>()
    };
    let most = 2 * telecom - 1;
    // Of a list nobody knows more beforehand than how many keys it has at the least.
    assert_eq!(left(), vec![(most.to_string(), "10".to_owned()); 2]);
    all.align("counted", params).ok();
    let both = [telecom, bank].map(|came| ((most - came).to_string(), "10".to_owned()));
    assert_eq!(left(), both, "each has counted what the other brought");
    let refused = all.align("counted", params);
    let text = refused.json.to_string();
    assert!(refused.status != 0 && text.contains("refused.alignment"), "{text}");
    assert!(OWNERS[..2].iter().all(|owner| all.aligned(owner).len() == 1), "nothing more was found");
}

/// The fenced parts of the page for operators, by what they are.
fn page(language: &str) -> Vec<String> {
    let text = include_str!("../../docs/ALIGN.md");
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn the_example_of_the_page_does_what_it_says() {
    let (tables, contract, job) = (page("csv"), page("toml"), page("text"));
    let mut world = World::with_coordinator();
    for (i, table) in tables.iter().enumerate() {
        world.join(OWNERS[i], "node");
        let file = world.write(&format!("{}.csv", OWNERS[i]), table);
        let level = format!("{}=align_key", COLUMNS[i]);
        world.run(OWNERS[i], &["data", "add", "data", &shown(&file), "--text", COLUMNS[i], "--level", &level]).ok();
        world.start(OWNERS[i]);
    }
    world.join("lab", "operator");
    world.wait_online("lab", 2);
    let file = world.write("contract.toml", &contract[0]);
    world.run("lab", &["contract", "draft", &shown(&file)]).ok();
    for owner in &OWNERS[..2] {
        world.run(owner, &["contract", "sign", "common-customers"]).ok();
    }
    let file = shown(&world.write("job.toml", &job[0]));
    let plan = world.run("lab", &["job", "plan", &file]).ok();
    assert!(plan.to_string().contains("which of its keys the other has, to both"), "{plan}");
    let done = world.run("lab", &["job", "submit", &file, "--watch"]).ok();
    assert_eq!(done["result"], json!({"parties": 2, "level": "both", "aligned": true}));
    for (owner, rows) in [("bank", 3), ("telecom", 4)] {
        let listed = world.run(owner, &["data", "list"]).ok();
        let aligned = listed.as_array().into_iter().flatten().find(|d| d["name"] == "data-aligned");
        assert_eq!(aligned.map(|d| d["rows"].clone()), Some(json!(rows)), "{owner}: {listed}");
    }
}

#[test]
fn three_owners_count_what_all_have_and_only_who_may_collects() {
    let all = Aligning::new(vec![
        rows(8, ids(0..500), CANARIES[0]),
        rows(9, ids(200..700), CANARIES[1]),
        rows(10, ids(300..900), CANARIES[2]),
    ]);
    let mut text =
        "name = \"count\"\npurpose = \"tests\"\nkinds = [\"match-count/v1\"]\ndemander = \"lab\"\nquota_jobs = 3\n\
         valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[alignment]\nlevels = [\"count\"]\n\
         learners = [\"telecom\"]\nkeys_min = 10\n"
            .to_owned();
    for owner in OWNERS {
        write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n").unwrap();
    }
    let file = all.world.write("count.contract.toml", text);
    all.world.run("lab", &["contract", "draft", &shown(&file)]).ok();
    for owner in OWNERS {
        all.world.run(owner, &["contract", "sign", "count"]).ok();
    }
    let job = |collector: &str, more: &str| {
        all.world.job(&format!(
            "kind = \"match-count/v1\"\ncontract = \"count\"\n[params]\ncollector = \"{collector}\"\nkeys_min = 10\n{more}\n\
             [params.key]\nid = [\"nfkc/1\", \"trim/1\", \"fold/1\"]\n[params.columns]\nbank = {{ id = \"customer\" }}\n\
             telecom = {{ id = \"subscriber\" }}\ngrocer = {{ id = \"card\" }}\n"
        ))
    };
    let all_have: BTreeSet<String> = keys(&all.tables[0]).intersection(&keys(&all.tables[1])).cloned().collect();
    let common = all_have.intersection(&keys(&all.tables[2])).count();
    assert!(common > 150, "{common}");
    let done = job("telecom", "size = 2048").ok();
    assert_eq!(done["result"], json!({"parties": 3, "keys": common, "suppressed": false}));
    let hidden = job("telecom", &format!("count_min = {}", common + 1)).ok();
    assert_eq!(hidden["result"], json!({"parties": 3, "keys": null, "suppressed": true}));
    assert!(job("bank", "").json.to_string().contains("refused.alignment"));
    // The quota is the budget: the refused job has used none of it.
    job("telecom", "").ok();
    assert!(job("telecom", "").json.to_string().contains("refused.quota"));
    assert!(OWNERS.iter().all(|owner| all.aligned(owner).is_empty()), "a count keeps nothing");
}

#[test]
fn of_three_owners_one_keeps_the_rows_that_all_have() {
    let all = Aligning::new(vec![
        rows(11, ids(0..500), CANARIES[0]),
        rows(12, ids(200..700), CANARIES[1]),
        rows(13, ids(300..900), CANARIES[2]),
    ]);
    let mut text = "name = \"star\"\npurpose = \"tests\"\nkinds = [\"align/v1\"]\ndemander = \"lab\"\nquota_jobs = 9\n\
         valid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[alignment]\nlevels = [\"receiver\", \"both\"]\n\
         learners = [\"bank\", \"telecom\"]\nkeys_min = 10\n"
        .to_owned();
    for owner in OWNERS {
        write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n").unwrap();
    }
    let file = all.world.write("star.contract.toml", text);
    all.world.run("lab", &["contract", "draft", &shown(&file)]).ok();
    for owner in OWNERS {
        all.world.run(owner, &["contract", "sign", "star"]).ok();
    }
    let text = |who: &str| {
        format!(
            "kind = \"align/v1\"\ncontract = \"star\"\n[params]\n{who}\nmode = \"keyed\"\nkeys_min = 10\nsize = 2048\n\
             [params.key]\nid = [\"nfkc/1\", \"trim/1\", \"fold/1\"]\n[params.columns]\nbank = {{ id = \"customer\" }}\n\
             telecom = {{ id = \"subscriber\" }}\ngrocer = {{ id = \"card\" }}\n"
        )
    };
    let star = text("level = \"receiver\"\nreceiver = \"telecom\"");
    // What the receiver learns of each other owner is stated before anybody agrees to it.
    let plan = all.world.run("lab", &["job", "plan", &shown(&all.world.write("star.job.toml", &star))]).ok();
    assert!(plan.to_string().contains("which of its keys each other owner has, to the receiver"), "{plan}");
    let done = all.world.job(&star).ok();
    assert_eq!(done["result"], json!({"parties": 3, "level": "receiver", "aligned": true}));
    let two: BTreeSet<String> = keys(&all.tables[0]).intersection(&keys(&all.tables[1])).cloned().collect();
    let common: BTreeSet<String> = two.intersection(&keys(&all.tables[2])).cloned().collect();
    let matched = |(id, _): &&(Option<String>, i64)| id.as_deref().and_then(plain).is_some_and(|k| common.contains(&k));
    let rows = all.tables[1].iter().filter(matched).count();
    assert!(rows > 150 && common.len() < two.len(), "{rows}");
    let found = all.aligned("telecom");
    assert_eq!(found[0]["rows"], json!(rows), "{found:?}");
    assert_eq!(found[0]["aligned"]["parties"].as_array().map(Vec::len), Some(3));
    assert!(["bank", "grocer"].iter().all(|owner| all.aligned(owner).is_empty()), "who does not learn keeps nothing");
    let refused = all.world.job(&text("level = \"receiver\"\nreceiver = \"grocer\"")).json.to_string();
    assert!(refused.contains("refused.alignment") && refused.contains("may not learn"), "{refused}");
    let refused = all.world.job(&text("level = \"both\"")).json.to_string();
    assert!(refused.contains("refused.parameters") && refused.contains("one alone can learn"), "{refused}");
}
