//! Scores online, end to end through processes: signed calls answered with what the whole model gives, each counted once
//! in a receipt, and nothing for those who may not ask.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_crypto::SigningKey;
use tacit_node::online::signature::{self, Signed};
use tacit_tests::program::program;
use tacit_tests::world::{START_WAIT, shown};
use tacit_tests::{World, repo};
use tacit_types::NodeId;

/// How far a score may be from the plain sum.
const ERROR: f64 = 1e-6;
const ROWS: usize = 40;

/// Two owners: the first lacks every fifth key, the second every seventh; a key stands twice at the second.
fn csv(owner: usize) -> String {
    let mut text = format!("id,x{owner}\n");
    for i in (0..ROWS).filter(|i| i % if owner == 0 { 5 } else { 7 } != 0) {
        text.push_str(&format!("C-{i:03},{}\n", value(owner, i)));
    }
    if owner == 1 {
        text.push_str("C-001,1\n");
    }
    text
}

fn value(owner: usize, i: usize) -> f64 {
    ((i * 37 + owner * 11) % 64) as f64 / 8.0 - 4.0
}

/// What the whole model gives; `None` for a key that some owner has no one row of.
fn plain(key: &str) -> Option<f64> {
    let i: usize = key.strip_prefix("C-")?.parse().ok()?;
    if i >= ROWS || i.is_multiple_of(5) || i.is_multiple_of(7) || i == 1 {
        return None;
    }
    Some(0.25 + 0.5 * value(0, i) - 1.0 + 0.75 * value(1, i))
}

fn model(owner: usize) -> String {
    let (weight, intercept) = [(0.5, 0.25), (0.75, -1.0)][owner];
    json!({"format": "tacit-linear/1", "library": "scikit-learn 1.7.2", "link": "identity",
        "features": [format!("x{owner}")], "coefficients": [weight], "intercept": intercept})
    .to_string()
}

/// Bank and telecom with their parts, and `lab`, whose node takes calls and may ask for so much.
struct Online {
    world: World,
    at: String,
    node: NodeId,
    app: SigningKey,
    stream: Option<TcpStream>,
    nonce: u64,
}

fn free_tcp_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

impl Online {
    fn new(terms: &str) -> Self {
        let mut world = World::with_coordinator();
        for (i, owner) in ["bank", "telecom"].into_iter().enumerate() {
            world.join(owner, "node");
            let file = world.write(&format!("{owner}.csv"), csv(i));
            let levels = ["data", "add", "data", &shown(&file), "--level", "id=align_key", "--all", "score_only"];
            world.run(owner, &levels).ok();
            let file = world.write(&format!("{owner}.json"), model(i));
            world.run(owner, &["model", "import", "credit", &shown(&file), "--format", "linear"]).ok();
            world.start(owner);
        }
        world.join("lab", "node");
        let at = format!("127.0.0.1:{}", free_tcp_port());
        let config = world.home("lab").join("node.toml");
        let mut text = std::fs::read_to_string(&config).expect("node.toml");
        text.push_str(&format!("\n[online]\nlisten = \"{at}\"\n"));
        std::fs::write(&config, text).expect("node.toml");
        world.start("lab");
        world.wait_online("lab", 2);
        let mut contract = format!(
            "name = \"credit\"\npurpose = \"tests\"\nkinds = [\"score-linear/v1\"]\ndemander = \"lab\"\n\
             quota_jobs = 100\nvalid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[scoring]\n{terms}\n"
        );
        for owner in ["bank", "telecom"] {
            contract.push_str(&format!("[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n"));
            contract.push_str(&format!("[[models]]\nowner = \"{owner}\"\nmodel = \"credit\"\n"));
        }
        let file = world.write("contract.toml", contract);
        world.run_soon("lab", &["contract", "draft", &shown(&file)]);
        for owner in ["bank", "telecom"] {
            world.run(owner, &["contract", "sign", "credit"]).ok();
        }
        let key = world.folder().join("app.key");
        let added = world.run("lab", &["model", "caller", "add", "app", "--new", &shown(&key)]).ok();
        let node = NodeId::from_hex(added["node"].as_str().unwrap()).unwrap();
        let app = tacit_net::keyfile::read_signing(&key).unwrap();
        Self { world, at, node, app, stream: None, nonce: 0 }
    }

    fn publish(&self, window: &str) -> tacit_tests::Done {
        let text = format!(
            "kind = \"score-linear/v1\"\ncontract = \"credit\"\n[params]\nkey = \"id\"\n[params.online]\n{window}\n"
        );
        let file = self.world.write("online.toml", text);
        self.world.run("lab", &["model", "publish", "credit", &shown(&file)])
    }

