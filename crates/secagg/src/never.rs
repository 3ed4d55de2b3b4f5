//! The certificate under which a failed round may be run again.

use std::collections::BTreeSet;

use tacit_protocol::Seating;
use tacit_types::Hash;

use crate::params::Params;
use crate::signed::{Kind, Signed};

/// Whether these promises show that nobody can ever open the round: `n - t + 1 + c` distinct seats
/// have signed that they never will, so even if `c` of them lie, fewer than `t` are left to open.
/// In a drawn graph a certificate would have to hold in every neighbourhood, and is not offered.
pub fn is_certificate(seating: &Seating, params: &Params, transcript: &Hash, promises: &[Signed]) -> bool {
    if params.graph() != crate::params::Graph::Complete || seating.len() != usize::from(params.seats()) {
        return false;
    }
    let seats: BTreeSet<_> =
        promises.iter().filter(|p| p.is(seating, Kind::NoUnmask, transcript, 0, p.seat)).map(|p| p.seat).collect();
    seats.len() >= usize::from(certificate_seats(params))
}

/// `n - t + 1 + c`.
pub fn certificate_seats(params: &Params) -> u16 {
    params.seats() - params.threshold() + 1 + params.corrupt()
}
