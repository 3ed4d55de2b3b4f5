//! Processes, folders and ports of one test.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::program;
use crate::wire::Wire;

/// How long a daemon may take to answer after its start, on a busy machine.
pub const START_WAIT: Duration = Duration::from_secs(30);

/// The name of the coordinator's folder.
pub const COORDINATOR: &str = "coordinator";

/// Folders below one temporary folder, and the daemons that serve them.
pub struct World {
    folder: tempfile::TempDir,
    daemons: BTreeMap<String, Child>,
    /// The level of the daemons' logs.
    pub level: &'static str,
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    /// The exit status; -1 when it was killed.
    pub status: i32,
    /// Standard output as JSON; null when it is none.
    pub json: Value,
    /// Standard error.
    pub stderr: String,
}

impl Done {
    /// The stable code of the error that was printed.
    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or("")
    }

    /// What the error is about.
    pub fn what(&self) -> &str {
        self.json["error"]["what"].as_str().unwrap_or("")
    }

    /// The value of a command that must have worked.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 0, "{}{}", self.json, self.stderr);
        self.json
    }

    /// Holds a failure to its shape: this code, the exit status of its area, the same code for people
    /// on standard error with a hint, one error and no trace of a panic. Gives what it is about.
    #[track_caller]
    pub fn fails(self, code: &str) -> String {
        assert_eq!(self.code(), code, "{}{}", self.json, self.stderr);
        let known = tacit_types::Code::parse(code);
        assert_ne!(known, tacit_types::Code::Unknown, "{code} is not in the catalogue");
        assert_eq!(self.status, i32::from(known.exit_status()), "{}", self.json);
        assert_eq!(self.stderr.matches(&format!("[{code}]")).count(), 1, "{}", self.stderr);
        assert!(self.stderr.contains("hint: ") && !self.stderr.contains("panicked"), "{}", self.stderr);
        assert!(!self.what().is_empty(), "{} says nothing", self.json);
        self.what().to_owned()
    }
}

