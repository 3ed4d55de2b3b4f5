//! Products, truncation, bits and leaves on authenticated shares: the formulas of [`ops`](crate::ops), with everything
//! that is opened entered at the desk.

use zeroize::Zeroizing;

use super::auth::{Auth, AuthBits, Wide, add_product, add_product_left, sign};
use super::desk::{Desk, Item};
use super::maker::{Draw, Maker, spread_wide};
use crate::ops::bits::{bit, spread};
use crate::ops::trunc::{LOW, OFFSET, public_part};
use crate::ops::{Dims, Leaves};
use crate::value::{Words, bit_words};

pub(super) fn times(x: &[u128], y: &[u128]) -> Wide {
    Zeroizing::new(x.iter().zip(y).map(|(x, y)| x.wrapping_mul(*y)).collect())
}

pub(super) fn signs(m: &[u64], n: usize) -> impl Iterator<Item = u64> + '_ {
    (0..n).map(|i| sign(m, i))
}

/// An opened operand and its pad.
pub(crate) struct Veil {
    pub public: Vec<u64>,
    pub pad: Auth,
}

/// Opens shared numbers under a pad.
pub(crate) async fn veil(desk: &Desk, x: &Auth, pad: Auth) -> Veil {
    let [public] = desk.open([Item::Number(x.minus(&pad))]).await;
    Veil { public, pad }
}

/// Tells all parties what one knows, under its pad. What is told is its input, whatever it is.
pub(crate) async fn tell(desk: &Desk, owner: usize, words: Option<&[u64]>, pad: Auth) -> Veil {
    let count = pad.len();
    let hidden = words.map(|w| w.iter().zip(pad.value.iter()).map(|(w, p)| w.wrapping_sub(*p as u64)).collect());
    let [public] = desk.open([Item::Tell { from: owner, count, words: hidden }]).await;
    Veil { public, pad }
}

/// One party's bits, told under their pad.
pub(crate) struct VeilBits {
    pub public: Vec<u64>,
    pub pad: AuthBits,
    /// Who knows the pad.
    pub owner: usize,
}

/// Tells all parties bits that one knows, under their pad.
pub(crate) async fn tell_bits(desk: &Desk, owner: usize, words: Option<&[u64]>, pad: AuthBits) -> VeilBits {
    let hidden = words.map(|w| w.iter().zip(pad.words.iter()).map(|(w, p)| w ^ p).collect());
    let [public] = desk.open([Item::Tell { from: owner, count: bit_words(pad.bits), words: hidden }]).await;
    VeilBits { public, pad, owner }
}

/// The value of veiled bits.
pub(crate) fn unveiled_bits(desk: &Desk, veil: &VeilBits) -> AuthBits {
    let mut out = veil.pad.copy();
    out.xor_public(&desk.keys, &veil.public);
    out
}

/// The value of a veiled operand.
pub(crate) fn unveiled(desk: &Desk, veil: &Veil) -> Auth {
    let mut out = veil.pad.copy();
    out.add_public(&desk.keys, veil.public.iter().copied());
    out
}

/// The product of veiled matrices, from the dealt product of their pads: X W = E (F + V) + U F + U V.
pub(crate) fn matmul(desk: &Desk, x: &Veil, w: &Veil, dims: Dims, pads: Auth) -> Auth {
    let mut out = pads;
    let right = unveiled(desk, w);
    add_product(dims, &x.public, &right.value, &mut out.value);
    add_product(dims, &x.public, &right.mac, &mut out.mac);
    add_product_left(dims, &x.pad.value, &w.public, &mut out.value);
    add_product_left(dims, &x.pad.mac, &w.public, &mut out.mac);
    out
}

/// The product of pads in clear.
pub(crate) fn pad_product(dims: Dims, u: &[u128], v: &[u128]) -> Wide {
    let mut out = Zeroizing::new(vec![0u128; dims.m * dims.n]);
    let (k, n) = (dims.k.max(1), dims.n.max(1));
    for (row, out) in u.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        for (x, line) in row.iter().zip(v.chunks_exact(n)) {
            out.iter_mut().zip(line).for_each(|(o, y)| *o = o.wrapping_add(x.wrapping_mul(*y)));
        }
    }
    out
}

