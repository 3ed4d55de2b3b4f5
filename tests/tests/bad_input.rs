//! Whatever is wrong with what a person gives, there is one clear error with a stable code, and
//! everything is afterwards as it was before.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tacit_governance::ColumnKind;
use tacit_tests::craft::{self, Offer};
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, START_WAIT, shown};
use tacit_tests::{Wire, World, free_port, skipped};
use tacit_types::Code;

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n";

/// A world with one enrolled node, `a`, that does not run.
fn lone() -> World {
    let world = World::with_coordinator();
    world.join("a", "node");
    world
}

/// A world whose three nodes run under the contract `good`.
fn running() -> World {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("good", &OWNERS, 50, "");
    world
}

/// Replaces a text in a file and gives the file's old content.
fn edit(path: &Path, from: &str, to: &str) -> String {
    let old = fs::read_to_string(path).unwrap();
    assert!(old.contains(from), "{}: no `{from}`", path.display());
    fs::write(path, old.replacen(from, to, 1)).unwrap();
    old
}

#[test]
fn a_bad_table_is_named_and_not_registered() {
    let world = lone();
    let good = world.write("good.csv", TABLE);
    world.run("a", &["data", "add", "kept", &shown(&good), "--all", LEVELS]).ok();
    let before = world.run("a", &["data", "show"]).ok();
    let add = |name: &str, bytes: &[u8], code: &str, place: &str| {
        let file = world.write(name, bytes);
        let what = world.run("a", &["data", "add", "bad", &shown(&file)]).fails(code);
        assert!(what.contains(place), "{name}: `{what}` does not name `{place}`");
        assert_eq!(world.run("a", &["data", "show"]).ok(), before, "{name} left something behind");
    };
    add("empty.csv", b"", "data.empty", "empty.csv");
    add("header.csv", b"age,region\n", "data.empty", "header.csv");
    add("ragged.csv", b"age,region\n1,north\n2\n", "data.row_ragged", "line 3");
    add("wide.csv", b"age,region\n1,north\n2,south,east\n", "data.row_ragged", "line 3");
    add("nan.csv", b"x\n1.5\nNaN\n", "data.value_not_finite", "line 3");
    add("infinite.csv", b"x\n1.5\n2.5\n-inf\n", "data.value_not_finite", "line 4");
    add("twice.csv", b"age,age\n1,2\n", "data.header_duplicate", "age");
    add("latin.csv", b"name\nM\xfcller\n", "data.not_utf8", "line 2");
    let mut mixed = String::from("age\n");
    (0..5000).for_each(|i| mixed.push_str(&format!("{i}\n")));
    add("type.csv", (mixed + "unknown\n").as_bytes(), "data.value_type", "line 5002");
    add("table.xlsx", b"PK", "data.format_unknown", "table.xlsx");
    add("broken.parquet", b"PAR1 and nothing else", "data.file_malformed", "broken.parquet");
    let absent = world.folder().join("absent.csv");
    let what = world.run("a", &["data", "add", "bad", &shown(&absent)]).fails("data.file_absent");
    assert!(what.contains("absent.csv"), "{what}");
    let file = shown(&good);
    let arguments = ["data", "add", "bad", &file, "--level", "income=after_aggregate"];
    let what = world.run("a", &arguments).fails("data.column_unknown");
    assert!(what.contains("income"), "{what}");
    world.run("a", &["data", "add", "bad", &file, "--level", "age=everything"]).fails("args.invalid");
    world.run("a", &["data", "add", "Bad Name", &file]).fails("args.name_malformed");
    world.run("a", &["data", "add", "bad", &file, "--view", "v=DELETE FROM data"]).fails("data.view_malformed");
    world.run("a", &["data", "add", "bad", "postgres://nowhere/t"]).fails("data.source_unknown");
    world.run("a", &["data", "check", "absent"]).fails("data.unknown");
    assert_eq!(world.run("a", &["data", "show"]).ok(), before);
    // A registered file that disappears or changes is noticed, too.
    fs::remove_file(&good).unwrap();
    world.run("a", &["data", "check", "kept"]).fails("data.file_absent");
    fs::write(&good, "other\n1\n").unwrap();
    world.run("a", &["data", "check", "kept"]).fails("data.changed");
}

