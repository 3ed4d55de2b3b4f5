//! A list longer than a job holds, scored in parts, end to end through processes: one line for each key, each part handed
//! in once whatever is killed, and the memory of one part.

mod private;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use private::*;
use serde_json::{Value, json};
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Wire, World};

fn one_owner(rows: usize) -> Private {
    Private::new(vec![table("a", 5, rows, 3)], "m", "rows = 5000000\nprecision = \"score\"")
}

/// The words of a batch.
fn batch<'a>(job: &'a str, to: &'a str, part: &'a str) -> [&'a str; 7] {
    ["job", "batch", job, "--out", to, "--part", part]
}

/// How many parts are done, by the book beside the output.
fn done(book: &Path) -> usize {
    let text = std::fs::read_to_string(book).unwrap_or_default();
    text.lines().filter(|line| line.contains("\"receipt\"")).count()
}

/// The output has one line for each key, in order, with the score of the plain model.
fn check(private: &Private, to: &Path, keys: &[String]) -> u64 {
    let text = std::fs::read_to_string(to).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let unknown = keys.iter().filter(|key| private.plain(key).is_none()).count();
    private.check(&json!({"result": {"scores": lines, "unknown": unknown}}), keys, |key| private.plain(key));
    unknown as u64
}

/// kill -9 of the command while it runs: what is done stays, what was handed in is not handed in again, and the whole is
/// as if nothing had happened.
#[test]
fn a_long_list_is_scored_in_parts_and_goes_on_after_a_kill() {
    let private = one_owner(60);
    let world = &private.world;
    let (keys, job, to) = (keys(64), shown(&private.job(HEAD, &keys(64), "")), world.folder().join("scores.jsonl"));
    let (out, book) = (shown(&to), world.folder().join("scores.jsonl.parts"));
    let mut running = world.command("lab", &batch(&job, &out, "20")).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while done(&book) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no part is done");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(done(&book) < 4, "it was killed too late to tell");

    let first = world.run("lab", &batch(&job, &out, "20")).ok();
    let unknown = check(&private, &to, &keys);
    assert!(unknown > 0);
    assert_eq!((&first["rows"], &first["unknown"]), (&json!(64), &json!(unknown)), "{first}");
    let parts: Vec<&Value> = first["jobs"].as_array().unwrap().iter().map(|part| &part["rows"]).collect();
    assert_eq!(parts, [20, 20, 20, 4]);
    let jobs = || Wire::open(&world.home("lab")).unwrap().jobs().unwrap().len();
    assert_eq!((jobs(), &audit(world)["valid"]), (4, &json!(4)), "no part was handed in twice");

    // What is done is done.
    let text = std::fs::read(&to).unwrap();
    assert_eq!(world.run("lab", &batch(&job, &out, "20")).ok(), first);
    assert_eq!((jobs(), std::fs::read(&to).unwrap()), (4, text));
    // Another batch needs another output.
    world.run("lab", &batch(&job, &out, "21")).fails("args.invalid");
    let mut changed = keys.clone();
    changed.swap(0, 63);
    world.write("keys.txt", changed.join("\n"));
    let what = world.run("lab", &batch(&job, &out, "20")).fails("args.invalid");
    assert!(what.contains("part 1 had other keys"), "{what}");
    assert_eq!(jobs(), 4);
}

/// A part that does not succeed ends the batch with the job's code; the same command goes on when it can.
#[test]
fn a_part_that_fails_ends_the_batch_and_the_same_command_goes_on() {
    let mut private = one_owner(40);
    let keys = keys(40);
    let job = shown(&private.job(HEAD, &keys, ""));
    let to = private.world.folder().join("scores.jsonl");
    let out = shown(&to);
    private.world.kill(DEALER);
    let ended = private.world.run("lab", &batch(&job, &out, "25"));
    assert_ne!(ended.status, 0);
    assert_eq!((&ended.json["part"], &ended.json["job"]["code"]), (&json!(1), &json!("job.unreachable")));
    assert_eq!(std::fs::read(&to).unwrap(), b"");
    private.world.start(DEALER);
    private.world.wait_there("lab", private.nodes.len());
    let done = private.world.run("lab", &batch(&job, &out, "25")).ok();
    assert_eq!(done["rows"], json!(40));
    check(&private, &to, &keys);
    // A part is no more than a job holds, and there is something to score.
    private.world.run("lab", &batch(&job, &out, "1048577")).fails("args.invalid");
    private.world.write("keys.txt", "\n");
    private.world.run("lab", &batch(&job, "other.jsonl", "25")).fails("args.invalid");
}

/// The most memory of a daemon so far, in MiB.
fn peak(world: &World, party: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid(party))).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// However long the list is, a daemon holds what one part needs.
#[test]
#[ignore = "a million keys, for their time and memory: `cargo xtask long batch`"]
fn ten_parts_take_the_memory_of_two() {
    const PART: usize = 100_000;
    let private = one_owner(PART);
    let world = &private.world;
    let keys = keys(PART);
    let all: Vec<&str> = private.nodes.iter().copied().chain([COORDINATOR]).collect();
    let mut peaks: Vec<Vec<u64>> = Vec::new();
    for parts in [2, 10] {
        let list: Vec<String> = (0..parts).flat_map(|_| keys.clone()).collect();
        let job = shown(&private.job(&format!("{HEAD}\nattempt_seconds = 600"), &list, ""));
        let to = world.folder().join(format!("{parts}.jsonl"));
        let begun = Instant::now();
        world.run("lab", &batch(&job, &shown(&to), &PART.to_string())).ok();
        peaks.push(all.iter().map(|party| peak(world, party)).collect());
        eprintln!("{parts} parts of {PART}: {:?}, MiB of {all:?}: {:?}", begun.elapsed(), peaks.last().unwrap());
        check(&private, &to, &list);
    }
    for ((party, two), ten) in all.iter().zip(&peaks[0]).zip(&peaks[1]) {
        assert!(*ten <= two + two / 4, "{party}: {two} MiB with two parts, {ten} with ten");
    }
}
