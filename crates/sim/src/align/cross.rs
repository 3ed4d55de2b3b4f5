//! Statistics across the owners of a spine, over what both have kept of it: `cross-stats/v1` among machines, with a dealer.
//! One seat may die before anything is voted for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tacit_crypto::{Secret, SigningKey, sha256};
use tacit_governance::{Cohort, ColumnKind, ProviderRef};
use tacit_jobs::align::InMemory;
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::shares::{self, Room, Spine};
use tacit_jobs::{Draft, JointContext, JointHalf, JointOutput, Parts, Plan, session};
use tacit_protocol::{Abort, Effect, Event, Machine, Seating, Setup};
use tacit_types::{Attempt, Column, DatasetVersionId, Hash, JobId, Millis, NodeId, Seat, Values};

use super::case::{Case, Plain, Row};
use super::desk::held;
use super::world::{STEP_MS, Side, recipient};
use crate::dice::Dice;
use crate::run::{Check, broken, holds};

pub const CROSS: &str = "cross-stats/v1";
/// Room for the ids of two lists of any run.
const ROOM: u64 = 256;
/// The floor of rows.
const FLOOR: u64 = 3;
/// The column of each owner, and the end of its range.
const COLUMNS: [&str; 2] = ["x", "y"];
const MOST: i64 = 300;
const NAME: &str = "statistics_over_ids_are_those_of_a_plain_join";
/// Messages of a seat before any vote.
const BEFORE_VOTES: u64 = 5;

/// A value of a row that is its owner's alone: of its key, and of which row with that key it is. Now and then none.
fn value(seat: usize, row: &Row, number: usize) -> Option<i64> {
    let digest = sha256(format!("{seat} {number} {:?}", row.key).as_bytes()).0;
    (digest[0] >= 16).then(|| i64::from(digest[1]) + 1)
}

/// A run of the kind over a spine, and what it must give.
pub struct Cross<'a> {
    case: &'a Case,
    sides: &'a [Side],
    alignment: JobId,
    /// All seats, ascending: the owners' and the dealer's.
    keys: Vec<Arc<SigningKey>>,
    dealer: NodeId,
}

impl<'a> Cross<'a> {
    pub fn new(case: &'a Case, sides: &'a [Side], alignment: JobId, dice: &mut Dice) -> Self {
        let dealer = Arc::new(SigningKey::from_seed(&Secret::new(dice.bytes())));
        let id = dealer.id();
        let mut keys: Vec<Arc<SigningKey>> = case.keys.iter().cloned().chain([dealer]).collect();
        keys.sort_by_key(|key| key.id());
        Self { case, sides, alignment, keys, dealer: id }
    }

