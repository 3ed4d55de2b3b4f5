//! The comparison tree on bit-planes: is the lower part of a dealt random r above a public c?
//!
//! Planes are words in which lane i is bit `i % 64` of word `i / 64`, one plane after another. The 63 lower
//! bits are cut into 16 blocks of four. In a block "greater" and "equal" are linear in the products of r's
//! bits, which are dealt. Blocks are joined four at a time, (g, e) = (g3 + e3 g2 + e3 e2 g1 + e3 e2 e1 g0,
//! e3 e2 e1 e0), by opening seven masked bits and using dealt products of the masks: two levels for 16 blocks.

/// Planes of products of r's bits that are dealt: eleven a block, four in the last of three bits.
pub(crate) const MONOMIALS: usize = 15 * 11 + 4;
/// Products of masks that are dealt for a full node, and for one whose "equal" nobody needs.
const PRODUCTS: usize = 22;
const PRODUCTS_ABOVE: usize = 15;
/// Masked planes of a full node, and of one whose "equal" nobody needs.
const INPUTS: usize = 7;
const INPUTS_ABOVE: usize = 6;
/// Planes opened at the lower and the upper level.
pub(crate) const LOWER: usize = INPUTS_ABOVE + 3 * INPUTS;
pub(crate) const UPPER: usize = INPUTS_ABOVE;
/// Planes of mask products of one tree: the lowest node, three full ones, the root.
pub(crate) const TREE_PRODUCTS: usize = PRODUCTS_ABOVE + 3 * PRODUCTS + PRODUCTS_ABOVE;

// A node's variables. The last is needed for "equal" alone, so a node without that has six inputs.
const E3: usize = 0;
const E2: usize = 1;
const E1: usize = 2;
const G2: usize = 3;
const G1: usize = 4;
const G0: usize = 5;
const E0: usize = 6;
/// The terms of "greater", then the one of "equal".
const TERMS: [&[usize]; 4] = [&[E3, G2], &[E3, E2, G1], &[E3, E2, E1, G0], &[E3, E2, E1, E0]];

/// The place of each product of two or more variables in the dealt list, by set of variables, and the list.
const fn index_products() -> ([u8; 128], [u8; PRODUCTS]) {
    let (mut place, mut list, mut count) = ([u8::MAX; 128], [0u8; PRODUCTS], 0);
    let mut t = 0;
    while t < TERMS.len() {
        let term = TERMS[t];
        let mut subset = 1usize;
        while subset < 1 << term.len() {
            let (mut set, mut i) = (0usize, 0);
            while i < term.len() {
                if subset >> i & 1 == 1 {
                    set |= 1 << term[i];
                }
                i += 1;
            }
            if set.count_ones() >= 2 && place[set] == u8::MAX {
                place[set] = count as u8;
                list[count] = set as u8;
                count += 1;
            }
            subset += 1;
        }
        t += 1;
    }
    assert!(count == PRODUCTS && place[1 << E3 | 1 << E2 | 1 << E1 | 1 << E0] as usize == PRODUCTS - 1);
    (place, list)
}

const INDEX: ([u8; 128], [u8; PRODUCTS]) = index_products();
/// The place of a product of bits within its block, by subset of the four bits.
const MONOMIAL: [usize; 16] = [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 10];

/// The products of two or more masks of a node, in the order in which they are dealt.
pub(crate) fn mask_products(masks: &[&[u64]], words: usize, out: &mut Vec<u64>) {
    let count = if masks.len() == INPUTS { PRODUCTS } else { PRODUCTS_ABOVE };
    for set in &INDEX.1[..count] {
        // proof: without the last variable only the first fifteen products are formed.
        let members = masks.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1);
        let mut product = vec![u64::MAX; words];
        members.for_each(|(_, m)| product.iter_mut().zip(*m).for_each(|(p, m)| *p &= m));
        out.append(&mut product);
    }
}

/// The products of two or more of a block's bits, in the order in which they are dealt.
pub(crate) fn bit_products(planes: &[u64], words: usize, out: &mut Vec<u64>) {
    for block in 0..16usize {
        for set in 3..16usize {
            if set.count_ones() < 2 || (block == 15 && set >= 8) {
                continue;
            }
            let mut product = vec![u64::MAX; words];
            for bit in (0..4).filter(|b| set >> b & 1 == 1) {
                let plane = &planes[(4 * block + bit) * words..][..words]; // proof: 64 planes of `words` words.
                product.iter_mut().zip(plane).for_each(|(p, b)| *p &= b);
            }
            out.append(&mut product);
        }
    }
}

/// The planes of one node as their inputs: how many inputs each of the five nodes has.
pub(crate) const NODES: [usize; 5] = [INPUTS_ABOVE, INPUTS, INPUTS, INPUTS, INPUTS_ABOVE];

type V<const W: usize> = [u64; W];

fn load<const W: usize>(planes: &[u64], words: usize, plane: usize, at: usize) -> V<W> {
    let from = plane * words + at;
    planes.get(from..from + W).and_then(|p| p.try_into().ok()).unwrap_or([0; W])
}

