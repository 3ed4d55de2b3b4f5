//! Dealing: every secret of an epoch shared among its holders, committed to under one root, sealed
//! to each; and taking what the others dealt.

use std::collections::BTreeMap;

use tacit_crypto::seal::{open_once, seal_once};
use tacit_crypto::{Agreement, PublicPoint, Secret as Hidden, SecretScalar, shamir};
use tacit_protocol::{Offence, Party};
use tacit_types::wire::{self, Blob};
use tacit_types::{Hash, Seat};

use crate::epoch::Held;
use crate::keys::{self, PeerKeys, RoundKeys};
use crate::merkle::{Place, Secret, Shape, Tree, climb, commitment};
use crate::messages::{Deal, Root};
use crate::plan::Plan;
use crate::setup::AgreedBook;
use crate::signed::{Kind, Signed};

/// A deal that this seat holds.
pub(crate) struct HeldDeal {
    pub root: Signed,
    pub held: Held,
}

/// A pair of shares for each round key, of s and of b.
type Shares = Vec<Option<(SecretScalar, SecretScalar)>>;

/// What dealing gives.
pub(crate) struct Dealing {
    /// To each neighbour.
    pub messages: BTreeMap<Seat, Vec<u8>>,
    /// This seat's shares of its own secrets.
    pub mine: HeldDeal,
    /// The keys that open the neighbours' deals.
    pub opening_keys: BTreeMap<Seat, Vec<Hidden<[u8; 32]>>>,
}

/// Shares every secret, commits to every share, seals each neighbour's. Also gives this seat's own
/// shares, and the keys that will open the neighbours' deals.
pub(crate) fn deal_out(party: &mut Party, plan: &Plan, book: &AgreedBook, own: &[RoundKeys]) -> Dealing {
    let me = party.seat();
    let holders = book.topology.holders(me);
    let indices: Vec<u16> = holders.iter().map(|s| s.0).collect();
    let t = plan.params.threshold();
    let shape = Shape { holders: holders.len(), keys: own.len() };
    let mut shares: Vec<Shares> = holders.iter().map(|_| Vec::new()).collect();
    for keys in own {
        let mask = shamir::share(&keys.mask, t, &indices, party.rng());
        let own = shamir::share(&keys.own, t, &indices, party.rng());
        for (list, pair) in shares.iter_mut().zip(mask.into_iter().zip(own)) {
            list.push(Some(pair));
        }
    }
    let groups: Vec<Vec<Hash>> = holders
        .iter()
        .zip(&shares)
        .map(|(holder, list)| group_commitments(&book.t1, me, *holder, list, shape))
        .collect();
    let outer = Tree::new(groups.iter().map(|g| Tree::new(g.clone()).root()).collect());
    let body = Root {
        root: outer.root(),
        bundle: book.own_bundle,
        holders: holders.len() as u16,
        keys: own.len() as u16,
        threshold: t,
    };
    let root = Signed::new(party, Kind::Root, &book.t1, 0, &body);
    let mut agreements = agreements(&holders, book, own);
    let (mut messages, mut opening_keys, mut mine) = (BTreeMap::new(), BTreeMap::new(), None);
    for (group, ((holder, commitments), shares)) in holders.iter().zip(groups).zip(shares).enumerate() {
        let path = outer.path(group);
        if *holder == me {
            mine = Some(Held { commitments, outer: path, shares });
        } else if let Some(agreed) = agreements.remove(holder) {
            let (sealed, keys) = seal_shares(&book.t1, me, *holder, &agreed, &shares);
            messages.insert(*holder, wire::encode(&Deal { root: root.clone(), path, sealed }));
            opening_keys.insert(*holder, keys);
        }
    }
    // proof: a seat is among its own holders.
    let held = mine.unwrap_or(Held { commitments: vec![], outer: vec![], shares: vec![] });
    Dealing { messages, mine: HeldDeal { root, held }, opening_keys }
}

/// The commitments to one holder's shares, filled up to a perfect tree.
fn group_commitments(
    t1: &Hash,
    dealer: Seat,
    holder: Seat,
    shares: &[Option<(SecretScalar, SecretScalar)>],
    shape: Shape,
) -> Vec<Hash> {
    let mut leaves: Vec<Hash> = shares
        .iter()
        .zip(0..)
        .filter_map(|(pair, rho)| pair.as_ref().map(|p| (p, rho)))
        .flat_map(|((mask, own), rho)| {
            [(Secret::Mask, mask), (Secret::Own, own)].map(|(secret, share)| {
                commitment(t1, Place { dealer, holder, rho, secret }, share.to_bytes().expose_secret())
            })
        })
        .collect();
    leaves.resize(shape.group_leaves(), Hash([0; 32]));
    leaves
}

