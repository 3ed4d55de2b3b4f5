//! A linear sketch of a multiset of rows. The difference of two sketches, cell by cell, is the sketch of the difference of
//! the sets, and a small difference is read from it whole: an invertible Bloom lookup table (Goodrich and Mitzenmacher 2011;
//! Eppstein, Goodrich, Uyeda and Varghese 2011, "What's the difference?").
//!
//! A row is known by its [`Tag`] alone. It stands in one cell of each of four partitions, so that the cells
//! of any one partition hold all rows of a difference: a small difference is never taken for a large
//! one, nor, but with a probability of 2^-61, for none. A large one could be taken for a small one where the cells of its rows
//! coincide; then the rows are read out of the cells one by one, and counted.

use std::borrow::Cow;

use tacit_types::{Code, Fault};

/// Cells in which a row stands.
const PARTITIONS: usize = 4;
/// The least number of cells of a partition. Powers of two, so that a larger sketch can be folded to a smaller one.
const PARTITION_MIN: usize = 64;
/// The largest: as many bits of a tag's mix choose the cell.
const PARTITION_MAX: usize = 1 << 16;
/// Bytes of a cell.
const CELL_BYTES: usize = 24;
/// A prime, 2^61 - 1: the sums of tags are taken modulo it, so that a sum of equal tags can be divided by their number.
const PRIME: u64 = (1 << 61) - 1;

/// What stands for a row: equal for equal rows and, but with a probability of 2^-61, for no others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(u64);

impl Tag {
    /// From bits that look random to everyone but who has the key.
    pub const fn new(bits: u64) -> Self {
        Self(bits % PRIME)
    }

    /// What proves that a sum is of this tag alone.
    fn check(self) -> u64 {
        mix(self.0 ^ 0x6a09_e667_f3bc_c908) % PRIME
    }

    /// The cell of each partition.
    fn cells(self, partition: usize) -> [usize; PARTITIONS] {
        let bits = mix(self.0 ^ 0xbb67_ae85_84ca_a73b);
        core::array::from_fn(|i| i * partition + (bits >> (16 * i)) as usize % partition)
    }
}

/// The finaliser of SplitMix64: a bijection in which each bit of the input turns half of the output's.
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Of two numbers up to the prime, not both the prime.
const fn add(a: u64, b: u64) -> u64 {
    let sum = a + b;
    if sum >= PRIME { sum - PRIME } else { sum }
}

/// Of two numbers below the prime.
fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    // 2^61 is 1 modulo the prime.
    add(product as u64 & PRIME, (product >> 61) as u64)
}

/// A count modulo the prime.
fn residue(count: i64) -> u64 {
    count.rem_euclid(PRIME as i64).unsigned_abs()
}

/// The inverse of what is not zero, by Fermat.
fn inverse(a: u64) -> u64 {
    let (mut result, mut base, mut power) = (1, a, PRIME - 2);
    while power > 0 {
        if power & 1 == 1 {
            result = times(result, base);
        }
        base = times(base, base);
        power >>= 1;
    }
    result
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Cell {
    count: i64,
    tags: u64,
    checks: u64,
}

impl Cell {
    fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// That of a tag, so many times.
    fn of(tag: Tag, count: i64) -> Self {
        let n = residue(count);
        Self { count, tags: times(n, tag.0), checks: times(n, tag.check()) }
    }

    /// The cell of the union of both.
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            tags: add(self.tags, other.tags),
            checks: add(self.checks, other.checks),
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            count: self.count - other.count,
            tags: add(self.tags, PRIME - other.tags),
            checks: add(self.checks, PRIME - other.checks),
        }
    }

    /// The one tag of which it is the sum.
    fn pure(self) -> Option<Tag> {
        let n = residue(self.count);
        let tag = match self.count {
            1 => Tag(self.tags),
            -1 => Tag(add(PRIME - self.tags, 0)),
            _ if n == 0 => return None,
            _ => Tag(times(self.tags, inverse(n))),
        };
        (times(n, tag.check()) == self.checks).then_some(tag)
    }

    /// Rows that it is of, at the least. Rows of either set that outweigh each other are two or more.
    fn least(&self) -> u64 {
        match self.count {
            0 if self.is_empty() => 0,
            0 => 2,
            count => count.unsigned_abs(),
        }
    }
}

