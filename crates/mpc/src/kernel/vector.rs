//! Plain code compiled for wider registers.

use super::Level;

/// Runs `work` compiled for the widest registers here: what is inlined into it becomes vector instructions where the
/// compiler sees them. Functions that it calls should be `#[inline(always)]`; others are compiled as anywhere else. The
/// result is the same at every level.
#[inline(always)]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    vectorized_at(Level::detect(), work)
}

/// As [`vectorized`] with chosen instructions; the best ones here if those are absent.
#[inline(always)]
pub fn vectorized_at<R>(level: Level, work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the level runs here, and its instructions are those of the function.
        unsafe {
            match level.max(Level::detect()) {
                Level::Amx | Level::Ifma | Level::Avx512 => return with_512(work),
                Level::Avx2 => return with_256(work),
                Level::Portable => {}
            }
        }
    }
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl")]
fn with_512<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_256<R>(work: impl FnOnce() -> R) -> R {
    work()
}
