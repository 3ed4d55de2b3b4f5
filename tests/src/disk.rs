//! A file system of a few megabytes, to be filled.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set in the process that [`with_mounts`] starts.
const INSIDE: &str = "TACIT_TEST_MOUNTS";

/// Runs a test that mounts: here, where this process may, and otherwise as root of a name space of its own, which
/// most kernels allow to everybody. `name` is the test's.
///
/// Where neither is allowed the test is passed over, and says so; see [`lacking`](crate::lacking).
pub fn with_mounts(name: &str, test: impl FnOnce()) {
    let mounts = |command: &mut Command| {
        let tried = command.args(["unshare", "-m", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|s| s.success())
    };
    if std::env::var_os(INSIDE).is_some() || mounts(&mut Command::new("env")) {
        return test();
    }
    if mounts(Command::new("unshare").arg("-rm")) {
        let this = std::env::current_exe().unwrap_or_else(|e| panic!("the test program: {e}"));
        let mut inside = Command::new("unshare");
        inside.arg("-rm").arg(this).args(["--exact", name, "--nocapture"]).env(INSIDE, "true");
        let status = inside.status().unwrap_or_else(|e| panic!("unshare: {e}"));
        assert!(status.success(), "{name} failed in a name space of its own");
        return;
    }
    crate::lacking("mounts", &format!("{name}: this system lets nobody mount (no root, no user name spaces)"));
}

/// A small file system, unmounted when dropped.
pub struct Small(PathBuf);

impl Small {
    /// Mounts one at a folder, which is made.
    #[track_caller]
    pub fn mount(path: PathBuf, megabytes: u32) -> Self {
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(&path);
        let status = mount.status().unwrap_or_else(|e| panic!("mount: {e}"));
        assert!(status.success(), "{}: not mounted", path.display());
        Self(path)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        self.fill_but(0);
    }

    /// Fills it but for so many bytes, or for a page more.
    #[track_caller]
    pub fn fill_but(&self, bytes: u64) {
        let path = self.0.join("ballast");
        let mut file = fs::File::create(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut len = 0u64;
        while file.write_all(&[0; 512]).is_ok() {
            len += 512;
        }
        if bytes > 0 {
            file.set_len(len.saturating_sub(bytes)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }

    /// Makes room again.
    #[track_caller]
    pub fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap_or_else(|e| panic!("ballast: {e}"));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
