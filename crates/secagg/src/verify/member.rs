//! A survivor's part of verify mode: its tags, and the checks before it believes a sum.

use std::collections::BTreeSet;

use tacit_crypto::SignedPrg;
use tacit_protocol::{Abort, Blame, Concealed, Offence, Party};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, Seat, Step};

use super::evidence::WrongPiece;
use super::masks::{Opened, Unmade};
use super::pieces::tag_of_sum;
use super::tag::{Challenge, Tag};
use super::{List, PieceDigest, Proof, hub, phase, pieces_cap, proof_cap};
use crate::blind::Blinded;
use crate::epoch::Epoch;
use crate::mask::apply_masks;
use crate::plan::{Delivery, Outcome, round_phase};
use crate::relay::from_aggregator;
use crate::round::{Agreed, Member};
use crate::signed::{Kind, Signed};
use crate::story::Story;
use crate::vector::Vector;

/// Step 5b: the tags of this seat's vector, beside its vote.
pub(crate) async fn send_tags(
    member: &Member<'_>,
    party: &mut Party,
    epoch: &Epoch,
    agreed: &Agreed,
) -> Result<(), Abort> {
    let (Some(list), Some(kept)) = (&agreed.list, &member.kept) else { return Ok(()) };
    let signed = hub::sign(party, list, kept);
    let step = epoch.plan.round_step(member.round.index, phase::TAGS);
    let until = party.now().plus(epoch.plan.step_ms);
    party.send(epoch.plan.aggregator, step, signed.bytes(), until).await
}

/// Step 8: takes the masks off and believes the sum only when all of it fits.
pub(crate) async fn finish(
    member: Member<'_>,
    party: &mut Party,
    epoch: &Epoch,
    agreed: Agreed,
) -> Result<Outcome, Abort> {
    let list = agreed.list.as_ref().ok_or_else(|| internal("a verified round without a claim"))?;
    let check = Check { member: &member, epoch, list };
    let (signed, proof) = check.receive_proof(party).await?;
    let tagged = proof.tagged(party.seating(), list).ok_or_else(|| check.blame(Some(&signed)).at(check.step()))?;
    let masks = check.masks(&signed, &proof, &agreed.seats)?;
    let (cells, carries) = check.receive_sum(party).await?;
    let shown = check.receive_shown(party, &proof).await?;
    check.equations(&signed, &tagged, (&cells, &carries), &shown)?;
    let shape = list.claim.shape;
    let mut sum = shape.elements(&cells, &carries).ok_or_else(|| internal("cells that are no elements"))?;
    apply_masks(&mut sum, &masks);

    let survivors: Vec<Seat> = agreed.seats.iter().copied().collect();
    let (numbers, disclosure) = (member.round.len as u64, member.round.delivery.disclosure());
    match &member.round.delivery {
        Delivery::Nodes(_) => {
            let sum = party.reveal(disclosure, numbers, Concealed::new(sum))?;
            Ok(Outcome { survivors, sum: Some(sum), ..Outcome::default() })
        }
        Delivery::Recipient { key, .. } => {
            check.result(party, &signed, (&cells, &carries), &sum).await?;
            let blinded = Blinded {
                transcript: member.tr,
                recipient: *key,
                width: member.round.width,
                vector: Blob(sum.to_bytes()),
                headers: list.headers().to_vec(),
            };
            let made = Some(tacit_crypto::sha256(&wire::encode(&blinded)));
            let release = party.reveal(disclosure, numbers, Concealed::new(member.release))?;
            Ok(Outcome { survivors, made, release, ..Outcome::default() })
        }
    }
}

fn internal(what: &str) -> Abort {
    Abort::Local(Fault::new(Code::JobInternal, what))
}

struct Check<'a> {
    member: &'a Member<'a>,
    epoch: &'a Epoch,
    list: &'a List,
}

