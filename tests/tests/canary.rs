//! Values that occur nowhere else are planted in one owner's rows. After jobs of both kinds, with
//! every daemon logging all it can, they are looked for in every byte that anyone else has, and in every frame that passes
//! between nodes, operator and coordinator, in clear.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Tap, Wire, World, free_port};
use tacit_types::JobId;

const TEXT: &str = "Quetzalcoatlus-7319";
const WHOLE: i64 = 730_218_649_513;
/// Large enough that six bytes of its fixed-point form are left with few bits of fraction.
const REAL: f64 = 48_213_718_753.331_7;
/// A fixed-point form has so many bits of fraction at most; which one a job takes follows from its bound.
const FRACTION_BITS_MAX: u32 = 48;
/// A random hit on a shorter form would not be rare enough.
const FIXED_BYTES_MIN: usize = 6;
/// The shortest shape of all.
const PREFIX: usize = 5;

/// What the planted values look like in a file.
struct Shapes {
    all: Vec<(String, Vec<u8>)>,
    /// Which of them begin so.
    by_prefix: HashMap<[u8; PREFIX], Vec<usize>>,
    /// Whether any of them begins with these two bytes: most places are passed over by that alone.
    begins: Vec<bool>,
}

/// The bytes of a number, least significant first, without the zeroes at either end: a shorter field may hold the rest.
fn core(number: i128) -> Vec<u8> {
    let little = number.to_le_bytes();
    let end = little.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    let start = little.iter().position(|b| *b != 0).unwrap_or(0);
    little[start..end].to_vec()
}

impl Shapes {
    /// A value's text, its bytes in either order, alone and in units of each power of two, and all of those in hex.
    fn new() -> Self {
        let mut all: Vec<(String, Vec<u8>)> = vec![
            ("text".into(), TEXT.as_bytes().to_vec()),
            ("text, first half".into(), TEXT.as_bytes()[..12].to_vec()),
            ("whole number".into(), WHOLE.to_string().into_bytes()),
            ("real number".into(), REAL.to_string().into_bytes()),
        ];
        let mut binary = vec![
            ("whole number".to_owned(), core(i128::from(WHOLE))),
            ("real number".to_owned(), core(i128::from(REAL.to_bits()))),
        ];
        for bits in 0..=FRACTION_BITS_MAX {
            for (what, units) in
                [("whole", i128::from(WHOLE) << bits), ("real", (REAL * 2f64.powi(bits as i32)) as i128)]
            {
                binary.push((format!("{what} number in units of 2^-{bits}"), core(units)));
            }
        }
        binary.retain(|(name, core)| !name.contains("units") || core.len() >= FIXED_BYTES_MIN);
        for (name, little) in binary {
            let big: Vec<u8> = little.iter().rev().copied().collect();
            all.push((format!("{name}, little-endian"), little));
            all.push((format!("{name}, big-endian"), big));
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes();
        let in_hex: Vec<_> = all.iter().map(|(name, bytes)| (format!("{name}, hex"), hex(bytes))).collect();
        all.extend(in_hex);
        let (mut by_prefix, mut begins) = (HashMap::<_, Vec<usize>>::new(), vec![false; 1 << 16]);
        for (place, (_, shape)) in all.iter().enumerate() {
            by_prefix.entry(*shape.first_chunk().unwrap()).or_default().push(place);
            begins[usize::from(u16::from_le_bytes([shape[0], shape[1]]))] = true;
        }
        Self { all, by_prefix, begins }
    }

    fn in_these(&self, bytes: &[u8], found: &mut BTreeSet<String>) {
        for at in 0..bytes.len().saturating_sub(PREFIX - 1) {
            if !self.begins[usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))] {
                continue;
            }
            let rest = &bytes[at..];
            let places = rest.first_chunk().and_then(|prefix| self.by_prefix.get(prefix));
            let shapes = places.into_iter().flatten().map(|place| &self.all[*place]);
            found.extend(shapes.filter(|(_, shape)| rest.starts_with(shape)).map(|(name, _)| name.clone()));
        }
    }

    /// The names of what is in the bytes, in capitals or not.
    fn hits(&self, bytes: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.in_these(bytes, &mut found);
        self.in_these(&bytes.to_ascii_lowercase(), &mut found);
        found
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() { files(&path, found) } else { found.push(path) }
    }
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
     [[params.histograms]]\ncolumn = \"score\"\nedges = [\"0\", \"50\", \"100\", \"100000000000\"]\n",
    "kind = \"stats/v1\"\ncontract = \"wide\"\n\
     [[params.quantiles]]\ncolumn = \"score\"\nprobabilities = [\"0.5\"]\nlow = \"0\"\nhigh = \"100000000000\"\n\
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
    // A node that is lost in a job, whatever comes of it: what is sent again is sealed again.
    let file = world.write("job.toml", JOBS[1]);
    let job = note("a job without c", world.run("lab", &["--log", "trace", "job", "submit", &shown(&file)]));
    std::thread::sleep(Duration::from_millis(150));
    world.kill("c");
    let id = JobId::from_hex(job.ok()["id"].as_str().unwrap()).unwrap();
    Wire::open(&world.home("lab")).unwrap().ended(id).unwrap();
    world.start("c");
    world.wait_online("lab", 3);
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

    let shapes = Shapes::new();
    // The search itself finds what is there, in each form.
    for (name, shape) in &shapes.all {
        let around = [b"0.".as_slice(), shape, b"7"].concat();
        assert!(shapes.hits(&around).contains(name), "{name}");
    }
    let source = world.folder().join("a-data/t.csv");
    assert!(shapes.hits(&std::fs::read(&source).unwrap()).len() >= 3);
    let mut all = Vec::new();
    files(world.folder(), &mut all);
    for name in [COORDINATOR, "a", "b", "c", "lab"] {
        assert!(all.iter().any(|p| p.starts_with(world.home(name)) && p.extension().is_some_and(|e| e == "db")));
    }
    assert!(world.log("a").contains("TRACE"), "the log is not at level trace");
    for path in all.iter().filter(|p| **p != source) {
        let found = shapes.hits(&std::fs::read(path).unwrap());
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
        let found = shapes.hits(&frames.bytes);
        assert!(found.is_empty(), "{} to {}: {found:?}", frames.from, frames.to);
    }
    for (what, text) in &outputs {
        let found = shapes.hits(text.as_bytes());
        assert!(found.is_empty(), "{what}: {found:?}\n{text}");
    }
}
