//! One bundle of leaves against its hashes: whether both are as they were written, and if not, which of the two was
//! altered, where in the file, and, of one flipped bit, which.

use core::fmt;

use tacit_receipts::merkle::{HashSource, leaf_hash, node_hash, root};
use tacit_receipts::tiles::{
    CHECKPOINT_PATH, TILE_LEVELS_MAX, TILE_WIDTH, decode_bundle, entries_path, tile_path, width_of,
};
use tacit_receipts::{TileRead, TileReader};
use tacit_types::{Code, Fault, Hash};

/// Leaves that are searched for one flipped bit; a longer one is named without it.
pub const FLIP_SEARCH_BYTES_MAX: usize = 8 << 10;

/// A file that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The file, below the log's folder.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// The leaf, where one alone is concerned.
    pub leaf: Option<u64>,
    /// The byte and the bit in it that was flipped, where one flip explains all.
    pub flipped: Option<(u64, u8)>,
    /// The file as it was written, where it follows from the others.
    pub good: Option<Vec<u8>>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)?;
        match self.flipped {
            Some((byte, bit)) => write!(f, ": bit {bit} of byte {byte} was flipped"),
            None => Ok(()),
        }
    }
}

impl From<&Damage> for Fault {
    fn from(damage: &Damage) -> Self {
        Fault::new(Code::LogCorrupt, damage.to_string())
    }
}

/// Checks bundle `index` of a log of `size` leaves whose root is `head`: the leaves, their hashes, and, when the bundle is
/// full, what the tiles above say of it. All bundles one after the other are the whole log.
pub fn examine(files: &dyn TileRead, (size, head): (u64, Hash), index: u64) -> Vec<Damage> {
    let width = width_of(size, 0, index);
    if width == 0 {
        return Vec::new();
    }
    let read = |path: &dyn Fn(u64) -> String| {
        let found = [width, TILE_WIDTH].into_iter().find_map(|w| Some((w, path(w), files.read(&path(w))?)));
        found.ok_or_else(|| Damage::new(path(width), "it is missing"))
    };
    let (tile, entries) = (read(&|w| tile_path(0, index, w)), read(&|w| entries_path(index, w)));
    match (tile, entries) {
        (Ok(tile), Ok(entries)) => Pair { files, size, head, index, width, tile, entries }.examine(),
        (tile, entries) => [tile.err(), entries.err()].into_iter().flatten().collect(),
    }
}

impl Damage {
    fn new(path: String, what: impl Into<String>) -> Self {
        Self { path, what: what.into(), leaf: None, flipped: None, good: None }
    }
}

/// A bundle and its hashes: the width of each file, its path, its bytes.
struct Pair<'a> {
    files: &'a dyn TileRead,
    size: u64,
    head: Hash,
    index: u64,
    width: u64,
    tile: (u64, String, Vec<u8>),
    entries: (u64, String, Vec<u8>),
}