    fn plan(&self) -> Box<dyn Plan> {
        let owners = self.case.owners();
        let names = ["first", "second"];
        let provider = |(i, owner): (usize, &NodeId)| DraftProvider {
            name: names[i].into(),
            owner: *owner,
            columns: [(COLUMNS[i].to_owned(), ColumnKind::Int)].into(),
        };
        let draft = Draft { providers: owners.iter().enumerate().map(provider).collect(), ..Draft::default() };
        let range = ["0".to_owned(), MOST.to_string()];
        let written = json!({
            "alignment": self.alignment.to_string(), "rows": ROOM,
            "columns": {"first": {"x": range}, "second": {"y": range}},
        });
        let kind = tacit_jobs::kind(CROSS).expect("why: it is in the catalogue");
        let refer =
            |owner: &NodeId| ProviderRef { owner: *owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let providers: Vec<ProviderRef> = owners.iter().map(refer).collect();
        let parts = Parts { providers: &providers, dealer: Some(self.dealer), ..Parts::default() };
        let params = kind.draft(written, &draft);
        params.and_then(|params| kind.plan(&params, &parts)).expect("why: sound parameters")
    }

    /// The local half of a seat, over what its owner has kept.
    fn half(&self, plan: &dyn Plan, id: &NodeId) -> Box<dyn JointHalf> {
        let on = plan.on_shares().expect("why: the kind computes on shares");
        let Some(seat) = self.case.owners().iter().position(|owner| owner == id) else { return shares::deals(on) };
        let (parts, names) = self.case.key_parts();
        let records = held(&self.sides[seat].found).records.concat();
        // One owner has room for the ids in memory, the other has none.
        let room = Room { memory: if seat == 0 { usize::MAX } else { 0 }, storage: Box::new(InMemory::default()) };
        let mut spine = Spine::new(&parts, &names, &records, room).expect("why: the spine is whole");
        let mut fold = on.fold(id, spine.ids()).expect("why: there is room");
        let (mut rows, mut number) = (self.case.lists[seat].iter(), 0..);
        for mut batch in self.case.batches(seat) {
            let some: Vec<Option<i64>> =
                rows.by_ref().zip(number.by_ref()).take(batch.rows).map(|(row, n)| value(seat, row, n)).collect();
            let valid = Some(some.iter().map(Option::is_some).collect());
            let values = Values::Int(some.into_iter().map(Option::unwrap_or_default).collect());
            batch.columns.push(Column { name: COLUMNS[seat].into(), values, valid });
            let placed = spine.place(batch).expect("why: the columns are those of the key");
            fold.take(&placed, &mut |_, _| ()).expect("why: the columns are those of the job");
        }
        shares::brings(on, &spine, fold.finish())
    }

    fn machine(&self, plan: &dyn Plan, seat: usize, dice: &mut Dice) -> Machine<JointOutput> {
        let owners: Vec<NodeId> = self.keys.iter().map(|key| key.id()).collect();
        let setup = Setup {
            job: JobId([99; 32]),
            attempt: Attempt(1),
            seat: Seat(seat as u16),
            seating: Seating::new(owners.clone()).expect("why: different parties in order"),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 30,
        };
        let half = self.half(plan, &owners[seat]);
        let context = JointContext {
            session: Hash([8; 32]),
            aggregator: Seat(0),
            step_ms: STEP_MS,
            cohort: Cohort { rows: FLOOR, contributors: 2 },
            recipient: recipient().public(),
            owners,
        };
        Machine::new(setup, &dice.seed(), self.keys[seat].clone(), Millis(0), |party| half.run(party, context))
    }
}

/// The machines of a run.
struct Machines {
    all: Vec<Machine<JointOutput>>,
    /// Messages of each seat, and their bytes.
    sent: Vec<(u64, u64)>,
    /// Who dies, after so many messages.
    dies: Option<(usize, u64)>,
    gone: Option<usize>,
}

impl Machines {
    /// Steps them until nothing is left to do.
    fn run(&mut self) {
        let seats = self.all.len();
        let mut events: VecDeque<(usize, Event)> = (0..seats).map(|seat| (seat, Event::Start)).collect();
        let (mut timers, mut now) = (BTreeMap::<usize, Millis>::new(), Millis(0));
        loop {
            while let Some((seat, event)) = events.pop_front() {
                if self.gone == Some(seat) {
                    continue;
                }
                for effect in self.all[seat].step(now, event) {
                    self.carry_out(seat, effect, &mut events, &mut timers);
                }
            }
            let alive = |seat: &usize| self.gone != Some(*seat) && !self.all[*seat].is_finished();
            let next = timers.iter().filter(|(seat, _)| alive(seat)).map(|(seat, at)| (*at, *seat)).min();
            let Some((at, seat)) = next else { return };
            timers.remove(&seat);
            now = now.max(at);
            events.push_back((seat, Event::Timer));
        }
    }

