//! The vector kernels, and one of the modules of the product with unsafe code; the others are [`crate::points`] and the
//! kernel of `mpc`.
//!
//! Unsafe is needed for three things: to call a function compiled for instructions that were found at
//! run time, to load and store vector registers, and to keep the compiler from moving the cipher's rounds. Every function here has a portable twin that
//! the tests hold it to, bit for bit: [`crate::prg`] for AES, [`crate::fixed`] for the encoding.
//!
//! Nothing branches on a secret or indexes by one: AES is the processor's instruction.
#![allow(unsafe_code)]

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that one pass of the kernel takes: eight registers of 64 bytes.
pub(crate) const STRIDE: usize = 512;

/// The instructions that this processor has for expanding AES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// AES on four blocks an instruction (VAES with AVX-512).
    Vaes512,
    /// AES on one block an instruction (AES-NI).
    AesNi,
    /// The `aes` crate, which chooses for itself.
    Portable,
}

impl Backend {
    /// The fastest one here. The processor is asked once; the answer is kept by the standard library.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Backend::Portable)
    }

    /// Every one that runs here, fastest first.
    pub fn available() -> impl Iterator<Item = Backend> {
        [Backend::Vaes512, Backend::AesNi, Backend::Portable].into_iter().filter(|b| b.runs_here())
    }

    #[cfg(target_arch = "x86_64")]
    fn runs_here(self) -> bool {
        match self {
            Backend::Vaes512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("vaes")
                    && is_x86_feature_detected!("aes")
                    && is_x86_feature_detected!("sse4.1")
            }
            Backend::AesNi => is_x86_feature_detected!("aes") && is_x86_feature_detected!("sse4.1"),
            Backend::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn runs_here(self) -> bool {
        self == Backend::Portable
    }
}

/// The fifteen round keys of AES-256, erased on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Schedule([[u8; 16]; 15]);

/// What a pass does with the keystream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Add32,
    Sub32,
    Add64,
    Sub64,
    Add128,
    Sub128,
    Store,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
    impl Sealed for u128 {}
}

/// A ring element: `u32`, `u64` or `u128` with wrapping arithmetic.
pub trait Lane: sealed::Sealed + Copy + Default + Send + Sync + Zeroize + 'static {
    /// Bytes of an element.
    const BYTES: usize;
    /// The wrapping sum.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// The wrapping difference.
    #[must_use]
    fn minus(self, other: Self) -> Self;
    /// Adds little-endian elements, wrapping: `self[i] += bytes[i]`. Stops at the shorter of the two.
    fn add_bytes(lanes: &mut [Self], bytes: &[u8]);
    /// Subtracts or adds a keystream that begins with the first element.
    #[doc(hidden)]
    fn apply_stream(lanes: &mut [Self], stream: &[u8], subtract: bool);
    /// Adds or subtracts elements in place where both lie as little-endian bytes. Stops at the shorter of
    /// the two.
    fn add_stream(sum: &mut [u8], bytes: &[u8], subtract: bool);
    /// As [`Lane::add_stream`], with the widest instructions here: for long rows.
    fn add_row(sum: &mut [u8], row: &[u8], subtract: bool) {
        let done = add_wide(Self::op(subtract).0, sum, row);
        Self::add_stream(sum.get_mut(done..).unwrap_or_default(), row.get(done..).unwrap_or_default(), subtract);
    }
    /// Appends the elements as little-endian bytes.
    fn write_bytes(lanes: &[Self], out: &mut Vec<u8>);
    /// The kernel's operation.
    #[doc(hidden)]
    fn op(subtract: bool) -> KernelOp;
}

/// An operation of the kernel, opaque outside this crate.
#[doc(hidden)]
pub struct KernelOp(pub(crate) Op);

