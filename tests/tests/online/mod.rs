//! A world in which `lab` takes calls for scores: its callers, its windows and their receipts.
#![allow(dead_code, reason = "shared by test programs that use parts of it")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tacit_tests::program::program;
use tacit_tests::world::{START_WAIT, shown};
use tacit_tests::{Done, World};

/// Programs that run, and an application that may call.
pub struct Online {
    pub world: World,
    /// Who takes part beside `lab`.
    nodes: Vec<&'static str>,
    at: String,
    node: String,
    app: PathBuf,
}

impl Online {
    /// Starts all nodes of a world in which `nodes` have joined with what they bring, and has the contract signed.
    pub fn new(mut world: World, nodes: &[&'static str], contract: &str) -> Self {
        world.join("lab", "node");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let at = format!("127.0.0.1:{}", listener.port());
        let config = world.home("lab").join("node.toml");
        let text = std::fs::read_to_string(&config).expect("node.toml");
        std::fs::write(&config, format!("{text}\n[online]\nlisten = \"{at}\"\n")).expect("node.toml");
        nodes.iter().chain(&["lab"]).for_each(|node| world.start(node));
        world.wait_there("lab", nodes.len() + 1);
        let file = world.write("contract.toml", contract);
        world.run_soon("lab", &["contract", "draft", &shown(&file)]);
        for node in nodes {
            world.run(node, &["contract", "sign", "credit"]).ok();
        }
        let app = world.folder().join("app.key");
        let added = world.run("lab", &["model", "caller", "add", "app", "--new", &shown(&app)]).ok();
        let node = added["node"].as_str().unwrap().to_owned();
        Self { world, nodes: nodes.to_vec(), at, node, app }
    }

    /// Publishes what is written in a file of its own.
    pub fn publish(&self, name: &str, text: &str) -> Done {
        let file = self.world.write(&format!("{name}.toml"), text);
        self.world.run("lab", &["model", "publish", name, &shown(&file)])
    }

    /// Waits for a node that was started again.
    pub fn back(&mut self, node: &str) {
        self.world.start(node);
        self.world.wait_there("lab", self.nodes.len() + 1);
    }

    pub fn call(&self, name: &str, keys: &[String]) -> Done {
        let app = shown(&self.app);
        let words = ["model", "score", name].into_iter().chain(keys.iter().map(String::as_str));
        let words: Vec<&str> = words.chain(["--at", &self.at, "--node", &self.node, "--key", &app]).collect();
        self.world.run("lab", &words)
    }

    /// Calls until a window is open.
    pub fn first(&self, name: &str, keys: &[String]) -> Value {
        let begun = Instant::now();
        loop {
            let done = self.call(name, keys);
            if done.status == 0 {
                return done.ok();
            }
            let waits = ["online.closed", "online.replayed", "online.unknown", "online.caller", "job.peer_lost"];
            assert!(
                waits.contains(&done.code()) && begun.elapsed() < START_WAIT * 3,
                "{} {}\n{}",
                done.code(),
                done.what(),
                self.nodes
                    .iter()
                    .chain(&["lab", "coordinator"])
                    .map(|p| self.world.log(p))
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The windows with receipts in which there was a call: state, calls and rows, once there are so many.
    pub fn windows(&self, wanted: usize) -> Vec<(String, u64, u64)> {
        let begun = Instant::now();
        loop {
            let list = self.world.run_soon("lab", &["receipt", "list"]);
            let count = |r: &Value, unit: &str| {
                let lines = r["lines"].as_array().into_iter().flatten();
                lines.filter(|l| l["unit"] == unit).filter_map(|l| l["quantity"].as_u64()).sum::<u64>()
            };
            let one = |r: &Value| (r["status"].as_str().unwrap().to_owned(), count(r, "call"), count(r, "row_asked"));
            let all: Vec<_> = list.as_array().unwrap().iter().map(one).filter(|w| w.1 > 0).collect();
            if all.len() >= wanted {
                return all;
            }
            assert!(begun.elapsed() < START_WAIT * 3, "{list}\n{}", self.world.logs());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The log as `tacit-verify` reads it, with more arguments.
    pub fn verify(&self, more: &[&str]) -> Done {
        let (bundle, trust) = (self.world.folder().join("log.bundle"), self.world.folder().join("group.trust"));
        self.world.run("lab", &["receipt", "export", "--out", &shown(&bundle), "--trust", &shown(&trust)]).ok();
        let mut verify = Command::new(program("tacit-verify"));
        World::finish(verify.arg(&bundle).arg("--trust").arg(&trust).arg("--json").args(more))
    }
}
