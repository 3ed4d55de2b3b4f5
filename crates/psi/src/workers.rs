//! How a batch gets onto more than one core without this crate having a thread.

use std::sync::{Mutex, PoisonError};

/// Runs pieces of a batch. A host with cores to spare brings its own threads; what is computed does not depend on it.
pub trait Workers: Send + Sync {
    /// Calls `piece` once with each number below `count`, in any order and side by side as far as it likes, and returns
    /// when all calls have returned.
    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync));
}

/// The caller's own thread.
pub struct Inline;

impl Workers for Inline {
    fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(piece);
    }
}

/// Items of a piece: enough that handing it over costs nothing beside the work.
const PIECE: usize = 512;

/// Where a piece puts what it made.
type Slot<T, E> = Mutex<Option<Result<Vec<T>, E>>>;

/// Computes one output for each of `count` items in pieces of consecutive ones, and gives the outputs in order.
///
/// # Errors
/// The error of the first piece that failed.
pub(crate) fn in_pieces<T, E>(
    workers: &dyn Workers,
    count: usize,
    work: impl Fn(core::ops::Range<usize>) -> Result<Vec<T>, E> + Sync,
) -> Result<Vec<T>, E>
where
    T: Send,
    E: Send,
{
    let slots: Vec<Slot<T, E>> = (0..count.div_ceil(PIECE)).map(|_| Mutex::new(None)).collect();
    workers.run(slots.len(), &|i| {
        let done = work(i * PIECE..count.min((i + 1) * PIECE));
        if let Some(slot) = slots.get(i) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        }
    });
    let mut out = Vec::with_capacity(count);
    for slot in slots {
        match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(done) => out.append(&mut done?),
            // A host that leaves pieces out gets too few outputs, which the caller's lengths do not allow.
            None => debug_assert!(false, "a piece was left out"),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Backwards;

    impl Workers for Backwards {
        fn run(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
            (0..count).rev().for_each(piece);
        }
    }

    #[test]
    fn outputs_are_in_order_and_the_first_error_counts() {
        for workers in [&Inline as &dyn Workers, &Backwards] {
            for count in [0, 1, PIECE, PIECE + 1, 3 * PIECE] {
                let all = in_pieces::<_, ()>(workers, count, |range| Ok(range.collect()));
                assert_eq!(all, Ok((0..count).collect()));
            }
            let failed = in_pieces::<usize, usize>(workers, 3 * PIECE, |range| Err(range.start));
            assert_eq!(failed, Err(0));
        }
    }
}
