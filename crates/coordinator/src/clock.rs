//! The wall clock, never running backwards within the process.

use std::sync::atomic::{AtomicU64, Ordering};

use tacit_net::{config::Clock as NetClock, system_clock};
use tacit_types::UnixMillis;

/// A clock that stands still while the system's clock is behind what it gave before.
pub(crate) struct Clock {
    system: NetClock,
    newest: AtomicU64,
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self { system: system_clock(), newest: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        let now = (self.system)().0;
        UnixMillis(self.newest.fetch_max(now, Ordering::SeqCst).max(now))
    }
}
