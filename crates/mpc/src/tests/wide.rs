//! Plans of which more is dealt for the smallest tile than fits a message.

use super::*;
use crate::plan::{DEALT_BYTES_MAX, TILES_IN_FLIGHT};
use crate::{Fx, Group};
use tacit_types::Code;
use tacit_types::limits::MESSAGE_BYTES_MAX;

/// Logistic functions of so many columns: much is dealt, and little sent.
fn logistic(cols: u32) -> Result<Plan, Fault> {
    let mut b = Plan::builder(2, 64)?;
    let x = b.input(0, cols, Fx::new(15, 19)?)?;
    let x = b.share(x)?;
    let y = b.sigmoid(x)?;
    b.hand(y)?;
    b.finish()
}

#[test]
fn what_is_dealt_may_be_longer_than_a_message_and_is_held_a_tile_at_a_time() {
    const COLS: usize = 30_000;
    let mut b = Plan::builder(2, 70).unwrap();
    let x = b.input(0, COLS as u32, Fx::new(0, 20).unwrap()).unwrap();
    let x = b.share(x).unwrap();
    let less = b.less_than(x, 4.0).unwrap();
    b.reveal_bits(less, Group::one(1), disclosure()).unwrap();
    let plan = b.finish().unwrap();
    assert!(plan.tile_fixed_bytes(1) > MESSAGE_BYTES_MAX, "{}", plan.tile_fixed_bytes(1));
    assert_eq!((plan.tile, plan.tiles(), plan.in_flight()), (64, 2, 1));
    let values = Noise::new(3).numbers(70 * COLS, 19);
    let outputs = run(&plan, vec![Table::default().with(0, COLS, &values), Table::default()]);
    let bits = &outputs[1].0[&0];
    for (i, x) in values.iter().enumerate() {
        assert_eq!(bits[i / 64] >> (i % 64) & 1 == 1, *x < 4, "{i}");
    }
    assert_eq!(logistic(1).unwrap().in_flight(), TILES_IN_FLIGHT);
}

#[test]
fn more_than_a_party_could_hold_is_refused_when_planned() {
    let each = logistic(1000).unwrap().tile_fixed_bytes(1) as u64 / 1000;
    let most = u32::try_from(DEALT_BYTES_MAX / each).unwrap();
    assert!(logistic(most - 100).unwrap().tile_fixed_bytes(1) as u64 <= DEALT_BYTES_MAX);
    let refused = logistic(most + 100).unwrap_err();
    assert_eq!(refused.code, Code::RefusedParameters);
    assert!(refused.what.contains("bytes are dealt for 64 rows"), "{refused}");
}
