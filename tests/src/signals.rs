//! Signals to daemons, at once.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

/// A shell that is there already: a process of its own for each signal would come too late.
pub struct Signals(Child);

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}

impl Signals {
    /// Starts it.
    pub fn new() -> Self {
        let shell = Command::new("sh").stdin(Stdio::piped()).spawn();
        Self(shell.unwrap_or_else(|e| panic!("a shell: {e}")))
    }

    /// Sends a signal to a process that the test has started.
    pub fn send(&mut self, signal: &str, pid: u32) {
        let shell = self.0.stdin.as_mut().unwrap_or_else(|| panic!("a shell is told"));
        let told = writeln!(shell, "kill -{signal} {pid}").and_then(|()| shell.flush());
        told.unwrap_or_else(|e| panic!("a signal to {pid}: {e}"));
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
