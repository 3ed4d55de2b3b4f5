//! Values that occur nowhere else are planted in one owner's rows. After jobs of both kinds, with
//! every daemon logging all it can, they are looked for in every byte that anyone else has, and in every frame that passes
//! between nodes, operator and coordinator, in clear.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Tap, Wire, World, free_port};

const TEXT: &str = "Quetzalcoatlus-7319";
const WHOLE: i64 = 730_218_649_513;
/// No byte of its binary form is zero.
const REAL: f64 = 48_213.718_753_331;

/// What a value looks like in a file: its text, its bytes in either order, and those in hex.
fn shapes() -> Vec<(String, Vec<u8>)> {
    let mut shapes: Vec<(String, Vec<u8>)> = vec![
        ("text".into(), TEXT.as_bytes().to_vec()),
        ("text, first half".into(), TEXT.as_bytes()[..12].to_vec()),
        ("whole number".into(), WHOLE.to_string().into_bytes()),
        ("real number".into(), b"48213.718753331".to_vec()),
    ];
    let binary = [
        ("whole number", WHOLE.to_le_bytes()),
        ("real number", REAL.to_le_bytes()),
        ("real number in units of 2^-24", ((REAL * 16_777_216.0) as i64).to_le_bytes()),
    ];
    for (name, little) in binary {
        // Leading zeroes are left out: a shorter field may hold the rest.
        let end = little.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        let start = little.iter().position(|b| *b != 0).unwrap_or(0);
        let core: Vec<u8> = little[start..end].to_vec();
        let big: Vec<u8> = core.iter().rev().copied().collect();
        shapes.push((format!("{name}, little-endian"), core));
        shapes.push((format!("{name}, big-endian"), big));
    }
    let hex: Vec<(String, Vec<u8>)> = shapes
        .iter()
        .map(|(name, bytes)| {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            (format!("{name}, hex"), hex.into_bytes())
        })
        .collect();
    shapes.extend(hex);
    // A random hit on a shorter shape would not be rare enough.
    assert!(shapes.iter().all(|(_, bytes)| bytes.len() >= 5), "{shapes:?}");
    shapes
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn hits(bytes: &[u8], shapes: &[(String, Vec<u8>)]) -> Vec<String> {
    let is_in = |shape: &[u8]| bytes.windows(shape.len()).any(|w| w == shape);
    let lower: Vec<u8> = bytes.to_ascii_lowercase();
    let is_in_lower = |shape: &[u8]| lower.windows(shape.len()).any(|w| w == shape);
    shapes.iter().filter(|(_, s)| is_in(s) || is_in_lower(s)).map(|(name, _)| name.clone()).collect()
}

fn table(canary: bool, seed: i64) -> String {
    let mut text = String::from("amount,score,region,name\n");
    for i in 0..60 {
        let region = ["north", "south"][(i % 2) as usize];
        text.push_str(&format!("{},{}.25,{region},person-{seed}-{i}\n", seed * 1000 + i * 17, i * 3));
    }
    if canary {
        for _ in 0..2 {
            text.push_str(&format!("{WHOLE},{REAL},north,{TEXT}\n"));
        }
    }
    text
}

const JOBS: [&str; 4] = [
    "kind = \"count/v1\"\ncontract = \"wide\"\n[params]\nfilter = \"amount > 10 and not name is null\"\n",
    "kind = \"stats/v1\"\ncontract = \"wide\"\n[[params.measures]]\ncolumn = \"amount\"\n\
     statistics = [\"count\", \"sum\", \"mean\", \"variance\"]\n[params.group_by]\ncolumn = \"region\"\nvalues = [\"north\", \"south\"]\n\
     [[params.histograms]]\ncolumn = \"score\"\nedges = [\"0\", \"50\", \"100\", \"100000\"]\n",
    "kind = \"stats/v1\"\ncontract = \"wide\"\n\
     [[params.quantiles]]\ncolumn = \"score\"\nprobabilities = [\"0.5\"]\nlow = \"0\"\nhigh = \"100000\"\n\
     [params.matrix]\ncolumns = [\"score\", \"amount\"]\ncorrelation = true\nbound = \"1000000000000\"\n",
    // Two values are outside the range that the job states; neither the end nor the result may tell.
    "kind = \"stats/v1\"\ncontract = \"wide\"\n[[params.measures]]\ncolumn = \"amount\"\nstatistics = [\"sum\"]\nbound = \"1000000\"\n",
];

#[test]
fn no_row_value_is_found_outside_its_owners_source() {
    let mut world = World::with_coordinator();
    world.kill(COORDINATOR);
    world.level = "trace";
    world.start(COORDINATOR);
    let tap = Tap::new();
    let config = std::fs::read_to_string(world.home(COORDINATOR).join("coordinator.toml")).unwrap();
    let listens = config.parse::<toml::Table>().unwrap()["listen"].as_str().unwrap().to_owned();
    let before = tap.before(COORDINATOR, &world.home(COORDINATOR), listens.parse().unwrap()).to_string();
    // Who has joined goes through the tap from then on.
    let through = |world: &World, name: &str| {
        let file = world.home(name).join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(&listens), "{text}");
        std::fs::write(file, text.replace(&listens, &before)).unwrap();
    };
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        let listens = format!("127.0.0.1:{}", free_port());
        let invitation = world.invite(name, "node");
        world.run(name, &["join", &invitation, "--listen", &listens, "--public", &listens]).ok();
        through(&world, name);
        // Other nodes are told the tap's address.
        let before = tap.before(name, &world.home(name), listens.parse().unwrap());
        let file = world.home(name).join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let public = format!("public = \"{listens}\"");
        assert!(text.contains(&public), "{text}");
        std::fs::write(file, text.replace(&public, &format!("public = \"{before}\""))).unwrap();
        // The source lies outside the node's folder: the node keeps no copy of it.
        let folder = world.folder().join(format!("{name}-data"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("t.csv"), table(name == "a", seed)).unwrap();
        let levels = "after_compare,after_aggregate,after_group_by";
        world
            .run(name, &["--log", "trace", "data", "add", "data", &shown(&folder.join("t.csv")), "--all", levels])
            .ok();
        world.start(name);
    }
    world.join("lab", "operator");
    through(&world, "lab");
    tap.know("lab", &world.home("lab"));
    world.wait_online("lab", 3);
    world.agree("wide", &["a", "b", "c"], 20, "");
    let mut outputs: BTreeMap<String, String> = BTreeMap::new();
    let mut note = |what: &str, done: tacit_tests::Done| {
        outputs.insert(what.to_owned(), format!("{}\n{}", done.json, done.stderr));
        done
    };
    let mut ends = Vec::new();
    for (i, job) in JOBS.iter().enumerate() {
        let file = world.write("job.toml", job);
        let command = ["--log", "trace", "job", "submit", &shown(&file), "--watch"];
        let done = note(&format!("job {i}"), world.run("lab", &command));
        ends.push((done.status, done.json["code"].clone(), done.json["reason"].clone()));
    }
    assert!(ends.iter().all(|e| e.0 == 0), "{ends:?}");
    let (bundle, trust) = (shown(&world.folder().join("log.bundle")), shown(&world.folder().join("log.trust")));
    let page = |name: &str| shown(&world.folder().join(name));
    let (report, check) = (page("report.html"), page("verify.html"));
    let commands: [(&str, &[&str]); 14] = [
        ("lab", &["receipt", "page", "--out", &check]),
        ("lab", &["report", "--from", "2020-01-01", "--until", "2100-01-01", "--out", &report]),
        ("lab", &["receipt", "show", "2"]),
        ("lab", &["receipt", "explain", "2"]),
        ("b", &["data", "list"]),
        ("b", &["node", "jobs"]),
        ("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]),
        ("lab", &["receipt", "list"]),
        ("lab", &["job", "list"]),
        ("lab", &["contract", "show", "wide"]),
        ("a", &["data", "show", "data"]),
        ("a", &["data", "check", "data"]),
        ("a", &["node", "jobs"]),
        ("a", &["node", "egress"]),
    ];
    for (party, command) in commands {
        let done = note(&command.join(" "), world.run(party, command));
        assert_eq!(done.status, 0, "{command:?}: {}", done.stderr);
    }
    let wire = Wire::open(&world.home("lab")).unwrap();
    outputs.insert("timelines".into(), format!("{:?}", wire.jobs().unwrap()));
    drop(wire);

    let shapes = shapes();
    // The search itself finds what is there.
    let source = world.folder().join("a-data/t.csv");
    assert!(hits(&std::fs::read(&source).unwrap(), &shapes).len() >= 3);
    let mut all = Vec::new();
    files(world.folder(), &mut all);
    for name in [COORDINATOR, "a", "b", "c", "lab"] {
        assert!(all.iter().any(|p| p.starts_with(world.home(name)) && p.extension().is_some_and(|e| e == "db")));
    }
    assert!(world.log("a").contains("TRACE"), "the log is not at level trace");
    for path in all.iter().filter(|p| **p != source) {
        let found = hits(&std::fs::read(path).unwrap(), &shapes);
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
    // Every frame between any two of them.
    let tapped = tap.tapped();
    let pairs: [(&str, &str); 8] = [
        ("a", COORDINATOR),
        (COORDINATOR, "a"),
        ("b", COORDINATOR),
        ("lab", COORDINATOR),
        (COORDINATOR, "lab"),
        ("a", "b"),
        ("b", "a"),
        ("a", "c"),
    ];
    for (from, to) in pairs {
        let frames = tapped.iter().filter(|t| (t.from.as_str(), t.to.as_str()) == (from, to));
        let bytes: usize = frames.map(|t| t.bytes.len()).sum();
        assert!(bytes > 1000, "{from} to {to}: {bytes} bytes");
    }
    let clear = |text: &str| tapped.iter().any(|t| t.bytes.windows(text.len()).any(|w| w == text.as_bytes()));
    assert!(clear("stats/v1") && clear("north"), "the frames are not in clear");
    for frames in &tapped {
        let found = hits(&frames.bytes, &shapes);
        assert!(found.is_empty(), "{} to {}: {found:?}", frames.from, frames.to);
    }
    for (what, text) in &outputs {
        let found = hits(text.as_bytes(), &shapes);
        assert!(found.is_empty(), "{what}: {found:?}\n{text}");
    }
}