/// Two pads and their product.
pub(crate) struct Triple<M: Maker> {
    a: M::Num,
    b: M::Num,
    ab: M::Num,
}

impl<M: Maker> Triple<M> {
    pub fn make(m: &mut M, n: usize) -> Self {
        let (a, b) = (m.free(n), m.free(n));
        let ab = m.fixed(n, || times(M::clear(&a), M::clear(&b)));
        Self { a, b, ab }
    }
}

/// Products element by element. One round.
pub(crate) async fn multiply(desk: &Desk, x: &Auth, y: &Auth, t: Triple<Draw<'_>>) -> Auth {
    let [e, f] = desk.open([Item::Number(x.minus(&t.a)), Item::Number(y.minus(&t.b))]).await;
    let mut z = t.ab;
    z.add_times(e.iter().copied(), &t.b);
    z.add_times(f.iter().copied(), &t.a);
    z.add_public(&desk.keys, e.iter().zip(&f).map(|(e, f)| e.wrapping_mul(*f)));
    z
}

/// A pad, its lower 63 bits shifted right, and its top bit in place.
pub(crate) struct Truncation<M: Maker> {
    r: M::Num,
    shifted: M::Num,
    top: M::Num,
}

pub(super) fn shifted(r: &[u128], by: u8) -> Wide {
    Zeroizing::new(r.iter().map(|r| u128::from((*r as u64 & LOW) >> by)).collect())
}

pub(super) fn top(r: &[u128], by: u8) -> Wide {
    Zeroizing::new(r.iter().map(|r| u128::from((*r as u64 >> 63) << (63 - by))).collect())
}

impl<M: Maker> Truncation<M> {
    pub fn make(m: &mut M, n: usize, by: u8) -> Self {
        let r = m.free(n);
        let shifted = m.fixed(n, || shifted(M::clear(&r), by));
        let top = m.fixed(n, || top(M::clear(&r), by));
        Self { r, shifted, top }
    }
}

/// x / 2^by, rounded down or one unit higher. One round.
pub(crate) async fn truncate(desk: &Desk, x: &Auth, by: u8, t: Truncation<Draw<'_>>) -> Auth {
    let mut hidden = x.plus(&t.r);
    hidden.add_public(&desk.keys, core::iter::repeat(OFFSET));
    let [c] = desk.open([Item::Number(hidden)]).await;
    let parts: Vec<(u64, u64)> = c.iter().map(|c| public_part(*c, 64, by)).collect();
    let mut y = t.top.times(parts.iter().map(|p| p.1));
    y.subtract(&t.shifted);
    y.add_public(&desk.keys, parts.iter().map(|p| p.0));
    y
}

/// A random bit as a bit and as a number.
pub(crate) struct DoubleBits<M: Maker> {
    pub bits: M::Bits,
    pub ring: M::Num,
}

impl<M: Maker> DoubleBits<M> {
    pub fn make(m: &mut M, n: usize) -> Self {
        let bits = m.free_bits(n);
        let ring = m.fixed(n, || spread_wide(M::clear_bits(&bits), n));
        Self { bits, ring }
    }
}

/// Bits as 0 and 1. One round.
pub(crate) async fn to_ring(desk: &Desk, x: &AuthBits, d: DoubleBits<Draw<'_>>) -> Auth {
    let [m] = desk.open([Item::Bits(x.under(&d.bits))]).await;
    let mut out = d.ring.times(signs(&m, x.bits));
    out.add_public(&desk.keys, spread(&m, x.bits).iter().copied());
    out
}

/// A double bit, a pad, and their product.
pub(crate) struct Selection<M: Maker> {
    double: DoubleBits<M>,
    pad: M::Num,
    product: M::Num,
}

impl<M: Maker> Selection<M> {
    pub fn make(m: &mut M, n: usize) -> Self {
        let double = DoubleBits::make(m, n);
        let pad = m.free(n);
        let product = m.fixed(n, || times(M::clear(&double.ring), M::clear(&pad)));
        Self { double, pad, product }
    }
}

