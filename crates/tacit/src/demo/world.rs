//! Processes, folders and ports of the demo. Everything is stopped and removed when dropped, unless
//! it is to be kept, and when a signal ends it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tacit_types::{Code, Fault};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long a daemon may take to answer after its start.
const START_WAIT: Duration = Duration::from_secs(15);

/// How often a folder is removed in which something may still be written.
const SWEEPS_MAX: u32 = 50;

/// Daemons by party.
type Daemons = Arc<Mutex<Vec<(String, Child)>>>;

/// The demo's world.
pub struct World {
    folder: tempfile::TempDir,
    program: PathBuf,
    daemons: Daemons,
    halted: Arc<watch::Sender<bool>>,
    runtime: Handle,
    keep: bool,
    verbose: bool,
}

/// Ends a world from outside of the thread that plays in it.
pub struct Halt {
    folder: PathBuf,
    daemons: Daemons,
    halted: Arc<watch::Sender<bool>>,
}

impl Halt {
    /// Stops every process. None is begun any more, and what waits for one fails.
    pub fn now(&self) {
        self.halted.send_replace(true);
        stop(&mut locked(&self.daemons));
    }

    /// Removes the folder, if it is still there.
    ///
    /// # Errors
    /// `io.failed` where it cannot be removed.
    pub fn sweep(&self) -> Result<(), Fault> {
        for _ in 1..SWEEPS_MAX {
            if !self.folder.exists() || std::fs::remove_dir_all(&self.folder).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let failed = |e| Fault::new(Code::IoFailed, format!("{} is left: {e}", self.folder.display()));
        std::fs::remove_dir_all(&self.folder).map_err(failed)
    }
}

fn locked(daemons: &Daemons) -> MutexGuard<'_, Vec<(String, Child)>> {
    // why: a list of children is whole whoever panicked while holding it.
    daemons.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stop(daemons: &mut Vec<(String, Child)>) {
    for (_, mut child) in daemons.drain(..) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn failed(what: impl Into<String>) -> Fault {
    Fault::new(Code::Internal, what)
}

impl World {
    /// An empty world in a folder of its own, within a runtime.
    pub fn new(keep: bool, verbose: bool) -> Result<Self, Fault> {
        let folder = tempfile::Builder::new()
            .prefix("tacit-demo-")
            .tempdir()
            .map_err(|e| Fault::new(Code::IoFailed, format!("a temporary folder: {e}")))?;
        let program = std::env::current_exe().map_err(|e| failed(format!("this program's path: {e}")))?;
        let (daemons, halted, runtime) = (Daemons::default(), Arc::new(watch::Sender::new(false)), Handle::current());
        Ok(Self { folder, program, daemons, halted, runtime, keep, verbose })
    }

    /// What ends this world from outside.
    pub fn halt(&self) -> Halt {
        Halt { folder: self.folder().to_owned(), daemons: self.daemons.clone(), halted: self.halted.clone() }
    }

    /// Whether it was ended from outside.
    pub fn is_halted(&self) -> bool {
        *self.halted.borrow()
    }

    /// Runs a program to its end, or to that of the world.
    ///
    /// # Errors
    /// When it cannot be started, or the world was ended.
    pub fn output(&self, command: Command) -> Result<Output, Fault> {
        let program = command.get_program().display().to_string();
        let (mut command, mut halted) = (tokio::process::Command::from(command), self.halted.subscribe());
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = halted.wait_for(|halted| *halted) => Err(failed("the demonstration was interrupted")),
                output = command.kill_on_drop(true).output() => output.map_err(|e| failed(format!("{program}: {e}"))),
            }
        })
    }

    /// The folder of a party.
    pub fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of all.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the world's folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<PathBuf, Fault> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", path.display())))?;
        Ok(path)
    }

    /// Adds to a file in a party's folder.
    pub fn append(&self, party: &str, name: &str, text: &str) -> Result<(), Fault> {
        let path = self.home(party).join(name);
        let file = std::fs::OpenOptions::new().append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", path.display())))
    }

    /// Runs `tacit` as a party and gives its JSON and exit status.
    pub fn try_run(&self, party: &str, args: &[&str]) -> Result<(Value, i32), Fault> {
        self.show(party, args);
        self.quiet(party, args)
    }

    fn show(&self, party: &str, args: &[&str]) {
        if self.verbose {
            println!("  {party}$ tacit {}", shown(args));
        }
    }

    /// Runs `tacit` as a party without showing the command.
    pub fn quiet(&self, party: &str, args: &[&str]) -> Result<(Value, i32), Fault> {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(self.home(party)).arg("--json").args(args);
        command.env_remove("TACIT_HOME").env_remove("TACIT_LANG").stdin(Stdio::null());
        let output = self.output(command)?;
        let value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        Ok((value, output.status.code().unwrap_or(-1)))
    }

    /// Runs `tacit` as a party; anything but success is the demo's failure.
    pub fn run(&self, party: &str, args: &[&str]) -> Result<Value, Fault> {
        match self.try_run(party, args)? {
            (value, 0) => Ok(value),
            (value, status) => Err(failed(format!("`tacit {}` as {party} ended with {status}: {value}", shown(args)))),
        }
    }

    /// Runs `tacit` as a party until it succeeds or time is up: a daemon may still be starting.
    pub fn run_soon(&self, party: &str, args: &[&str]) -> Result<Value, Fault> {
        let begun = Instant::now();
        self.show(party, args);
        loop {
            match self.quiet(party, args)? {
                (value, 0) => return Ok(value),
                (value, _) if begun.elapsed() > START_WAIT => {
                    return Err(failed(format!("`tacit {}` as {party}: {value}", shown(args))));
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Starts a daemon of a party. Its log goes to a file in its folder.
    pub fn daemon(&mut self, party: &str, args: &[&str]) -> Result<(), Fault> {
        if self.verbose {
            println!("  {party}$ tacit {} &", args.join(" "));
        }
        let log = self.home(party).join("daemon.log");
        let file =
            std::fs::File::create(&log).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", log.display())))?;
        let mut daemons = locked(&self.daemons);
        if self.is_halted() {
            return Err(failed("the demonstration was interrupted"));
        }
        let child = Command::new(&self.program)
            .arg("--home")
            .arg(self.home(party))
            .args(["--log", &std::env::var("TACIT_LOG").unwrap_or_else(|_| "info,tacit_node::runner=debug".into())])
            .args(args)
            .env_remove("TACIT_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|e| failed(format!("starting tacit: {e}")))?;
        daemons.push((party.to_owned(), child));
        Ok(())
    }

    /// What a party's daemon has logged since its start.
    pub fn logged(&self, party: &str) -> String {
        std::fs::read_to_string(self.home(party).join("daemon.log")).unwrap_or_default()
    }

    /// Kills a party's daemon without warning.
    pub fn kill(&mut self, party: &str) -> Result<(), Fault> {
        let mut daemons = locked(&self.daemons);
        let child = daemons.iter_mut().find(|(name, _)| name == party).map(|(_, child)| child);
        let child = child.ok_or_else(|| failed(format!("{party} has no daemon")))?;
        child.kill().and_then(|()| child.wait()).map_err(|e| failed(format!("killing {party}: {e}")))?;
        daemons.retain(|(name, _)| name != party);
        Ok(())
    }

    /// Leaves processes and folder as they are and gives the folder.
    pub fn leave(mut self) -> PathBuf {
        self.keep = true;
        let path = self.folder.path().to_owned();
        self.folder.disable_cleanup(true);
        path
    }

    /// The auditor's program beside this one; under cargo it is built when it is not there yet.
    pub fn verifier(&self) -> Result<PathBuf, Fault> {
        let path = self.program.with_file_name("tacit-verify");
        if path.exists() {
            return Ok(path);
        }
        let Some(cargo) = std::env::var_os("CARGO") else {
            return Err(failed(format!("{} is missing: install it beside tacit", path.display())));
        };
        let release = self.program.components().any(|c| c.as_os_str() == "release");
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "-p", "tacit-verify"]).stdin(Stdio::null());
        if release {
            build.arg("--release");
        }
        let built = self.output(build)?.status;
        if built.success() && path.exists() { Ok(path) } else { Err(failed("tacit-verify could not be built")) }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.keep || self.is_halted() {
            stop(&mut locked(&self.daemons));
        }
    }
}

/// Arguments as a person would type them.
fn shown(args: &[&str]) -> String {
    let quote = |a: &&str| {
        let plain = a.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,@".contains(c));
        if plain && !a.is_empty() { (*a).to_owned() } else { format!("'{}'", a.replace('\'', "'\\''")) }
    };
    let text: Vec<String> = args.iter().map(quote).collect();
    let text = text.join(" ");
    if text.chars().count() > 140 { format!("{}…", text.chars().take(140).collect::<String>()) } else { text }
}

/// A UDP port of this machine that is free now.
pub fn free_port() -> Result<u16, Fault> {
    tacit_net::free_port().map_err(|e| failed(format!("a free port: {e}")))
}
