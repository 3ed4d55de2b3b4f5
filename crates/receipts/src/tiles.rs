//! C2SP `tlog-tiles`: a log as immutable files. A hash tile holds up to 256 hashes of one level, an
//! entry bundle up to 256 leaves, each after its length as two big-endian bytes.
//!
//! Pure: [`Edge::append`] gives the paths and bytes to write; [`TileReader`] reads through a trait.

use std::collections::BTreeMap;

use tacit_types::limits::LEAF_BYTES_MAX;
use tacit_types::{Code, Fault, Hash, StatementId};

use crate::merkle::{HashSource, MemTree, empty_root, leaf_hash, node_hash};

/// Hashes of a full tile, leaves of a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Levels of tiles that a tree of 2^62 leaves has.
pub const TILE_LEVELS_MAX: u8 = 8;
/// Bytes of an entry bundle.
pub const BUNDLE_FILE_BYTES_MAX: usize = TILE_WIDTH as usize * (LEAF_BYTES_MAX + 2);

/// Where the cosigned checkpoint is.
pub const CHECKPOINT_PATH: &str = "checkpoint";
/// Where a log's own view of its keys is, outside the format of the tiles.
pub const TRUST_PATH: &str = "trust.cbor";

/// Where an attestation is that a receipt carries by hash, outside the format of the tiles.
pub fn beside_path(id: &StatementId) -> String {
    format!("attestation/{id}")
}

/// One file of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// The path below the log's prefix, with `/`.
    pub path: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// Reads files of a log.
pub trait TileRead {
    /// The content at a path below the log's prefix.
    fn read(&self, path: &str) -> Option<Vec<u8>>;
}

/// A file's number as path elements of three digits: 1234067 is `x001/x234/067`.
fn numbered(mut index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    while index >= 1000 {
        index /= 1000;
        path = format!("x{:03}/{path}", index % 1000);
    }
    path
}

fn suffix(width: u64) -> String {
    if width == TILE_WIDTH { String::new() } else { format!(".p/{width}") }
}

/// The path of hash tile `index` of a level with `width` hashes (1 to 256).
pub fn tile_path(level: u8, index: u64, width: u64) -> String {
    format!("tile/{level}/{}{}", numbered(index), suffix(width))
}

/// The path of entry bundle `index` with `width` leaves (1 to 256).
pub fn entries_path(index: u64, width: u64) -> String {
    format!("tile/entries/{}{}", numbered(index), suffix(width))
}

/// The width that file `index` of a level has in a tree of `size`; 0 when it does not exist.
pub fn width_of(size: u64, level: u8, index: u64) -> u64 {
    let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    hashes.saturating_sub(index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH)
}

/// Joins leaves into a bundle.
///
/// # Errors
/// `receipt.too_large` for a leaf over [`LEAF_BYTES_MAX`].
pub fn encode_bundle(leaves: &[Vec<u8>]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    for leaf in leaves {
        let len = u16::try_from(leaf.len()).ok().filter(|len| usize::from(*len) <= LEAF_BYTES_MAX);
        let len = len.ok_or_else(|| Fault::new(Code::ReceiptTooLarge, format!("a leaf of {} bytes", leaf.len())))?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(leaf);
    }
    Ok(out)
}

/// Splits a bundle of exactly `width` leaves.
///
/// # Errors
/// `log.corrupt`.
pub fn decode_bundle(bytes: &[u8], width: u64) -> Result<Vec<Vec<u8>>, Fault> {
    let corrupt = |what: &str| Fault::new(Code::LogCorrupt, format!("an entry bundle: {what}"));
    let mut leaves = Vec::new();
    let mut rest = bytes;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let (leaf, after) = after.split_at_checked(len).ok_or_else(|| corrupt("a leaf is cut short"))?;
        leaves.push(leaf.to_vec());
        rest = after;
        if leaves.len() as u64 > width {
            return Err(corrupt("more leaves than its name says"));
        }
    }
    if !rest.is_empty() || leaves.len() as u64 != width {
        return Err(corrupt("another number of leaves than its name says"));
    }
    Ok(leaves)
}

