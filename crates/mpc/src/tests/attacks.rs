//! Seats that deviate in verified mode: every message of every seat is changed in every way, and every opening is added
//! to by a seat that believes itself. Nobody ever takes a wrong output.

use super::*;
use crate::plan::AnyBits;
use crate::verified::desk::tamper;
use crate::{Fx, Group};

/// A plan, and what goes in.
struct Shape {
    name: &'static str,
    plan: Plan,
    inputs: Vec<Table>,
}

fn fx(f: u8, b: u8) -> Fx {
    Fx::new(f, b).unwrap()
}

fn tables(n: usize) -> Vec<Table> {
    vec![Table::default(); n]
}

/// A private model's scores, for its owner and for everyone.
fn linear(n: usize) -> Shape {
    let mut b = Plan::builder(n, 3).unwrap();
    let (x, w) = (b.input(0, 2, fx(4, 20)).unwrap(), b.input_once(1, 2, 1, fx(4, 20)).unwrap());
    let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
    let z = b.matmul(x, w).unwrap();
    b.reveal(z, Group::one(0), disclosure()).unwrap();
    b.reveal(z, Group::first(n), disclosure()).unwrap();
    let mut inputs = tables(n);
    inputs[0] = Table::default().with(0, 2, &[1000, -77, 3, 4, 99_999, 12]);
    inputs[1] = Table::default().with(1, 1, &[-500, 321]);
    Shape { name: "linear", plan: b.finish().unwrap(), inputs }
}

/// Two tiles of products, truncations and public factors.
fn products(n: usize) -> Shape {
    let mut b = Plan::builder(n, 66).unwrap();
    let (x, y) = (b.input(0, 1, fx(4, 24)).unwrap(), b.input(1, 1, fx(4, 24)).unwrap());
    let (x, y) = (b.share(x).unwrap(), b.share(y).unwrap());
    let z = b.multiply(x, y).unwrap();
    let z = b.truncate(z, 0).unwrap();
    let z = b.times_public(z, &[3.0], 1, fx(0, 4)).unwrap();
    let hidden = b.mask_share(z).unwrap();
    let w = b.input_once(1, 1, 1, fx(0, 4)).unwrap();
    let w = b.mask(w).unwrap();
    let z = b.matmul(hidden, w).unwrap();
    b.reveal(z, Group::one(0), disclosure()).unwrap();
    let mut plan = b.finish().unwrap();
    plan.tile = 64;
    let mut inputs = tables(n);
    inputs[0] = Table::default().with(0, 1, &Noise::new(1).numbers(66, 20));
    inputs[1] = Table::default().with(1, 1, &Noise::new(2).numbers(66, 20)).with(2, 1, &[5]);
    Shape { name: "products", plan, inputs }
}

/// Comparisons, ReLU, bands and selections.
fn signs(n: usize) -> Shape {
    let mut b = Plan::builder(n, 3).unwrap();
    let x = b.input(0, 1, fx(2, 9)).unwrap();
    let x = b.share(x).unwrap();
    let less = b.less_than(x, 4.0).unwrap();
    let kept = b.select(less, x).unwrap();
    let one = b.to_ring(less).unwrap();
    let relu = b.relu(x, 0).unwrap();
    let band = b.band(x, &[-3.0, 5.0]).unwrap();
    for y in [kept, one, relu, band] {
        b.reveal(y, Group::one(n - 1), disclosure()).unwrap();
    }
    b.reveal_bits(less, Group::one(0), disclosure()).unwrap();
    let mut inputs = tables(n);
    inputs[0] = Table::default().with(0, 1, &[-77, 5, 200]);
    Shape { name: "signs", plan: b.finish().unwrap(), inputs }
}

