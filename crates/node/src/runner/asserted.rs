//! What this node counts of its own part in an attempt, which nobody else can check: class C.
//!
//! The processor time is that of the thread that takes a batch of rows, finishes the fold or takes a step of the protocol, for
//! as long as it does. Reading and decoding the source and running its query is outside, as are the streams to the other seats,
//! the disk, and all other work of the node.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tacit_data::RunStats;
use tacit_types::{Attempt, JobId};

use crate::store::AssertedRow;

/// The counts of an attempt so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Asserted {
    rows_scanned: Option<u64>,
    memory_bytes: Option<u64>,
    cpu: Duration,
}

/// The processor time of this thread since it began.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

impl Asserted {
    /// Does something, and counts the processor time that it took on this thread.
    pub fn timed<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = thread_time();
        let done = work();
        self.cpu += thread_time().saturating_sub(began);
        done
    }

    /// Takes in what a local query has read.
    pub fn read(&mut self, stats: &RunStats) {
        (self.rows_scanned, self.memory_bytes) = (Some(stats.rows_scanned), Some(stats.memory_bytes));
    }

    /// As it is kept.
    pub fn row(&self, job: JobId, attempt: Attempt) -> AssertedRow {
        AssertedRow {
            job,
            attempt,
            rows_scanned: self.rows_scanned,
            cpu_ms: u64::try_from(self.cpu.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: self.memory_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work counts and waiting does not, and parts add up.
    #[test]
    fn the_time_of_the_processor_is_counted_and_not_that_of_the_clock() {
        let work = || {
            let began = thread_time();
            while thread_time() - began < Duration::from_millis(20) {
                core::hint::spin_loop();
            }
        };
        let (mut busy, mut idle) = (Asserted::default(), Asserted::default());
        busy.timed(work);
        busy.timed(work);
        idle.timed(|| std::thread::sleep(Duration::from_millis(200)));
        let row = |asserted: &Asserted| asserted.row(JobId([1; 32]), Attempt(1));
        assert!(row(&busy).cpu_ms >= 40, "{busy:?}");
        assert!(row(&idle).cpu_ms < 100, "{idle:?}");
        assert_eq!((row(&idle).rows_scanned, row(&idle).memory_bytes), (None, None));
        idle.read(&RunStats { rows_scanned: 8, memory_bytes: 3, ..RunStats::default() });
        assert_eq!((row(&idle).rows_scanned, row(&idle).memory_bytes), (Some(8), Some(3)));
    }
}