/// How far two sets are apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Apart {
    /// The same rows.
    Same,
    /// Some rows, fewer than a group; or, once in many thousand times, a little more than a group, whose rows could not be
    /// read from the sketch.
    Few,
    /// A group of rows or more.
    Group,
}

/// The sketch of a set.
#[derive(Clone, PartialEq, Eq)]
pub struct Sketch {
    partition: usize,
    rows: u64,
    cells: Vec<Cell>,
}

impl Sketch {
    /// That of no rows, in which differences below this group are told from others.
    pub fn new(change_min: u64) -> Self {
        let wanted = usize::try_from(change_min).unwrap_or(PARTITION_MAX).saturating_mul(4);
        let partition = wanted.clamp(PARTITION_MIN, PARTITION_MAX).next_power_of_two();
        Self { partition, rows: 0, cells: vec![Cell::default(); PARTITIONS * partition] }
    }

    /// Takes a row in.
    pub fn put(&mut self, tag: Tag) {
        self.rows += 1; // proof: a node reads far fewer than 2^64 rows.
        let one = Cell { count: 1, tags: tag.0, checks: tag.check() };
        for cell in tag.cells(self.partition) {
            self.cells[cell] = self.cells[cell].and(one);
        }
    }

    /// Rows, each as often as it stands in the set.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The same set in fewer cells.
    fn folded(&self, partition: usize) -> Cow<'_, [Cell]> {
        if partition == self.partition {
            return Cow::Borrowed(&self.cells);
        }
        let mut cells = vec![Cell::default(); PARTITIONS * partition];
        for (i, cell) in self.cells.iter().enumerate() {
            let to = i / self.partition * partition + i % partition;
            cells[to] = cells[to].and(*cell);
        }
        Cow::Owned(cells)
    }

    /// How many cells it has, for the work of comparing it.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// How far two sets are apart, measured by a group of `change_min` rows. A row that one set has twice and the other once is
    /// one row apart.
    pub fn apart(&self, other: &Self, change_min: u64) -> Apart {
        if self.rows.abs_diff(other.rows) >= change_min {
            return Apart::Group;
        }
        let partition = self.partition.min(other.partition);
        let (ours, theirs) = (self.folded(partition), other.folded(partition));
        let cells: Vec<Cell> = ours.iter().zip(theirs.iter()).map(|(a, b)| a.without(*b)).collect();
        // Each partition has every row once.
        let least = cells.chunks(partition).map(|all| all.iter().map(Cell::least).sum::<u64>()).max();
        match least.unwrap_or(0) {
            0 => Apart::Same,
            rows if rows >= change_min => Apart::Group,
            _ => match read(cells, partition) {
                Some(rows) if rows >= change_min => Apart::Group,
                _ => Apart::Few,
            },
        }
    }

    /// As it is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.cells.len() * CELL_BYTES);
        bytes.extend((self.partition as u64).to_le_bytes());
        bytes.extend(self.rows.to_le_bytes());
        for cell in &self.cells {
            bytes.extend(cell.count.to_le_bytes());
            bytes.extend(cell.tags.to_le_bytes());
            bytes.extend(cell.checks.to_le_bytes());
        }
        bytes
    }

    /// As it was kept.
    ///
    /// # Errors
    /// `store.corrupt` for what is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        let corrupt = || Fault::new(Code::StoreCorrupt, "the sketch of a set of rows");
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let [partition, rows, cells @ ..] = &words[..] else { return Err(corrupt()) };
        let partition = usize::try_from(*partition).map_err(|_| corrupt())?;
        let known = partition.is_power_of_two() && (PARTITION_MIN..=PARTITION_MAX).contains(&partition);
        let (cells, odd) = cells.as_chunks::<3>();
        if !known || !rest.is_empty() || !odd.is_empty() || cells.len() != PARTITIONS * partition {
            return Err(corrupt());
        }
        let cell = |[count, tags, checks]: &[u64; 3]| {
            let good = *tags < PRIME && *checks < PRIME;
            good.then_some(Cell { count: count.cast_signed(), tags: *tags, checks: *checks })
        };
        let cells = cells.iter().map(cell).collect::<Option<_>>().ok_or_else(corrupt)?;
        Ok(Self { partition, rows: *rows, cells })
    }
}

