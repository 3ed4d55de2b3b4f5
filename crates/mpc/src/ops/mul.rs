//! Products: of elements, and of matrices of which one party or nobody knows an operand.

use zeroize::Zeroizing;

use crate::group::Group;
use crate::kernel;
use crate::pack::packed;
use crate::prep::{Dealing, Stock};
use crate::value::{Masked, Owned, Pad, Share, Words};
use crate::wire::{Ask, Lane};

/// A multiplication triple (Beaver, CRYPTO 1991): two pads and the share of their product, modulo 2^bits.
pub struct Triple {
    a: Pad,
    b: Pad,
    product: Share,
    bits: u8,
}

impl Triple {
    /// Bytes that are dealt for `n` products.
    pub const fn fixed_bytes(n: usize, bits: u8) -> usize {
        packed(n, bits)
    }

    /// Draws this party's part, for products of which `bits` bits are read.
    pub fn draw(stock: &mut Stock, n: usize, bits: u8) -> Self {
        Self { a: stock.pad(n), b: stock.pad(n), product: Share(stock.fixed_packed(n, bits)), bits }
    }

    /// Deals what [`Triple::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, bits: u8) {
        let (a, mut b) = (dealing.free(n), dealing.free(n));
        b.iter_mut().zip(a.iter()).for_each(|(b, a)| *b = b.wrapping_mul(*a));
        dealing.fix_packed(b, bits);
    }
}

/// Products element by element, modulo 2^bits of the triple. One round; each party sends twice the bits an element to
/// each other; the bits of an element are dealt.
pub async fn multiply(lane: &Lane, x: &Share, y: &Share, triple: Triple) -> Share {
    let (e, a) = x.blind(triple.a);
    let (f, b) = y.blind(triple.b);
    let [e, f] = lane.round([lane.open(e, triple.bits), lane.open(f, triple.bits)]).await;
    let mut z = triple.product;
    let lead = u64::from(lane.leads());
    for (i, z) in z.0.iter_mut().enumerate() {
        let (e, f) = (e.0[i], f.0[i]); // proof: the answers have the asked lengths, as the shares have.
        let both = e.wrapping_mul(f).wrapping_mul(lead);
        *z = z.wrapping_add(e.wrapping_mul(b.0[i])).wrapping_add(a.0[i].wrapping_mul(f)).wrapping_add(both);
    }
    z
}

/// Rows, inner length and columns of a matrix product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dims {
    /// Rows of the left operand.
    pub m: usize,
    /// Columns of the left and rows of the right operand.
    pub k: usize,
    /// Columns of the right operand.
    pub n: usize,
}

fn product(dims: Dims, a: &[u64], b: &[u64], out: &mut [u64]) {
    let Dims { m, k, n } = dims;
    if n == 1 { kernel::gemv(m, k, a, b, out) } else { kernel::gemm(m, k, n, a, b, out) }
}

/// Opens an owner's operand modulo 2^bits under its own pad to the parties that take part in its products, so many bits
/// an element to each; nothing is dealt. One round, once for any number of products.
pub async fn mask_owned(lane: &Lane, x: &Owned, count: usize, bits: u8, pad: Option<Pad>, to: Group) -> Masked {
    let (ask, pad, clear) = tell_masked(lane, x, (count, bits), pad, to);
    let [difference] = lane.round([ask]).await;
    Masked { difference: difference.0, pad, clear }
}

fn tell_masked(
    lane: &Lane,
    x: &Owned,
    (count, bits): (usize, u8),
    pad: Option<Pad>,
    to: Group,
) -> (Ask, Share, Option<Words>) {
    let (blinded, pad, clear) = match (&x.words, pad) {
        (Some(words), Some(pad)) => {
            let (blinded, pad) = x.share(count).blind(pad);
            (Some(blinded), pad, Some(Zeroizing::new(words.to_vec())))
        }
        _ => (None, Share::new(Vec::new()), None),
    };
    (lane.tell(x.owner, to.with(x.owner), count, bits, blinded), pad, clear)
}

/// Opens a shared operand modulo 2^bits under a pad to every party. One round, so many bits an element to each.
pub async fn mask_share(lane: &Lane, x: &Share, bits: u8, pad: Pad) -> Masked {
    let (blinded, pad) = x.blind(pad);
    let [difference] = lane.round([lane.open(blinded, bits)]).await;
    Masked { difference: difference.0, pad, clear: None }
}

/// Which of two masked operands has an owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sides {
    /// Both, and not the same one.
    BothOwned,
    /// The left one.
    LeftOwned,
    /// The right one.
    RightOwned,
    /// Neither.
    Shared,
}

/// The product of two masked matrices, from the dealt share of the product of their pads (`m * n` words).
/// No round, no bytes: the operands were opened before. With E = X - U and F = W - V, X W = E W + U F + U V.
pub fn matmul(lane: &Lane, x: &Masked, w: &Masked, sides: Sides, dims: Dims, pads: Share) -> Share {
    let mut z = pads;
    let (e, f) = (&x.difference[..], &w.difference[..]);
    match sides {
        Sides::BothOwned => {
            if let Some(clear) = &x.clear {
                product(dims, clear, f, &mut z.0); // X F = E F + U F
            } else if w.clear.is_some() {
                product(dims, e, &w.pad.0, &mut z.0);
            }
        }
        Sides::LeftOwned => {
            if let Some(clear) = &x.clear {
                product(dims, clear, f, &mut z.0);
            }
            product(dims, e, &w.pad.0, &mut z.0);
        }
        Sides::RightOwned => {
            product(dims, &x.pad.0, f, &mut z.0);
            if let Some(clear) = &w.clear {
                product(dims, e, clear, &mut z.0); // E W = E F + E V
            }
        }
        Sides::Shared => {
            product(dims, &x.pad.0, f, &mut z.0);
            let lead = u64::from(lane.leads());
            let side: Words =
                Zeroizing::new(w.pad.0.iter().zip(f).map(|(v, f)| v.wrapping_add(f.wrapping_mul(lead))).collect());
            product(dims, e, &side, &mut z.0);
        }
    }
    z
}

/// Deals the product of two pads modulo 2^bits.
pub fn deal_matmul(dealing: &mut Dealing<'_>, u: &[u64], v: &[u64], dims: Dims, bits: u8) {
    let mut out = Zeroizing::new(vec![0u64; dims.m * dims.n]);
    product(dims, u, v, &mut out);
    dealing.fix_packed(out, bits);
}

/// A matrix of this party's words times public words, or of public words times its own.
pub(crate) fn local_product(dims: Dims, a: &[u64], b: &[u64]) -> Words {
    let mut out = Zeroizing::new(vec![0u64; dims.m * dims.n]);
    product(dims, a, b, &mut out);
    out
}
