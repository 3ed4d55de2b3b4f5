//! The stated costs of each operation, and tiles. That runs send exactly what a plan says is checked by
//! [`run`] in every test that uses it.

use super::*;
use crate::plan::{AnyBits, Num, TILES_IN_FLIGHT};
use crate::{Builder, Fx, Group};

const ROWS: u64 = 128;

/// A plan over 128 rows of two parties' numbers, ended by an opening of what `f` makes.
fn plan(n: usize, f: impl Fn(&mut Builder, Num) -> Num) -> Plan {
    let mut b = Plan::builder(n, ROWS).unwrap();
    let x = b.input(0, 1, Fx::new(10, 26).unwrap()).unwrap();
    let x = b.share(x).unwrap();
    let y = f(&mut b, x);
    b.reveal(y, Group::one(0), disclosure()).unwrap();
    b.finish().unwrap()
}

/// Rounds, bytes from party 0 to 1 and from 1 to 0, and bytes dealt to the last, of `f` alone.
fn cost_of(n: usize, f: impl Fn(&mut Builder, Num) -> Num) -> (u32, u64, u64, u64) {
    let plan = plan(n, f);
    let cost = plan.cost();
    // Opening sends the bits of the result's format to party 0 in one round.
    let Some(crate::plan::Op::Reveal { .. }) = plan.nodes.last().map(|n| n.op.clone()) else { panic!("no opening") };
    let bits = u64::from(plan.nodes.last().unwrap().fx.b);
    let reveal = (ROWS * bits).div_ceil(8);
    assert_eq!(cost.tiles, 1);
    assert!(cost.dealt[..n - 1].iter().all(|d| *d == 64), "everyone but the last expands from a seed");
    let rounds = cost.rounds_once - 2 + cost.rounds_tile - 1;
    (rounds, cost.sent[0][1] - 64, cost.sent[1][0] - 32 - reveal, cost.dealt[n - 1] - 64)
}

#[test]
fn operations_cost_what_their_documentation_says() {
    let planes = ROWS / 8; // Bytes of one bit for each row.
    let words = 64 * planes;
    // What comes out is opened with the bits of its format, and no more is sent or dealt for it; a number of 26 bits is
    // compared and cut in 27.
    let domain = 27 * planes;
    for n in [2, 3] {
        let same = |rounds: u32, bytes: u64, dealt: u64| (rounds, bytes, bytes, dealt);
        assert_eq!(cost_of(n, |_, x| x), same(0, 0, 0));
        assert_eq!(cost_of(n, |b, x| b.add(x, x).unwrap()), same(0, 0, 0));
        assert_eq!(cost_of(n, |b, x| b.multiply(x, x).unwrap()), same(1, 2 * 51 * planes, 51 * planes));
        assert_eq!(cost_of(n, |b, x| b.truncate(x, 3).unwrap()), same(1, domain, 2 * 24 * planes));
        let tree = domain + 33 * planes;
        let dealt = domain + (169 + 96) * planes;
        let sign = |b: &mut Builder, x| b.less_than(x, 0.0).unwrap();
        let one = |b: &mut Builder, x| {
            let s = sign(b, x);
            b.to_ring(s).unwrap()
        };
        assert_eq!(cost_of(n, one), same(3 + 1, tree + planes, dealt + 2 * planes));
        let relu = same(4, tree + planes, dealt + 5 * 19 * planes);
        assert_eq!(cost_of(n, |b, x| b.relu(x, 8).unwrap()), relu);
        let kept = |b: &mut Builder, x| {
            let s = sign(b, x);
            b.select(s, x).unwrap()
        };
        assert_eq!(cost_of(n, kept), same(3 + 1, tree + 26 * planes + planes, dealt + 2 * 26 * planes));
        let band = |b: &mut Builder, x| b.band(x, &[1.0, 2.0, 3.0]).unwrap();
        let (sent, more) = (domain + 3 * 34 * planes, domain + (169 + 3 * 96) * planes + 3 * 8 * planes);
        assert_eq!(cost_of(n, band), same(4, sent, more));
        let sigmoid = |b: &mut Builder, x| {
            let x = b.truncate(x, 10).unwrap();
            let x = b.scale(x, 1.0, Fx::new(0, 1).unwrap()).unwrap_or(x);
            let _ = x;
            let y = b.input(1, 1, Fx::new(16, 20).unwrap()).unwrap();
            let y = b.share(y).unwrap();
            b.sigmoid(y).unwrap()
        };
        let (rounds, sent, _, dealt) = cost_of(n, sigmoid);
        // The truncation that nothing reads is there all the same, with the bits of its format.
        assert_eq!((rounds, sent, dealt), (1, domain + 21 * planes, 2 * 17 * planes + 32 * words));
    }
}

