//! Where everything that is opened in a tile passes, and is checked: a batched check of codes (SPDZ2k, figure 7) with
//! coins that are tossed once all openings of the batch are made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tacit_crypto::{Prg, Rng, Secret, Transcript};
use tacit_protocol::{Abort, Disclosure};
use tacit_types::{Code, Fault, Hash};
use zeroize::Zeroizing;

use super::auth::{Auth, AuthBits, Keys, Wide};
use crate::group::Group;
use crate::kernel::gf_dot;
use crate::value::{Words, bit_words};
use crate::wire::{Ask, Flow, Lane};

/// Words of a hash or seed.
const HASH_WORDS: usize = 4;
/// Words that each party says of what it saw: the upper half of the sum, the sum, what was told, the bits.
const VIEW_WORDS: usize = 1 + 2 + 2 + 1;
/// Words of an opened check: the number's, the bits', a nonce.
const PROOF_WORDS: usize = 2 + 1 + HASH_WORDS;
/// The words of each round of a check, after those of the commitment to its coins.
pub(crate) const CHECK_WORDS: [usize; 4] = [HASH_WORDS, VIEW_WORDS, HASH_WORDS, PROOF_WORDS];
/// Checks of a tile: of all that its outputs depend on, and of the openings of the outputs.
pub(crate) const CHECKS: usize = 2;
/// Words of the commitment to the coins of one check.
pub(crate) const COMMIT_WORDS: usize = HASH_WORDS;

/// This party's secrets of one check: its coins, and what hides its proof.
pub(crate) struct Coins {
    seed: Secret<[u8; 32]>,
    nonce: Secret<[u8; 32]>,
}

impl Coins {
    pub fn toss(rng: &mut Rng) -> Self {
        Self { seed: rng.seed(), nonce: rng.seed() }
    }
}

/// That everything opened so far was checked: what lets outputs out. Nothing but [`Desk::check`] makes one.
#[derive(Clone, Copy)]
pub(crate) struct Checked(());

/// One vector on its way.
pub(crate) enum Item {
    /// Numbers that everyone learns modulo 2^64.
    Number(Auth),
    /// Bits that everyone learns.
    Bits(AuthBits),
    /// Words of one party; nothing elsewhere.
    Tell { from: usize, count: usize, words: Option<Vec<u64>> },
    /// Numbers or bits that may leave under a disclosure alone, and after a check.
    Output(Box<Item>, (Disclosure, u64), Checked),
}

/// Openings that no check has covered yet.
#[derive(Default)]
struct Ledger {
    /// Opened numbers: the sums, what this party adds to their upper halves, and its codes.
    sums: Vec<u64>,
    upper: Words,
    macs: Wide,
    /// Opened bits and codes, lane by lane.
    bits: Words,
    codes: Words,
    /// What parties told all others.
    told: Vec<u64>,
    /// Whether bits came past the end of a vector, where no honest party has any.
    excess: bool,
}

/// One tile's desk.
#[derive(Clone)]
pub(crate) struct Desk {
    pub lane: Lane,
    pub keys: Arc<Keys>,
    /// The terms, and the tile.
    scope: (Hash, u32),
    ledger: Arc<Mutex<Ledger>>,
}

/// What an opening needs to be entered once it is answered.
enum Pending {
    Number { upper: Words, mac: Wide },
    Bits(AuthBits),
    Told,
}

fn deviated(what: &str) -> Abort {
    let what = format!("{what}: a party or the dealer deviated; nothing that depends on it was opened");
    Abort::Local(Fault::new(Code::JobMisbehaved, what))
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|c| u64::from_le_bytes(*c)).collect()
}

fn wide(words: &[u64], at: usize) -> u128 {
    let word = |i: usize| u128::from(words.get(at + i).copied().unwrap_or(0));
    word(0) | word(1) << 64
}

