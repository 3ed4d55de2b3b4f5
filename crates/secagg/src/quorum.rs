//! How many must survive and how many must vote, for a seat of the round and for whoever checks it afterwards.
//!
//! Both numbers, and who counts, follow from the parameters that T0 covers. The aggregator signed over a hash of them
//! in everything that it signed in the round; what it says of them is believed by nobody.

use std::collections::BTreeSet;

use tacit_protocol::{Blame, Offence, Seating};
use tacit_types::wire::{self, Blob};
use tacit_types::{Hash, Seat};

use crate::epoch::Epoch;
use crate::messages::Quorum;
use crate::round::is_vote;
use crate::signed::{Kind, Signed};
use crate::story::Story;
use crate::verify::{agreed_hash, read_headers};

/// Whether these are enough votes for `survivors`, each of another of `electors`; no signature is checked.
pub(crate) fn counts(quorum: &Quorum, tr: &Hash, survivors: &Hash, electors: &BTreeSet<Seat>, need: u16) -> bool {
    let voters: BTreeSet<Seat> = quorum.votes.iter().map(|v| v.seat).collect();
    quorum.survivors == *survivors
        && quorum.need == need
        && voters.len() == quorum.votes.len()
        && voters.len() >= usize::from(need)
        && voters.is_subset(electors)
        && quorum.votes.iter().all(|v| is_vote(v, tr, survivors))
}

/// Blame of the aggregator for what it signed, with its terms and the story that T_r follows from.
pub(crate) fn blame(epoch: &Epoch, start: &Signed, shown: &Signed) -> Blame {
    let story = wire::encode(&Story::of(epoch, &BTreeSet::new()));
    Blame::seat(epoch.plan.aggregator, Offence::NoQuorum).with(shown.bytes()).with(start.bytes()).with(story)
}

/// Whether the evidence convicts the aggregator of a list of too few survivors, or of a quorum that does not count.
pub(crate) fn convicts(seating: &Seating, offender: Seat, evidence: &[Blob]) -> Option<bool> {
    let [shown, rest @ ..] = evidence else { return None };
    let shown = signed(seating, offender, shown)?;
    if rest.is_empty() {
        return by_its_own_word(seating, &shown);
    }
    let [start, story, list @ ..] = rest else { return None };
    let tr = shown.scope;
    let (_, _, story) = Story::under(seating, offender, &tr, start, story)?;
    match (shown.kind, list) {
        (Kind::Survivors, []) => {
            let (seats, _) = survivors(&story, &shown)?;
            Some(seats.len() < usize::from(story.params.survivors_min()))
        }
        (Kind::Quorum, [] | [_]) => {
            let quorum: Quorum = shown.open()?;
            let holders = story.topology(seating).holders(Seat(u16::try_from(shown.slot).ok()?));
            let mut electors: BTreeSet<Seat> = holders.into_iter().collect();
            let mut agreed = quorum.survivors;
            if let [list] = list {
                let list = signed(seating, offender, list)?;
                if !list.claims(Kind::Survivors, &tr, 0, offender) {
                    return None;
                }
                let (seats, hash) = survivors(&story, &list)?;
                electors.retain(|seat| seats.contains(seat));
                agreed = hash;
            }
            let need = story.params.threshold();
            let forged = || quorum.votes.iter().any(|vote| !vote.verify(seating));
            Some(!counts(&quorum, &tr, &agreed, &electors, need) || forged())
        }
        _ => None,
    }
}

/// The quorum alone: it has fewer votes than it states itself.
fn by_its_own_word(seating: &Seating, shown: &Signed) -> Option<bool> {
    let body: Quorum = (shown.kind == Kind::Quorum).then(|| shown.open())??;
    let valid = |v: &&Signed| is_vote(v, &shown.scope, &body.survivors) && v.verify(seating);
    let voters: BTreeSet<Seat> = body.votes.iter().filter(valid).map(|v| v.seat).collect();
    Some(voters.len() < usize::from(body.need))
}

fn signed(seating: &Seating, offender: Seat, bytes: &[u8]) -> Option<Signed> {
    Signed::read(bytes).filter(|s| s.seat == offender && s.verify(seating))
}

/// Whom a list names, and H(U).
fn survivors(story: &Story, list: &Signed) -> Option<(BTreeSet<Seat>, Hash)> {
    let (headers, claim) = read_headers(list, story.params.is_verified())?;
    let hash = agreed_hash(&list.scope, &headers, claim.as_ref());
    Some((headers.iter().map(|h| h.seat).collect(), hash))
}
