//! The aggregator's part of verify mode: the claim, the tags, and what the others check with.

use std::collections::{BTreeMap, BTreeSet};

use tacit_protocol::{Abort, Blame, Offence, Party};
use tacit_types::wire;
use tacit_types::{Hash, Seat};

use super::pieces::Shape;
use super::tag::{Challenge, Tag};
use super::{Claim, List, Proof, Tags, phase, read_tags, tags_cap};
use crate::epoch::Epoch;
use crate::plan::Round;
use crate::relay::{Collector, spread};
use crate::signed::{Kind, Signed};

/// Changes cells and carries.
#[cfg(test)]
pub(crate) type Cheat = fn(&mut (Vec<u8>, Vec<u8>));

#[cfg(test)]
thread_local! {
    /// How an aggregator under test changes the sum before it claims it.
    pub(crate) static CHEAT: core::cell::Cell<Option<Cheat>> = const { core::cell::Cell::new(None) };
}

/// What the aggregator keeps of a verified round.
pub(crate) struct Watch {
    shape: Shape,
    vectors: BTreeMap<Seat, Vec<u8>>,
    /// Cells and carries of the sum of the vectors, once it is claimed.
    sum: (Vec<u8>, Vec<u8>),
}

impl Watch {
    pub fn new(round: &Round) -> Self {
        Self { shape: super::shape(round), vectors: BTreeMap::new(), sum: (Vec::new(), Vec::new()) }
    }

    /// Keeps a masked vector and gives its root.
    pub fn keep(&mut self, seat: Seat, bytes: Vec<u8>) -> Hash {
        let root = self.shape.tree(&bytes, &[]).root();
        self.vectors.insert(seat, bytes);
        root
    }

    /// Forgets a vector that does not fit its header.
    pub fn forget(&mut self, seat: Seat) {
        self.vectors.remove(&seat);
    }

    /// Adds what is kept, and claims the sum.
    pub fn claim(&mut self) -> Claim {
        self.sum = self.shape.add(self.vectors.values().map(Vec::as_slice));
        #[cfg(test)]
        CHEAT.get().iter().for_each(|cheat| cheat(&mut self.sum));
        Claim { shape: self.shape, root: self.shape.tree(&self.sum.0, &self.sum.1).root() }
    }

    /// Collects tags and gives those that fit; the vector of every other survivor will be shown. Who
    /// signed tags of another vector than its header's is blamed with both.
    pub async fn collect(
        &self,
        party: &mut Party,
        epoch: &Epoch,
        round: &Round,
        list: &List,
        blames: &mut Vec<Blame>,
    ) -> Result<Vec<Signed>, Abort> {
        let step = epoch.plan.round_step(round.index, phase::TAGS);
        party.progress(step);
        let challenge = Challenge::new(&list.signed.scope, &list.hash);
        let me = party.seat();
        let mut tags = BTreeMap::new();
        if let Some(own) = self.vectors.get(&me) {
            tags.insert(me, sign(party, list, own));
        }
        let until = party.now().plus(epoch.plan.step_ms);
        let from = list.roots.iter().map(|(seat, _)| *seat).filter(|s| *s != me);
        let mut collector = Collector::new(step, tags_cap(epoch.plan.caps(), self.shape), from, until);
        while let Some((seat, bytes)) = collector.next(party, blames).await? {
            let signed =
                Signed::read(&bytes).filter(|s| s.is(party.seating(), Kind::Tags, &list.signed.scope, 0, seat));
            let stated = signed.as_ref().and_then(|s| read_tags(s, list));
            let (Some(signed), Some(stated), Some(vector)) = (signed, stated, self.vectors.get(&seat)) else {
                blames.push(Blame::seat(seat, Offence::Malformed));
                continue;
            };
            match self.first_wrong(&challenge, vector, &stated) {
                None => {
                    tags.insert(seat, signed);
                }
                Some(index) => {
                    let piece = (index as u32, self.shape.open(index, vector, &[]));
                    let blame = Blame::seat(seat, Offence::BadInput).with(list.signed.bytes());
                    blames.push(blame.with(signed.bytes()).with(wire::encode(&piece)));
                }
            }
        }
        Ok(tags.into_values().collect())
    }

    fn first_wrong(&self, challenge: &Challenge, vector: &[u8], stated: &[Tag]) -> Option<usize> {
        self.shape.tags(challenge, vector).iter().zip(stated).position(|(right, said)| right != said)
    }

    /// Sends the survivors what they check with.
    pub async fn prove(
        &self,
        party: &mut Party,
        epoch: &Epoch,
        round: &Round,
        list: &List,
        tags: Vec<Signed>,
        secrets: Vec<(Seat, [u8; 32])>,
    ) -> Result<(), Abort> {
        let step = |number| epoch.plan.round_step(round.index, number);
        let others: Vec<Seat> = list.roots.iter().map(|(s, _)| *s).filter(|s| *s != party.seat()).collect();
        let tagged: BTreeSet<Seat> = tags.iter().map(|t| t.seat).collect();
        let shown: Vec<Seat> = list.roots.iter().map(|(s, _)| *s).filter(|s| !tagged.contains(s)).collect();
        let vectors = shown.iter().filter_map(|s| self.vectors.get(s)).flatten().copied().collect::<Vec<u8>>();
        let proof = Proof { survivors: list.hash, tags, shown, secrets };
        let signed = Signed::new(party, Kind::Proof, &list.signed.scope, 0, &proof).bytes();
        party.progress(step(phase::PROOF));
        let until = party.now().plus(epoch.plan.step_ms);
        spread(party, step(phase::PROOF), others.clone(), signed, until).await?;
        let until = party.now().plus(crate::hub::masked_ms(&epoch.plan, round));
        let sum = [self.sum.0.as_slice(), self.sum.1.as_slice()].concat();
        spread(party, step(phase::MASKED_SUM), others.clone(), sum, until).await?;
        if vectors.is_empty() {
            return Ok(());
        }
        let until = party.now().plus(crate::hub::masked_ms(&epoch.plan, round));
        spread(party, step(phase::SHOWN), others, vectors, until).await
    }
}

/// A seat's signed tags of its own masked vector.
pub(crate) fn sign(party: &Party, list: &List, vector: &[u8]) -> Signed {
    let challenge = Challenge::new(&list.signed.scope, &list.hash);
    let tags = list.claim.shape.tags(&challenge, vector).into_iter().map(Tag::to_bytes).collect();
    Signed::new(party, Kind::Tags, &list.signed.scope, 0, &Tags { survivors: list.hash, tags })
}
