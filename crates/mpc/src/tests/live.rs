//! Pieces of an open plan: several on their way at a time, each with randomness of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tacit_crypto::{Secret, SigningKey};
use tacit_protocol::{Abort, Effect, Event, Machine, Party, Seating, Setup};
use tacit_types::{Attempt, Code, Fault, JobId, Millis, Seat, Step};

use super::{Noise, Table, disclosure, terms};
use crate::plan::AnyBits;
use crate::{Dealer, Fx, Live, Plan, Source, Terms};

const ROWS: u32 = 5;
/// A round of pieces that are begun together: far above the steps of the opening.
const STEPS: u32 = 100_000;

/// x (party 0) times w (party 1), where both show a row; zero elsewhere.
fn plan(pieces: u32) -> Plan {
    let mut b = Plan::builder(2, 64).unwrap();
    let fx = Fx::new(4, 20).unwrap();
    let x = b.input(0, 3, fx).unwrap();
    let w = b.input_once(1, 3, 1, fx).unwrap();
    let (bits0, bits1) = (b.input_bits(0, 1).unwrap(), b.input_bits(1, 1).unwrap());
    let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
    let product = b.inner(&[(x, w)], &[], 44).unwrap();
    let both = b.and(&[AnyBits::Known(bits0), AnyBits::Known(bits1)]).unwrap();
    let value = b.select(both, product).unwrap();
    b.hand(value).unwrap();
    b.finish().unwrap().in_pieces(ROWS, pieces).unwrap()
}

/// Rows of a group of pieces, counted from its first.
struct Group(Table);

impl Source for Group {
    fn fill(&mut self, input: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault> {
        match input {
            // Bits begin with the row that is asked for.
            2 | 3 => {
                out[0] = self.0.0[&input][0] >> first_row;
                Ok(())
            }
            _ => self.0.fill(input, first_row, out),
        }
    }
}

type Seen = Arc<Mutex<Vec<Vec<u64>>>>;

/// Begins all groups at once and takes their rounds in turn.
async fn compute(mut party: Party, terms: Terms, groups: Vec<Table>, seen: Seen) -> Result<(), Abort> {
    let mut live = Live::open(&mut party, &terms, &mut Group(groups[0].clone())).await?;
    let (me, other) = (live.me(), 1 - live.me());
    let until = party.now().plus(1000);
    let lot = if live.is_corrected() {
        party.receive(terms.dealer, Step(STEPS - 1), 1 << 20, until).await?
    } else {
        Vec::new()
    };
    let counts: Vec<u32> = (0..groups.len() as u32).map(|i| 1 + i % 3).collect();
    let whole: u32 = counts.iter().sum::<u32>() + 1;
    if live.is_corrected() {
        assert!(!live.take(whole + 1, lot.clone()) && !live.take(whole, lot[1..].to_vec()), "another length");
        assert!(live.take(whole, lot));
        assert_eq!(live.stock(), whole);
    }
    let mut flights = VecDeque::new();
    for (i, (table, pieces)) in groups.into_iter().zip(counts).enumerate() {
        if i == 1 {
            live.pass(1)?;
        }
        flights.push_back((i as u32, live.begin(&mut party, &mut Group(table), pieces)?));
    }
    assert_eq!(live.next(), whole);
    // One past what was dealt, and past the plan's last, is never begun.
    let past = live.pass(1);
    assert!(matches!(past, Err(Abort::Local(f)) if f.code == Code::JobInternal), "party {me}");
    let mut done = BTreeMap::new();
    for (i, flight) in &flights {
        party.post(terms.parties[other], Step(STEPS + i * 10), flight.words_for(other))?;
    }
    while let Some((i, mut flight)) = flights.pop_front() {
        let step = Step(STEPS + i * 10 + flight.round());
        if flight.awaits(other) || flight.round() == 0 {
            let body = party.receive(terms.parties[other], step, 1 << 20, until).await?;
            assert!(flight.take(other, &body));
        }
        flight.proceed(&mut party)?;
        if flight.is_done() {
            done.insert(i, flight.summands().remove(&0).unwrap().to_vec());
        } else {
            party.post(terms.parties[other], Step(STEPS + i * 10 + flight.round()), flight.words_for(other))?;
            flights.push_back((i, flight));
        }
    }
    seen.lock().unwrap().extend(done.into_values());
    party.flush(until).await
}

async fn deal(mut party: Party, terms: Terms, pieces: u32) -> Result<(), Abort> {
    let mut dealer = Dealer::open(&mut party, &terms).await?;
    let lot = dealer.deal(pieces)?;
    assert!(dealer.deal(1).is_err(), "past the last");
    let until = party.now().plus(1000);
    party.send(terms.parties[terms.plan.corrected()], Step(STEPS - 1), lot, until).await
}

/// Runs two parties and a dealer; the summands of each.
fn run(inputs: [Vec<Table>; 2], pieces: u32) -> [Vec<Vec<u64>>; 2] {
    let plan = plan(pieces);
    let terms = terms(&plan, 2);
    let mut keys: Vec<SigningKey> = (0..3u8).map(|i| SigningKey::from_seed(&Secret::new([i + 1; 32]))).collect();
    keys.sort_by_key(SigningKey::id);
    let seating = Seating::new(keys.iter().map(SigningKey::id).collect()).unwrap();
    let seen: [Seen; 2] = Default::default();
    let mut machines: Vec<Machine<()>> = Vec::new();
    for (i, key) in keys.into_iter().enumerate() {
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(i as u16),
            seating: seating.clone(),
            disclosures: vec![disclosure()],
            stream_bytes_max: 1 << 30,
        };
        let (terms, groups, seen) = (terms.clone(), inputs.get(i).cloned(), seen.get(i).cloned().unwrap_or_default());
        machines.push(Machine::new(setup, &Secret::new([i as u8; 32]), Arc::new(key), Millis(0), |party| async move {
            match groups {
                Some(groups) => compute(party, terms, groups, seen).await,
                None => deal(party, terms, pieces).await,
            }
        }));
    }
    let mut queue: VecDeque<(usize, Event)> = (0..3).map(|i| (i, Event::Start)).collect();
    while let Some((to, event)) = queue.pop_front() {
        for effect in machines[to].step(Millis(0), event) {
            match effect {
                Effect::Send(m) => queue.push_back((m.address.to.index(), Event::Received(m))),
                Effect::Credit { to: sender, consumed } => {
                    queue.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                }
                _ => {}
            }
        }
    }
    machines.iter_mut().for_each(|m| m.take_outcome().expect("it has ended").unwrap());
    seen.map(|s| s.lock().unwrap().clone())
}