#[test]
fn a_line_of_a_gigabyte_costs_neither_time_nor_memory() {
    let world = lone();
    let path = world.write("endless.csv", "age,region\n1,");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    let begun = Instant::now();
    let mut command = world.command("a", &["--json", "data", "add", "bad", &shown(&path)]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watcher = std::thread::spawn(move || {
        let mut peak = 0;
        while let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find(|l| l.starts_with("VmHWM:"));
            let Some(kb) = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()) else { break };
            peak = peak.max(kb);
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    });
    let output = child.wait_with_output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["error"]["code"], "data.line_too_long", "{json}");
    assert!(json["error"]["what"].as_str().unwrap().contains("line 2"), "{json}");
    let peak = watcher.join().unwrap();
    assert!((1..400_000).contains(&peak), "{peak} kB");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn unusable_configuration_names_file_line_and_key() {
    let mut world = lone();
    let config = world.home("a").join("node.toml");
    let unknown = format!("colour = \"red\"\n{}", fs::read_to_string(&config).unwrap());
    let old = fs::read_to_string(&config).unwrap();
    fs::write(&config, unknown).unwrap();
    let what = world.run("a", &["data", "show"]).fails("config.malformed");
    assert!(what.contains("node.toml") && what.contains("line 1") && what.contains("colour"), "{what}");
    fs::write(&config, &old).unwrap();
    for (from, to) in
        [("slots = 4", "slots = 0"), ("fingerprint = \"", "fingerprint = \"z"), ("role = \"node\"", "role = \"king\"")]
    {
        edit(&config, from, to);
        let what = world.run("a", &["node", "run"]).fails("config.malformed");
        assert!(what.contains("node.toml"), "{what}");
        fs::write(&config, &old).unwrap();
    }
    world.run("nobody", &["data", "show"]).fails("config.absent");
    world.run("nobody", &["coordinator", "run"]).fails("config.absent");
    // Keys that others can read are not used.
    let key = world.home("a").join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let what = world.run("a", &["data", "show"]).fails("config.key_permissions");
    assert!(what.contains("node.key"), "{what}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    world.run("a", &["data", "show"]).ok();
    // The coordinator's.
    assert_eq!(world.stop(COORDINATOR), 0);
    let config = world.home(COORDINATOR).join("coordinator.toml");
    let old = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{old}colour = \"red\"\n")).unwrap();
    let what = world.run(COORDINATOR, &["coordinator", "run"]).fails("config.malformed");
    assert!(what.contains("coordinator.toml:") && what.contains("colour"), "{what}");
    fs::write(&config, &old).unwrap();
    let key = world.home(COORDINATOR).join("root.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    world.run(COORDINATOR, &["coordinator", "run"]).fails("config.key_permissions");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    world.run(COORDINATOR, &["init", "--listen", "127.0.0.1:1"]).fails("config.exists");
    world.start(COORDINATOR);
    world.run_soon("a", &["contract", "list"]);
}

#[test]
fn invitations_and_peers_that_are_not_what_they_seem() {
    let mut world = lone();
    world.run("b", &["join", "hello"]).fails("invite.malformed");
    let line = world.invite("b", "node");
    world.run("b", &["join", &line[..line.len() - 1]]).fails("invite.malformed");
    assert!(!world.home("b").join("node.toml").exists());
    // A code that nobody gave; then the good one still works, once.
    let last = if line.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &line[..line.len() - 1]);
    world.run("b", &["join", &wrong]).fails("invite.unknown");
    assert!(!world.home("b").join("node.toml").exists());
    // The right code with another fingerprint: nobody who listens there has that key, and the code stays good.
    let (front, code) = line.rsplit_once('#').unwrap();
    let (place, fingerprint) = front.split_once('#').unwrap();
    let other = tacit_crypto::SigningKey::from_seed(&tacit_crypto::Secret::new([7; 32])).id();
    assert_ne!(other.to_string(), fingerprint);
    world.run("b", &["join", &format!("{place}#{other}#{code}")]).fails("net.fingerprint");
    assert!(!world.home("b").join("node.toml").exists());
    let address = format!("127.0.0.1:{}", free_port());
    world.run("b", &["join", &line, "--listen", &address]).ok();
    world.run("b2", &["join", &line]).fails("invite.used");
    world.run("b", &["join", &line]).fails("config.exists");
    world.run(COORDINATOR, &["invite", "--role", "king", "--name", "k"]).fails("args.invalid");
    // Another key than the pinned one.
    let config = world.home("a").join("node.toml");
    let pinned = craft_pin(&config);
    let mut other = pinned.clone();
    other.replace_range(..1, if pinned.starts_with('a') { "b" } else { "a" });
    edit(&config, &pinned, &other);
    world.run("a", &["contract", "list"]).fails("net.fingerprint");
    edit(&config, &other, &pinned);
    world.run("a", &["contract", "list"]).ok();
    // Nobody there.
    world.kill(COORDINATOR);
    let begun = Instant::now();
    world.run("a", &["contract", "list"]).fails("net.unreachable");
    assert!(begun.elapsed() < Duration::from_secs(20));
    world.run(COORDINATOR, &["invite", "--role", "node", "--name", "x"]).fails("net.unreachable");
}