impl Check<'_> {
    fn hub(&self) -> Seat {
        self.epoch.plan.aggregator
    }

    fn at(&self, number: u16) -> Step {
        self.epoch.plan.round_step(self.member.round.index, number)
    }

    fn step(&self) -> Step {
        self.at(phase::PROOF)
    }

    /// Blame of the aggregator for its sum. With the proof, which it signed, it convicts; what was
    /// not signed may be the network's fault.
    fn blame(&self, proof: Option<&Signed>) -> Blame {
        let blame = Blame::seat(self.hub(), Offence::BadSum);
        match proof {
            Some(proof) => blame.with(self.list.signed.bytes()).with(proof.bytes()),
            None => blame,
        }
    }

    fn story(&self, seats: &BTreeSet<Seat>) -> Vec<u8> {
        wire::encode(&Story::of(self.epoch, seats))
    }

    async fn receive_proof(&self, party: &mut Party) -> Result<(Signed, Proof), Abort> {
        let until = party.now().plus(6 * self.epoch.plan.step_ms);
        let cap = proof_cap(self.epoch.plan.caps(), self.list.claim.shape);
        let signed: Signed = from_aggregator(party, self.hub(), self.step(), cap, until).await?;
        if !signed.is(party.seating(), Kind::Proof, &self.member.tr, 0, self.hub()) {
            return Err(Blame::seat(self.hub(), Offence::Signature).at(self.step()));
        }
        let proof = signed.open::<Proof>().ok_or_else(|| self.blame(Some(&signed)).at(self.step()))?;
        Ok((signed, proof))
    }

    fn masks(&self, signed: &Signed, proof: &Proof, survivors: &BTreeSet<Seat>) -> Result<Vec<SignedPrg>, Abort> {
        let rho = self.member.round.index;
        let opened = Opened {
            tr: self.member.tr,
            rho,
            topology: &self.epoch.topology,
            participants: &self.member.participants,
            survivors,
            secrets: &proof.secrets,
        };
        opened.masks(|seat| self.epoch.peer(seat, rho)).map_err(|unmade| match unmade {
            Unmade::Incomplete => self.blame(None).at(self.step()),
            Unmade::Wrong(seat) => {
                let blame = self.blame(Some(signed)).with(self.member.start.bytes());
                blame.with(self.story(&BTreeSet::from([seat]))).at(self.step())
            }
        })
    }

    /// A stream of exactly so many bytes from the aggregator.
    async fn receive(&self, party: &mut Party, number: u16, bytes: usize) -> Result<Vec<u8>, Abort> {
        let step = self.at(number);
        let until =
            party.now().plus(crate::hub::masked_ms(&self.epoch.plan, self.member.round) + 2 * self.epoch.plan.step_ms);
        let from = BTreeSet::from([self.hub()]);
        let mut all = Vec::new();
        while let Some(chunk) = party.chunk(&from, step, until).await? {
            if chunk.total != bytes as u64 {
                return Err(Blame::seat(self.hub(), Offence::Malformed).at(step));
            }
            all.extend_from_slice(&chunk.bytes);
        }
        if all.len() == bytes { Ok(all) } else { Err(Abort::Missing { step, seats: vec![self.hub()] }) }
    }

    /// The cells and carries of the masked sum, as claimed before the vote.
    async fn receive_sum(&self, party: &mut Party) -> Result<(Vec<u8>, Vec<u8>), Abort> {
        let (shape, number) = (self.list.claim.shape, phase::MASKED_SUM);
        let mut cells = self.receive(party, number, shape.bytes() + shape.carries()).await?;
        let carries = cells.split_off(shape.bytes());
        if shape.tree(&cells, &carries).root() != self.list.claim.root {
            return Err(self.blame(None).at(self.at(number)));
        }
        Ok((cells, carries))
    }

    /// The vectors that are shown, as their owners' headers fix them.
    async fn receive_shown(&self, party: &mut Party, proof: &Proof) -> Result<Vec<u8>, Abort> {
        let bytes = self.list.claim.shape.bytes();
        if proof.shown.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.receive(party, phase::SHOWN, bytes.saturating_mul(proof.shown.len())).await?;
        let fits = |(seat, vector): (&Seat, &[u8])| {
            self.list.root(*seat) == Some(self.list.claim.shape.tree(vector, &[]).root())
        };
        let genuine = proof.shown.iter().zip(all.chunks(bytes.max(1))).all(fits);
        if genuine { Ok(all) } else { Err(self.blame(None).at(self.at(phase::SHOWN))) }
    }

    /// For each piece, the tags and the shown vectors add up to the claimed sum.
    fn equations(
        &self,
        signed: &Signed,
        tagged: &[Tag],
        (cells, carries): (&[u8], &[u8]),
        shown: &[u8],
    ) -> Result<(), Abort> {
        let shape = self.list.claim.shape;
        let challenge = Challenge::new(&self.member.tr, &self.list.hash);
        let vectors: Vec<&[u8]> = shown.chunks(shape.bytes().max(1)).collect();
        let shown: Vec<Vec<Tag>> = vectors.iter().map(|v| shape.tags(&challenge, v)).collect();
        let mut carries_of = carries.chunks(super::pieces::PIECE_CELLS * super::pieces::CARRY_BYTES);
        for ((index, piece), tagged) in shape.cut(cells).enumerate().zip(tagged) {
            let right = shown.iter().filter_map(|t| t.get(index)).fold(*tagged, |sum, tag| sum.plus(*tag));
            let left = tag_of_sum(&challenge, shape, index, piece, carries_of.next().unwrap_or_default());
            if left == right {
                continue;
            }
            let wrong = WrongPiece {
                index: index as u32,
                sum: shape.open(index, cells, carries),
                shown: vectors.iter().map(|v| shape.open(index, v, &[])).collect(),
            };
            return Err(self.blame(Some(signed)).with(wire::encode(&wrong)).at(self.step()));
        }
        Ok(())
    }

    /// The aggregator's digest of what the recipient gets: that of the sum which this seat unmasked.
    async fn result(
        &self,
        party: &mut Party,
        signed: &Signed,
        (cells, carries): (&[u8], &[u8]),
        sum: &Vector,
    ) -> Result<(), Abort> {
        let step = self.at(round_phase::RESULT);
        party.progress(step);
        let until = party.now().plus(3 * self.epoch.plan.step_ms);
        let cap = pieces_cap(self.epoch.plan.caps(), self.list.claim.shape);
        let result: Signed = from_aggregator(party, self.hub(), step, cap, until).await?;
        if !result.is(party.seating(), Kind::Result, &self.member.tr, 0, self.hub()) {
            return Err(Blame::seat(self.hub(), Offence::Signature).at(step));
        }
        let shape = self.list.claim.shape;
        let right = PieceDigest { survivors: self.list.hash, leaves: shape.leaves(&sum.to_bytes(), &[]) };
        let stated = result.open::<PieceDigest>();
        if stated.as_ref() == Some(&right) {
            return Ok(());
        }
        let stated = stated.map(|p| p.leaves).unwrap_or_default();
        let index = right.leaves.iter().zip(&stated).position(|(r, s)| r != s).unwrap_or(0);
        let seats: BTreeSet<Seat> = self.member.participants.iter().copied().collect();
        let blame = self.blame(Some(signed)).with(self.member.start.bytes()).with(self.story(&seats));
        let piece = (index as u32, shape.open(index, cells, carries));
        Err(blame.with(result.bytes()).with(wire::encode(&piece)).at(step))
    }
}