fn store<const W: usize>(planes: &mut [u64], words: usize, plane: usize, at: usize, value: &V<W>) {
    let from = plane * words + at;
    if let Some(place) = planes.get_mut(from..from + W) {
        place.copy_from_slice(value);
    }
}

fn xor<const W: usize>(a: &V<W>, b: &V<W>) -> V<W> {
    core::array::from_fn(|i| a[i] ^ b[i])
}

fn and<const W: usize>(a: &V<W>, b: &V<W>) -> V<W> {
    core::array::from_fn(|i| a[i] & b[i])
}

fn not<const W: usize>(a: &V<W>) -> V<W> {
    core::array::from_fn(|i| !a[i])
}

/// Greater and equal of each block, for the lanes of W words from `at`.
fn blocks<const W: usize>(
    lead: bool,
    r: &[u64],
    monomials: &[u64],
    c: &[u64],
    words: usize,
    at: usize,
) -> ([V<W>; 16], [V<W>; 16]) {
    let (mut greater, mut equal) = ([[0; W]; 16], [[0; W]; 16]);
    for block in 0..16 {
        let width = if block == 15 { 3 } else { 4 };
        // The complement of c; a bit that is not there is zero on both sides.
        let nc: [V<W>; 4] =
            core::array::from_fn(|k| if k < width { not(&load(c, words, 4 * block + k, at)) } else { [u64::MAX; W] });
        let mut products = [[u64::MAX; W]; 16];
        for set in 1..16usize {
            products[set] = and(&products[set & (set - 1)], &nc[set.trailing_zeros() as usize]);
        }
        let share = |set: usize| -> V<W> {
            if block == 15 && set >= 8 {
                [0; W]
            } else if set.is_power_of_two() {
                load(r, words, 4 * block + set.trailing_zeros() as usize, at)
            } else {
                load(monomials, words, 11 * block + MONOMIAL[set], at)
            }
        };
        let shares: [V<W>; 16] = core::array::from_fn(|set| if set == 0 { [0; W] } else { share(set) });
        let mut eq = if lead { products[15] } else { [0; W] };
        for set in 1..16 {
            eq = xor(&eq, &and(&products[15 ^ set], &shares[set]));
        }
        let mut gt = [0; W];
        for k in 0..4 {
            // r has a one and c a zero at k, and above they agree.
            let above = 15 & !((2 << k) - 1);
            let mut sum = [0; W];
            for subset in (0..16).filter(|s| s & !above == 0) {
                sum = xor(&sum, &and(&products[above ^ subset], &shares[subset | 1 << k]));
            }
            gt = xor(&gt, &and(&sum, &nc[k]));
        }
        greater[block] = gt;
        equal[block] = eq;
    }
    (greater, equal)
}

fn inputs<const W: usize>(g: &[V<W>], e: &[V<W>]) -> [V<W>; INPUTS] {
    [e[3], e[2], e[1], g[2], g[1], g[0], e[0]]
}

/// A product of a node's variables from their opened differences, the masks' shares and their products'.
fn term<const W: usize>(
    lead: bool,
    term: &[usize],
    opened: &[V<W>; INPUTS],
    masks: &[V<W>; INPUTS],
    products: &[V<W>; PRODUCTS],
) -> V<W> {
    let full = (1usize << term.len()) - 1;
    let mut public = [[u64::MAX; W]; 16];
    for set in 1..=full {
        public[set] = and(&public[set & (set - 1)], &opened[term[set.trailing_zeros() as usize]]);
    }
    let mut out = if lead { public[full] } else { [0; W] };
    for set in 1..=full {
        let share = if set.is_power_of_two() {
            &masks[term[set.trailing_zeros() as usize]]
        } else {
            let variables = term.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).fold(0, |v, (_, t)| v | 1 << t);
            &products[usize::from(INDEX.0[variables])]
        };
        out = xor(&out, &and(&public[full ^ set], share));
    }
    out
}

/// One tree's dealt planes: masks of the node inputs, products of the masks.
pub(crate) struct Planes<'a> {
    pub words: usize,
    pub lead: bool,
    pub lower_masks: &'a [u64],
    pub upper_masks: &'a [u64],
    pub products: &'a [u64],
}

/// What a tree keeps between its rounds: "greater" of the highest input of each of the five nodes.
pub(crate) struct Kept(Vec<u64>);

