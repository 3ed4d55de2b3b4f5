//! What every demonstration does: says what happens, enrols parties, submits jobs, shows what left each node, and has
//! the log verified.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tacit_types::Fault;

use super::world::{World, free_port};
use crate::output::bytes;

/// The world of a demonstration, and who watches it.
pub struct Stage {
    /// Processes and folders.
    pub world: World,
    json: bool,
    began: Instant,
}

impl Stage {
    /// An empty one. With `json` nothing is said on the way.
    pub fn new(keep: bool, json: bool) -> Result<Self, Fault> {
        Ok(Self { world: World::new(keep, !json)?, json, began: Instant::now() })
    }

    /// Says a line.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.json {
            println!("{}", text.as_ref());
        }
    }

    /// Begins a chapter.
    pub fn chapter(&self, text: &str) {
        self.say(format!("\n[{:4.1} s] {text}", self.began.elapsed().as_secs_f64()));
    }

    /// Seconds since the beginning, to a tenth.
    pub fn seconds(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 10.0).round() / 10.0
    }

    /// Makes the coordinator and starts it.
    pub fn coordinate(&mut self) -> Result<(), Fault> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let made = self.world.run(
            "coordinator",
            &["init", "--listen", &address, "--public", &address, "--origin", "demo.tacit/usage/2026"],
        )?;
        self.say(format!("    fingerprint {}", made["fingerprint"].as_str().unwrap_or_default()));
        self.world.daemon("coordinator", &["coordinator", "run"])
    }

    /// Invites a party and lets it join. Its node, if it is one, does not run yet.
    pub fn join(&mut self, name: &str, role: &str) -> Result<(), Fault> {
        let invited = self.world.run_soon("coordinator", &["invite", "--role", role, "--name", name])?;
        let line = invited["invitation"].as_str().unwrap_or_default().to_owned();
        let address = format!("127.0.0.1:{}", free_port()?);
        self.world.run(name, &["join", &line, "--listen", &address, "--public", &address]).map(|_| ())
    }

    /// Drafts a contract as a party and has each of the signers sign it.
    pub fn agree(&self, demander: &str, contract: &str, text: &str, signers: &[&str]) -> Result<(), Fault> {
        let file = self.world.write(&format!("{contract}.toml"), text)?;
        self.world.run_soon(demander, &["contract", "draft", &file.display().to_string()])?;
        signers.iter().try_for_each(|name| self.world.run(name, &["contract", "sign", contract]).map(|_| ()))
    }

    /// Submits a job that is to be refused, and says by whom and why.
    pub fn refused(&self, party: &str, file: &str, text: &str) -> Result<Value, Fault> {
        let path = self.world.write(file, text)?;
        let (done, _) = self.world.try_run(party, &["job", "submit", &path.display().to_string(), "--watch"])?;
        self.say(format!(
            "    {}: [{}] {} by {}; receipt at leaf {}",
            done["state"].as_str().unwrap_or("?"),
            done["code"].as_str().unwrap_or("?"),
            done["reason"].as_str().unwrap_or("?"),
            done["party"].as_str().unwrap_or("?"),
            done["receipt"]
        ));
        Ok(json!({
            "id": done["id"], "kind": done["kind"], "state": done["state"], "code": done["code"], "party": done["party"],
            "reason": done["reason"], "receipt": done["receipt"],
        }))
    }

    /// Exports the log as a party and has the auditor's program verify it. `who` cosigns, in words.
    pub fn verify(&self, party: &str, who: &str) -> Result<Value, Fault> {
        self.chapter("A separate program verifies the log and every receipt, offline.");
        let (bundle, trust) = (self.world.folder().join("log.bundle"), self.world.folder().join("trust"));
        let (bundle, trust) = (bundle.display().to_string(), trust.display().to_string());
        self.world.run(party, &["receipt", "export", "--out", &bundle, "--trust", &trust])?;
        let mut verify = Command::new(self.world.verifier()?);
        verify.args([&bundle, "--trust", &trust, "--json"]).stdin(Stdio::null());
        let output = self.world.output(verify)?;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let (count, valid) = (report["receipts"].clone(), report["valid"].clone());
        self.say(format!(
            "    tacit-verify: {count} receipts, {valid} valid, cosigned by {} {who}, exit status {}",
            report["cosigned"].as_array().map_or(0, Vec::len),
            output.status.code().unwrap_or(-1)
        ));
        for fault in report["faults"].as_array().into_iter().flatten() {
            self.say(format!("    {fault}"));
        }
        Ok(json!({"count": count, "valid": valid, "exit_status": output.status.code()}))
    }

    /// Has the auditor's program prove from the log that was exported last that one call asked for this key.
    pub fn verify_call(&self, proof: &Value, key: &str) -> Result<Value, Fault> {
        self.chapter(
            "The same program proves, to whoever is shown it, that one call of a window asked for one applicant.",
        );
        let path = |name: &str| self.world.folder().join(name).display().to_string();
        let mut verify = Command::new(self.world.verifier()?);
        verify.args([&path("log.bundle"), "--trust", &path("trust")]).stdin(Stdio::null());
        verify.args(["--call", proof.as_str().unwrap_or_default(), "--key", key, "--json"]);
        let output = self.world.output(verify)?;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        self.say(format!(
            "    tacit-verify --call: {}, call {} of {} key, exit status {}",
            if report["ok"] == json!(true) { "proven" } else { "NOT PROVEN" },
            report["number"],
            report["keys"],
            output.status.code().unwrap_or(-1)
        ));
        Ok(json!({"ok": report["ok"], "number": report["number"], "keys": report["keys"]}))
    }

    /// Whether all receipts that [`Self::verify`] found are valid.
    pub fn verified(receipts: &Value) -> bool {
        receipts["exit_status"] == json!(0) && receipts["count"] == receipts["valid"]
    }

    /// What left each node, by kind.
    pub fn egress(&self, nodes: &[&str]) -> Result<Value, Fault> {
        self.chapter("What left each node, by kind. There is no kind for rows: no message can carry one.");
        let mut all = Vec::new();
        for name in nodes {
            let rows = self.world.run(name, &["node", "egress"])?;
            let mut by_kind: BTreeMap<String, u64> = BTreeMap::new();
            for row in rows.as_array().into_iter().flatten() {
                let kind = row["kind"].as_str().unwrap_or("?").to_owned();
                *by_kind.entry(kind).or_insert(0) += row["bytes"].as_u64().unwrap_or(0);
            }
            let total: u64 = by_kind.values().sum();
            let listed: Vec<String> = by_kind.iter().map(|(k, b)| format!("{k} {}", bytes(*b))).collect();
            self.say(format!("    {name}: {} = {}", bytes(total), listed.join(", ")));
            all.push(json!({"node": name, "bytes": total, "by_kind": by_kind}));
        }
        Ok(Value::Array(all))
    }

    /// Commands for a world that is left running, and how to end it.
    pub fn to_try(&self, commands: &[(&str, &str)]) -> Value {
        let command = |(party, arguments): &(&str, &str)| {
            format!("tacit --home {} {arguments}", self.world.home(party).display())
        };
        json!({
            "folder": self.world.folder().display().to_string(),
            "try": commands.iter().map(command).collect::<Vec<_>>(),
            "end": format!("pkill -f {}", self.world.folder().display()),
        })
    }

    /// Says what [`Stage::to_try`] gives.
    pub fn say_what_to_try(&self, commands: &[(&str, &str)]) {
        let kept = self.to_try(commands);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.say(format!("\nEverything is still running, in {}. Try:", text(&kept["folder"])));
        for command in kept["try"].as_array().into_iter().flatten() {
            self.say(format!("  {}", text(command)));
        }
        self.say(format!("  {}   # to end it", text(&kept["end"])));
    }
}
