//! The memory of one run: so many bytes of intermediate results, and a note of the most that were held at a time.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::Result as DataFusionResult;
use datafusion::execution::memory_pool::{
    GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, TrackConsumersPool,
};

/// Consumers that a fault names when the memory is not enough.
// proof: five is not zero.
const NAMED: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// A pool that notes its peak.
#[derive(Debug)]
pub(crate) struct PeakPool {
    pool: TrackConsumersPool<GreedyMemoryPool>,
    peak: Arc<AtomicU64>,
}

impl PeakPool {
    /// A pool of `bytes`, whose peak is noted in `peak`.
    pub fn new(bytes: usize, peak: Arc<AtomicU64>) -> Self {
        Self { pool: TrackConsumersPool::new(GreedyMemoryPool::new(bytes), NAMED), peak }
    }

    fn note(&self) {
        self.peak.fetch_max(self.pool.reserved() as u64, Ordering::Relaxed);
    }
}

impl fmt::Display for PeakPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

impl MemoryPool for PeakPool {
    fn name(&self) -> &str {
        self.pool.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
        self.note();
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        self.pool.try_grow(reservation, additional)?;
        self.note();
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that was held together is noted, given back or not; what was not given is not.
    #[test]
    fn the_peak_stays_when_the_memory_is_given_back() {
        let peak = Arc::new(AtomicU64::new(0));
        let pool: Arc<dyn MemoryPool> = Arc::new(PeakPool::new(1000, peak.clone()));
        let noted = || peak.load(Ordering::Relaxed);
        let reservation = |name: &str| MemoryConsumer::new(name).register(&pool);
        let (a, b) = (reservation("a"), reservation("b"));
        a.try_grow(300).unwrap();
        b.try_grow(400).unwrap();
        assert_eq!((noted(), pool.reserved()), (700, 700));
        a.free();
        b.try_grow(500).unwrap();
        assert_eq!((noted(), pool.reserved()), (900, 900));
        assert!(b.try_grow(101).is_err(), "one past it");
        b.free();
        assert_eq!((noted(), pool.reserved()), (900, 0));
    }
}