    fn carry_out(
        &mut self,
        seat: usize,
        effect: Effect,
        events: &mut VecDeque<(usize, Event)>,
        timers: &mut BTreeMap<usize, Millis>,
    ) {
        match effect {
            Effect::Send(_) if self.gone == Some(seat) => {}
            Effect::Send(message)
                if self.dies.is_some_and(|(who, after)| who == seat && self.sent[seat].0 >= after) =>
            {
                drop(message);
                self.gone = Some(seat);
                let others = (0..self.all.len()).filter(|other| *other != seat);
                events.extend(others.map(|other| (other, Event::Gone(Seat(seat as u16)))));
            }
            Effect::Send(message) => {
                let (count, bytes) = &mut self.sent[seat];
                *count += 1;
                *bytes += message.body.len() as u64;
                events.push_back((message.address.to.index(), Event::Received(message)));
            }
            Effect::Credit { to, consumed } => {
                events.push_back((to.index(), Event::Credit { from: Seat(seat as u16), consumed }));
            }
            Effect::Persist { ticket, .. } => events.push_back((seat, Event::Persisted { ticket })),
            Effect::SetTimer(at) => drop(timers.insert(seat, at)),
            _ => {}
        }
    }
}

impl Cross<'_> {
    /// Runs the kind and checks what came out. Gives what was sent and metered, where it ended well.
    pub fn run(&self, dice: &mut Dice) -> Result<Vec<String>, crate::run::Violation> {
        let plan = self.plan();
        let seats = self.keys.len();
        let all = (0..seats).map(|seat| self.machine(plan.as_ref(), seat, dice)).collect();
        let dies = dice.chance(250).then(|| (dice.below(seats as u64) as usize, dice.below(BEFORE_VOTES)));
        let mut machines = Machines { all, sent: vec![(0, 0); seats], dies, gone: None };
        machines.run();
        let ends: Vec<Option<Result<JointOutput, Abort>>> =
            machines.all.iter_mut().map(|machine| machine.take_outcome()).collect();
        if machines.gone.is_some() {
            let some = ends.iter().any(|end| matches!(end, Some(Ok(_))));
            return holds(!some, "without_a_seat_nothing_is_computed_on_ids", || format!("{dies:?}")).map(|()| vec![]);
        }
        let outputs: Option<Vec<JointOutput>> = ends.into_iter().map(|end| end?.ok()).collect();
        let Some(outputs) = outputs else {
            return broken(NAME, "a seat has no end, or not a good one").map(|()| vec![]);
        };
        self.statistics_over_ids_are_those_of_a_plain_join(plan.as_ref(), &outputs)?;
        let metered = |o: &JointOutput| (o.cells_in, o.payload_bytes, o.cells_out);
        Ok(machines.sent.iter().zip(&outputs).map(|(sent, o)| format!("cross {sent:?} {:?}", metered(o))).collect())
    }

    fn statistics_over_ids_are_those_of_a_plain_join(&self, plan: &dyn Plan, outputs: &[JointOutput]) -> Check {
        let releases = outputs.iter().enumerate().map(|(i, o)| (Seat(i as u16), o.release.clone())).collect();
        let open = |package: &[u8]| session::unblind(&recipient(), package, &releases);
        let package = outputs.first().and_then(|o| o.package.as_deref()).unwrap_or_default();
        let opened = match plan.open(package, &open) {
            Ok(opened) => opened.json,
            Err(fault) => return broken(NAME, fault.to_string()),
        };
        let joined = self.joined();
        let told = joined.len() as u64 >= FLOOR;
        let (n, sum) = (joined.len() as f64, |of: &dyn Fn(&[f64; 2]) -> f64| joined.iter().map(of).sum::<f64>());
        let means = [sum(&|p| p[0]) / n, sum(&|p| p[1]) / n];
        let covariance = sum(&|p| (p[0] - means[0]) * (p[1] - means[1])) / (n - 1.0);
        let near = |found: &Value, wanted: f64| match found.as_f64() {
            Some(found) => told && (found - wanted).abs() <= 1e-6,
            None => !told,
        };
        let rows = if told { json!(joined.len()) } else { Value::Null };
        let means_fit = (0..2).all(|i| near(&opened["columns"][i]["mean"], means[i]));
        let fits = opened["rows"] == rows && means_fit && near(&opened["pairs"][0]["covariance"], covariance);
        holds(fits, NAME, || format!("{opened}, of {} rows with means {means:?}, {covariance}", joined.len()))
    }

    /// The values of the keys that each has in one row with a value.
    fn joined(&self) -> Vec<[f64; 2]> {
        let usable = |seat: usize| {
            let mut values: BTreeMap<&Plain, Vec<i64>> = BTreeMap::new();
            for (number, row) in self.case.lists[seat].iter().enumerate() {
                if let (Some(key), Some(value)) = (&row.key, value(seat, row, number)) {
                    values.entry(key).or_default().push(value);
                }
            }
            values
        };
        let (first, second) = (usable(0), usable(1));
        let pair = |(key, x): (&&Plain, &Vec<i64>)| match (&x[..], second.get(*key).map(Vec::as_slice)) {
            ([x], Some([y])) => Some([*x as f64, *y as f64]),
            _ => None,
        };
        first.iter().filter_map(pair).collect()
    }
}
