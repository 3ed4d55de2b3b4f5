//! The content commitment of a dataset: one hash that binds every row and discloses none.
//!
//! All hashes are BLAKE3. With `salt` the owner's 32 secret bytes:
//!
//! ```text
//! root_key = derive_key("tacit dataset commitment 1", salt)
//! row_key_i = keyed_hash(root_key, "row" || i)             i: u64 little-endian, from 0
//! leaf_i    = keyed_hash(row_key_i, field_1 || field_2 || ..)
//! node      = keyed_hash(NODE_KEY, left || right)          NODE_KEY = derive_key("tacit dataset commitment 1 node", "")
//! root      = the Merkle tree hash over leaf_0 .. leaf_{n-1} in the shape of RFC 9162 section 2.1.1
//! head_key  = keyed_hash(root_key, "head")
//! commitment = keyed_hash(head_key, n || columns || (len || name || kind)* || root)
//! ```
//!
//! A field is `00` for NULL, `01 || i64` for a whole number, `02 || binary64` for a float and
//! `03 || len || bytes` for text; integers and lengths are u64 little-endian, `n` too, `columns` is u32, a
//! kind is the same byte 01, 02 or 03. The fields of a CSV file are all text as the file has it (after
//! unquoting), so that a change of `1` to `1.0` shows; those of Parquet and PostgreSQL are the column's kind.
//! Rows are in the order of the file; those of a table are sorted by all columns, first to last,
//! NULLs last and text by its bytes, because a table has no order of its own.
//!
//! Each leaf has its own key, so the owner can open one row to an auditor (`head_key`, `i`, `row_key_i`, the
//! row, and the path) and the siblings on the path still hide rows that could be guessed.

use crate::kind::{ColumnDef, Kind};

const ROOT_CONTEXT: &str = "tacit dataset commitment 1";
const NODE_CONTEXT: &str = "tacit dataset commitment 1 node";

/// Hashes rows one at a time; memory is one row and the logarithm of their number.
pub(crate) struct Commitment {
    root_key: [u8; 32],
    node_key: [u8; 32],
    row: Vec<u8>,
    rows: u64,
    /// Roots of complete subtrees, largest first.
    stack: Vec<[u8; 32]>,
}

impl Commitment {
    pub(crate) fn new(salt: &[u8; 32]) -> Self {
        Self {
            root_key: blake3::derive_key(ROOT_CONTEXT, salt),
            node_key: blake3::derive_key(NODE_CONTEXT, &[]),
            row: Vec::new(),
            rows: 0,
            stack: Vec::new(),
        }
    }

    pub(crate) fn null(&mut self) {
        self.row.push(0);
    }