impl Pair<'_> {
    fn examine(&self) -> Vec<Damage> {
        let hashes = self.hashes();
        let leaves = decode_bundle(&self.entries.2, self.entries.0)
            .ok()
            .map(|leaves| leaves.iter().take(self.width as usize).map(|leaf| leaf_hash(leaf)).collect::<Vec<Hash>>());
        match (hashes, leaves) {
            (Some(hashes), Some(leaves)) if hashes == leaves => self.above(&leaves),
            (Some(hashes), leaves) if self.fits(&hashes) => vec![self.entries_wrong(&hashes, leaves.as_deref())],
            (_, Some(leaves)) if self.fits(&leaves) => vec![self.tile_wrong(&leaves)],
            _ => vec![
                Damage::new(self.entries.1.clone(), "it and its hashes fit neither each other nor the tree"),
                Damage::new(self.tile.1.clone(), "it and its leaves fit neither each other nor the tree"),
            ],
        }
    }

    /// The hashes of the tile that this tree has.
    fn hashes(&self) -> Option<Vec<Hash>> {
        let (hashes, rest) = self.tile.2.as_chunks::<32>();
        let whole = rest.is_empty() && hashes.len() as u64 == self.tile.0;
        whole.then(|| hashes.iter().take(self.width as usize).map(|hash| Hash(*hash)).collect())
    }

    /// Whether the rest of the tree has these hashes: the tile above, or for the last, unfinished one the root.
    fn fits(&self, hashes: &[Hash]) -> bool {
        if self.width < TILE_WIDTH {
            let rest = TileReader::new(self.files, self.size);
            let tree = Edged { rest, first: self.index * TILE_WIDTH, hashes };
            return root(&tree, self.size).is_ok_and(|found| found == self.head);
        }
        let above = TileReader::new(self.files, self.size).tile(1, self.index / TILE_WIDTH);
        let known = above.ok().and_then(|tile| tile.get((self.index % TILE_WIDTH) as usize).copied());
        known.is_some() && known == fold(hashes)
    }

    /// What the tiles above say of a bundle that is whole in itself.
    fn above(&self, hashes: &[Hash]) -> Vec<Damage> {
        if self.width < TILE_WIDTH {
            if self.fits(hashes) {
                return Vec::new();
            }
            // Both are whole, so the fault is in a tile above another bundle, or in the checkpoint.
            return vec![Damage::new(CHECKPOINT_PATH.into(), "the files have another root")];
        }
        let reader = TileReader::new(self.files, self.size);
        let (mut found, mut index) = (fold(hashes), self.index);
        for level in 1..TILE_LEVELS_MAX {
            let (tile, place) = (index / TILE_WIDTH, (index % TILE_WIDTH) as usize);
            let width = width_of(self.size, level, tile);
            let path = tile_path(level, tile, width);
            let held = match reader.tile(level, tile) {
                Ok(held) => held,
                Err(fault) => return vec![Damage::new(path, fault.what)],
            };
            if held.get(place).copied() != found {
                return vec![self.above_wrong(path, (level, place, width), found)];
            }
            // Only the last of a full tile stands for it in the tile above.
            if place as u64 != TILE_WIDTH - 1 {
                return Vec::new();
            }
            (found, index) = (fold(&held), tile);
        }
        Vec::new()
    }

    fn above_wrong(&self, path: String, (level, place, width): (u8, usize, u64), found: Option<Hash>) -> Damage {
        let mut damage = Damage::new(path, format!("the hash of bundle {} is another", self.index));
        let tile = self.index >> (8 * u32::from(level));
        let at = [width, TILE_WIDTH].map(|w| tile_path(level, tile, w));
        let held = at.iter().find_map(|path| Some((path, self.files.read(path)?)));
        if let (Some((path, held)), Some(found)) = (held, found) {
            let mut good = held.clone();
            if let Some(slot) = good.get_mut(place * 32..place * 32 + 32) {
                slot.copy_from_slice(&found.0);
                (damage.path, damage.flipped, damage.good) = (path.clone(), one_bit(&held, &good), Some(good));
            }
        }
        damage
    }

    fn tile_wrong(&self, leaves: &[Hash]) -> Damage {
        let good: Vec<u8> = leaves.iter().flat_map(|hash| hash.0).collect();
        let what = "the hashes are not those of the leaves";
        let flipped = one_bit(&self.tile.2, &good);
        // A full file of an older, smaller tree cannot be made from the leaves of that tree alone.
        let good = (self.tile.0 == self.width).then_some(good);
        Damage { flipped, good, ..Damage::new(self.tile.1.clone(), what) }
    }

    /// Finds the first leaf that is not the one of its hash, and in it or in its length the bit that was flipped.
    fn entries_wrong(&self, hashes: &[Hash], leaves: Option<&[Hash]>) -> Damage {
        let bytes = &self.entries.2;
        let (mut at, mut place) = (0_usize, 0_usize);
        while let (Some(hash), Some((len, leaf))) = (hashes.get(place), framed(bytes, at)) {
            if leaf_hash(leaf) != *hash {
                break;
            }
            (at, place) = (at + 2 + len, place + 1);
        }
        let leaf = self.index * TILE_WIDTH + place as u64;
        let mut damage = Damage::new(self.entries.1.clone(), format!("leaf {leaf} is not the one that was hashed"));
        damage.leaf = Some(leaf);
        let whole = |bytes: &[u8]| {
            let read = decode_bundle(bytes, self.entries.0).unwrap_or_default();
            !read.is_empty() && read.iter().zip(hashes).all(|(leaf, hash)| leaf_hash(leaf) == *hash)
        };
        // With every other leaf in place the flip is in this one; else it is in the length before it.
        let body = framed(bytes, at).filter(|_| leaves.is_some()).map(|(len, _)| at + 2..at + 2 + len);
        let search = match body {
            Some(body) if body.len() <= FLIP_SEARCH_BYTES_MAX => body,
            Some(_) => return damage,
            None => at..at + 2,
        };
        let in_leaf = leaves.is_some();
        let mut copy = bytes.clone();
        for byte in search.clone() {
            for bit in 0..8 {
                let Some(value) = copy.get_mut(byte) else { return damage };
                *value ^= 1 << bit;
                let one = copy.get(search.clone()).map(leaf_hash);
                let fits = if in_leaf { one.as_ref() == hashes.get(place) } else { true };
                if fits && whole(&copy) {
                    (damage.flipped, damage.good) = (Some((byte as u64, bit)), Some(copy));
                    return damage;
                }
                if let Some(value) = copy.get_mut(byte) {
                    *value ^= 1 << bit;
                }
            }
        }
        damage
    }
}

/// A leaf of a bundle with its length before it.
fn framed(bytes: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let len = usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    Some((len, bytes.get(at + 2..at + 2 + len)?))
}

/// The byte and the bit by which two files of one length differ, when it is one.
fn one_bit(held: &[u8], good: &[u8]) -> Option<(u64, u8)> {
    let mut differ = (0..).zip(held.iter().zip(good)).filter(|(_, (a, b))| a != b);
    let (at, (a, b)) = differ.next()?;
    let bits = a ^ b;
    (differ.next().is_none() && bits.is_power_of_two()).then(|| (at, bits.trailing_zeros() as u8))
}

/// The hash over a full tile.
fn fold(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [] => None,
        [one] => Some(*one),
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            Some(node_hash(&fold(left)?, &fold(right)?))
        }
    }
}

/// A tree whose last tile is replaced by other hashes.
struct Edged<'a> {
    rest: TileReader<'a>,
    first: u64,
    hashes: &'a [Hash],
}

impl HashSource for Edged<'_> {
    fn subtree(&self, level: u8, index: u64) -> Option<Hash> {
        let first = index.checked_shl(u32::from(level))?;
        if first < self.first {
            return self.rest.subtree(level, index);
        }
        let at = (first - self.first) as usize;
        fold(self.hashes.get(at..at.checked_add(1 << level)?)?)
    }
}
