//! A spinner or a bar on a terminal; nothing elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows that something is under way. Removed when dropped.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Begins, on a terminal that is not to show JSON.
    pub fn new(json: bool, text: impl Into<String>) -> Self {
        if json || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(text.into());
        // Shown at once, before anything can keep the ticking thread from it.
        bar.tick();
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    /// Shows nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// So much is done, of so much: the spinner becomes a bar.
    pub fn at(&self, done: u64, size: u64) {
        let Some(bar) = &self.0 else { return };
        if bar.length() != Some(size) {
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bar:24} {pos}/{len} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_length(size);
        }
        bar.set_position(done);
    }

    /// Changes the text.
    pub fn set(&self, text: impl Into<String>) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.into());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
