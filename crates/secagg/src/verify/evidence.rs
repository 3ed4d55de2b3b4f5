//! What convicts of a wrong sum, for someone who saw nothing of the round.
//!
//! | evidence, in this order | convicts | of |
//! |---|---|---|
//! | list, proof | the aggregator | a proof that is not whole |
//! | list, proof, a piece of the claimed sum and of each shown vector | the aggregator | a claim that is not the sum |
//! | list, proof, terms, story | the aggregator | a secret that is not that of the signed keys |
//! | list, proof, terms, story, digest, a piece of the claimed sum | the aggregator | a digest of another sum |
//! | list, tags, a piece of the seat's vector | the seat | tags of another vector than its header's |
//!
//! Lists, proofs, terms, digests and tags are signed; pieces lie under roots that are; the story is
//! the preimage of the transcript that the terms and through them the proof are signed under.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tacit_protocol::Seating;
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::wire::{self, Blob};
use tacit_types::{Hash, Seat};

use super::masks::{Opened, genuine};
use super::pieces::{PIECE_CELLS, Piece, leaf, tag_of_sum};
use super::tag::{Challenge, Tag};
use super::{List, PieceDigest, Proof, read_tags};
use crate::messages::Terms;
use crate::signed::{Kind, Signed};
use crate::story::Story;
use crate::vector::{Vector, each_width};

/// A piece at which the tags do not add up.
#[derive(Serialize, Deserialize)]
pub(crate) struct WrongPiece {
    pub index: u32,
    pub sum: Piece,
    /// Of each shown vector, in order of seat.
    pub shown: Vec<Piece>,
}

/// Whether the evidence convicts a seat of vouching for another vector than it sent.
pub(crate) fn bad_tags(seating: &Seating, offender: Seat, evidence: &[Blob]) -> Option<bool> {
    let [list, tags, piece] = evidence else { return None };
    let (list, tags) = (signed(seating, list)?, signed(seating, tags)?);
    let list = List::read(&list)?;
    let (index, piece): (u32, Piece) = wire::decode_capped(piece, MESSAGE_BYTES_MAX).ok()?;
    if !tags.claims(Kind::Tags, &list.signed.scope, 0, offender) {
        return None;
    }
    let (shape, index) = (list.claim.shape, index as usize);
    let said = *read_tags(&tags, &list)?.get(index)?;
    // why: the header was signed by the offender, not by the aggregator that lists it.
    let header = list.header(offender).filter(|h| h.verify(seating))?;
    let root = header.open::<crate::messages::Header>()?.root;
    let right = piece.tag(&Challenge::new(&list.signed.scope, &list.hash), shape, index);
    Some(
        header.claims(Kind::Header, &list.signed.scope, 0, offender)
            && piece.is_under(shape, index, &root)
            && said != right,
    )
}

/// Whether the evidence convicts the aggregator of a wrong sum.
pub(crate) fn bad_sum(seating: &Seating, offender: Seat, evidence: &[Blob]) -> Option<bool> {
    let [list, proof, rest @ ..] = evidence else { return None };
    let (list, proof) = (signed(seating, list)?, signed(seating, proof)?);
    if [list.seat, proof.seat] != [offender; 2] || !proof.claims(Kind::Proof, &list.scope, 0, offender) {
        return None;
    }
    let list = List::read(&list)?;
    let case = Case { seating, offender, list, proof };
    match rest {
        [] => Some(case.incomplete()),
        [piece] => case.wrong_claim(piece),
        [start, story] => case.wrong_secret(start, story),
        [start, story, digest, piece] => case.wrong_digest(start, story, digest, piece),
        _ => None,
    }
}

fn signed(seating: &Seating, bytes: &[u8]) -> Option<Signed> {
    Signed::read(bytes).filter(|s| s.verify(seating))
}

struct Case<'a> {
    seating: &'a Seating,
    offender: Seat,
    list: List,
    /// The signed proof; its signature is checked.
    proof: Signed,
}