/// Whole words are opened, and results are read whole: see the table in docs/protocols/mpc.md.
#[test]
fn tournaments_and_inverses_cost_what_their_documentation_says() {
    let bits = ROWS / 8;
    let of = |n: usize, cols: u32, fx: (u8, u8), f: &dyn Fn(&mut Builder, Num) -> Num| {
        cost_of(n, |b, _| {
            let x = b.input(0, cols, Fx::new(fx.0, fx.1).unwrap()).unwrap();
            let x = b.share(x).unwrap();
            f(b, x)
        })
    };
    for n in [2, 3] {
        for (columns, levels) in [(2, 1), (3, 2), (4, 2), (5, 3), (9, 4)] {
            let pairs = u64::from(columns) - 1;
            // The last pair's number is nobody's concern.
            let (sent, dealt) = (227 * pairs - 65, 585 * pairs - 128);
            let found = of(n, columns, (8, 20), &|b, x| b.argmax(x).unwrap());
            assert_eq!(found, (4 * levels, sent * bits, sent * bits, dealt * bits), "{columns} columns");
        }
        for (b, shifts) in [(8, 8), (20, 8), (27, 8), (28, 9), (33, 9)] {
            let edges = u64::from(b) - 2;
            let (sent, dealt) = (64 + 34 * edges + 128 * 8 + 64 * shifts, 233 + 160 * edges + 64 * 8 + 128 * shifts);
            let found = of(n, 1, (4, b), &|p, x| p.reciprocal(x, 4).unwrap());
            assert_eq!(found, (4 + 8 + shifts as u32, sent * bits, sent * bits, dealt * bits), "{b} bits");
        }
        for (b, shifts) in [(8, 11), (20, 11), (27, 11), (28, 12), (33, 12)] {
            let edges = (u64::from(b) - 1).div_ceil(2) - 1;
            let root = (64 + 34 * edges + 128 * 11 + 64 * shifts, 233 + 160 * edges + 64 * 11 + 128 * shifts);
            let found = of(n, 1, (4, b), &|p, x| p.sqrt(x).unwrap());
            // The number times its inverse root of 8 bits, cut to the fraction of 4.
            let product = u64::from(b) + 7;
            let sent = root.0 + 3 * (product + 1);
            let dealt = root.1 + product + 1 + 2 * (product - 4 + 1);
            assert_eq!(found, (4 + 11 + shifts as u32 + 2, sent * bits, sent * bits, dealt * bits), "{b} bits");
        }
    }
}

#[test]
fn owned_operands_cost_one_opening_each() {
    for n in [2usize, 3] {
        let mut b = Plan::builder(n, ROWS).unwrap();
        let fx = Fx::new(0, 20).unwrap();
        let (x, w) = (b.input(0, 10, fx).unwrap(), b.input_once(1, 10, 1, fx).unwrap());
        let v = b.input_once(1, 10, 2, fx).unwrap();
        let (x, w, v) = (b.mask(x).unwrap(), b.mask(w).unwrap(), b.mask(v).unwrap());
        let (y, z) = (b.matmul(x, w).unwrap(), b.matmul(x, v).unwrap());
        b.reveal(y, Group::one(0), disclosure()).unwrap();
        b.reveal(z, Group::one(0), disclosure()).unwrap();
        let plan = b.finish().unwrap();
        let format = u64::from(plan.nodes.last().unwrap().fx.b);
        let cost = plan.cost();
        // One mask of the rows serves both models; products themselves cost no message.
        assert_eq!(format, 43);
        assert_eq!(cost.sent[0][1], 64 + ROWS * 10 * format / 8);
        let masks = (10 * format).div_ceil(8) + (20 * format).div_ceil(8);
        assert_eq!(cost.sent[1][0], 32 + masks + 3 * ROWS * format / 8);
        assert_eq!(cost.dealt[n - 1], 64 + 3 * ROWS * format / 8);
        assert_eq!((cost.rounds_once, cost.rounds_tile), (3, 2));
        if n == 3 {
            assert_eq!(cost.sent[0][2], 64, "who owns no operand is told nothing");
        }
    }
}

