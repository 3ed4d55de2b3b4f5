//! Checks blame for someone who saw nothing of the protocol.
//!
//! | offence | evidence, in this order |
//! |---|---|
//! | equivocation | two bodies signed by the offender for one slot |
//! | bad opening | what the opener signed that it holds, with the dealers' signed roots; its signed openings |
//! | inconsistent | the dealer's signed bundle and root, t shares with their holders that match the root |
//! | left out | the aggregator's signed receipt, its signed list without the seat |
//! | no quorum | the aggregator's signed list of too few survivors, its signed terms, what T1 is the hash of |
//! | no quorum | its signed quorum, terms and what T1 is the hash of; its list, where the votes are for another |
//! | wrong root | the aggregator's signed terms, the terms as the job states them (to be compared with the job) |
//! | bad key | the offender's signed bundle |
//! | bad sum, bad input of a verified round | see [`crate::verify`] |
//!
//! The rest leaves no evidence that convicts: a missing message may be the network's fault.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tacit_crypto::SecretScalar;
use tacit_crypto::shamir::Lagrange;
use tacit_protocol::{Blame, Offence, Offender, Seating};
use tacit_types::limits::{MESSAGE_BYTES_MAX, SEATS_MAX};
use tacit_types::wire::Blob;
use tacit_types::{Hash, Seat, wire};

use crate::keys::{self, PeerKeys};
use crate::merkle::{Place, Secret, Shape};
use crate::messages::{Bundle, Dealt, Opening, Receipt, Root, Terms, Unmask};
use crate::params::ROUND_KEYS_MAX;
use crate::quorum;
use crate::signed::{Kind, Signed};
use crate::verify::{evidence as verify, read_headers};

/// Whether the evidence convicts the offender to anyone who knows the seating.
///
/// `false` for blame without transferable evidence, which may still be true.
pub fn verify_blame(seating: &Seating, blame: &Blame) -> bool {
    let Offender::Seat(offender) = blame.offender else { return false };
    let signed: Vec<Signed> = blame.evidence.iter().filter_map(|e| Signed::read(e)).collect();
    match blame.offence {
        Offence::WrongRoot => return wrong_root(seating, offender, blame).unwrap_or(false),
        Offence::BadSum => return verify::bad_sum(seating, offender, &blame.evidence).unwrap_or(false),
        Offence::BadInput => return verify::bad_tags(seating, offender, &blame.evidence).unwrap_or(false),
        Offence::NoQuorum => return quorum::convicts(seating, offender, &blame.evidence).unwrap_or(false),
        Offence::Inconsistent => return inconsistent(seating, offender, &blame.evidence).unwrap_or(false),
        _ => {}
    }
    if signed.len() != blame.evidence.len() || !signed.iter().all(|s| s.verify(seating)) {
        return false;
    }
    let seats = seating.len();
    let convicted = match blame.offence {
        Offence::Equivocation => equivocation(offender, &signed),
        Offence::BadOpening => bad_opening(seats, offender, &signed),
        Offence::LeftOut => left_out(offender, &signed),
        Offence::BadKey => bad_key(offender, &signed),
        _ => None,
    };
    convicted.unwrap_or(false)
}

/// The transcript that the evidence's first body is signed over: those who took part in an attempt know theirs, and tell
/// evidence of another attempt by it. `None` where the evidence begins with no signed body.
pub fn evidence_transcript(blame: &Blame) -> Option<Hash> {
    blame.evidence.first().and_then(|e| Signed::read(e)).map(|signed| signed.scope)
}

fn equivocation(offender: Seat, signed: &[Signed]) -> Option<bool> {
    let [a, b] = signed else { return None };
    Some(b.claims(a.kind, &a.scope, a.slot, a.seat) && a.seat == offender && a.body != b.body)
}

fn wrong_root(seating: &Seating, offender: Seat, blame: &Blame) -> Option<bool> {
    let [start, expected] = blame.evidence.as_slice() else { return None };
    let signed = Signed::read(start)?;
    let terms: Terms = signed.open()?;
    let expected: Terms = wire::decode_capped(expected, MESSAGE_BYTES_MAX).ok()?;
    let ours = signed.kind == Kind::Start && signed.seat == offender && signed.verify(seating);
    Some(ours && terms.participants == expected.participants && terms != expected)
}

fn bad_opening(seats: usize, offender: Seat, signed: &[Signed]) -> Option<bool> {
    let [dealt, unmask] = signed else { return None };
    if dealt.kind != Kind::Dealt || unmask.kind != Kind::Unmask || [dealt.seat, unmask.seat] != [offender; 2] {
        return None;
    }
    let (held, body): (Dealt, Unmask) = (dealt.open()?, unmask.open()?);
    if body.epoch != dealt.scope {
        return None;
    }
    let bad = |opening: &Opening| {
        let root = held.roots.iter().find(|r| r.seat == opening.dealer && r.kind == Kind::Root);
        let root = root.and_then(Signed::open::<Root>);
        root.is_some_and(|root| place_of(seats, &dealt.scope, opening.dealer, offender, &root, opening).is_none())
    };
    Some(body.openings.iter().any(bad))
}