impl Desk {
    pub fn new(lane: Lane, keys: Arc<Keys>, agreed: Hash, tile: u32) -> Self {
        Self { lane, keys, scope: (agreed, tile), ledger: Arc::default() }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens vectors to everyone in one round, and enters them for the next check.
    pub async fn open<const N: usize>(&self, items: [Item; N]) -> [Vec<u64>; N] {
        let mut answers = self.open_all(items.into()).await.into_iter();
        core::array::from_fn(|_| answers.next().unwrap_or_default())
    }

    /// As [`Desk::open`], for as many as the plan decides.
    pub async fn open_all(&self, items: Vec<Item>) -> Vec<Vec<u64>> {
        let (mut asks, mut pending) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for item in items {
            #[cfg(test)]
            let item = tamper::item(self.lane.me(), item);
            let (item, grant) = match item {
                Item::Output(item, grant, Checked(())) => (*item, Some(grant)),
                item => (item, None),
            };
            let (mut ask, wait) = self.ask(item);
            ask.grant = grant;
            asks.push(ask);
            pending.push(wait);
        }
        let answers = self.lane.answers_to(asks).await;
        let mut ledger = self.ledger();
        let mut out = Vec::with_capacity(answers.len());
        for (answer, pending) in answers.into_iter().zip(pending) {
            match pending {
                Pending::Number { mut upper, mac } => {
                    if self.keys.lead {
                        // What the sums lost at their top belongs to the upper half: one party adds it.
                        upper.iter_mut().zip(&answer.carry).for_each(|(u, c)| *u = u.wrapping_add((*c).into()));
                    }
                    ledger.sums.extend_from_slice(&answer.words);
                    ledger.upper.extend_from_slice(&upper);
                    ledger.macs.extend_from_slice(&mac);
                }
                Pending::Bits(share) => {
                    let last = answer.words.last().copied().unwrap_or(0);
                    ledger.excess |= !share.bits.is_multiple_of(64) && last >> (share.bits % 64) != 0;
                    ledger.bits.extend_from_slice(&crate::ops::bits::spread(&answer.words, share.bits));
                    ledger.codes.extend_from_slice(&share.codes);
                }
                Pending::Told => ledger.told.extend_from_slice(&answer.words),
            }
            out.push(answer.words);
        }
        out
    }

    fn ask(&self, item: Item) -> (Ask, Pending) {
        let all = self.lane.all();
        let flow = |from: Group, count: usize| Flow { from, to: all, count: count as u64, bits: 64 };
        match item {
            Item::Number(x) => {
                let words: Vec<u64> = x.value.iter().map(|v| *v as u64).collect();
                let upper: Words = Zeroizing::new(x.value.iter().map(|v| (*v >> 64) as u64).collect());
                let ask = Ask { flow: flow(all, words.len()), xor: false, words, grant: None, carry: true };
                (ask, Pending::Number { upper, mac: x.mac })
            }
            Item::Bits(x) => {
                let flow = flow(all, bit_words(x.bits));
                let ask = Ask { flow, xor: true, words: x.words.to_vec(), grant: None, carry: false };
                (ask, Pending::Bits(x))
            }
            Item::Tell { from, count, words } => {
                let words = words.unwrap_or_default();
                let flow = flow(Group::one(from), count);
                (Ask { flow, xor: false, words, grant: None, carry: false }, Pending::Told)
            }
            // An output within an output is one: the outer grant stands.
            Item::Output(inner, ..) => self.ask(*inner),
        }
    }

    /// Words of each party to every other, unsummed and unchecked.
    async fn say(&self, words: &[u64]) -> Vec<Vec<u64>> {
        let all = self.lane.all();
        let ask = |from: usize| {
            let flow = Flow { from: Group::one(from), to: all, count: words.len() as u64, bits: 64 };
            let words = if from == self.lane.me() { words.to_vec() } else { Vec::new() };
            Ask { flow, xor: false, words, grant: None, carry: false }
        };
        let answers = self.lane.answers_to((0..self.lane.parties()).map(ask).collect()).await;
        answers.into_iter().map(|a| a.words).collect()
    }

    fn commitment(&self, label: &str, check: usize, party: usize, secret: &[u64], nonce: &[u64]) -> Vec<u64> {
        let bytes = |words: &[u64]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let hash = Transcript::new(label)
            .fixed(&self.scope.0.0)
            .u64(self.scope.1.into())
            .u64(check as u64)
            .u64(party as u64)
            .bytes(&bytes(secret))
            .bytes(&bytes(nonce))
            .finish();
        words_of(&hash.0)
    }

    /// The round before anything is opened: each party commits to its coins of each check.
    pub async fn commit(&self, coins: &[Coins]) -> Vec<Vec<u64>> {
        let one =
            |(i, c): (usize, &Coins)| self.commitment(COINS, i, self.lane.me(), &words_of(c.seed.expose_secret()), &[]);
        let words: Vec<u64> = coins.iter().enumerate().flat_map(one).collect();
        self.say(&words).await
    }

    /// Checks all that was opened since the last check, in four rounds: coins, what each saw under them and a masked sum of
    /// the upper halves, a commitment to the sum of the codes' differences, and that sum, which must be zero.
    pub async fn check(&self, check: usize, coins: Coins, commits: &[Vec<u64>], mask: Auth) -> Result<Checked, Abort> {
        let me = self.lane.me();
        let seeds = self.say(&words_of(coins.seed.expose_secret())).await;
        let mut joint = Transcript::new("tacit-mpc/1/toss").fixed(&self.scope.0.0).u64(self.scope.1.into());
        for (party, seed) in seeds.iter().enumerate() {
            let said = commits.get(party).and_then(|c| c.get(check * HASH_WORDS..(check + 1) * HASH_WORDS));
            if said != Some(&self.commitment(COINS, check, party, seed, &[])[..]) {
                return Err(deviated("coins that were not committed to"));
            }
            joint = joint.bytes(&seed.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>());
        }
        let ledger = core::mem::take(&mut *self.ledger());
        if ledger.excess {
            return Err(deviated("bits past the end of what was opened"));
        }
        let sums = Sums::of(&ledger, &joint.finish());
        drop(ledger);
        let hidden = mask.value.first().map_or(0, |r| *r as u64).wrapping_add(sums.upper);
        let view = |upper: u64| {
            [
                upper,
                sums.opened as u64,
                (sums.opened >> 64) as u64,
                sums.told as u64,
                (sums.told >> 64) as u64,
                sums.bits,
            ]
        };
        #[cfg(test)]
        let hidden = tamper::word(me, hidden);
        let views = self.say(&view(hidden)).await;
        if views.iter().any(|v| v.get(1..) != Some(&view(0)[1..])) {
            return Err(deviated("parties saw different openings"));
        }
        let upper = views.iter().filter_map(|v| v.first()).fold(0u64, |s, u| s.wrapping_add(*u));
        let whole = sums.opened.wrapping_add(u128::from(upper) << 64);
        let mac = sums.mac.wrapping_add(mask.mac.first().copied().unwrap_or(0) << 64);
        let number = mac.wrapping_sub(whole.wrapping_mul((*self.keys.alpha).into()));
        let bits = sums.code ^ gf_dot(&[sums.bits], &[*self.keys.delta]);
        let proof = [number as u64, (number >> 64) as u64, bits];
        #[cfg(test)]
        let proof = proof.map(|word| tamper::word(me, word));
        let nonce = words_of(coins.nonce.expose_secret());
        let promised = self.say(&self.commitment(PROOF, check, me, &proof, &nonce)).await;
        let proofs = self.say(&[&proof[..], &nonce].concat()).await;
        let (mut sum, mut joined) = (0u128, 0u64);
        for (party, (proof, promise)) in proofs.iter().zip(&promised).enumerate() {
            let (proof, nonce) = proof.split_at_checked(PROOF_WORDS - HASH_WORDS).unwrap_or_default();
            if *promise != self.commitment(PROOF, check, party, proof, nonce) {
                return Err(deviated("a proof that was not committed to"));
            }
            sum = sum.wrapping_add(wide(proof, 0));
            joined ^= proof.get(2).copied().unwrap_or(1);
        }
        if sum == 0 && joined == 0 {
            Ok(Checked(()))
        } else {
            Err(deviated("the codes of what was opened do not fit it"))
        }
    }
}

const COINS: &str = "tacit-mpc/1/coins";
const PROOF: &str = "tacit-mpc/1/proof";

/// Words of coins that are expanded at a time.
const COINS_AT_ONCE: usize = 4096;

/// One vector's public random factors.
struct Factors {
    prg: Prg,
    at: u64,
}

impl Factors {
    fn new(seed: &Hash, label: &str) -> Self {
        let hash = Transcript::new(label).fixed(&seed.0).finish();
        let mut key = [0u8; 40];
        if let Some(head) = key.first_chunk_mut::<32>() {
            *head = hash.0;
        }
        Self { prg: Prg::new(&Secret::new(key)), at: 0 }
    }