/// Reads a difference out of its cells: the number of its rows, where all can be read.
fn read(mut cells: Vec<Cell>, partition: usize) -> Option<u64> {
    let mut rows: u64 = 0;
    let mut pending: Vec<usize> = (0..cells.len()).collect();
    // Each tag that is read empties a cell; a tag that came again would be none of the difference's.
    let mut left = cells.len();
    while let Some(i) = pending.pop() {
        let cell = cells[i];
        let Some(tag) = cell.pure() else { continue };
        let places = tag.cells(partition);
        if !places.contains(&i) {
            continue;
        }
        left = left.checked_sub(1)?;
        rows = rows.saturating_add(cell.count.unsigned_abs());
        let read = Cell::of(tag, cell.count);
        for place in places {
            cells[place] = cells[place].without(read);
            pending.push(place);
        }
    }
    cells.iter().all(|cell| cell.is_empty()).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: u64) -> Tag {
        let [a, b, c, d, e, f, g, h, ..] = tacit_crypto::sha256(&n.to_be_bytes()).0;
        Tag::new(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    fn sketch(change_min: u64, rows: impl IntoIterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch::new(change_min);
        rows.into_iter().for_each(|row| sketch.put(tag(row)));
        sketch
    }

    /// One, some, all but one of a group are few; a group and more is a group; wherever the rows are, and whichever set has
    /// them.
    #[test]
    fn a_difference_is_found_wherever_it_is_and_as_large_as_it_is() {
        for group in [2, 3, 10, 64, 256] {
            let all = sketch(group, 0..2000);
            assert_eq!(all.apart(&sketch(group, (0..2000).rev()), group), Apart::Same);
            for apart in (1..=2 * group).filter(|d| group < 20 || d.abs_diff(group) < 9 || d % 37 == 1) {
                let expected = if apart < group { Apart::Few } else { Apart::Group };
                for start in [0, 1, 700, 2000 - apart] {
                    let gone = start..start + apart;
                    // Rows less, rows more, and half of each: as many rows, others.
                    let less = sketch(group, (0..2000).filter(|n| !gone.contains(n)));
                    let more = sketch(group, (0..2000).chain(5000..5000 + apart));
                    let half = apart / 2;
                    let others = (0..2000).filter(|n| !(start..start + half).contains(n));
                    let others = sketch(group, others.chain(9000..9000 + apart - half));
                    for other in [&less, &more, &others] {
                        assert_eq!(all.apart(other, group), expected, "{apart} of {group} at {start}");
                        assert_eq!(other.apart(&all, group), expected);
                    }
                }
            }
        }
    }

    /// As many rows, and none in common: the number of rows alone says nothing.
    #[test]
    fn sets_of_one_size_are_told_apart() {
        assert_eq!(sketch(10, 0..500).apart(&sketch(10, 500..1000), 10), Apart::Group);
        assert_eq!(sketch(10, 0..5).apart(&sketch(10, 5..10), 10), Apart::Group, "ten");
        assert_eq!(sketch(10, 0..4).apart(&sketch(10, 4..8), 10), Apart::Few, "eight");
        assert_eq!(sketch(10, 0..9).apart(&sketch(10, []), 10), Apart::Few);
        assert_eq!(sketch(10, []).apart(&sketch(10, []), 10), Apart::Same);
    }

    #[test]
    fn equal_rows_count_as_often_as_they_stand() {
        let all = |copies: usize| sketch(10, (0..300).chain(core::iter::repeat_n(7, copies)));
        for (copies, expected) in
            [(0, Apart::Same), (1, Apart::Few), (8, Apart::Few), (9, Apart::Few), (10, Apart::Group)]
        {
            assert_eq!(all(copies).apart(&all(0), 10), expected, "{copies} more of one row");
            assert_eq!(all(0).apart(&all(copies), 10), expected, "{copies} fewer of one row");
        }
        // Two of one less and two of another more: the numbers are even and cancel.
        let one = sketch(5, (0..300).chain([8, 8]));
        assert_eq!(sketch(5, (0..300).chain([7, 7])).apart(&one, 5), Apart::Few);
        assert_eq!(sketch(4, (0..300).chain([7, 7])).apart(&one, 4), Apart::Group);
    }

    /// Of many differences of exactly a group hardly any is taken for fewer, and of smaller ones none for a group or for none.
    #[test]
    fn a_small_difference_is_never_missed_and_a_group_hardly_ever_mistaken() {
        let mut mistaken = 0;
        for seed in 0..3000u64 {
            let rows = |from: u64, n: u64| (0..n).map(move |i| (seed << 20) + from + i);
            let (apart, base) = (1 + seed % 9, sketch(10, rows(0, 30)));
            let few = sketch(10, rows(0, 30).chain(rows(1000, apart)));
            assert_eq!(base.apart(&few, 10), Apart::Few, "{seed}");
            let swapped = sketch(10, rows(5, 30));
            mistaken += usize::from(base.apart(&swapped, 10) != Apart::Group);
        }
        assert!(mistaken <= 3, "{mistaken}");
    }

    #[test]
    fn sketches_of_different_sizes_compare() {
        let (small, large) = (sketch(2, 0..400), sketch(200, 0..400));
        assert!(small.cells.len() < large.cells.len());
        assert_eq!(small.apart(&large, 200), Apart::Same);
        assert_eq!(small.apart(&sketch(200, 0..401), 2), Apart::Few);
        assert_eq!(sketch(200, 0..402).apart(&small, 2), Apart::Group);
        // Never a miss, even where the smaller one holds less than the group.
        for apart in [1, 50, 199] {
            assert_eq!(small.apart(&sketch(200, apart..400), 200), Apart::Few, "{apart}");
        }
        assert_eq!(small.apart(&sketch(200, 200..400), 200), Apart::Group);
        // As many rows, none in common, and more than can be read from the smaller one.
        assert_eq!(sketch(2, 0..5000).apart(&sketch(256, 5000..10_000), 256), Apart::Group);
    }

    #[test]
    fn the_field_is_that_of_the_prime() {
        for a in [0, 1, 2, 0x1234_5678_9abc_def0 % PRIME, PRIME - 2, PRIME - 1] {
            for b in [0, 1, 3, 0x0fed_cba9_8765_4321 % PRIME, PRIME - 2, PRIME - 1] {
                assert_eq!(u128::from(times(a, b)), u128::from(a) * u128::from(b) % u128::from(PRIME));
                assert_eq!(add(a, b), (a + b) % PRIME);
                assert_eq!(add(a, PRIME - b), (a + PRIME - b) % PRIME);
            }
            assert!(a == 0 || times(a, inverse(a)) == 1);
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_nothing_else_does() {
        let all = sketch(10, 0..1000);
        let bytes = all.to_bytes();
        let back = Sketch::from_bytes(&bytes).unwrap();
        assert!(back == all && back.to_bytes() == bytes && back.rows() == 1000);
        let code = |bytes: &[u8]| Sketch::from_bytes(bytes).map(|_| ()).map_err(|f| f.code);
        assert_eq!(code(&bytes[..bytes.len() - 1]), Err(Code::StoreCorrupt));
        assert_eq!(code(&bytes[..bytes.len() - 8]), Err(Code::StoreCorrupt));
        assert_eq!(code(&[]), Err(Code::StoreCorrupt));
        for (at, with) in [(0, 65), (0, 0), (0, 128), (31, 0xff), (39, 0xff)] {
            let mut wrong = bytes.clone();
            wrong[at] = with;
            assert_eq!(code(&wrong), Err(Code::StoreCorrupt), "{at} {with}");
        }
    }
}