/// Reads the hashes and leaves of a tree of a given size from files. A partial file may have been
/// replaced by the full one.
#[derive(Clone, Copy)]
pub struct TileReader<'a> {
    files: &'a dyn TileRead,
    size: u64,
}

impl<'a> TileReader<'a> {
    /// A reader of the tree of `size`.
    pub fn new(files: &'a dyn TileRead, size: u64) -> Self {
        Self { files, size }
    }

    /// The hashes of tile `index` of a level.
    ///
    /// # Errors
    /// `log.corrupt`, naming the path.
    pub fn tile(&self, level: u8, index: u64) -> Result<Vec<Hash>, Fault> {
        let width = width_of(self.size, level, index);
        let (path, bytes) = self.fetch(width, |width| tile_path(level, index, width))?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        let whole = rest.is_empty() && (hashes.len() as u64 == width || hashes.len() as u64 == TILE_WIDTH);
        if !whole {
            return Err(Fault::new(Code::LogCorrupt, format!("{path} has {} bytes", bytes.len())));
        }
        Ok(hashes.iter().take(width as usize).map(|h| Hash(*h)).collect())
    }

    /// The leaves of bundle `index`.
    ///
    /// # Errors
    /// `log.corrupt`, naming the path.
    pub fn entries(&self, index: u64) -> Result<Vec<Vec<u8>>, Fault> {
        let width = width_of(self.size, 0, index);
        let (path, bytes) = self.fetch(width, |width| entries_path(index, width))?;
        let mut leaves = decode_bundle(&bytes, width)
            .or_else(|fault| if width < TILE_WIDTH { decode_bundle(&bytes, TILE_WIDTH) } else { Err(fault) })
            .map_err(|fault| Fault::new(fault.code, format!("{path}: {}", fault.what)))?;
        leaves.truncate(width as usize);
        Ok(leaves)
    }

    /// One leaf.
    ///
    /// # Errors
    /// `log.corrupt`; `log.proof` when the leaf is outside the tree.
    pub fn leaf(&self, index: u64) -> Result<Vec<u8>, Fault> {
        let outside = || Fault::new(Code::LogProof, format!("leaf {index} is not in a tree of {}", self.size));
        if index >= self.size {
            return Err(outside());
        }
        self.entries(index / TILE_WIDTH)?.into_iter().nth((index % TILE_WIDTH) as usize).ok_or_else(outside)
    }

    fn fetch(&self, width: u64, path: impl Fn(u64) -> String) -> Result<(String, Vec<u8>), Fault> {
        if width == 0 {
            return Err(Fault::new(Code::LogCorrupt, format!("{} lies outside the tree", path(TILE_WIDTH))));
        }
        for width in [width, TILE_WIDTH] {
            if let Some(bytes) = self.files.read(&path(width)) {
                return Ok((path(width), bytes));
            }
        }
        Err(Fault::new(Code::LogCorrupt, format!("{} is missing", path(width))))
    }

    /// Checks every hash tile against the leaves and gives the tree: an altered, missing or
    /// exchanged file is found and named. `each` sees the leaves in order.
    ///
    /// # Errors
    /// `log.corrupt`, naming the path; whatever `each` gives.
    pub fn check(&self, each: &mut dyn FnMut(u64, Vec<u8>) -> Result<(), Fault>) -> Result<MemTree, Fault> {
        let mut tree = MemTree::default();
        for index in 0..self.size.div_ceil(TILE_WIDTH) {
            for leaf in self.entries(index)? {
                tree.push(leaf_hash(&leaf));
                each(tree.size() - 1, leaf)?;
            }
        }
        for level in 0..TILE_LEVELS_MAX {
            let hashes = self.size >> (8 * u32::from(level));
            for index in 0..hashes.div_ceil(TILE_WIDTH) {
                for (i, hash) in (index * TILE_WIDTH..).zip(self.tile(level, index)?) {
                    if tree.subtree(8 * level, i) != Some(hash) {
                        let path = tile_path(level, index, width_of(self.size, level, index));
                        return Err(Fault::new(Code::LogCorrupt, format!("{path} does not fit the leaves below it")));
                    }
                }
            }
        }
        Ok(tree)
    }
}

