//! Rearrangements of bytes, words and lanes among 512-bit registers.

use core::arch::x86_64::*;

/// Where each byte of a register comes from, if limb `l` of element `e` is to be byte `8 l + e`.
#[target_feature(enable = "avx512f")]
pub(super) fn order(source: impl Fn(usize, usize) -> usize) -> __m512i {
    let bytes: [u8; 64] = core::array::from_fn(|i| source(i / 8, i % 8) as u8);
    // SAFETY: sixty-four readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Four registers of four lanes of 128 bits: lane j of register i becomes lane i of register j.
#[target_feature(enable = "avx512f")]
pub(super) fn lanes_transposed(v: [__m512i; 4]) -> [__m512i; 4] {
    let even = [_mm512_shuffle_i64x2::<0x88>(v[0], v[1]), _mm512_shuffle_i64x2::<0x88>(v[2], v[3])];
    let odd = [_mm512_shuffle_i64x2::<0xdd>(v[0], v[1]), _mm512_shuffle_i64x2::<0xdd>(v[2], v[3])];
    [
        _mm512_shuffle_i64x2::<0x88>(even[0], even[1]),
        _mm512_shuffle_i64x2::<0x88>(odd[0], odd[1]),
        _mm512_shuffle_i64x2::<0xdd>(even[0], even[1]),
        _mm512_shuffle_i64x2::<0xdd>(odd[0], odd[1]),
    ]
}

/// Eight registers of eight words: word j of register i becomes word i of register j.
#[target_feature(enable = "avx512f")]
pub(super) fn transposed(v: [__m512i; 8]) -> [__m512i; 8] {
    let (mut even, mut odd) = ([v[0]; 4], [v[0]; 4]);
    for i in 0..4 {
        even[i] = _mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]);
        odd[i] = _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]);
    }
    let (even, odd) = (lanes_transposed(even), lanes_transposed(odd));
    [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]]
}