/// The number where the bit is set, else zero. One round.
pub(crate) async fn select(desk: &Desk, bits: &AuthBits, x: &Auth, s: Selection<Draw<'_>>) -> Auth {
    let n = x.len();
    let [m, e] = desk.open([Item::Bits(bits.under(&s.double.bits)), Item::Number(x.minus(&s.pad))]).await;
    let mut under = s.product;
    under.add_times(e.iter().copied(), &s.double.ring);
    let mut z = x.times(spread(&m, n).iter().copied());
    z.add_times(signs(&m, n), &under);
    z
}

fn larger_subsets(inputs: usize) -> impl Iterator<Item = usize> {
    (0..1usize << inputs).filter(|s| s.count_ones() >= 2)
}

/// Masks of each shared input, and the products of every two or more of theirs and of the owned inputs' pads.
pub(crate) struct Conjunction<M: Maker> {
    masks: Vec<Option<M::Bits>>,
    products: Vec<(usize, M::Bits)>,
}

/// Numbers 0 and 1 as packed bits.
fn gather(bits: &[u128]) -> Words {
    let mut out = Zeroizing::new(vec![0u64; bit_words(bits.len())]);
    for (i, b) in bits.iter().enumerate() {
        if let Some(word) = out.get_mut(i / 64) {
            *word |= (*b as u64 & 1) << (i % 64);
        }
    }
    out
}

impl<M: Maker> Conjunction<M> {
    /// `pad` gives the pad of an owned input, at the dealer.
    pub fn make(m: &mut M, n: usize, owners: &[Option<usize>], pad: &dyn Fn(usize) -> Wide) -> Self {
        let mut masks = Vec::with_capacity(owners.len());
        for owner in owners {
            masks.push(match owner {
                Some(_) => None,
                None => Some(m.free_bits(n)),
            });
        }
        let mut products = Vec::new();
        for s in larger_subsets(owners.len()) {
            let product = m.fixed_bits(n, || {
                let mut all: Words = Zeroizing::new(vec![u64::MAX; bit_words(n)]);
                for (i, mask) in masks.iter().enumerate().filter(|(i, _)| s >> i & 1 == 1) {
                    let own = if mask.is_none() { gather(&pad(i)) } else { Words::default() };
                    let words = mask.as_ref().map_or(&own[..], M::clear_bits);
                    all.iter_mut().zip(words).for_each(|(a, p)| *a &= p);
                }
                all
            });
            products.push((s, product));
        }
        Self { masks, products }
    }
}

