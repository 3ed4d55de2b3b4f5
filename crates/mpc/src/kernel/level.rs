//! What this processor can do, asked once at run time.

use std::sync::OnceLock;

/// The instructions that a kernel may use. Each level has those of the levels after it; where a kernel has no form for a
/// level it takes the next one down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Tiles of bytes (AMX-INT8) that the system let this process use.
    Amx,
    /// Products of 52-bit integers and permutations of bytes and bits on 512-bit registers (AVX-512 with IFMA, VBMI and
    /// GFNI).
    Ifma,
    /// 512-bit registers (AVX-512 with DQ, BW and VL).
    Avx512,
    /// 256-bit registers (AVX2).
    Avx2,
    /// Plain code: the oracle of all others.
    Portable,
}

const LEVELS: [Level; 5] = [Level::Amx, Level::Ifma, Level::Avx512, Level::Avx2, Level::Portable];

impl Level {
    /// The best one here. The processor and the system are asked once in the life of the process.
    pub fn detect() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| LEVELS.into_iter().find(|l| l.asked()).unwrap_or(Level::Portable))
    }

    /// Every one that runs here, best first.
    pub fn available() -> impl Iterator<Item = Level> {
        let best = Self::detect();
        LEVELS.into_iter().filter(move |l| *l >= best)
    }

    #[cfg(target_arch = "x86_64")]
    fn asked(self) -> bool {
        match self {
            Level::Amx => Level::Ifma.asked() && super::amx::permitted(),
            Level::Ifma => {
                Level::Avx512.asked()
                    && is_x86_feature_detected!("avx512ifma")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("gfni")
            }
            Level::Avx512 => {
                Level::Avx2.asked()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            Level::Avx2 => is_x86_feature_detected!("avx2"),
            Level::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn asked(self) -> bool {
        self == Level::Portable
    }
}