#[test]
fn bits_of_owners_cost_one_bit_each() {
    let mut b = Plan::builder(3, ROWS).unwrap();
    let bits: Vec<_> = (0..3).map(|p| AnyBits::Known(b.input_bits(p, 64).unwrap())).collect();
    let both = b.and(&bits).unwrap();
    b.reveal_bits(both, Group::one(0), disclosure()).unwrap();
    let cost = b.finish().unwrap().cost();
    let one = ROWS * 64 / 8;
    assert_eq!(cost.sent[0], [0, 64 + one, 64 + one]);
    assert_eq!(cost.sent[1], [32 + 2 * one, 0, 64 + one]);
    assert_eq!(cost.dealt[2], 64 + 4 * one, "2^3 - 3 - 1 products of masks");
}

#[test]
fn many_rows_run_in_tiles_that_overlap() {
    let rows = 20_000u64;
    let mut b = Plan::builder(2, rows).unwrap();
    let fx = Fx::new(8, 20).unwrap();
    let (x, w) = (b.input(0, 3, fx).unwrap(), b.input_once(1, 3, 2, fx).unwrap());
    let (x, w) = (b.mask(x).unwrap(), b.mask(w).unwrap());
    let y = b.matmul(x, w).unwrap();
    let y = b.relu(y, 8).unwrap();
    b.reveal(y, Group::one(1), disclosure()).unwrap();
    let mut plan = b.finish().unwrap();
    plan.tile = 1024;
    let (x, w) = (Noise::new(1).numbers(rows as usize * 3, 20), Noise::new(2).numbers(6, 20));
    let inputs = vec![Table::default().with(0, 3, &x), Table::default().with(1, 2, &w)];
    let outputs = run(&plan, inputs.clone());
    let got = outputs[1].numbers(0);
    assert_eq!(got.len(), 2 * rows as usize);
    for (i, y) in got.iter().enumerate() {
        let (row, j) = (i / 2, i % 2);
        let z: i64 = (0..3).map(|k| x[row * 3 + k] * w[k * 2 + j]).sum::<i64>().max(0) >> 8;
        assert!(*y == z || (*y == z + 1 && z > 0), "row {row}: {y} for {z}");
    }
    let (tiles, rounds) = (plan.tiles(), plan.rounds(1));
    assert_eq!((tiles, rounds), (20, 6));
    let mut world = World::new(&plan, inputs, 1);
    world.run();
    let depth = world.depth[..2].iter().max().unwrap();
    assert!(*depth < tiles * rounds / 2, "{depth} rounds in a row for {tiles} tiles, {TILES_IN_FLIGHT} in flight");
    let tile = plan.largest_message(plan.stages(1), 1024) as i64;
    assert!(world.unread_max < 3 * tile + (4 << 20), "{} bytes unread", world.unread_max);
}

#[test]
fn tiles_fit_their_budget_and_rows_of_the_last_are_fewer() {
    let wide = |cols: u32| {
        let mut b = Plan::builder(2, 10_000).unwrap();
        let x = b.input(0, cols, Fx::new(0, 20).unwrap()).unwrap();
        let x = b.share(x).unwrap();
        let y = b.relu(x, 0).unwrap();
        b.reveal(y, Group::one(1), disclosure()).unwrap();
        b.finish().unwrap()
    };
    let plan = wide(64);
    assert!(plan.largest_message(plan.stages(1), plan.tile as usize) <= crate::plan::TILE_BYTES);
    assert!(plan.largest_message(plan.stages(1), plan.tile as usize + 64) > crate::plan::TILE_BYTES);
    let rows: usize = (1..=plan.tiles()).map(|t| plan.tile_rows(t).1).sum();
    assert_eq!(rows, 10_000);
    assert_eq!(wide(1).tile, crate::plan::TILE_ROWS_MAX);
}