/// One input of a conjunction: what a party told, or shared bits.
pub(crate) enum Conjunct<'a> {
    Told(&'a VeilBits),
    Shared(&'a AuthBits),
}

/// The conjunction of two to four bits. One round if some are shared, else none.
pub(crate) async fn and(desk: &Desk, n: usize, inputs: &[Conjunct<'_>], c: Conjunction<Draw<'_>>) -> AuthBits {
    let mut items = Vec::new();
    for (input, mask) in inputs.iter().zip(&c.masks) {
        if let (Conjunct::Shared(x), Some(mask)) = (input, mask) {
            items.push(Item::Bits(x.under(mask)));
        }
    }
    let answers = if items.is_empty() { Vec::new() } else { desk.open_all(items).await };
    conjunction(desk, n, inputs, &c, answers)
}

/// The conjunction from what was opened of its shared inputs.
pub(crate) fn conjunction(
    desk: &Desk,
    n: usize,
    inputs: &[Conjunct<'_>],
    c: &Conjunction<Draw<'_>>,
    answers: Vec<Vec<u64>>,
) -> AuthBits {
    let mut answers = answers.into_iter();
    let (mut opened, mut masks) = (Vec::new(), Vec::new());
    for (input, mask) in inputs.iter().zip(&c.masks) {
        match (input, mask) {
            (Conjunct::Told(told), _) => {
                opened.push(told.public.clone());
                masks.push(&told.pad);
            }
            (Conjunct::Shared(x), mask) => {
                opened.push(answers.next().unwrap_or_default());
                masks.push(mask.as_ref().unwrap_or(x));
            }
        }
    }
    let outside = |set: usize| -> Vec<u64> {
        let word = |w: usize| {
            let open = opened.iter().enumerate().filter(|(i, _)| set >> i & 1 == 0);
            open.fold(u64::MAX, |all, (_, m)| all & m.get(w).copied().unwrap_or(0))
        };
        (0..bit_words(n)).map(word).collect()
    };
    let mut out = AuthBits::zero(n);
    out.xor_public(&desk.keys, &outside(0));
    for (i, mask) in masks.iter().enumerate() {
        out.xor_where(&outside(1 << i), mask);
    }
    for (set, product) in &c.products {
        out.xor_where(&outside(*set), product);
    }
    out
}

/// The pad of one party's bits as numbers, and its products with the pad of another's numbers.
pub(crate) struct LeafPads<M: Maker> {
    ring: M::Num,
    products: M::Num,
}

impl<M: Maker> LeafPads<M> {
    /// `bits` and `numbers` give the pads of what the parties told, at the dealer.
    pub fn make(m: &mut M, at: Leaves, owner: usize, bits: &dyn Fn() -> Wide, numbers: &dyn Fn() -> Wide) -> Self {
        let n = at.rows * at.leaves;
        let ring = m.lift(owner, n, bits);
        let products = m.fixed(n, || times(&bits(), &numbers()));
        Self { ring, products }
    }
}

/// For each row the sum of one party's numbers where another's bits are set, from what both told. No round.
pub(crate) fn select_leaves(
    desk: &Desk,
    at: Leaves,
    bits: &VeilBits,
    numbers: &Veil,
    pads: LeafPads<Draw<'_>>,
) -> Auth {
    let n = at.rows * at.leaves;
    let (m, mut ring) = (&bits.public, pads.ring);
    if bits.owner == desk.lane.me() {
        ring.value = spread_wide(&bits.pad.words, n);
    }
    // (m + (1 - 2 m) rho) (d + v) = m (d + v) + (1 - 2 m)(d rho + rho v)
    let mut under = pads.products;
    under.add_times(numbers.public.iter().copied(), &ring);
    let mut out = unveiled(desk, numbers).times((0..n).map(|i| bit(m, i)));
    out.add_times(signs(m, n), &under);
    out.row_sums(at.leaves)
}

/// Double bits, and their products with a veiled vector's pad.
pub(crate) struct WeightPads<M: Maker> {
    double: DoubleBits<M>,
    products: M::Num,
}

impl<M: Maker> WeightPads<M> {
    pub fn make(m: &mut M, at: Leaves, v: impl FnOnce() -> Wide) -> Self {
        let n = at.rows * at.leaves;
        let double = DoubleBits::make(m, n);
        let products = m.fixed(n, || {
            let v = v();
            Zeroizing::new(
                M::clear(&double.ring).iter().zip(v.iter().cycle()).map(|(r, v)| r.wrapping_mul(*v)).collect(),
            )
        });
        Self { double, products }
    }
}

/// For each row the sum of a veiled vector's numbers where shared bits are set. One round.
pub(crate) async fn select_weights(
    desk: &Desk,
    at: Leaves,
    bits: &AuthBits,
    w: &Veil,
    pads: WeightPads<Draw<'_>>,
) -> Auth {
    let n = at.rows * at.leaves;
    let [m] = desk.open([Item::Bits(bits.under(&pads.double.bits))]).await;
    let mut under = pads.products;
    under.add_times(w.public.iter().copied().cycle(), &pads.double.ring);
    let mut out = under.times(signs(&m, n));
    let weights = unveiled(desk, w);
    let (value, mac) = (weights.value.iter().copied().cycle(), weights.mac.iter().copied().cycle());
    let all = Auth { value: Zeroizing::new(value.take(n).collect()), mac: Zeroizing::new(mac.take(n).collect()) };
    out.add_times((0..n).map(|i| bit(&m, i)), &all);
    out.row_sums(at.leaves)
}