    /// Factors for so many elements, piece by piece.
    fn each(&mut self, count: usize, mut take: impl FnMut(core::ops::Range<usize>, &[u64])) {
        let mut piece = vec![0u64; COINS_AT_ONCE.min(count)];
        for from in (0..count).step_by(COINS_AT_ONCE) {
            let here = (count - from).min(COINS_AT_ONCE);
            let piece = &mut piece[..here]; // proof: a piece is as long as the longest.
            piece.fill(0);
            self.prg.apply(self.at, piece, false);
            self.at += here as u64;
            take(from..from + here, piece);
        }
    }
}

/// Random combinations of a batch.
struct Sums {
    opened: u128,
    upper: u64,
    mac: u128,
    bits: u64,
    code: u64,
    told: u128,
}

fn combine(factors: &[u64], words: &[u64]) -> u128 {
    factors.iter().zip(words).fold(0, |s: u128, (f, w)| s.wrapping_add(u128::from(*f) * u128::from(*w)))
}

impl Sums {
    fn of(ledger: &Ledger, seed: &Hash) -> Self {
        let mut out = Self { opened: 0, upper: 0, mac: 0, bits: 0, code: 0, told: 0 };
        // proof: the three vectors of numbers have one length, as the two of bits have.
        Factors::new(seed, "tacit-mpc/1/factors/numbers").each(ledger.sums.len(), |at, factors| {
            out.opened = out.opened.wrapping_add(combine(factors, &ledger.sums[at.clone()]));
            let upper = factors.iter().zip(&ledger.upper[at.clone()]);
            out.upper = upper.fold(out.upper, |s, (f, u)| s.wrapping_add(f.wrapping_mul(*u)));
            let macs = factors.iter().zip(&ledger.macs[at]);
            out.mac = macs.fold(out.mac, |s, (f, m)| s.wrapping_add(m.wrapping_mul((*f).into())));
        });
        Factors::new(seed, "tacit-mpc/1/factors/bits").each(ledger.bits.len(), |at, factors| {
            let chosen = factors.iter().zip(&ledger.bits[at.clone()]);
            out.bits = chosen.fold(out.bits, |s, (f, b)| s ^ (f & b.wrapping_neg()));
            out.code ^= gf_dot(factors, &ledger.codes[at]);
        });
        Factors::new(seed, "tacit-mpc/1/factors/told").each(ledger.told.len(), |at, factors| {
            out.told = out.told.wrapping_add(combine(factors, &ledger.told[at]));
        });
        out
    }
}

/// A seat that adds to what it opens, and believes itself.
#[cfg(test)]
pub(crate) mod tamper {
    use core::cell::Cell;

