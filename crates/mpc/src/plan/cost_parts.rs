//! The flows that operations are made of.

use crate::group::Group;
use crate::ops::tree::{LOWER, UPPER};
use crate::value::bit_words;
use crate::wire::Flow;

/// An opening of words to all.
pub(crate) fn open_words(parties: usize, count: usize) -> Flow {
    let all = Group::first(parties);
    Flow { from: all, to: all, count: count as u64, bits: 64 }
}

/// An opening of `planes` bits for each of `n` lanes to all.
pub(crate) fn open_planes(parties: usize, n: usize, planes: usize) -> Flow {
    open_words(parties, planes * bit_words(n))
}

/// The three rounds of a comparison with so many edges.
pub(crate) fn comparison(parties: usize, n: usize, edges: usize) -> Vec<Vec<Flow>> {
    vec![
        vec![open_words(parties, n)],
        vec![open_planes(parties, n, edges * LOWER)],
        vec![open_planes(parties, n, edges * UPPER)],
    ]
}
