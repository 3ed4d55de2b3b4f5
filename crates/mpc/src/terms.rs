//! What all seats of a run agree on before anything else is sent, and how they find out.

use std::sync::Arc;

use tacit_crypto::Transcript;
use tacit_protocol::{Abort, Gathered, Party};
use tacit_types::{Code, Fault, Hash, Millis, Seat, Step, wire};

use crate::plan::Plan;

/// One run of a plan.
#[derive(Clone)]
pub struct Terms {
    /// What is computed.
    pub plan: Arc<Plan>,
    /// The job and attempt: must differ between any two runs.
    pub context: Hash,
    /// The seats that compute, in the plan's order.
    pub parties: Vec<Seat>,
    /// The seat that deals. It computes nothing and sees no share.
    pub dealer: Seat,
    /// Steps are numbered from round `step_base` on, upwards and past it.
    pub step_base: u16,
    /// Milliseconds that a message may take.
    pub step_ms: u64,
}

fn wrong(what: impl Into<String>) -> Abort {
    Abort::Local(Fault::new(Code::JobInternal, what))
}

impl Terms {
    /// The hash that every seat compares.
    pub fn hash(&self) -> Hash {
        let seats: Vec<u16> = self.parties.iter().map(|s| s.0).collect();
        Transcript::new("tacit-mpc/1/terms")
            .fixed(&self.plan.hash().0)
            .fixed(&self.context.0)
            .bytes(&wire::encode(&seats))
            .u64(self.dealer.0.into())
            .u64(self.step_base.into())
            .finish()
    }

    /// The seats other than this one, dealer included.
    fn others(&self, me: Seat) -> Vec<Seat> {
        self.parties.iter().copied().chain([self.dealer]).filter(|s| *s != me).collect()
    }

    /// A local fault for terms that do not fit the plan or the seating.
    pub(crate) fn check(&self, party: &Party) -> Result<(), Abort> {
        let mut seats: Vec<Seat> = self.others(Seat(u16::MAX));
        seats.sort_unstable();
        seats.dedup();
        let seated = seats.iter().all(|s| s.index() < party.seating().len());
        if self.parties.len() != self.plan.parties() || seats.len() != self.parties.len() + 1 || !seated {
            return Err(wrong("the parties and the dealer are not as many different seats as the plan has"));
        }
        if (u64::from(self.step_base) << 16) + self.plan.steps() >= 1 << 32 {
            return Err(wrong("the steps of the plan do not fit after its first"));
        }
        Ok(())
    }

    /// The step of the comparison of terms; that of the seeds is the next.
    pub(crate) fn first_step(&self) -> Step {
        Step(u32::from(self.step_base) << 16)
    }

    pub(crate) fn until(&self, party: &Party) -> Millis {
        party.now().plus(self.step_ms)
    }

    /// All messages, or an abort that names who is missing and who of the run is known to be lost.
    pub(crate) fn all(
        &self,
        party: &Party,
        step: Step,
        gathered: Gathered,
    ) -> Result<std::collections::BTreeMap<Seat, Vec<u8>>, Abort> {
        if gathered.missing.is_empty() {
            return Ok(gathered.messages);
        }
        let gone = party.gone();
        let mut seats: Vec<Seat> = self.others(party.seat()).into_iter().filter(|s| gone.contains(s)).collect();
        if seats.is_empty() {
            seats = gathered.missing;
        }
        Err(Abort::Missing { step, seats })
    }

    /// Compares the terms with every other seat.
    pub(crate) async fn agree(&self, party: &mut Party) -> Result<(), Abort> {
        self.check(party)?;
        let (step, hash) = (self.first_step(), self.hash());
        let others = self.others(party.seat());
        for seat in &others {
            party.post(*seat, step, hash.0.to_vec())?;
        }
        let until = self.until(party);
        let gathered = party.gather(&others, step, 32, until).await?;
        let messages = self.all(party, step, gathered)?;
        let differ: Vec<Seat> = messages.into_iter().filter(|(_, m)| m[..] != hash.0).map(|(s, _)| s).collect();
        if differ.is_empty() { Ok(()) } else { Err(Abort::Disagreement { seats: differ }) }
    }
}
