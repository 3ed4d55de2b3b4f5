//! Windows on shares between machines in one process: a private model, and less than the score of any. What the
//! recipient hears is what plain evaluation gives, all seats count the same, randomness is dealt ahead and used once,
//! and who is lost ends the window with its cause.

mod online_world;
#[allow(dead_code)]
#[path = "score_private/parties.rs"]
mod parties;
mod shares;

use std::collections::{BTreeMap, BTreeSet};

use online_world::{ASKER, window};
use parties::Job;
use serde_json::{Value, json};
use tacit_jobs::score::online::host::{Say, Tell};
use tacit_jobs::score::online::{
    ANSWER_MS_MAX, BATCH_CALLS_MAX, BATCH_ROWS_MAX, CALL_KEYS_MAX, DEAL_MS_MAX, LOT_ROWS, LOTS_LOW, LOTS_MAX,
    PIECE_ROWS, STOCK_MS_MAX,
};
use tacit_protocol::{Abort, Event, Message};
use tacit_receipts::MemTree;
use tacit_types::{Code, Millis, Seat};

const KEYS: [&str; 5] = ["ann", "bob", "cid", "bob", "dot"];

/// A window of a linear model.
struct World {
    window: online_world::World,
    job: Job,
}

impl World {
    fn new(job: Job) -> Self {
        Self { window: online_world::World::new(job.shares()), job }
    }
}

impl std::ops::Deref for World {
    type Target = online_world::World;

    fn deref(&self) -> &Self::Target {
        &self.window
    }
}

impl std::ops::DerefMut for World {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.window
    }
}