/// The coordinator's fingerprint in a configuration.
fn craft_pin(config: &Path) -> String {
    let text = fs::read_to_string(config).unwrap();
    let line = text.lines().find(|l| l.starts_with("fingerprint")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn one_folder_has_one_daemon_and_one_port_one_user() {
    let mut world = lone();
    world.start("a");
    let begun = Instant::now();
    while !world.log("a").contains("connected to the coordinator") {
        assert!(begun.elapsed() < START_WAIT, "{}", world.log("a"));
        std::thread::sleep(Duration::from_millis(50));
    }
    world.run("a", &["node", "run"]).fails("store.locked");
    world.run(COORDINATOR, &["coordinator", "run"]).fails("store.locked");
    world.run(COORDINATOR, &["log", "fsck"]).fails("store.locked");
    world.join("b", "node");
    let port = |party: &str| {
        let text = fs::read_to_string(world.home(party).join("node.toml")).unwrap();
        text.lines().find(|l| l.starts_with("listen")).unwrap().to_owned()
    };
    edit(&world.home("b").join("node.toml"), &port("b"), &port("a"));
    let what = world.run("b", &["node", "run"]).fails("net.port_taken");
    assert!(what.contains("127.0.0.1:"), "{what}");
    // A coordinator's.
    let taken = port("a").split('"').nth(1).unwrap().to_owned();
    world.run("second", &["init", "--listen", &taken, "--public", &taken]).ok();
    let what = world.run("second", &["coordinator", "run"]).fails("net.port_taken");
    assert!(what.contains(&taken), "{what}");
    assert!(world.runs("a") && world.runs(COORDINATOR));
    world.run("a", &["contract", "list"]).ok();
}

#[test]
fn a_damaged_database_stops_what_needs_it() {
    let mut world = lone();
    let file = world.write("t.csv", TABLE);
    world.run("a", &["data", "add", "data", &shown(&file), "--all", LEVELS]).ok();
    assert_eq!(world.stop(COORDINATOR), 0);
    for (party, name, command) in [
        ("a", "node.db", &["data", "show"][..]),
        ("a", "node.db", &["node", "run"][..]),
        (COORDINATOR, "coordinator.db", &["coordinator", "run"][..]),
    ] {
        let path = world.home(party).join(name);
        let good = fs::read(&path).unwrap();
        // The header; the pages after it; half of the file gone.
        let mut header = good.clone();
        header[..16].fill(0x55);
        let mut pages = good.clone();
        let end = pages.len();
        pages[4096..end].iter_mut().for_each(|b| *b ^= 0xa5);
        for (what, bytes) in [("header", header), ("pages", pages), ("half", good[..good.len() / 2].to_vec())] {
            fs::write(&path, &bytes).unwrap();
            let told = world.run(party, command).fails("store.corrupt");
            assert!(!told.is_empty(), "{party} {what}");
            // Nobody repairs or overwrites it unasked.
            assert_eq!(fs::read(&path).unwrap()[..16], bytes[..16], "{party} {what}");
        }
        fs::write(&path, &good).unwrap();
    }
    world.start(COORDINATOR);
    world.run_soon("a", &["contract", "list"]);
    assert_eq!(world.run("a", &["data", "show"]).ok()[0]["name"], "data");
}

#[test]
fn a_bad_job_or_contract_file_names_its_line() {
    let world = running();
    let state = || (world.run("lab", &["job", "list"]).ok(), world.run("lab", &["contract", "list"]).ok());
    let before = state();
    let head = "kind = \"stats/v1\"\ncontract = \"good\"\n";
    let measure = "[[params.measures]]\ncolumn = \"age\"\nstatistics = [\"sum\"]\n";
    let cases: [(String, &str, &str); 9] = [
        ("kind = \"stats/v1\"\ncontract \"good\"\n".into(), "args.invalid", "line 2"),
        (format!("{head}colour = 1\n{measure}"), "args.invalid", "colour"),
        (format!("{head}{measure}colour = 1\n"), "refused.parameters", "colour"),
        (format!("{head}{}", measure.replace("age", "income")), "data.column_unknown", "income"),
        (format!("{head}{}", measure.replace("age", "region")), "data.column_type", "region"),
        (format!("{head}{}", measure.replace("sum", "mode")), "refused.parameters", "mode"),
        ("kind = \"magic/v1\"\ncontract = \"good\"\n".into(), "refused.kind", "magic"),
        ("kind = \"count/v1\"\ncontract = \"nothing\"\n".into(), "refused.contract_unknown", "nothing"),
        (
            "kind = \"count/v1\"\ncontract = \"good\"\n[params]\nfilter = \"age >>= 3\"\n".into(),
            "refused.parameters",
            "filter",
        ),
    ];
    for (text, code, place) in cases {
        let file = world.write("bad.toml", &text);
        for command in [&["job", "submit"][..], &["job", "plan"]] {
            let what = world.run("lab", &[command, &[&shown(&file)]].concat()).fails(code);
            assert!(what.contains(place), "{text}: `{what}` does not name `{place}`");
        }
    }
    world.run("lab", &["job", "submit", "/nowhere/job.toml"]).fails("io.failed");
    world.run("lab", &["job", "show", &"ab".repeat(32)]).fails("job.unknown");
    world.run("lab", &["job", "show", "zzzz"]).fails("job.unknown");
    world.run("lab", &["job", "watch", &"z".repeat(64)]).fails("args.id_malformed");
    world.run("lab", &["receipt", "show", "99999"]).fails("receipt.unknown");
    world.run("lab", &["contract", "show", "nothing"]).fails("refused.contract_unknown");
    world.run("a", &["contract", "sign", "nothing"]).fails("refused.contract_unknown");
    world.run("a", &["contract", "revoke", "nothing"]).fails("refused.contract_unknown");
    let contract = fs::read_to_string(world.folder().join("good.contract.toml")).unwrap();
    for (from, to, code, place) in [
        ("quota_jobs = 50", "quota_jobs = 50\ncolour = 1", "args.invalid", "colour"),
        ("quota_jobs = 50", "quota_jobs = \"many\"", "args.invalid", "line 5"),
        ("quota_jobs = 50", "quota_jobs = 0", "args.invalid", "quota"),
        ("rows = 3", "rows = 2", "args.invalid", "floor"),
        ("owner = \"b\"", "owner = \"x\"", "refused.parties", "x"),
        ("dataset = \"data\"", "dataset = \"other\"", "data.unknown", "other"),
    ] {
        let file = world.write("bad.toml", contract.replacen(from, to, 1));
        let what = world.run("lab", &["contract", "draft", &shown(&file)]).fails(code);
        assert!(what.contains(place), "{to}: `{what}` does not name `{place}`");
    }
    assert_eq!(state(), before, "something was submitted or drafted");
}

#[test]
fn an_altered_or_unsigned_job_is_never_a_job() {
    let world = running();
    let wire = Wire::open(&world.home("lab")).unwrap();
    let offer = Offer::of(&world, "good", &[("age", ColumnKind::Int), ("region", ColumnKind::Text)]);
    let spec = offer.spec("count/v1", serde_json::json!({"filter": "age >= 18"}), wire.seal().public(), 1);
    let good = craft::sign(&wire.key(), &spec);
    let mut bad: Vec<Vec<u8>> = (0..good.len())
        .map(|i| {
            let mut bytes = good.clone();
            bytes[i] ^= 1 << (i % 8);
            bytes
        })
        .collect();
    bad.extend([Vec::new(), good[..good.len() - 1].to_vec(), [&good[..], &[0]].concat(), vec![0xff; 70_000]]);
    // Signed by nobody: the job alone, and in its envelope with an empty signature, which stands last.
    let head = good.len() - 66;
    assert_eq!(good[head..head + 2], [0x58, 64]);
    bad.extend([tacit_crypto::cbor::encode(&spec), [&good[..head], &[0x40]].concat()]);
    let requests: Vec<_> = bad
        .iter()
        .map(|job| tacit_engine::ToCoordinator::Submit { job: tacit_types::wire::Blob(job.clone()) })
        .collect();
    for (i, answer) in requests.chunks(16).flat_map(|some| wire.ask_all(some)).enumerate() {
        let fault = answer.expect_err("an altered job was taken");
        let allowed = [Code::RefusedUnsigned, Code::RefusedMalformed, Code::RefusedParties];
        assert!(allowed.contains(&fault.code), "byte {i}: {fault}");
    }
    assert!(wire.jobs().unwrap().is_empty());
    for owner in OWNERS {
        assert_eq!(world.run(owner, &["node", "jobs"]).ok(), serde_json::json!([]));
    }
    // The unaltered bytes run.
    let view = wire.ended(wire.submit(&good).unwrap()).unwrap();
    assert_eq!(view.terminal, Some(tacit_engine::Terminal::Succeeded), "{view:?}");
}

/// Lets a command see another time. `None` where the library for that is not installed.
fn shift_clock<'a>(command: &'a mut Command, by: &str) -> Option<&'a mut Command> {
    let library =
        ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
    let library = library.into_iter().find(|l| Path::new(l).exists())?;
    Some(command.env("LD_PRELOAD", library).env("FAKETIME", by).env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
}

#[test]
fn an_invitation_that_has_expired_enrols_nobody() {
    let mut world = lone();
    world.run(COORDINATOR, &["invite", "--role", "node", "--name", "late", "--hours", "0"]).fails("args.invalid");
    let invited = world.run(COORDINATOR, &["invite", "--role", "node", "--name", "late", "--hours", "1"]).ok();
    let line = invited["invitation"].as_str().unwrap().to_owned();
    world.kill(COORDINATOR);
    // Two hours later, for both.
    let mut daemon = world.command(COORDINATOR, &["--log", "info", "coordinator", "run"]);
    if shift_clock(&mut daemon, "+2h").is_none() {
        return skipped("an expired invitation: apt-get install -y faketime");
    }
    world.spawn(COORDINATOR, &mut daemon);
    let begun = Instant::now();
    loop {
        let mut join = world.command("late", &["--json", "join", &line]);
        shift_clock(&mut join, "+2h");
        let done = World::finish(&mut join);
        if !done.stderr.contains("net.unreachable") {
            done.fails("invite.expired");
            break;
        }
        assert!(begun.elapsed() < START_WAIT, "{}", world.log(COORDINATOR));
    }
    assert!(!world.home("late").join("node.toml").exists());
}

#[test]
fn a_clock_that_is_a_day_off_is_named() {
    let mut world = lone();
    let mut command = world.command("a", &["--json", "contract", "list"]);
    let Some(command) = shift_clock(&mut command, "-24h") else {
        return skipped("a clock that is a day off: apt-get install -y faketime");
    };
    let what = World::finish(command).fails("clock.skew");
    assert!(!what.is_empty());
    // A daemon says so in its log and goes on trying; with the clock right it connects.
    let mut daemon = world.command("a", &["--log", "info", "node", "run"]);
    shift_clock(&mut daemon, "+24h");
    world.spawn("a", &mut daemon);
    let begun = Instant::now();
    while !world.log("a").contains("clock.skew") {
        assert!(begun.elapsed() < START_WAIT, "{}", world.log("a"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(world.runs("a"));
    world.run("a", &["contract", "list"]).ok();
}

#[test]
fn a_coordinator_whose_clock_is_a_day_off_is_named_by_everybody() {
    let mut world = lone();
    assert_eq!(world.stop(COORDINATOR), 0);
    let mut daemon = world.command(COORDINATOR, &["--log", "info", "coordinator", "run"]);
    if shift_clock(&mut daemon, "-24h").is_none() {
        return skipped("a coordinator's clock that is a day off: apt-get install -y faketime");
    }
    world.spawn(COORDINATOR, &mut daemon);
    world.start("a");
    let begun = Instant::now();
    while !world.log("a").contains("clock.skew") {
        assert!(begun.elapsed() < START_WAIT, "{}", world.log("a"));
        std::thread::sleep(Duration::from_millis(100));
    }
    world.run("a", &["contract", "list"]).fails("clock.skew");
    assert!(world.runs("a") && world.runs(COORDINATOR));
    // With its clock right everything goes on.
    assert_eq!(world.stop(COORDINATOR), 0);
    world.start(COORDINATOR);
    world.run_soon("a", &["contract", "list"]);
}

/// Everybody's clock goes past the end of a contract and is turned back: the nodes remember, and the contract stays
/// expired for them.
#[test]
fn a_clock_that_is_turned_back_brings_no_contract_back() {
    let mut world = running();
    let job = "kind = \"count/v1\"\ncontract = \"good\"\n[params]\nfilter = \"age >= 18\"\n";
    world.job(job).ok();
    let everybody = [COORDINATOR, "a", "b", "c"];
    for name in everybody {
        assert_eq!(world.stop(name), 0);
    }
    for name in everybody {
        let kind = if name == COORDINATOR { "coordinator" } else { "node" };
        let mut daemon = world.command(name, &["--log", "info", kind, "run"]);
        if shift_clock(&mut daemon, "+31d").is_none() {
            return skipped("a clock that is turned back: apt-get install -y faketime");
        }
        world.spawn(name, &mut daemon);
    }
    let begun = Instant::now();
    let connected = |world: &World, name| world.log(name).matches("connected to the coordinator").count() >= 2;
    while !OWNERS.iter().all(|name| connected(&world, name)) {
        assert!(begun.elapsed() < START_WAIT, "{}", world.log("a"));
        std::thread::sleep(Duration::from_millis(100));
    }
    // What follows the connection: the time is noted once the node has registered.
    std::thread::sleep(Duration::from_secs(2));
    for name in everybody {
        assert_eq!(world.stop(name), 0);
        world.start(name);
    }
    world.wait_online("lab", OWNERS.len());
    let file = world.write("again.toml", job);
    let planned = world.run("lab", &["job", "plan", &shown(&file)]);
    assert!(planned.json.to_string().contains("refused.clock"), "{}{}", planned.json, planned.stderr);
    let id = world.run("lab", &["job", "submit", &shown(&file)]).ok()["id"].as_str().unwrap().to_owned();
    // As witnesses they cosign nothing either until time has caught up: the refusal has no receipt before.
    let begun = Instant::now();
    while !world.run("lab", &["job", "show", &id]).ok()["parties"].to_string().contains("refused") {
        assert!(begun.elapsed() < START_WAIT, "{}", world.run("lab", &["job", "show", &id]).json);
        std::thread::sleep(Duration::from_millis(100));
    }
    for owner in OWNERS {
        let jobs = world.run(owner, &["node", "jobs"]).ok();
        let admitted = jobs.as_array().unwrap().iter().filter(|job| job["admitted"] == true);
        assert_eq!(admitted.count(), 1, "{owner} took it: {jobs}");
    }
}

#[test]
fn the_verifier_refuses_what_is_no_bundle() {
    let world = World::new();
    for (name, bytes) in [("empty.bundle", &b""[..]), ("noise.bundle", &[0xa5; 4096])] {
        let file = world.write(name, bytes);
        let mut verify = Command::new(program("tacit-verify"));
        let done = World::finish(verify.arg(&file).arg("--json"));
        assert!(matches!(done.status, 1 | 6), "{name}: {done:?}");
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        world.run("nobody", &["receipt", "verify", &shown(&file)]).fails("receipt.bundle");
    }
    assert_ne!(free_port(), 0);
}
