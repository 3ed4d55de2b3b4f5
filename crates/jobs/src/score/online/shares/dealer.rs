//! The dealer's seat in a window on shares: deals as much as is asked for ahead, and sees no call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tacit_mpc::Dealer;
use tacit_protocol::{Abort, Blame, Next, Offence, Party, Wanted};
use tacit_receipts::Window;
use tacit_types::limits::SEATS_MAX;
use tacit_types::wire;
use tacit_types::{Columns, Fault, Millis, Seat, Step};

use super::super::super::circuit::Circuit;
use super::super::super::params::{ScoreParams, Unknown};
use super::super::tally::output;
use super::super::{Online, READY, Roles, cells, serial};
use super::party::OPENING_STEPS;
use super::{LOTS_MAX, Shares, Want, terms};
use crate::kind::{Fold, JointContext, JointFuture, JointHalf, JointOutput};
use crate::session;

/// Bytes of what an owner or the recipient says to the dealer.
const WANT_BYTES_MAX: usize = 128 + 2 * SEATS_MAX;

/// The dealer's half, which has nothing of its own.
pub(in crate::score) struct DealerFold<I> {
    pub params: ScoreParams,
    pub online: Online,
    pub circuit: Arc<Circuit<I>>,
}

impl<I: Copy + Send + Sync + 'static> Fold for DealerFold<I> {
    fn take(&mut self, _: &Columns) -> Result<(), Fault> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        self
    }
}

impl<I: Copy + Send + Sync + 'static> JointHalf for DealerFold<I> {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(serve(*self, party, context))
    }
}

/// What the owners and the recipient have said at the end. The dealer sees no call, so it counts nothing by itself; with
/// the recipient's word, what it signs rests on no owner alone, not even where the others have gone; only where the recipient is
/// lost to it too, on whoever is left.
#[derive(Default)]
struct Ends(BTreeMap<Seat, (Window, Vec<Seat>)>);

impl Ends {
    /// What all say who are there at the end, and are not lost to the dealer; `None` as long as one of them has not.
    ///
    /// # Errors
    /// [`Abort::Disagreement`] when they do not say the same: which of them lies cannot be told.
    fn agreed(&self, tellers: &[Seat], lost: &BTreeSet<Seat>) -> Result<Option<(Window, Vec<Seat>)>, Abort> {
        let Some((_, first)) = self.0.first_key_value() else { return Ok(None) };
        if self.0.values().any(|said| said != first) {
            return Err(Abort::Disagreement { seats: self.0.keys().copied().collect() });
        }
        let mut there = tellers.iter().filter(|s| first.1.contains(s) && !lost.contains(s));
        let all = there.all(|s| self.0.contains_key(s));
        Ok(all.then(|| first.clone()))
    }
}

struct Serving {
    shares: Shares,
    unknown: Unknown,
    corrected: Seat,
    dealer: Dealer,
    dealt: u32,
    heard: BTreeMap<Seat, u32>,
    ends: Ends,
    step_ms: u64,
}

async fn serve<I: Copy + Send + Sync>(
    half: DealerFold<I>,
    mut party: Party,
    context: JointContext,
) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let DealerFold { params, online, circuit } = half;
    let shares = Shares::of(&circuit);
    let roles = Roles::of(&context, &params, &online, Some(&shares))?;
    let terms = terms(&circuit, &roles, &context)?;
    let dealer = Dealer::open(&mut party, &terms).await?;
    let corrected = roles.owners.get(circuit.plan.corrected()).copied().unwrap_or(roles.recipient);
    let mut serving = Serving {
        shares,
        unknown: params.unknown,
        corrected,
        dealer,
        dealt: 0,
        heard: roles.owners.iter().chain([&roles.recipient]).map(|s| (*s, 0)).collect(),
        ends: Ends::default(),
        step_ms: context.step_ms,
    };
    party.progress(READY);
    let open_ms = online.seconds.saturating_mul(1000) + context.step_ms.saturating_mul(OPENING_STEPS + 2);
    let until = party.now().plus(open_ms);
    serving.run(&mut party, &roles.owners, until).await
}