impl World {
    /// An empty world.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tacit-test-").tempdir();
        let folder = folder.unwrap_or_else(|e| panic!("a temporary folder: {e}"));
        Self { folder, daemons: BTreeMap::new(), level: "info" }
    }

    /// A coordinator that runs.
    pub fn with_coordinator() -> Self {
        let mut world = Self::new();
        world.coordinate();
        world
    }

    /// Makes the coordinator and starts it.
    #[track_caller]
    pub fn coordinate(&mut self) {
        let address = format!("127.0.0.1:{}", free_port());
        let arguments = ["init", "--listen", &address, "--public", &address, "--origin", "test.tacit/usage/2026"];
        self.run(COORDINATOR, &arguments).ok();
        self.start(COORDINATOR);
    }

    /// A coordinator, the node of each table, and the operator `lab`; every node runs and offers the
    /// dataset `data`, whose columns all have these levels.
    pub fn with_nodes(tables: &[(&str, &str)], levels: &str) -> Self {
        let mut world = Self::with_coordinator();
        world.add_nodes(tables, levels);
        world
    }

    /// The node of each table, and the operator `lab`, once all nodes run.
    #[track_caller]
    pub fn add_nodes(&mut self, tables: &[(&str, &str)], levels: &str) {
        for (name, table) in tables {
            self.join(name, "node");
            let file = self.write(&format!("{name}.csv"), table);
            self.run(name, &["data", "add", "data", &shown(&file), "--all", levels]).ok();
            self.start(name);
        }
        self.join("lab", "operator");
        self.wait_online("lab", tables.len());
    }

    /// The folder of a party.
    pub fn home(&self, party: &str) -> PathBuf {
        self.folder.path().join(party)
    }

    /// The folder of all.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder of all and gives its path.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// `tacit` as a party, to be run.
    pub fn command(&self, party: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("tacit"));
        command.arg("--home").arg(self.home(party)).args(arguments).stdin(Stdio::null());
        for name in ["TACIT_HOME", "TACIT_LANG", "TACIT_LOG", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs `tacit --json` as a party.
    pub fn run(&self, party: &str, arguments: &[&str]) -> Done {
        Self::finish(self.command(party, arguments).arg("--json"))
    }

    /// Runs a prepared command to its end.
    pub fn finish(command: &mut Command) -> Done {
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Done {
            status: output.status.code().unwrap_or(-1),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `tacit --json` as a party until it works: a daemon may still be starting.
    #[track_caller]
    pub fn run_soon(&self, party: &str, arguments: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let done = self.run(party, arguments);
            if done.status == 0 || begun.elapsed() > START_WAIT {
                return done.ok();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Invites a party and lets it join. Its node, if it is one, does not run yet.
    #[track_caller]
    pub fn join(&self, name: &str, role: &str) {
        let invitation = self.invite(name, role);
        let address = format!("127.0.0.1:{}", free_port());
        self.run(name, &["join", &invitation, "--listen", &address, "--public", &address]).ok();
    }

    /// An invitation line.
    #[track_caller]
    pub fn invite(&self, name: &str, role: &str) -> String {
        let invited = self.run_soon(COORDINATOR, &["invite", "--role", role, "--name", name]);
        invited["invitation"].as_str().unwrap_or_default().to_owned()
    }

    /// Starts the daemon of a folder. Its log goes to a file beside the folder, which may be on a full disk.
    pub fn start(&mut self, party: &str) {
        let kind = if party == COORDINATOR { "coordinator" } else { "node" };
        let mut command = self.command(party, &["--log", self.level, kind, "run"]);
        self.spawn(party, &mut command);
    }

    /// Starts a prepared daemon of a folder.
    pub fn spawn(&mut self, party: &str, command: &mut Command) {
        assert!(!self.daemons.contains_key(party), "{party} runs already");
        let path = self.log_file(party);
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        self.daemons.insert(party.to_owned(), child.unwrap_or_else(|e| panic!("{command:?}: {e}")));
    }

    /// Kills a daemon without warning.
    pub fn kill(&mut self, party: &str) {
        let mut child = self.daemons.remove(party).unwrap_or_else(|| panic!("{party} does not run"));
        child.kill().and_then(|()| child.wait()).unwrap_or_else(|e| panic!("killing {party}: {e}"));
    }

    /// Stops a daemon as an administrator would and gives its exit status.
    pub fn stop(&mut self, party: &str) -> i32 {
        let mut child = self.daemons.remove(party).unwrap_or_else(|| panic!("{party} does not run"));
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let status = child.wait().unwrap_or_else(|e| panic!("stopping {party}: {e}"));
        status.code().unwrap_or(-1)
    }

    /// Whether a daemon that was started still runs.
    pub fn runs(&mut self, party: &str) -> bool {
        self.daemons.get_mut(party).is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The process of a daemon that runs.
    #[track_caller]
    pub fn pid(&self, party: &str) -> u32 {
        self.daemons.get(party).unwrap_or_else(|| panic!("{party} does not run")).id()
    }

    /// What a daemon has logged.
    pub fn log(&self, party: &str) -> String {
        std::fs::read_to_string(self.log_file(party)).unwrap_or_default()
    }

    /// What all daemons have logged, one after the other.
    pub fn logs(&self) -> String {
        let files = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut logs: Vec<PathBuf> = files.filter(|path| path.to_string_lossy().ends_with(".daemon.log")).collect();
        logs.sort();
        let named =
            |path: &PathBuf| format!("{}\n{}", path.display(), std::fs::read_to_string(path).unwrap_or_default());
        logs.iter().map(named).collect()
    }

    fn log_file(&self, party: &str) -> PathBuf {
        self.folder.path().join(format!("{party}.daemon.log"))
    }

    /// Waits until a daemon has ended by itself and gives its exit status.
    #[track_caller]
    pub fn ended(&mut self, party: &str, time: Duration) -> i32 {
        let begun = Instant::now();
        while self.runs(party) {
            assert!(begun.elapsed() < time, "{party} goes on: {}", self.log(party));
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut child = self.daemons.remove(party).unwrap_or_else(|| panic!("{party} does not run"));
        child.wait().unwrap_or_else(|e| panic!("waiting for {party}: {e}")).code().unwrap_or(-1)
    }

    /// Waits until so many nodes are connected and offer a dataset.
    #[track_caller]
    pub fn wait_online(&self, operator: &str, nodes: usize) {
        let begun = Instant::now();
        loop {
            let online = Wire::open(&self.home(operator)).and_then(|wire| wire.offering());
            match online {
                Ok(online) if online >= nodes => return,
                other => assert!(begun.elapsed() < START_WAIT, "{other:?} of {nodes} nodes are there"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until so many nodes are connected, whether they offer anything or not.
    #[track_caller]
    pub fn wait_there(&self, operator: &str, nodes: usize) {
        let begun = Instant::now();
        loop {
            let there = Wire::open(&self.home(operator)).and_then(|wire| wire.there());
            match there {
                Ok(there) if there >= nodes => return,
                other => assert!(begun.elapsed() < START_WAIT, "{other:?} of {nodes} nodes are there"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Drafts a contract as `lab` and has each owner sign it.
    #[track_caller]
    pub fn agree(&self, name: &str, owners: &[&str], quota: u64, more: &str) {
        self.draft(name, owners, quota, more).ok();
        for owner in owners {
            self.run(owner, &["contract", "sign", name]).ok();
        }
    }

    /// Drafts a contract as `lab`. `more` stands before the datasets.
    pub fn draft(&self, name: &str, owners: &[&str], quota: u64, more: &str) -> Done {
        let mut text = format!(
            "name = \"{name}\"\npurpose = \"tests\"\nkinds = [\"stats/v1\", \"count/v1\"]\ndemander = \"lab\"\n\
             quota_jobs = {quota}\nvalid_days = 30\n{more}\n[cohort]\nrows = 3\ncontributors = 2\n"
        );
        for owner in owners {
            text.push_str(&format!("\n[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n"));
        }
        let file = self.write(&format!("{name}.contract.toml"), text);
        self.run("lab", &["contract", "draft", &shown(&file)])
    }

    /// Submits a job file as `lab` and follows it to its end.
    pub fn job(&self, text: &str) -> Done {
        let file = self.write("job.toml", text);
        self.run("lab", &["job", "submit", &shown(&file), "--watch"])
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.daemons.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() && std::env::var_os("TACIT_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("left behind: {}", self.folder.path().display());
        }
    }
}

/// What an owner said in a plan of a limit: before, taken, after; `None` where it said nothing of it.
pub fn limit(plan: &Value, party: &str, what: &str) -> Option<(String, String, Option<String>)> {
    let owner = plan["owners"].as_array()?.iter().find(|o| o["party"] == party)?;
    let limit = owner["limits"].as_array()?.iter().find(|l| l["what"] == what)?;
    let text = |key: &str| limit[key].as_str().map(str::to_owned);
    Some((text("before")?, text("takes")?, text("after")))
}

/// A path as an argument.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A UDP port of this machine that is free now.
pub fn free_port() -> u16 {
    tacit_net::free_port().unwrap_or_else(|e| panic!("a free port: {e}"))
}