/// The round key and kind under which an opening climbs to the root, from whichever place the graph
/// gives its holder: an honest share climbs from its own place only.
fn place_of(
    seats: usize,
    t1: &Hash,
    dealer: Seat,
    holder: Seat,
    root: &Root,
    opening: &Opening,
) -> Option<(u16, Secret)> {
    let shape = Shape { holders: usize::from(root.holders), keys: usize::from(root.keys) };
    // No graph gives a dealer more holders than there are seats, and each costs a walk up the tree.
    if shape.holders > seats.min(SEATS_MAX) || shape.keys > usize::from(ROUND_KEYS_MAX) {
        return None;
    }
    let kinds = [Secret::Mask, Secret::Own];
    let mut leaves = (0..root.keys).flat_map(|rho| kinds.map(|secret| (rho, secret)));
    leaves.find(|(rho, secret)| {
        let place = Place { dealer, holder, rho: *rho, secret: *secret };
        (0..shape.holders).any(|group| shape.opens(t1, place, group, &opening.share, &opening.path, &root.root))
    })
}

/// The share of a secret that a holder had of the blamed dealer. Its dealer's root vouches for it, so that whoever shows it need
/// not be the holder: the holder's signature over all that it opened would only be longer.
#[derive(Serialize, Deserialize)]
pub(crate) struct Share {
    pub holder: Seat,
    pub opening: Opening,
}

fn inconsistent(seating: &Seating, offender: Seat, evidence: &[Blob]) -> Option<bool> {
    let [bundle, root, shown @ ..] = evidence else { return None };
    let signed = |bytes: &Blob| Signed::read(bytes).filter(|s| s.verify(seating));
    let (bundle, root) = (signed(bundle)?, signed(root)?);
    if bundle.kind != Kind::Bundle || root.kind != Kind::Root || [bundle.seat, root.seat] != [offender; 2] {
        return None;
    }
    let keys: Bundle = bundle.open()?;
    let body: Root = root.open()?;
    if body.bundle != bundle.body_hash() {
        return None;
    }
    let shown: Vec<Share> = match shown {
        [one] => wire::decode_capped(one, MESSAGE_BYTES_MAX).ok()?,
        // As earlier versions showed it.
        openers => openers.iter().map(|opener| signed_share(&signed(opener)?, offender)).collect::<Option<_>>()?,
    };
    let mut shares = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    for Share { holder, opening } in &shown {
        if opening.dealer != offender {
            return None;
        }
        let (rho, secret) = place_of(seating.len(), &root.scope, offender, *holder, &body, opening)?;
        kinds.insert((rho, secret as u8));
        shares.insert(holder.0, SecretScalar::from_canonical(&opening.share)?);
    }
    let [(rho, kind)] = kinds.into_iter().collect::<Vec<_>>()[..] else { return None };
    let indices: Vec<u16> = shares.keys().copied().collect();
    let secret = Lagrange::new(&indices)?.combine(shares.values())?;
    if indices.len() < usize::from(body.threshold) {
        return None;
    }
    let public = keys.keys.get(usize::from(rho))?;
    Some(if kind == Secret::Own as u8 {
        keys::self_hash(offender, rho, &secret) != public.own
    } else {
        *secret.public().as_bytes() != public.mask
    })
}

fn left_out(offender: Seat, signed: &[Signed]) -> Option<bool> {
    let [receipt, list] = signed else { return None };
    let body: Receipt = receipt.open()?;
    let headers = [false, true].iter().find_map(|mode| read_headers(list, *mode))?.0;
    let both = receipt.kind == Kind::Receipt && list.kind == Kind::Survivors;
    let ours = [receipt.seat, list.seat] == [offender; 2] && receipt.scope == list.scope;
    let seat = Seat(u16::try_from(receipt.slot).ok()?);
    let listed = headers.iter().any(|h| h.seat == seat && h.body_hash() == body.header);
    Some(both && ours && !listed)
}

/// The dealer's share in all that a holder has opened.
fn signed_share(signed: &Signed, dealer: Seat) -> Option<Share> {
    let body: Unmask = (signed.kind == Kind::Unmask).then(|| signed.open())??;
    let opening = body.openings.into_iter().find(|o| o.dealer == dealer)?;
    Some(Share { holder: signed.seat, opening })
}

fn bad_key(offender: Seat, signed: &[Signed]) -> Option<bool> {
    let [bundle] = signed else { return None };
    if bundle.kind != Kind::Bundle || bundle.seat != offender {
        return None;
    }
    let keys: Bundle = bundle.open()?;
    Some(keys.keys.iter().any(|k| PeerKeys::decode(k).is_none()))
}