#[test]
fn pieces_begun_together_give_the_products_of_their_rows() {
    let (groups, pieces) = (7u32, 1 + 2 + 3 + 1 + 2 + 3 + 1 + 1);
    let mut noise = Noise::new(4);
    let w = noise.numbers(3, 20);
    let (mut first, mut second, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..groups {
        let rows = (ROWS * (1 + i % 3)) as usize;
        let (x, shown) = (noise.numbers(3 * rows, 20), [noise.word(), noise.word()]);
        let bits = |p: usize| [shown[p], 0];
        first.push(Table::default().with(0, 3, &x).with_bits(2, 1, &bits(0)));
        second.push(Table::default().with(1, 3, &w).with_bits(3, 1, &bits(1)));
        let product =
            |row: usize| -> i64 { (0..3).map(|k| x[row * 3 + k].wrapping_mul(w[k])).fold(0, i64::wrapping_add) };
        let value = |row: usize| if (shown[0] & shown[1]) >> row & 1 == 1 { product(row) } else { 0 };
        wanted.push((0..rows).map(value).collect::<Vec<i64>>());
    }
    let [a, b] = run([first, second], pieces);
    let format = plan(pieces).handed(0).unwrap();
    for ((a, b), wanted) in a.iter().zip(&b).zip(&wanted) {
        let number = |(a, b): (&u64, &u64)| format.number(a.wrapping_add(*b)).unwrap() as i64;
        let sums: Vec<i64> = a.iter().zip(b).map(number).collect();
        assert_eq!(sums, *wanted);
    }
    assert_eq!(a.len(), groups as usize);
}

#[test]
fn a_plan_is_cut_only_where_pieces_can_be_computed() {
    let whole = |verified: bool| {
        let mut b = Plan::builder(2, 640).unwrap();
        if verified {
            b.verified(0).unwrap();
        }
        let x = b.input(0, 1, Fx::new(4, 20).unwrap()).unwrap();
        let x = b.share(x).unwrap();
        let y = b.truncate(x, 2).unwrap();
        b.hand(y).unwrap();
        b.finish().unwrap()
    };
    let code = |plan: Result<Plan, Fault>| plan.map(|_| ()).map_err(|f| f.code);
    let most = whole(false).piece_rows() as u32;
    assert_eq!(code(whole(false).in_pieces(most, 9)), Ok(()));
    assert_eq!(code(whole(false).in_pieces(most + 1, 9)), Err(Code::RefusedParameters));
    assert_eq!(code(whole(false).in_pieces(0, 9)), Err(Code::RefusedParameters));
    assert_eq!(code(whole(false).in_pieces(1, (1 << 24) - 1)), Ok(()));
    assert_eq!(code(whole(false).in_pieces(1, 1 << 24)), Err(Code::RefusedParameters));
    assert_eq!(code(whole(true).in_pieces(1, 9)), Err(Code::RefusedParameters));
    let cut = whole(false).in_pieces(16, 9).unwrap();
    assert_eq!((cut.piece_rows(), cut.tiles(), cut.piece_dealt(), cut.piece_rounds()), (16, 9, 76, 1));
    assert_ne!(cut.hash(), whole(false).hash());
}