    pub(crate) fn int(&mut self, value: i64) {
        self.row.push(1);
        self.row.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn float(&mut self, value: f64) {
        self.row.push(2);
        self.row.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.row.push(3);
        self.row.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.row.extend_from_slice(value.as_bytes());
    }

    /// Closes the row.
    pub(crate) fn end_row(&mut self) {
        let mut label = [0u8; 11];
        label[..3].copy_from_slice(b"row");
        label[3..].copy_from_slice(&self.rows.to_le_bytes());
        let row_key = blake3::keyed_hash(&self.root_key, &label);
        let mut node = *blake3::keyed_hash(row_key.as_bytes(), &self.row).as_bytes();
        self.row.clear();
        // why: as many subtrees become complete as the old count ends in ones (RFC 9162, 2.1.1).
        for _ in 0..self.rows.trailing_ones() {
            let Some(left) = self.stack.pop() else { break };
            node = self.node(&left, &node);
        }
        self.stack.push(node);
        self.rows += 1;
    }

    fn node(&self, left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
        let mut both = [0u8; 64];
        both[..32].copy_from_slice(left);
        both[32..].copy_from_slice(right);
        *blake3::keyed_hash(&self.node_key, &both).as_bytes()
    }

    /// The commitment over all closed rows.
    pub(crate) fn finish(mut self, columns: &[ColumnDef]) -> [u8; 32] {
        let mut root = self.stack.pop().unwrap_or_default();
        while let Some(left) = self.stack.pop() {
            root = self.node(&left, &root);
        }
        let mut head = Vec::new();
        head.extend_from_slice(&self.rows.to_le_bytes());
        head.extend_from_slice(&(columns.len() as u32).to_le_bytes());
        for column in columns {
            head.extend_from_slice(&(column.name.len() as u64).to_le_bytes());
            head.extend_from_slice(column.name.as_bytes());
            head.push(match column.kind {
                Kind::Int => 1,
                Kind::Float => 2,
                Kind::Text => 3,
            });
        }
        head.extend_from_slice(&root);
        let head_key = blake3::keyed_hash(&self.root_key, b"head");
        *blake3::keyed_hash(head_key.as_bytes(), &head).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 9162, read literally.
    fn tree(key: &[u8; 32], leaves: &[[u8; 32]]) -> [u8; 32] {
        if leaves.len() == 1 {
            return leaves[0];
        }
        let k = leaves.len().next_power_of_two() / 2;
        let both = [tree(key, &leaves[..k]), tree(key, &leaves[k..])].concat();
        *blake3::keyed_hash(key, &both).as_bytes()
    }

    #[test]
    fn the_streamed_tree_is_the_defined_one() {
        let (salt, columns) = ([7u8; 32], [ColumnDef::new("a", Kind::Int)]);
        let root_key = blake3::derive_key(ROOT_CONTEXT, &salt);
        for n in 1..=33u64 {
            let mut commitment = Commitment::new(&salt);
            let mut leaves = Vec::new();
            for i in 0..n {
                commitment.int(i as i64 * 3);
                commitment.end_row();
                let row_key = blake3::keyed_hash(&root_key, &[b"row".as_slice(), &i.to_le_bytes()].concat());
                let row = [&[1u8][..], &(i as i64 * 3).to_le_bytes()].concat();
                leaves.push(*blake3::keyed_hash(row_key.as_bytes(), &row).as_bytes());
            }
            let root = tree(&blake3::derive_key(NODE_CONTEXT, &[]), &leaves);
            let head = [&n.to_le_bytes()[..], &1u32.to_le_bytes(), &1u64.to_le_bytes(), b"a", &[1], &root].concat();
            let head_key = blake3::keyed_hash(&root_key, b"head");
            assert_eq!(commitment.finish(&columns), *blake3::keyed_hash(head_key.as_bytes(), &head).as_bytes(), "{n}");
        }
    }

    #[test]
    fn every_part_is_bound() {
        let of = |salt: u8, name: &str, rows: &[&[Option<&str>]]| {
            let mut commitment = Commitment::new(&[salt; 32]);
            for row in rows {
                for field in *row {
                    match field {
                        Some(text) => commitment.text(text),
                        None => commitment.null(),
                    }
                }
                commitment.end_row();
            }
            commitment.finish(&[ColumnDef::new(name, Kind::Text)])
        };
        let base = of(1, "a", &[&[Some("x"), None], &[Some("y"), Some("z")]]);
        assert_eq!(base, of(1, "a", &[&[Some("x"), None], &[Some("y"), Some("z")]]));
        for other in [
            of(2, "a", &[&[Some("x"), None], &[Some("y"), Some("z")]]),
            of(1, "b", &[&[Some("x"), None], &[Some("y"), Some("z")]]),
            of(1, "a", &[&[None, Some("x")], &[Some("y"), Some("z")]]),
            of(1, "a", &[&[Some("x"), None], &[Some("yz"), Some("")]]),
            of(1, "a", &[&[Some("y"), Some("z")], &[Some("x"), None]]),
            of(1, "a", &[&[Some("x"), None]]),
        ] {
            assert_ne!(base, other);
        }
    }
}
