//! The flows that operations are made of.

use crate::group::Group;
use crate::ops::tree::{LOWER, UPPER};
use crate::value::bit_words;
use crate::wire::Flow;

/// An opening of words of so many bits to all.
pub(crate) fn open_words(parties: usize, count: usize, bits: u8) -> Flow {
    let all = Group::first(parties);
    Flow { from: all, to: all, count: count as u64, bits }
}

/// An opening of `planes` bits for each of `n` lanes to all.
pub(crate) fn open_planes(parties: usize, n: usize, planes: usize) -> Flow {
    open_words(parties, planes * bit_words(n), 64)
}

/// The three rounds of a comparison of numbers of so many bits with so many edges.
pub(crate) fn comparison(parties: usize, n: usize, bits: u8, edges: usize) -> Vec<Vec<Flow>> {
    vec![
        vec![open_words(parties, n, bits)],
        vec![open_planes(parties, n, edges * LOWER)],
        vec![open_planes(parties, n, edges * UPPER)],
    ]
}
