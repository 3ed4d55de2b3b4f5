//! One measured case, printed as one line of JSON.

use serde::Serialize;

/// Repetitions of a case; the median is reported.
pub const SAMPLES: usize = 5;

/// One case. `seconds` is the median of `samples` runs on one core.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Case {
    /// A stable name.
    pub case: String,
    /// Parties in the protocol.
    pub n: usize,
    /// Elements of a vector.
    pub d: usize,
    /// Parties that took part to the end.
    pub parties: usize,
    /// Median seconds of one core, or by the clock where the note says so.
    pub seconds: f64,
    /// Payload bytes that the party sent, counted exactly.
    pub bytes_sent: u64,
    /// Messages that wait for each other, counted exactly.
    pub rounds: u64,
    /// Seconds that the same machine takes in the same run for the part that cannot be avoided.
    pub limit_seconds: f64,
    /// `seconds / limit_seconds`.
    pub ratio_to_limit: f64,
    /// The process's peak resident memory during the case, in MB of 10^6 bytes; 0 where unknown.
    pub peak_mb: f64,
    /// Runs.
    pub samples: usize,
    /// What the limit is, and what else a reader must know.
    pub note: String,
}

impl Case {
    /// Fills in the ratio and prints the case: as JSON, or as a line for people.
    pub fn print(mut self, json: bool) {
        self.ratio_to_limit = if self.limit_seconds > 0.0 { self.seconds / self.limit_seconds } else { 0.0 };
        if json {
            return println!("{}", serde_json::to_string(&self).unwrap_or_default());
        }
        let Case { case, seconds, limit_seconds, ratio_to_limit, bytes_sent, rounds, peak_mb, note, .. } = self;
        println!(
            "{case:40} {:10.3} ms, {ratio_to_limit:5.2} x {:.3} ms; {bytes_sent} B in {rounds} rounds; {peak_mb:.0} MB\n    {note}",
            seconds * 1e3,
            limit_seconds * 1e3
        );
    }
}

/// Processor seconds of this thread: other work on the machine does not count.
pub struct Clock(rustix::time::Timespec);

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        Self(now())
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        let now = now();
        (now.tv_sec - self.0.tv_sec) as f64 + (now.tv_nsec - self.0.tv_nsec) as f64 * 1e-9
    }
}

fn now() -> rustix::time::Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Median seconds of [`SAMPLES`] runs after one that warms up.
pub fn time(mut run: impl FnMut()) -> f64 {
    run();
    let once = |_| {
        let start = Clock::start();
        run();
        start.seconds()
    };
    median((0..SAMPLES).map(once).collect())
}

/// Forgets the peak so far. Does nothing where the system has no such switch.
pub fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Peak resident memory since [`reset_peak`], in MB; 0 where the system does not tell.
pub fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let kb = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|kb| kb.parse::<f64>().ok());
    kb.unwrap_or(0.0) * 1024.0 / 1e6
}