impl Case<'_> {
    fn proof(&self) -> Option<Proof> {
        self.proof.open::<Proof>()
    }

    fn tr(&self) -> Hash {
        self.proof.scope
    }

    fn incomplete(&self) -> bool {
        self.proof().is_none_or(|proof| proof.tagged(self.seating, &self.list).is_none())
    }

    fn wrong_claim(&self, piece: &[u8]) -> Option<bool> {
        let proof = self.proof()?;
        let wrong: WrongPiece = wire::decode_capped(piece, MESSAGE_BYTES_MAX).ok()?;
        let (shape, index) = (self.list.claim.shape, wrong.index as usize);
        let tagged = *proof.tagged(self.seating, &self.list)?.get(index)?;
        if !wrong.sum.is_under(shape, index, &self.list.claim.root) || wrong.shown.len() != proof.shown.len() {
            return None;
        }
        let challenge = Challenge::new(&self.tr(), &self.list.hash);
        let mut right = tagged;
        for (seat, piece) in proof.shown.iter().zip(&wrong.shown) {
            if !piece.is_under(shape, index, &self.list.root(*seat)?) {
                return None;
            }
            right = right.plus(piece.tag(&challenge, shape, index));
        }
        let left: Tag = tag_of_sum(&challenge, shape, index, &wrong.sum.bytes, &wrong.sum.carries);
        Some(left != right)
    }

    /// The terms and the story under which the proof was signed.
    fn history(&self, start: &[u8], story: &[u8]) -> Option<(Terms, u16, Story)> {
        Story::under(self.seating, self.offender, &self.tr(), start, story)
    }

    fn wrong_secret(&self, start: &[u8], story: &[u8]) -> Option<bool> {
        let (_, rho, story) = self.history(start, story)?;
        let keys = story.keys(self.seating, rho);
        let survives = |seat| self.list.root(seat).is_some();
        let wrong = |(seat, secret): &(Seat, [u8; 32])| {
            keys.get(seat).is_some_and(|theirs| genuine(*seat, rho, survives(*seat), secret, theirs).is_none())
        };
        Some(self.proof()?.secrets.iter().any(wrong))
    }

    fn wrong_digest(&self, start: &[u8], story: &[u8], digest: &[u8], piece: &[u8]) -> Option<bool> {
        let (terms, rho, story) = self.history(start, story)?;
        let digest = signed(self.seating, digest)?;
        let (index, piece): (u32, Piece) = wire::decode_capped(piece, MESSAGE_BYTES_MAX).ok()?;
        let (shape, index) = (self.list.claim.shape, index as usize);
        if !digest.claims(Kind::Result, &self.tr(), 0, self.offender)
            || !piece.is_under(shape, index, &self.list.claim.root)
        {
            return None;
        }
        let topology = story.topology(self.seating);
        let survivors: BTreeSet<Seat> = self.list.roots.iter().map(|(seat, _)| *seat).collect();
        let (proof, keys) = (self.proof()?, story.keys(self.seating, rho));
        let opened = Opened {
            tr: self.tr(),
            rho,
            topology: &topology,
            participants: &terms.participants,
            survivors: &survivors,
            secrets: &proof.secrets,
        };
        let masks = opened.masks(|seat| keys.get(&seat)).ok()?;
        let mut sum = shape.elements(&piece.bytes, &piece.carries)?;
        let first = (index * PIECE_CELLS * shape.cell() / shape.width.bytes()) as u64;
        for mask in &masks {
            each_width!(Vector, &mut sum, v => mask.prg.apply(first, v, mask.subtract));
        }
        let right = leaf(index as u64, &sum.to_bytes(), &[]);
        let stated = digest.open::<PieceDigest>().filter(|p| p.survivors == self.list.hash);
        let stated = stated.filter(|p| p.leaves.len() == shape.pieces());
        Some(stated.and_then(|p| p.leaves.get(index).copied()) != Some(right))
    }
}