/// Conjunctions, leaves and leaf weights.
fn leaves(n: usize) -> Shape {
    let mut b = Plan::builder(n, 2).unwrap();
    let (a, c) = (b.input_bits(0, 64).unwrap(), b.input_bits(1, 64).unwrap());
    let y = b.input(1, 64, fx(0, 20)).unwrap();
    let w = b.input_once(0, 64, 1, fx(0, 20)).unwrap();
    let leaf = b.select_leaves(a, y).unwrap();
    let shared = b.share_bits(c).unwrap();
    let both = b.and(&[AnyBits::Known(a), AnyBits::Shared(shared), AnyBits::Known(c)]).unwrap();
    let w = b.mask(w).unwrap();
    let sum = b.select_weights(both, w).unwrap();
    b.reveal(leaf, Group::one(0), disclosure()).unwrap();
    b.reveal(sum, Group::one(1), disclosure()).unwrap();
    b.reveal_bits(both, Group::one(1), disclosure()).unwrap();
    let mut noise = Noise::new(9);
    let mut inputs = tables(n);
    inputs[0] = Table::default().with_bits(0, 1, &[noise.word(), noise.word()]).with(3, 1, &noise.numbers(64, 20));
    inputs[1] = Table::default().with_bits(1, 1, &[noise.word(), noise.word()]).with(2, 64, &noise.numbers(128, 20));
    Shape { name: "leaves", plan: b.finish().unwrap(), inputs }
}

/// What is handed to another protocol.
fn handing(n: usize) -> Shape {
    let mut b = Plan::builder(n, 3).unwrap();
    let (x, y) = (b.input(0, 1, fx(0, 20)).unwrap(), b.input(1, 1, fx(0, 20)).unwrap());
    let (x, y) = (b.share(x).unwrap(), b.share(y).unwrap());
    let z = b.multiply(x, y).unwrap();
    b.hand(z).unwrap();
    let mut inputs = tables(n);
    inputs[0] = Table::default().with(0, 1, &[4, 5, -6]);
    inputs[1] = Table::default().with(1, 1, &[7, -8, 9]);
    Shape { name: "handing", plan: b.finish().unwrap(), inputs }
}

const SHAPES: [fn(usize) -> Shape; 5] = [linear, products, signs, leaves, handing];

impl Shape {
    fn verified(mut self, audits: u8) -> Self {
        self.plan = Builder::again(&self.plan, Security::Verified { audits }).unwrap();
        self
    }

    fn world(&self) -> World<'_> {
        World::new(&self.plan, self.inputs.clone(), 1)
    }

    /// The steps in which the outputs of a tile are opened.
    fn opening_steps(&self) -> Vec<u32> {
        (1..=self.plan.tiles()).map(|t| self.plan.tile_step(3, t).0 + self.plan.rounds(t) - 4).collect()
    }

    /// The step of the opening that a change must keep from happening: of the same tile, or of the first for what was
    /// done once. A wrong key for summands of zero, or commitment to coins of the second check, shows after the opening,
    /// before it is taken.
    fn must_not_open(&self, step: u32, before: &[u8], after: &[u8]) -> Option<u32> {
        let tile = (0..=self.plan.tiles()).rev().find(|t| self.plan.tile_step(3, *t).0 <= step);
        let first = tile.map_or(0, |t| self.plan.tile_step(3, t).0);
        let late = step == (3 << 16) + 1 || (step == first + 1 && before.get(..32) == after.get(..32));
        let opening = self.opening_steps().into_iter().nth(tile.unwrap_or(0).max(1) as usize - 1)?;
        (!late && step < opening).then_some(opening)
    }

    fn has_handed(&self) -> bool {
        self.plan.nodes.iter().any(|n| matches!(n.op, Op::Hand { .. }))
    }
}

/// One message's address: sender, receiver, step, number.
type Which = (usize, usize, u32, u32);

fn which(m: &Message) -> Which {
    (m.address.from.index(), m.address.to.index(), m.address.step.0, m.address.sequence)
}

/// What honest seats send and take.
fn honest(shape: &Shape) -> (Vec<(Which, Vec<u8>)>, Vec<Outputs>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = sent.clone();
    let mut world = shape.world();
    world.hook = Box::new(move |m| {
        log.lock().unwrap().push((which(m), m.body.clone()));
        true
    });
    world.run();
    assert!(world.outcomes().values().all(Result::is_ok), "{}", shape.name);
    let taken = world.taken.iter().map(|t| t.lock().unwrap().clone()).collect();
    drop(world);
    (Arc::try_unwrap(sent).unwrap().into_inner().unwrap(), taken)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Flip,
    Replace,
    Shorter,
    Longer,
    /// What the same seat sent in another step, another tile's where there is one.
    Replay,
}