impl HashSource for TileReader<'_> {
    fn subtree(&self, level: u8, index: u64) -> Option<Hash> {
        // A hash between two tile levels is that of a few consecutive hashes of the lower one.
        let (tile_level, above) = (level / 8, level % 8);
        let first = index.checked_shl(u32::from(above))?;
        let tile = self.tile(tile_level, first / TILE_WIDTH).ok()?;
        let offset = (first % TILE_WIDTH) as usize;
        fold(tile.get(offset..offset.checked_add(1 << above)?)?)
    }
}

/// The hash over a power of two of hashes.
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

/// The right edge of a log: the unfinished tile of every level and the unfinished bundle. It is all
/// that an append needs, at most 255 leaves and 255 hashes a level.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    size: u64,
    tiles: Vec<Vec<Hash>>,
    entries: Vec<Vec<u8>>,
}

impl Edge {
    /// Reads the edge of a log of a size.
    ///
    /// # Errors
    /// `log.corrupt` when a file is missing or the leaves do not fit their hashes.
    pub fn load(files: &dyn TileRead, size: u64) -> Result<Self, Fault> {
        let reader = TileReader::new(files, size);
        let mut edge = Self { size, tiles: Vec::new(), entries: Vec::new() };
        for level in 0..TILE_LEVELS_MAX {
            let hashes = size >> (8 * u32::from(level));
            let partial = hashes % TILE_WIDTH;
            edge.tiles.push(if partial == 0 { Vec::new() } else { reader.tile(level, hashes / TILE_WIDTH)? });
        }
        if !size.is_multiple_of(TILE_WIDTH) {
            edge.entries = reader.entries(size / TILE_WIDTH)?;
        }
        let hashes: Vec<Hash> = edge.entries.iter().map(|leaf| leaf_hash(leaf)).collect();
        if edge.tiles.first() != Some(&hashes) {
            return Err(Fault::new(Code::LogCorrupt, "the last entry bundle does not fit its hash tile"));
        }
        Ok(edge)
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree: full tiles stand in the tile above, so the edge has every peak.
    pub fn root(&self) -> Hash {
        let mut whole: Option<Hash> = None;
        for tile in &self.tiles {
            let mut rest = tile.as_slice();
            // Peaks from the right: the lowest set bit of what is left is the smallest subtree.
            while !rest.is_empty() {
                let width = 1 << rest.len().trailing_zeros();
                let (before, peak) = rest.split_at(rest.len().saturating_sub(width));
                whole = match (fold(peak), whole) {
                    (Some(peak), Some(right)) => Some(node_hash(&peak, &right)),
                    (peak, right) => peak.or(right),
                };
                rest = before;
            }
        }
        whole.unwrap_or_else(empty_root)
    }

    /// Appends leaves and gives the files to write, bundles first. A file's content never changes:
    /// a wider one has another path.
    ///
    /// # Errors
    /// `receipt.too_large` for a leaf over the limit; the edge is then as before.
    pub fn append(&mut self, leaves: &[Vec<u8>]) -> Result<Vec<File>, Fault> {
        encode_bundle(leaves)?;
        let mut files = Vec::new();
        let mut rest = leaves;
        // A wider partial tile of this append replaces a narrower one: only it is of use.
        let mut tiles = BTreeMap::new();
        while !rest.is_empty() {
            let room = TILE_WIDTH as usize - self.entries.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            rest = later;
            let index = self.size / TILE_WIDTH;
            self.entries.extend_from_slice(now);
            self.size += now.len() as u64;
            let path = entries_path(index, self.entries.len() as u64);
            files.push(File { path, bytes: encode_bundle(&self.entries)? });
            if self.entries.len() as u64 == TILE_WIDTH {
                self.entries.clear();
            }
            self.raise(&now.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>(), &mut tiles);
        }
        for ((level, index), hashes) in tiles {
            let path = tile_path(level, index, hashes.len() as u64);
            files.push(File { path, bytes: hashes.iter().flat_map(|h| h.0).collect() });
        }
        Ok(files)
    }

    /// Adds hashes at level 0, of one tile, and carries full tiles upward.
    fn raise(&mut self, hashes: &[Hash], out: &mut BTreeMap<(u8, u64), Vec<Hash>>) {
        let mut carried = hashes.to_vec();
        for level in 0..TILE_LEVELS_MAX {
            if carried.is_empty() {
                return;
            }
            if self.tiles.len() <= usize::from(level) {
                self.tiles.push(Vec::new());
            }
            let Some(tile) = self.tiles.get_mut(usize::from(level)) else { return };
            tile.append(&mut carried);
            // `size` counts the new leaves already, so the tile's last hash is the level's last.
            let index = (self.size >> (8 * u32::from(level))).saturating_sub(1) / TILE_WIDTH;
            out.insert((level, index), tile.clone());
            if tile.len() as u64 == TILE_WIDTH {
                carried.extend(fold(tile));
                tile.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{consistency_proof, inclusion_proof, root};

    #[derive(Default)]
    struct Files(BTreeMap<String, Vec<u8>>);

    impl TileRead for Files {
        fn read(&self, path: &str) -> Option<Vec<u8>> {
            self.0.get(path).cloned()
        }
    }

    impl Files {
        fn write(&mut self, files: Vec<File>) {
            for file in files {
                let old = self.0.insert(file.path.clone(), file.bytes.clone());
                assert!(old.is_none_or(|old| old == file.bytes), "{} changed", file.path);
            }
        }
    }

    fn leaf(i: u64) -> Vec<u8> {
        format!("leaf {i}").into_bytes()
    }

    fn grown(steps: &[u64]) -> (Files, Edge) {
        let (mut files, mut edge) = (Files::default(), Edge::default());
        for step in steps {
            let leaves: Vec<Vec<u8>> = (edge.size()..edge.size() + step).map(leaf).collect();
            files.write(edge.append(&leaves).unwrap());
        }
        (files, edge)
    }

    fn tree(n: u64) -> MemTree {
        let mut tree = MemTree::default();
        (0..n).for_each(|i| tree.push(leaf_hash(&leaf(i))));
        tree
    }

    #[test]
    fn paths_are_those_of_the_format() {
        assert_eq!(tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile_path(2, 0, 1), "tile/2/000.p/1");
        assert_eq!(entries_path(999, 256), "tile/entries/999");
        assert_eq!(entries_path(1000, 7), "tile/entries/x001/000.p/7");
        // The format's own example: a tree of 70,000 leaves.
        assert_eq!([width_of(70_000, 0, 273), width_of(70_000, 0, 272), width_of(70_000, 0, 274)], [112, 256, 0]);
        assert_eq!([width_of(70_000, 1, 0), width_of(70_000, 1, 1), width_of(70_000, 2, 0)], [256, 17, 1]);
        assert_eq!([width_of(256, 0, 0), width_of(256, 1, 0), width_of(256, 2, 0)], [256, 1, 0]);
        assert_eq!(width_of(u64::MAX, 9, 0), 0);
    }

    #[test]
    fn files_of_any_growth_read_back_as_the_same_tree() {
        for steps in [&[1, 1, 1][..], &[255, 1, 1], &[256], &[257], &[100, 200, 300, 400], &[1000], &[0, 513, 0, 255]] {
            let (files, edge) = grown(steps);
            let size = edge.size();
            let (reader, memory) = (TileReader::new(&files, size), tree(size));
            assert_eq!(root(&reader, size).unwrap(), memory.root(), "{steps:?}");
            assert_eq!(edge.root(), memory.root(), "{steps:?}");
            let mut seen = 0;
            let read = reader.check(&mut |i, bytes| {
                assert_eq!((i, bytes), (seen, leaf(seen)));
                seen += 1;
                Ok(())
            });
            assert_eq!((seen, read.unwrap().root()), (size, memory.root()));
            for index in (0..size).step_by(37) {
                let proof = inclusion_proof(&memory, index, size).unwrap();
                assert_eq!(inclusion_proof(&reader, index, size).unwrap(), proof);
                assert_eq!(reader.leaf(index).unwrap(), leaf(index));
            }
            for old in (1..size).step_by(41) {
                let proof = consistency_proof(&memory, old, size).unwrap();
                assert_eq!(consistency_proof(&reader, old, size).unwrap(), proof);
            }
            assert!(reader.leaf(size).is_err());
        }
    }

    #[test]
    fn seventy_thousand_leaves_have_the_files_of_the_example() {
        let (files, edge) = grown(&[65_530, 4_470]);
        assert_eq!(edge.size(), 70_000);
        let hashes = |path: &str| files.0.get(path).map(|b| b.len() / 32);
        assert_eq!(hashes("tile/0/272"), Some(256));
        assert_eq!(hashes("tile/0/273.p/112"), Some(112));
        assert_eq!(hashes("tile/1/000"), Some(256));
        assert_eq!(hashes("tile/1/001.p/17"), Some(17));
        assert_eq!(hashes("tile/2/000.p/1"), Some(1));
        assert_eq!(hashes("tile/3/000.p/1"), None);
        let reader = TileReader::new(&files, 70_000);
        assert_eq!(root(&reader, 70_000).unwrap(), tree(70_000).root());
        assert_eq!(root(&TileReader::new(&files, 65_530), 65_530).unwrap(), tree(65_530).root());
    }

    #[test]
    fn an_edge_loads_from_its_files_and_goes_on_the_same() {
        for size in [0, 1, 255, 256, 257, 600] {
            let (files, mut edge) = grown(&[size]);
            let mut loaded = Edge::load(&files, size).unwrap();
            let leaves: Vec<Vec<u8>> = (size..size + 300).map(leaf).collect();
            assert_eq!(loaded.append(&leaves).unwrap(), edge.append(&leaves).unwrap(), "{size}");
        }
        let (mut files, _) = grown(&[300]);
        files.0.insert("tile/entries/001.p/44".into(), encode_bundle(&vec![b"x".to_vec(); 44]).unwrap());
        assert_eq!(Edge::load(&files, 300).unwrap_err().code, Code::LogCorrupt);
    }

    #[test]
    fn every_altered_or_missing_file_is_found_and_named() {
        let (files, edge) = grown(&[600]);
        let size = edge.size();
        for (path, bytes) in &files.0 {
            let mut missing = Files(files.0.clone());
            missing.0.remove(path);
            let fault = TileReader::new(&missing, size).check(&mut |_, _| Ok(())).unwrap_err();
            assert!(fault.code == Code::LogCorrupt && fault.what.contains(path.as_str()), "{path}: {fault}");
            for at in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
                let mut altered = Files(files.0.clone());
                altered.0.get_mut(path).unwrap()[at] ^= 0x40;
                let found = TileReader::new(&altered, size).check(&mut |_, _| Ok(()));
                assert_eq!(found.unwrap_err().code, Code::LogCorrupt, "{path} byte {at}");
            }
        }
        // A partial file that was replaced by the full one still serves the smaller tree.
        let (mut full, _) = grown(&[100, 200]);
        full.0.remove("tile/0/000.p/100");
        full.0.remove("tile/entries/000.p/100");
        assert_eq!(TileReader::new(&full, 100).check(&mut |_, _| Ok(())).unwrap().root(), tree(100).root());
    }

    #[test]
    fn leaves_are_bounded() {
        let mut edge = Edge::default();
        assert!(edge.append(&[vec![0; LEAF_BYTES_MAX]]).is_ok());
        assert_eq!(edge.append(&[vec![1], vec![0; LEAF_BYTES_MAX + 1]]).unwrap_err().code, Code::ReceiptTooLarge);
        assert_eq!(edge.size(), 1);
        assert!(decode_bundle(&[0, 1, 7], 2).is_err());
        assert!(decode_bundle(&[0, 2, 7], 1).is_err());
        assert!(decode_bundle(&[0, 1, 7, 0], 1).is_err());
        assert!(decode_bundle(&[0, 1, 7, 0, 0], 1).is_err());
        assert_eq!(decode_bundle(&[0, 1, 7, 0, 0], 2).unwrap(), [vec![7], vec![]]);
    }
}
