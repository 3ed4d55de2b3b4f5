//! A throw-away PostgreSQL for tests: found, initialised, started and stopped. Standard library and `tempfile` only, so
//! that other test packages can include this file.
//!
//! On Debian: `apt-get install -y postgresql`.

use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The role that owns the cluster, and its password.
pub const USER: &str = "tacit";
pub const PASSWORD: &str = "correct horse";
/// The number in the socket's file name; no TCP port is opened.
pub const PORT: u16 = 5432;

/// A running server, stopped and removed when dropped.
pub struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    process: Child,
}

impl Server {
    /// Starts a server. Without its programs the test fails where `CI=true`, and elsewhere says loudly that it is skipped
    /// and gives `None`.
    pub fn start() -> Option<Server> {
        let Some(programs) = programs() else {
            let message = "no initdb and postgres in PATH or /usr/lib/postgresql/*/bin: apt-get install -y postgresql";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{message}");
            // why: the macros that print are captured by the test runner; this is not.
            let _ = writeln!(std::io::stderr(), "\n*** SKIPPED, PostgreSQL was not tested: {message} ***\n");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let owner = owner();
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if let Some((user, group)) = owner {
            for path in [folder.path(), &password] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let data = folder.path().join("data");
        let initialised = command(&programs, "initdb", owner, folder.path())
            .args(["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync", "-U", USER])
            .arg("--pwfile")
            .arg(&password)
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(initialised.status.success(), "initdb: {}", String::from_utf8_lossy(&initialised.stderr));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = command(&programs, "postgres", owner, folder.path())
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-p", &PORT.to_string(), "-c", "listen_addresses=", "-c", "fsync=off"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Server { folder, programs, owner, process };
        server.wait_until_ready();
        Some(server)
    }

    /// The folder of the server's socket: the `host` of a source.
    pub fn host(&self) -> &Path {
        self.folder.path()
    }

    /// Runs SQL as the owner and gives its unaligned output.
    pub fn execute(&self, sql: &str) -> String {
        self.psql(sql).unwrap_or_else(|error| panic!("{error}"))
    }

    fn psql(&self, sql: &str) -> Result<String, String> {
        let output = command(&self.programs, "psql", self.owner, self.folder.path())
            .env("PGPASSWORD", PASSWORD)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", "postgres"])
            .args(["-p", &PORT.to_string(), "-c", sql, "-h"])
            .arg(self.host())
            .output()
            .map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while let Err(error) = self.psql("SELECT 1") {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not start: {error}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server at once.
    pub fn stop(&mut self) {
        let _ = command(&self.programs, "pg_ctl", self.owner, self.folder.path())
            .args(["stop", "-m", "immediate", "-w", "-D"])
            .arg(self.folder.path().join("data"))
            .output();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program of the server, run as `owner` and in a folder that this user can enter.
fn command(programs: &Path, name: &str, owner: Option<(u32, u32)>, folder: &Path) -> Command {
    let mut command = Command::new(programs.join(name));
    command.current_dir(folder);
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}

/// The folder that holds both programs: one of PATH, or the newest of Debian's. Links are followed, since the server looks
/// for its files beside itself.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|e| e.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
    }
    let real = |folder: PathBuf| Some(folder.join("postgres").canonicalize().ok()?.parent()?.to_path_buf());
    folders
        .into_iter()
        .filter_map(real)
        .find(|f| ["initdb", "postgres", "psql", "pg_ctl"].iter().all(|p| f.join(p).is_file()))
}

/// Whom to run the server as: it refuses to run as root, so then `postgres`, or else `nobody`.
fn owner() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(args).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)))
}