macro_rules! lane {
    ($t:ty, $bytes:literal, $add:ident, $sub:ident) => {
        impl Lane for $t {
            const BYTES: usize = $bytes;

            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            fn add_bytes(lanes: &mut [Self], bytes: &[u8]) {
                for (lane, b) in lanes.iter_mut().zip(bytes.as_chunks::<$bytes>().0) {
                    *lane = lane.wrapping_add(<$t>::from_le_bytes(*b));
                }
            }

            #[inline(always)]
            fn apply_stream(lanes: &mut [Self], stream: &[u8], subtract: bool) {
                let stream = stream.as_chunks::<$bytes>().0;
                if subtract {
                    for (lane, b) in lanes.iter_mut().zip(stream) {
                        *lane = lane.wrapping_sub(<$t>::from_le_bytes(*b));
                    }
                } else {
                    for (lane, b) in lanes.iter_mut().zip(stream) {
                        *lane = lane.wrapping_add(<$t>::from_le_bytes(*b));
                    }
                }
            }

            #[inline(always)]
            fn add_stream(sum: &mut [u8], bytes: &[u8], subtract: bool) {
                let (sum, bytes) = (sum.as_chunks_mut::<$bytes>().0, bytes.as_chunks::<$bytes>().0);
                if subtract {
                    for (s, b) in sum.iter_mut().zip(bytes) {
                        *s = <$t>::from_le_bytes(*s).wrapping_sub(<$t>::from_le_bytes(*b)).to_le_bytes();
                    }
                } else {
                    for (s, b) in sum.iter_mut().zip(bytes) {
                        *s = <$t>::from_le_bytes(*s).wrapping_add(<$t>::from_le_bytes(*b)).to_le_bytes();
                    }
                }
            }

            fn write_bytes(lanes: &[Self], out: &mut Vec<u8>) {
                if cfg!(target_endian = "little") {
                    out.extend_from_slice(as_bytes(lanes));
                } else {
                    lanes.iter().for_each(|lane| out.extend_from_slice(&lane.to_le_bytes()));
                }
            }

            fn op(subtract: bool) -> KernelOp {
                KernelOp(if subtract { Op::$sub } else { Op::$add })
            }
        }
    };
}

lane!(u32, 4, Add32, Sub32);
lane!(u64, 8, Add64, Sub64);
lane!(u128, 16, Add128, Sub128);

/// The elements as their bytes in memory.
pub(crate) fn as_bytes_mut<L: Lane>(lanes: &mut [L]) -> &mut [u8] {
    let length = core::mem::size_of_val(lanes);
    // SAFETY: `Lane` is sealed to unsigned integers, which have no padding and allow every bit
    // pattern; the length is that of the borrowed slice, and a byte has the smallest alignment.
    unsafe { core::slice::from_raw_parts_mut(lanes.as_mut_ptr().cast::<u8>(), length) }
}