    use super::Item;

    thread_local! {
        /// Which seat, which of the things that it opens, which bit, and how many there were.
        static CHEAT: Cell<(usize, usize, u32, usize)> = const { Cell::new((usize::MAX, 0, 0, 0)) };
    }

    /// From now on a seat cheats once; nobody for a seat that there is not. Gives how many chances the last one had.
    pub fn arm(seat: usize, nth: usize, bit: u32) -> usize {
        CHEAT.replace((seat, nth, bit, 0)).3
    }

    fn turn(me: usize) -> Option<u32> {
        let (seat, nth, bit, seen) = CHEAT.get();
        if me != seat {
            return None;
        }
        CHEAT.set((seat, nth, bit, seen + 1));
        (seen == nth).then_some(bit)
    }

    pub fn word(me: usize, word: u64) -> u64 {
        // why: the top of an upper half is beyond what the codes hold, and beyond what anything depends on.
        turn(me).map_or(word, |bit| word.wrapping_add(1 << (bit % 32)))
    }

    pub fn item(me: usize, item: Item) -> Item {
        match item {
            Item::Output(inner, grant, checked) => {
                Item::Output(Box::new(super::tamper::item(me, *inner)), grant, checked)
            }
            Item::Number(mut x) => {
                if let (Some(bit), Some(value)) = (turn(me), x.value.last_mut()) {
                    *value = value.wrapping_add(1 << bit);
                }
                Item::Number(x)
            }
            Item::Bits(mut x) => {
                if let (Some(bit), Some(word)) = (turn(me), x.words.first_mut()) {
                    *word ^= 1 << (bit as usize % x.bits);
                }
                Item::Bits(x)
            }
            told => told,
        }
    }
}