fn written(more: Value) -> Value {
    let mut all = json!({"key": "id", "bound": "64", "online": window(100_000, 100_000)});
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

fn near(found: &Value, wanted: f64) -> bool {
    found.as_f64().is_some_and(|found| (found - wanted).abs() <= 1e-6)
}

/// Data owners, and whether the model's owner is one of them.
const SHAPES: [(usize, bool); 4] = [(1, false), (2, true), (2, false), (3, true)];

#[test]
fn answers_are_those_of_plain_evaluation_and_all_seats_count_alike() {
    for (owners, both) in SHAPES {
        for (unknown, per_row, per_call) in [("flag", 2, 0), ("default", 1, 0), ("refuse", 1, 1)] {
            let mut world = World::new(Job::private(owners, both, &[], written(json!({"unknown": unknown}))));
            // More rows than a piece in one call, and calls that share a piece.
            let long: Vec<&str> = (0..40).map(|i| KEYS[i % 5]).collect();
            let calls: [&[&str]; 4] = [&["ann"], &["bob", "ann", "bob"], &["bob", "nobody", "dot"], &long];
            let mut answers = world.ask(&calls).unwrap();
            answers.extend(world.ask(&[&["cid"]]).unwrap());
            for (call, values) in calls.iter().chain(&[&["cid"][..]]).zip(&answers) {
                assert_eq!(values.len(), call.len());
                let whole = call.iter().all(|k| world.job.plain(k).is_some());
                for (value, key) in values.iter().zip(*call) {
                    match (unknown, world.job.plain(key)) {
                        ("refuse", _) if !whole => assert!(value.is_null(), "{key}"),
                        ("default", None) => assert!(near(value, world.job.with_zeroes(key)), "{key}: {value}"),
                        (_, None) => assert!(value.is_null(), "{key}"),
                        (_, Some(plain)) => assert!(near(value, plain), "{owners} {both} {key}: {value}, not {plain}"),
                    }
                }
            }
            let told = world.say(&Say::Close);
            let all = world.all();
            let rows = 1 + 3 + 3 + 40 + 1;
            let window = world.agree(&all, 5, rows, rows * per_row + 5 * per_call);
            let [Tell::Ending, Tell::Closed { leaves }] = &told[..] else { panic!("{told:?}") };
            let mut tree = MemTree::default();
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            assert_eq!((leaves.len(), tree.root()), (5, window.root));
            // Who computes opens its summands under masks, the recipient their sums, the dealer nothing.
            let cells = rows * per_row + 5 * per_call;
            let expected = world.owners().into_iter().chain([world.asker]).map(|s| (s, cells)).collect();
            assert_eq!(world.opened, expected);
        }
    }
}

/// What is opened in a window is what its disclosures list, and a cell more is not.
#[test]
fn a_window_lists_what_it_opens() {
    let mut shared = Job::private(2, false, &[], written(json!({"online": window(64, 64)}))).shares();
    shared.seated.push(shares::signing(ASKER));
    let listed = shared.plan().unwrap().disclosures();
    assert_eq!(listed.iter().map(|d| (d.what.as_str(), d.cells_max)).collect::<Vec<_>>(), [("result", 128)]);
    let mut world = World::new(Job::private(2, false, &[], written(json!({"online": window(64, 64)}))));
    assert!(world.ask(&[&["ann"; 64]]).is_ok());
    assert_eq!(world.opened[&world.asker], 128);
    assert_eq!(world.ask(&[&["ann"]]), Err(Code::RefusedQuota));
    world.say(&Say::Close);
    world.agree_all(1, 64, 128);
}

#[test]
fn less_than_the_score_comes_out_of_private_and_of_split_models() {
    let edges = ["-60", "-40", "-20"];
    for split in [false, true] {
        let make = |more: Value| match split {
            true => Job::split(3, &[], written(more)),
            false => Job::private(3, false, &[], written(more)),
        };
        let keys = ["ann", "bob", "nobody", "dot"];
        let mut world = World::new(make(json!({"output": "decision", "threshold": "-40"})));
        let plain: Vec<Option<f64>> = keys.iter().map(|k| world.job.plain(k)).collect();
        let decided: Vec<Value> = plain.iter().map(|m| m.map_or(Value::Null, |m| json!(m >= -40.0))).collect();
        assert_eq!(world.ask(&[&keys]).unwrap(), core::slice::from_ref(&decided), "{plain:?}");
        assert!(decided.contains(&json!(true)) || decided.contains(&json!(false)));
        let mut world = World::new(make(json!({"output": "band", "bands": edges})));
        let band = |m: f64| edges.iter().filter(|e| e.parse::<f64>().unwrap() <= m).count();
        let banded: Vec<Value> = plain.iter().map(|m| m.map_or(Value::Null, |m| json!(band(m)))).collect();
        assert_eq!(world.ask(&[&keys]).unwrap(), [banded]);
        let mut world = World::new(make(json!({"output": "rounded", "decimals": 1})));
        for (value, margin) in world.ask(&[&keys]).unwrap()[0].iter().zip(&plain) {
            let Some(margin) = margin else { continue };
            let tenths = value.as_f64().unwrap() * 10.0;
            assert!((tenths - tenths.round()).abs() < 1e-9 && (tenths - margin * 10.0).abs() <= 0.5 + 1.0 / 16.0);
        }
    }
}

/// Batches that are put to the owners while others wait for their rounds are answered, each with its own scores.
#[test]
fn several_batches_are_on_their_way_at_a_time() {
    let mut world = World::new(Job::private(2, false, &[], written(json!({}))));
    let (one, other) = (world.owners()[0], world.owners()[1]);
    // Words between two owners are held back, also those of later rounds.
    world.hook = Box::new(move |m| [m.address.from.index(), m.address.to.index()] != [one, other]);
    let calls: Vec<Vec<&str>> = (0..20).map(|i| vec![KEYS[i % 5]; 1 + i % 3]).collect();
    for (tag, call) in calls.iter().enumerate() {
        assert_eq!(world.calls(tag as u64, &[call]), []);
    }
    world.release();
    let told = core::mem::take(&mut world.told);
    assert_eq!(told.len(), 20);
    for (tell, (tag, call)) in told.iter().zip(calls.iter().enumerate()) {
        let Tell::Answered { tag: own, outcome: Ok(cells), asked: Some(asked) } = tell else { panic!("{tell:?}") };
        assert_eq!((*own, asked.first), (tag as u64, tag as u64));
        let plain = world.job.plain(call[0]).unwrap();
        assert!(world.values(&[call], cells)[0].iter().all(|v| near(v, plain)));
    }
    world.say(&Say::Close);
    let rows = calls.iter().map(Vec::len).sum::<usize>() as u64;
    world.agree_all(20, rows, 2 * rows);
}

/// No more than so many pieces are under way: the batch past them waits for an answer, or is refused.
#[test]
fn what_is_under_way_is_bounded() {
    let mut world = World::new(Job::private(2, false, &[], written(json!({"unknown": "default"}))));
    let (one, other) = (world.owners()[0], world.owners()[1]);
    let apart: fn(&Message, usize, usize) -> bool = |m, a, b| [m.address.from.index(), m.address.to.index()] != [a, b];
    world.hook = Box::new(move |m| apart(m, one, other));
    let most = vec!["ann"; CALL_KEYS_MAX];
    let whole = [&most[..]; BATCH_ROWS_MAX / CALL_KEYS_MAX];
    let batches = u64::from(LOTS_MAX * LOT_ROWS) / BATCH_ROWS_MAX as u64;
    for tag in 0..batches {
        assert_eq!(world.calls(tag, &whole), []);
    }
    // There is randomness for one more: it was dealt when the first batches had taken theirs.
    let asked = world.sent[&(world.asker, one)];
    assert_eq!(world.calls(9, &[&["bob"]]), []);
    assert_eq!(world.sent[&(world.asker, one)], asked, "no owner was asked");
    world.release();
    let told = core::mem::take(&mut world.told);
    assert_eq!(told.len() as u64, batches + 1, "{told:?}");
    let Some(Tell::Answered { tag: 9, outcome: Ok(cells), .. }) = told.last() else { panic!("{told:?}") };
    assert!(near(&world.values(&[&["bob"]], cells)[0][0], world.job.plain("bob").unwrap()));
}

/// Lots are asked for when few are left, as many as are held at most, and the dealer sends no other.
#[test]
fn randomness_is_dealt_ahead_and_asked_for_below_the_mark() {
    let mut world = World::new(Job::private(2, false, &[], written(json!({"unknown": "default"}))));
    let link = (world.corrected(), world.dealer);
    let back = (link.1, link.0);
    let begun = (world.sent[&link], world.sent[&back]);
    // Each call takes a piece: down to the mark nothing is asked for.
    let above = (LOTS_MAX - LOTS_LOW) * LOT_ROWS / PIECE_ROWS;
    for _ in 0..above {
        assert!(world.ask(&[&["ann"]]).is_ok());
    }
    assert_eq!((world.sent[&link], world.sent[&back]), begun);
    assert!(world.ask(&[&["ann"]]).is_ok());
    let more = (LOTS_MAX - LOTS_LOW) as usize;
    assert_eq!((world.sent[&link], world.sent[&back]), (begun.0 + 1, begun.1 + more));
    for _ in 0..2 * above {
        assert!(world.ask(&[&["ann"]]).is_ok());
    }
    assert_eq!((world.sent[&link], world.sent[&back]), (begun.0 + 3, begun.1 + 3 * more));
    // Neither other owners nor the recipient are told anything about it by the dealer.
    let others = world.owners().into_iter().filter(|o| *o != link.0).chain([world.asker]);
    let first: Vec<usize> = others.map(|o| world.sent.get(&(world.dealer, o)).copied().unwrap_or(0)).collect();
    assert!(first.iter().all(|n| *n <= 3), "{first:?}");
    world.say(&Say::Close);
    let calls = u64::from(3 * above + 1);
    world.agree_all(calls, calls, calls);
}

/// A call for which nothing is dealt waits, is answered when there is something, and is refused when it takes too long;
/// it is not counted then.
#[test]
fn a_call_waits_for_randomness_and_is_refused_in_time() {
    let mut world = World::new(Job::private(1, false, &[], written(json!({"unknown": "default"}))));
    let (dealer, rows) = (world.dealer, (LOTS_MAX * LOT_ROWS) as usize);
    world.hook = Box::new(move |m| m.address.from.index() != dealer);
    // What is there is used up; the last batch asks for more than that.
    let most: Vec<&str> = vec!["ann"; CALL_KEYS_MAX];
    for _ in 0..rows / BATCH_ROWS_MAX {
        assert!(world.ask(&[&most[..]; BATCH_ROWS_MAX / CALL_KEYS_MAX]).is_ok());
    }
    assert_eq!(world.calls(1, &[&["bob"]]), []);
    world.wait(STOCK_MS_MAX / 2);
    world.release();
    let told = core::mem::take(&mut world.told);
    let [Tell::Answered { tag: 1, outcome: Ok(cells), .. }] = &told[..] else { panic!("{told:?}") };
    assert!(near(&world.values(&[&["bob"]], cells)[0][0], world.job.plain("bob").unwrap()));

    world.say(&Say::Close);
    let rows = rows as u64 + 1;
    world.agree_all(rows.div_ceil(CALL_KEYS_MAX as u64), rows, rows);
}

/// The dealer is there and deals nothing more: a call that waits for randomness is refused before its caller gives up, put
/// to nobody, and in the end the window is closed.
#[test]
fn a_dealer_that_deals_nothing_more_ends_the_window_in_time() {
    let mut world = World::new(Job::private(2, false, &[], written(json!({"unknown": "default"}))));
    let dealer = world.dealer;
    let most: Vec<&str> = vec!["ann"; CALL_KEYS_MAX];
    world.hook = Box::new(move |m| m.address.from.index() != dealer);
    let batches = (LOTS_MAX * LOT_ROWS) as usize / BATCH_ROWS_MAX;
    for _ in 0..batches {
        assert!(world.ask(&[&most[..]; BATCH_ROWS_MAX / CALL_KEYS_MAX]).is_ok());
    }
    assert_eq!(world.calls(3, &[&["bob"]]), []);
    world.wait(STOCK_MS_MAX - 1);
    assert_eq!(world.told, []);
    world.wait(1);
    let busy = Tell::Answered { tag: 3, asked: None, outcome: Err(Code::OnlineBusy) };
    assert_eq!(core::mem::take(&mut world.told), [busy]);
    world.wait(DEAL_MS_MAX - STOCK_MS_MAX);
    assert!(matches!(world.told[..], [Tell::Ending, Tell::Closed { .. }]), "{:?}", world.told);
    let left: Vec<usize> = world.all().into_iter().filter(|s| *s != dealer).collect();
    let rows = (batches * BATCH_ROWS_MAX) as u64;
    world.agree(&left, rows / CALL_KEYS_MAX as u64, rows, rows);
}

/// Whoever is lost, or says nothing more, the window ends with what was done, attested by those who are left.
#[test]
fn the_loss_of_an_owner_or_of_the_dealer_ends_the_window() {
    for (who, silent) in [(0, false), (0, true), (1, false), (1, true), (2, false)] {
        let mut world = World::new(Job::private(2, false, &[], written(json!({}))));
        assert!(world.ask(&[&["ann", "bob"]]).is_ok());
        let owners = world.owners();
        // A party with rows, the one that gets corrections, the dealer.
        let lost = [owners[0], world.corrected(), world.dealer][who];
        let mut calls = 1;
        if silent {
            world.dead.insert(lost);
            assert_eq!(world.calls(9, &[&["bob"]]), []);
            world.wait(ANSWER_MS_MAX);
            calls = 2;
        } else {
            world.kill(lost);
        }
        let told = core::mem::take(&mut world.told);
        if silent {
            let [Tell::Answered { tag: 9, outcome: Err(Code::JobPeerLost), .. }, ..] = &told[..] else {
                panic!("{told:?}")
            };
        }
        assert!(matches!(told[usize::from(silent)..], [Tell::Ending, Tell::Closed { .. }]), "{who} {silent} {told:?}");
        let left: Vec<usize> = world.all().into_iter().filter(|s| *s != lost).collect();
        world.agree(&left, calls, calls + 1, 2 * (calls + 1));
    }
}

/// The recipient is lost after a call reached one owner: the owners settle on what all of them have heard, and the dealer
/// takes their word.
#[test]
fn the_owners_settle_when_the_recipient_is_lost() {
    let mut world = World::new(Job::private(2, false, &[], written(json!({}))));
    assert!(world.ask(&[&["ann", "bob"]]).is_ok());
    let (asker, one) = (world.asker, world.owners()[0]);
    world.hook = Box::new(move |m| m.address.from.index() != asker || m.address.to.index() == one);
    assert_eq!(world.calls(9, &[&["bob"]]), []);
    world.kill(asker);
    let left: Vec<usize> = world.all().into_iter().filter(|s| *s != asker).collect();
    world.agree(&left, 1, 2, 4);
}

/// A dealer that the recipient cannot reach, and who knows it, takes the owners' word; one that waits for it ends when it
/// learns of the loss.
#[test]
fn a_dealer_that_is_cut_off_from_the_recipient_ends_with_the_owners() {
    for knows in [true, false] {
        let mut world = World::new(Job::private(2, false, &[], written(json!({}))));
        assert!(world.ask(&[&["ann", "bob"]]).is_ok());
        let (asker, dealer) = (world.asker, world.dealer);
        world.hook = Box::new(move |m| (m.address.from.index(), m.address.to.index()) != (asker, dealer));
        let lose = |world: &mut World| {
            world.queue.push_back((dealer, Event::Gone(Seat(asker as u16))));
            world.run();
        };
        if knows {
            lose(&mut world);
        }
        world.say(&Say::Close);
        assert_eq!(world.machines[dealer].is_finished(), knows);
        if !knows {
            lose(&mut world);
        }
        world.agree_all(1, 2, 4);
    }
}

/// Owners that have said how the window ends may be gone before the recipient's word of it is there.
#[test]
fn a_dealer_hears_the_recipient_after_the_owners_have_gone() {
    let mut world = World::new(Job::private(2, false, &[], written(json!({}))));
    assert!(world.ask(&[&["ann", "bob"]]).is_ok());
    let (asker, dealer) = (world.asker, world.dealer);
    world.hook = Box::new(move |m| (m.address.from.index(), m.address.to.index()) != (asker, dealer));
    world.say(&Say::Close);
    for owner in world.owners() {
        assert!(world.machines[owner].is_finished());
        world.queue.push_back((dealer, Event::Gone(Seat(owner as u16))));
    }
    world.run();
    assert!(!world.machines[dealer].is_finished());
    world.release();
    world.agree_all(1, 2, 4);
}

/// Owners that are asked different things, or different counts, find out with the first words and open nothing.
#[test]
fn owners_that_are_asked_different_things_stop() {
    let mut world = World::new(Job::private(2, false, &[], written(json!({}))));
    assert!(world.ask(&[&["ann"]]).is_ok());
    let before = world.opened.clone();
    let (asker, one) = (world.asker, world.owners()[0]);
    world.hook = Box::new(move |m| {
        let last = m.body.len() - 1;
        if m.address.from.index() == asker && m.address.to.index() == one {
            m.body[last] ^= 1;
        }
        true
    });
    assert!(world.calls(9, &[&["bob"]]).iter().all(|t| !matches!(t, Tell::Answered { outcome: Ok(_), .. })));
    let failed: Vec<usize> = world.owners().into_iter().filter(|s| world.machines[*s].is_finished()).collect();
    assert!(!failed.is_empty());
    for seat in failed {
        let abort = world.outcome(seat).unwrap_err();
        assert!(matches!(abort, Abort::Disagreement { .. } | Abort::Misbehaved { .. }), "{abort}");
    }
    let after: BTreeMap<usize, u64> = world.owners().into_iter().map(|s| (s, world.opened[&s])).collect();
    assert!(after.iter().all(|(seat, cells)| before[seat] == *cells));
}

/// The clock of one owner allows less: the batch is refused at all of them, its pieces are gone at all of them, and the
/// next one is answered.
#[test]
fn a_refused_batch_takes_its_pieces_along() {
    for slow in 0..2 {
        let more = json!({"unknown": "default", "online": window(1000, 10)});
        let mut world = World::new(Job::private(2, true, &[], written(more)));
        assert!(world.ask(&[&["ann"; 10]]).is_ok());
        assert_eq!(world.ask(&[&["ann"]]), Err(Code::RefusedPace), "at both");
        world.wait(500);
        world.frozen = Some((world.owners()[slow], Millis(0)));
        assert_eq!(world.ask(&[&["ann"]]), Err(Code::RefusedPace), "at one");
        world.frozen = None;
        world.wait(500);
        let answers = world.ask(&[&["bob", "dot"]]).unwrap();
        for (value, key) in answers[0].iter().zip(["bob", "dot"]) {
            assert!(near(value, world.job.plain(key).unwrap()), "{slow} {key}: {value}");
        }
        world.say(&Say::Close);
        world.agree_all(4, 14, 14);
    }
}

/// What the recipient's own seat does not let pass reaches no owner.
#[test]
fn a_batch_over_a_limit_is_refused_before_it_leaves() {
    let mut world = World::new(Job::private(1, false, &[], written(json!({"online": window(3000, 100_000)}))));
    let before = world.sent.clone();
    let longer = vec!["ann"; CALL_KEYS_MAX + 1];
    assert_eq!(world.ask(&[&longer]), Err(Code::OnlineRequest));
    assert_eq!(world.ask(&vec![&["ann"][..]; BATCH_CALLS_MAX + 1]), Err(Code::OnlineRequest));
    assert_eq!(world.ask(&[&longer[1..]; 3]), Err(Code::RefusedQuota));
    assert_eq!(world.sent, before, "no owner was asked");
    world.say(&Say::Close);
    world.agree_all(0, 0, 0);
}

/// No pad of one batch is one of another: of the same row, asked for again and again, owners never send the same words.
#[test]
fn randomness_is_used_once() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (tap, job) = (seen.clone(), Job::private(2, true, &[], written(json!({"unknown": "default"}))));
    let mut world = World::new(job);
    let owners = world.owners();
    world.hook = Box::new(move |m| {
        if owners.contains(&m.address.from.index()) && owners.contains(&m.address.to.index()) {
            tap.lock().unwrap().push(m.body[m.body.len().saturating_sub(64)..].to_vec());
        }
        true
    });
    for _ in 0..40 {
        assert!(world.ask(&[&["ann"; 16]]).is_ok());
    }
    let all = seen.lock().unwrap().clone();
    // The first words of a message without words of its own are its request, another in each batch.
    let words: Vec<&[u8]> = all.iter().filter(|b| b.len() == 64).flat_map(|body| body.chunks(8)).collect();
    assert!(words.len() > 300);
    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
}
