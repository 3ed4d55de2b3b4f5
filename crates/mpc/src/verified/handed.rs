//! Numbers that leave as summands of another protocol's sum, with codes by which whoever opens that sum checks them.
//!
//! Of each number four words leave: y = z + 2^64 u modulo 2^128 for a dealt random u, and alpha y modulo 2^128, each as
//! two words; and once for all, alpha as two halves. The sum is taken word by word, so what the lower words lose at their
//! top is unknown: the few counts that are possible are tried.

use tacit_types::{Code, Fault};
use zeroize::Zeroizing;

use super::auth::{Auth, Keys};
use super::desk::Checked;
use crate::group::PARTIES_MAX;
use crate::prep::{Place, ZeroKeys};
use crate::value::Words;

/// Words of one number that is handed out in verified mode.
pub const HANDED_WORDS: usize = 4;
/// Words of the key that is handed out once.
pub const HANDED_KEY_WORDS: usize = 2;

/// This party's summands of numbers with their codes.
pub(super) fn summands(x: &Auth, upper: &Auth, zeroes: &ZeroKeys, place: Place, _: Checked) -> Words {
    let zero = zeroes.wide(place, 2 * x.len());
    let mut out = Zeroizing::new(Vec::with_capacity(HANDED_WORDS * x.len()));
    let (values, macs) = (x.value.iter().zip(upper.value.iter()), x.mac.iter().zip(upper.mac.iter()));
    for (((v, u), (m, k)), zero) in values.zip(macs).zip(zero.as_chunks::<2>().0) {
        let y = v.wrapping_add(*u << 64).wrapping_add(zero[0]);
        let code = m.wrapping_add(*k << 64).wrapping_add(zero[1]);
        out.extend([y as u64, (y >> 64) as u64, code as u64, (code >> 64) as u64]);
    }
    out
}

/// This party's summands of the key.
pub(crate) fn key(keys: &Keys) -> Words {
    Zeroizing::new(vec![*keys.alpha & u64::from(u32::MAX), *keys.alpha >> 32])
}

/// The numbers in sums of what `parties` handed out, if all of them fit the key's sum. A wrong summand passes with a
/// probability below `parties`^2 2^-64.
///
/// # Errors
/// `job.misbehaved` for sums that no honest summands have, or that are not whole numbers of words.
pub fn open_handed(sums: &[u64], key: &[u64; HANDED_KEY_WORDS], parties: usize) -> Result<Vec<u64>, Fault> {
    let wrong = |row: usize| Fault::new(Code::JobMisbehaved, format!("the sum of row {row} does not fit its code"));
    if !sums.len().is_multiple_of(HANDED_WORDS) || parties > PARTIES_MAX {
        return Err(wrong(0));
    }
    let alpha = u128::from(key[0]).wrapping_add(u128::from(key[1]) << 32);
    let wide = |low: u64, high: u64, lost: usize| u128::from(low) | u128::from(high.wrapping_add(lost as u64)) << 64;
    let mut out = Vec::with_capacity(sums.len() / HANDED_WORDS);
    for (row, [y, y_high, code, code_high]) in sums.as_chunks::<HANDED_WORDS>().0.iter().enumerate() {
        let fits = |a: usize, b: usize| alpha.wrapping_mul(wide(*y, *y_high, a)) == wide(*code, *code_high, b);
        if !(0..parties).any(|a| (0..parties).any(|b| fits(a, b))) {
            return Err(wrong(row));
        }
        out.push(*y);
    }
    Ok(out)
}