    /// Sends bytes and reads one answer.
    fn send(&mut self, head: &str, body: &[u8]) -> (u16, Value) {
        for _ in 0..2 {
            if self.stream.is_none() {
                let stream = TcpStream::connect(&self.at).expect("the node takes calls");
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                self.stream = Some(stream);
            }
            let stream = self.stream.as_mut().unwrap();
            let sent = stream.write_all(&[head.as_bytes(), body].concat());
            let mut answer = Vec::new();
            let mut piece = [0; 8192];
            let mut whole = None;
            while sent.is_ok() && whole.is_none_or(|n| answer.len() < n) {
                match stream.read(&mut piece) {
                    Ok(n) if n > 0 => answer.extend_from_slice(&piece[..n]),
                    _ => break,
                }
                whole = length(&answer);
            }
            if whole.is_some_and(|n| answer.len() >= n) {
                let text = String::from_utf8(answer).unwrap();
                let status = text[9..12].parse().unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                if head.contains("connection: close") {
                    self.stream = None;
                }
                return (status, serde_json::from_str(body).unwrap());
            }
            // An idle connection may have been closed: once more over another.
            self.stream = None;
        }
        panic!("no answer")
    }

    /// A signed call, changed by `change`.
    fn crafted(&mut self, keys: &Value, change: impl FnOnce(&mut Parts)) -> (u16, Value) {
        self.nonce += 1;
        let mut parts = Parts {
            path: "/v1/score/credit".into(),
            body: json!({"keys": keys}).to_string(),
            key: self.app.share(),
            node: self.node,
            created: tacit_node::now().0 / 1000,
            nonce: format!("nonce-{:016}", self.nonce),
            after: Box::new(|_| {}),
        };
        change(&mut parts);
        let request = Signed { method: "POST", path: &parts.path, body: parts.body.as_bytes() };
        let headers = signature::sign(&parts.key, &parts.node, &request, parts.created, &parts.nonce);
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: lab\r\nContent-Length: {}\r\nContent-Digest: {}\r\nSignature-Input: {}\r\n\
             Signature: {}\r\n\r\n",
            parts.path,
            parts.body.len(),
            headers.digest,
            headers.input,
            headers.signature
        );
        (parts.after)(&mut head);
        self.send(&head, parts.body.clone().as_bytes())
    }

    fn call(&mut self, keys: &[&str]) -> (u16, Value) {
        self.crafted(&json!(keys), |_| {})
    }

    /// Calls until a window is open.
    fn first(&mut self, keys: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let (status, answer) = self.call(keys);
            if status == 200 {
                return answer;
            }
            let code = answer["error"]["code"].as_str().unwrap_or_default().to_owned();
            let waits = ["online.closed", "online.replayed", "online.unknown", "online.caller", "job.peer_lost"];
            assert!(
                waits.contains(&code.as_str()) && begun.elapsed() < START_WAIT * 2,
                "{answer}\n{}",
                ["lab", "bank", "telecom", "coordinator"].map(|party| self.world.log(party)).join("\n")
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn refused(answer: (u16, Value), status: u16, code: &str) {
        assert_eq!((answer.0, answer.1["error"]["code"].as_str()), (status, Some(code)), "{}", answer.1);
        let known = tacit_types::Code::parse(code);
        for (field, text) in [
            ("title", known.title(tacit_types::code::Lang::En)),
            ("title_zh", known.title(tacit_types::code::Lang::Zh)),
            ("hint_zh", known.hint(tacit_types::code::Lang::Zh)),
        ] {
            assert_eq!(answer.1["error"][field], text, "{}", answer.1);
        }
    }

    /// The receipts of windows: id, state, calls, rows. All of them, once so many have ended.
    fn windows(&self, ended: usize) -> Vec<(String, String, u64, u64)> {
        let begun = Instant::now();
        loop {
            let list = self.world.run_soon("lab", &["receipt", "list"]);
            let all: Vec<_> = list
                .as_array()
                .unwrap()
                .iter()
                .map(|r| {
                    let count = |unit: &str| {
                        let lines = r["lines"].as_array().into_iter().flatten();
                        lines.filter(|l| l["unit"] == unit).filter_map(|l| l["quantity"].as_u64()).sum::<u64>()
                    };
                    let text = |name: &str| r[name].as_str().unwrap_or_default().to_owned();
                    (text("job"), text("status"), count("call"), count("row_asked"))
                })
                .collect();
            if all.len() >= ended {
                return all;
            }
            assert!(begun.elapsed() < START_WAIT * 2, "{list}\n{}", self.world.log("lab"));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The log as `tacit-verify` reads it, with more arguments.
    fn verify(&self, more: &[&str]) -> tacit_tests::Done {
        let (bundle, trust) = (self.world.folder().join("log.bundle"), self.world.folder().join("group.trust"));
        self.world.run("lab", &["receipt", "export", "--out", &shown(&bundle), "--trust", &shown(&trust)]).ok();
        let mut verify = Command::new(program("tacit-verify"));
        World::finish(verify.arg(&bundle).arg("--trust").arg(&trust).arg("--json").args(more))
    }
}

/// What a call is made of.
struct Parts {
    path: String,
    body: String,
    key: SigningKey,
    node: NodeId,
    created: u64,
    nonce: String,
    after: Box<dyn FnOnce(&mut String)>,
}

/// Bytes of an answer whose head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let body: usize = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    Some(head + 4 + body)
}

fn check(answer: &Value, keys: &[&str]) {
    let scores = answer["scores"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(scores.len(), keys.len());
    for (score, key) in scores.iter().zip(keys) {
        assert_eq!(score["key"], json!(key));
        match (score["score"].as_f64(), plain(key)) {
            (Some(found), Some(wanted)) => assert!((found - wanted).abs() < ERROR, "{key}: {found} is not {wanted}"),
            (None, None) => assert!(score["score"].is_null()),
            other => panic!("{key}: {other:?}"),
        }
    }
}

const TERMS: &str = "rows = 20000\nprecision = \"score\"\nonline = { rows_per_window = 4000, rows_per_second = 2000 }";
const WINDOW: &str = "rows = 4000\nrows_per_second = 2000\nseconds = 600";

/// Calls are answered with the plain model's scores, counted in one receipt, and one of them is proven by it; those who
/// may not ask learn why.
#[test]
fn signed_calls_are_answered_and_counted_and_others_are_not() {
    let mut online = Online::new(TERMS);
    let over = "rows = 4001\nrows_per_second = 2000\nseconds = 600";
    online.publish(over).fails("refused.online");
    online.publish(WINDOW).ok();
    let keys = ["C-002", "C-003", "C-005", "C-001", "nobody", "C-002", "C-039"];
    check(&online.first(&keys), &keys);

    // Not signed as it must be.
    let stranger = SigningKey::from_seed(&tacit_crypto::Secret::new([9; 32]));
    let keys_of = json!(["C-002"]);
    Online::refused(online.crafted(&keys_of, |p| p.key = stranger), 401, "online.caller");
    Online::refused(online.crafted(&keys_of, |p| p.node = NodeId([1; 32])), 401, "online.caller");
    let forged = |head: &mut String| *head = head.replacen("created=1", "created=2", 1);
    Online::refused(online.crafted(&keys_of, |p| p.after = Box::new(forged)), 401, "online.caller");
    let unsigned = |head: &mut String| *head = head.replacen("Signature:", "Signed:", 1);
    Online::refused(online.crafted(&keys_of, |p| p.after = Box::new(unsigned)), 401, "online.caller");
    Online::refused(online.crafted(&keys_of, |p| p.created -= 31), 401, "online.replayed");
    assert_eq!(online.crafted(&keys_of, |p| p.nonce = "the-same-nonce".into()).0, 200);
    Online::refused(online.crafted(&keys_of, |p| p.nonce = "the-same-nonce".into()), 401, "online.replayed");
    // Signed, and nothing that can be answered.
    Online::refused(online.crafted(&keys_of, |p| p.path = "/v1/score/other".into()), 404, "online.unknown");
    Online::refused(online.crafted(&json!([]), |_| {}), 400, "online.request");
    Online::refused(online.crafted(&json!([""]), |_| {}), 400, "online.request");
    Online::refused(online.crafted(&json!(vec!["C-002"; 1025]), |_| {}), 400, "online.request");
    Online::refused(online.crafted(&keys_of, |p| p.body = "{\"keys\":[\"a\"],\"x\":1}".into()), 400, "online.request");
    // Faster than the contract allows: two calls of most of a second's rows.
    let many = vec!["C-002"; 1000];
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(online.call(&many).0, 200);
    Online::refused(online.call(&many), 429, "refused.pace");

    let last = online.call(&["C-004"]).1;
    check(&last, &["C-004"]);
    let (window, number) =
        (last["call"]["window"].as_str().unwrap().to_owned(), last["call"]["number"].as_u64().unwrap());
    online.world.run("lab", &["model", "unpublish", "credit"]).ok();
    let ended = online.windows(1);
    // Seven keys, one with the nonce, a thousand, and the last; refused calls were put to nobody.
    assert_eq!(ended, [(window.clone(), "ok".into(), number + 1, 7 + 1 + 1000 + 1)]);
    assert_eq!(number, 3);
    Online::refused(online.call(&["C-002"]), 404, "online.unknown");

    assert_eq!(online.verify(&[]).ok()["ok"], true);
    let proof = online.world.folder().join("call.proof");
    let id = format!("{window}/{number}");
    online.world.run("lab", &["model", "call", "prove", &id, "--out", &shown(&proof)]).ok();
    let proven = online.verify(&["--call", &shown(&proof), "--key", "C-004"]).ok();
    assert_eq!((&proven["ok"], &proven["number"], &proven["keys"]), (&json!(true), &json!(number), &json!(1)));
    assert_eq!(online.verify(&["--call", &shown(&proof), "--key", "C-002"]).status, 6, "other keys");
    let good = std::fs::read(&proof).unwrap();
    // Each byte belongs to the proof: a changed one is another call, or none.
    for at in (0..good.len()).step_by(7) {
        let mut forged = good.clone();
        forged[at] ^= 1;
        std::fs::write(&proof, &forged).unwrap();
        assert_eq!(online.verify(&["--call", &shown(&proof)]).status, 6, "byte {at}");
    }
}

/// What is listed of durations is what callers see, less the way there and back: of as many calls, no place in their order is
/// longer than at the callers, and the middle is not far below. The figures themselves are printed; nothing rests on them.
#[test]
fn latency_is_measured() {
    let mut online = Online::new(TERMS);
    online.publish(WINDOW).ok();
    online.first(&["C-002"]);
    let mut times: Vec<u128> = (0..300)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(online.call(&["C-003"]).0, 200);
            begun.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    std::thread::sleep(Duration::from_millis(1500));
    let list = online.world.run("lab", &["model", "list"]).ok();
    let published = &list.as_array().unwrap()[0]["published"];
    assert_eq!(
        (&published["name"], &published["state"], &published["calls"]),
        (&json!("credit"), &json!("open"), &json!(301))
    );
    let (p50, p99) = (times[150], times[297]);
    // The very first call, which waited for the window, is one more and the longest.
    let listed = |name: &str| u128::from(published[name].as_u64().unwrap());
    assert!(listed("p50_us") <= times[151] && listed("p99_us") <= times[299], "{published} {p50} {p99}");
    assert!(listed("p50_us") >= times[149] / 20, "{published} {p50}");
    report(&format!(
        "one linear score over HTTP: p50 {p50} us, p99 {p99} us; without HTTP p50 {}, p99 {}",
        published["p50_us"], published["p99_us"]
    ));
}

/// kill -9 of an owner, and of the recipient: calls fail with a code, what was done is in a receipt, and calls are
/// answered again when the lost one is back. Each answered call is counted once.
#[test]
fn the_lost_come_back_and_no_call_is_lost_or_counted_twice() {
    let mut online = Online::new(TERMS);
    online.publish(WINDOW).ok();
    online.first(&["C-002"]);
    for _ in 0..5 {
        assert_eq!(online.call(&["C-003", "C-004"]).0, 200);
    }
    online.world.kill("telecom");
    let begun = Instant::now();
    let lost = online.call(&["C-002"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    Online::refused(lost, 503, "job.peer_lost");
    // Put to the owners, and so counted, though one was not there any more.
    assert_eq!(online.windows(1).iter().map(|w| (w.1.as_str(), w.2, w.3)).collect::<Vec<_>>(), [("ok", 7, 12)]);
    online.world.start("telecom");
    check(&online.first(&["C-003"]), &["C-003"]);
    for _ in 0..4 {
        assert_eq!(online.call(&["C-006"]).0, 200);
    }

    online.world.kill("lab");
    online.stream = None;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        std::thread::sleep(Duration::from_millis(100));
    }
    online.world.start("lab");
    online.world.wait_online("lab", 2);
    check(&online.first(&["C-008"]), &["C-008"]);
    // A window that was opening when an owner came back may have ended without a call.
    let used = |windows: &[(String, String, u64, u64)]| -> Vec<(u64, u64)> {
        windows.iter().filter(|w| w.1 == "ok" && w.2 > 0).map(|w| (w.2, w.3)).collect()
    };
    let mut windows = online.windows(2);
    while used(&windows).len() < 2 {
        windows = online.windows(windows.len() + 1);
    }
    assert_eq!(used(&windows)[..2], [(7, 12), (5, 5)], "{windows:?}");
    online.world.run("lab", &["model", "unpublish", "credit"]).ok();
    let windows = online.windows(windows.len() + 1);
    assert_eq!(windows.last().map(|w| (w.1.as_str(), w.2)), Some(("ok", 1)), "{windows:?}");
    assert_eq!(online.verify(&[]).ok()["ok"], true);
}

/// Says it past the capture of the test runner.
fn report(what: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** {what} ***\n");
}

/// The worked example of docs/ONLINE.md, file by file and command by command, over the data of docs/SCORING.md.
#[test]
fn the_worked_example_works_as_it_stands() {
    let text = |page: &str| repo::text(std::path::Path::new(page));
    let (page, before) = (text("docs/ONLINE.md"), text("docs/SCORING.md"));
    let mut world = World::with_coordinator();
    for (owner, format) in [("bank", "linear"), ("telecom", "scorecard")] {
        world.join(owner, "node");
        let (data, model) = (format!("{owner}.csv"), format!("{owner}-credit.json"));
        let (data, model) =
            (world.write(&data, repo::snippet(&before, &data)), world.write(&model, repo::snippet(&before, &model)));
        let add = ["data", "add", "customers", &shown(&data), "--level", "id=align_key", "--all", "score_only"];
        world.run(owner, &add).ok();
        world.run(owner, &["model", "import", "credit", &shown(&model), "--format", format]).ok();
        world.start(owner);
    }
    world.join("lab", "node");
    let at = format!("127.0.0.1:{}", free_tcp_port());
    let config = world.home("lab").join("node.toml");
    let lines = page.split_once("# node.toml\n").unwrap().1.split_once("```").unwrap().0;
    let text = std::fs::read_to_string(&config).unwrap() + "\n" + &lines.replace("127.0.0.1:7480", &at);
    std::fs::write(&config, text).unwrap();
    world.start("lab");
    world.wait_online("lab", 2);
    for file in ["contract.toml", "online.toml"] {
        world.write(file, repo::snippet(&page, file));
    }
    let (mut node, mut call, mut proven) = (String::new(), String::new(), false);
    for line in page.split("```console\n").skip(1).flat_map(|b| b.split_once("```").unwrap().0.lines()) {
        let (party, command) = line.split_once("$ ").unwrap();
        let named = |word| match word {
            "AT" => at.as_str(),
            "NODE" => node.as_str(),
            "CALL" => call.as_str(),
            other => other,
        };
        let words: Vec<String> = command.split_whitespace().map(|word| named(word).to_owned()).collect();
        let begun = Instant::now();
        let done = loop {
            let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            let mut command = match words[0].as_str() {
                "tacit" => world.command(party, &arguments),
                name => {
                    let mut command = Command::new(program(name));
                    command.args(&arguments);
                    command
                }
            };
            let done = World::finish(command.current_dir(world.folder()).arg("--json"));
            // A window opens, and ends with its receipt, within seconds.
            let waits = words[1] == "model" && ["score", "call"].contains(&words[2].as_str());
            if done.status == 0 || !waits || begun.elapsed() > START_WAIT * 2 {
                break done.ok();
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        if let Some(key) = done["node"].as_str().filter(|_| words[2] == "caller") {
            key.clone_into(&mut node);
        }
        if let Some(scores) = done["scores"].as_array() {
            for (row, shown) in scores.iter().zip(["0.336260", "0.156435"]) {
                assert_eq!(format!("{:.6}", row["score"].as_f64().unwrap()), shown);
                assert!(page.contains(shown));
            }
            assert!(scores.len() == 3 && scores[2]["score"].is_null());
            call = format!("{}/{}", done["call"]["window"].as_str().unwrap(), done["call"]["number"]);
        }
        if words[2] == "unpublish" {
            // The receipt is there before the log is exported.
            while world.run_soon("lab", &["receipt", "list"]).as_array().unwrap().is_empty() {
                assert!(begun.elapsed() < START_WAIT * 2, "{}", world.log("lab"));
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        proven |= words[0] == "tacit-verify" && done["keys"] == 3;
    }
    assert!(proven, "no call was proven");
}