impl Planes<'_> {
    fn node<const W: usize>(
        &self,
        node: usize,
        opened: &[u64],
        masks: &[u64],
        first: usize,
        at: usize,
    ) -> (V<W>, V<W>, V<W>, V<W>) {
        let plane = |planes: &[u64], i: usize| {
            if i < NODES[node] { load(planes, self.words, first + i, at) } else { [0; W] }
        };
        let opened: [V<W>; INPUTS] = core::array::from_fn(|i| plane(opened, i));
        let masks: [V<W>; INPUTS] = core::array::from_fn(|i| plane(masks, i));
        let (from, count) = product_range(node);
        let products: [V<W>; PRODUCTS] =
            core::array::from_fn(|i| if i < count { load(self.products, self.words, from + i, at) } else { [0; W] });
        let t = |i: usize| term(self.lead, TERMS[i], &opened, &masks, &products);
        (t(0), t(1), t(2), if NODES[node] == INPUTS { t(3) } else { [0; W] })
    }

    fn lower_at<const W: usize>(
        &self,
        r: &[u64],
        monomials: &[u64],
        c: &[u64],
        out: &mut [u64],
        kept: &mut Kept,
        at: usize,
    ) {
        let (g, e) = blocks::<W>(self.lead, r, monomials, c, self.words, at);
        let mut plane = 0;
        for (node, count) in NODES[..4].iter().enumerate() {
            for v in &inputs(&g[4 * node..4 * node + 4], &e[4 * node..4 * node + 4])[..*count] {
                store(out, self.words, plane, at, v);
                plane += 1;
            }
            store(&mut kept.0, self.words, node, at, &g[4 * node + 3]);
        }
    }

    /// The first level: this party's summands of the planes to open, not yet masked.
    pub fn lower(&self, r: &[u64], monomials: &[u64], c: &[u64]) -> (Vec<u64>, Kept) {
        let (mut out, mut kept) = (vec![0; LOWER * self.words], Kept(vec![0; 5 * self.words]));
        each_block(self.words, |at, wide| {
            if wide {
                self.lower_at::<8>(r, monomials, c, &mut out, &mut kept, at);
            } else {
                self.lower_at::<1>(r, monomials, c, &mut out, &mut kept, at);
            }
        });
        (out, kept)
    }

    fn upper_at<const W: usize>(&self, opened: &[u64], kept: &mut Kept, out: &mut [u64], at: usize) {
        let (mut g, mut e) = ([[0; W]; 4], [[0; W]; 4]);
        let mut first = 0;
        for node in 0..4 {
            let (a, b, c, eq) = self.node::<W>(node, opened, self.lower_masks, first, at);
            g[node] = xor(&xor(&load(&kept.0, self.words, node, at), &a), &xor(&b, &c));
            e[node] = eq;
            first += NODES[node];
        }
        for (plane, v) in inputs(&g, &e)[..INPUTS_ABOVE].iter().enumerate() {
            store(out, self.words, plane, at, v);
        }
        store(&mut kept.0, self.words, 4, at, &g[3]);
    }

    /// The second level, from the opened planes of the first.
    pub fn upper(&self, opened: &[u64], kept: &mut Kept) -> Vec<u64> {
        let mut out = vec![0; UPPER * self.words];
        each_block(self.words, |at, wide| {
            if wide {
                self.upper_at::<8>(opened, kept, &mut out, at);
            } else {
                self.upper_at::<1>(opened, kept, &mut out, at);
            }
        });
        out
    }

    fn root_at<const W: usize>(&self, opened: &[u64], kept: &Kept, out: &mut [u64], at: usize) {
        let (a, b, c, _) = self.node::<W>(4, opened, self.upper_masks, 0, at);
        let greater = xor(&xor(&load(&kept.0, self.words, 4, at), &a), &xor(&b, &c));
        store(out, self.words, 0, at, &greater);
    }

    /// The answer, from the opened planes of the second level.
    pub fn root(&self, opened: &[u64], kept: &Kept) -> Vec<u64> {
        let mut out = vec![0; self.words];
        each_block(self.words, |at, wide| {
            if wide {
                self.root_at::<8>(opened, kept, &mut out, at)
            } else {
                self.root_at::<1>(opened, kept, &mut out, at)
            }
        });
        out
    }
}

/// Where a node's mask products stand among a tree's, and how many they are.
const fn product_range(node: usize) -> (usize, usize) {
    match node {
        0 => (0, PRODUCTS_ABOVE),
        4 => (PRODUCTS_ABOVE + 3 * PRODUCTS, PRODUCTS_ABOVE),
        _ => (PRODUCTS_ABOVE + (node - 1) * PRODUCTS, PRODUCTS),
    }
}

fn each_block(words: usize, mut f: impl FnMut(usize, bool)) {
    let wide = words / 8;
    (0..wide).for_each(|i| f(i * 8, true));
    (wide * 8..words).for_each(|at| f(at, false));
}

impl Drop for Kept {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// The 64 bit-planes of words, each plane of `ceil(n / 64)` words.
pub(crate) fn planes_of(values: impl ExactSizeIterator<Item = u64>) -> Vec<u64> {
    let values: Vec<u64> = values.collect();
    let mut planes = vec![0; 64 * values.len().div_ceil(64)];
    crate::kernel::planes(&values, &mut planes);
    planes
}

/// The first `n` words of 64 bit-planes.
pub(crate) fn words_of(planes: &[u64], n: usize) -> Vec<u64> {
    let mut out = vec![0; n];
    crate::kernel::unplanes(planes, &mut out);
    out
}