const CHANGES: [Change; 5] = [Change::Flip, Change::Replace, Change::Shorter, Change::Longer, Change::Replay];

/// The changed body; `None` where the change is none.
fn changed(all: &[(Which, Vec<u8>)], at: usize, change: Change) -> Option<Vec<u8>> {
    let (which, body) = &all[at];
    let mut noise = Noise::new(at as u64 + 77);
    let mut out = body.clone();
    match change {
        Change::Flip => {
            let bit = noise.word() as usize % (body.len() * 8).max(1);
            *out.get_mut(bit / 8)? ^= 1 << (bit % 8);
        }
        Change::Replace => out.iter_mut().for_each(|b| *b = noise.word() as u8),
        Change::Shorter => drop(out.pop()?),
        Change::Longer => out.push(0),
        Change::Replay => {
            let same = |w: &Which, b: &[u8]| w.0 == which.0 && w.2 != which.2 && b.len() == body.len();
            out = all.iter().rev().find(|(w, b)| same(w, b) && b != body)?.1.clone();
        }
    }
    (out != *body).then_some(out)
}

/// Whether bits were changed that a receiver does not look at: the filling of the last word of a bit vector.
fn only_padding(wrong: &[Result<Outputs, Abort>]) -> bool {
    wrong.iter().all(Result::is_ok)
}

/// Changes one message, or all that a seat sends in the step, and holds what honest seats do to what they may do.
fn attack(
    shape: &Shape,
    all: &[(Which, Vec<u8>)],
    expected: &[Outputs],
    at: usize,
    change: Change,
    everyone: bool,
) -> bool {
    let Some(body) = changed(all, at, change) else { return false };
    let sent = body.clone();
    let (n, target) = (shape.inputs.len(), all[at].0);
    let (cheat, victim) = (target.0, target.1);
    let mut world = shape.world();
    let openings = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    let (seen, steps) = (openings.clone(), shape.opening_steps());
    world.hook = Box::new(move |m| {
        let here = which(m);
        if steps.contains(&here.2) {
            seen.lock().unwrap().insert((here.0, here.2));
        }
        let hit = here == target || (everyone && (here.0, here.2, here.3) == (target.0, target.2, target.3));
        if hit && m.body.len() == all[at].1.len() {
            m.body = body.clone();
            m.total = m.body.len() as u64;
        }
        true
    });
    world.run();
    let outcomes = world.outcomes();
    let what = format!("{} of {n}: message {:?} {change:?}, to everyone: {everyone}", shape.name, target);
    let honest: Vec<usize> = (0..n).filter(|i| *i != cheat).collect();
    for i in &honest {
        let taken = world.taken[*i].lock().unwrap();
        for (output, words) in &taken.0 {
            if shape.has_handed() && outcomes[i].is_err() {
                continue;
            }
            let right = &expected[*i].0[output];
            assert!(shape.has_handed() || right.starts_with(words), "{what}: seat {i} took a wrong output");
        }
    }
    let results: Vec<Result<Outputs, Abort>> = honest.iter().map(|i| outcomes[i].clone()).collect();
    if shape.has_handed() {
        // A key for summands of zero may be wrong here: whoever opens the sum finds out.
        if results.iter().all(Result::is_ok) && victim < n {
            let mut outputs: Vec<Outputs> = (0..n).map(|i| world.taken[i].lock().unwrap().clone()).collect();
            let fits = outputs.iter().all(|o| o.0.contains_key(&KEY));
            let opened = fits
                && std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| handed(&shape.plan, &mut outputs)))
                    .is_ok();
            let total = |o: &[Outputs]| -> Vec<u64> {
                (0..3).map(|r| o.iter().fold(0u64, |s, o| s.wrapping_add(o.0[&0][r]))).collect()
            };
            let plain = [28u64, 40u64.wrapping_neg(), 54u64.wrapping_neg()];
            assert!(!opened || total(&outputs) == plain, "{what}: a wrong sum fits its codes");
        }
        return true;
    }
    if victim < n && only_padding(&results) {
        panic!("{what}: nobody noticed");
    }
    if let Some(step) = shape.must_not_open(target.2, &all[at].1, &sent)
        && victim < n
    {
        // Somebody did not open, so nothing was opened.
        let opened = openings.lock().unwrap();
        assert!(honest.iter().any(|i| !opened.contains(&(*i, step))), "{what}: an output was opened");
        assert!(results.iter().any(Result::is_err), "{what}");
    }
    if n == 2 && victim < n {
        assert!(results[0].is_err(), "{what}: the honest seat goes on");
    }
    true
}