impl Serving {
    async fn run(&mut self, party: &mut Party, owners: &[Seat], until: Millis) -> Result<JointOutput, Abort> {
        let (mut wanted, mut lost) = (Wanted::default(), BTreeSet::new());
        let tellers: Vec<Seat> = self.heard.keys().copied().collect();
        loop {
            let step = serial(self.heard.get(&self.corrected).copied().unwrap_or(0));
            if let Some((window, seats)) = self.ends.agreed(&tellers, &lost)? {
                if !seats.contains(&party.seat()) {
                    return Err(Abort::Missing { step, seats: vec![party.seat()] });
                }
                return Ok(output(window, seats));
            }
            let open = self.heard.iter().filter(|(seat, _)| !self.ends.0.contains_key(seat));
            wanted.messages = open.map(|(seat, heard)| (serial(*heard), *seat)).collect();
            match party.next(&mut wanted, WANT_BYTES_MAX, until).await? {
                Next::Message { from, step, body } => self.take(party, from, step, &body).await?,
                Next::Lost(seat) => {
                    lost.insert(seat);
                    // Who has said how it ends, goes.
                    if owners.iter().all(|s| lost.contains(s) && !self.ends.0.contains_key(s)) {
                        return Err(Abort::Missing { step, seats: owners.to_vec() });
                    }
                }
                Next::Host(_) => {}
                Next::Time => return Err(Abort::Missing { step, seats: vec![self.corrected] }),
            }
        }
    }

    async fn take(&mut self, party: &mut Party, from: Seat, step: Step, body: &[u8]) -> Result<(), Abort> {
        let blame = |offence| Err(Blame::seat(from, offence).at(step));
        let heard = self.heard.entry(from).or_default();
        *heard += 1;
        party.forget_of(from, serial(*heard));
        match wire::decode_capped::<Want>(body, WANT_BYTES_MAX) {
            Ok(Want::Lots(upto)) if from == self.corrected => {
                if upto > self.shares.lots() || upto <= self.dealt || upto - self.dealt > LOTS_MAX {
                    return blame(Offence::Flow);
                }
                while self.dealt < upto {
                    let lot = self.dealer.deal(self.shares.lot(self.dealt))?;
                    // One lot at a time: who takes none gets none.
                    party.send(from, serial(self.dealt), lot, party.now().plus(self.step_ms)).await?;
                    self.dealt += 1;
                }
                Ok(())
            }
            Ok(Want::End { calls, rows, root, seats }) => {
                let window = Window { calls, rows, cells: cells(self.unknown, calls, rows), root };
                self.ends.0.insert(from, (window, seats));
                Ok(())
            }
            Ok(Want::Lots(_)) | Err(_) => blame(Offence::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use tacit_types::{Code, Hash};

    use super::*;

    fn window(calls: u64) -> Window {
        Window { calls, rows: calls, cells: calls, root: Hash([0; 32]) }
    }

    #[test]
    fn the_dealer_takes_a_count_that_all_who_are_left_say() {
        let (recipient, one, other) = (Seat(0), Seat(2), Seat(3));
        let tellers = [recipient, one, other];
        let (mut ends, none) = (Ends::default(), BTreeSet::new());
        assert_eq!(ends.agreed(&tellers, &none).unwrap(), None);
        let left = vec![recipient, one];
        ends.0.insert(one, (window(7), left.clone()));
        assert_eq!(ends.agreed(&tellers, &none).unwrap(), None, "the recipient has not said it");
        let cut_off = BTreeSet::from([recipient]);
        assert!(ends.agreed(&tellers, &cut_off).unwrap().is_some(), "nor can it, where it is lost to the dealer alone");
        ends.0.insert(recipient, (window(7), left.clone()));
        assert_eq!(ends.agreed(&tellers, &none).unwrap(), Some((window(7), left.clone())), "the other has gone");
        for lie in [(window(8), left.clone()), (window(7), tellers.to_vec())] {
            ends.0.insert(recipient, lie);
            let end = ends.agreed(&tellers, &none);
            assert!(matches!(end, Err(Abort::Disagreement { seats }) if seats == [recipient, one]));
        }
        // Without the recipient, the owners' word is enough.
        let mut settled = Ends::default();
        for owner in [one, other] {
            assert_eq!(settled.agreed(&tellers, &none).unwrap(), None);
            settled.0.insert(owner, (window(3), vec![one, other]));
        }
        assert!(settled.agreed(&tellers, &none).unwrap().is_some());
        assert_eq!(Abort::Disagreement { seats: Vec::new() }.code(), Code::JobDisagreement);
    }
}