#[test]
fn a_plan_is_hashed_whole() {
    let base = plan(2, |b, x| b.multiply(x, x).unwrap());
    assert_eq!(base.hash(), plan(2, |b, x| b.multiply(x, x).unwrap()).hash());
    let mut others = vec![
        plan(3, |b, x| b.multiply(x, x).unwrap()),
        plan(2, |b, x| b.add(x, x).unwrap()),
        plan(2, |b, x| b.less_than(x, 1.0).and_then(|s| b.to_ring(s)).unwrap()),
        plan(2, |b, x| b.less_than(x, 2.0).and_then(|s| b.to_ring(s)).unwrap()),
    ];
    for change in [|p: &mut Plan| p.rows += 1, |p: &mut Plan| p.corrected = 0, |p: &mut Plan| p.tile += 64] {
        let mut other = base.clone();
        change(&mut other);
        others.push(other);
    }
    others.push(base);
    let hashes: std::collections::BTreeSet<Hash> = others.iter().map(Plan::hash).collect();
    assert_eq!(hashes.len(), others.len());
}

#[test]
fn what_could_overflow_or_does_not_fit_is_refused_when_planned() {
    let fx = |f, b| Fx::new(f, b).unwrap();
    assert!(Plan::builder(1, 5).is_err() && Plan::builder(17, 5).is_err() && Plan::builder(16, 5).is_ok());
    let mut b = Plan::builder(2, 5).unwrap();
    let x = b.input(0, 4, fx(20, 31)).unwrap();
    let w = b.input_once(1, 4, 1, fx(20, 31)).unwrap();
    let narrow = b.input_once(1, 4, 1, fx(20, 29)).unwrap();
    let short = b.input_once(1, 3, 1, fx(20, 20)).unwrap();
    let own = b.input_once(0, 4, 1, fx(20, 20)).unwrap();
    let p = b.share(x).unwrap();
    let (x, w, narrow) = (b.mask(x).unwrap(), b.mask(w).unwrap(), b.mask(narrow).unwrap());
    let (short, own) = (b.mask(short).unwrap(), b.mask(own).unwrap());
    let code = |r: Result<Num, Fault>| r.unwrap_err().code.text();
    assert_eq!(code(b.matmul(x, w)), "refused.overflow", "31 + 31 - 1 + 2 bits");
    assert!(b.matmul(x, narrow).is_ok(), "31 + 29 - 1 + 2 bits");
    assert_eq!(code(b.matmul(x, short)), "refused.parameters");
    assert_eq!(code(b.matmul(x, own)), "refused.parameters", "one owner makes the product alone");
    let z = b.multiply(p, p).unwrap();
    assert_eq!(code(b.multiply(z, p)), "refused.overflow");
    assert_eq!(code(b.truncate(p, 21)), "refused.overflow");
    assert_eq!(code(b.sigmoid(p)), "refused.overflow");
    assert_eq!(code(b.add_public(p, &[1e6])), "refused.overflow");
    assert_eq!(code(b.add_public(p, &[1.0; 3])), "refused.parameters");
    assert_eq!(code(b.band(p, &[2.0, 1.0])), "refused.parameters");
    assert_eq!(code(b.band(p, &[0.0; 65])), "refused.parameters");
    assert_eq!(code(b.argmax(Num(999))), "refused.parameters");
    assert!(b.input(2, 1, fx(0, 8)).is_err() && b.input(0, 0, fx(0, 8)).is_err());
    assert!(b.input(0, 1 << 16, fx(0, 8)).is_ok() && b.input(0, (1 << 16) + 1, fx(0, 8)).is_err());
    assert!(b.input_once(0, 1 << 22, 1, fx(0, 8)).is_ok() && b.input_once(0, (1 << 22) + 1, 1, fx(0, 8)).is_err());
    assert!(b.reveal(p, Group::NONE, disclosure()).is_err() && b.reveal(p, Group::one(2), disclosure()).is_err());
    assert!(b.finish().is_err(), "nothing is opened");
    let mut b = Plan::builder(2, 5).unwrap();
    let x = b.input(0, 1, fx(0, 8)).unwrap();
    let mut p = b.share(x).unwrap();
    for _ in 2..crate::plan::PLAN_OPS_MAX {
        p = b.truncate(p, 0).unwrap_or_else(|e| panic!("{e:?}"));
    }
    assert!(b.truncate(p, 0).is_err(), "one operation too many");
}