fn every_message(n: usize, shape: fn(usize) -> Shape, changes: impl Fn(usize) -> Vec<Change>, everyone: bool) {
    let shape = shape(n).verified(0);
    let (all, expected) = honest(&shape);
    let mut attacks = 0;
    for (at, (target, _)) in all.iter().enumerate() {
        // Messages of the dealer have tests of their own.
        if target.0 == n || (target.1 == n && target.2 != 3 << 16) {
            continue;
        }
        for change in changes(at) {
            attacks += usize::from(attack(&shape, &all, &expected, at, change, everyone));
        }
    }
    assert!(attacks > 30, "{} of {n}: only {attacks} attacks", shape.name);
}

#[test]
fn every_message_of_two_seats_is_changed_in_every_way() {
    SHAPES.iter().for_each(|s| every_message(2, *s, |_| CHANGES.to_vec(), false));
}

#[test]
fn every_message_of_three_seats_is_changed() {
    SHAPES.iter().for_each(|s| every_message(3, *s, |i| vec![CHANGES[i % 5], CHANGES[(i / 5) % 5]], false));
}

#[test]
fn what_a_seat_sends_is_changed_for_everyone() {
    SHAPES.iter().for_each(|s| every_message(3, *s, |i| vec![CHANGES[i % 5]], true));
}

#[test]
fn every_message_of_five_seats_is_changed() {
    SHAPES
        .iter()
        .for_each(|s| every_message(5, *s, |i| if i % 3 == 0 { vec![CHANGES[i / 3 % 5]] } else { vec![] }, false));
}

#[test]
fn whatever_a_seat_adds_to_what_it_opens_the_codes_do_not_fit() {
    for n in [2usize, 3, 5] {
        for make in SHAPES {
            let shape = make(n).verified(0);
            let (_, expected) = honest(&shape);
            for cheat in [0, n - 1] {
                tamper::arm(cheat, usize::MAX, 0);
                honest(&shape);
                let chances = tamper::arm(usize::MAX, 0, 0);
                assert!(chances > 3, "{} of {n}", shape.name);
                for nth in 0..chances {
                    tamper::arm(cheat, nth, [0, 7, 63][nth % 3]);
                    let mut world = shape.world();
                    world.run();
                    tamper::arm(usize::MAX, 0, 0);
                    for (i, outcome) in world.outcomes().into_iter().filter(|(i, _)| *i != cheat && *i < n) {
                        let what = format!("{} of {n}: seat {i}, cheat {cheat}, opening {nth}", shape.name);
                        let abort = outcome.err().unwrap_or_else(|| panic!("{what}: goes on"));
                        let named = matches!(&abort, Abort::Local(f) if f.code == tacit_types::Code::JobMisbehaved);
                        assert!(named, "{what}: {abort}");
                        for (output, words) in &world.taken[i].lock().unwrap().0 {
                            assert!(expected[i].0[output].starts_with(words), "{what}: took a wrong output");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn without_verified_mode_the_same_attacks_change_outputs_unnoticed() {
    let mut wrong = std::collections::BTreeSet::new();
    for make in SHAPES {
        let shape = make(2);
        let (all, expected) = honest(&shape);
        for (at, (target, _)) in all.iter().enumerate().filter(|(_, (t, _))| t.0 < 2 && t.1 < 2) {
            let Some(body) = changed(&all, at, Change::Flip) else { continue };
            let mut world = shape.world();
            world.hook = Box::new(|m| {
                if which(m) == *target {
                    m.body = body.clone();
                }
                true
            });
            world.run();
            let outcomes = world.outcomes();
            let victim = target.1;
            if let Ok(outputs) = &outcomes[&victim]
                && outputs.0.iter().any(|(o, words)| *words != expected[victim].0[o])
            {
                wrong.insert(shape.name);
            }
        }
    }
    assert_eq!(wrong.len(), SHAPES.len(), "wrong outputs of {wrong:?} alone");
}
