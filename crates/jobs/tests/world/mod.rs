//! Real machines of one joint half, stepped by hand.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::Cohort;
use tacit_jobs::{JointContext, JointOutput, Plan};
use tacit_protocol::{Abort, Effect, Event, Machine, Message, Seating, Setup};
use tacit_types::{Attempt, Columns, Hash, JobId, Millis, Seat};

/// Some parties, their keys, the recipient and the floor.
pub struct World {
    keys: Vec<Arc<SigningKey>>,
    pub recipient: SealKey,
    pub floor: Cohort,
    /// Another number, another randomness at every seat.
    pub seed: core::cell::Cell<u64>,
    /// Bytes of vectors and their headers that each seat sent to the aggregator, as they were on the way.
    pub masked: RefCell<BTreeMap<Seat, (u64, u64)>>,
    /// Every body that was sent, as it was before any transport seals it.
    pub bodies: RefCell<Vec<(Seat, Vec<u8>)>>,
}

impl World {
    pub fn new(parties: usize) -> Self {
        let mut keys: Vec<_> = (0..parties).map(|i| SigningKey::from_seed(&Secret::new([i as u8 + 1; 32]))).collect();
        keys.sort_by_key(SigningKey::id);
        let recipient = SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 9))).unwrap();
        Self {
            keys: keys.into_iter().map(Arc::new).collect(),
            recipient,
            floor: Cohort { rows: 3, contributors: 2 },
            seed: core::cell::Cell::new(0),
            masked: RefCell::default(),
            bodies: RefCell::default(),
        }
    }

    fn machine(&self, plan: &dyn Plan, seat: usize, batches: &[Columns]) -> Machine<JointOutput> {
        let mut fold = plan.fold(&tacit_types::NodeId([0; 32]), tacit_jobs::Material::default()).unwrap();
        for batch in batches {
            fold.take(batch).unwrap();
        }
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(seat as u16),
            seating: self.seating(),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 30,
        };
        let context = JointContext {
            session: Hash([5; 32]),
            aggregator: Seat(0),
            step_ms: 1000,
            cohort: self.floor,
            recipient: self.recipient.public(),
            owners: self.keys.iter().map(|k| k.id()).collect(),
        };
        let half = fold.finish();
        let mut seed = [40 + seat as u8; 32];
        seed[..8].iter_mut().zip(self.seed.get().to_le_bytes()).for_each(|(byte, other)| *byte ^= other);
        Machine::new(setup, &Secret::new(seed), self.keys[seat].clone(), Millis(0), |party| half.run(party, context))
    }

    /// Runs to the end. `lose` names a seat and the number of effects after which it is lost.
    pub fn run(
        &self,
        plan: &dyn Plan,
        rows: &[Vec<Columns>],
        lose: Option<(usize, usize)>,
    ) -> Vec<Result<JointOutput, Abort>> {
        let mut machines: Vec<_> = rows.iter().enumerate().map(|(i, r)| self.machine(plan, i, r)).collect();
        let mut events: VecDeque<(usize, Event)> = (0..rows.len()).map(|i| (i, Event::Start)).collect();
        let mut timers: Vec<Option<Millis>> = vec![None; rows.len()];
        let (mut now, mut effects_of_lost, mut lost) = (Millis(0), 0, None);
        loop {
            let Some((to, event)) = events.pop_front() else {
                let waiting = (0..rows.len()).filter(|i| Some(*i) != lost && !machines[*i].is_finished());
                let Some(at) = waiting.filter_map(|i| timers[i]).min() else { break };
                now = now.max(at);
                for (i, timer) in timers.iter_mut().enumerate() {
                    if timer.is_some_and(|t| t <= now) && Some(i) != lost {
                        *timer = None;
                        events.push_back((i, Event::Timer));
                    }
                }
                continue;
            };
            if lost == Some(to) {
                continue;
            }
            for effect in machines[to].step(now, event) {
                if lose.is_some_and(|(seat, _)| seat == to) {
                    effects_of_lost += 1;
                    if lose.is_some_and(|(_, after)| effects_of_lost > after) && lost.is_none() {
                        lost = Some(to);
                        let gone = (0..rows.len()).filter(|i| *i != to);
                        events.extend(gone.map(|i| (i, Event::Gone(Seat(to as u16)))));
                    }
                }
                if lost == Some(to) {
                    break;
                }
                match effect {
                    Effect::Send(m) => {
                        self.note(&m);
                        events.push_back((m.address.to.index(), Event::Received(m)));
                    }
                    Effect::Credit { to: sender, consumed } => {
                        events.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                    }
                    Effect::Persist { ticket, .. } => events.push_back((to, Event::Persisted { ticket })),
                    Effect::SetTimer(at) => timers[to] = Some(at),
                    _ => {}
                }
            }
        }
        machines
            .iter_mut()
            .map(|m| m.take_outcome().unwrap_or(Err(Abort::Quorum { step: tacit_types::Step(0), have: 0, need: 0 })))
            .collect()
    }

    /// Who sits where.
    pub fn seating(&self) -> Seating {
        Seating::new(self.keys.iter().map(|k| k.id()).collect()).unwrap()
    }

    /// Bytes of all bodies that a seat has sent.
    #[allow(dead_code, reason = "one of the tests asks")]
    pub fn sent_by(&self, seat: Seat) -> u64 {
        self.bodies.borrow().iter().filter(|(from, _)| *from == seat).map(|(_, body)| body.len() as u64).sum()
    }

    fn note(&self, message: &Message) {
        self.bodies.borrow_mut().push((message.address.from, message.body.to_vec()));
        if tacit_jobs::session::is_input(message.address.step) {
            let mut masked = self.masked.borrow_mut();
            let (messages, bytes) = masked.entry(message.address.from).or_default();
            *messages += u64::from(message.address.sequence == 0);
            *bytes += message.body.len() as u64;
        }
    }

    pub fn open(&self, plan: &dyn Plan, outputs: &[Result<JointOutput, Abort>]) -> Value {
        let good: Vec<(usize, &JointOutput)> =
            outputs.iter().enumerate().filter_map(|(i, o)| o.as_ref().ok().map(|o| (i, o))).collect();
        let package = good.iter().find_map(|(_, o)| o.package.clone()).expect("the aggregator finished");
        let survivors = &good[0].1.survivors;
        let releases: BTreeMap<Seat, Vec<u8>> = good
            .iter()
            .filter(|(i, _)| survivors.contains(&Seat(*i as u16)))
            .map(|(i, o)| (Seat(*i as u16), o.release.clone()))
            .collect();
        let open = |p: &[u8]| tacit_jobs::session::unblind(&self.recipient, p, &releases);
        plan.open(&package, &open).unwrap().json
    }
}