/// The agreements of each round key with each holder whose keys are known: one secret with many points at a time.
fn agreements(holders: &[Seat], book: &AgreedBook, own: &[RoundKeys]) -> BTreeMap<Seat, Vec<Agreement>> {
    let peers: Vec<(Seat, &Vec<PeerKeys>)> =
        holders.iter().filter_map(|seat| Some((*seat, book.peers.get(seat)?))).collect();
    let mut all: BTreeMap<Seat, Vec<Agreement>> = peers.iter().map(|(seat, _)| (*seat, Vec::new())).collect();
    for (rho, keys) in own.iter().enumerate() {
        // proof: a bundle without a key set for every round key was refused, so that none is left out here.
        let known: Vec<(Seat, PublicPoint)> =
            peers.iter().filter_map(|(seat, keys)| Some((*seat, keys.get(rho)?.seal))).collect();
        let points: Vec<PublicPoint> = known.iter().map(|(_, point)| *point).collect();
        for ((seat, _), agreement) in known.iter().zip(keys.seal.agree_all(&points)) {
            all.entry(*seat).or_default().push(agreement);
        }
    }
    all
}

/// Seals a holder's shares. Both directions of an agreement come from one multiplication, so the
/// keys for the holder's own deal are made here too.
fn seal_shares(
    t1: &Hash,
    me: Seat,
    holder: Seat,
    agreements: &[Agreement],
    shares: &[Option<(SecretScalar, SecretScalar)>],
) -> (Vec<Blob>, Vec<Hidden<[u8; 32]>>) {
    let mut opening = Vec::with_capacity(agreements.len());
    let mut sealed = Vec::with_capacity(agreements.len());
    for ((agreement, pair), rho) in agreements.iter().zip(shares).zip(0..) {
        opening.push(keys::share_key(t1, agreement, holder, me, rho));
        let Some((mask, own)) = pair else { continue };
        let mut plain = [0u8; 64];
        plain[..32].copy_from_slice(mask.to_bytes().expose_secret());
        plain[32..].copy_from_slice(own.to_bytes().expose_secret());
        let plain = Hidden::new(plain);
        let key = keys::share_key(t1, agreement, me, holder, rho);
        sealed.push(Blob(seal_once(&key, &keys::share_context(t1, rho, me, holder), plain.expose_secret())));
    }
    (sealed, opening)
}

/// Opens a dealer's shares and checks them against its signed root.
///
/// # Errors
/// `MissingDeal` for a deal that its dealer signed under another transcript: either of the two was
/// shown another book, and which of them nobody can tell. `BadDeal` when anything else is amiss.
pub(crate) fn take_deal(
    party: &Party,
    plan: &Plan,
    book: &AgreedBook,
    dealer: Seat,
    bytes: &[u8],
    opening_keys: &[Hidden<[u8; 32]>],
) -> Result<HeldDeal, Offence> {
    let deal: Deal = wire::decode_capped(bytes, plan.caps().deal()).map_err(|_| Offence::BadDeal)?;
    let root = &deal.root;
    let elsewhere = root.scope != book.t1 && root.claims(Kind::Root, &root.scope, 0, dealer);
    if elsewhere && root.verify(party.seating()) {
        return Err(Offence::MissingDeal);
    }
    open_deal(party, plan, book, dealer, deal, opening_keys).ok_or(Offence::BadDeal)
}

fn open_deal(
    party: &Party,
    plan: &Plan,
    book: &AgreedBook,
    dealer: Seat,
    deal: Deal,
    opening_keys: &[Hidden<[u8; 32]>],
) -> Option<HeldDeal> {
    let me = party.seat();
    let holders = book.topology.holders(dealer);
    let group = holders.iter().position(|s| *s == me)?;
    let shape = Shape { holders: holders.len(), keys: usize::from(plan.rounds) };
    if deal.sealed.len() != opening_keys.len() || deal.path.len() != shape.outer_path() {
        return None;
    }
    let mut shares = Vec::with_capacity(deal.sealed.len());
    for ((sealed, key), rho) in deal.sealed.iter().zip(opening_keys).zip(0..) {
        let plain = Hidden::new(open_once(key, &keys::share_context(&book.t1, rho, dealer, me), sealed)?);
        let (mask, own) = plain.expose_secret().split_first_chunk::<32>()?;
        let own: &[u8; 32] = own.try_into().ok()?;
        shares.push(Some((SecretScalar::from_canonical(mask)?, SecretScalar::from_canonical(own)?)));
    }
    let commitments = group_commitments(&book.t1, dealer, me, &shares, shape);
    let climbed = climb(Tree::new(commitments.clone()).root(), group, &deal.path);
    let body: Root = deal.root.open()?;
    // Keys and shares that do not fit convict their dealer only if its root names the bundle.
    let bundle = book.bundles.get(&dealer).map(Signed::body_hash);
    let stated = (body.root, Some(body.bundle), usize::from(body.holders), body.keys, body.threshold);
    let fits = stated == (climbed, bundle, holders.len(), plan.rounds, plan.params.threshold());
    if !fits || !deal.root.is(party.seating(), Kind::Root, &book.t1, 0, dealer) {
        return None;
    }
    Some(HeldDeal { root: deal.root, held: Held { commitments, outer: deal.path, shares } })
}