/// Asks for what is to be read soon to be brought near; a hint and nothing more.
#[inline]
pub fn prefetch<T>(items: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in items.chunks((64 / size_of::<T>().max(1)).max(1)) {
        // SAFETY: SSE is part of x86-64, and a prefetch reads nothing.
        unsafe { core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T1 }>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = items;
}

/// Erases bytes as fast as memory is filled: erasing a scratch word by word costs a part of what expanding into it does.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}

/// The elements as their bytes in memory, to be read.
fn as_bytes<L: Lane>(lanes: &[L]) -> &[u8] {
    // SAFETY: as for `as_bytes_mut`: no padding, and the length is that of the borrowed slice.
    unsafe { core::slice::from_raw_parts(lanes.as_ptr().cast::<u8>(), core::mem::size_of_val(lanes)) }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{add_wide, encode, expand_key, run};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{Backend, Op, STRIDE, Schedule};

    /// Expands a key (FIPS 197, section 5.2).
    pub(crate) fn expand_key(backend: Backend, key: &[u8; 32]) -> Option<Schedule> {
        if backend == Backend::Portable || !backend.runs_here() {
            return None;
        }
        // SAFETY: both other backends imply the features that the function is compiled for.
        Some(unsafe { expand_256(key) })
    }

    /// Runs a pass over whole strides of little-endian elements, from block `counter` on. Does
    /// nothing for the portable backend, which has no schedule.
    pub(crate) fn run(
        backend: Backend,
        schedule: &Schedule,
        nonce: u64,
        counter: u64,
        op: Op,
        data: &mut [[u8; STRIDE]],
    ) {
        macro_rules! call {
            ($f:ident) => {
                // SAFETY: a `Schedule` exists only where `expand_key` found the backend's features,
                // and `prg` passes the backend that made it.
                unsafe {
                    match op {
                        Op::Add32 => $f::<{ Op::Add32 as u8 }>(schedule, nonce, counter, data),
                        Op::Sub32 => $f::<{ Op::Sub32 as u8 }>(schedule, nonce, counter, data),
                        Op::Add64 => $f::<{ Op::Add64 as u8 }>(schedule, nonce, counter, data),
                        Op::Sub64 => $f::<{ Op::Sub64 as u8 }>(schedule, nonce, counter, data),
                        Op::Add128 => $f::<{ Op::Add128 as u8 }>(schedule, nonce, counter, data),
                        Op::Sub128 => $f::<{ Op::Sub128 as u8 }>(schedule, nonce, counter, data),
                        Op::Store => $f::<{ Op::Store as u8 }>(schedule, nonce, counter, data),
                    }
                }
            };
        }
        match backend {
            Backend::Vaes512 if matches!(op, Op::Add128 | Op::Sub128) => call!(vaes512_between),
            Backend::Vaes512 => call!(vaes512),
            Backend::AesNi => call!(aesni),
            Backend::Portable => {}
        }
    }

    const ADD32: u8 = Op::Add32 as u8;
    const SUB32: u8 = Op::Sub32 as u8;
    const ADD64: u8 = Op::Add64 as u8;
    const SUB64: u8 = Op::Sub64 as u8;
    const ADD128: u8 = Op::Add128 as u8;
    const SUB128: u8 = Op::Sub128 as u8;

    /// Whether a bit of a sum carries, by the bits of both parts and of the sum: both parts are set, or one and the sum is not.
    const CARRY: i32 = 0b1101_0100;
    /// Whether a bit of a difference borrows, by what it is taken from, what is taken, and the difference: less is taken from,
    /// or as much and the difference is set.
    const BORROW: i32 = 0b1000_1110;

    /// What a pass leaves of four blocks: the elements with the stream added or subtracted, or the stream.
    ///
    /// Of an element of 128 bits the two halves are added apart, and what the low one carries or borrows is taken to the high
    /// one. It stays in vector registers: their other ports are idle while the cipher runs, and masks would leave them.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn combine_512<const OP: u8>(old: __m512i, stream: __m512i) -> __m512i {
        // Minus one in each high half whose low half has the highest bit.
        let to_high = |bits| _mm512_unpacklo_epi64(_mm512_setzero_si512(), _mm512_srai_epi64::<63>(bits));
        match OP {
            ADD32 => _mm512_add_epi32(old, stream),
            SUB32 => _mm512_sub_epi32(old, stream),
            ADD64 => _mm512_add_epi64(old, stream),
            SUB64 => _mm512_sub_epi64(old, stream),
            ADD128 => {
                let sum = _mm512_add_epi64(old, stream);
                let carry = _mm512_ternarylogic_epi64::<CARRY>(old, stream, sum);
                _mm512_sub_epi64(sum, to_high(carry))
            }
            SUB128 => {
                let rest = _mm512_sub_epi64(old, stream);
                let borrow = _mm512_ternarylogic_epi64::<BORROW>(old, stream, rest);
                _mm512_add_epi64(rest, to_high(borrow))
            }
            _ => stream,
        }
    }

    /// As [`combine_512`], for one block.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn combine_128<const OP: u8>(old: __m128i, stream: __m128i) -> __m128i {
        let carried = |bits| _mm_slli_si128::<8>(_mm_srli_epi64::<63>(bits));
        match OP {
            ADD32 => _mm_add_epi32(old, stream),
            SUB32 => _mm_sub_epi32(old, stream),
            ADD64 => _mm_add_epi64(old, stream),
            SUB64 => _mm_sub_epi64(old, stream),
            ADD128 => {
                let sum = _mm_add_epi64(old, stream);
                let carry = _mm_or_si128(_mm_and_si128(old, stream), _mm_andnot_si128(sum, _mm_or_si128(old, stream)));
                _mm_add_epi64(sum, carried(carry))
            }
            SUB128 => {
                let rest = _mm_sub_epi64(old, stream);
                let differ = _mm_xor_si128(old, stream);
                let borrow = _mm_or_si128(_mm_andnot_si128(old, stream), _mm_andnot_si128(differ, rest));
                _mm_sub_epi64(rest, carried(borrow))
            }
            _ => stream,
        }
    }

    fn load(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: sixteen readable bytes; the load needs no alignment; SSE2 is part of x86-64.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    fn store(bytes: &mut [u8; 16], value: __m128i) {
        // SAFETY: sixteen writable bytes; the store needs no alignment; SSE2 is part of x86-64.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
    }

    #[target_feature(enable = "aes,sse4.1")]
    fn expand_256(key: &[u8; 32]) -> Schedule {
        /// Adds to each word all the words before it, then the substituted word: with x for a shift
        /// by one word, (1 + x)^3 = 1 + x + x^2 + x^3 over GF(2).
        #[target_feature(enable = "aes,sse4.1")]
        fn mix(mut key: __m128i, word: __m128i) -> __m128i {
            for _ in 0..3 {
                key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
            }
            _mm_xor_si128(key, word)
        }
        macro_rules! even {
            ($before:expr, $last:expr, $constant:literal) => {
                mix($before, _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<$constant>($last)))
            };
        }
        macro_rules! odd {
            ($before:expr, $last:expr) => {
                mix($before, _mm_shuffle_epi32::<0xaa>(_mm_aeskeygenassist_si128::<0>($last)))
            };
        }
        let (halves, _) = key.as_chunks::<16>();
        let k0 = load(&halves[0]);
        let k1 = load(&halves[1]);
        let k2 = even!(k0, k1, 0x01);
        let k3 = odd!(k1, k2);
        let k4 = even!(k2, k3, 0x02);
        let k5 = odd!(k3, k4);
        let k6 = even!(k4, k5, 0x04);
        let k7 = odd!(k5, k6);
        let k8 = even!(k6, k7, 0x08);
        let k9 = odd!(k7, k8);
        let k10 = even!(k8, k9, 0x10);
        let k11 = odd!(k9, k10);
        let k12 = even!(k10, k11, 0x20);
        let k13 = odd!(k11, k12);
        let k14 = even!(k12, k13, 0x40);
        let mut schedule = Schedule([[0; 16]; 15]);
        let keys = [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14];
        for (bytes, key) in schedule.0.iter_mut().zip(keys) {
            store(bytes, key);
        }
        schedule
    }

    /// The round keys in each quarter of a register, the first four blocks of counter and nonce, and the step to the next four.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn start_512(schedule: &Schedule, nonce: u64, counter: u64) -> ([__m512i; 15], __m512i, __m512i) {
        let mut keys = [_mm512_setzero_si512(); 15];
        for (wide, key) in keys.iter_mut().zip(&schedule.0) {
            *wide = _mm512_broadcast_i32x4(load(key));
        }
        let (n, c) = (nonce as i64, counter as i64);
        let next = |by: i64| c.wrapping_add(by);
        let block = _mm512_set_epi64(n, next(3), n, next(2), n, next(1), n, c);
        (keys, block, _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4))
    }

    /// Thirty-two blocks a stride, four a register, eight registers in flight: enough to cover the
    /// latency of the AES instruction.
    #[target_feature(enable = "avx512f,vaes")]
    fn vaes512<const OP: u8>(schedule: &Schedule, nonce: u64, counter: u64, data: &mut [[u8; STRIDE]]) {
        let (keys, mut block, four) = start_512(schedule, nonce, counter);
        for stride in data {
            let mut stream = [_mm512_setzero_si512(); 8];
            for s in &mut stream {
                *s = _mm512_xor_si512(block, keys[0]);
                block = _mm512_add_epi64(block, four);
            }
            for key in &keys[1..14] {
                for s in &mut stream {
                    *s = _mm512_aesenc_epi128(*s, *key);
                }
            }
            for (s, bytes) in stream.iter().zip(stride.as_chunks_mut::<64>().0) {
                put_512::<OP>(bytes, _mm512_aesenclast_epi128(*s, keys[14]));
            }
        }
    }

    /// As [`vaes512`], where what is done with the stream takes as many instructions as to be in the way of the cipher: it is done
    /// a stride late, a register of it between two rounds of the next, which wait for each other anyway.
    #[target_feature(enable = "avx512f,vaes")]
    fn vaes512_between<const OP: u8>(schedule: &Schedule, nonce: u64, counter: u64, data: &mut [[u8; STRIDE]]) {
        let (keys, mut block, four) = start_512(schedule, nonce, counter);
        let mut scratch = [0; STRIDE];
        let (mut before, mut made) = (&mut scratch, [_mm512_setzero_si512(); 8]);
        for stride in data {
            let mut stream = [_mm512_setzero_si512(); 8];
            for s in &mut stream {
                *s = _mm512_xor_si512(block, keys[0]);
                block = _mm512_add_epi64(block, four);
            }
            let mut late = made.iter().zip(before.as_chunks_mut::<64>().0);
            for key in &keys[1..14] {
                for s in &mut stream {
                    *s = _mm512_aesenc_epi128(*s, *key);
                }
                together_512(&mut stream);
                if let Some((s, bytes)) = late.next() {
                    put_512::<OP>(bytes, *s);
                }
            }
            for s in &mut stream {
                *s = _mm512_aesenclast_epi128(*s, keys[14]);
            }
            (before, made) = (stride, stream);
        }
        for (s, bytes) in made.iter().zip(before.as_chunks_mut::<64>().0) {
            put_512::<OP>(bytes, *s);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn put_512<const OP: u8>(bytes: &mut [u8; 64], stream: __m512i) {
        let at: *mut __m512i = bytes.as_mut_ptr().cast();
        // SAFETY: sixty-four bytes to read and to write; neither access needs alignment.
        unsafe {
            let old = if OP == Op::Store as u8 { stream } else { _mm512_loadu_si512(at) };
            _mm512_storeu_si512(at, combine_512::<OP>(old, stream));
        }
    }

    /// Keeps a round of all registers before what follows in the program: the compiler would otherwise do the work between two
    /// rounds in one piece, and the cipher on one register after another, each waiting for its own rounds.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn together_512([a, b, c, d, e, f, g, h]: &mut [__m512i; 8]) {
        // SAFETY: there is no instruction in it.
        unsafe {
            core::arch::asm!(
                "/* {} {} {} {} {} {} {} {} */",
                inout(zmm_reg) * a,
                inout(zmm_reg) * b,
                inout(zmm_reg) * c,
                inout(zmm_reg) * d,
                inout(zmm_reg) * e,
                inout(zmm_reg) * f,
                inout(zmm_reg) * g,
                inout(zmm_reg) * h,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Eight blocks in flight, one a register; what is done with them is done between the rounds of the next eight.
    #[target_feature(enable = "aes,sse4.1")]
    fn aesni<const OP: u8>(schedule: &Schedule, nonce: u64, counter: u64, data: &mut [[u8; STRIDE]]) {
        let keys = schedule.0.each_ref().map(load);
        let mut block = _mm_set_epi64x(nonce as i64, counter as i64);
        let one = _mm_set_epi64x(0, 1);
        let mut scratch = [0; 128];
        let (mut before, mut made) = (&mut scratch, [_mm_setzero_si128(); 8]);
        for group in data.iter_mut().flat_map(|stride| stride.as_chunks_mut::<128>().0) {
            let mut stream = [_mm_setzero_si128(); 8];
            for s in &mut stream {
                *s = _mm_xor_si128(block, keys[0]);
                block = _mm_add_epi64(block, one);
            }
            let mut late = made.iter().zip(before.as_chunks_mut::<16>().0);
            for key in &keys[1..14] {
                for s in &mut stream {
                    *s = _mm_aesenc_si128(*s, *key);
                }
                together_128(&mut stream);
                if let Some((s, bytes)) = late.next() {
                    put_128::<OP>(bytes, *s);
                }
            }
            for s in &mut stream {
                *s = _mm_aesenclast_si128(*s, keys[14]);
            }
            (before, made) = (group, stream);
        }
        for (s, bytes) in made.iter().zip(before.as_chunks_mut::<16>().0) {
            put_128::<OP>(bytes, *s);
        }
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn put_128<const OP: u8>(bytes: &mut [u8; 16], stream: __m128i) {
        let old = if OP == Op::Store as u8 { stream } else { load(bytes) };
        store(bytes, combine_128::<OP>(old, stream));
    }

    /// As [`together_512`].
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn together_128([a, b, c, d, e, f, g, h]: &mut [__m128i; 8]) {
        // SAFETY: there is no instruction in it.
        unsafe {
            core::arch::asm!(
                "/* {} {} {} {} {} {} {} {} */",
                inout(xmm_reg) * a,
                inout(xmm_reg) * b,
                inout(xmm_reg) * c,
                inout(xmm_reg) * d,
                inout(xmm_reg) * e,
                inout(xmm_reg) * f,
                inout(xmm_reg) * g,
                inout(xmm_reg) * h,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Bytes of a sum that are asked for before they are added to: the sum comes from a farther cache than the row.
    const SUM_AHEAD: usize = 2 << 10;

    /// Adds or subtracts whole registers of 64 bytes of a row; gives how many bytes it did, a multiple of an element's.
    pub(crate) fn add_wide(op: Op, sum: &mut [u8], row: &[u8]) -> usize {
        if !is_x86_feature_detected!("avx512f") {
            return 0;
        }
        let (sum, row) = (sum.as_chunks_mut::<64>().0, row.as_chunks::<64>().0);
        let done = sum.len().min(row.len()) * 64;
        // SAFETY: the feature was found.
        unsafe {
            match op {
                Op::Add32 => add_512::<ADD32>(sum, row),
                Op::Sub32 => add_512::<SUB32>(sum, row),
                Op::Add64 => add_512::<ADD64>(sum, row),
                Op::Sub64 => add_512::<SUB64>(sum, row),
                Op::Add128 => add_512::<ADD128>(sum, row),
                Op::Sub128 => add_512::<SUB128>(sum, row),
                Op::Store => return 0,
            }
        }
        done
    }

    #[target_feature(enable = "avx512f")]
    fn add_512<const OP: u8>(sum: &mut [[u8; 64]], row: &[[u8; 64]]) {
        for (s, r) in sum.iter_mut().zip(row) {
            let at: *mut __m512i = s.as_mut_ptr().cast();
            // SAFETY: sixty-four bytes of each are readable and of the sum writable, unaligned; a prefetch reads nothing,
            // so that it may lie beyond the sum.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(SUM_AHEAD));
                let (s, r) = (_mm512_loadu_si512(at), _mm512_loadu_si512(r.as_ptr().cast()));
                _mm512_storeu_si512(at, combine_512::<OP>(s, r));
            }
        }
    }

    /// Encodes whole groups of sixteen; gives how many elements it did, or `None` when one of them
    /// is not a finite number.
    pub(crate) fn encode(values: &[f32], clip: f32, factor: f32, out: &mut [u32]) -> Option<usize> {
        let (values, out) = (values.as_chunks::<16>().0, out.as_chunks_mut::<16>().0);
        let done = values.len().min(out.len()) * 16;
        let finite = if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was found.
            unsafe { encode_512(values, clip, factor, out) }
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was found.
            unsafe { encode_256(values, clip, factor, out) }
        } else {
            return Some(0);
        };
        finite.then_some(done)
    }

    #[target_feature(enable = "avx512f")]
    fn encode_512(values: &[[f32; 16]], clip: f32, factor: f32, out: &mut [[u32; 16]]) -> bool {
        let (low, high, factor) = (_mm512_set1_ps(-clip), _mm512_set1_ps(clip), _mm512_set1_ps(factor));
        let most = _mm512_set1_ps(f32::MAX);
        let mut bad = 0;
        for (value, out) in values.iter().zip(out) {
            // SAFETY: sixteen floats are readable and sixteen words writable, unaligned.
            let v = unsafe { _mm512_loadu_ps(value.as_ptr()) };
            bad |= _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(_mm512_abs_ps(v), most);
            let v = _mm512_mul_ps(_mm512_min_ps(_mm512_max_ps(v, low), high), factor);
            let q = _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v);
            // SAFETY: as above.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), q) };
        }
        bad == 0
    }

    #[target_feature(enable = "avx2")]
    fn encode_256(values: &[[f32; 16]], clip: f32, factor: f32, out: &mut [[u32; 16]]) -> bool {
        let (low, high, factor) = (_mm256_set1_ps(-clip), _mm256_set1_ps(clip), _mm256_set1_ps(factor));
        let (most, sign) = (_mm256_set1_ps(f32::MAX), _mm256_set1_ps(-0.0));
        let mut bad = _mm256_setzero_ps();
        let halves = values.as_flattened().as_chunks::<8>().0.iter().zip(out.as_flattened_mut().as_chunks_mut::<8>().0);
        for (value, out) in halves {
            // SAFETY: eight floats are readable and eight words writable, unaligned.
            let v = unsafe { _mm256_loadu_ps(value.as_ptr()) };
            bad = _mm256_or_ps(bad, _mm256_cmp_ps::<_CMP_NLE_UQ>(_mm256_andnot_ps(sign, v), most));
            let v = _mm256_mul_ps(_mm256_min_ps(_mm256_max_ps(v, low), high), factor);
            let v = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v);
            // SAFETY: as above.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_cvttps_epi32(v)) };
        }
        _mm256_movemask_ps(bad) == 0
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn expand_key(_: Backend, _: &[u8; 32]) -> Option<Schedule> {
    None
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run(_: Backend, _: &Schedule, _: u64, _: u64, _: Op, _: &mut [[u8; STRIDE]]) {}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn add_wide(_: Op, _: &mut [u8], _: &[u8]) -> usize {
    0
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn encode(_: &[f32], _: f32, _: f32, _: &mut [u32]) -> Option<usize> {
    Some(0)
}
