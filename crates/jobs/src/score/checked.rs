//! How the numbers of a verified job are handed over, and what the recipient checks before it takes one.
//!
//! Each number goes with the code under which the parties computed it, and the key of the codes goes once: whoever
//! changes a summand knows neither the key nor the random upper half that the code covers. The dealer knows both, and
//! has a seat in the sum, so the parties *seal* their numbers against it: one of them draws a seed that the dealer never
//! sees, and each adds the same [`SEAL_TAGS`] random subsets of its own words. The same subsets of the summed words are
//! the sums of these, so the recipient, who gets the seed in the sum as well, compares. Codes and key are under the seal
//! too, so whether it fits does not depend on the numbers.

use tacit_crypto::{Prg, Secret, Transcript};
use tacit_mpc::{HANDED_KEY_WORDS, HANDED_WORDS, open_handed};
use tacit_protocol::{Abort, Blame, Offence, Party};
use tacit_types::{Code, Fault, Seat};
use zeroize::Zeroizing;

use crate::kind::OpenedVector;
use crate::session;

/// Words of the seal's seed.
const SEED_WORDS: usize = 4;
/// Its bytes.
const SEED_BYTES: usize = 8 * SEED_WORDS;
/// Sums of random subsets: one that a dealer changed fits with a probability below 2^-64.
const SEAL_TAGS: usize = 64;
/// Words whose subsets are drawn at a time.
const DRAWN: usize = 4096;

/// Words beside those of the numbers.
const REST: usize = HANDED_KEY_WORDS + SEED_WORDS + SEAL_TAGS;

/// Cells of so many numbers with their codes, the key, the seal's seed and its sums.
pub(super) const fn cells(numbers: u64) -> u64 {
    numbers * HANDED_WORDS as u64 + REST as u64
}

/// Which words are in which subset: 64 bits for each, one for each sum.
struct Subsets {
    prg: Prg,
    next: u64,
    drawn: Zeroizing<Vec<u64>>,
}

impl Subsets {
    fn new(seed: &[u8; SEED_BYTES]) -> Self {
        // why: hashed, so that a seed that was changed has nothing in common with the one that was drawn.
        let hash = Transcript::new("tacit-score/1/seal").fixed(seed).finish();
        let key = core::array::from_fn(|i| hash.0.get(i).copied().unwrap_or(0));
        Self { prg: Prg::new(&Secret::new(key)), next: 0, drawn: Zeroizing::new(vec![0; DRAWN]) }
    }

    /// The sums modulo 2^64. Takes the same time whatever the words are.
    fn sums(mut self, words: &[u64]) -> Zeroizing<[u64; SEAL_TAGS]> {
        let mut sums = Zeroizing::new([0u64; SEAL_TAGS]);
        for words in words.chunks(DRAWN) {
            self.drawn.fill(0);
            self.prg.apply(self.next, &mut self.drawn, false);
            self.next += DRAWN as u64;
            for (word, subsets) in words.iter().zip(self.drawn.iter()) {
                for (tag, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.wrapping_add(word & (subsets >> tag & 1).wrapping_neg());
                }
            }
        }
        sums
    }
}

/// Agrees on a seed among the parties, the first of which draws it. The dealer gets none.
///
/// # Errors
/// [`Abort::Missing`] for a party that is lost; [`Abort::Misbehaved`] for a seed of another length.
pub(super) async fn seed(
    party: &mut Party,
    parties: &[Seat],
    step_ms: u64,
) -> Result<Zeroizing<[u8; SEED_BYTES]>, Abort> {
    let first = *parties.first().ok_or_else(|| Abort::Local(Fault::new(Code::JobInternal, "nobody computes")))?;
    party.progress(session::SEAL);
    let until = party.now().plus(step_ms);
    if party.seat() != first {
        let bytes = Zeroizing::new(party.receive(first, session::SEAL, SEED_BYTES, until).await?);
        let malformed = |_| Blame::seat(first, Offence::Malformed).at(session::SEAL);
        return <[u8; SEED_BYTES]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(malformed);
    }
    let seed: Zeroizing<[u8; SEED_BYTES]> = Zeroizing::new(party.rng().bytes());
    let others: Vec<Seat> = parties.iter().copied().filter(|s| *s != first).collect();
    party.broadcast(&others, session::SEAL, &*seed, until).await?;
    Ok(seed)
}

/// Puts the key and the seal behind a party's summands of numbers. `first` is for the party that drew the seed.
pub(super) fn seal(words: &mut Zeroizing<Vec<u64>>, key: &[u64], seed: &[u8; SEED_BYTES], first: bool) {
    words.extend_from_slice(key);
    let sums = Subsets::new(seed).sums(words);
    words.extend(seed.as_chunks::<8>().0.iter().map(|b| if first { u64::from_le_bytes(*b) } else { 0 }));
    words.extend_from_slice(&*sums);
}

/// The numbers in the opened sum of a job in which so many parties compute.
///
/// # Errors
/// `receipt.invalid` when the sum is not one of so many numbers; `job.misbehaved` when a party, the dealer or who added
/// changed it.
pub(super) fn open(opened: OpenedVector, numbers: u64, parties: usize) -> Result<OpenedVector, Fault> {
    let misbehaved = || Fault::new(Code::JobMisbehaved, "the sum that was handed over does not fit its seal");
    let words: Result<Vec<u64>, _> = opened.cells.iter().map(|cell| u64::try_from(*cell)).collect();
    let words = words.ok().filter(|words| words.len() as u64 == cells(numbers));
    let parts = words.as_ref().and_then(|words| words.split_last_chunk::<{ SEED_WORDS + SEAL_TAGS }>());
    let parts = parts.and_then(|(sealed, seal)| Some((sealed, sealed.split_last_chunk::<HANDED_KEY_WORDS>()?, seal)));
    let Some((sealed, (values, key), seal)) = parts else {
        return Err(Fault::new(Code::ReceiptInvalid, "the opened result has another number of cells than the job"));
    };
    let (seed, tags) = seal.split_at(SEED_WORDS);
    let bytes: Vec<u8> = seed.iter().flat_map(|word| word.to_le_bytes()).collect();
    let seed = bytes.try_into().map_err(|_| misbehaved())?;
    if Subsets::new(&seed).sums(sealed)[..] != *tags {
        return Err(misbehaved());
    }
    let cells = open_handed(values, key, parties)?.into_iter().map(u128::from).collect();
    Ok(OpenedVector { cells, survivors: opened.survivors })
}
